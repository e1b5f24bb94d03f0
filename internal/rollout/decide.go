// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Policy holds the administrator's settings for all rollouts.
type Policy struct {
	// DrainPeriod is how long a workload has to finish its requests after the gateway sends no more.
	DrainPeriod time.Duration
	// CapacityHold is how long replicas are held after a shift, until the autoscaler sees the load.
	CapacityHold time.Duration
	// ProgressDeadline limits how long a share waits for its replicas before that is reported as a
	// failure, and how long a replacement waits for a node. 0 means no limit.
	ProgressDeadline time.Duration
	// GatewayTolerance is how long a changed Gateway may take to report on its new generation before
	// a settled split counts as not programmed. Workloads do not drain meanwhile.
	GatewayTolerance time.Duration
	// HistoryLimit is how many of the newest revisions stay in the revision history, apart from
	// older ones that are in use.
	HistoryLimit int
}

const (
	// stablePeriod is how long a target that lost its readiness must be ready before it gets its
	// share back. A loss counts for lossMemory.
	stablePeriod = 15 * time.Second
	lossMemory   = 5 * time.Minute
	// partPeriod is the minimum time between two parts of a share, and minPart the minimum number
	// of percentage points that a part adds. The last part may add fewer.
	partPeriod = 10 * time.Second
	minPart    = 10
	// replacePeriod is how long a target must be unschedulable before the stable makes room for it.
	replacePeriod = 60 * time.Second
)

