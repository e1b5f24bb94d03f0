// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
)

// recover rebuilds the record after the route or the record on it was lost, from what the route still says, then
// from what was reported to users, then from what runs. It assumes that the spec has not changed in between, so that
// a loss by itself never promotes and never rolls back.
func (d *decider) recover() Record {
	target := d.Snapshot.target()
	if target == 0 {
		target = d.known(d.Reported.Target)
	}
	split := d.recoverSplit()
	stable := d.recoverStable(split, target)
	if stable == 0 {
		return Record{Highest: d.recoverHighest()} // Nothing was ever ready: this is still the first deployment.
	}
	if target == 0 {
		target = stable
	}
	if !split.Equal(d.Route.Split) && d.isOutdated(split, stable, target) {
		split = Split{}
	}
	record := Record{
		Version:   RecordVersion,
		Stable:    stable,
		Target:    target,
		Percent:   d.recoverPercent(split, target, stable),
		Inputs:    d.find(target).Inputs,
		AskedAt:   d.now,
		Tried:     d.Reported.Tried && d.Reported.Target == target,
		Split:     split,
		Before:    d.recoverBefore(),
		ShiftedAt: d.now,
		Floors:    d.recoverFloors(split),
		Highest:   d.recoverHighest(),
	}
	if previous := d.known(d.Reported.Previous); previous != stable {
		record.Previous = previous
	}
	for _, revision := range d.Revisions {
		// Which revisions a route has named is not known: each of them may have.
		if n := revision.Number; !split.Has(n) {
			record.Routed = append(record.Routed, n)
		}
	}
	return record
}

// recoverPercent is what was asked for the target. Where the spec does not count, it must be what a target on trial
// has; one that has everything is on its way back to the stable.
func (d *decider) recoverPercent(split Split, target, stable Number) *int {
	switch {
	case d.Wanted.resolved():
		return d.Wanted.Percent
	case target != stable:
		return new(split.Percent(target) % 100)
	case isPercent(d.Wanted.Percent):
		return d.Wanted.Percent
	default:
		return nil
	}
}

// recoverSplit is the last split that is known, if all its revisions still are.
func (d *decider) recoverSplit() Split {
	for _, split := range []Split{d.Route.Split, d.Reported.Split} {
		if !split.IsEmpty() && d.allKnown(split) {
			return split
		}
	}
	return Split{}
}

// isOutdated tells whether a split that was only reported must not be brought back: the status may lag, so one that
// gives to others than the stable and the target gives to who was rejected since. While the stable cannot serve, it is
// still better than nothing.
func (d *decider) isOutdated(split Split, stable, target Number) bool {
	others := slices.ContainsFunc(split.shares, func(share Share) bool {
		return share.Percent > 0 && share.Revision != stable && share.Revision != target
	})
	return others && d.ready(stable) > 0
}

// recoverBefore is what users were last told that they get. Whether the gateway serves what the route says is not
// known before the record is on it again.
func (d *decider) recoverBefore() Split {
	if d.allKnown(d.Reported.Split) {
		return d.Reported.Split
	}
	return Split{}
}

// recoverFloors holds what there is: what shares were given on is not known.
func (d *decider) recoverFloors(split Split) map[Number]int {
	floors := map[Number]int{}
	for _, share := range split.shares {
		if share.Percent > 0 {
			floors[share.Revision] = d.ready(share.Revision)
		}
	}
	return d.worthHolding(floors)
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

// recoverRunning is the newest that can serve, is not on its way out and is not on trial. The one that was on trial
// is the last choice, unless the spec asks for it: then this is still the first deployment.
func (d *decider) recoverRunning(target Number) Number {
	var proven, tried Number
	for _, revision := range d.Revisions {
		n := revision.Number
		switch {
		case revision.Capacity() == 0 || !revision.Workload.IdleSince.IsZero() || n == d.Snapshot.target():
		case n == target:
			tried = n
		default:
			proven = n
		}
	}
	return cmp.Or(proven, tried)
}

// recoverHighest is the highest number that anything still tells of, so that the number of a revision that was lost
// together with the record is not given to another.
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

// known is n if there is such a revision, else 0.
func (d *decider) known(n Number) Number { return d.find(n).Number }
