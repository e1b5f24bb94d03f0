// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"
)

// Snapshot is everything that a decision is taken on, seen at one moment.
type Snapshot struct {
	Wanted Wanted
	// Revisions are in any order.
	Revisions []Revision
	Route     Route
	// Reported is what was last reported to users. It moves no traffic but where the route, or the record on it, was
	// lost: then the history is recovered from it. And users who were told that a split is served are told so on.
	Reported Reported
}

// Wanted is what the spec asks for.
type Wanted struct {
	// Inputs identifies what the target runs. It is empty when the spec cannot be resolved, because it is invalid or
	// its runtime is unknown: then the last target and percent stay in force, and no traffic moves on its account.
	Inputs string
	// Percent is canaryTrafficPercent; nil where it is absent, which asks for promotion. One that is not from 0 to 100
	// makes the spec one that cannot be resolved.
	Percent *int
	// Stopped asks for no traffic and no pods, and to forget nothing.
	Stopped bool
	// Tagged asks for a host name of its own for each revision in the split.
	Tagged bool
	// Replicas bounds what each revision runs.
	Replicas Bounds
	// Replace says that a revision may be taken down before the next one can serve: the user has asked for it with a
	// deploymentStrategy of Recreate or without a surge.
	Replace bool
}

// Bounds are the least and the most replicas of a revision.
type Bounds struct {
	Min, Max int
	// Elastic says that replicas are another autoscaler's business: a revision that can serve at all has the
	// capacity for any share.
	Elastic bool
	// External says that another autoscaler sets the replicas, and that a share still needs its number of them.
	External bool
	// Asked is the number that an external autoscaler has set under the name that does not change with the revision; nil
	// where it scales revisions themselves. See [Decision.Scaled].
	Asked *int
}

// Revision is one revision that has a record, a workload, or both.
type Revision struct {
	Number Number
	Inputs string
	// SameModel says that it runs what the spec asks for under other propagated labels or annotations, or under the
	// same. It is false while the spec cannot be resolved.
	SameModel bool
	// Recorded says that it can be brought back after its workload is gone.
	Recorded bool
	// Workload is nil when it runs nothing.
	Workload *Workload
}

// Workload is what a revision runs.
type Workload struct {
	// Ready counts the replicas that can serve a request now.
	Ready int
	// Leaving says that these are being taken down: they finish the requests that they have, and must be given no others.
	Leaving bool
	// Replicas counts the replicas that are asked for, and Pods those that exist in any state.
	Replicas, Pods int
	// IdleSince is when it was first seen that no route points at it any more; zero while one may.
	IdleSince time.Time
	// Failed says that it does not become ready without help.
	Failed bool

	// Unobserved says that its replicas were changed and the change has not been acted on: pods that look ready may
	// be about to go.
	Unobserved bool
	// Leftover counts the ready replicas from before the last scale from zero, and ScaledUpAt is the time of that
	// scale. Shortly after it they may be about to go.
	Leftover   int
	ScaledUpAt time.Time
	// ReadySince is since when at least one replica has been ready without a break; zero when that is not known.
	ReadySince time.Time
	// UnschedulableSince is since when its pods have found no node; zero while they have one.
	UnschedulableSince time.Time
	// Held is the number of replicas that the operator raised it to against an external autoscaler, and Lowered how
	// often that autoscaler has lowered them since. Both are 0 for a workload that is not held.
	Held, Lowered int
}

// Route is what splits the traffic, as it was found.
type Route struct {
	// Record is what this package wrote last; nil when there is no route, or its record cannot be read.
	Record *Record
	// Split is read off the route's backends. It is used only when Record is nil.
	Split Split
	// TakenOver says that the gateway serves what Record says.
	TakenOver bool
	// Tags are the revisions that tag hosts point at now.
	Tags []Number
	// TagsTakenOver says that the gateway serves the tag hosts as they are; where there are none, it does.
	TagsTakenOver bool
	// TagsRefused says that the gateway has answered for every tag host, and does not serve some of them.
	TagsRefused bool
	// Impossible says that the cluster knows no routes: nothing can point at a revision.
	Impossible bool
	// ServesNobody says that nobody is served, whatever Record says: what it is on is being made.
	ServesNobody bool
}

// Reported is the rollout as it was last reported to users.
type Reported struct {
	Stable, Previous, Target Number
	Split                    Split
	// Tried says that the target was reported as rolled back.
	Tried bool
}

// tellsOf tells whether users were told that the split is served.
func (r Reported) tellsOf(split Split) bool { return r.Target != 0 && r.Split.Equal(split) }

// resolved tells whether the spec asks for something that can be done.
func (w Wanted) resolved() bool { return w.Inputs != "" && isPercent(w.Percent) }

func isPercent(percent *int) bool { return percent == nil || *percent >= 0 && *percent <= 100 }

// Capacity counts the replicas that can be given requests.
func (r Revision) Capacity() int {
	if r.Workload == nil || r.Workload.Leaving {
		return 0
	}
	return r.Workload.Ready
}

// hasPods reports whether any pod of it exists or is asked for.
func (w *Workload) hasPods() bool {
	return w != nil && (w.Ready > 0 || w.Replicas > 0 || w.Pods > 0)
}

// find returns the revision of that number; its zero value when there is none.
func (s Snapshot) find(n Number) Revision {
	for _, revision := range s.Revisions {
		if revision.Number == n {
			return revision
		}
	}
	return Revision{}
}

func (s Snapshot) ready(n Number) int { return s.find(n).Capacity() }

// target finds the revision that has the wanted inputs; 0 when none has them yet, or when nobody knows what is wanted.
//
// Several have them once an administrator has excluded from the inputs what told them apart. That must start nothing:
// the one that was asked for last is meant, then the stable, and only then the newest.
func (s Snapshot) target() Number {
	var found Number
	if !s.Wanted.resolved() {
		return 0
	}
	last, stable := s.Reported.Target, s.Reported.Stable
	if record := s.Route.Record; record != nil {
		last, stable = record.Target, record.Stable
	}
	for _, revision := range s.Revisions {
		if revision.Inputs == s.Wanted.Inputs {
			found = max(found, revision.Number)
		}
	}
	for _, n := range []Number{last, stable} {
		if n != 0 && s.find(n).Inputs == s.Wanted.Inputs {
			return n
		}
	}
	return found
}

func (s Snapshot) highest() Number {
	var highest Number
	for _, revision := range s.Revisions {
		highest = max(highest, revision.Number)
	}
	return highest
}
