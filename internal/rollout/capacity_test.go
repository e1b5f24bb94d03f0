// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var scaled = Bounds{Min: 1, Max: 10}

// TestInitialReplicas checks the formula of rule 3: a target starts with the replicas for its first
// share.
func TestInitialReplicas(t *testing.T) {
	tests := map[string]struct {
		bounds  Bounds
		serving int
		percent *int
		want    int
	}{
		"a small share needs one":                        {scaled, 7, new(10), 1},
		"a share is rounded up":                          {scaled, 7, new(50), 4},
		"a share that fits is not":                       {scaled, 8, new(50), 4},
		"a promotion needs all":                          {scaled, 7, nil, 7},
		"one hundred is a promotion":                     {scaled, 7, new(100), 7},
		"a share of 0 needs the minimum":                 {Bounds{Min: 2, Max: 10}, 7, new(0), 2},
		"never more than the maximum":                    {Bounds{Min: 1, Max: 5}, 7, nil, 5},
		"never less than the minimum":                    {Bounds{Min: 3, Max: 10}, 7, new(10), 3},
		"a crashed stable does not count":                {scaled, 0, nil, 1},
		"a fixed number":                                 {Bounds{Min: 3, Max: 3}, 3, new(10), 3},
		"a fixed number, with some left of a larger one": {Bounds{Min: 3, Max: 3}, 8, nil, 3},
		"a maximum below the minimum":                    {Bounds{Min: 4, Max: 2}, 8, nil, 4},
		"a minimum of 0 still needs one":                 {Bounds{Min: 0, Max: 4}, 1, new(10), 1},
		"Knative scales":                                 {Bounds{Min: 2, ScaledByKnative: true}, 7, nil, 2},
		"Knative scales to zero":                         {Bounds{ScaledByKnative: true}, 7, nil, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(rolloutState(1, 0, 2, test.percent, All(1)), 2, test.percent, upWith(1, test.serving), down(2))
			observed.Desired.Replicas = test.bounds
			if got := planOf(Decide(observed, testPolicy, testNow), 2).MinReplicas; got != test.want {
				t.Errorf("it starts with %d replicas, want %d", got, test.want)
			}
		})
	}
}

// TestReplicasForLargerShare: the estimate divides the ready replicas of the stable by its share,
// but not its held replicas.
func TestReplicasForLargerShare(t *testing.T) {
	tests := map[string]struct {
		had, wanted    int
		stable, canary int
		held           map[Number]int
		want           *Waiting
	}{
		"the held replicas of the stable":         {had: 20, wanted: 50, stable: 5, canary: 1, held: map[Number]int{1: 5}, want: &Waiting{Revision: 2, Percent: 50, Ready: 1, Need: 3}},
		"more than the held replicas":             {had: 20, wanted: 50, stable: 6, canary: 1, held: map[Number]int{1: 5}, want: &Waiting{Revision: 2, Percent: 50, Ready: 1, Need: 4}},
		"nothing held":                            {had: 20, wanted: 50, stable: 4, canary: 1, want: &Waiting{Revision: 2, Percent: 50, Ready: 1, Need: 3}},
		"one replica is not divided":              {had: 20, wanted: 50, stable: 1, canary: 1},
		"enough replicas":                         {had: 20, wanted: 50, stable: 5, canary: 3, held: map[Number]int{1: 5}},
		"the replicas of the canary do not count": {had: 90, wanted: 95, stable: 5, canary: 5, held: map[Number]int{1: 5, 2: 5}},
		"never more than the maximum":             {had: 90, wanted: 95, stable: 9, canary: 5, held: map[Number]int{1: 5}, want: &Waiting{Revision: 2, Percent: 95, Ready: 5, Need: 10}},
		"a smaller share":                         {had: 50, wanted: 20, stable: 5, canary: 1},
		"the same share":                          {had: 50, wanted: 50, stable: 5, canary: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := rolloutState(1, 0, 2, new(test.had), canarySplit(2, test.had, 1))
			state.Held = heldBy(test.held)
			observed := newSnapshot(state, 2, new(test.wanted), upWith(1, test.stable), upWith(2, test.canary))
			observed.Desired.Replicas = scaled
			decision := Decide(observed, testPolicy, testNow)

			if diff := cmp.Diff(test.want, decision.Waiting); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			want, minReplicas := canarySplit(2, test.wanted, 1), 0
			if test.want != nil {
				want, minReplicas = state.Split, test.want.Need
			}
			if !decision.State.Split.Equal(want) {
				t.Errorf("split is %s, want %s", decision.State.Split, want)
			}
			if got := planOf(decision, 2).MinReplicas; got < minReplicas {
				t.Errorf("it runs at least %d replicas while it waits for %d", got, minReplicas)
			}
		})
	}
}

