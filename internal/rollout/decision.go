// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"time"
)

// Decision is the desired state, as decided on one snapshot. The caller must write it in this
// order, so that every request can be answered, wherever the writer stops:
//
//  1. if Create is set, the target's entry in the revision history; and the rejections of State on
//     the entries of all revisions,
//  2. the workloads that run,
//  3. the route, with its weights and the rollout state in one write,
//  4. the tag hosts,
//  5. the workloads that retire, and the pruned entries of the revision history.
//
// The writes of steps 3 to 5 must fail if the object has changed since it was observed. Otherwise a
// late decision could scale down a workload that runs again.
type Decision struct {
	// Target is the revision that the spec asks for, or 0 while no spec could be resolved yet. Create
	// is true if it is a new revision.
	Target Number
	Create bool
	// State is the desired rollout state, and its Split the desired split of the route. It is nil
	// before the first revision is ready, when there is no route.
	State *State
	Tags  Tags
	// Workloads plans the workload of each revision, ordered by number. A revision that is not
	// listed has no workload and needs none.
	Workloads []WorkloadPlan
	// Prune lists the revisions to prune from the revision history.
	Prune []Number

	// Served is the split that clients get, as far as the gateway has reported it.
	Served Split
	// Programmed is true if the gateway serves the desired split and tag hosts, and this decision
	// changes neither. It stays true while a changed Gateway has yet to report, for at most
	// [Policy.GatewayTolerance].
	Programmed bool
	Phase      Phase
	HeldBack   *HeldBack
	// Trial is what users are told about the trial of the target. It is nil if there is none. A target
	// that was rejected has none, unless it keeps a share until the stable can serve.
	Trial *TrialReport
	// Unsettled is a revision that is ready again, but has not been ready for long enough to get
	// its share back. It counts as not ready. 0 means that there is none.
	Unsettled Number
	// Waiting is set while the desired split waits for the replicas of a revision.
	Waiting *Waiting
	// Transitions are the changes that this decision makes. Announce them after the writes.
	Transitions []Transition
	// WakeAt is when to decide again even if nothing else has changed. Zero means never.
	WakeAt time.Time
}

// WithRouteChanged returns the decision as it is after a write that changed the spec of a route: no
// gateway can have accepted that yet.
func (d Decision) WithRouteChanged() Decision {
	d.Programmed = false
	return d
}

// Tags are the revisions behind the tag hosts. 0 means that there is no such host.
type Tags struct {
	Latest, Prev Number
}

// TagsOf returns the tags of a split.
func TagsOf(split Split, target Number) Tags {
	return Tags{Latest: Latest(split, target), Prev: Prev(split, target)}
}

// match reports whether the tag hosts lead to these revisions, except those that can have none yet.
func (t Tags) match(route Route) bool {
	has := func(n Number) bool {
		return n == 0 || slices.Contains(route.Tags, n) || slices.Contains(route.Untaggable, n)
	}
	foreign := func(n Number) bool { return n != t.Latest && n != t.Prev }
	return has(t.Latest) && has(t.Prev) && !slices.ContainsFunc(route.Tags, foreign)
}

// Latest returns the revision that users see as the latest one of a split: the target if the split
// names it, and otherwise the newest revision of the split.
func Latest(split Split, target Number) Number {
	if split.Has(target) {
		return target
	}
	if split.IsEmpty() {
		return 0
	}
	return split.shares[0].Revision
}

// Prev returns the revision that users see next to the latest one, or 0 if there is none.
func Prev(split Split, target Number) Number {
	latest := Latest(split, target)
	for _, share := range split.shares {
		if share.Revision != latest {
			return share.Revision
		}
	}
	return 0
}

// WorkloadPlan is the desired state of one revision's workload.
type WorkloadPlan struct {
	Revision  Number
	Component Component
	Action    Action
	// MinReplicas is the minimum number of replicas of a workload that runs. If an external autoscaler
	// scales the workload, it is the initial number of a new workload.
	MinReplicas int
	// Raise is true if the replicas of a workload that an external autoscaler scales must be raised
	// to MinReplicas. Otherwise the replicas of such a workload must not be written, unless Replicas is
	// set. Held and Lowered must be stored on the workload.
	Raise         bool
	Held, Lowered int
	// Replicas is the exact number of replicas, if it is set on the ScaleTarget. It is nil for
	// every other workload. See [Bounds.ScaleTarget].
	Replicas *int
	// ScaledUpAt is when a workload that runs was last scaled up from zero. It is zero if it never
	// was.
	ScaledUpAt time.Time
	// IdleSince is when it was first observed that no route points at a workload that retires.
	IdleSince time.Time
}

