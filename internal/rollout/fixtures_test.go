// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// rolloutState returns a rollout state that was written an hour ago.
func rolloutState(stable, previous, target Number, percent *int, split Split) *Record {
	return &Record{
		Stable: stable, Previous: previous, Target: target, Percent: percent,
		Split: split, Before: split, ShiftedAt: testNow.Add(-time.Hour), Highest: 9,
	}
}

// newSnapshot returns a snapshot with an accepted route and the given revisions.
func newSnapshot(state *Record, target Number, percent *int, revisions ...Revision) Snapshot {
	observed := Snapshot{
		Wanted:    Wanted{Inputs: hashOf(target), Percent: percent, Replicas: Bounds{Min: 1, Max: 1}},
		Revisions: revisions,
	}
	if state != nil {
		observed.Route = Route{Record: state, Split: state.Split, TakenOver: true, TagsTakenOver: true}
	}
	return observed
}

// upWith returns a revision with the given number of ready replicas.
func upWith(n Number, replicas int) Revision {
	revision := up(n)
	revision.Workload = &Workload{Ready: replicas, Replicas: replicas, Pods: replicas}
	return revision
}

// retiring returns a revision that has been idle for some time.
func retiring(n Number, workload Workload, idleFor time.Duration) Revision {
	workload.IdleSince = testNow.Add(-idleFor)
	return Revision{Number: n, Inputs: hashOf(n), Recorded: true, Workload: &workload}
}

// planOf returns the plan for a revision, or the zero plan if there is none.
func planOf(decision Decision, n Number) WorkloadPlan {
	return evaluation{decision: decision}.plan(n)
}
