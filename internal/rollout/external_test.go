// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var external = Bounds{Min: 1, Max: 10, ScaledExternally: true}

// scaledBy returns a revision whose replicas an external autoscaler has set.
func scaledBy(n Number, ready, replicas, held, lowered int) Revision {
	revision := upWith(n, replicas)
	revision.predictor().Ready, revision.predictor().Held, revision.predictor().Lowered = ready, held, lowered
	return revision
}

// TestExternalAutoscaler: the operator only raises the replicas of a revision for a larger share.
func TestExternalAutoscaler(t *testing.T) {
	canary := canarySplit(2, 10, 1)
	shifted := func(ago time.Duration) *State {
		state := rolloutState(2, 1, 2, nil, All(2))
		state.ShiftedAt, state.Held = testNow.Add(-ago), heldBy(map[Number]int{2: 4})
		return state
	}
	lost := rolloutState(1, 0, 2, new(10), canarySplit(2, 0, 1))
	lost.AskedAt, lost.LostAt = testNow.Add(-time.Hour), testNow.Add(-10*time.Minute)
	tests := map[string]struct {
		state          *State
		percent        *int
		stable, canary Revision

		wantSplit string
		want      WorkloadPlan // Of the canary.
		wantHeld  *HeldBack
	}{
		"a promotion needs the replicas for all traffic: four replicas serve 90 %": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:10 1:90",
			WorkloadPlan{MinReplicas: 5, Raise: true, Held: 5},
			nil,
		},
		"they are ready": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 5, 5, 5, 0),
			"2:100",
			WorkloadPlan{MinReplicas: 5, Held: 5},
			nil,
		},
		"they are raised but not ready yet": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 5, 5, 0),
			"2:10 1:90",
			WorkloadPlan{MinReplicas: 5, Held: 5},
			nil,
		},
		"the autoscaler has lowered them once": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 0),
			"2:10 1:90",
			WorkloadPlan{MinReplicas: 5, Raise: true, Held: 5, Lowered: 1},
			nil,
		},
		"and twice": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 1),
			"2:10 1:90",
			WorkloadPlan{MinReplicas: 5, Raise: true, Held: 5, Lowered: 2},
			nil,
		},
		"and three times: the operator stops": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 2),
			"2:10 1:90",
			WorkloadPlan{MinReplicas: 5, Held: 5, Lowered: 2},
			&HeldBack{Revision: 2, Replicas: 5},
		},
		"the autoscaler has raised them itself": {
			rolloutState(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 5, 5, 5, 2),
			"2:100",
			WorkloadPlan{MinReplicas: 5, Held: 5, Lowered: 2},
			nil,
		},
		"they are held after the shift": {
			shifted(time.Minute), nil, withoutWorkload(1), scaledBy(2, 1, 1, 4, 0),
			"2:100",
			WorkloadPlan{MinReplicas: 4, Raise: true, Held: 4, Lowered: 1},
			nil,
		},
		"and not for longer than the capacity hold": {
			shifted(testPolicy.CapacityHold), nil, withoutWorkload(1), scaledBy(2, 1, 1, 4, 0), "2:100", WorkloadPlan{MinReplicas: 1}, nil,
		},
		"a share of 0 raises nothing": {
			rolloutState(1, 0, 2, new(0), canary), new(0), scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:0 1:100",
			WorkloadPlan{MinReplicas: 1},
			nil,
		},
		"a canary that was scaled to zero stays there": {
			lost, new(10), scaledBy(1, 4, 4, 0, 0), scaledBy(2, 0, 0, 0, 0), "2:0 1:100", WorkloadPlan{MinReplicas: 1}, nil,
		},
		"a new canary begins with what its share needs": {
			rolloutState(1, 0, 2, new(50), All(1)), new(50), scaledBy(1, 4, 4, 0, 0), withoutWorkload(2), "1:100", WorkloadPlan{MinReplicas: 2}, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, test.percent, test.stable, test.canary)
			observed.Desired.Replicas = external
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.State.Split.String(); got != test.wantSplit {
				t.Errorf("the split is %s, want %s", got, test.wantSplit)
			}
			test.want.Revision, test.want.Component, test.want.Action = 2, Predictor, Run
			if diff := cmp.Diff(test.want, planOf(decision, 2)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantHeld, decision.HeldBack); diff != "" {
				t.Errorf("held back (-want +got):\n%s", diff)
			}
			if plan := planOf(decision, 1); plan.Raise && decision.State.Split.Percent(1) <= test.state.Split.Percent(1) {
				t.Errorf("the plan writes the replicas of the stable: %+v", plan)
			}
		})
	}
}

