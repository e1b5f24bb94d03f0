// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// rolloutState returns a rollout state that was written an hour ago.
func rolloutState(stable, previous, target Number, percent *int, split Split) *State {
	return &State{
		Stable: stable, Previous: previous, Target: target, Asked: PercentIntent(percent, nil),
		Split: split, ServedBefore: split, ShiftedAt: testNow.Add(-time.Hour), Highest: 9,
	}
}

// newSnapshot returns a snapshot with an accepted route and the given revisions.
func newSnapshot(state *State, target Number, percent *int, revisions ...Revision) Snapshot {
	observed := Snapshot{
		Desired:   Desired{Hash: hashOf(target), Intent: PercentIntent(percent, state), Replicas: Bounds{Min: 1, Max: 1}},
		Revisions: revisions,
	}
	if state != nil {
		observed.Route = Route{State: state, Split: state.Split, Accepted: true, TagsAccepted: true}
	}
	return observed
}

// ask sets the percent of the spec.
func (s *Snapshot) ask(percent *int) { s.Desired.Intent = PercentIntent(percent, s.Route.State) }

// upWith returns a revision with the given number of ready replicas.
func upWith(n Number, replicas int) Revision {
	revision := up(n)
	revision.Workloads = Workloads{Predictor: {Ready: replicas, Replicas: replicas, Pods: replicas}}
	return revision
}

// retiring returns a revision that has been idle for some time.
func retiring(n Number, workload Workload, idleFor time.Duration) Revision {
	workload.IdleSince = testNow.Add(-idleFor)
	return Revision{Number: n, Hash: hashOf(n), InHistory: true, Workloads: Workloads{Predictor: &workload}}
}

// planOf returns the plan for a revision, or the zero plan if there is none.
func planOf(decision Decision, n Number) WorkloadPlan {
	return evaluation{decision: decision}.plan(n)
}
