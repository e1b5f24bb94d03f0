// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// need is how many ready replicas a revision must have before it gets a share, in percent.
func (d *decider) need(share int) int {
	bounds := d.Wanted.Replicas
	if bounds.Elastic {
		return 1
	}
	return bounds.clamp(ceilDiv(share*d.serving(), 100))
}

// neededForAll is how many replicas the whole traffic needs, as far as a revision may have them.
func (d *decider) neededForAll() int {
	if d.Wanted.Replicas.Elastic {
		return 1
	}
	return max(1, min(d.serving(), d.Wanted.Replicas.Max))
}

// capacity is how many replicas of a revision can serve a share that it gets now, and are to stay. Replicas that an
// autoscaler has just called off serve until they stop, and after a scale from zero those of before may be about to go.
func (d *decider) capacity(n Number) int {
	ready := d.ready(n)
	if d.Wanted.Replicas.Elastic || ready == 0 {
		return ready
	}
	workload := d.find(n).Workload
	if d.before.Split.Percent(n) > 0 {
		return min(ready, workload.Replicas)
	}
	if workload.Unobserved {
		return 0
	}
	if sure := workload.ScaledUpAt.Add(leftoverPeriod); d.now.Before(sure) && !workload.ScaledUpAt.After(d.now) && workload.Leftover > 0 {
		d.wake(sure)
		ready = max(0, ready-workload.Leftover)
	}
	return min(ready, workload.Replicas)
}

// leftoverPeriod is how long after a scale from zero a pod of before may still be deleted for the zero.
const leftoverPeriod = 10 * time.Second

// serving is how many replicas the traffic of all revisions needs: what is measured, and while replicas are held at
// least that many, so that it is never measured at a bad moment.
func (d *decider) serving() int {
	serving := d.measured()
	for n := range d.before.Floors {
		serving = max(serving, d.heldBefore(n))
	}
	return serving
}

// measured estimates the replicas that all traffic needs: the ready replicas of the giver divided by its share. A giver
// that has no more than what is held for it carried everything on that alone. The estimate is never more than the
// replicas that serve now.
func (d *decider) measured() int {
	giver := d.giver()
	ready := d.ready(giver.Revision)
	if ready <= max(d.Wanted.Replicas.least(), d.heldBefore(giver.Revision)) {
		return ready
	}
	return min(ceilDiv(100*ready, giver.Percent), d.readyToServe())
}

// readyToServe counts the ready replicas of all that have a share.
func (d *decider) readyToServe() int {
	all := 0
	for _, share := range d.before.Split.shares {
		if share.Percent > 0 {
			all += d.ready(share.Revision)
		}
	}
	return all
}

// giver is the revision that tells what the traffic takes: the stable, or where that gives nothing, the one that gives
// most; none where nobody gives any. A canary is not asked while the stable can be: replicas that were brought up for
// a shift would ask for ever more of themselves.
func (d *decider) giver() Share {
	stable := d.before.Stable
	if percent := d.before.Split.Percent(stable); percent > 0 {
		return Share{stable, percent}
	}
	var most Share
	for _, share := range d.before.Split.shares {
		if share.Percent > most.Percent {
			most = share
		}
	}
	return most
}

// holdCapacity notes the replicas that a new split is given on, where an autoscaler could take them away: what a
// receiver needs for its share, and what a giver has, so that it can take its share back at any moment.
func (d *decider) holdCapacity() {
	if d.after.Split.Equal(d.before.Split) {
		return
	}
	floors := map[Number]int{}
	for _, share := range d.after.Split.shares {
		gains := share.Percent > d.before.Split.Percent(share.Revision)
		if share.Percent > 0 && (gains || !d.Wanted.Replicas.External) {
			floors[share.Revision] = d.heldFloor(share)
		}
	}
	d.after.Floors = d.worthHolding(floors)
}

// worthHolding leaves out what nobody could take away; nil when nothing is left. A floor that is the spec's minimum is
// kept: the minimum may be lowered while the rollout lasts.
func (d *decider) worthHolding(floors map[Number]int) map[Number]int {
	bounds := d.Wanted.Replicas
	for n, floor := range floors {
		floors[n] = bounds.clamp(floor)
		if bounds.Elastic || floors[n] <= 1 && !bounds.External {
			delete(floors, n)
		}
	}
	if len(floors) == 0 {
		return nil
	}
	return floors
}

func (d *decider) heldFloor(share Share) int {
	n, had := share.Revision, d.before.Split.Percent(share.Revision)
	floor := max(d.ready(n), d.heldBefore(n))
	switch {
	case n == d.after.Stable && had == 0:
		floor = d.need(100) // It may have to take the rest at once.
	case (n == d.target && n != d.before.Stable || d.Wanted.Replicas.External) && share.Percent > had:
		floor = max(d.need(share.Percent), d.heldBefore(n))
	}
	return floor
}

