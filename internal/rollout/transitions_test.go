// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// announcements returns the announced transitions in order.
func (sim *simulation) announcements() []string {
	var texts []string
	for _, transition := range sim.announced {
		texts = append(texts, transition.text())
	}
	return texts
}

func (t Transition) text() string {
	switch t.Kind {
	case Shifted:
		return fmt.Sprintf("%s from %s to %s", t.Kind, t.From, t.To)
	case Created, NothingToUndo:
		return fmt.Sprintf("%s %d", t.Kind, t.Revision)
	default:
		return fmt.Sprintf("%s %d, %d", t.Kind, t.Revision, t.Other)
	}
}

// TestTransitions: each transition is announced once.
func TestTransitions(t *testing.T) {
	first := []string{"Created 1", "Shifted from none to 1:100"}
	tests := map[string]struct {
		scenario []func(*spec)
		want     []string
	}{
		"first deployment": {nil, nil},
		"canary": {
			[]func(*spec){model(2, new(10)), percent(50)},
			[]string{"Created 2", "Shifted from 1:100 to 2:10 1:90", "Shifted from 2:10 1:90 to 2:50 1:50"},
		},
		"promotion": {
			[]func(*spec){model(2, new(10)), percent(nil)},
			[]string{"Created 2", "Shifted from 1:100 to 2:10 1:90", "Promoted 2, 1", "Shifted from 2:10 1:90 to 2:100"},
		},
		"promotion by 100": {
			[]func(*spec){model(2, new(100)), percent(nil)},
			[]string{"Created 2", "Promoted 2, 1", "Shifted from 1:100 to 2:100"},
		},
		"rollback of a canary": {
			[]func(*spec){model(2, new(10)), percent(0)},
			[]string{"Created 2", "Shifted from 1:100 to 2:10 1:90", "RolledBack 2, 1", "Shifted from 2:10 1:90 to 2:0 1:100"},
		},
		"a canary of 0 is not a rollback": {
			[]func(*spec){model(2, new(0)), percent(10)},
			[]string{"Created 2", "Shifted from 1:100 to 2:0 1:100", "Shifted from 2:0 1:100 to 2:10 1:90"},
		},
		"a lower percent is not a rollback": {
			[]func(*spec){model(2, new(50)), percent(10)},
			[]string{"Created 2", "Shifted from 1:100 to 2:50 1:50", "Shifted from 2:50 1:50 to 2:10 1:90"},
		},
		"rollback of a promotion": {
			[]func(*spec){model(2, nil), percent(0)},
			[]string{"Created 2", "Promoted 2, 1", "Shifted from 1:100 to 2:100", "RolledBack 2, 1", "Shifted from 2:100 to 2:0 1:100"},
		},
		"rollback of a promotion by half": {
			[]func(*spec){model(2, nil), percent(50)},
			[]string{"Created 2", "Promoted 2, 1", "Shifted from 1:100 to 2:100", "RolledBack 2, 1", "Shifted from 2:100 to 2:50 1:50"},
		},
		"nothing to undo": {
			[]func(*spec){percent(10), percent(20)},
			[]string{"NothingToUndo 1"},
		},
		"supersession": {
			[]func(*spec){model(2, new(10)), model(3, new(30))},
			[]string{
				"Created 2", "Shifted from 1:100 to 2:10 1:90",
				"Created 3", "Superseded 2, 3", "Shifted from 2:10 1:90 to 1:100", "Shifted from 1:100 to 3:30 1:70",
			},
		},
		"supersession of a rolled back revision": {
			[]func(*spec){model(2, new(0)), model(3, new(30))},
			[]string{
				"Created 2", "Shifted from 1:100 to 2:0 1:100",
				"Created 3", "Superseded 2, 3", "Shifted from 2:0 1:100 to 1:100", "Shifted from 1:100 to 3:30 1:70",
			},
		},
		"a revision that was never in the split is not superseded": {
			[]func(*spec){model(5, new(10)), model(3, new(30))},
			[]string{"Created 2", "Created 3", "Shifted from 1:100 to 3:30 1:70"},
		},
		"abort": {
			[]func(*spec){model(2, new(10)), model(1, new(10))},
			[]string{"Created 2", "Shifted from 1:100 to 2:10 1:90", "Superseded 2, 1", "Shifted from 2:10 1:90 to 1:100"},
		},
		"return to an earlier revision": {
			[]func(*spec){model(2, nil), model(1, nil)},
			[]string{"Created 2", "Promoted 2, 1", "Shifted from 1:100 to 2:100", "Promoted 1, 2", "Shifted from 2:100 to 1:100"},
		},
		"stop and resume": {
			[]func(*spec){model(2, new(10)), stop(true), stop(false)},
			[]string{
				"Created 2", "Shifted from 1:100 to 2:10 1:90",
				"Shifted from 2:10 1:90 to none", "Shifted from none to 2:10 1:90",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := playScenario(test.scenario, unlimited, later).announcements()
			if diff := cmp.Diff(slices.Concat(first, test.want), got); diff != "" {
				t.Errorf("transitions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTransitionsAreTheChanges: on random snapshots, the transitions are exactly the changes.
func TestTransitionsAreTheChanges(t *testing.T) {
	check(t, 20, 0, 200, func(t *rapid.T, bytes []byte) {
		checkTransitions(t, randomDecision(&choices{bytes}))
	})
}

// TestTransitionsOfTrials: so are those of trials, on random rollouts with a plan.
func TestTransitionsOfTrials(t *testing.T) {
	check(t, 20, 0, 200, func(t *rapid.T, bytes []byte) {
		d := randomPlanDecision(&choices{bytes})
		if d.observed.Route.State == nil {
			return // What was before is not known exactly.
		}
		checkTransitions(t, d, Created, Promoted, TrialStarted, Rejected, BakeStarted, BakeCompleted, BakeEnded)
	})
}

// checkTransitions checks the transitions of the given kinds, or of all kinds if none is given.
func checkTransitions(t *rapid.T, d evaluation, kinds ...TransitionKind) {
	t.Helper()
	announced := map[TransitionKind]Transition{}
	for _, transition := range d.decision.Transitions {
		if _, twice := announced[transition.Kind]; twice {
			t.Fatalf("%s is announced twice\n%v", transition.Kind, d)
		}
		announced[transition.Kind] = transition
	}
	want := changes(d)
	if len(kinds) > 0 {
		others := func(kind TransitionKind, _ Transition) bool { return !slices.Contains(kinds, kind) }
		maps.DeleteFunc(announced, others)
		maps.DeleteFunc(want, others)
	}
	if diff := diff(want, announced); diff != "" {
		t.Fatalf("transitions (-changes +announced):\n%s\n%v", diff, d)
	}
}

// changes returns the transitions between the rollout states before and after a decision.
func changes(d evaluation) map[TransitionKind]Transition {
	found := map[TransitionKind]Transition{}
	note := func(changed bool, transition Transition) {
		if changed {
			found[transition.Kind] = transition
		}
	}
	target := d.decision.Target
	note(d.decision.Create, Transition{Kind: Created, Revision: target})
	after := d.decision.State
	if after == nil {
		return found
	}
	note(!d.last().Equal(after.Split), Transition{Kind: Shifted, From: d.last(), To: after.Split})

	former := d.formerStable()
	returned := after.Stable == target && former != target && after.Previous == 0 && former != 0
	promoted := after.Stable == target && former != target && !returned
	note(promoted, Transition{Kind: Promoted, Revision: target, Other: former})
	before := d.observed.Route.State
	if before == nil {
		return found // The others depend on the recovered state.
	}
	undone := !promoted && !returned && after.Stable != before.Stable && !after.isRejected(target)
	becameZero := after.Asked.Share == 0 && before.Asked.Share != 0
	rolledBack := target != after.Stable && becameZero && before.Split.Percent(target) > 0 && !after.isRejected(target)
	note(undone || rolledBack, Transition{Kind: WasRolledBack, Revision: target, Other: after.Stable})
	note(returned, Transition{Kind: WasRolledBack, Revision: before.Stable, Other: target})
	superseded := before.Target != target && before.Target != before.Stable && before.Split.Has(before.Target)
	note(superseded, Transition{Kind: Superseded, Revision: before.Target, Other: target})
	note(after.NothingToUndo && !before.NothingToUndo && !promoted, Transition{Kind: NothingToUndo, Revision: target})

	bake := Transition{Kind: BakeEnded, Revision: before.Stable, Other: before.Previous}
	if d.observed.Desired.Commands.Promote != (TrialID{target, before.Attempts[target]}) && before.Target == target && !d.isManual() && d.canReturn(before.Previous) {
		bake.Kind = BakeCompleted
	}
	note(before.Trial.bakes() && !after.Trial.bakes() && after.Stable == before.Stable, bake)
	note(after.Trial.bakes() && !before.Trial.bakes(), Transition{Kind: BakeStarted, Revision: target, Other: after.Previous})
	note(after.Attempts[target] > before.Attempts[target], Transition{Kind: TrialStarted, Revision: target, Other: after.Stable})
	note(after.isRejected(target) && !before.isRejected(target), Transition{Kind: Rejected, Revision: target, Other: after.Stable})
	return found
}
