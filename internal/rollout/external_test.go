// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var external = Bounds{Min: 1, Max: 10, External: true}

// scaledBy is a revision whose replicas an external autoscaler has set.
func scaledBy(n Number, ready, replicas, held, lowered int) Revision {
	revision := upWith(n, replicas)
	revision.Workload.Ready, revision.Workload.Held, revision.Workload.Lowered = ready, held, lowered
	return revision
}

// TestExternalAutoscaler: the operator raises the replicas of a receiver to what its share needs, and leaves every other
// number to the autoscaler.
func TestExternalAutoscaler(t *testing.T) {
	canary := between(2, 10, 1)
	shifted := func(ago time.Duration) *Record {
		record := remembered(2, 1, 2, nil, All(2))
		record.ShiftedAt, record.Floors = testNow.Add(-ago), map[Number]int{2: 4}
		return record
	}
	lost := remembered(1, 0, 2, new(10), between(2, 0, 1))
	lost.AskedAt, lost.LostAt = testNow.Add(-time.Hour), testNow.Add(-10*time.Minute)
	tests := map[string]struct {
		record         *Record
		percent        *int
		stable, canary Revision

		wantSplit string
		want      WorkloadPlan // Of the canary.
		wantHeld  *HeldBack
	}{
		"a promotion needs what carries the whole traffic: four replicas carry 90 %": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:10 1:90",
			WorkloadPlan{Floor: 5, Raise: true, Held: 5},
			nil,
		},
		"they are there": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 5, 5, 5, 0),
			"2:100",
			WorkloadPlan{Floor: 5, Held: 5},
			nil,
		},
		"they are raised, and not ready yet": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 5, 5, 0),
			"2:10 1:90",
			WorkloadPlan{Floor: 5, Held: 5},
			nil,
		},
		"the autoscaler has lowered them once": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 0),
			"2:10 1:90",
			WorkloadPlan{Floor: 5, Raise: true, Held: 5, Lowered: 1},
			nil,
		},
		"and twice": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 1),
			"2:10 1:90",
			WorkloadPlan{Floor: 5, Raise: true, Held: 5, Lowered: 2},
			nil,
		},
		"and three times: the operator stops": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 5, 2),
			"2:10 1:90",
			WorkloadPlan{Floor: 5, Held: 5, Lowered: 2},
			&HeldBack{Revision: 2, Replicas: 5},
		},
		"the autoscaler gives in": {
			remembered(1, 0, 2, nil, canary), nil, scaledBy(1, 4, 4, 0, 0), scaledBy(2, 5, 5, 5, 2),
			"2:100",
			WorkloadPlan{Floor: 5, Held: 5, Lowered: 2},
			nil,
		},
		"they are held after the shift": {
			shifted(time.Minute), nil, away(1), scaledBy(2, 1, 1, 4, 0),
			"2:100",
			WorkloadPlan{Floor: 4, Raise: true, Held: 4, Lowered: 1},
			nil,
		},
		"and not for longer than the capacity hold": {
			shifted(testPolicy.CapacityHold), nil, away(1), scaledBy(2, 1, 1, 4, 0), "2:100", WorkloadPlan{Floor: 1}, nil,
		},
		"a share of nothing raises nothing": {
			remembered(1, 0, 2, new(0), canary), new(0), scaledBy(1, 4, 4, 0, 0), scaledBy(2, 1, 1, 0, 0),
			"2:0 1:100",
			WorkloadPlan{Floor: 1},
			nil,
		},
		"a canary that was scaled to zero stays there": {
			lost, new(10), scaledBy(1, 4, 4, 0, 0), scaledBy(2, 0, 0, 0, 0), "2:0 1:100", WorkloadPlan{Floor: 1}, nil,
		},
		"a new canary begins with what its share needs": {
			remembered(1, 0, 2, new(50), All(1)), new(50), scaledBy(1, 4, 4, 0, 0), away(2), "1:100", WorkloadPlan{Floor: 2}, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			seen := sees(test.record, 2, test.percent, test.stable, test.canary)
			seen.Wanted.Replicas = external
			decision := Decide(seen, testPolicy, testNow)
			if got := decision.Record.Split.String(); got != test.wantSplit {
				t.Errorf("the split is %s, want %s", got, test.wantSplit)
			}
			test.want.Revision, test.want.Action = 2, Run
			if diff := cmp.Diff(test.want, planOf(decision, 2)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantHeld, decision.HeldBack); diff != "" {
				t.Errorf("held back (-want +got):\n%s", diff)
			}
			if plan := planOf(decision, 1); plan.Raise && decision.Record.Split.Percent(1) <= test.record.Split.Percent(1) {
				t.Errorf("the replicas of the stable are to be written: %+v", plan)
			}
		})
	}
}

// TestAZeroOfTheExternalAutoscalerIsKept: a stable that was scaled to zero keeps its share and its number.
func TestAZeroOfTheExternalAutoscalerIsKept(t *testing.T) {
	seen := sees(remembered(1, 0, 1, nil, All(1)), 1, nil, scaledBy(1, 0, 0, 0, 0))
	seen.Wanted.Replicas = external
	decision := Decide(seen, testPolicy, testNow)
	if plan := planOf(decision, 1); plan.Raise || plan.Action != Run || !decision.Record.Split.Equal(All(1)) {
		t.Errorf("the plan is %+v, the split %s", plan, decision.Record.Split)
	}
}
