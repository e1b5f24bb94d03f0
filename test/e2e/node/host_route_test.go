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

// An InferenceService in Knative mode is served at its own host once a ReferenceGrant allows the
// route to Knative's ingress. Until then the status has the predictor's URL and reports the missing
// grant. Rollouts lose no request at either host.
func TestHostRouteInKnativeMode(t *testing.T) {
	if err := local.NodeSupported(); err != nil {
		t.Skip(err)
	}
	const (
		own, predictor = "hello.host-route.example.com", "hello-predictor.host-route.example.com"
		path           = "/v1/models/model:predict"
	)
	c := startCluster(t, local.Knative, "--operator")
	c.apply(t, "testdata/host-route/1-first.yaml")
	c.awaitReady(t)
	c.awaitURL(t, "http://"+predictor)
	c.expectCondition(t, "IngressReady", "True RefNotPermitted")

	c.apply(t, "testdata/host-route/2-grant.yaml")
	c.awaitURL(t, "http://"+own)
	c.expectCondition(t, "IngressReady", "True Ready")
	p := c.probe(t, prober.Target{Host: own, Path: path, Rate: rate}, prober.Target{Host: predictor, Path: path, Rate: rate})
	p.expectSplit(t, map[string]int{first: 100})
	before := c.kubectl(t, "get", "httproute", "-n=host-route", "hello", "-o=jsonpath={.metadata.resourceVersion}")

	c.apply(t, "testdata/host-route/3-canary.yaml")
	c.awaitReady(t)
	p.expectSplit(t, map[string]int{first: 80, second: 20})
	c.apply(t, "testdata/host-route/4-promoted.yaml")
	c.awaitReady(t)
	p.expectSplit(t, map[string]int{second: 100})
	if err := prober.NoErrors(p.Stop().All()); err != nil {
		t.Error(err)
	}
	c.awaitURL(t, "http://"+own)
	if after := c.kubectl(t, "get", "httproute", "-n=host-route", "hello", "-o=jsonpath={.metadata.resourceVersion}"); after != before {
		t.Errorf("the rollout changed the host route: resourceVersion was %s, is %s", before, after)
	}

	c.kubectl(t, "delete", "inferenceservice", "-n=host-route", "hello")
	eventually(t, "the host route to be deleted", func(context.Context) error {
		if left := c.kubectl(t, "get", "httproute", "-n=host-route", "hello", "--ignore-not-found", "-o=name"); left != "" {
			return fmt.Errorf("found %s", left)
		}
		return nil
	})
}

func (c *cluster) awaitReady(t *testing.T) {
	t.Helper()
	const path = `-o=jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}`
	eventually(t, "the InferenceService to be ready", func(context.Context) error {
		var generation, observed int
		var ready string
		output := c.kubectl(t, "get", "inferenceservice", "-n=host-route", "hello", path)
		if _, err := fmt.Sscan(output, &generation, &observed, &ready); err != nil || observed != generation || ready != "True" {
			return fmt.Errorf("generation, observedGeneration and Ready are %q", output)
		}
		return nil
	})
}

func (c *cluster) awaitURL(t *testing.T, want string) {
	t.Helper()
	eventually(t, want, func(context.Context) error {
		if url := c.kubectl(t, "get", "inferenceservice", "-n=host-route", "hello", "-o=jsonpath={.status.url}"); url != want {
			return fmt.Errorf("the URL is %s", url)
		}
		return nil
	})
}

func (c *cluster) expectCondition(t *testing.T, condition, want string) {
	t.Helper()
	path := fmt.Sprintf(`-o=jsonpath={range .status.conditions[?(@.type==%q)]}{.status} {.reason}{end}`, condition)
	if got := c.kubectl(t, "get", "inferenceservice", "-n=host-route", "hello", path); got != want {
		t.Errorf("%s is %s, want %s", condition, got, want)
	}
}
