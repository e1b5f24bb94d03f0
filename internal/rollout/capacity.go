// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// need is how many ready replicas a revision must have before it is given a share, in percent.
func (d *decider) need(share int) int {
	bounds := d.Wanted.Replicas
	if bounds.Elastic {
		return 1
	}
	return bounds.clamp(ceilDiv(share*d.serving(), 100))
}

// capacity is how many replicas of a revision can serve, and are to stay: those that an autoscaler has just called off
// do so until they stop.
func (d *decider) capacity(n Number) int {
	if d.Wanted.Replicas.Elastic || d.ready(n) == 0 {
		return d.ready(n)
	}
	return min(d.ready(n), d.find(n).Workload.Replicas)
}

// serving is how many replicas the traffic of all revisions takes now, told by a giver: its ready replicas, over its
// part of the traffic. One that has no more than what is held for it carried everything on that alone. And it is never
// more than those that do serve it.
func (d *decider) serving() int {
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
		if share.Percent > 0 {
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
		if bounds.Elastic || floors[n] <= 1 {
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
	case n == d.target && n != d.before.Stable && share.Percent > had:
		floor = max(d.need(share.Percent), d.heldBefore(n))
	}
	return floor
}

// floor is the least replicas that a revision runs now.
func (d *decider) floor(n Number) int {
	floor := d.Wanted.Replicas.least()
	if d.holds(d.after, d.programmed()) {
		floor = max(floor, d.after.Floors[n])
	}
	if d.after.Split.Percent(n) == 0 {
		// It loads with the replicas for its first share; a stable, which is brought back, for all.
		switch n {
		case d.after.Stable:
			floor = max(floor, d.need(100))
		case d.target:
			floor = max(floor, d.need(d.wantedShare()))
		}
	}
	if d.waiting != nil && d.waiting.Revision == n {
		floor = max(floor, d.waiting.Need)
	}
	return d.Wanted.Replicas.clamp(floor)
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
// has moved it, and for a while after a shift.
func (d *decider) holds(record Record, takenOver bool) bool {
	return record.Split.isShared() || !takenOver || d.now.Before(d.holdEnds(record))
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
