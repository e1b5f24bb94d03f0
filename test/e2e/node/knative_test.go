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
	// host is that of the Knative Service in testdata.
	host   = "hello-predictor.default.example.com"
	first  = "hello-predictor-00001"
	second = "hello-predictor-00002"
	// rate is how many requests a second it gets, and enough how many tell a share, within so many points.
	rate, enough, points = 200, 1000, 3
)

// Knative Serving splits traffic between revisions by the gateway, and scales one to zero and up again, while no request
// is lost. When it says that a split is ready, it is served.
func TestKnativeSplitsAndScales(t *testing.T) {
	if err := local.NodeSupported(); err != nil {
		t.Skip(err)
	}
	c := up(t, local.Knative)
	c.apply(t, "testdata/knative/1-first.yaml")
	c.ready(t)
	p := c.probe(t, prober.Target{Host: host, Path: "/v1/models/model:predict", Rate: rate})

	c.apply(t, "testdata/knative/2-split.yaml")
	c.ready(t)
	p.serves(t, map[string]int{first: 90, second: 10})
	c.runs(t, first)
	c.runs(t, second)
	c.kubectl(t, "wait", "--for=condition=Complete", "job/client", "--timeout=60s")

	c.apply(t, "testdata/knative/3-back.yaml")
	c.ready(t)
	alone := p.serves(t, map[string]int{first: 100})
	eventually(t, "no pod of "+second+" but such that leave", func(context.Context) error {
		for pod := range strings.Lines(c.pods(t, second)) {
			if !strings.Contains(pod, " Terminating ") {
				return fmt.Errorf("there is %s", pod)
			}
		}
		return nil
	})
	if err := prober.NoRequestsTo(p.Results().Since(alone), second); err != nil {
		t.Error(err)
	}

	c.apply(t, "testdata/knative/4-from-zero.yaml")
	c.ready(t)
	p.serves(t, map[string]int{second: 100})
	if err := prober.NoErrors(p.Stop().All()); err != nil {
		t.Error(err)
	}
	c.down(t)
	c.leavesNothing(t)
}

// ready waits until Knative says that the Service is as its spec says.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	c.kubectl(t, "wait", "--for=condition=Ready", "ksvc/hello-predictor", "--timeout=60s")
}

// pods prints those of a revision.
func (c *cluster) pods(t *testing.T, revision string) string {
	t.Helper()
	return c.kubectl(t, "get", "pods", "--no-headers", "-l=serving.knative.dev/revision="+revision)
}

// runs holds that a revision has a pod, with the proxy of Knative in it.
func (c *cluster) runs(t *testing.T, revision string) {
	t.Helper()
	pods := c.pods(t, revision)
	if !regexp.MustCompile(`(?m)^` + revision + `-deployment-\S+ +2/2 +Running `).MatchString(pods) {
		t.Errorf("the pods of %s are\n%s", revision, pods)
	}
}

// clients send requests to the Service without a pause.
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

// serves holds that a split is served from now on.
func (p clients) serves(t *testing.T, want map[string]int) prober.Mark {
	t.Helper()
	now := p.Mark(fmt.Sprint(want))
	if err := p.Until(t.Context(), enough); err != nil {
		t.Fatal(err)
	}
	if err := prober.SharesWithin(p.Results().Since(now), want, points, enough); err != nil {
		t.Error(err)
	}
	return now
}
