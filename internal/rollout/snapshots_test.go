// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"
)

// manyRevisions is how many revisions a random snapshot can have: enough for a stable, a previous, a target, one that
// was superseded, one that was lost and one that nobody remembers.
const manyRevisions = 6

// randomDecision decides on any snapshot.
func randomDecision(d *dice) decided {
	seen := randomSnapshot(d)
	policy := Policy{
		DrainPeriod:  pick(d, testPolicy.DrainPeriod, 0),
		CapacityHold: pick(d, testPolicy.CapacityHold, 0),
		HistoryLimit: pick(d, 10, 0, 1, 3),
	}
	return decided{seen, policy, testNow, Decide(seen, policy, testNow)}
}

// randomSnapshot makes any snapshot that a backend could hand over, whether a rollout could get there or not. Half of
// the records and splits fit together as a rollout leaves them; the others are what a meddler can bring about.
func randomSnapshot(d *dice) Snapshot {
	seen := Snapshot{Wanted: randomWanted(d)}
	for n := Number(1); n <= manyRevisions; n++ {
		if revision := randomRevision(d, n); revision.Recorded || revision.Workload != nil {
			seen.Revisions = append(seen.Revisions, revision)
		}
	}
	seen.Route = randomRoute(d)
	seen.Reported = Reported{
		Stable: randomNumber(d), Previous: randomNumber(d), Target: randomNumber(d), Split: randomSplit(d, 1, 2),
	}
	return seen
}

func randomNumber(d *dice) Number { return Number(d.roll(manyRevisions + 1)) }

func randomPercent(d *dice) *int {
	return pick(d, nil, new(10), new(0), new(50), new(100), new(99), new(1), new(d.roll(101)))
}

func randomWanted(d *dice) Wanted {
	wanted := Wanted{
		Inputs:  inputs(Number(d.roll(manyRevisions+1) + 1)), // The last of them belongs to no revision.
		Percent: randomPercent(d),
		Stopped: d.once(12),
		Tagged:  d.once(3),
		Replace: d.once(4),
		Replicas: pick(d, Bounds{Min: 1, Max: 1}, Bounds{Min: 1, Max: 10}, Bounds{Min: 3, Max: 3}, Bounds{Min: 2, Max: 5},
			Bounds{Min: 0, Max: 3}, Bounds{Min: 1, Elastic: true}, Bounds{Elastic: true}, Bounds{Min: 4, Max: 2},
			Bounds{Min: 1, Max: 10, External: true}, Bounds{Min: 2, Max: 2, External: true},
			Bounds{Min: 1, Max: 10, External: true, Asked: new(d.roll(8))}),
	}
	switch d.roll(10) {
	case 8:
		wanted.Percent = new(d.roll(256) - 128)
	case 9:
		wanted.Inputs = ""
	}
	return wanted
}

func randomRevision(d *dice, n Number) Revision {
	revision := Revision{Number: n, Inputs: inputs(n), Recorded: !d.once(8)}
	switch d.roll(8) {
	case 0, 1, 2:
		ready := 1 + d.roll(8)
		revision.Workload = &Workload{Ready: ready, Replicas: ready + d.roll(2), Pods: ready + d.roll(3)}
	case 3, 4:
		revision.Workload = &Workload{Replicas: 1, Pods: d.roll(2), Failed: d.once(2)}
	case 5:
		revision.Workload = &Workload{Ready: 1 + d.roll(2), Replicas: 2, Pods: 2, IdleSince: randomPast(d), Leaving: d.once(2)}
	case 6:
		revision.Workload = &Workload{Pods: d.roll(2), IdleSince: randomPast(d)}
	}
	if revision.Workload == nil && d.once(2) {
		revision.Recorded = false
	}
	revision.SameModel = d.once(4)
	if workload := revision.Workload; workload != nil && d.once(4) {
		workload.Unobserved, workload.Leftover, workload.ScaledUpAt = d.once(2), d.roll(2), randomPast(d)
		workload.ReadySince = randomPast(d)
		if workload.Ready == 0 {
			workload.UnschedulableSince = randomPast(d)
		}
		workload.Held, workload.Lowered = d.roll(4), d.roll(3)
	}
	return revision
}

func randomPast(d *dice) time.Time {
	return testNow.Add(-pick(d, 0, time.Second, testPolicy.DrainPeriod, time.Minute, testPolicy.CapacityHold, time.Hour))
}

func randomRoute(d *dice) Route {
	route := Route{
		TakenOver:     !d.once(3),
		TagsTakenOver: !d.once(4),
		TagsRefused:   d.once(4),
		Impossible:    d.once(12),
		Split:         randomSplit(d, 1+Number(d.roll(manyRevisions)), 1+Number(d.roll(manyRevisions))),
	}
	if d.once(3) {
		route.Tags = []Number{1 + Number(d.roll(manyRevisions))}
	}
	if record := randomRecord(d); !d.once(4) && record.validate() == nil {
		route.Record = &record
	}
	return route
}

func randomRecord(d *dice) Record {
	stable := 1 + Number(d.roll(manyRevisions))
	record := Record{
		Stable:        stable,
		Previous:      randomNumber(d),
		Target:        pick(d, stable, 1+Number(d.roll(manyRevisions))),
		Percent:       randomPercent(d),
		NothingToUndo: d.once(4),
		ShiftedAt:     randomPast(d),
		Highest:       manyRevisions + Number(d.roll(3)),
	}
	if record.Previous == record.Stable {
		record.Previous = 0
	}
	record.Split = randomSplit(d, record.Target, record.Stable)
	record.Before = pick(d, record.Split, randomSplit(d, record.Target, record.Stable))
	if d.once(2) {
		record.Version = RecordVersion
		record.AskedAt, record.Tried, record.Returning = randomPast(d), d.once(2), d.once(3)
		if d.once(3) {
			record.LostAt = randomPast(d)
		}
		if d.once(3) {
			record.Routed = []Number{1 + Number(d.roll(manyRevisions))}
		}
		record.Replacement = pick(d, "", "", Replacing, ReplacementFailed)
	}
	if d.once(3) {
		record.Floors = map[Number]int{record.Stable: 1 + d.roll(8), record.Target: 1 + d.roll(8)}
	}
	return record
}

// randomSplit makes a split as a rollout from the stable to the target has, or one of any two or three revisions.
func randomSplit(d *dice, target, stable Number) Split {
	switch d.roll(8) {
	case 0, 1, 2:
		return All(stable)
	case 3, 4:
		if target != stable {
			return canarySplit(target, pick(d, 10, 0, 50, 99, d.roll(100)), stable)
		}
		return All(target)
	case 5:
		return All(target)
	case 6:
		return Split{}
	default:
		first := 1 + Number(d.roll(manyRevisions-2))
		share := d.roll(101)
		split, err := NewSplit(Share{first, share}, Share{first + 1, (100 - share) / 2}, Share{first + 2, 100 - share - (100-share)/2})
		if err != nil {
			panic(err)
		}
		return split
	}
}
