// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
	"time"
)

func (d *decider) decision() Decision {
	decision := Decision{
		Target:      d.target,
		Create:      d.create,
		Served:      d.served(),
		Programmed:  d.programmed() || d.toleratesGateway(),
		Tags:        d.tags(),
		Workloads:   d.workloads(),
		Prune:       d.prune(),
		Phase:       d.phase(),
		Waiting:     d.waiting,
		HeldBack:    d.heldBack,
		Trial:       d.report(),
		Transitions: d.transitions(),
	}
	if d.unsettled {
		decision.Unsettled = d.target
	}
	if d.after.Stable != 0 {
		decision.State = d.state()
	}
	decision.WakeAt = d.wakeAt(decision.Workloads)
	return decision
}

// state returns the new rollout state. A state that does not change keeps its version.
func (d *decider) state() *State {
	state := d.after
	if !d.changed && d.Route.State != nil {
		state = *d.Route.State
	} else {
		state.Version = StateVersion
	}
	return &state
}

func (d *decider) programmed() bool {
	return d.routed() && d.Route.TagsAccepted && d.tags().match(d.Route)
}

// toleratesGateway reports whether a settled split still counts as programmed although a changed
// Gateway has yet to report. No workload takes a step on that: see mayBeRouted.
func (d *decider) toleratesGateway() bool {
	until := d.Route.BehindSince.Add(d.policy.GatewayTolerance)
	unchanged := d.after.Split.Equal(d.before.Split) && d.tags().match(d.Route)
	reported := d.after.Stable != 0 && d.Reported.Programmed && d.Reported.Split.Equal(d.after.Split)
	if d.Route.BehindSince.IsZero() || !unchanged || !reported || !d.now.Before(until) {
		return false
	}
	d.scheduleWake(until)
	return true
}

// routed reports whether the gateway has accepted the desired split.
func (d *decider) routed() bool {
	return d.Route.Accepted && d.after.Split.Equal(d.before.Split)
}

func (d *decider) tags() Tags {
	if !d.Desired.Tagged {
		return Tags{}
	}
	return TagsOf(d.after.Split, d.target)
}

func (d *decider) workloads() []WorkloadPlan {
	var plans []WorkloadPlan
	for _, revision := range d.Revisions {
		if d.runs(revision.Number) {
			plans = append(plans, d.run(revision))
			continue
		}
		for component, workload := range revision.Workloads {
			plans = append(plans, d.retire(revision, component, *workload))
		}
	}
	if d.create && d.runs(d.target) {
		plans = append(plans, WorkloadPlan{Revision: d.target, Component: Predictor, Action: Run, MinReplicas: d.minReplicas(d.target)})
	}
	slices.SortFunc(plans, func(a, b WorkloadPlan) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Component, b.Component))
	})
	return plans
}

func (d *decider) run(revision Revision) WorkloadPlan {
	plan := WorkloadPlan{Revision: revision.Number, Component: Predictor, Action: Run, MinReplicas: d.minReplicas(revision.Number)}
	if d.Desired.Replicas.ScaledExternally {
		d.holdExternal(&plan, revision.predictor())
		d.followAsked(&plan, revision.predictor())
	}
	if workload := revision.predictor(); workload != nil {
		plan.ScaledUpAt = workload.ScaledUpAt
		bounds := d.Desired.Replicas
		scales := plan.Raise || plan.Replicas != nil && *plan.Replicas > 0 || !bounds.ScaledExternally && !bounds.ScaledByKnative
		if scales && workload.Replicas == 0 && workload.Pods > 0 {
			plan.ScaledUpAt = d.now
		}
	}
	return plan
}

func (d *decider) runs(n Number) bool {
	if d.Desired.Stopped || d.makesRoom(n) {
		return false
	}
	return n == d.target && !d.dropped || n == d.after.Stable || d.after.Split.Has(n) || d.isBaking(n)
}

// makesRoom reports whether a revision is scaled down so that another can use its node (row 22).
func (d *decider) makesRoom(n Number) bool {
	switch d.after.Replacement {
	case Replacing:
		return n != d.target
	case ReplacementFailed:
		return n == d.target
	}
	return false
}

// retire plans the next step of a workload that retires. It takes no step while a route may still
// point at the revision, and the drain period starts when no route does. A revision that no route
// has ever named is drained only if it is ready, because a concurrent decision may give it traffic.
func (d *decider) retire(revision Revision, component Component, workload Workload) WorkloadPlan {
	n := revision.Number
	plan := WorkloadPlan{Revision: n, Component: component, IdleSince: workload.IdleSince}
	if plan.IdleSince.IsZero() {
		plan.IdleSince = d.now
	}
	routed := d.before.hasRouted(n) || d.Route.Split.Has(n) || slices.Contains(d.Route.Tags, n)
	switch {
	case d.makesRoom(n) && !d.Desired.Stopped:
		plan.Action = ScaleDown
	case routed && d.mayBeRouted(n), !routed && d.after.Stable != 0 && d.changed:
		// Wait until the new rollout state is on the route.
		return WorkloadPlan{Revision: n, Component: component, Action: AwaitRoute}
	case (workload.Ready > 0 || routed && workload.Pods > 0) && d.now.Before(plan.IdleSince.Add(d.policy.DrainPeriod)):
		plan.Action = Drain
	case workload.Replicas > 0 || workload.Pods > 0, !revision.InHistory && d.inUse(n):
		plan.Action = ScaleDown // Without an entry in the history, only the workload knows what it runs.
	default:
		plan.Action = Delete
	}
	return plan
}

