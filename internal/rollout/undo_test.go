// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"testing"
)

// promoted returns a simulation at rest in which 2 was promoted and 1 has no workload.
func promoted(t *testing.T) *simulation {
	t.Helper()
	sim := newSimulation()
	sim.trace = &trace{}
	sim.settle()
	sim.edit("asks for 2", model(2, nil))
	sim.settle()
	sim.expect(t, "2:100", 2, 1)
	return sim
}

// expect checks the rollout state on the route.
func (sim *simulation) expect(t *testing.T, split string, stable, previous Number) {
	t.Helper()
	for _, b := range sim.checker.violations {
		t.Errorf("rule %d: %s", b.rule, b.how)
	}
	state, err := DecodeState(sim.route.state)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.Split.String(); got != split || state.Stable != stable || state.Previous != previous {
		t.Fatalf("the route says %s with stable %d and previous %d, want %s with %d and %d\n%s",
			got, state.Stable, state.Previous, split, stable, previous, sim.trace)
	}
}

// TestRollbackWhileThePreviousLoads: whatever happens while the previous revision loads, the target
// serves until another revision can.
func TestRollbackWhileThePreviousLoads(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(*simulation)
		// The split while 1 and 3 load, once 3 is ready, and once 1 is ready too.
		loading, with3, with1 string
		stable, previous      Number
		// The stable and the previous while 1 and 3 load.
		loadingStable, loadingPrevious Number
	}{
		"nothing else": {
			meanwhile: func(*simulation) {},
			loading:   "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"another percent": {
			meanwhile: func(sim *simulation) { sim.edit("sets 30", percent(30)) },
			loading:   "2:100", with3: "2:100", with1: "2:30 1:70", stable: 1, loadingStable: 1,
		},
		"no percent: the rollback is cancelled": {
			meanwhile: func(sim *simulation) { sim.edit("removes it", percent(nil)) },
			loading:   "2:100", with3: "2:100", with1: "2:100", stable: 2, previous: 1, loadingStable: 2, loadingPrevious: 1,
		},
		"100: the rollback is cancelled": {
			meanwhile: func(sim *simulation) { sim.edit("sets 100", percent(100)) },
			loading:   "2:100", with3: "2:100", with1: "2:100", stable: 2, previous: 1, loadingStable: 2, loadingPrevious: 1,
		},
		"another target, as a canary": {
			meanwhile: func(sim *simulation) { sim.edit("asks for 3", model(3, new(20))) },
			loading:   "2:100", with3: "2:100", with1: "3:20 1:80", stable: 1, loadingStable: 1,
		},
		"another target, with promotion": {
			meanwhile: func(sim *simulation) { sim.edit("asks for 3", model(3, nil)) },
			loading:   "2:100", with3: "3:100", with1: "3:100", stable: 3, previous: 1, loadingStable: 1,
		},
		"return to 1": {
			meanwhile: func(sim *simulation) { sim.edit("asks for 1", model(1, new(20))) },
			loading:   "2:100", with3: "2:100", with1: "1:100", stable: 1, loadingStable: 1,
		},
		"a spec that cannot be resolved": {
			meanwhile: func(sim *simulation) {
				sim.edit("writes nonsense", func(s *spec) { s.invalid, s.percent = true, new(77) })
			},
			loading: "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"stopped": {
			meanwhile: func(sim *simulation) { sim.edit("stops", stop(true)) },
			loading:   "none", with3: "none", with1: "none", stable: 1, loadingStable: 1,
		},
		"stopped and resumed": {
			meanwhile: func(sim *simulation) {
				sim.edit("stops", stop(true))
				sim.reconcile()
				sim.edit("resumes", stop(false))
			},
			loading: "none", with3: "none", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"the target loses its pods": {
			meanwhile: func(sim *simulation) { sim.lose(2) },
			loading:   "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sim := promoted(t)
			sim.edit("sets 0", percent(0))
			sim.reconcile()
			sim.expect(t, "2:100", 1, 0)

			test.meanwhile(sim)
			sim.reconcile()
			sim.reconcile()
			sim.expect(t, test.loading, test.loadingStable, test.loadingPrevious)

			sim.deploy(3)
			sim.start(3)
			sim.reconcile()
			if state, _ := DecodeState(sim.route.state); state.Split.String() != test.with3 {
				t.Errorf("with 3 ready the split is %s, want %s", state.Split, test.with3)
			}
			sim.deploy(1)
			sim.start(1)
			sim.reconcile()
			sim.expect(t, test.with1, test.stable, test.previous)
			if slices.Contains([]string{"2:100", "3:100"}, test.with1) {
				sim.settle()
				if sim.deployments[1] != nil {
					t.Error("1 still runs")
				}
			}
		})
	}
}