// floor is the least replicas that a revision runs now.
func (d *decider) floor(n Number) int {
	return d.Wanted.Replicas.clamp(max(d.Wanted.Replicas.least(), d.required(n)))
}

// required is how many replicas a revision must have for its share, or for the one that it is about to get; 0 when
// nothing asks for more than the spec's minimum.
func (d *decider) required(n Number) int {
	floor := 0
	if d.holds(d.after, d.programmed()) {
		floor = d.after.Floors[n]
	}
	if d.after.Split.Percent(n) == 0 {
		// It loads with the replicas for its first share; a stable, which is brought back, for all.
		switch n {
		case d.after.Stable:
			floor = max(floor, d.need(100))
		case d.target:
			if share := d.wantedShare(); share > 0 || !d.Wanted.Replicas.External {
				floor = max(floor, d.need(share))
			}
		}
	}
	if d.waiting != nil && d.waiting.Revision == n {
		floor = max(floor, d.waiting.Need)
	}
	return floor
}

// maxLowered is how often an external autoscaler may lower a held number before the operator stops raising it again.
const maxLowered = 3

// holdExternal plans the replicas of a workload that another autoscaler scales. They are raised for a share that the
// revision is about to get or has just got, and are the autoscaler's in every other case.
func (d *decider) holdExternal(plan *WorkloadPlan, workload *Workload) {
	if workload == nil || d.isScaledToZero(plan.Revision) {
		return
	}
	required, inProportion := d.required(plan.Revision), d.inProportion(plan.Revision)
	if required == 0 && inProportion == 0 {
		return
	}
	held := d.Wanted.Replicas.clamp(max(required, inProportion))
	plan.Held, plan.Lowered = workload.Held, workload.Lowered
	if workload.Replicas >= held {
		return
	}
	again := workload.Held >= held
	if again && workload.Lowered+1 >= maxLowered {
		if need := d.Wanted.Replicas.clamp(required); required > 0 && workload.Replicas < need {
			d.heldBack = &HeldBack{Revision: plan.Revision, Replicas: need}
		}
		return
	}
	if again {
		plan.Lowered++
	}
	plan.Raise, plan.Floor, plan.Held = true, held, held
}

// inProportion is how many replicas a revision needs beside the one that an external autoscaler has set a number for: the
// same for each percent of the traffic. It is 0 where no number is set, and for a revision without a share or replicas.
func (d *decider) inProportion(n Number) int {
	asked, leader := d.Wanted.Replicas.Asked, d.scaled()
	served := d.served()
	if asked == nil || n == leader || served.Percent(leader) == 0 || d.find(n).Workload.Replicas == 0 {
		return 0
	}
	return ceilDiv(*asked*served.Percent(n), served.Percent(leader))
}

// followAsked plans the number that an external autoscaler has set for the revision with the largest share. Replicas that
// are held for a shift are not taken away by it.
func (d *decider) followAsked(plan *WorkloadPlan, workload *Workload) {
	asked := d.Wanted.Replicas.Asked
	if asked == nil || plan.Revision != d.scaled() {
		return
	}
	replicas := *asked
	heldBack := d.heldBack != nil && d.heldBack.Revision == plan.Revision
	if required := d.required(plan.Revision); required > 0 && !heldBack && (workload == nil || !d.isScaledToZero(plan.Revision)) {
		replicas = max(replicas, d.Wanted.Replicas.clamp(required))
	}
	plan.Replicas = &replicas
}

// isScaledToZero reports whether an external autoscaler has taken the last replica of a target away after it had got its
// share: that is the autoscaler's decision, and is kept.
func (d *decider) isScaledToZero(n Number) bool {
	workload := d.find(n).Workload
	return n == d.target && workload.Replicas == 0 && d.after.LostAt.After(d.after.AskedAt)
}

// heldBefore is the floor that was in force until now. One that has expired tells nothing any more: the autoscaler
// has seen the load since.
func (d *decider) heldBefore(n Number) int {
	if !d.holds(d.before, d.Route.TakenOver) {
		return 0
	}
	return d.before.Floors[n]
}

// holds tells whether the floors of a record are in force: while two revisions share the traffic, until the gateway
// has moved it, and for a while after a shift. Replicas that an external autoscaler sets are held while two share only if
// the stable comes back in parts: else what was brought up for its first part would be measured as need for the next.
func (d *decider) holds(record Record, takenOver bool) bool {
	shared := record.Split.isShared() && (!d.Wanted.Replicas.External || record.Returning)
	return shared || !takenOver || d.now.Before(d.holdEnds(record))
}

func (d *decider) holdEnds(record Record) time.Time {
	return record.ShiftedAt.Add(d.policy.CapacityHold)
}

// least is the fewest replicas of a revision that runs. None would never serve again where no autoscaler sees the
// requests that wait.
func (b Bounds) least() int {
	if b.Elastic {
		return b.Min
	}
	return max(b.Min, 1)
}

func (b Bounds) clamp(replicas int) int { return max(b.least(), min(replicas, b.Max)) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