// Action is the step that a workload takes.
type Action string

// A workload that retires takes these steps from top to bottom. It can return to Run from any of
// them.
const (
	Run        Action = "Run"        // It runs with at least MinReplicas replicas.
	AwaitRoute Action = "AwaitRoute" // It stays unchanged while a route may still point at it.
	Drain      Action = "Drain"      // No route points at it. It finishes its requests.
	ScaleDown  Action = "ScaleDown"  // It needs no replicas any more. It is scaled to zero.
	Delete     Action = "Delete"     // It has no pods any more and is deleted.
)

// Phase is the phase of a rollout.
type Phase string

// The phases of a rollout.
const (
	Stopped    Phase = "Stopped"    // The user has stopped the service, and it has no pods.
	Stopping   Phase = "Stopping"   // The user has stopped the service, and it still has pods.
	Loading    Phase = "Loading"    // The target is not ready.
	Failed     Phase = "Failed"     // The target cannot become ready without help.
	Shifting   Phase = "Shifting"   // The target is ready, and a share waits for replicas.
	Canary     Phase = "Canary"     // The target is not the stable and has a share.
	RolledBack Phase = "RolledBack" // The percent is 0, and the target has had a share.
	Preview    Phase = "Preview"    // The percent is 0, and the target has had no share yet.
	Stable     Phase = "Stable"     // The target is the stable.

	AwaitingApproval Phase = "AwaitingApproval" // The next share of the trial must be approved.
	Baking           Phase = "Baking"           // The target was promoted, and the previous stays loaded.
	RejectedCanary   Phase = "Rejected"         // The policy or a person has rejected the target.
)

// Phases returns all phases, roughly in the order in which a rollout passes through them.
func Phases() []Phase {
	return []Phase{Loading, Shifting, Preview, Canary, AwaitingApproval, Baking, Stable, RolledBack, RejectedCanary, Failed, Stopping, Stopped}
}

// Waiting describes a share that waits until a revision has the replicas for it.
type Waiting struct {
	Revision Number
	Percent  int
	// Ready is the number of ready replicas that count for the share, and Need the required number.
	Ready, Need int
	// Overdue is true if the replicas have not become ready within the progress deadline.
	Overdue bool
}

// HeldBack describes a revision that an external autoscaler keeps below the replicas that its share
// needs.
type HeldBack struct {
	Revision Number
	Replicas int
}

// Transition is a change that users are told about.
type Transition struct {
	Kind TransitionKind
	// Revision is the revision that changes. Other is the revision that a promotion replaces, that
	// a rollback returns to, that supersedes Revision, or that takes part in a replacement.
	Revision, Other Number
	// From and To are the splits before and after a shift.
	From, To Split
}

// TransitionKind is the kind of a transition.
type TransitionKind string

// The transitions of a rollout.
const (
	Created       TransitionKind = "Created"
	Shifted       TransitionKind = "Shifted"
	Promoted      TransitionKind = "Promoted"
	WasRolledBack TransitionKind = "RolledBack"
	Superseded    TransitionKind = "Superseded"
	NothingToUndo TransitionKind = "NothingToUndo"
	Replaces      TransitionKind = "Replaces"          // Other makes room for Revision.
	ReplaceFailed TransitionKind = "ReplacementFailed" // Other comes back.

	TrialStarted  TransitionKind = "TrialStarted"
	Rejected      TransitionKind = "Rejected"      // Other serves.
	BakeStarted   TransitionKind = "BakeStarted"   // Other stays loaded, as with the next two.
	BakeCompleted TransitionKind = "BakeCompleted" // The bake has ended without harm.
	BakeEnded     TransitionKind = "BakeEnded"     // Something else was asked for during the bake.
)
