// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"
)

// unschedulable returns a revision whose pod has been unschedulable for some time.
func unschedulable(n Number, wait time.Duration) Revision {
	revision := down(n)
	revision.predictor().UnschedulableSince = testNow.Add(-wait)
	return revision
}

func gone(n Number) Revision {
	revision := down(n)
	*revision.predictor() = Workload{IdleSince: testNow}
	return revision
}

// TestReplacement checks row 22: an unschedulable target takes the place of the stable, if the
// deploymentStrategy allows it.
func TestReplacement(t *testing.T) {
	replacing := func(replacement Replacement) *State {
		state := rolloutState(1, 0, 2, nil, All(1))
		state.Version, state.Replacement, state.ReplacingSince = StateVersion, replacement, testNow.Add(-time.Minute)
		return state
	}
	failing := func(revision Revision) Revision {
		revision.predictor().Failed = true
		return revision
	}
	tests := map[string]struct {
		state          *State
		stable, target Revision
		change         func(*Snapshot)

		want             Replacement
		wantSplit        string
		wantOld, wantNew Action
		wantPhase        Phase
	}{
		"unschedulable for less than a minute": {
			state: replacing(""), stable: up(1), target: unschedulable(2, 59*time.Second),
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"unschedulable for a minute": {
			state: replacing(""), stable: up(1), target: unschedulable(2, time.Minute),
			want: Replacing, wantSplit: "1:100", wantOld: ScaleDown, wantNew: Run, wantPhase: Loading,
		},
		"the strategy does not allow it": {
			state: replacing(""), stable: up(1), target: unschedulable(2, time.Hour),
			change:    func(s *Snapshot) { s.Desired.Replace = false },
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"a canary": {
			state: replacing(""), stable: up(1), target: unschedulable(2, time.Hour),
			change:    func(s *Snapshot) { s.ask(new(10)) },
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"the target has failed: the stable keeps running": {
			state: replacing(""), stable: up(1), target: failing(unschedulable(2, time.Hour)),
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Failed,
		},
		"the target is scheduled and loads": {
			state: replacing(""), stable: up(1), target: down(2), wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"the stable is gone, and the target loads": {
			state: replacing(Replacing), stable: gone(1), target: down(2),
			want: Replacing, wantSplit: "1:100", wantOld: ScaleDown, wantNew: Run, wantPhase: Loading,
		},
		"the target is ready: it is promoted": {
			state: replacing(Replacing), stable: gone(1), target: up(2), wantSplit: "2:100", wantOld: AwaitRoute, wantNew: Run, wantPhase: Stable,
		},
		"the target fails: the stable comes back": {
			state: replacing(Replacing), stable: gone(1), target: failing(down(2)),
			want: ReplacementFailed, wantSplit: "1:100", wantOld: Run, wantNew: ScaleDown, wantPhase: Failed,
		},
		"the target is not tried again": {
			state: replacing(ReplacementFailed), stable: up(1), target: gone(2),
			want: ReplacementFailed, wantSplit: "1:100", wantOld: Run, wantNew: ScaleDown, wantPhase: Failed,
		},
		"the spec changes: the new target is tried": {
			state: replacing(ReplacementFailed), stable: up(1), target: down(2),
			change:    func(s *Snapshot) { s.Route.State.Target = 3 },
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"the percent changes: the target is tried as a canary": {
			state: replacing(ReplacementFailed), stable: up(1), target: gone(2),
			change:    func(s *Snapshot) { s.ask(new(10)) },
			wantSplit: "1:100", wantOld: Run, wantNew: Run, wantPhase: Loading,
		},
		"the spec returns to the stable": {
			state: replacing(Replacing), stable: gone(1), target: unschedulable(2, time.Hour),
			change:    func(s *Snapshot) { s.Desired.Hash = hashOf(1) },
			wantSplit: "1:100", wantOld: Run, wantNew: AwaitRoute, wantPhase: Loading,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, nil, test.stable, test.target)
			observed.Desired.Replace = true
			if test.change != nil {
				test.change(&observed)
			}
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.State.Replacement; got != test.want {
				t.Errorf("the replacement is %q, want %q", got, test.want)
			}
			if got := decision.State.Split.String(); got != test.wantSplit {
				t.Errorf("the split is %s, want %s", got, test.wantSplit)
			}
			if before, after := planOf(decision, 1).Action, planOf(decision, 2).Action; before != test.wantOld || after != test.wantNew {
				t.Errorf("the stable gets action %s and the target %s, want %s and %s", before, after, test.wantOld, test.wantNew)
			}
			if decision.Phase != test.wantPhase {
				t.Errorf("the phase is %s, want %s", decision.Phase, test.wantPhase)
			}
		})
	}
}

// TestReplacementThatStaysUnschedulable: the target fails if it is still unschedulable at the
// progress deadline.
func TestReplacementThatStaysUnschedulable(t *testing.T) {
	policy := testPolicy
	policy.ProgressDeadline = 10 * time.Minute
	state := rolloutState(1, 0, 2, nil, All(1))
	observed := newSnapshot(state, 2, nil, up(1), unschedulable(2, time.Hour))
	observed.Desired.Replace = true
	begun := Decide(observed, policy, testNow)
	observed.Route.State, observed.Revisions[0] = begun.State, gone(1)
	waits := Decide(observed, policy, testNow.Add(time.Minute))
	if end := testNow.Add(10 * time.Minute); waits.State.Replacement != Replacing || !waits.WakeAt.Equal(end) {
		t.Errorf("after a minute: %q, and it wakes at %s, want %s", waits.State.Replacement, waits.WakeAt, end)
	}
	if got := Decide(observed, policy, testNow.Add(10*time.Minute)).State.Replacement; got != ReplacementFailed {
		t.Errorf("after ten minutes: %q", got)
	}
}
