// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// remembered is a record that was written an hour ago.
func rolloutState(stable, previous, target Number, percent *int, split Split) *Record {
	return &Record{
		Stable: stable, Previous: previous, Target: target, Percent: percent,
		Split: split, Before: split, ShiftedAt: testNow.Add(-time.Hour), Highest: 9,
	}
}

// sees is a snapshot of a route that the gateway has taken over, and of these revisions, with one replica each.
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

// upWith is a revision with so many replicas, all of which can serve.
func upWith(n Number, replicas int) Revision {
	revision := up(n)
	revision.Workload = &Workload{Ready: replicas, Replicas: replicas, Pods: replicas}
	return revision
}

// retiring is a revision that is idle since some time before now.
func retiring(n Number, workload Workload, idleFor time.Duration) Revision {
	workload.IdleSince = testNow.Add(-idleFor)
	return Revision{Number: n, Inputs: hashOf(n), Recorded: true, Workload: &workload}
}

// planOf is what a decision plans for a revision; the zero plan when it is not named.
func planOf(decision Decision, n Number) WorkloadPlan {
	return evaluation{decision: decision}.plan(n)
}
