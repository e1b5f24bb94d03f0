// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// badInputs are specs that cannot be resolved.
var badInputs = map[string]func(*Desired){
	"no hash":                               func(w *Desired) { w.Hash = "" },
	"no hash, and another percent":          func(w *Desired) { w.Hash, w.Intent = "", Intent{Share: 55} },
	"a percent below 0":                     func(w *Desired) { w.Intent = Intent{Share: -1} },
	"a percent above 100":                   func(w *Desired) { w.Intent = Intent{Share: 101} },
	"another hash, and a percent above 100": func(w *Desired) { w.Hash, w.Intent = "other", Intent{Share: 101} },
}

// TestBadInput: the last spec stays in force, also for a shift that is in progress.
func TestBadInput(t *testing.T) {
	situations := map[string]Snapshot{
		"at rest":                         newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, nil, withoutWorkload(1), up(2)),
		"a canary that loads":             newSnapshot(rolloutState(1, 0, 2, new(10), All(1)), 2, new(10), up(1), down(2)),
		"a canary that has become ready":  newSnapshot(rolloutState(1, 0, 2, new(10), All(1)), 2, new(10), up(1), up(2)),
		"a canary that has lost its pods": newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(10), up(1), down(2)),
		"a promotion that is due":         newSnapshot(rolloutState(1, 0, 2, nil, canarySplit(2, 10, 1)), 2, nil, up(1), up(2)),
		"a rollback that is due":          newSnapshot(rolloutState(1, 0, 2, new(0), All(2)), 2, new(0), up(1), up(2)),
		"nothing to undo":                 newSnapshot(&State{Stable: 1, Target: 1, Asked: Intent{Share: 10}, NothingToUndo: true, Split: All(1), Highest: 1}, 1, new(10), up(1)),
	}
	for situation, observed := range situations {
		want := Decide(observed, testPolicy, testNow)
		for name, spoil := range badInputs {
			t.Run(situation+": "+name, func(t *testing.T) {
				bad := observed
				spoil(&bad.Desired)
				if diff := cmp.Diff(want, Decide(bad, testPolicy, testNow), splitsByShares); diff != "" {
					t.Errorf("decision (-last spec +bad spec):\n%s", diff)
				}
			})
		}
	}
}

// TestBadInputBeforeTheFirstIsReady: without a rollout state, the newest revision is the target.
func TestBadInputBeforeTheFirstIsReady(t *testing.T) {
	for name, spoil := range badInputs {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(nil, 2, nil, withoutWorkload(1), down(2))
			spoil(&observed.Desired)
			decision := Decide(observed, testPolicy, testNow)
			want := []WorkloadPlan{{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1}}
			if diff := cmp.Diff(want, decision.Workloads); diff != "" || decision.Target != 2 || decision.Create || decision.State != nil {
				t.Errorf("target is %d, created %t, with rollout state %+v; workloads (-want +got):\n%s", decision.Target, decision.Create, decision.State, diff)
			}

			observed.Revisions[1] = up(2)
			state := Decide(observed, testPolicy, testNow).State
			if state == nil || state.Stable != 2 || !state.Split.Equal(All(2)) || state.Hash != hashOf(2) {
				t.Errorf("once it is ready, the rollout state is %+v", state)
			}

			observed.Revisions = nil
			decision = Decide(observed, testPolicy, testNow)
			if diff := cmp.Diff(Decision{Phase: Loading}, decision, splitsByShares); diff != "" {
				t.Errorf("without revisions (-want +got):\n%s", diff)
			}
		})
	}
}
