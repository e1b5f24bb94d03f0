// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package node

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

const (
	host   = "hello-predictor.default.example.com"
	first  = "hello-predictor-00001"
	second = "hello-predictor-00002"
	// A share is checked after minRequests requests, within tolerance percentage points.
	rate, minRequests, tolerance = 200, 1000, 3
)

// Knative Serving splits traffic between revisions and scales a revision to zero and up again
// without a failed request. A split that Knative reports as ready is served.
func TestKnativeSplitsAndScales(t *testing.T) {
	if err := local.NodeSupported(); err != nil {
		t.Skip(err)
	}
	c := startCluster(t, local.Knative)
	c.apply(t, "testdata/knative/1-first.yaml")
	c.awaitKnativeReady(t)
	p := c.probe(t, prober.Target{Host: host, Path: "/v1/models/model:predict", Rate: rate})

	c.apply(t, "testdata/knative/2-split.yaml")
	c.awaitKnativeReady(t)
	p.expectSplit(t, map[string]int{first: 90, second: 10})
	c.expectRunning(t, first)
	c.expectRunning(t, second)
	c.kubectl(t, "wait", "--for=condition=Complete", "job/client", "--timeout=60s")

	c.apply(t, "testdata/knative/3-back.yaml")
	c.awaitKnativeReady(t)
	unrouted := p.expectSplit(t, map[string]int{first: 100})
	eventually(t, "all pods of "+second+" to terminate", func(context.Context) error {
		for pod := range strings.Lines(c.pods(t, second)) {
			if !strings.Contains(pod, " Terminating ") {
				return fmt.Errorf("found %s", pod)
			}
		}
		return nil
	})
	if err := prober.NoRequestsTo(p.Results().Since(unrouted), second); err != nil {
		t.Error(err)
	}

	c.apply(t, "testdata/knative/4-from-zero.yaml")
	c.awaitKnativeReady(t)
	p.expectSplit(t, map[string]int{second: 100})
	if err := prober.NoErrors(p.Stop().All()); err != nil {
		t.Error(err)
	}
	c.down(t)
	c.expectNothingLeft(t)
}

func (c *cluster) awaitKnativeReady(t *testing.T) {
	t.Helper()
	c.kubectl(t, "wait", "--for=condition=Ready", "ksvc/hello-predictor", "--timeout=60s")
}

func (c *cluster) pods(t *testing.T, revision string) string {
	t.Helper()
	return c.kubectl(t, "get", "pods", "--no-headers", "-l=serving.knative.dev/revision="+revision)
}

// expectRunning checks that a revision has a running pod with Knative's queue-proxy.
func (c *cluster) expectRunning(t *testing.T, revision string) {
	t.Helper()
	pods := c.pods(t, revision)
	if !regexp.MustCompile(`(?m)^` + revision + `-deployment-\S+ +2/2 +Running `).MatchString(pods) {
		t.Errorf("the pods of %s are\n%s", revision, pods)
	}
}

type clients struct{ *prober.Prober }

func (c *cluster) probe(t *testing.T, targets ...prober.Target) clients {
	t.Helper()
	started, err := prober.Start(t.Context(), prober.Config{
		Gateway: c.gateway(t), Targets: targets, MaxDuration: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { started.Stop() })
	return clients{started}
}

func (p clients) expectSplit(t *testing.T, want map[string]int) prober.Mark {
	t.Helper()
	now := p.Mark(fmt.Sprint(want))
	if err := p.Until(t.Context(), minRequests); err != nil {
		t.Fatal(err)
	}
	if err := prober.SharesWithin(p.Results().Since(now), want, tolerance, minRequests); err != nil {
		t.Error(err)
	}
	return now
}
