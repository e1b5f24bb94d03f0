// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// TestNumberOfUncreatedTarget: if the API server refuses to create the target, each retry uses the
// same number and writes no route. Another hash gets another number, because the creation may have
// succeeded unnoticed.
func TestNumberOfUncreatedTarget(t *testing.T) {
	observed := Snapshot{
		Desired:   Desired{Hash: hashOf(2), Intent: Intent{Share: 10}, Replicas: Bounds{Min: 1, Max: 1}},
		Revisions: []Revision{up(1)},
		Route: Route{Accepted: true, TagsAccepted: true, State: &State{
			Stable: 1, Target: 1, Hash: hashOf(1), Split: All(1), ServedBefore: All(1), ShiftedAt: testNow, Highest: 1,
		}},
	}
	first := Decide(observed, testPolicy, testNow)
	if !first.Create || first.Target != 2 {
		t.Fatalf("target is %d, created %t", first.Target, first.Create)
	}

	observed.Route.State = first.State
	again := Decide(observed, testPolicy, testNow.Add(1))
	if !again.Create || again.Target != 2 {
		t.Errorf("on a retry, the target is %d, created %t", again.Target, again.Create)
	}
	if got, want := again.State.Encode(), first.State.Encode(); got != want {
		t.Errorf("on a retry, the rollout state becomes %s, was %s", got, want)
	}

	observed.Desired.Hash = ""
	observed.Route.State = Decide(observed, testPolicy, testNow.Add(2)).State
	observed.Desired.Hash = hashOf(2)
	if after := Decide(observed, testPolicy, testNow.Add(3)); after.Target != 2 {
		t.Errorf("after a spec that could not be resolved, the target is %d", after.Target)
	}

	observed.Desired.Hash = hashOf(3)
	other := Decide(observed, testPolicy, testNow.Add(4))
	if !other.Create || other.Target != 3 {
		t.Errorf("with another hash, the target is %d, created %t", other.Target, other.Create)
	}
}

// TestNumbersAreNotReused: the next number is above all known numbers, even if the history was
// lost.
func TestNumbersAreNotReused(t *testing.T) {
	unreadable := Revision{Number: 2, Workloads: Workloads{Predictor: {Ready: 1, Replicas: 1, Pods: 1}}}
	tests := map[string]struct {
		state     *State
		reported  Reported
		revisions []Revision
		want      Number
	}{
		"the first":                         {nil, Reported{}, nil, 1},
		"before the first route":            {nil, Reported{}, []Revision{down(1)}, 2},
		"only the route has it":             {rolloutState(1, 0, 1, nil, All(1)), Reported{}, []Revision{up(1)}, 10},
		"the route does not have it":        {rolloutState(1, 0, 1, nil, All(1)), Reported{}, []Revision{up(1), withoutWorkload(12)}, 13},
		"only the status has it":            {nil, Reported{Stable: 1, Target: 4, Split: All(1)}, []Revision{up(1)}, 5},
		"the previous is the highest":       {nil, Reported{Stable: 1, Previous: 6, Target: 1, Split: All(1)}, []Revision{up(1)}, 7},
		"the split names the highest":       {nil, Reported{Split: canarySplit(8, 10, 1)}, []Revision{up(1)}, 9},
		"the last revision has no hash":     {&State{Stable: 1, Target: 2, Hash: hashOf(26), Split: All(1), Highest: 2}, Reported{}, []Revision{up(1), unreadable}, 3},
		"the last revision was not created": {&State{Stable: 1, Target: 2, Hash: hashOf(26), Split: All(1), Highest: 2}, Reported{}, []Revision{up(1)}, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 26, nil, test.revisions...)
			observed.Reported = test.reported
			decision := Decide(observed, testPolicy, testNow)
			if !decision.Create || decision.Target != test.want {
				t.Errorf("target is %d, created %t, want %d", decision.Target, decision.Create, test.want)
			}
			if decision.State == nil {
				return
			}
			if highest := decision.State.Highest; highest < test.want {
				t.Errorf("the highest number is %d", highest)
			}
			if decision.State.Hash != hashOf(26) {
				t.Errorf("the hash is %s", decision.State.Hash)
			}
		})
	}
}

// TestEqualHashesStartNoRollout: the administrator excludes the metadata in which two revisions
// differ. The last target stays the target, although a rejected revision with the same hash is
// newer.
func TestEqualHashesStartNoRollout(t *testing.T) {
	rejected := Revision{Number: 2, Hash: hashOf(1), InHistory: true}
	stable := Revision{Number: 3, Hash: hashOf(1), InHistory: true, Workloads: up(3).Workloads}
	tests := map[string]struct {
		state     *State
		reported  Reported
		revisions []Revision
		want      Number
	}{
		"the last target":            {rolloutState(1, 0, 1, nil, All(1)), Reported{}, []Revision{up(1), rejected}, 1},
		"the last target, reported":  {nil, Reported{Stable: 1, Target: 1, Split: All(1)}, []Revision{up(1), rejected}, 1},
		"the stable before the rest": {rolloutState(1, 0, 9, nil, All(1)), Reported{}, []Revision{up(1), rejected, stable}, 1},
		"the newest otherwise":       {rolloutState(9, 0, 9, nil, All(9)), Reported{}, []Revision{rejected, stable, up(9)}, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(test.state, 1, nil, test.revisions...)
			observed.Reported = test.reported
			if got := Decide(observed, testPolicy, testNow).Target; got != test.want {
				t.Errorf("target is %d, want %d", got, test.want)
			}
		})
	}
}

// TestHighestIsKept: numbers of pruned revisions, or of revisions that others created, are not
// reused.
func TestHighestIsKept(t *testing.T) {
	state := rolloutState(1, 0, 1, nil, All(1))
	if got := Decide(newSnapshot(state, 1, nil, up(1), withoutWorkload(12)), testPolicy, testNow).State.Highest; got != 12 {
		t.Errorf("the highest is %d, want 12", got)
	}
	if got := Decide(newSnapshot(state, 1, nil, up(1)), testPolicy, testNow).State.Highest; got != 9 {
		t.Errorf("the highest is %d, want 9", got)
	}
}
