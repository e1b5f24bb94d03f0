// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// need is how many ready replicas a revision must have before it is given a share, in percent.
func (d *decider) need(n Number, share int) int {
	bounds := d.Wanted.Replicas
	if bounds.Elastic {
		return 1
	}
	return bounds.clamp(ceilDiv(share*d.serving(n), 100))
}

// serving is how many replicas the traffic of all revisions takes now, told by the revision that gives most: its
// ready replicas, over its part of the traffic. The receiver's own are left out, as those that were brought up for
// the shift would ask for ever more of themselves. A giver that has no more than what is held for it carried
// everything on that alone.
func (d *decider) serving(receiver Number) int {
	var giver Share
	for _, share := range d.before.Split.shares {
		if share.Revision != receiver && share.Percent > giver.Percent {
			giver = share
		}
	}
	ready := d.ready(giver.Revision)
	if giver.Percent == 0 || ready <= max(d.Wanted.Replicas.least(), d.heldBefore(giver.Revision)) {
		return ready
	}
	return ceilDiv(100*ready, giver.Percent)
}

// holdCapacity notes the replicas that a new split is given on, where an autoscaler could take them away: what a
// receiver needs for its share, and what a giver has, so that it can take its share back at any moment.
func (d *decider) holdCapacity() {
	if d.after.Split.Equal(d.before.Split) {
		return
	}
	d.after.Floors = nil
	if !d.Wanted.Replicas.autoscaled() {
		return
	}
	floors := map[Number]int{}
	for _, share := range d.after.Split.shares {
		if floor := d.heldFloor(share); share.Percent > 0 && floor > d.Wanted.Replicas.least() {
			floors[share.Revision] = floor
		}
	}
	if len(floors) > 0 {
		d.after.Floors = floors
	}
}

func (d *decider) heldFloor(share Share) int {
	n, had := share.Revision, d.before.Split.Percent(share.Revision)
	floor := max(d.ready(n), d.heldBefore(n))
	if share.Percent > had && (n == d.target || had == 0) {
		floor = max(d.need(n, share.Percent), d.heldBefore(n))
	}
	return d.Wanted.Replicas.clamp(floor)
}

// floor is the least replicas that a revision runs now.
func (d *decider) floor(n Number) int {
	floor := d.Wanted.Replicas.least()
	if d.holds(d.after, d.programmed()) {
		floor = max(floor, d.after.Floors[n])
	}
	if n == d.target && n != d.after.Stable && d.after.Split.Percent(n) == 0 {
		floor = max(floor, d.need(n, d.wantedShare())) // It loads with the replicas for its first share.
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

func (b Bounds) autoscaled() bool { return !b.Elastic && b.Max > b.least() }

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
