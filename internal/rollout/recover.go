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
	if stable == 0 {
		return State{Highest: d.recoverHighest()} // No revision was ever ready.
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
		Asked:        d.recoverAsked(split, target, stable),
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
	d.recoverTrials(&state)
	if previous := d.known(d.Reported.Previous); previous != stable {
		state.Previous = previous
	}
	for _, revision := range d.Revisions {
		// Which revisions a route has named is unknown, so assume all of them.
		if n := revision.Number; !split.Has(n) {
			state.Routed = append(state.Routed, n)
		}
	}
	return state
}

// recoverAsked returns the desired intent. If the spec cannot be resolved, it asks for the share of
// the canary, or for 0 if the canary has 100 %, because it is then being rolled back.
func (d *decider) recoverAsked(split Split, target, stable Number) Intent {
	asked := d.Desired.Intent
	switch {
	case target != stable && (!d.Desired.resolved() || d.Desired.Plan != nil && !d.Desired.Manual):
		return Intent{Share: split.Percent(target) % 100} // A loss never promotes.
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
// rejected since. It is still better than none while the stable cannot serve.
func (d *decider) isOutdated(split Split, stable, target Number) bool {
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

// recoverTrials takes the rejections from the revision history. Other trials are lost. A trial of the
// target begins again as another attempt, so that no approval of the lost one counts.
func (d *decider) recoverTrials(state *State) {
	for _, revision := range d.Revisions {
		if rejection := revision.Rejection; rejection != nil {
			if state.Rejected == nil {
				state.Rejected, state.Attempts = map[Number]Rejection{}, map[Number]int{}
			}
			state.Rejected[revision.Number], state.Attempts[revision.Number] = *rejection, rejection.Attempt
		}
	}
	if d.Desired.Plan == nil || state.Target == state.Stable {
		return
	}
	lost := 1
	if d.Reported.Trial.Revision == state.Target {
		lost = d.Reported.Trial.Attempt
	}
	if state.Attempts == nil {
		state.Attempts = map[Number]int{}
	}
	state.Attempts[state.Target] = max(state.Attempts[state.Target], lost)
}

func (d *decider) recoverStable(split Split, target Number) Number {
	if stable := d.known(d.Reported.Stable); stable != 0 {
		return stable
	}
	if prev := Prev(split, target); prev != 0 {
		return prev
	}
	if !split.IsEmpty() {
		return Latest(split, target)
	}
	return d.recoverRunning(target)
}

// recoverRunning returns the newest revision that can serve, does not retire and is not the target.
// If there is none, it returns the last reported target, unless the spec still asks for it.
func (d *decider) recoverRunning(target Number) Number {
	var proven, tried Number
	for _, revision := range d.Revisions {
		n := revision.Number
		switch {
		case revision.Capacity() == 0 || !revision.predictor().IdleSince.IsZero() || n == d.Snapshot.target():
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
