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
	// HistoryLimit is how many records are kept, beside those that are in use.
	HistoryLimit int
}

// Decide says what must be, given what was seen and the time. Equal arguments give equal decisions; a decision that
// was carried out gives one that changes nothing.
func Decide(seen Snapshot, policy Policy, now time.Time) Decision {
	seen.Revisions = slices.SortedFunc(slices.Values(seen.Revisions), func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	d := decider{Snapshot: seen, policy: policy, now: now.UTC().Truncate(time.Millisecond)}
	d.remember()
	d.chooseTarget()
	d.undoPromotion()
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
		if d.target == 0 {
			d.target, d.create = d.newNumber(), true
		}
	}
	switch {
	case d.create:
		d.after.Inputs = d.Wanted.Inputs
	case d.target != d.before.Target:
		d.after.Inputs = d.find(d.target).Inputs
	}
	d.after.Target, d.after.Percent = d.target, d.percent
	d.after.Highest = max(d.before.Highest, d.highest(), d.target)
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
	if d.Wanted.Stopped || d.target == 0 {
		return Split{}
	}
	stable, now := d.after.Stable, d.before.Split
	share, offered := d.targetShare()
	if share == 100 {
		return All(d.target)
	}
	if stable == 0 {
		return Split{} // The first deployment takes all or nothing.
	}
	if !d.canTake(stable, 100-share) {
		return now
	}
	if !offered {
		return All(stable)
	}
	return between(d.target, share, stable)
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
		d.waiting = &Waiting{Revision: d.target, Percent: share, Ready: ready, Need: need}
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

// canTake tells whether the stable may have that share now. A stable that is serving takes back what a canary gives
// up at once: its replicas were held for that, and a model that was rejected must not serve on while more come up.
// One that serves nothing now was scaled away and must have its replicas first. Only where nobody else can serve is it
// not waited for beyond its first replica: with none, it could not serve either, and who lost all replicas for a moment
// may be back before it is loaded.
func (d *decider) canTake(stable Number, share int) bool {
	if d.before.Split.Percent(stable) > 0 {
		return true
	}
	ready, need := d.capacity(stable), d.need(share)
	if ready >= need || ready > 0 && d.nobodyServes() {
		return true
	}
	d.waiting = &Waiting{Revision: stable, Percent: share, Ready: ready, Need: need}
	return false
}

// nobodyServes tells whether there is a split, and none that it gives traffic to can serve.
func (d *decider) nobodyServes() bool { return !d.before.Split.IsEmpty() && d.readyToServe() == 0 }

// promote takes the split over into the record. Who gets everything by the spec's wish is the stable from then on, and
// nobody is offered traffic beside it.
func (d *decider) promote(split Split) {
	if split.Percent(d.target) == 100 && d.target != d.after.Stable && (d.after.Stable == 0 || asksForAll(d.percent)) {
		d.after.Stable, d.after.Previous = d.target, d.after.Stable
		split = All(d.target)
	}
	if split.Equal(d.before.Split) {
		return
	}
	d.after.Split = split
	d.after.Before = d.served()
	d.after.ShiftedAt = d.now
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
