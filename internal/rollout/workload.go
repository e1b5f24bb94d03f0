// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
	"time"
)

// decision gathers what was decided, and decides what follows from it: workloads, history, phase.
func (d *decider) decision() Decision {
	decision := Decision{
		Target:      d.target,
		Create:      d.create,
		Served:      d.served(),
		Programmed:  d.programmed(),
		Tags:        d.tags(),
		Workloads:   d.workloads(),
		Forget:      d.forget(),
		Phase:       d.phase(),
		Waiting:     d.waiting,
		HeldBack:    d.heldBack,
		Transitions: d.transitions(),
	}
	if d.unsettled {
		decision.Unsettled = d.target
	}
	if d.after.Stable != 0 {
		record := d.after
		if record.Encode() != d.before.Encode() {
			record.Version = RecordVersion
		}
		decision.Record = &record
	}
	decision.WakeAt = d.wakeAt(decision.Workloads)
	return decision
}

func (d *decider) programmed() bool {
	return d.routed() && d.Route.TagsTakenOver && d.tags().are(d.Route.Tags)
}

// routed tells whether clients get the split that is decided.
func (d *decider) routed() bool {
	return d.Route.TakenOver && d.after.Split.Equal(d.before.Split)
}

func (d *decider) tags() Tags {
	if !d.Wanted.Tagged {
		return Tags{}
	}
	return TagsOf(d.after.Split, d.target)
}

// workloads plans every workload that there is or must be.
func (d *decider) workloads() []WorkloadPlan {
	var plans []WorkloadPlan
	for _, revision := range d.Revisions {
		switch {
		case d.runs(revision.Number):
			plans = append(plans, d.run(revision))
		case revision.Workload != nil:
			plans = append(plans, d.retire(revision))
		}
	}
	if d.create && d.runs(d.target) {
		plans = append(plans, WorkloadPlan{Revision: d.target, Action: Run, Floor: d.floor(d.target)})
	}
	slices.SortFunc(plans, func(a, b WorkloadPlan) int { return cmp.Compare(a.Revision, b.Revision) })
	return plans
}

// run plans a workload that runs.
func (d *decider) run(revision Revision) WorkloadPlan {
	plan := WorkloadPlan{Revision: revision.Number, Action: Run, Floor: d.floor(revision.Number)}
	if d.Wanted.Replicas.External {
		d.holdExternal(&plan, revision.Workload)
		d.followAsked(&plan, revision.Workload)
	}
	if workload := revision.Workload; workload != nil {
		plan.ScaledUpAt = workload.ScaledUpAt
		bounds := d.Wanted.Replicas
		scales := plan.Raise || plan.Replicas != nil && *plan.Replicas > 0 || !bounds.External && !bounds.Elastic
		if scales && workload.Replicas == 0 && workload.Pods > 0 {
			plan.ScaledUpAt = d.now
		}
	}
	return plan
}

// runs tells whether a revision needs its workload: it is asked for, can be asked for at any moment, or serves.
func (d *decider) runs(n Number) bool {
	if d.Wanted.Stopped || d.makesRoom(n) {
		return false
	}
	return n == d.target || n == d.after.Stable || d.after.Split.Has(n)
}

// makesRoom reports whether a revision is down so that another can have its node (row 22).
func (d *decider) makesRoom(n Number) bool {
	switch d.after.Replacement {
	case Replacing:
		return n != d.target
	case ReplacementFailed:
		return n == d.target
	}
	return false
}

// retire takes the next step down. No step is taken while a route may still point at the revision, and the time to
// drain counts from when none did. A revision that no route has ever named has nothing to drain; if it is ready, a
// decision that gives it traffic may still be on its way.
func (d *decider) retire(revision Revision) WorkloadPlan {
	n, workload := revision.Number, *revision.Workload
	plan := WorkloadPlan{Revision: n, IdleSince: workload.IdleSince}
	if plan.IdleSince.IsZero() {
		plan.IdleSince = d.now
	}
	routed := d.before.hasRouted(n) || d.Route.Split.Has(n) || slices.Contains(d.Route.Tags, n)
	switch {
	case d.makesRoom(n) && !d.Wanted.Stopped:
		plan.Action = ScaleDown
	case routed && d.mayBeRouted(n), !routed && d.after.Stable != 0 && d.after.Encode() != d.before.Encode():
		// What goes is confirmed against the route as it is, which this decision changes.
		return WorkloadPlan{Revision: n, Action: Keep}
	case (workload.Ready > 0 || routed && workload.Pods > 0) && d.now.Before(plan.IdleSince.Add(d.policy.DrainPeriod)):
		plan.Action = Drain
	case workload.Replicas > 0 || workload.Pods > 0, !revision.Recorded && d.inUse(n):
		plan.Action = ScaleDown // A workload whose record was lost is the last that knows what it runs.
	default:
		plan.Action = Delete
	}
	return plan
}