// TestFirstSharesWait: a first share of 0, and the first revision, need the minimum replicas too.
func TestFirstSharesWait(t *testing.T) {
	bounds := Bounds{Min: 3, Max: 3}
	tests := map[string]struct {
		state   *State
		percent *int
		ready   int
		split   Split
		want    *Waiting
	}{
		"the first deployment, in part": {nil, new(10), 2, Split{}, &Waiting{Revision: 2, Percent: 100, Ready: 2, Need: 3}},
		"the first deployment":          {nil, new(10), 3, All(2), nil},
		"a canary of 0, in part":        {rolloutState(1, 0, 2, new(0), All(1)), new(0), 2, All(1), &Waiting{Revision: 2, Percent: 0, Ready: 2, Need: 3}},
		"a canary of 0":                 {rolloutState(1, 0, 2, new(0), All(1)), new(0), 3, canarySplit(2, 0, 1), nil},
		"a canary that falls to 0":      {rolloutState(1, 0, 2, new(0), canarySplit(2, 10, 1)), new(0), 2, canarySplit(2, 0, 1), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 2, test.percent, upWith(1, 3), upWith(2, test.ready))
			if test.state == nil {
				observed.Revisions[0] = withoutWorkload(1)
			}
			observed.Desired.Replicas = bounds
			d := evaluation{decision: Decide(observed, testPolicy, testNow)}
			if diff := cmp.Diff(test.want, d.decision.Waiting); diff != "" || !d.split().Equal(test.split) {
				t.Errorf("split is %s, want %s; it waits (-want +got):\n%s", d.split(), test.split, diff)
			}
		})
	}
}

// TestLowerMinimumDuringRollout: the held replicas stay, and the estimate does not grow.
func TestLowerMinimumDuringRollout(t *testing.T) {
	state := rolloutState(1, 0, 2, new(90), All(1))
	observed := newSnapshot(state, 2, new(90), upWith(1, 5), upWith(2, 5))
	observed.Desired.Replicas = Bounds{Min: 5, Max: 20}
	shifted := Decide(observed, testPolicy, testNow)
	if got := shifted.State.Split; !got.Equal(canarySplit(2, 90, 1)) {
		t.Fatalf("split is %s", got)
	}

	observed.Route.State = shifted.State
	observed.Desired.Replicas.Min = 1
	for name, percent := range map[string]*int{"unchanged": new(90), "promoted": nil} {
		observed.ask(percent)
		decision := Decide(observed, testPolicy, testNow.Add(time.Hour))
		if plan := planOf(decision, 2); plan.MinReplicas != 5 || decision.Waiting != nil {
			t.Errorf("%s: the canary runs at least %d replicas, waiting for %v", name, plan.MinReplicas, decision.Waiting)
		}
	}
	observed.ask(new(90))
	if plan := planOf(Decide(observed, testPolicy, testNow.Add(time.Hour)), 1); plan.MinReplicas != 5 {
		t.Errorf("the stable, which may have to take everything back, runs at least %d replicas", plan.MinReplicas)
	}
}

// TestEstimateWithSmallShare: one more replica of a stable with 1 % does not raise the estimate by
// a hundred replicas.
func TestEstimateWithSmallShare(t *testing.T) {
	state := rolloutState(1, 0, 2, new(99), canarySplit(2, 99, 1))
	observed := newSnapshot(state, 2, nil, upWith(1, 2), upWith(2, 6))
	observed.Desired.Replicas = scaled
	decision := Decide(observed, testPolicy, testNow)
	if want := (&Waiting{Revision: 2, Percent: 100, Ready: 6, Need: 8}); cmp.Diff(want, decision.Waiting) != "" {
		t.Errorf("it waits for %v, want %v", decision.Waiting, want)
	}
}

