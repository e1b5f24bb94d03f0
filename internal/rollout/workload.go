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
		Transitions: d.transitions(),
	}
	if d.after.Stable != 0 {
		record := d.after
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
			plans = append(plans, WorkloadPlan{Revision: revision.Number, Action: Run, Floor: d.floor(revision.Number)})
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

// runs tells whether a revision needs its workload: it is asked for, can be asked for at any moment, or serves.
func (d *decider) runs(n Number) bool {
	if d.Wanted.Stopped {
		return false
	}
	return n == d.target || n == d.after.Stable || d.after.Split.Has(n)
}

// retire takes the next step down. No step is taken while a route may still point at the revision, and the time to
// drain counts from when none did.
func (d *decider) retire(revision Revision) WorkloadPlan {
	workload := *revision.Workload
	plan := WorkloadPlan{Revision: revision.Number, IdleSince: workload.IdleSince}
	if plan.IdleSince.IsZero() {
		plan.IdleSince = d.now
	}
	switch {
	case d.mayBeRouted(revision.Number):
		return WorkloadPlan{Revision: revision.Number, Action: Keep}
	case workload.Ready > 0 && d.now.Before(plan.IdleSince.Add(d.policy.DrainPeriod)):
		plan.Action = Drain
	case workload.Replicas > 0 || workload.Pods > 0, !revision.Recorded && d.inUse(revision.Number):
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
	case d.Wanted.Stopped:
		return Stopped
	case target.Workload != nil && target.Workload.Failed && target.Capacity() == 0:
		return Failed
	case target.Capacity() == 0:
		return Loading
	case d.waiting != nil:
		return Shifting
	case stable:
		return Stable
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
	if old := d.before.Target; old != d.target && old != d.before.Stable && d.before.Split.Has(old) {
		add(Superseded, old, d.target)
	}
	switch {
	case d.after.Stable == d.target && d.before.Stable != d.target && d.before.Stable != 0:
		add(Promoted, d.target, d.before.Stable)
	case d.rolledBack():
		add(WasRolledBack, d.target, d.after.Stable)
	case d.after.NothingToUndo && !d.before.NothingToUndo:
		add(NothingToUndo, d.target, 0)
	}
	if !d.after.Split.Equal(d.before.Split) {
		found = append(found, Transition{Kind: Shifted, From: d.before.Split, To: d.after.Split})
	}
	return found
}

// rolledBack tells whether this decision takes the target's traffic away because the percent says so: it undoes a
// promotion, or it sends a canary that had a share home.
func (d *decider) rolledBack() bool {
	undone := d.after.Stable != d.before.Stable && d.before.Stable == d.target
	sentHome := d.target != d.after.Stable && d.percent != nil && *d.percent == 0 &&
		(d.before.Percent == nil || *d.before.Percent != 0) && d.before.Split.Percent(d.target) > 0
	return undone || sentHome
}

// wakeAt is the next moment at which time alone changes the decision.
func (d *decider) wakeAt(plans []WorkloadPlan) time.Time {
	var wake time.Time
	at := func(t time.Time) {
		if t.After(d.now) && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	for _, plan := range plans {
		if plan.Action == Drain {
			at(plan.IdleSince.Add(d.policy.DrainPeriod))
		}
	}
	if len(d.after.Floors) > 0 && !d.after.Split.isShared() {
		at(d.holdEnds(d.after))
	}
	return wake
}