// TestRollBackTwice: a promotion that was rolled back can be promoted and rolled back again.
func TestRollBackTwice(t *testing.T) {
	sim := promoted(t)
	for range 2 {
		sim.edit("sets 0", percent(0))
		sim.settle()
		sim.expect(t, "2:0 1:100", 1, 0)
		sim.edit("removes it", percent(nil))
		sim.settle()
		sim.expect(t, "2:100", 2, 1)
	}
}

// TestRollBackStepByStep: any percent below 100 undoes a promotion. The next percent only moves the
// canary.
func TestRollBackStepByStep(t *testing.T) {
	sim := promoted(t)
	for _, step := range []struct {
		percent int
		want    string
	}{
		{99, "2:99 1:1"},
		{50, "2:50 1:50"},
		{0, "2:0 1:100"},
		{10, "2:10 1:90"},
	} {
		sim.edit("sets "+percentText(&step.percent), percent(step.percent))
		sim.settle()
		sim.expect(t, step.want, 1, 0)
	}
}

// TestNothingToUndo checks row 11. The transition is announced once.
func TestNothingToUndo(t *testing.T) {
	accepted := func(observed Snapshot) (state *State, times int) {
		decision := Decide(observed, testPolicy, testNow)
		for _, transition := range decision.Transitions {
			if transition.Kind == NothingToUndo && transition.Revision == 2 {
				times++
			}
		}
		return decision.State, times
	}
	state := rolloutState(2, 1, 2, nil, All(2)) // Revision 1 is lost.
	steps := []struct {
		percent *int
		want    bool
		times   int
	}{
		{nil, false, 0},
		{new(10), true, 1},
		{new(10), true, 0},
		{new(0), true, 0},
		{new(100), false, 0},
		{new(10), true, 1},
		{nil, false, 0},
	}
	for i, step := range steps {
		after, times := accepted(newSnapshot(state, 2, step.percent, up(2)))
		if after.NothingToUndo != step.want || times != step.times {
			t.Errorf("step %d: NothingToUndo is %t and announced %d times, want %t and %d", i, after.NothingToUndo, times, step.want, step.times)
		}
		if !after.Split.Equal(All(2)) || after.Stable != 2 || after.Previous != 1 {
			t.Errorf("step %d: the rollout state is %+v", i, after)
		}
		state = after
	}

	state, _ = accepted(newSnapshot(state, 2, new(10), up(2)))
	superseded, _ := accepted(newSnapshot(state, 3, new(10), up(2), down(3)))
	if superseded.NothingToUndo {
		t.Error("NothingToUndo is still true for another target")
	}
	back, times := accepted(newSnapshot(superseded, 2, new(10), up(2), down(3)))
	if back.NothingToUndo || times != 0 {
		t.Error("the return from a canary counts as a rollback (row 16)")
	}
}

// TestRollbackNeedsHistoryOrWorkload: the previous can be brought back from the history or from its
// workload.
func TestRollbackNeedsHistoryOrWorkload(t *testing.T) {
	unrecorded := up(1)
	unrecorded.InHistory = false
	for name, test := range map[string]struct {
		previous []Revision
		want     Number
	}{
		"history":    {[]Revision{withoutWorkload(1)}, 1},
		"a workload": {[]Revision{unrecorded}, 1},
		"neither":    {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, new(0), append(test.previous, up(2))...)
			if got := Decide(observed, testPolicy, testNow).State.Stable; got != test.want {
				t.Errorf("the stable is %d, want %d", got, test.want)
			}
		})
	}
}

// TestOnlyPromotionIsUndone: the percent of another target, or one that comes with another target,
// does not roll the stable back.
func TestOnlyPromotionIsUndone(t *testing.T) {
	tests := map[string]struct {
		last    *State
		target  Number
		percent *int
	}{
		"the percent comes while the canary loads": {rolloutState(2, 1, 3, nil, All(2)), 3, new(10)},
		"the percent goes while the canary loads":  {rolloutState(2, 1, 3, new(10), All(2)), 3, nil},
		"the canary comes with the percent":        {rolloutState(2, 1, 2, nil, All(2)), 3, new(10)},
		"row 16, and the percent comes with it":    {rolloutState(2, 1, 3, nil, All(2)), 2, new(10)},
		"row 16, and the percent stays":            {rolloutState(2, 1, 3, new(10), All(2)), 2, new(10)},
		"the percent changes after row 16":         {rolloutState(2, 1, 2, new(10), All(2)), 2, new(0)},
		"the percent goes after row 16":            {rolloutState(2, 1, 2, new(10), All(2)), 2, nil},
		"from absent to 100":                       {rolloutState(2, 1, 2, nil, All(2)), 2, new(100)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := Decide(newSnapshot(test.last, test.target, test.percent, up(1), up(2), down(3)), testPolicy, testNow).State
			if state.Stable != 2 || state.Previous != 1 || !state.Split.Equal(All(2)) || state.NothingToUndo {
				t.Errorf("the stable is %d and the previous %d at %s, want 2 and 1 at 2:100", state.Stable, state.Previous, state.Split)
			}
		})
	}
}
