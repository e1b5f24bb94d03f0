// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/internal/policy"
)

func TestBegunSurvivesTheRolloutState(t *testing.T) {
	plan := &policy.Plan{Bake: time.Hour, Analysis: &policy.Analysis{
		Source: "auto", Interval: 15 * time.Second, WarmUp: 30 * time.Second, Confidence: 0.95, RequireProof: true, MinRequests: 100,
		Timeout: 4 * time.Hour, DefaultMetrics: true, Metrics: []policy.Metric{
			{Name: "errors", Kind: policy.Errors, Harm: policy.HarmLimits{MaxRatio: 1.5, Floor: 0.001}, Proof: policy.ProofLimits{MaxRatio: 3, Floor: 0.01}},
			{Name: "latency", Kind: policy.Latency, Quantile: 0.95, Harm: policy.HarmLimits{MaxRatio: 1.5, Floor: 0.02, Max: new(0.0)}, DryRun: true},
			{Name: "memory", Kind: policy.Query, Query: `max(x{pod=~"$pods"})`, Harm: policy.HarmLimits{Max: new(70000.0)}},
		},
	}}
	text := BegunWith(plan).Encode()
	if diff := cmp.Diff(&Begun{Analysis: *plan.Analysis, Bake: true}, DecodeBegun(text)); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if len(text) > 600 {
		t.Errorf("it takes %d bytes of the rollout state: %s", len(text), text)
	}
	for name, text := range map[string]string{"nothing": "", "no JSON": "{", "no interval": `{"analysis":{}}`} {
		if got := DecodeBegun([]byte(text)); got != nil {
			t.Errorf("%s is decoded as %+v", name, got)
		}
	}
	if got := BegunWith(&policy.Plan{}).Encode(); got != nil {
		t.Errorf("a plan without analysis is encoded as %s", got)
	}
}
