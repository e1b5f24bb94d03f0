// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stateTable is the table of states without capacity, failures and time, for a user who waits after
// each edit until the rollout is at rest.
type stateTable struct {
	numbers                  map[string]Number
	stable, previous, target Number
	percent                  *int
	split                    Split
}

func (l *stateTable) edit(hash string, percent *int, starts bool) {
	target := l.numbers[hash]
	if target == 0 {
		target = Number(len(l.numbers) + 1)
		l.numbers[hash] = target
	}
	all := func(percent *int) bool { return percent == nil || *percent == 100 }

	// Rows 9 to 11, but not row 16: the percent of the stable falls from 100 or absent.
	stays := target == l.target
	if stays && target == l.stable && all(l.percent) && !all(percent) && l.previous != 0 {
		l.stable, l.previous = l.previous, 0
	}
	// Rows 2, 6 and 7.
	if starts && target != l.stable && (l.stable == 0 || all(percent)) {
		l.stable, l.previous = target, l.stable
	}
	switch {
	case l.stable == 0: // Row 1.
		l.split = Split{}
	case target == l.stable, !starts: // Rows 3, 11, 12, 14 to 17.
		l.split = All(l.stable)
	default: // Rows 4, 5, 8, 9, 10 and 13.
		l.split = canarySplit(target, *percent, l.stable)
	}
	l.target, l.percent = target, percent
}

// TestSequences: after each edit of the spec, the rollout comes to rest in the state of the table.
func TestSequences(t *testing.T) {
	t.Parallel()
	check(t, 2, 20, 60, func(t *rapid.T, bytes []byte) {
		d := &choices{bytes}
		sim := newSimulation()
		sim.failingHash, sim.trace, sim.checker.checkedRules = hashOf(5), &trace{}, []int{1}
		sim.spec.Replicas = pick(d, Bounds{Min: 1, Max: 1}, scaled)
		sim.load = 1 + d.intn(8)
		l := stateTable{numbers: map[string]Number{}}
		for !d.exhausted() {
			asked := pick(d, sim.spec.Hash, hashOf(Number(1+d.intn(6))))
			percent := pick(d, new(10), nil, new(0), new(100), new(50), sim.spec.percent)
			sim.edit("asks for "+asked+", percent "+percentText(percent), func(s *spec) { s.Hash, s.percent = asked, percent })
			sim.settle()
			l.edit(asked, percent, !strings.Contains(sim.failingHash, asked))

			state := State{}
			if sim.route != nil {
				state, _ = DecodeState(sim.route.state)
			}
			if len(sim.checker.violations) > 0 || state.Stable != l.stable || state.Previous != l.previous || !state.Split.Equal(l.split) {
				t.Fatalf("the resting split is %s with stable %d and previous %d, want %s with %d and %d %v\n%s",
					state.Split, state.Stable, state.Previous, l.split, l.stable, l.previous, sim.checker.violations, sim.trace)
			}
		}
	})
}
