// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
	"time"
)

// Policy is what the administrator decides about all rollouts.
type Policy struct {
	// DrainPeriod is how long requests under way may take once the gateway sends no more.
	DrainPeriod time.Duration
	// CapacityHold is how long after a shift the replicas that it was made on are held against the autoscaler, which
	// has yet to see the load that they were brought up for.
	CapacityHold time.Duration
	// ProgressDeadline is how long a share may wait for its replicas before the wait is reported as a failure; 0 for
	// any time.
	ProgressDeadline time.Duration
	// HistoryLimit is how many records are kept, beside those that are in use.
	HistoryLimit int
}

// Periods that no administrator sets.
const (
	// stablePeriod is how long a target that lost its readiness must have been ready before it gets its share back,
	// and lossMemory for how long that loss counts.
	stablePeriod = 15 * time.Second
	lossMemory   = 5 * time.Minute
	// partPeriod is the least time between two parts of a share, and leastPart the least points of one, except the last.
	partPeriod = 10 * time.Second
	leastPart  = 10
	// replacePeriod is how long a target must have found no node before the stable makes room for it.
	replacePeriod = 60 * time.Second
)

// Decide says what must be, given what was seen and the time. Equal arguments give equal decisions; a decision that
// was carried out gives one that changes nothing.
func Decide(seen Snapshot, policy Policy, now time.Time) Decision {
	seen.Revisions = slices.SortedFunc(slices.Values(seen.Revisions), func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	d := decider{Snapshot: seen, policy: policy, now: now.UTC().Truncate(time.Millisecond)}
	d.remember()
	d.chooseTarget()
	d.undoPromotion()
	d.awaitStability()
	d.replaceStable()
	d.promote(d.chooseSplit())
	d.holdCapacity()
	return d.decision()
}

// decider is one run of Decide. Its steps fill it from top to bottom.
type decider struct {
	Snapshot
	policy Policy
	now    time.Time

	before  Record // What was decided last, or what can be recovered of it. Its Stable is 0 before the first promotion.
	after   Record // What is decided now.
	target  Number
	create  bool
	percent *int
	waiting *Waiting
	// deferred says that the spec asks for the rejected model under other metadata: its revision is not created before the
	// rollback is done.
	deferred bool
	// heldBack is what an external autoscaler keeps taking away.
	heldBack *HeldBack
	// unsettled says that the target is ready again and has not been for long enough to be trusted.
	unsettled bool
	// wakes are the times at which time alone changes the decision.
	wakes []time.Time
}

// remember begins with the record on the route, or with the best substitute.
func (d *decider) remember() {
	if d.Route.Record != nil {
		d.before = *d.Route.Record
	} else {
		d.before = d.recover()
	}
	d.after = d.before.clone()
}

// chooseTarget finds the revision that the spec asks for, or numbers a new one. A spec that cannot be resolved asks
// for what was asked for last.
func (d *decider) chooseTarget() {
	if !d.Wanted.resolved() {
		d.target, d.percent = d.before.Target, d.before.Percent
		if d.target == 0 {
			d.target = d.highest()
		}
	} else {
		d.target, d.percent = d.Snapshot.target(), d.Wanted.Percent
		switch d.deferred = d.mustUndoFirst(); {
		case d.deferred:
			d.target = d.before.Target
		case d.target == 0:
			d.target, d.create = d.newNumber(), true
		}
	}
	switch {
	case d.create:
		d.after.Inputs = d.Wanted.Inputs
	case d.target != d.before.Target:
		d.after.Inputs = d.find(d.target).Inputs
	}
	if d.target != d.before.Target {
		// The same model under other metadata is as rejected as it was before.
		d.after.Tried = d.percent != nil && *d.percent == 0 && d.find(d.before.Target).SameModel && d.before.hadShare()
		d.after.LostAt = time.Time{}
	}
	if d.target != d.before.Target || !samePercent(d.percent, d.before.Percent) {
		d.after.AskedAt, d.after.Replacement, d.after.ReplacingSince = d.now, "", time.Time{}
	}
	d.after.Target, d.after.Percent = d.target, d.percent
	d.after.Highest = max(d.before.Highest, d.highest(), d.target)
}

func samePercent(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// mustUndoFirst reports whether a percent of 0 came together with other labels or annotations, and nothing else, and
// rolls back a promotion that is not undone yet (row 9b). The revision with the new metadata is created once the
// rollback is done, so that it does not compete with the previous revision for a node.
func (d *decider) mustUndoFirst() bool {
	last := d.before.Target
	if last == 0 || d.Snapshot.target() == last || !d.find(last).SameModel || d.percent == nil || *d.percent != 0 {
		return false
	}
	if d.before.Stable == last {
		return asksForAll(d.before.Percent) && d.canRun(d.before.Previous)
	}
	return samePercent(d.percent, d.before.Percent) && d.before.Split.Percent(last) > 0
}

// newNumber is the number of a revision that is to be made: the next one, or the one that these inputs were given
// before, when nothing could be made of it.
func (d *decider) newNumber() Number {
	if given := d.before.Target; given != 0 && d.known(given) == 0 && d.before.Inputs == d.Wanted.Inputs {
		return given
	}
	return max(d.highest(), d.before.Highest) + 1
}

// undoPromotion goes back to the previous revision when the percent of a target that was promoted changes from
// «promote» to less. That the percent *changes* is what tells it from the return to a stable in the middle of a
// canary, with the canary's percent still in the spec (row 9 against row 16).
func (d *decider) undoPromotion() {
	promoted := d.before.Stable != 0 && d.target == d.before.Stable && d.target == d.before.Target
	if !promoted || asksForAll(d.percent) {
		d.after.NothingToUndo = false
		return
	}
	if !asksForAll(d.before.Percent) {
		return
	}
	if !d.canRun(d.before.Previous) {
		d.after.NothingToUndo = true
		return
	}
	d.after.Stable, d.after.Previous, d.after.NothingToUndo = d.before.Previous, 0, false
}

// asksForAll tells whether the percent asks for promotion.
func asksForAll(percent *int) bool { return percent == nil || *percent == 100 }

func (d *decider) canRun(n Number) bool {
	revision := d.find(n)
	return n != 0 && (revision.Recorded || revision.Workload != nil)
}

// chooseSplit says who gets what, by the table of states in the package comment.
func (d *decider) chooseSplit() Split {
	d.after.Returning = false
	if d.Wanted.Stopped || d.target == 0 {
		return Split{}
	}
	stable := d.after.Stable
	share, offered := d.targetShare()
	if share == 100 {
		return All(d.target)
	}
	if stable == 0 {
		return Split{} // The first deployment takes all or nothing.
	}
	switch given := d.stableShare(100 - share); {
	case given < 100-share:
		return d.inParts(given)
	case !offered, d.deferred:
		return All(stable)
	default:
		return between(d.target, share, stable)
	}
}

// targetShare is what the target gets, and whether it is offered traffic at all. A target is offered traffic from
// the moment when it can serve, and then stays in the split, with nothing where it lost its replicas.
func (d *decider) targetShare() (share int, offered bool) {
	if d.target == d.after.Stable {
		return 0, false
	}
	share = d.wantedShare()
	has := d.before.Split.Percent(d.target)
	offered = d.before.Split.Has(d.target)
	switch ready, need := d.capacity(d.target), d.need(share); {
	case d.ready(d.target) == 0:
		return 0, offered
	case share <= has && offered, ready >= need:
		return share, true
	default:
		d.wait(d.target, share, ready, need)
		return has, offered
	}
}

// wantedShare is what the spec asks for the target while that is not the stable. A first deployment takes everything.
func (d *decider) wantedShare() int {
	if d.after.Stable == 0 || asksForAll(d.percent) {
		return 100
	}
	return *d.percent
}

// stableShare returns how much of the asked share the stable gets now.
//
// A stable that is serving takes back at once what a canary leaves: its replicas were held for that, and a rejected
// model must not serve on while more come up. Without a ready replica it gains nothing while another revision can
// serve (row 21). A stable that was scaled away gets its share in parts, as its replicas become ready.
func (d *decider) stableShare(asked int) int {
	stable := d.after.Stable
	had := d.before.Split.Percent(stable)
	returning := d.before.Returning && d.before.Stable == stable
	switch {
	case asked <= had:
		return asked
	case had > 0 && !d.othersServe(stable):
		return asked
	case had > 0 && !returning && d.ready(stable) > 0:
		return asked
	case had > 0 && !returning:
		d.wait(stable, asked, 0, 1)
		return had
	case d.ready(stable) > 0 && !d.before.Split.IsEmpty() && d.readyToServe() == 0:
		return asked // No revision can serve: the first replica is better than none.
	}
	return d.nextPart(asked, had, returning)
}

// nextPart returns the share that the ready replicas of a stable that is coming back can take.
func (d *decider) nextPart(asked, had int, returning bool) int {
	stable := d.after.Stable
	ready, needed := d.capacity(stable), d.neededForAll()
	part := min(asked, 100*ready/needed)
	pause := d.before.ShiftedAt.Add(partPeriod)
	switch {
	case ready >= d.need(asked):
		part = asked
	case d.before.Split.IsEmpty():
		part = 0 // Nothing is served: this is no rollback, and waits for all its replicas.
	case part < asked && part-had < leastPart:
		part = had
	}
	if paused := returning && d.now.Before(pause) && !d.before.ShiftedAt.After(d.now); part > had && paused {
		d.wake(pause)
		part = had
	}
	d.after.Returning = part > 0 && part < asked
	if part < asked {
		need := max(1, ceilDiv(asked*needed, 100))
		if d.before.Split.IsEmpty() {
			need = d.need(asked)
		}
		d.wait(stable, asked, ready, need)
	}
	return part
}

// inParts is the split while the stable has not got all that it is to get. Whoever has the rest keeps it.
func (d *decider) inParts(given int) Split {
	stable := d.after.Stable
	if given == d.before.Split.Percent(stable) {
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
	return between(other.Revision, 100-given, stable)
}

// wait notes which revision a share waits for.
func (d *decider) wait(n Number, percent, ready, need int) {
	d.waiting = &Waiting{Revision: n, Percent: percent, Ready: ready, Need: need}
	if d.policy.ProgressDeadline == 0 || d.after.AskedAt.IsZero() {
		return
	}
	overdue := d.readySince(n, d.after.AskedAt).Add(d.policy.ProgressDeadline)
	d.waiting.Overdue = !d.now.Before(overdue)
	d.wake(overdue)
}

// readySince is since when a revision has been ready, but not before a time. A time in the future is that of another
// clock, and does not count.
func (d *decider) readySince(n Number, earliest time.Time) time.Time {
	if workload := d.find(n).Workload; workload != nil && workload.ReadySince.After(earliest) && !workload.ReadySince.After(d.now) {
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

// awaitStability keeps the share of a target that has just lost its readiness from coming and going with it: the share
// comes back once the target has been ready for a while. It waits only while another revision serves.
func (d *decider) awaitStability() {
	lost := d.after.LostAt
	remembered := !lost.IsZero() && !lost.After(d.now) && d.now.Before(lost.Add(lossMemory))
	target := d.find(d.target)
	if !remembered || d.target == d.after.Stable || d.before.Split.Percent(d.target) > 0 || target.Capacity() == 0 || !d.othersServe(d.target) {
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
	d.wake(trusted)
	for i := range d.Revisions {
		if d.Revisions[i].Number == d.target {
			workload := *target.Workload
			workload.Ready = 0
			d.Revisions[i].Workload = &workload
		}
	}
}

// replaceStable lets the target take the place of the stable where the user allows that and the target, which has not
// failed otherwise, finds no node (row 22). If the target does not come up there, the stable comes back, and the target is
// not tried again.
func (d *decider) replaceStable() {
	workload := d.find(d.target).Workload
	possible := d.Wanted.Replace && asksForAll(d.percent) && !d.Wanted.Stopped && !d.create && d.after.Stable != 0 &&
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
			d.wake(at)
		default:
			d.after.Replacement, d.after.ReplacingSince = Replacing, d.now
		}
	case Replacing:
		overdue := d.after.ReplacingSince.Add(d.policy.ProgressDeadline)
		expires := unschedulable && d.policy.ProgressDeadline > 0
		if workload.Failed || expires && !d.now.Before(overdue) {
			d.after.Replacement = ReplacementFailed
		} else if expires {
			d.wake(overdue)
		}
	case ReplacementFailed:
	}
}

// promote takes the split over into the record. Who gets everything by the spec's wish is the stable from then on, and
// nobody is offered traffic beside it.
func (d *decider) promote(split Split) {
	if split.Percent(d.target) == 100 && d.target != d.after.Stable && (d.after.Stable == 0 || asksForAll(d.percent)) {
		d.after.Previous = d.previousAfterPromotion()
		d.after.Stable, d.after.Replacement, d.after.ReplacingSince = d.target, "", time.Time{}
		split = All(d.target)
	}
	if split.Equal(d.before.Split) {
		return
	}
	if had := d.before.Split.Percent(d.target); had > 0 && split.Percent(d.target) == 0 && d.wantedShare() > 0 && !d.Wanted.Stopped {
		d.after.LostAt = d.now
	}
	if d.target == d.before.Target {
		d.after.Tried = split.Percent(d.target) == 0 && d.before.hadShare()
	}
	d.after.Split = split
	d.after.Routed = d.routedBefore(split)
	d.after.Before = d.served()
	d.after.ShiftedAt = d.now
}

// previousAfterPromotion is what a promotion of the target can be undone to. One that changes labels and annotations
// only does not replace the way back.
func (d *decider) previousAfterPromotion() Number {
	relabelled := d.find(d.after.Stable).SameModel && d.after.Stable != 0
	if relabelled && d.after.Previous != 0 && d.after.Previous != d.target {
		return d.after.Previous
	}
	return d.after.Stable
}

// routedBefore lists the revisions out of the split that a route has named.
func (d *decider) routedBefore(split Split) []Number {
	var routed []Number
	for _, revision := range d.Revisions {
		if n := revision.Number; !split.Has(n) && d.before.hasRouted(n) {
			routed = append(routed, n)
		}
	}
	return routed
}

// served is what clients got until now. A gateway that had taken the split over and does not say so any more, as
// something else of the route has changed or the gateway is gone, has not gone back to the split before.
func (d *decider) served() Split {
	switch {
	case d.Route.ServesNobody:
		return Split{}
	case d.Route.TakenOver, d.Reported.tellsOf(d.before.Split):
		return d.before.Split
	}
	return d.before.Before
}