// mayBeRouted tells whether a request could still be sent to a revision that is out of the split. Before the gateway
// has taken the last write over it may serve any earlier one, so nothing is safe then. A tag host that it refuses leads
// nowhere, however long that lasts.
func (d *decider) mayBeRouted(n Number) bool {
	if d.Route.Impossible {
		return false
	}
	routes := d.Route.Record != nil || d.after.Stable != 0
	answered := d.Route.TagsTakenOver || d.Route.TagsRefused
	settled := d.routed() && answered && d.tags().are(d.Route.Tags)
	return routes && !settled || slices.Contains(d.Route.Tags, n)
}

// forget lists the records that are neither in use nor among the newest.
func (d *decider) forget() []Number {
	var forget []Number
	kept := 0
	for _, revision := range slices.Backward(d.Revisions) {
		if !revision.Recorded {
			continue
		}
		kept++
		if kept > d.policy.HistoryLimit && revision.Workload == nil && !d.inUse(revision.Number) {
			forget = append(forget, revision.Number)
		}
	}
	return forget
}

// inUse tells whether a revision may have to run, now or later.
func (d *decider) inUse(n Number) bool {
	return n == d.target || n == d.after.Stable || n == d.after.Previous || d.after.Split.Has(n)
}

func (d *decider) phase() Phase {
	target := d.find(d.target)
	stable := d.target == d.after.Stable
	switch {
	case d.Wanted.Stopped && slices.ContainsFunc(d.Revisions, func(r Revision) bool { return r.Workload.hasPods() }):
		return Stopping
	case d.Wanted.Stopped:
		return Stopped
	case d.after.Replacement == ReplacementFailed:
		return Failed
	case target.Workload != nil && target.Workload.Failed && target.Capacity() == 0:
		return Failed
	case target.Capacity() == 0:
		return Loading
	case d.waiting != nil:
		return Shifting
	case stable:
		return Stable
	case d.after.Split.Percent(d.target) == 0 && !d.tried():
		return Preview
	case d.after.Split.Percent(d.target) == 0:
		return RolledBack
	default:
		return Canary
	}
}

func (d *decider) transitions() []Transition {
	var found []Transition
	add := func(kind TransitionKind, revision, other Number) {
		found = append(found, Transition{Kind: kind, Revision: revision, Other: other})
	}
	if d.create {
		add(Created, d.target, 0)
	}
	for _, share := range d.before.Split.shares {
		n := share.Revision
		if n != d.target && n != d.before.Stable && n != d.after.Stable && !d.after.Split.Has(n) && !d.Wanted.Stopped {
			add(Superseded, n, d.target)
		}
	}
	switch {
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
	if !d.after.Split.Equal(d.before.Split) {
		found = append(found, Transition{Kind: Shifted, From: d.before.Split, To: d.after.Split})
	}
	return found
}

// rolledBack reports whether this decision takes the target's traffic away because the percent says so: a promotion is
// undone to the share that was asked for, or a canary that had a share loses it. It is told when the traffic moves, not
// when it is asked for.
func (d *decider) rolledBack() bool {
	had, has := d.before.Split.Percent(d.target), d.after.Split.Percent(d.target)
	if d.target == d.after.Stable || d.percent == nil || has >= had || d.after.Returning || d.Wanted.Stopped {
		return false
	}
	undone := had == 100 || d.before.Returning
	return undone && has == *d.percent || *d.percent == 0
}

// tried reports whether the target has had a share since it became the target.
func (d *decider) tried() bool {
	return d.after.Tried || d.target == d.before.Target && d.before.hadShare()
}

// wake notes a time at which time alone changes the decision.
func (d *decider) wake(at time.Time) {
	if at.After(d.now) {
		d.wakes = append(d.wakes, at)
	}
}

// wakeAt is the next moment at which time alone changes the decision.
func (d *decider) wakeAt(plans []WorkloadPlan) time.Time {
	for _, plan := range plans {
		if plan.Action == Drain {
			d.wake(plan.IdleSince.Add(d.policy.DrainPeriod))
		}
	}
	if len(d.after.Floors) > 0 && (!d.after.Split.isShared() || d.Wanted.Replicas.External) {
		d.wake(d.holdEnds(d.after))
	}
	if len(d.wakes) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(d.wakes, time.Time.Compare)
}
