// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"
)

// Snapshot is the observed state that a decision is based on.
type Snapshot struct {
	Desired Desired
	// Revisions can be in any order.
	Revisions []Revision
	Route     Route
	// Evidence is the evidence on the trial of the target.
	Evidence Evidence
	// Reported is the reported status. The rollout state is recovered from it after the route, or
	// the state on it, was lost. A split that was already reported as served stays reported, and as
	// programmed for [Policy.GatewayTolerance].
	// Nothing else depends on it.
	Reported Reported
}

// Desired is the desired state by the spec.
type Desired struct {
	// Hash is the hash of the target. It is empty if the spec cannot be resolved, because it is
	// invalid or its runtime is unknown. The last target and intent then stay in force.
	Hash string
	// Intent is what the spec asks of the target's traffic. Manual is true if the spec has a percent:
	// no policy moves the share then.
	Intent Intent
	Manual bool
	// Plan is what the policy of the InferenceService plans, or nil if there is none. Commands are
	// what people have told the trial.
	Plan     *Plan
	Commands Commands
	// Stopped asks for no traffic and no pods. The rollout state and the revision history stay.
	Stopped bool
	// Tagged asks for a tag host for each revision in the split.
	Tagged   bool
	Replicas Bounds
	// Replace allows a revision to be scaled down before the next one can serve, by a
	// deploymentStrategy of Recreate or without surge.
	Replace bool
}

// Bounds are the minimum and the maximum number of replicas of a revision.
type Bounds struct {
	Min, Max int
	// ScaledByKnative is true if an autoscaler provides the replicas for any share, as Knative's does. A
	// revision that can serve then has enough capacity.
	ScaledByKnative bool
	// ScaledExternally is true if an external autoscaler sets the replicas. A share still needs its
	// number of replicas.
	ScaledExternally bool
	// ScaleTarget is the number of replicas that is set on the ScaleTarget, which stands for the
	// revision that [Decision.Scaled] returns. It is nil if the autoscaler scales the workloads
	// directly.
	ScaleTarget *int
}

// Revision is a revision that is in the revision history, has a workload, or both.
type Revision struct {
	Number Number
	Hash   string
	// SameModel is true if the revision differs from the spec at most in propagated labels and
	// annotations. It is false while the spec cannot be resolved.
	SameModel bool
	// InHistory is true if the revision is in the revision history. It can then be brought back
	// after its workload is gone.
	InHistory bool
	// Workloads holds the workload of each component that has one.
	Workloads Workloads
	// Rejection is the rejection in the revision history, or nil if there is none. The rollout state
	// is recovered from it.
	Rejection *Rejection
}

// Component is a part of a revision with a workload of its own.
type Component string

// Predictor is the only component so far.
const Predictor Component = "predictor"

// Workloads maps components to their workloads.
type Workloads map[Component]*Workload

// WorkloadsOf returns the workloads of a revision with this predictor. It is nil for no workload.
func WorkloadsOf(predictor *Workload) Workloads {
	if predictor == nil {
		return nil
	}
	return Workloads{Predictor: predictor}
}

func (r Revision) predictor() *Workload { return r.Workloads[Predictor] }

// Workload is the observed workload of a revision.
type Workload struct {
	Ready int
	// Terminating is true if the ready replicas are terminating. They finish their requests and must
	// not get new ones.
	Terminating bool
	// Replicas is the desired number of replicas, and Pods the number of pods in any state.
	Replicas, Pods int
	// IdleSince is when it was first observed that no route points at the workload any more. It is
	// zero while a route may.
	IdleSince time.Time
	// Failed is true if the workload cannot become ready without help.
	Failed bool

	// Unobserved is true if a change of the replicas has not been acted on yet. Pods that look
	// ready may be about to be deleted.
	Unobserved bool
	// Leftover is the number of ready replicas from before the last scale from zero, which was at
	// ScaledUpAt. Shortly after it they may be about to be deleted.
	Leftover   int
	ScaledUpAt time.Time
	// ReadySince is since when at least one replica has been ready without interruption. It is zero
	// if that is unknown.
	ReadySince time.Time
	// LoadingSince is since when a scheduled pod has not been ready. It is zero if there is none.
	LoadingSince time.Time
	// UnschedulableSince is since when a pod has been unschedulable. It is zero if none is.
	UnschedulableSince time.Time
	// Held is the number to which the operator has raised the replicas against an external
	// autoscaler, or 0. Lowered is how often the autoscaler has lowered them since.
	Held, Lowered int
}