// TestHeldReplicasOfShift: a shift holds what a growing canary needs, and what the other revision
// has.
func TestHeldReplicasOfShift(t *testing.T) {
	tests := map[string]struct {
		state     *State
		held      map[Number]int
		percent   *int
		bounds    Bounds
		revisions []Revision
		want      map[Number]int
	}{
		"a small canary": {
			rolloutState(1, 0, 2, new(10), All(1)), nil, new(10), scaled,
			[]Revision{upWith(1, 7), upWith(2, 1)},
			map[Number]int{1: 7},
		},
		"a large canary, and more pods than it needs": {
			rolloutState(1, 0, 2, new(50), All(1)), nil, new(50), scaled,
			[]Revision{upWith(1, 7), upWith(2, 6)},
			map[Number]int{1: 7, 2: 4},
		},
		"all but a little": {
			rolloutState(1, 0, 2, new(99), All(1)), nil, new(99), scaled,
			[]Revision{upWith(1, 7), upWith(2, 7)},
			map[Number]int{1: 7, 2: 7},
		},
		"a share that goes down keeps what both have": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)),
			map[Number]int{1: 7, 2: 4},
			new(20), scaled,
			[]Revision{upWith(1, 7), upWith(2, 4)},
			map[Number]int{1: 7, 2: 4},
		},
		"a stable that lost pods keeps its held replicas": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)),
			map[Number]int{1: 7, 2: 4},
			new(20), scaled,
			[]Revision{upWith(1, 3), upWith(2, 4)},
			map[Number]int{1: 7, 2: 4},
		},
		"a promotion holds nothing for the old stable": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)),
			map[Number]int{1: 7, 2: 4},
			nil, scaled,
			[]Revision{upWith(1, 7), upWith(2, 7)},
			map[Number]int{2: 7},
		},
		"a canary that is rolled back": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)),
			map[Number]int{1: 7, 2: 4},
			new(0), scaled,
			[]Revision{upWith(1, 7), upWith(2, 4)},
			map[Number]int{1: 7},
		},
		"a stable that was brought back may have to take all": {
			rolloutState(1, 0, 2, new(50), All(2)), nil, new(50), scaled,
			[]Revision{upWith(1, 4), upWith(2, 7)},
			map[Number]int{1: 7, 2: 7},
		},
		"a growing canary does not count": {
			rolloutState(1, 0, 3, new(10), canarySplit(2, 10, 1)),
			map[Number]int{1: 3},
			new(10), scaled,
			[]Revision{upWith(1, 3), upWith(2, 3)},
			map[Number]int{1: 3},
		},
		"the first deployment": {
			nil, nil, nil, scaled, []Revision{withoutWorkload(1), upWith(2, 1)}, nil,
		},
		"within the bounds": {
			rolloutState(1, 0, 2, new(50), All(1)), nil, new(50),
			Bounds{Min: 1, Max: 5},
			[]Revision{upWith(1, 7), upWith(2, 4)},
			map[Number]int{1: 5, 2: 4},
		},
		"no autoscaler": {
			rolloutState(1, 0, 2, new(50), All(1)), nil, new(50),
			Bounds{Min: 3, Max: 3},
			[]Revision{upWith(1, 3), upWith(2, 3)},
			map[Number]int{1: 3, 2: 3}, // The minimum may be lowered before the rollout is over.
		},
		"one replica each": {
			rolloutState(1, 0, 2, new(50), All(1)), nil, new(50),
			Bounds{Min: 1, Max: 1},
			[]Revision{up(1), up(2)},
			nil,
		},
		"Knative scales": {
			rolloutState(1, 0, 2, new(50), All(1)), nil, new(50),
			Bounds{Min: 1, Max: 10, ScaledByKnative: true},
			[]Revision{upWith(1, 3), upWith(2, 3)},
			nil,
		},
		"no shift, no change": {
			rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)),
			map[Number]int{1: 7, 2: 4},
			new(50), scaled,
			[]Revision{upWith(1, 9), upWith(2, 9)},
			map[Number]int{1: 7, 2: 4},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.state != nil {
				test.state.Held = heldBy(test.held)
			}
			given := maps.Clone(test.held)
			observed := newSnapshot(test.state, 2, test.percent, test.revisions...)
			observed.Desired.Replicas = test.bounds
			got := Decide(observed, testPolicy, testNow).State.Held
			if diff := cmp.Diff(heldBy(test.want), got); diff != "" {
				t.Errorf("held replicas (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(given, test.held); diff != "" {
				t.Errorf("the observed rollout state has changed:\n%s", diff)
			}
		})
	}
}

