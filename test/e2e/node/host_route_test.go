// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package node

import (
	"context"
	"fmt"
	"testing"

	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

// An InferenceService in Knative mode is reached by its own host once an administrator lets the gateway lead to Knative's
// ingress. Until then the status gives its predictor's, and what is missing. By either, no rollout loses a request.
func TestAnInferenceServiceInKnativeModeHasItsOwnHost(t *testing.T) {
	if err := local.NodeSupported(); err != nil {
		t.Skip(err)
	}
	const (
		own, predictor = "hello.entrance.example.com", "hello-predictor.entrance.example.com"
		path           = "/v1/models/model:predict"
	)
	c := up(t, local.Knative, "--operator")
	c.apply(t, "testdata/entrance/1-first.yaml")
	c.isReady(t)
	c.hasURL(t, "http://"+predictor)
	c.says(t, "IngressReady", "True RefNotPermitted")

	c.apply(t, "testdata/entrance/2-grant.yaml")
	c.hasURL(t, "http://"+own)
	c.says(t, "IngressReady", "True Ready")
	p := c.probe(t, prober.Target{Host: own, Path: path, Rate: rate}, prober.Target{Host: predictor, Path: path, Rate: rate})
	p.serves(t, map[string]int{first: 100})
	before := c.kubectl(t, "get", "httproute", "-n=entrance", "hello", "-o=jsonpath={.metadata.resourceVersion}")

	c.apply(t, "testdata/entrance/3-canary.yaml")
	c.isReady(t)
	p.serves(t, map[string]int{first: 80, second: 20})
	c.apply(t, "testdata/entrance/4-promoted.yaml")
	c.isReady(t)
	p.serves(t, map[string]int{second: 100})
	if err := prober.NoErrors(p.Stop().All()); err != nil {
		t.Error(err)
	}
	c.hasURL(t, "http://"+own)
	if after := c.kubectl(t, "get", "httproute", "-n=entrance", "hello", "-o=jsonpath={.metadata.resourceVersion}"); after != before {
		t.Errorf("the rollout has written the HTTPRoute of the host: its version was %s, and is %s", before, after)
	}

	c.kubectl(t, "delete", "inferenceservice", "-n=entrance", "hello")
	eventually(t, "no HTTPRoute of the host", func(context.Context) error {
		if left := c.kubectl(t, "get", "httproute", "-n=entrance", "hello", "--ignore-not-found", "-o=name"); left != "" {
			return fmt.Errorf("there is %s", left)
		}
		return nil
	})
}

// isReady waits until the InferenceService is as its spec says.
func (c *cluster) isReady(t *testing.T) {
	t.Helper()
	const path = `-o=jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}`
	eventually(t, "the InferenceService to be ready", func(context.Context) error {
		var generation, observed int
		var ready string
		said := c.kubectl(t, "get", "inferenceservice", "-n=entrance", "hello", path)
		if _, err := fmt.Sscan(said, &generation, &observed, &ready); err != nil || observed != generation || ready != "True" {
			return fmt.Errorf("its generations and Ready are %q", said)
		}
		return nil
	})
}

func (c *cluster) hasURL(t *testing.T, want string) {
	t.Helper()
	eventually(t, want, func(context.Context) error {
		if url := c.kubectl(t, "get", "inferenceservice", "-n=entrance", "hello", "-o=jsonpath={.status.url}"); url != want {
			return fmt.Errorf("the URL is %s", url)
		}
		return nil
	})
}

// says holds that a condition of the InferenceService has a status and a reason.
func (c *cluster) says(t *testing.T, condition, want string) {
	t.Helper()
	path := fmt.Sprintf(`-o=jsonpath={range .status.conditions[?(@.type==%q)]}{.status} {.reason}{end}`, condition)
	if got := c.kubectl(t, "get", "inferenceservice", "-n=entrance", "hello", path); got != want {
		t.Errorf("%s is %s, want %s", condition, got, want)
	}
}
