// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"
)

var (
	testNow    = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	testPolicy = Policy{DrainPeriod: 30 * time.Second, CapacityHold: 5 * time.Minute, HistoryLimit: 10}
)

// hashOf returns the hash of revision n in the tests of this package.
func hashOf(n Number) string { return string(rune('a'+n-1)) + "-inputs" }

// relabelled returns the hash of revision n with other labels or annotations.
func relabelled(n Number) string { return hashOf(n) + "+label" }

// sameModel reports whether two hashes differ only in labels or annotations.
func sameModel(a, b string) bool {
	return strings.TrimSuffix(a, "+label") == strings.TrimSuffix(b, "+label")
}

// up returns a revision with one ready replica.
func up(n Number) Revision {
	return Revision{Number: n, Hash: hashOf(n), InHistory: true, Workloads: Workloads{Predictor: {Ready: 1, Replicas: 1, Pods: 1}}}
}

// down returns a revision with one unready replica.
func down(n Number) Revision {
	return Revision{Number: n, Hash: hashOf(n), InHistory: true, Workloads: Workloads{Predictor: {Replicas: 1, Pods: 1}}}
}

// withoutWorkload returns a revision that is only in the revision history.
func withoutWorkload(n Number) Revision {
	return Revision{Number: n, Hash: hashOf(n), InHistory: true}
}

func split(t *testing.T, shares ...Share) Split {
	t.Helper()
	split, err := NewSplit(shares...)
	if err != nil {
		t.Fatal(err)
	}
	return split
}