// TestScaleToZeroIsKept: a stable that an external autoscaler has scaled to zero keeps its share.
func TestScaleToZeroIsKept(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 1, nil, All(1)), 1, nil, scaledBy(1, 0, 0, 0, 0))
	observed.Desired.Replicas = external
	decision := Decide(observed, testPolicy, testNow)
	if plan := planOf(decision, 1); plan.Raise || plan.Action != Run || !decision.State.Split.Equal(All(1)) {
		t.Errorf("the plan is %+v, the split %s", plan, decision.State.Split)
	}
}

// TestRollbackInPartsOutlastsHold: the replicas for the first part do not raise the estimate for
// the next.
func TestRollbackInPartsOutlastsHold(t *testing.T) {
	state := rolloutState(1, 0, 2, new(0), canarySplit(2, 17, 1))
	state.Returning, state.Held = true, heldBy(map[Number]int{1: 6, 2: 6})
	observed := newSnapshot(state, 2, new(0), scaledBy(1, 6, 6, 6, 0), scaledBy(2, 6, 6, 0, 0))
	observed.Desired.Replicas = external
	decision := Decide(observed, testPolicy, testNow)
	if got := decision.State.Split.String(); got != "2:0 1:100" || planOf(decision, 1).MinReplicas != 6 {
		t.Errorf("the split is %s, and the plan %+v", got, planOf(decision, 1))
	}
}

// TestScaleTarget: the number of the ScaleTarget applies to the revision with the largest share.
func TestScaleTarget(t *testing.T) {
	hold := func(state *State, ago time.Duration, held map[Number]int) *State {
		state.ShiftedAt, state.Held = testNow.Add(-ago), heldBy(held)
		return state
	}
	run := func(n Number, minReplicas int, replicas *int) WorkloadPlan {
		return WorkloadPlan{Revision: n, Component: Predictor, Action: Run, MinReplicas: minReplicas, Replicas: replicas}
	}
	raised := func(plan WorkloadPlan, to int) WorkloadPlan {
		plan.Raise, plan.MinReplicas, plan.Held = true, to, to
		return plan
	}
	tests := map[string]struct {
		state          *State
		percent        *int
		asked          int
		stable, canary Revision

		wantSplit              string
		wantStable, wantCanary WorkloadPlan // The zero plan if the revision does not run.
	}{
		"before the first route it applies to the target": {
			nil, nil, 3, withoutWorkload(1), scaledBy(2, 0, 1, 0, 0),
			"",
			WorkloadPlan{},
			run(2, 1, new(3)),
		},
		"a canary follows in proportion, upwards": {
			rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), new(10), 18, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:10 1:90", run(1, 1, new(18)), raised(run(2, 2, nil), 2),
		},
		"and not downwards": {
			rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), new(10), 2, scaledBy(1, 18, 18, 0, 0), scaledBy(2, 3, 3, 2, 0),
			"2:10 1:90", run(1, 1, new(2)),
			WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1, Held: 2},
		},
		"nor from zero": {
			rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), new(10), 18, scaledBy(1, 18, 18, 0, 0), scaledBy(2, 1, 0, 0, 0),
			"2:10 1:90", run(1, 1, new(18)), run(2, 1, nil),
		},
		"nor against an autoscaler of its own": {
			rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), new(10), 18, scaledBy(1, 18, 18, 0, 0), scaledBy(2, 1, 1, 2, 2),
			"2:10 1:90", run(1, 1, new(18)),
			WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1, Held: 2, Lowered: 2},
		},
		"on a tie it applies to the stable": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)), new(50), 5, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 4, 4, 0, 0),
			"2:50 1:50", run(1, 1, new(5)), raised(run(2, 5, nil), 5),
		},
		"a canary with more than half leads": {
			rolloutState(1, 0, 2, new(60), canarySplit(2, 60, 1)), new(60), 6, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 4, 4, 0, 0),
			"2:60 1:40",
			WorkloadPlan{Revision: 1, Component: Predictor, Action: Run, MinReplicas: 1},
			run(2, 1, new(6)),
		},
		"a promotion raises the target first": {
			rolloutState(1, 0, 2, nil, canarySplit(2, 10, 1)), nil, 4, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:10 1:90", run(1, 1, new(4)), raised(run(2, 5, nil), 5),
		},
		"what is held for a shift is not taken away": {
			hold(rolloutState(2, 1, 2, nil, All(2)), time.Minute, map[Number]int{2: 5}), nil, 4, withoutWorkload(1), scaledBy(2, 5, 5, 5, 0),
			"2:100",
			WorkloadPlan{},
			WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 5, Held: 5, Replicas: new(5)},
		},
		"until the hold is over": {
			hold(rolloutState(2, 1, 2, nil, All(2)), testPolicy.CapacityHold, map[Number]int{2: 5}), nil, 4, withoutWorkload(1), scaledBy(2, 5, 5, 5, 0),
			"2:100",
			WorkloadPlan{},
			run(2, 1, new(4)),
		},
		"a zero is kept": {
			rolloutState(2, 1, 2, nil, All(2)), nil, 0, withoutWorkload(1), scaledBy(2, 0, 0, 0, 0),
			"2:100",
			WorkloadPlan{},
			run(2, 1, new(0)),
		},
		"a zero does not take away what is held": {
			hold(rolloutState(2, 1, 2, nil, All(2)), time.Minute, map[Number]int{2: 5}), nil, 0, withoutWorkload(1), scaledBy(2, 5, 5, 5, 0),
			"2:100",
			WorkloadPlan{},
			WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 5, Held: 5, Replicas: new(5)},
		},
		"the maximum of the spec does not bound it": {
			rolloutState(2, 1, 2, nil, All(2)), nil, 40, withoutWorkload(1), scaledBy(2, 10, 10, 0, 0),
			"2:100",
			WorkloadPlan{},
			run(2, 1, new(40)),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, test.percent, test.stable, test.canary)
			observed.Desired.Replicas = external
			observed.Desired.Replicas.ScaleTarget = &test.asked
			decision := Decide(observed, testPolicy, testNow)
			if state := decision.State; state != nil && state.Split.String() != test.wantSplit {
				t.Errorf("the split is %s, want %s", state.Split, test.wantSplit)
			}
			for n, want := range map[Number]WorkloadPlan{1: test.wantStable, 2: test.wantCanary} {
				if diff := cmp.Diff(want, planOf(decision, n)); diff != "" {
					t.Errorf("plan of %d (-want +got):\n%s", n, diff)
				}
			}
			if decision.HeldBack != nil {
				t.Errorf("held back: %+v", decision.HeldBack)
			}
		})
	}
}

