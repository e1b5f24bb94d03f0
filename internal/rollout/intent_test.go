// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"
)

func TestPercentIntent(t *testing.T) {
	promoted, canary := &State{Asked: Intent{Share: 100, Promote: true}}, &State{Asked: Intent{Share: 10}}
	for name, test := range map[string]struct {
		percent *int
		state   *State
		want    Intent
	}{
		"absent":                        {nil, canary, Intent{Share: 100, Promote: true}},
		"100":                           {new(100), canary, Intent{Share: 100, Promote: true}},
		"another percent":               {new(50), canary, Intent{Share: 50}},
		"a percent after a promotion":   {new(50), promoted, Intent{Share: 50, Undo: true}},
		"0 after a promotion":           {new(0), promoted, Intent{Undo: true}},
		"100 after a promotion":         {new(100), promoted, Intent{Share: 100, Promote: true}},
		"a percent without a state":     {new(50), nil, Intent{Share: 50}},
		"a percent that is not allowed": {new(-1), promoted, Intent{Share: -1, Undo: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := PercentIntent(test.percent, test.state); got != test.want {
				t.Errorf("it is %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestIntents: each intent that no percent expresses has its effect on the split and the stable.
func TestIntents(t *testing.T) {
	canaryAt := func(percent int) *State { return rolloutState(1, 0, 2, new(percent), canarySplit(2, percent, 1)) }
	everything := rolloutState(1, 0, 2, nil, All(2))
	everything.Asked.Promote = false
	for name, test := range map[string]struct {
		state          *State
		intent         Intent
		stableReady    int
		wantSplit      string
		wantStable     Number
		wantTransition TransitionKind
	}{
		"100 % without promotion":                   {canaryAt(10), Intent{Share: 100}, 1, "2:100", 1, Shifted},
		"100 % stays a canary":                      {everything, Intent{Share: 100}, 1, "2:100", 1, ""},
		"100 % is promoted without a shift":         {everything, Intent{Share: 100, Promote: true}, 1, "2:100", 2, Promoted},
		"100 % goes back to a share":                {everything, Intent{Share: 50}, 1, "2:50 1:50", 1, Shifted},
		"100 % is aborted":                          {everything, Intent{}, 1, "2:0 1:100", 1, WasRolledBack},
		"100 % is aborted when the stable is ready": {everything, Intent{}, 0, "2:100", 1, ""},
		"a hold":                      {canaryAt(25), Intent{Share: 25}, 1, "2:25 1:75", 1, ""},
		"an abort":                    {canaryAt(25), Intent{}, 1, "2:0 1:100", 1, WasRolledBack},
		"an undo of a promotion":      {rolloutState(2, 1, 2, nil, All(2)), Intent{Undo: true}, 1, "2:0 1:100", 1, WasRolledBack},
		"an undo to a share":          {rolloutState(2, 1, 2, nil, All(2)), Intent{Share: 10, Undo: true}, 1, "2:10 1:90", 1, WasRolledBack},
		"no undo without being asked": {rolloutState(2, 1, 2, nil, All(2)), Intent{}, 1, "2:100", 2, ""},
		"an undo of a canary, whose promotion is due": {canaryAt(25), Intent{Share: 25, Undo: true}, 1, "2:25 1:75", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, nil, upWith(1, test.stableReady), up(2))
			observed.Desired.Intent = test.intent
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.State; got.Split.String() != test.wantSplit || got.Stable != test.wantStable {
				t.Errorf("the split is %s and the stable %d, want %s and %d", got.Split, got.Stable, test.wantSplit, test.wantStable)
			}
			var first TransitionKind
			if len(decision.Transitions) > 0 {
				first = decision.Transitions[0].Kind
			}
			if first != test.wantTransition {
				t.Errorf("the transitions are %v, want first %q", decision.Transitions, test.wantTransition)
			}
			if plan := planOf(decision, 1); test.wantStable == 1 && plan.Action != Run {
				t.Errorf("the stable is planned as %+v", plan)
			}
			observed.Route.State = decision.State
			if again := Decide(observed, testPolicy, testNow.Add(time.Minute)); test.stableReady > 0 && !again.State.Equal(*decision.State) {
				t.Errorf("the same intent changes the state again: %s", again.State.Encode())
			}
		})
	}
}