// TestAbortWhileTheCanaryGrows: the replicas that a canary of 10 % has for its promotion do not
// raise the estimate tenfold when it is aborted.
func TestAbortWhileTheCanaryGrows(t *testing.T) {
	state := rolloutState(1, 0, 2, nil, canarySplit(2, 10, 1))
	state.Held = heldBy(map[Number]int{1: 3})
	observed := newSnapshot(state, 1, nil, upWith(1, 3), upWith(2, 2))
	observed.Desired.Replicas = scaled
	decision := Decide(observed, testPolicy, testNow)
	if diff := cmp.Diff(heldBy(map[Number]int{1: 3}), decision.State.Held); diff != "" || planOf(decision, 1).MinReplicas != 3 {
		t.Errorf("the stable runs at least %d replicas; held replicas (-want +got):\n%s", planOf(decision, 1).MinReplicas, diff)
	}
}

// TestSurplusReplicas: replicas above the desired number serve until they stop, but do not count.
func TestSurplusReplicas(t *testing.T) {
	canary := upWith(2, 4)
	observed := newSnapshot(rolloutState(1, 0, 2, new(50), canarySplit(2, 0, 1)), 2, new(50), upWith(1, 7), canary)
	observed.Desired.Replicas = scaled

	canary.predictor().Replicas = 1
	decision := Decide(observed, testPolicy, testNow)
	if diff := cmp.Diff(&Waiting{Revision: 2, Percent: 50, Ready: 1, Need: 4}, decision.Waiting); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if minReplicas := planOf(decision, 2).MinReplicas; minReplicas != 4 {
		t.Errorf("it runs at least %d replicas, want 4", minReplicas)
	}
	canary.predictor().Replicas = 4
	if split := Decide(observed, testPolicy, testNow).State.Split; !split.Equal(canarySplit(2, 50, 1)) {
		t.Errorf("once they are desired again, the split is %s", split)
	}
	observed.Desired.Replicas.ScaledByKnative, canary.predictor().Replicas = true, 0
	if split := Decide(observed, testPolicy, testNow).State.Split; !split.Equal(canarySplit(2, 50, 1)) {
		t.Errorf("with Knative, the split is %s", split)
	}
}

// TestTerminatingReplicas: terminating replicas look ready but get no traffic.
func TestTerminatingReplicas(t *testing.T) {
	leaving := func(n Number) Revision {
		revision := upWith(n, 1)
		revision.predictor().Terminating = true
		return revision
	}
	for name, test := range map[string]struct {
		observed Snapshot
		want     Split
	}{
		"a rollback":           {newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, new(0), leaving(1), up(2)), All(2)},
		"a return to a canary": {newSnapshot(rolloutState(1, 0, 1, nil, All(1)), 2, new(20), up(1), leaving(2)), All(1)},
	} {
		t.Run(name, func(t *testing.T) {
			decision := Decide(test.observed, testPolicy, testNow)
			if !decision.State.Split.Equal(test.want) {
				t.Errorf("the split is %s, want %s", decision.State.Split, test.want)
			}
			if planOf(decision, 1).Action != Run || planOf(decision, 2).Action != Run {
				t.Errorf("both must run, and the plans are %+v", decision.Workloads)
			}
		})
	}
}

