// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"time"
)

// Decision is what must be, as decided on one snapshot. Whoever carries it out writes in this order, so that a
// request always finds somebody to answer it, wherever the writer dies:
//
//  1. the record of the target, where Create says so,
//  2. the workloads that are to run,
//  3. the route, with its weights and Record in one write,
//  4. the tag hosts,
//  5. the workloads that retire, and the records to forget.
//
// The writes of steps 3 to 5 must fail where the object has changed since it was observed. Only step 3 changes what
// every decision looks at, so nothing else would stop a late decision from taking down what runs again by now.
type Decision struct {
	// Target is the revision that the spec asks for; 0 when nothing was ever asked for that could be resolved.
	Target Number
	// Create says that the target is new: nothing of it exists yet.
	Create bool
	// Record is what the route must say, and its Split what it must do. It is nil before the first revision is
	// ready: then there is no route.
	Record *Record
	// Tags are the revisions that tag hosts must point at.
	Tags Tags
	// Workloads says what becomes of each revision's workload, in the order of their numbers. A revision that is
	// not named has none and needs none.
	Workloads []WorkloadPlan
	// Forget names the records beyond the history limit.
	Forget []Number

	// Served is the split that clients get, as far as the gateway has said.
	Served Split
	// Programmed says that the gateway serves what Record says, and that this decision does not change it.
	Programmed bool
	// Phase is where the rollout stands.
	Phase Phase
	// HeldBack says which replicas an external autoscaler keeps taking away; nil when it does not.
	HeldBack *HeldBack
	// Unsettled is the revision that is ready again and gets its share back once it has stayed ready; 0 for none. It
	// counts as not ready until then.
	Unsettled Number
	// Waiting says what keeps the wanted split from being written; nil when nothing does.
	Waiting *Waiting
	// Transitions are what changes with the writes of this decision: announce them once those are done.
	Transitions []Transition
	// WakeAt is when to decide anew though nothing has changed but the time; zero for never.
	WakeAt time.Time
}

// Tags are the revisions behind the tag hosts; 0 where there is no such host.
type Tags struct {
	Latest, Prev Number
}

// TagsOf are the tags of a split.
func TagsOf(split Split, target Number) Tags {
	return Tags{Latest: Latest(split, target), Prev: Prev(split, target)}
}

// are tells whether tag hosts point at just these revisions.
func (t Tags) are(revisions []Number) bool {
	for _, n := range revisions {
		if n != t.Latest && n != t.Prev {
			return false
		}
	}
	return (t.Latest == 0 || slices.Contains(revisions, t.Latest)) && (t.Prev == 0 || slices.Contains(revisions, t.Prev))
}

// Latest is the revision that users see as the latest one in a split: the target if it is offered traffic, else the
// only one that is.
func Latest(split Split, target Number) Number {
	if split.Has(target) {
		return target
	}
	if split.IsEmpty() {
		return 0
	}
	return split.shares[0].Revision
}

// Prev is the revision that users see beside the latest one; 0 when that is alone.
func Prev(split Split, target Number) Number {
	latest := Latest(split, target)
	for _, share := range split.shares {
		if share.Revision != latest {
			return share.Revision
		}
	}
	return 0
}

// WorkloadPlan is what becomes of one revision's workload.
type WorkloadPlan struct {
	Revision Number
	Action   Action
	// Floor is the least replicas of a workload that runs. Where an external autoscaler scales it, it is what a new
	// workload begins with.
	Floor int
	// Raise says that the replicas of a workload that an external autoscaler scales must be raised to Floor; those of
	// any other are not to be written. Held and Lowered must be kept on the workload.
	Raise         bool
	Held, Lowered int
	// Replicas is what the workload runs, neither more nor less, because an external autoscaler has asked for it under the
	// name that does not change with the revision; nil for every other workload.
	Replicas *int
	// ScaledUpAt is when a workload that runs was last scaled up from zero; zero where it never was.
	ScaledUpAt time.Time
	// IdleSince is when it was first seen that no route points at a workload that drains or scales down.
	IdleSince time.Time
}

// Action is what becomes of a workload.
type Action string

// A workload takes these steps from top to bottom, and goes back to Run from any of them.
const (
	Run       Action = "Run"       // It runs, at least Floor replicas of it.
	Keep      Action = "Keep"      // It retires, but a route may still point at it: leave it as it is.
	Drain     Action = "Drain"     // No route points at it: finish the requests that are under way.
	ScaleDown Action = "ScaleDown" // Its last request is over: no replicas.
	Delete    Action = "Delete"    // Its last pod is gone.
)

// Phase is where a rollout stands.
type Phase string

// The phases of a rollout. "Target" and "stable" are those of the glossary.
const (
	Stopped    Phase = "Stopped"    // Nothing runs, by request.
	Stopping   Phase = "Stopping"   // Nothing is to run, by request, and pods still do.
	Loading    Phase = "Loading"    // The target is not ready.
	Failed     Phase = "Failed"     // The target will not become ready without help.
	Shifting   Phase = "Shifting"   // The target is ready; the share that it was given waits for capacity.
	Canary     Phase = "Canary"     // The target has a part of the traffic.
	RolledBack Phase = "RolledBack" // The target had traffic, and it was taken back by request.
	Preview    Phase = "Preview"    // The target has no traffic, by request, and has had none.
	Stable     Phase = "Stable"     // The target is the stable.
)

// Phases lists every phase, in the order in which a rollout usually meets them.
func Phases() []Phase {
	return []Phase{Loading, Shifting, Preview, Canary, Stable, RolledBack, Failed, Stopping, Stopped}
}

// Waiting says that a revision gets a share once it has the replicas for it. Ready counts those that are to stay.
type Waiting struct {
	Revision    Number
	Percent     int
	Ready, Need int
	// Overdue says that the replicas have not become ready within the progress deadline.
	Overdue bool
}

// HeldBack says that an external autoscaler keeps a revision below the replicas that its share needs.
type HeldBack struct {
	Revision Number
	Replicas int
}

// Transition is one thing that a decision changes, to be told to people.
type Transition struct {
	Kind TransitionKind
	// Revision is what it happens to, and Other the revision on its other side: that which a promotion replaces,
	// that which a rollback returns to, that which supersedes.
	Revision, Other Number
	// From and To are the splits of a shift.
	From, To Split
}

// TransitionKind names a transition.
type TransitionKind string

// The transitions of a rollout.
const (
	Created       TransitionKind = "Created"
	Shifted       TransitionKind = "Shifted"
	Promoted      TransitionKind = "Promoted"
	WasRolledBack TransitionKind = "RolledBack"
	Superseded    TransitionKind = "Superseded"
	NothingToUndo TransitionKind = "NothingToUndo"
	Replaces      TransitionKind = "Replaces"          // Revision takes the place of Other, which is taken down.
	ReplaceFailed TransitionKind = "ReplacementFailed" // Revision did not come up, and Other is back.
)
