// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

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
		return Record{} // Nothing was ever ready: this is still the first deployment.
	}
	if target == 0 {
		target = stable
	}
	record := Record{
		Stable:    stable,
		Target:    target,
		Percent:   d.Wanted.Percent,
		Split:     split,
		Before:    split,
		ShiftedAt: d.now,
		Highest:   max(d.highest(), target),
	}
	if previous := d.known(d.Reported.Previous); previous != stable {
		record.Previous = previous
	}
	if d.Wanted.Inputs == "" && target != stable {
		// The spec does not count, so what the target has must be what was asked for it.
		percent := split.Percent(target)
		record.Percent = &percent
	}
	return record
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
	var running Number // The newest that can serve and is not the one on trial.
	for _, revision := range d.Revisions {
		if revision.ready() > 0 && revision.Number != target {
			running = max(running, revision.Number)
		}
	}
	return running
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