// TestScaleTargetFollowsTheGateway: until the gateway has accepted a promotion, the ScaleTarget
// stands for the old stable.
func TestScaleTargetFollowsTheGateway(t *testing.T) {
	state := rolloutState(2, 1, 2, nil, All(2))
	state.ServedBefore, state.ShiftedAt, state.Held = canarySplit(2, 10, 1), testNow, heldBy(map[Number]int{2: 5})
	observed := newSnapshot(state, 2, nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 5, 5, 5, 0))
	observed.Desired.Replicas = external
	observed.Desired.Replicas.ScaleTarget = new(4)
	observed.Route.Accepted = false
	if decision := Decide(observed, testPolicy, testNow); decision.Scaled() != 1 || planOf(decision, 2).Replicas != nil {
		t.Errorf("before it is accepted, revision %d is scaled, and the plan is %+v", decision.Scaled(), planOf(decision, 2))
	}
	observed.Route.Accepted = true
	if decision := Decide(observed, testPolicy, testNow); decision.Scaled() != 2 || *planOf(decision, 2).Replicas != 5 {
		t.Errorf("once it is accepted, revision %d is scaled, and the plan is %+v", decision.Scaled(), planOf(decision, 2))
	}
}

// TestScaleTargetOfResumedService: if no revision serves, the ScaleTarget stands for the stable.
func TestScaleTargetOfResumedService(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 1, nil, Split{}), 1, nil, scaledBy(1, 0, 0, 0, 0))
	observed.Desired.Replicas = external
	observed.Desired.Replicas.ScaleTarget = new(4)
	decision := Decide(observed, testPolicy, testNow)
	if plan := planOf(decision, 1); decision.Scaled() != 1 || plan.Replicas == nil || *plan.Replicas != 4 {
		t.Errorf("revision %d is scaled, and the plan is %+v", decision.Scaled(), plan)
	}
}
