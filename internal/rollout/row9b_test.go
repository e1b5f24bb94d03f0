// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
)

// TestRollbackWithAnnotation checks row 9b: a percent of 0 together with other labels or
// annotations is a rollback. The revision with the new metadata is created once the previous
// revision serves everything.
func TestRollbackWithAnnotation(t *testing.T) {
	sim := promoted(t)
	sim.edit("sets 0 and an annotation", func(s *spec) { s.Hash, s.percent = relabelled(2), new(0) })
	sim.reconcile()
	sim.expect(t, "2:100", 1, 0)
	if sim.deployments[3] != nil || sim.history[3] != "" {
		t.Fatal("the new revision competes with the previous one")
	}
	sim.deploy(1)
	sim.start(1)
	sim.reconcile()
	sim.expect(t, "1:100", 1, 0)
	sim.settle()
	sim.expect(t, "3:0 1:100", 1, 0)
	if got := sim.decide().decision.Phase; got != RolledBack {
		t.Errorf("the phase is %s", got)
	}
	if sim.deployments[2] != nil {
		t.Error("the rejected revision still runs")
	}

	sim.edit("removes the annotation", func(s *spec) { s.Hash = hashOf(2) })
	sim.settle()
	sim.expect(t, "2:0 1:100", 1, 0)
	sim.edit("sets 10", percent(10))
	sim.settle()
	sim.expect(t, "2:10 1:90", 1, 0)
}

func TestRow9b(t *testing.T) {
	same := func(revision Revision) Revision {
		revision.SameModel = true
		return revision
	}
	tests := map[string]struct {
		state     *State
		target    Number
		percent   *int
		revisions []Revision

		wantSplit            string
		wantStable, wantPrev Number
		wantTarget           Number
		wantPhase            Phase
	}{
		"the previous is ready: it takes everything": {
			rolloutState(2, 1, 2, nil, All(2)), 3, new(0), []Revision{up(1), same(up(2))}, "1:100", 1, 0, 2, RolledBack,
		},
		"the previous is down: it is brought back first": {
			rolloutState(2, 1, 2, nil, All(2)), 3, new(0), []Revision{withoutWorkload(1), same(up(2))}, "2:100", 1, 0, 2, Shifting,
		},
		"the previous is being brought back": {
			rolloutState(1, 0, 2, new(0), All(2)), 3, new(0), []Revision{down(1), same(up(2))}, "2:100", 1, 0, 2, Shifting,
		},
		"the rollback is done: the revision is created": {
			rolloutState(1, 0, 2, new(0), All(1)), 10, new(0), []Revision{up(1), same(up(2))}, "1:100", 1, 0, 10, Loading,
		},
		"a revision with the new metadata exists": {
			rolloutState(2, 1, 2, nil, All(2)), 3, new(0), []Revision{withoutWorkload(1), same(up(2)), same(withoutWorkload(3))}, "2:100", 1, 0, 2, Shifting,
		},
		"no previous is left: a preview of the new metadata": {
			rolloutState(2, 0, 2, nil, All(2)), 10, new(0), []Revision{same(up(2))}, "2:100", 2, 0, 10, Loading,
		},
		"another model: a preview": {
			rolloutState(2, 1, 2, nil, All(2)), 3, new(0), []Revision{up(1), up(2), up(3)}, "3:0 2:100", 2, 1, 3, Preview,
		},
		"the model of the previous: a preview": {
			rolloutState(2, 1, 2, nil, All(2)), 1, new(0), []Revision{up(1), up(2)}, "2:100 1:0", 2, 1, 1, Preview,
		},
		"a percent of 10: a canary of the new metadata": {
			rolloutState(2, 1, 2, nil, All(2)), 3, new(10), []Revision{up(1), same(up(2)), same(up(3))}, "3:10 2:90", 2, 1, 3, Canary,
		},
		"in the middle of a canary the stable takes everything": {
			rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 3, new(0), []Revision{up(1), same(up(2)), same(up(3))}, "3:0 1:100", 1, 0, 3, RolledBack,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			decision := Decide(newSnapshot(test.state, test.target, test.percent, test.revisions...), testPolicy, testNow)
			if got := decision.State.Split.String(); got != test.wantSplit || decision.Target != test.wantTarget {
				t.Errorf("the target is %d and the split %s, want %d and %s", decision.Target, got, test.wantTarget, test.wantSplit)
			}
			if decision.State.Stable != test.wantStable || decision.State.Previous != test.wantPrev {
				t.Errorf("the stable is %d and the previous %d, want %d and %d", decision.State.Stable, decision.State.Previous, test.wantStable, test.wantPrev)
			}
			if decision.Phase != test.wantPhase {
				t.Errorf("the phase is %s, want %s", decision.Phase, test.wantPhase)
			}
		})
	}
}

// TestLabelKeepsPrevious checks row 6: a promotion of only other labels or annotations keeps the
// previous.
func TestLabelKeepsPrevious(t *testing.T) {
	sim := promoted(t)
	sim.edit("sets a cost label", func(s *spec) { s.Hash = relabelled(2) })
	sim.settle()
	sim.expect(t, "3:100", 3, 1)
	sim.edit("sets 0", percent(0))
	sim.settle()
	sim.expect(t, "3:0 1:100", 1, 0)
}

// TestPhaseWithoutShare: a share of 0 is a rollback or a preview, also with a state of the first
// release.
func TestPhaseWithoutShare(t *testing.T) {
	tried := rolloutState(1, 0, 2, new(0), canarySplit(2, 0, 1))
	tried.Version, tried.Tried = StateVersion, true
	untried := rolloutState(1, 0, 2, new(0), canarySplit(2, 0, 1))
	untried.Version, untried.ServedBefore = StateVersion, canarySplit(2, 10, 1)
	old, oldPreview := rolloutState(1, 0, 2, new(0), canarySplit(2, 0, 1)), rolloutState(1, 0, 2, new(0), canarySplit(2, 0, 1))
	old.ServedBefore, oldPreview.ServedBefore = canarySplit(2, 10, 1), All(1)
	for name, test := range map[string]struct {
		state *State
		want  Phase
	}{
		"a share that was taken back":                    {tried, RolledBack},
		"no share yet":                                   {untried, Preview},
		"a share that was taken back, first release":     {old, RolledBack},
		"no share yet, first release":                    {oldPreview, Preview},
		"a canary whose percent becomes 0":               {rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), RolledBack},
		"a promotion that is undone":                     {rolloutState(2, 1, 2, nil, All(2)), RolledBack},
		"a new target after a rollback":                  {rolloutState(1, 0, 9, new(0), All(1)), Preview},
		"a target that loads with a percent of 0 so far": {rolloutState(1, 0, 2, new(0), All(1)), Preview},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, new(0), up(1), up(2))
			if got := Decide(observed, testPolicy, testNow).Phase; got != test.want {
				t.Errorf("the phase is %s, want %s", got, test.want)
			}
		})
	}
}