// mayBeRouted reports whether the gateway may still send requests to a revision that is not in the
// split. Until it has accepted the last write, it may serve any earlier one. A tag host that it
// refuses gets no requests.
func (d *decider) mayBeRouted(n Number) bool {
	if d.Route.NoRouteAPI {
		return false
	}
	hasRoute := d.Route.State != nil || d.after.Stable != 0
	answered := d.Route.TagsAccepted || d.Route.TagsRefused
	accepted := d.routed() && answered && d.tags().match(d.Route)
	return hasRoute && !accepted || slices.Contains(d.Route.Tags, n)
}

// prune lists the revisions to remove from the history: those that have no workload, are not in use
// and are not among the newest.
func (d *decider) prune() []Number {
	var prune []Number
	kept := 0
	for _, revision := range slices.Backward(d.Revisions) {
		if !revision.InHistory {
			continue
		}
		kept++
		if kept > d.policy.HistoryLimit && len(revision.Workloads) == 0 && !d.inUse(revision.Number) {
			prune = append(prune, revision.Number)
		}
	}
	return prune
}

// inUse reports whether a revision runs, or may have to run again.
func (d *decider) inUse(n Number) bool {
	return n == d.target || n == d.after.Stable || n == d.after.Previous || d.after.Split.Has(n)
}

func (d *decider) phase() Phase {
	target := d.find(d.target)
	stable := d.target == d.after.Stable
	switch {
	case d.Desired.Stopped && slices.ContainsFunc(d.Revisions, Revision.hasPods):
		return Stopping
	case d.Desired.Stopped:
		return Stopped
	case d.isRejected() && !d.isManual():
		return RejectedCanary
	case d.after.Replacement == ReplacementFailed:
		return Failed
	case target.predictor() != nil && target.predictor().Failed && target.Capacity() == 0:
		return Failed
	case target.Capacity() == 0:
		return Loading
	case d.waiting != nil:
		return Shifting
	case stable && d.after.Trial.bakes():
		return Baking
	case stable:
		return Stable
	case d.waits == WaitsForApproval:
		return AwaitingApproval
	case d.after.Split.Percent(d.target) == 0 && !d.tried():
		return Preview
	case d.after.Split.Percent(d.target) == 0:
		return RolledBack
	default:
		return Canary
	}
}

func (d *decider) transitions() []Transition {
	var transitions []Transition
	add := func(kind TransitionKind, revision, other Number) {
		transitions = append(transitions, Transition{Kind: kind, Revision: revision, Other: other})
	}
	if d.create {
		add(Created, d.target, 0)
	}
	for _, share := range d.before.Split.shares {
		n := share.Revision
		if n != d.target && n != d.before.Stable && n != d.after.Stable && !d.after.Split.Has(n) && !d.Desired.Stopped {
			add(Superseded, n, d.target)
		}
	}
	switch {
	case d.after.Stable == d.target && d.before.Stable != d.target && d.before.Stable != 0 && d.after.Previous == 0:
		add(WasRolledBack, d.before.Stable, d.target) // In the bake, the spec returns to the previous revision.
	case d.after.Stable == d.target && d.before.Stable != d.target && d.before.Stable != 0:
		add(Promoted, d.target, d.before.Stable)
	case d.rolledBack():
		add(WasRolledBack, d.target, d.after.Stable)
	case d.after.NothingToUndo && !d.before.NothingToUndo:
		add(NothingToUndo, d.target, 0)
	case d.after.Replacement == Replacing && d.before.Replacement != Replacing:
		add(Replaces, d.target, d.after.Stable)
	case d.after.Replacement == ReplacementFailed && d.before.Replacement != ReplacementFailed:
		add(ReplaceFailed, d.target, d.after.Stable)
	}
	transitions = append(transitions, d.trialTransitions()...)
	if !d.after.Split.Equal(d.before.Split) {
		transitions = append(transitions, Transition{Kind: Shifted, From: d.before.Split, To: d.after.Split})
	}
	return transitions
}

// rolledBack reports whether the traffic of a rollback moves with this decision: a promotion is
// undone to the share that is asked for, or a canary loses its share because 0 is asked for.
func (d *decider) rolledBack() bool {
	had, has := d.before.Split.Percent(d.target), d.after.Split.Percent(d.target)
	if d.target == d.after.Stable || d.isRejected() || d.intent.Promote || has >= had || d.after.Returning || d.Desired.Stopped {
		return false
	}
	canary := d.before.Asked.Share == 100 && !d.before.Asked.Promote // Its 100 % were no promotion.
	undone := had == 100 && !canary || d.before.Returning
	return undone && has == d.intent.Share || d.intent.Share == 0
}

func (d *decider) tried() bool {
	return d.after.Tried || d.target == d.before.Target && d.before.hadShare()
}

// scheduleWake notes that the decision will change at that time.
func (d *decider) scheduleWake(at time.Time) {
	if at.After(d.now) {
		d.wakeTimes = append(d.wakeTimes, at)
	}
}

func (d *decider) wakeAt(plans []WorkloadPlan) time.Time {
	for _, plan := range plans {
		if plan.Action == Drain {
			d.scheduleWake(plan.IdleSince.Add(d.policy.DrainPeriod))
		}
	}
	if len(d.after.Held) > 0 && (!d.after.Split.isShared() || d.Desired.Replicas.ScaledExternally) {
		d.scheduleWake(d.holdEnds(d.after))
	}
	if len(d.wakeTimes) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(d.wakeTimes, time.Time.Compare)
}