// TestHold: replicas are held while two revisions share the traffic, until the gateway has accepted
// the route, and for the capacity hold after a shift.
func TestHold(t *testing.T) {
	hold := testPolicy.CapacityHold
	promoted := rolloutState(2, 1, 2, nil, All(2))
	tests := map[string]struct {
		state    *State
		since    time.Duration
		notTaken bool
		want     int
		wantWake time.Duration // After now; 0 for never.
	}{
		"right after a shift":                   {state: promoted, want: 7, wantWake: hold},
		"just before the end":                   {state: promoted, since: hold - time.Millisecond, want: 7, wantWake: time.Millisecond},
		"at the end":                            {state: promoted, since: hold, want: 1},
		"while the gateway is slow":             {state: promoted, since: 10 * hold, notTaken: true, want: 7},
		"while two revisions share the traffic": {state: rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)), since: 10 * hold, want: 7},
		"once one has 0 %":                      {state: rolloutState(2, 1, 3, new(0), canarySplit(3, 0, 2)), since: hold, want: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := *test.state
			state.Held, state.ShiftedAt = heldBy(map[Number]int{2: 7}), testNow.Add(-test.since)
			observed := newSnapshot(&state, state.Target, nil, upWith(1, 1), upWith(2, 7), upWith(3, 1))
			observed.Desired.Intent, observed.Desired.Replicas = state.Asked, scaled
			observed.Route.Accepted = !test.notTaken
			observed.Revisions = slices.DeleteFunc(observed.Revisions, func(r Revision) bool {
				// A workload that drains would change WakeAt.
				return r.Number != state.Stable && r.Number != state.Target
			})
			decision := Decide(observed, testPolicy, testNow)
			if got := planOf(decision, 2).MinReplicas; got != test.want {
				t.Errorf("the minimum is %d replicas, want %d", got, test.want)
			}
			var want time.Time
			if test.wantWake != 0 {
				want = testNow.Add(test.wantWake)
			}
			if !decision.WakeAt.Equal(want) {
				t.Errorf("it wakes at %s, want %s", decision.WakeAt, want)
			}
		})
	}
}

// TestExpiredHold: expired held replicas do not count for the next shift. Otherwise each rollout
// would start with the replicas of the highest load ever.
func TestExpiredHold(t *testing.T) {
	state := rolloutState(2, 1, 3, new(10), All(2))
	state.Held = heldBy(map[Number]int{2: 9})
	observed := newSnapshot(state, 3, new(10), withoutWorkload(1), upWith(2, 3), upWith(3, 1))
	observed.Desired.Replicas = scaled
	for name, test := range map[string]struct {
		since time.Duration
		want  map[Number]int
	}{
		"expired":  {testPolicy.CapacityHold, map[Number]int{2: 3}},
		"in force": {testPolicy.CapacityHold - time.Second, map[Number]int{2: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			state.ShiftedAt = testNow.Add(-test.since)
			got := Decide(observed, testPolicy, testNow).State.Held
			if diff := cmp.Diff(heldBy(test.want), got); diff != "" {
				t.Errorf("held replicas (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoRevisionIsOverloaded: with a constant load and an autoscaler, each revision always has the
// replicas for its share, and never more than all traffic needs.
func TestNoRevisionIsOverloaded(t *testing.T) {
	t.Parallel()
	check(t, 3, 60, 200, func(t *rapid.T, bytes []byte) {
		h := &randomRollout{simulation: newSimulation(), choices: &choices{bytes}}
		h.checker.checkedRules = []int{3}
		h.load = 1 + h.choices.intn(9)
		h.spec.Replicas = pick(h.choices, Bounds{Min: 1, Max: 12}, Bounds{Min: 2, Max: 9})
		h.trace = &trace{}
		h.settle()
		maxReplicas := max(h.spec.Replicas.Min, h.load)
		for !h.choices.exhausted() {
			h.stepWithoutFaults()
			for _, share := range h.gateway.main.serves.Shares() {
				need := roundUp(h.load*share.Percent, 100)
				got := h.readyPods(share.Revision)
				if h.checker.last.Stable == share.Revision {
					// It takes everything back at once, before all its replicas are ready.
					got = max(got, h.deployments[share.Revision].replicas)
				}
				if got < need {
					t.Fatalf("revision %d gets %d%% of a load of %d with %d replicas\n%s", share.Revision, share.Percent, h.load, got, h.trace)
				}
			}
			for _, n := range numbers(h.deployments) {
				if got := h.deployments[n].replicas; got > maxReplicas {
					t.Fatalf("revision %d has %d replicas under a load of %d\n%s", n, got, h.load, h.trace)
				}
			}
		}
	})
}

// stepWithoutFaults is a random step without injected faults.
func (h *randomRollout) stepWithoutFaults() {
	switch h.choices.intn(8) {
	case 0, 1:
		h.reconcile()
	case 2, 3:
		h.pods()
	case 4:
		h.pickUp()
		h.serve()
		h.accept()
	case 5:
		h.autoscaleAll()
	case 6:
		h.advance(pick(h.choices, time.Second, h.policy.DrainPeriod, h.policy.CapacityHold))
	case 7:
		n, percent := Number(1+h.choices.intn(3)), pick(h.choices, new(10), nil, new(50), new(0), new(90))
		h.edit("asks for "+hashOf(n)+", percent "+percentText(percent), model(n, percent))
	}
}
