// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// TestNumberOfATargetThatCouldNotBeMade: the API server may refuse to record the target for as long as a policy or a
// quota says so. It is numbered once, not once for each time that it is tried, and a route that says so already is not
// written again. Other inputs get another number, as nobody knows whether the first one was not made after all.
func TestNumberOfATargetThatCouldNotBeMade(t *testing.T) {
	seen := Snapshot{
		Wanted:    Wanted{Inputs: inputs(2), Percent: new(10), Replicas: Bounds{Min: 1, Max: 1}},
		Revisions: []Revision{up(1)},
		Route: Route{TakenOver: true, Record: &Record{
			Stable: 1, Target: 1, Inputs: inputs(1), Split: All(1), Before: All(1), ShiftedAt: testNow, Highest: 1,
		}},
	}
	first := Decide(seen, testPolicy, testNow)
	if !first.Create || first.Target != 2 {
		t.Fatalf("target is %d, created %t", first.Target, first.Create)
	}

	seen.Route.Record = first.Record
	again := Decide(seen, testPolicy, testNow.Add(1))
	if !again.Create || again.Target != 2 {
		t.Errorf("when it is tried again, the target is %d, created %t", again.Target, again.Create)
	}
	if got, want := again.Record.Encode(), first.Record.Encode(); got != want {
		t.Errorf("when it is tried again, the record becomes %s, was %s", got, want)
	}

	seen.Wanted.Inputs = ""
	seen.Route.Record = Decide(seen, testPolicy, testNow.Add(2)).Record
	seen.Wanted.Inputs = inputs(2)
	if after := Decide(seen, testPolicy, testNow.Add(3)); after.Target != 2 {
		t.Errorf("after a spec that could not be resolved, the target is %d", after.Target)
	}

	seen.Wanted.Inputs = inputs(3)
	other := Decide(seen, testPolicy, testNow.Add(4))
	if !other.Create || other.Target != 3 {
		t.Errorf("with other inputs, the target is %d, created %t", other.Target, other.Create)
	}
}
