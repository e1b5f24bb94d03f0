// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestPlanOf(t *testing.T) {
	ref := policy.Ref{Kind: policy.KindCanaryPolicy, Name: "standard"}
	const loadDeadline = 10 * time.Minute
	steps := []rollout.Step{{Percent: 10, Hold: time.Minute}, {Percent: 50, Hold: time.Hour, Approve: true}}
	planned := []rollout.Step{{Percent: 10, Hold: time.Minute}, {Percent: 50, Hold: time.Hour, Approve: true}}
	for name, test := range map[string]struct {
		selection policy.Selection
		parsed    *policy.Plan
		want      *rollout.Plan
	}{
		"no policy": {policy.Selection{}, nil, nil},
		"a policy that is missing": {
			policy.Selection{Problem: &policy.Problem{Reason: policy.PolicyNotFound}}, nil, &rollout.Plan{Invalid: true},
		},
		"an invalid policy": {policy.Selection{Ref: ref}, nil, &rollout.Plan{Policy: `CanaryPolicy "standard"`, Invalid: true}},
		"time alone": {
			policy.Selection{Ref: ref},
			&policy.Plan{Steps: steps, KeepRejected: time.Minute},
			&rollout.Plan{Policy: `CanaryPolicy "standard"`, Steps: planned, Keep: time.Minute, LoadDeadline: loadDeadline},
		},
		"everything": {
			policy.Selection{Ref: ref},
			&policy.Plan{
				Steps: steps, ApprovePromotion: true, Bake: time.Hour, KeepRejected: time.Minute, QueueDeadline: 2 * time.Minute, LoadDeadline: 3 * time.Minute,
				Analysis: &policy.Analysis{RequireProof: true, Timeout: 4 * time.Hour, ProceedWithoutTraffic: true},
			},
			&rollout.Plan{
				Policy: `CanaryPolicy "standard"`, Steps: planned, ApprovePromotion: true, Bake: time.Hour, Keep: time.Minute,
				QueueDeadline: 2 * time.Minute, LoadDeadline: 3 * time.Minute,
				Evidence: &rollout.EvidenceRule{Proof: true, Timeout: 4 * time.Hour, ProceedWithoutTraffic: true},
			},
		},
	} {
		if diff := cmp.Diff(test.want, PlanOf(test.selection, test.parsed, loadDeadline)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCommandsOf(t *testing.T) {
	got := CommandsOf(testkit.NewInferenceService(
		testkit.Annotation(v1beta1.AnnotationApprove, "2.1/50"),
		testkit.Annotation(v1beta1.AnnotationPause, "2.2"),
		testkit.Annotation(v1beta1.AnnotationAbort, "3.1"),
		testkit.Annotation(v1beta1.AnnotationPromote, "10.12"),
		testkit.Annotation(v1beta1.AnnotationRetry, "yes"),
	))
	want := rollout.Commands{
		Approve: rollout.Approval{Trial: rollout.TrialID{Revision: 2, Attempt: 1}, Share: 50},
		Pause:   rollout.TrialID{Revision: 2, Attempt: 2},
		Abort:   rollout.TrialID{Revision: 3, Attempt: 1},
		Promote: rollout.TrialID{Revision: 10, Attempt: 12},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got = CommandsOf(testkit.NewInferenceService(testkit.Annotation(v1beta1.AnnotationRetry, "2.2")))
	if diff := cmp.Diff(rollout.Commands{Retry: rollout.TrialID{Revision: 2, Attempt: 2}}, got); diff != "" {
		t.Errorf("a retry (-want +got):\n%s", diff)
	}
}

// TestReportedTrial: a trial that cannot be read counts as none.
func TestReportedTrial(t *testing.T) {
	for text, want := range map[string]rollout.TrialID{
		"":      {},
		"2.1":   {Revision: 2, Attempt: 1},
		"10.12": {Revision: 10, Attempt: 12},
		"2":     {},
		"2.":    {},
		"two.1": {},
		"0.1":   {},
		"2.0":   {},
		"-2.1":  {},
		"2.1.3": {},
		"2.1x":  {},
	} {
		got := Reported(testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) {
			isvc.Status.Rollout = &v1beta1.RolloutStatus{Trial: text}
		}))
		if got.Trial != want || got.Baking {
			t.Errorf("%q: %+v", text, got)
		}
	}
	baking := Reported(testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) {
		isvc.Status.Phase, isvc.Status.Rollout = v1beta1.PhaseBaking, &v1beta1.RolloutStatus{Trial: "2.1"}
	}))
	if !baking.Baking {
		t.Error("a bake is not read")
	}
}
