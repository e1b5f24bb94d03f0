// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// need returns how many ready replicas a revision must have before it gets the given share.
func (d *decider) need(share int) int {
	bounds := d.Desired.Replicas
	if bounds.ScaledByKnative {
		return 1
	}
	return bounds.clamp(ceilDiv(share*d.serving(), 100))
}

// neededForAll returns how many replicas all traffic needs, at most maxReplicas. It ignores
// minReplicas, which does not count for a share that is given in parts.
func (d *decider) neededForAll() int {
	if d.Desired.Replicas.ScaledByKnative {
		return 1
	}
	return max(1, min(d.serving(), d.Desired.Replicas.Max))
}

// capacity returns how many ready replicas of a revision count for its share. If Knative scales it,
// all of them do. Otherwise replicas above the desired number do not count, because they are about
// to stop. For a revision without a share, no replica counts while a change of the replicas is
// unobserved, and leftover replicas do not count for leftoverPeriod after a scale from zero.
func (d *decider) capacity(n Number) int {
	ready := d.ready(n)
	if d.Desired.Replicas.ScaledByKnative || ready == 0 {
		return ready
	}
	workload := d.find(n).predictor()
	if d.before.Split.Percent(n) > 0 {
		return min(ready, workload.Replicas)
	}
	if workload.Unobserved {
		return 0
	}
	if stableAt := workload.ScaledUpAt.Add(leftoverPeriod); d.now.Before(stableAt) && !workload.ScaledUpAt.After(d.now) && workload.Leftover > 0 {
		d.scheduleWake(stableAt)
		ready = max(0, ready-workload.Leftover)
	}
	return min(ready, workload.Replicas)
}

// leftoverPeriod is how long the earlier scale to zero may still delete pods after a scale from
// zero.
const leftoverPeriod = 10 * time.Second

// serving returns how many replicas all traffic needs: the estimate, but at least the held
// replicas, so that a temporary loss of replicas does not count.
func (d *decider) serving() int {
	serving := d.estimate()
	for n := range d.before.Held {
		serving = max(serving, d.heldBefore(n))
	}
	return serving
}

// estimate divides the reference revision's ready replicas by its share. The result is at most the
// ready replicas of all revisions with a share. Replicas up to the minimum or the held number are
// not divided, because they have carried all traffic.
func (d *decider) estimate() int {
	reference := d.reference()
	ready := d.ready(reference.Revision)
	if ready <= max(d.Desired.Replicas.minimum(), d.heldBefore(reference.Revision)) {
		return ready
	}
	return min(ceilDiv(100*ready, reference.Percent), d.readyToServe())
}

func (d *decider) readyToServe() int {
	all := 0
	for _, share := range d.before.Split.shares {
		if share.Percent > 0 {
			all += d.ready(share.Revision)
		}
	}
	return all
}

// reference returns the reference revision and its share: the stable, or the revision with the
// largest share if the stable has none. The stable comes first because the replicas that a canary
// gets for a shift would raise the estimate further and further.
func (d *decider) reference() Share {
	stable := d.before.Stable
	if percent := d.before.Split.Percent(stable); percent > 0 {
		return Share{stable, percent}
	}
	var largest Share
	for _, share := range d.before.Split.shares {
		if share.Percent > largest.Percent {
			largest = share
		}
	}
	return largest
}

// holdCapacity sets the held replicas of a new split. With an external autoscaler, only revisions
// that gain a share are held.
func (d *decider) holdCapacity() {
	if d.after.Split.Equal(d.before.Split) {
		return
	}
	held := map[Number]int{}
	for _, share := range d.after.Split.shares {
		gains := share.Percent > d.before.Split.Percent(share.Revision)
		if share.Percent > 0 && (gains || !d.Desired.Replicas.ScaledExternally) {
			held[share.Revision] = d.heldReplicas(share)
		}
	}
	if n := d.after.Previous; d.isBaking(n) && !d.Desired.Replicas.ScaledExternally {
		held[n] = max(d.ready(n), d.heldBefore(n))
	}
	d.after.Held = d.pruneHeld(held)
}

// pruneHeld removes entries that do not need to be held, and returns nil if none is left. An entry
// equal to minReplicas stays, because the user may lower minReplicas during the rollout.
func (d *decider) pruneHeld(held map[Number]int) Held {
	bounds := d.Desired.Replicas
	for n, replicas := range held {
		held[n] = bounds.clamp(replicas)
		if bounds.ScaledByKnative || held[n] <= 1 && !bounds.ScaledExternally {
			delete(held, n)
		}
	}
	return heldBy(held)
}

// heldReplicas returns how many replicas to hold for a share of the new split: those that a growing
// canary needs, and otherwise those that the revision has, so that it can take its share back.
func (d *decider) heldReplicas(share Share) int {
	n, had := share.Revision, d.before.Split.Percent(share.Revision)
	replicas := max(d.ready(n), d.heldBefore(n))
	switch {
	case n == d.after.Stable && had == 0:
		replicas = d.need(100) // It may have to take the rest at once.
	case (n == d.target && n != d.before.Stable || d.Desired.Replicas.ScaledExternally) && share.Percent > had:
		replicas = max(d.need(share.Percent), d.heldBefore(n))
	}
	return replicas
}