// Decide returns the desired state for the observed state at the given time. Equal arguments give
// equal decisions. Once a decision has been carried out, the next one changes nothing.
func Decide(observed Snapshot, policy Policy, now time.Time) Decision {
	observed.Revisions = slices.SortedFunc(slices.Values(observed.Revisions), func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	d := decider{Snapshot: observed, policy: policy, now: now.UTC().Truncate(time.Millisecond)}
	d.loadState()
	d.chooseTarget()
	d.undoPromotion()
	d.followPlan()
	d.noteAsked()
	d.awaitStability()
	d.replaceStable()
	d.promote(d.chooseSplit())
	d.holdCapacity()
	d.storeTimes()
	return d.decision()
}

type decider struct {
	Snapshot
	policy Policy
	now    time.Time

	before State // The last rollout state, if any, or what could be recovered of it.
	after  State
	target Number
	create bool
	intent Intent
	// changed is true if the rollout state changes.
	changed bool
	waiting *Waiting
	// deferred is true while a rollback delays the creation of the desired revision (row 9b).
	deferred bool
	heldBack *HeldBack
	// unsettled is true while the target is ready again, but not yet for stablePeriod.
	unsettled bool
	// grants is true if the plan asks for the next share. Otherwise, or until the target has the
	// replicas for it, the trial waits. See [TrialReport].
	grants bool
	next   int
	waits  WaitingFor
	until  time.Time
	// keptOut is true if the target must not enter the split. dropped is true if it must leave the
	// split and need not run.
	keptOut, dropped bool
	bakeCompleted    bool
	wakeTimes        []time.Time
}

func (d *decider) loadState() {
	if d.Route.State != nil {
		d.before = d.Route.State.withInferred(d.Revisions)
	} else {
		d.before = d.recover()
	}
	d.after = d.before.clone()
}

// chooseTarget finds the revision that the spec asks for, or assigns a number to a new one. If the
// spec cannot be resolved, the last target and intent stay in force.
func (d *decider) chooseTarget() {
	if !d.Desired.resolved() {
		d.target, d.intent = d.before.Target, d.before.Asked
		if d.target == 0 {
			d.target = d.highest()
		}
	} else {
		d.target, d.intent = d.Snapshot.target(), d.Desired.Intent
		switch d.deferred = d.mustRollBackFirst(); {
		case d.deferred:
			d.target = d.before.Target
		case d.target == 0:
			d.target, d.create = d.newNumber(), true
		}
	}
	switch {
	case d.create:
		d.after.Hash = d.Desired.Hash
	case d.target != d.before.Target:
		d.after.Hash = d.find(d.target).Hash
	}
	if d.target != d.before.Target {
		// The same model under other metadata counts as tried if it was tried before.
		d.after.Tried = d.intent.Share == 0 && d.find(d.before.Target).SameModel && d.before.hadShare()
		d.after.LostAt, d.after.TrialBegan = time.Time{}, time.Time{}
	}
	d.after.Target = d.target
	d.after.Highest = max(d.before.Highest, d.highest(), d.target)
}

// mustRollBackFirst reports whether the spec combines a share of 0 with a change of only labels or
// annotations, and the rollback is not complete yet (row 9b). The revision with the new metadata
// is created afterwards, so that it does not compete with the previous revision for a node.
func (d *decider) mustRollBackFirst() bool {
	last := d.before.Target
	if last == 0 || d.Snapshot.target() == last || !d.find(last).SameModel || d.intent.Share != 0 {
		return false
	}
	if d.before.Stable == last {
		return d.intent.Undo && d.canReturnTo(d.before.Previous)
	}
	return d.intent.sameAs(d.before.Asked) && d.before.Split.Percent(last) > 0
}

// noteAsked stores what is asked of the target.
func (d *decider) noteAsked() {
	if d.target != d.before.Target || !d.intent.sameAs(d.before.Asked) {
		d.after.AskedAt, d.after.Replacement, d.after.ReplacingSince = d.now, "", time.Time{}
	}
	d.after.Asked = Intent{Share: d.intent.Share, Promote: d.intent.Promote}
}

// newNumber returns the number for a new revision. If an earlier attempt to create a revision with
// the same hash failed, its number is used again.
func (d *decider) newNumber() Number {
	if assigned := d.before.Target; assigned != 0 && d.known(assigned) == 0 && d.before.Hash == d.Desired.Hash {
		return assigned
	}
	return max(d.highest(), d.before.Highest) + 1
}

// undoPromotion makes the previous revision the stable again when the promotion of the target is to
// be undone (rows 9 to 11). A spec that returns to the stable with the percent of a canary still in
// it is an abort, not a rollback (row 16).
func (d *decider) undoPromotion() {
	promoted := d.before.Stable != 0 && d.target == d.before.Stable && d.target == d.before.Target
	switch {
	case !promoted || d.intent.Promote:
		d.after.NothingToUndo = false
	case !d.intent.Undo:
	case !d.canReturnTo(d.before.Previous):
		d.after.NothingToUndo = true
	default:
		d.after.Stable, d.after.Previous, d.after.NothingToUndo = d.before.Previous, 0, false
	}
}

// canRun reports whether a revision runs, or can be brought back from the revision history.
func (d *decider) canRun(n Number) bool {
	revision := d.find(n)
	return n != 0 && (revision.InHistory || len(revision.Workloads) > 0)
}

// canReturnTo reports whether a promotion can be undone by a return to the revision.
func (d *decider) canReturnTo(n Number) bool { return d.canRun(n) && !d.before.isRejected(n) }

// chooseSplit returns the split by the table of states in the package comment.
func (d *decider) chooseSplit() Split {
	d.after.Returning = false
	if d.Desired.Stopped || d.target == 0 {
		return Split{}
	}
	stable := d.after.Stable
	share, inSplit := d.targetShare()
	if share == 100 {
		return All(d.target)
	}
	if stable == 0 {
		return Split{} // The first revision gets 100 % or nothing.
	}
	switch granted := d.stableShare(100 - share); {
	case granted < 100-share:
		return d.partialSplit(granted)
	case !inSplit, d.deferred, d.dropped:
		return All(stable)
	default:
		return canarySplit(d.target, share, stable)
	}
}

// targetShare returns the share that the target gets now, and whether it is in the split. It enters
// the split once it has the capacity for its share, and stays with 0 % if it loses its last
// replica.
func (d *decider) targetShare() (share int, inSplit bool) {
	if d.target == d.after.Stable {
		return 0, false
	}
	share = d.desiredShare()
	current := d.before.Split.Percent(d.target)
	inSplit = d.before.Split.Has(d.target)
	switch ready, need := d.capacity(d.target), d.need(share); {
	case d.ready(d.target) == 0, d.keptOut && !inSplit:
		return 0, inSplit
	case share <= current && inSplit, ready >= need:
		return share, true
	default:
		d.wait(d.target, share, ready, need)
		return current, inSplit
	}
}

// desiredShare returns the share that is asked for a target that is not the stable. The first
// revision always gets 100 %.
func (d *decider) desiredShare() int {
	if d.after.Stable == 0 {
		return 100
	}
	return d.intent.Share
}

// stableShare returns how much of the desired share the stable gets now.
//
// A stable with a share and a ready replica takes everything back at once, because a rejected model
// must not keep serving while more replicas start. Without a ready replica it gains nothing while
// another revision can serve (row 21). A stable that had no share gets it in parts, as its replicas
// become ready. If no revision in the split can serve, one ready replica of the stable is enough.
func (d *decider) stableShare(desired int) int {
	stable := d.after.Stable
	had := d.before.Split.Percent(stable)
	returning := d.before.Returning && d.before.Stable == stable
	switch {
	case desired <= had:
		return desired
	case had > 0 && !d.othersServe(stable):
		return desired
	case had > 0 && !returning && d.ready(stable) > 0:
		return desired
	case had > 0 && !returning:
		d.wait(stable, desired, 0, 1)
		return had
	case d.ready(stable) > 0 && !d.before.Split.IsEmpty() && d.readyToServe() == 0:
		return desired // No revision in the split can serve.
	}
	return d.nextPart(desired, had, returning)
}

// nextPart returns the share that the ready replicas of a returning stable can take, at least its
// current share.
func (d *decider) nextPart(desired, had int, returning bool) int {
	stable := d.after.Stable
	ready, needed := d.capacity(stable), d.neededForAll()
	part := min(desired, 100*ready/needed)
	pause := d.before.ShiftedAt.Add(partPeriod)
	switch {
	case ready >= d.need(desired):
		part = desired
	case d.before.Split.IsEmpty():
		part = 0 // No revision serves, so this is not a rollback. It waits for all replicas.
	case part < desired && part-had < minPart:
		part = had
	}
	if paused := returning && d.now.Before(pause) && !d.before.ShiftedAt.After(d.now); part > had && paused {
		d.scheduleWake(pause)
		part = had
	}
	d.after.Returning = part > 0 && part < desired
	if part < desired {
		need := max(1, ceilDiv(desired*needed, 100))
		if d.before.Split.IsEmpty() {
			need = d.need(desired)
		}
		d.wait(stable, desired, ready, need)
	}
	return part
}

// partialSplit returns the split in which the stable has been granted only a part of its desired
// share. The other revision with the largest share keeps the rest.
func (d *decider) partialSplit(granted int) Split {
	stable := d.after.Stable
	if granted == d.before.Split.Percent(stable) {
		return d.before.Split
	}
	var other Share
	for _, share := range d.before.Split.shares {
		if share.Revision != stable && share.Percent > other.Percent {
			other = share
		}
	}
	if other.Revision == 0 {
		return d.before.Split
	}
	return canarySplit(other.Revision, 100-granted, stable)
}

// storeTimes adds the times that need not be exact to a rollout state that changes.
func (d *decider) storeTimes() {
	d.changed = !d.after.Equal(d.before)
	if !d.changed {
		return
	}
	d.after.pruneTrials(func(n Number) bool { return n != d.target && d.known(n) == 0 })
	since := d.before.WaitingSince
	if since.IsZero() || d.after.AskedAt.After(since) {
		since = d.now
	}
	d.after.WaitingSince = time.Time{}
	if d.waiting != nil {
		d.after.WaitingSince = since
	}
}

func (d *decider) wait(n Number, percent, ready, need int) {
	d.waiting = &Waiting{Revision: n, Percent: percent, Ready: ready, Need: need}
	if d.policy.ProgressDeadline == 0 || d.after.AskedAt.IsZero() {
		return
	}
	overdue := d.readySince(n, d.after.AskedAt).Add(d.policy.ProgressDeadline)
	d.waiting.Overdue = !d.now.Before(overdue)
	d.scheduleWake(overdue)
}

// readySince returns since when a revision has been ready, but at least the given time. A time in
// the future comes from a clock that is ahead and is ignored.
func (d *decider) readySince(n Number, earliest time.Time) time.Time {
	if workload := d.find(n).predictor(); workload != nil && workload.ReadySince.After(earliest) && !workload.ReadySince.After(d.now) {
		return workload.ReadySince
	}
	return earliest
}

// othersServe reports whether another revision of the split has a share and can serve it.
func (d *decider) othersServe(n Number) bool {
	return slices.ContainsFunc(d.before.Split.shares, func(share Share) bool {
		return share.Revision != n && share.Percent > 0 && d.ready(share.Revision) > 0
	})
}

// awaitStability makes a target that lost its share with its readiness count as unready until it
// has been ready for stablePeriod, so that its share does not flap. It waits only while another
// revision serves.
func (d *decider) awaitStability() {
	lost := d.after.LostAt
	recent := !lost.IsZero() && !lost.After(d.now) && d.now.Before(lost.Add(lossMemory))
	target := d.find(d.target)
	if !recent || d.target == d.after.Stable || d.before.Split.Percent(d.target) > 0 || target.Capacity() == 0 || !d.othersServe(d.target) {
		return
	}
	trusted := d.readySince(d.target, lost).Add(stablePeriod)
	if until := lost.Add(lossMemory); until.Before(trusted) {
		trusted = until
	}
	if !d.now.Before(trusted) {
		return
	}
	d.unsettled = true
	d.scheduleWake(trusted)
	for i := range d.Revisions {
		if d.Revisions[i].Number == d.target {
			workload := *target.predictor()
			workload.Ready = 0
			d.Revisions[i].Workloads = maps.Clone(target.Workloads)
			d.Revisions[i].Workloads[Predictor] = &workload
		}
	}
}

// replaceStable scales the stable down to make room for an unschedulable target, if the deployment
// strategy allows it (row 22). If the target then fails, or is still unschedulable at the progress
// deadline, the stable comes back. The target is not tried again until the spec changes.
func (d *decider) replaceStable() {
	workload := d.find(d.target).predictor()
	possible := d.Desired.Replace && d.intent.Promote && d.after.Trial == nil && !d.Desired.Stopped && !d.create && d.after.Stable != 0 &&
		d.target != d.after.Stable
	if !possible {
		d.after.Replacement, d.after.ReplacingSince = "", time.Time{}
		return
	}
	if workload == nil || d.ready(d.target) > 0 {
		return
	}
	unschedulable := !workload.UnschedulableSince.IsZero()
	switch d.after.Replacement {
	case "":
		at := workload.UnschedulableSince.Add(replacePeriod)
		switch {
		case !unschedulable || workload.Failed:
		case d.now.Before(at):
			d.scheduleWake(at)
		default:
			d.after.Replacement, d.after.ReplacingSince = Replacing, d.now
		}
	case Replacing:
		overdue := d.after.ReplacingSince.Add(d.policy.ProgressDeadline)
		expires := unschedulable && d.policy.ProgressDeadline > 0
		if workload.Failed || expires && !d.now.Before(overdue) {
			d.after.Replacement = ReplacementFailed
		} else if expires {
			d.scheduleWake(overdue)
		}
	case ReplacementFailed:
	}
}

// promote writes the split into the new rollout state. A target that gets 100 % by promotion, or as
// the first revision, becomes the stable, and every other revision leaves the split.
func (d *decider) promote(split Split) {
	d.reach(split)
	if split.Percent(d.target) == 100 && d.target != d.after.Stable && (d.after.Stable == 0 || d.intent.Promote) {
		d.after.Previous = d.previousAfterPromotion()
		d.after.Stable, d.after.Replacement, d.after.ReplacingSince = d.target, "", time.Time{}
		d.beginBake()
		split = All(d.target)
	}
	if split.Equal(d.before.Split) {
		return
	}
	if had := d.before.Split.Percent(d.target); had > 0 && split.Percent(d.target) == 0 && d.desiredShare() > 0 && !d.Desired.Stopped {
		d.after.LostAt = d.now
	}
	if d.target == d.before.Target {
		d.after.Tried = split.Percent(d.target) == 0 && d.before.hadShare()
	}
	switch {
	case d.target == d.after.Stable:
		d.after.TrialBegan = time.Time{}
	case split.Has(d.target) && d.after.TrialBegan.IsZero():
		d.after.TrialBegan = d.now
	}
	d.after.Split = split
	d.after.Routed = d.routedOutside(split)
	d.after.ServedBefore = d.served()
	d.after.ShiftedAt = d.now
}

// previousAfterPromotion returns the previous revision after a promotion of the target. If only
// labels or annotations change, the previous revision stays (row 6).
func (d *decider) previousAfterPromotion() Number {
	relabelled := d.find(d.after.Stable).SameModel && d.after.Stable != 0
	if relabelled && d.after.Previous != 0 && d.after.Previous != d.target {
		return d.after.Previous
	}
	return d.after.Stable
}

// routedOutside lists the revisions that are not in the split and that a route may have named.
func (d *decider) routedOutside(split Split) []Number {
	var routed []Number
	for _, revision := range d.Revisions {
		if n := revision.Number; !split.Has(n) && d.before.hasRouted(n) {
			routed = append(routed, n)
		}
	}
	return routed
}

// served returns the split that clients get. A split that was reported as served stays served, even
// if the gateway no longer confirms it: that does not bring the earlier split back.
func (d *decider) served() Split {
	switch reported := d.Reported.reportsServed(d.before.Split); {
	case d.Route.NoBackends && (d.Route.State == nil || !reported):
		return Split{}
	case d.Route.Accepted, reported:
		return d.before.Split
	}
	return d.before.ServedBefore
}
