// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
)

// recover rebuilds the rollout state after the route, or the state on it, was lost. It uses the
// weights of the route, then the reported status, then the workloads that run. It assumes that the
// spec has not changed in between, so that a loss alone never promotes and never rolls back.
func (d *decider) recover() State {
	target := d.Snapshot.target()
	if target == 0 {
		target = d.known(d.Reported.Target)
	}
	split := d.recoverSplit()
	stable := d.recoverStable(split, target)
	if stable == 0 { // No revision was ever ready, or all that were are lost.
		state := State{Highest: d.recoverHighest()}
		d.recoverRejections(&state)
		return state
	}
	if target == 0 {
		target = stable
	}
	if !split.Equal(d.Route.Split) && d.isOutdated(split, stable, target) {
		split = Split{}
	}
	state := State{
		Version:      StateVersion,
		Stable:       stable,
		Target:       target,
		Hash:         d.find(target).Hash,
		AskedAt:      d.now,
		Tried:        d.Reported.Tried && d.Reported.Target == target,
		Split:        split,
		ServedBefore: d.recoverBefore(),
		ShiftedAt:    d.now,
		Held:         d.recoverHeld(split),
		Highest:      d.recoverHighest(),
	}
	if target != stable && split.Has(target) {
		state.TrialBegan = d.now
	}
	if previous := d.known(d.Reported.Previous); previous != stable {
		state.Previous = previous
	}
	d.recoverRejections(&state)
	d.recoverTrial(&state)
	state.Asked = d.recoverAsked(state)
	for _, revision := range d.Revisions {
		// Which revisions a route has named is unknown, so assume all of them.
		if n := revision.Number; !split.Has(n) {
			state.Routed = append(state.Routed, n)
		}
	}
	return state
}

// recoverAsked returns the desired intent. If the spec cannot be resolved, or a policy moves the
// share, it asks for the share of the canary, or for 0 if the canary has 100 %, because it is then
// being rolled back.
func (d *decider) recoverAsked(state State) Intent {
	asked := d.Desired.Intent
	switch {
	case state.Target != state.Stable && (!d.Desired.resolved() || state.Trial != nil):
		return Intent{Share: state.Split.Percent(state.Target) % 100}
	case asked.isValid():
		return Intent{Share: asked.Share, Promote: asked.Promote}
	default:
		return Intent{Share: 100, Promote: true}
	}
}

// recoverSplit returns the split of the route, or the reported one, if all its revisions still
// exist.
func (d *decider) recoverSplit() Split {
	for _, split := range []Split{d.Route.Split, d.Reported.Split} {
		if !split.IsEmpty() && d.allKnown(split) {
			return split
		}
	}
	return Split{}
}

// isOutdated reports whether a reported split must not be restored. The status may lag: a split
// that includes any revision other than the stable and the target may name one that has been
// superseded since. It is still better than none while the stable cannot serve.
func (d *decider) isOutdated(split Split, stable, target Number) bool {
	if d.find(target).Rejection != nil && split.Percent(target) > 0 {
		return true
	}
	others := slices.ContainsFunc(split.shares, func(share Share) bool {
		return share.Percent > 0 && share.Revision != stable && share.Revision != target
	})
	return others && d.ready(stable) > 0
}

func (d *decider) recoverBefore() Split {
	if d.allKnown(d.Reported.Split) {
		return d.Reported.Split
	}
	return Split{}
}

// recoverHeld holds the ready replicas, because the lost numbers are unknown.
func (d *decider) recoverHeld(split Split) Held {
	held := map[Number]int{}
	for _, share := range split.shares {
		if share.Percent > 0 {
			held[share.Revision] = d.ready(share.Revision)
		}
	}
	return d.pruneHeld(held)
}

// recoverRejections takes the rejections from the revision history.
func (d *decider) recoverRejections(state *State) {
	for _, revision := range d.Revisions {
		if rejection := revision.Rejection; rejection != nil {
			if state.Rejected == nil {
				state.Rejected, state.Attempts = map[Number]Rejection{}, map[Number]int{}
			}
			state.Rejected[revision.Number], state.Attempts[revision.Number] = *rejection, rejection.Attempt
		}
	}
}

// recoverTrial begins another trial of the target at the share that it has, or another bake, if a
// policy applies or has applied. All attempts but the reported one are lost, so every revision
// counts as tried: no command for a lost trial may have an effect.
func (d *decider) recoverTrial(state *State) {
	plan, reported := d.Desired.Plan, d.Reported
	if d.isManual() || plan == nil && reported.Trial.Revision != state.Target {
		return
	}
	if state.Attempts == nil {
		state.Attempts = map[Number]int{}
	}
	for _, revision := range d.Revisions {
		n := revision.Number
		state.Attempts[n] = max(state.Attempts[n], 1)
		if n == reported.Trial.Revision {
			state.Attempts[n] = max(state.Attempts[n], reported.Trial.Attempt)
		}
	}
	switch {
	case state.isRejected(state.Target):
	case state.Target != state.Stable:
		state.beginTrial(state.Split.Percent(state.Target), d.now)
	case reported.Baking && reported.Stable == state.Stable && state.Previous != 0 && plan != nil && !plan.Invalid && plan.Bake > 0:
		state.beginTrial(100, d.now)
		state.Trial.Policy, state.Trial.Bake = plan.Policy, plan.Bake
	}
}

// recoverStable returns the reported stable, or what the split, the workloads and the revision
// history suggest. It is never a rejected revision.
func (d *decider) recoverStable(split Split, target Number) Number {
	candidates := []Number{d.Reported.Stable, Prev(split, target), Latest(split, target), d.recoverRunning(target)}
	if d.find(target).Rejection != nil { // It is no first revision, so there must be another.
		for _, revision := range slices.Backward(d.Revisions) {
			candidates = append(candidates, revision.Number)
		}
	}
	for _, n := range candidates {
		if d.known(n) != 0 && d.find(n).Rejection == nil {
			return n
		}
	}
	return 0
}

// recoverRunning returns the newest revision that can serve, does not retire and is not the target.
// If there is none, it returns the last reported target, unless the spec still asks for it.
func (d *decider) recoverRunning(target Number) Number {
	var proven, tried Number
	for _, revision := range d.Revisions {
		n := revision.Number
		switch {
		case revision.Capacity() == 0 || revision.Rejection != nil || !revision.predictor().IdleSince.IsZero() || n == d.Snapshot.target():
		case n == target:
			tried = n
		default:
			proven = n
		}
	}
	return cmp.Or(proven, tried)
}

// recoverHighest returns the highest number that is still known, so that the number of a lost
// revision is not assigned again.
func (d *decider) recoverHighest() Number {
	reported := d.Reported
	return max(d.highest(), reported.Stable, reported.Previous, reported.Target, d.Route.Split.highest(), reported.Split.highest())
}

func (d *decider) allKnown(split Split) bool {
	for _, share := range split.shares {
		if d.known(share.Revision) == 0 {
			return false
		}
	}
	return true
}

// known returns n if revision n exists, and otherwise 0.
func (d *decider) known(n Number) Number { return d.find(n).Number }