// Route is the observed route, which splits the traffic.
type Route struct {
	// State is the rollout state on the route. It is nil if there is no route, or if the state
	// cannot be decoded.
	State *State
	// Split is the split by the route's weights. The rollout state is recovered from it, and a
	// revision that it names is drained before it is scaled down.
	Split Split
	// Accepted is true if the gateway has accepted the route with the split of State.
	Accepted bool
	// Tags are the revisions that the tag hosts lead to.
	Tags []Number
	// Untaggable are revisions in the split of State that can have no tag host yet.
	Untaggable []Number
	// TagsAccepted is true if the gateway has accepted each tag host.
	TagsAccepted bool
	// TagsRefused is true if the gateway has answered for every tag host and refuses at least one.
	TagsRefused bool
	// NoRouteAPI is true if the cluster does not have the API of the route (the Gateway API or
	// Knative Serving), so that no route can point at a revision.
	NoRouteAPI bool
	// NoBackends is true if the route does not exist yet or has no backends yet, so that no revision
	// serves, unless the split of State was already reported as served.
	NoBackends bool
	// BehindSince is when a Gateway that has accepted the route was changed without reporting on
	// that change yet. It is zero if there is none.
	BehindSince time.Time
}

// Reported is the rollout as the status last reported it.
type Reported struct {
	Stable, Previous, Target Number
	Split                    Split
	// Tried is true if the target was reported as rolled back.
	Tried bool
	// Trial is the reported trial. Baking is true if it was reported as baking.
	Trial  TrialID
	Baking bool
	// Programmed is true if the split was reported as programmed under the current URL.
	Programmed bool
}

func (r Reported) reportsServed(split Split) bool {
	return (r.Target != 0 || !r.Split.IsEmpty()) && r.Split.Equal(split)
}

func (d Desired) resolved() bool { return d.Hash != "" && d.Intent.isValid() }

// Capacity returns the number of replicas of the predictor that can get new requests. It is 0
// while another component has none.
func (r Revision) Capacity() int {
	for _, workload := range r.Workloads {
		if workload.capacity() == 0 {
			return 0
		}
	}
	return r.predictor().capacity()
}

func (w *Workload) capacity() int {
	if w == nil || w.Terminating {
		return 0
	}
	return w.Ready
}

func (r Revision) hasPods() bool {
	for _, workload := range r.Workloads {
		if workload.Ready > 0 || workload.Replicas > 0 || workload.Pods > 0 {
			return true
		}
	}
	return false
}

func (s Snapshot) find(n Number) Revision {
	for _, revision := range s.Revisions {
		if revision.Number == n {
			return revision
		}
	}
	return Revision{}
}

func (s Snapshot) ready(n Number) int { return s.find(n).Capacity() }

// target returns the revision with the desired hash. It returns 0 if there is none yet, or if the
// spec cannot be resolved.
//
// Several revisions have the same hash if the administrator has excluded the metadata in which they
// differ. That must not start a rollout, so the last target wins, then the stable, then the newest.
func (s Snapshot) target() Number {
	var newest Number
	if !s.Desired.resolved() {
		return 0
	}
	last, stable := s.Reported.Target, s.Reported.Stable
	if state := s.Route.State; state != nil {
		last, stable = state.Target, state.Stable
	}
	for _, revision := range s.Revisions {
		if revision.Hash == s.Desired.Hash {
			newest = max(newest, revision.Number)
		}
	}
	for _, n := range []Number{last, stable} {
		if n != 0 && s.find(n).Hash == s.Desired.Hash {
			return n
		}
	}
	return newest
}

func (s Snapshot) highest() Number {
	var highest Number
	for _, revision := range s.Revisions {
		highest = max(highest, revision.Number)
	}
	return highest
}