// TestRows checks the table of states of the package comment, row by row.
func TestRows(t *testing.T) {
	type last struct {
		stable, previous, target Number
		percent                  *int
		split                    Split
	}
	canary := func(target Number, percent int, stable Number) Split {
		return split(t, Share{target, percent}, Share{stable, 100 - percent})
	}
	tests := map[string]struct {
		last      *last
		revisions []Revision
		target    Number
		percent   *int

		wantSplit            Split
		wantStable, wantPrev Number
		wantLatest           Number // LATESTREADYREVISION
	}{
		"row 1: the first deployment is not ready": {
			revisions: []Revision{down(1)}, target: 1,
		},
		"row 1: the first deployment is not ready and has a percent": {
			revisions: []Revision{down(1)}, target: 1, percent: new(10),
		},
		"row 2: the first deployment is ready": {
			revisions: []Revision{up(1)}, target: 1,
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 2: the first deployment is ready and has a percent": {
			revisions: []Revision{up(1)}, target: 1, percent: new(10),
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 3: a new target is not ready": {
			last:      &last{stable: 1, target: 1, split: All(1)},
			revisions: []Revision{up(1), down(2)}, target: 2, percent: new(10),
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 4: the canary is ready": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: All(1)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 10, 1), wantStable: 1, wantLatest: 2,
		},
		"row 5: the percent changes": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(50),
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 2,
		},
		"row 6: the percent goes away": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{up(1), up(2)}, target: 2,
			wantSplit: All(2), wantStable: 2, wantPrev: 1, wantLatest: 2,
		},
		"row 7: the percent is 100": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(100),
			wantSplit: All(2), wantStable: 2, wantPrev: 1, wantLatest: 2,
		},
		"row 8: the percent of a canary becomes 0": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(0),
			wantSplit: canary(2, 0, 1), wantStable: 1, wantLatest: 2,
		},
		"row 9: the percent becomes 0 after the promotion": {
			last:      &last{stable: 2, previous: 1, target: 2, split: All(2)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(0),
			wantSplit: canary(2, 0, 1), wantStable: 1, wantLatest: 2,
		},
		"row 9: the previous has no workload, and is brought back first": {
			last:      &last{stable: 2, previous: 1, target: 2, split: All(2)},
			revisions: []Revision{withoutWorkload(1), up(2)}, target: 2, percent: new(0),
			wantSplit: All(2), wantStable: 1, wantLatest: 2,
		},
		"row 9: the previous is back": {
			last:      &last{stable: 1, target: 2, percent: new(0), split: All(2)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(0),
			wantSplit: canary(2, 0, 1), wantStable: 1, wantLatest: 2,
		},
		"row 9: neither the previous nor the target is ready": {
			last:      &last{stable: 1, target: 2, percent: new(0), split: All(2)},
			revisions: []Revision{down(1), down(2)}, target: 2, percent: new(0),
			wantSplit: All(2), wantStable: 1, wantLatest: 2,
		},
		"row 10: the percent becomes 10 after the promotion": {
			last:      &last{stable: 2, previous: 1, target: 2, percent: new(100), split: All(2)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 10, 1), wantStable: 1, wantLatest: 2,
		},
		"row 11: there is no previous to go back to": {
			last:      &last{stable: 2, target: 2, split: All(2)},
			revisions: []Revision{up(2)}, target: 2, percent: new(10),
			wantSplit: All(2), wantStable: 2, wantLatest: 2,
		},
		"row 11: the previous is lost": {
			last:      &last{stable: 2, previous: 1, target: 2, split: All(2)},
			revisions: []Revision{up(2)}, target: 2, percent: new(10),
			wantSplit: All(2), wantStable: 2, wantPrev: 1, wantLatest: 2,
		},
		"row 12: a canary is superseded": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{up(1), up(2), down(3)}, target: 3, percent: new(10),
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 13: the new target is ready": {
			last:      &last{stable: 1, target: 3, percent: new(30), split: All(1)},
			revisions: []Revision{up(1), up(2), up(3)}, target: 3, percent: new(30),
			wantSplit: canary(3, 30, 1), wantStable: 1, wantLatest: 3,
		},
		"row 14: a canary that was rolled back is superseded": {
			last:      &last{stable: 1, target: 2, percent: new(0), split: canary(2, 0, 1)},
			revisions: []Revision{up(1), up(2), down(3)}, target: 3, percent: new(20),
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 14: then the new target is ready": {
			last:      &last{stable: 1, target: 3, percent: new(20), split: All(1)},
			revisions: []Revision{up(1), up(2), up(3)}, target: 3, percent: new(20),
			wantSplit: canary(3, 20, 1), wantStable: 1, wantLatest: 3,
		},
		"row 15: the spec returns to the stable": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{up(1), up(2)}, target: 1,
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 16: the spec returns to the stable, and the percent stays": {
			last:      &last{stable: 2, previous: 1, target: 3, percent: new(10), split: canary(3, 10, 2)},
			revisions: []Revision{up(1), up(2), up(3)}, target: 2, percent: new(10),
			wantSplit: All(2), wantStable: 2, wantPrev: 1, wantLatest: 2,
		},
		"row 17: the canary never becomes ready": {
			last: &last{stable: 1, target: 2, split: All(1)},
			revisions: []Revision{up(1), {
				Number: 2, Hash: hashOf(2), InHistory: true, Workloads: Workloads{Predictor: {Replicas: 1, Pods: 1, Failed: true}},
			}}, target: 2,
			wantSplit: All(1), wantStable: 1, wantLatest: 1,
		},
		"row 18: the canary loses every ready pod": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{up(1), down(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 0, 1), wantStable: 1, wantLatest: 2,
		},
		"row 18: the canary is back": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 0, 1)},
			revisions: []Revision{up(1), up(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 10, 1), wantStable: 1, wantLatest: 2,
		},
		"row 21: the percent of a canary becomes 0, and the stable cannot serve": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{down(1), up(2)}, target: 2, percent: new(0),
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 2,
		},
		"row 21: a canary is superseded, and the stable cannot serve": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{down(1), up(2), down(3)}, target: 3, percent: new(50),
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 2,
		},
		"row 21: the spec returns to the stable, which cannot serve": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{down(1), up(2)}, target: 1,
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 1,
		},
		"row 21: a lower percent, and the stable cannot serve": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{down(1), up(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 2,
		},
		"row 21: the stable is lost": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{up(2), down(3)}, target: 3, percent: new(50),
			wantSplit: canary(2, 50, 1), wantStable: 1, wantLatest: 2,
		},
		"row 21: the stable is lost, and the percent goes away: promotion": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{up(2)}, target: 2,
			wantSplit: All(2), wantStable: 2, wantPrev: 1, wantLatest: 2,
		},
		"row 21: no other revision can serve": {
			last:      &last{stable: 1, target: 2, percent: new(50), split: canary(2, 50, 1)},
			revisions: []Revision{down(1), down(2)}, target: 2, percent: new(0),
			wantSplit: canary(2, 0, 1), wantStable: 1, wantLatest: 2,
		},
		"row 19: the canary is ready, the stable is not": {
			last:      &last{stable: 1, target: 2, percent: new(10), split: canary(2, 10, 1)},
			revisions: []Revision{down(1), up(2)}, target: 2, percent: new(10),
			wantSplit: canary(2, 10, 1), wantStable: 1, wantLatest: 2,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := Snapshot{
				Desired:   Desired{Hash: hashOf(test.target), Replicas: Bounds{Min: 1, Max: 1}},
				Revisions: test.revisions,
			}
			if l := test.last; l != nil {
				observed.Route = Route{Accepted: true, TagsAccepted: true, State: &State{
					Stable: l.stable, Previous: l.previous, Target: l.target, Asked: PercentIntent(l.percent, nil),
					Split: l.split, ServedBefore: l.split, ShiftedAt: testNow.Add(-time.Hour), Highest: 3,
				}}
			}
			observed.ask(test.percent)
			decision := Decide(observed, testPolicy, testNow)

			var got State
			if decision.State != nil {
				got = *decision.State
			}
			if !got.Split.Equal(test.wantSplit) {
				t.Errorf("split is %s, want %s", got.Split, test.wantSplit)
			}
			if got.Stable != test.wantStable || got.Previous != test.wantPrev {
				t.Errorf("stable and previous are %d and %d, want %d and %d", got.Stable, got.Previous, test.wantStable, test.wantPrev)
			}
			if latest := Latest(got.Split, decision.Target); latest != test.wantLatest {
				t.Errorf("latest is %d, want %d", latest, test.wantLatest)
			}
		})
	}
}