func (d *decider) minReplicas(n Number) int {
	return d.Desired.Replicas.clamp(max(d.Desired.Replicas.minimum(), d.required(n)))
}

// required returns how many replicas a revision must have for its current or next share, or 0 if
// the minimum of the spec is enough.
func (d *decider) required(n Number) int {
	replicas := 0
	if d.isHeld(d.after, d.programmed()) || d.isBaking(n) {
		replicas = d.after.Held.replicas(n)
	}
	if d.after.Split.Percent(n) == 0 {
		// A returning stable may have to take all traffic.
		switch n {
		case d.after.Stable:
			replicas = max(replicas, d.need(100))
		case d.target:
			if share := d.desiredShare(); share > 0 || !d.Desired.Replicas.ScaledExternally {
				replicas = max(replicas, d.need(share))
			}
		}
	}
	if d.waiting != nil && d.waiting.Revision == n {
		replicas = max(replicas, d.waiting.Need)
	}
	return replicas
}

// maxLowered is how often an external autoscaler may lower held replicas before the operator stops
// raising them.
const maxLowered = 3

// holdExternal plans the replicas of a workload that an external autoscaler scales. The operator
// raises them only for a share that the revision is about to get or has just got, or in proportion
// to the ScaleTarget.
func (d *decider) holdExternal(plan *WorkloadPlan, workload *Workload) {
	if workload == nil || d.isScaledToZero(plan.Revision) {
		return
	}
	required, inProportion := d.required(plan.Revision), d.inProportion(plan.Revision)
	if required == 0 && inProportion == 0 {
		return
	}
	held := d.Desired.Replicas.clamp(max(required, inProportion))
	plan.Held, plan.Lowered = workload.Held, workload.Lowered
	if workload.Replicas >= held {
		return
	}
	again := workload.Held >= held
	if again && workload.Lowered+1 >= maxLowered {
		if need := d.Desired.Replicas.clamp(required); required > 0 && workload.Replicas < need {
			d.heldBack = &HeldBack{Revision: plan.Revision, Replicas: need}
		}
		return
	}
	if again {
		plan.Lowered++
	}
	plan.Raise, plan.MinReplicas, plan.Held = true, held, held
}

// inProportion returns how many replicas a revision needs to have as many for each percent of the
// traffic as the revision that the ScaleTarget scales. It is 0 if the ScaleTarget sets no number,
// for the scaled revision itself, and for a revision without a share or without replicas.
func (d *decider) inProportion(n Number) int {
	asked, leader := d.Desired.Replicas.ScaleTarget, d.scaled()
	served := d.served()
	if asked == nil || n == leader || served.Percent(leader) == 0 || d.find(n).predictor().Replicas == 0 {
		return 0
	}
	return ceilDiv(*asked*served.Percent(n), served.Percent(leader))
}

// followAsked plans the number that is set on the ScaleTarget for the revision that it scales. It
// does not go below the replicas that a shift requires, unless the autoscaler holds these back or
// has scaled the target to zero.
func (d *decider) followAsked(plan *WorkloadPlan, workload *Workload) {
	asked := d.Desired.Replicas.ScaleTarget
	if asked == nil || plan.Revision != d.scaled() {
		return
	}
	replicas := *asked
	heldBack := d.heldBack != nil && d.heldBack.Revision == plan.Revision
	if required := d.required(plan.Revision); required > 0 && !heldBack && (workload == nil || !d.isScaledToZero(plan.Revision)) {
		replicas = max(replicas, d.Desired.Replicas.clamp(required))
	}
	plan.Replicas = &replicas
}

// isScaledToZero reports whether an external autoscaler has scaled the target to zero after it had
// a share. The operator then keeps the 0.
func (d *decider) isScaledToZero(n Number) bool {
	workload := d.find(n).predictor()
	return n == d.target && workload.Replicas == 0 && d.after.LostAt.After(d.after.AskedAt)
}

// heldBefore returns the replicas that were held for a revision until now, or 0 if the hold has
// expired.
func (d *decider) heldBefore(n Number) int {
	if !d.isHeld(d.before, d.Route.Accepted) {
		return 0
	}
	return d.before.Held.replicas(n)
}

// isHeld reports whether replicas are still held: while two revisions share the traffic, until the
// gateway has accepted the route, and for the capacity hold after a shift. With an external
// autoscaler, a shared split holds them only while the stable returns in parts, so that the
// estimate does not follow the replicas of its first part.
func (d *decider) isHeld(state State, accepted bool) bool {
	shared := state.Split.isShared() && (!d.Desired.Replicas.ScaledExternally || state.Returning)
	return shared || !accepted || d.now.Before(d.holdEnds(state))
}

func (d *decider) holdEnds(state State) time.Time {
	return state.ShiftedAt.Add(d.policy.CapacityHold)
}

// minimum returns the minimum number of replicas of a revision that runs. It can be 0 only if the
// autoscaler scales from zero when requests wait.
func (b Bounds) minimum() int {
	if b.ScaledByKnative {
		return b.Min
	}
	return max(b.Min, 1)
}

func (b Bounds) clamp(replicas int) int { return max(b.minimum(), min(replicas, b.Max)) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
