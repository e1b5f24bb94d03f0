// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The grid of these tests begins at second 1000, with intervals of ten seconds.
var grid = Grid{Began: 1_000_000, Interval: 10_000}

var (
	requests = Counts{Requests: 1}
	bad      = Counts{Bad: 1}
)

// at returns samples from pairs of seconds since the beginning and values.
func at(pairs ...float64) []Sample {
	var samples []Sample
	for pair := range slices.Chunk(pairs, 2) {
		samples = append(samples, Sample{grid.Began + int64(1000*pair[0]), pair[1]})
	}
	return samples
}

func TestCount(t *testing.T) {
	old := grid.Began - 3_600_000
	for _, tc := range []struct {
		name   string
		series []Series
		want   []Counts
	}{
		{
			"an increase counts in the interval of the later sample",
			[]Series{{Target: "a", Adds: requests, Samples: at(-5, 100, 5, 103, 15, 110, 25, 110)}},
			[]Counts{{3, 0}, {7, 0}, {}},
		},
		{
			"several samples in an interval",
			[]Series{{Target: "a", Adds: requests, Samples: at(-5, 0, 1, 1, 4, 2, 9.999, 4, 10, 8)}},
			[]Counts{{4, 0}, {4, 0}, {}},
		},
		{
			"a counter that falls restarted from 0",
			[]Series{{Target: "a", Adds: requests, Samples: at(-5, 100, 5, 103, 15, 4, 25, 6)}},
			[]Counts{{3, 0}, {4, 0}, {2, 0}},
		},
		{
			"a first value of a new Prometheus is a baseline",
			[]Series{
				{Target: "a", Started: old, Adds: requests, Samples: at(5, 1_000_000, 15, 1_000_004)},
				{Target: "a", Started: old, Adds: bad, Samples: at(5, 5000, 15, 5001)},
			},
			[]Counts{{}, {4, 1}, {}},
		},
		{
			"a series that appears at a scraped target counts from 0",
			[]Series{
				{Target: "a", Adds: requests, Samples: at(-5, 10, 5, 20, 15, 30)},
				{Target: "a", Adds: bad, Samples: at(15, 7)},
			},
			[]Counts{{10, 0}, {10, 7}, {}},
		},
		{
			"another target does not show that this one was scraped",
			[]Series{
				{Target: "b", Adds: requests, Samples: at(-5, 10, 5, 20, 15, 30)},
				{Target: "a", Adds: requests, Samples: at(15, 7, 25, 9)},
			},
			[]Counts{{10, 0}, {10, 0}, {2, 0}},
		},
		{
			"a target that was last scraped two intervals before",
			[]Series{
				{Target: "a", Adds: requests, Samples: at(5, 20, 25, 30)},
				{Target: "a", Adds: bad, Samples: at(25, 7)},
			},
			[]Counts{{}, {}, {10, 0}},
		},
		{
			"a process that started after the beginning counts from 0",
			[]Series{{Target: "a", Started: grid.Began + 1, Adds: requests, Samples: at(15, 7)}},
			[]Counts{{}, {7, 0}, {}},
		},
		{
			"a series without weight shows that its target was scraped",
			[]Series{
				{Target: "a", Samples: at(5, 1, 15, 1)},
				{Target: "a", Adds: requests, Samples: at(15, 7)},
			},
			[]Counts{{}, {7, 0}, {}},
		},
		{
			"pods are merged, and those that end keep what they counted",
			[]Series{
				{Target: "a", Adds: requests, Samples: at(-5, 10, 5, 20)},
				{Target: "b", Started: grid.Began + 1, Adds: requests, Samples: at(5, 3, 15, 5, 25, 9)},
			},
			[]Counts{{13, 0}, {2, 0}, {4, 0}},
		},
		{
			"a failed scrape",
			[]Series{{Target: "a", Adds: requests, Samples: at(-5, 10, 25, 40)}},
			[]Counts{{}, {}, {30, 0}},
		},
		{
			"slower than a bound",
			[]Series{
				{Target: "a", Adds: Counts{1, 1}, Samples: at(-5, 100, 5, 110)},
				{Target: "a", Adds: Counts{0, -1}, Samples: at(-5, 95, 5, 103)},
			},
			[]Counts{{10, 2}, {}, {}},
		},
		{
			"values that no counter has",
			[]Series{{Target: "a", Adds: requests, Samples: at(-5, 10, 1, math.NaN(), 2, math.Inf(1), 3, -1, 5, 12, 4, 99)}},
			[]Counts{{2, 0}, {}, {}},
		},
		{
			"samples outside the grid",
			[]Series{{Target: "a", Adds: requests, Samples: at(-25, 1, -15, 2, -5, 4, 35, 100, 45, 101)}},
			[]Counts{{}, {}, {}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, stable := Count(grid, 3, tc.series)
			for i := range tc.series {
				tc.series[i].Canary = true
			}
			canary, _ := Count(grid, 3, tc.series)
			for k, want := range tc.want {
				if stable[k].Counts != want || canary[k] != stable[k] {
					t.Errorf("interval %d: stable %+v, canary %+v, want %+v", k, stable[k], canary[k], want)
				}
			}
		})
	}
}

func TestPair(t *testing.T) {
	seen := func(from int, requests float64) Tally { return Tally{Counts{Requests: requests}, true, from} }
	unseen := Tally{}
	for _, tc := range []struct {
		name           string
		canary, stable []Tally
		promoted       int
		want           []Interval
	}{
		{
			"both in each interval",
			[]Tally{seen(-1, 1), seen(0, 2)},
			[]Tally{seen(-1, 10), seen(0, 20)},
			9,
			[]Interval{{Counts{1, 0}, Counts{10, 0}}, {Counts{2, 0}, Counts{20, 0}}},
		},
		{
			"a failed scrape of the canary",
			[]Tally{seen(-1, 1), unseen, seen(0, 4)},
			[]Tally{seen(-1, 10), seen(0, 20), seen(1, 30)},
			9,
			[]Interval{{Counts{1, 0}, Counts{10, 0}}, {}, {Counts{4, 0}, Counts{50, 0}}},
		},
		{
			"a canary that did not exist",
			[]Tally{unseen, unseen, seen(1, 4)},
			[]Tally{seen(-1, 10), seen(0, 20), seen(1, 30)},
			9,
			[]Interval{{}, {}, {Counts{4, 0}, Counts{30, 0}}},
		},
		{
			"a stable without series",
			[]Tally{seen(-1, 1), seen(0, 2)},
			[]Tally{unseen, unseen},
			9,
			[]Interval{{}, {}},
		},
		{
			"after the promotion",
			[]Tally{seen(-1, 1), seen(0, 2), seen(1, 3)},
			[]Tally{seen(-1, 10), unseen, unseen},
			1,
			[]Interval{{Counts{1, 0}, Counts{10, 0}}, {Canary: Counts{2, 0}}, {Canary: Counts{3, 0}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Pair(tc.canary, tc.stable, tc.promoted)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCountsNeverExceedWhatWasServed plays processes that serve, crash and restart, with scrapes that
// fail, and compares the counts with what was served.
func TestCountsNeverExceedWhatWasServed(t *testing.T) {
	const intervals = 20
	rapid.Check(t, func(t *rapid.T) {
		chance := func(percent int, label string) bool { return rapid.IntRange(1, 100).Draw(t, label) <= percent }
		var series []Series
		var served, lost Counts
		for _, target := range []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "targets")] {
			failing := chance(30, "scrapes fail")
			all := Series{Target: target, Started: grid.Began + 1, Adds: requests}
			failed := Series{Target: target, Started: grid.Began + 1, Adds: bad}
			var now, scraped Counts
			for k := range intervals {
				n := rapid.IntRange(0, 50).Draw(t, "requests")
				b := rapid.IntRange(0, n).Draw(t, "bad")
				now = now.plus(Counts{float64(n), float64(b)})
				served = served.plus(Counts{float64(n), float64(b)})
				if chance(10, "restart") {
					// What was served since the last scrape is lost. A counter that has passed its
					// old value before the next scrape hides the restart and loses that much more.
					lost = lost.plus(now)
					now = Counts{}
				}
				if failing && chance(30, "failed scrape") {
					continue
				}
				time := grid.Began + int64(k)*grid.Interval + 5000
				all.Samples = append(all.Samples, Sample{time, now.Requests})
				if now.Bad > 0 || len(failed.Samples) > 0 {
					failed.Samples = append(failed.Samples, Sample{time, now.Bad})
				}
				scraped = now
			}
			lost = lost.plus(Counts{now.Requests - scraped.Requests, now.Bad - scraped.Bad})
			series = append(series, all, failed)
		}
		_, tallies := Count(grid, intervals, series)
		var counted Counts
		for _, tally := range tallies {
			counted = counted.plus(tally.Counts)
		}
		if counted.Requests > served.Requests || counted.Bad > served.Bad {
			t.Errorf("counted %v of %v", counted, served)
		}
		if lost == (Counts{}) && counted != served {
			t.Errorf("counted %v, want %v", counted, served)
		}
	})
}

// FuzzCount counts samples with any values at any times.
func FuzzCount(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23})
	f.Fuzz(func(t *testing.T, data []byte) {
		series := make([]Series, 4)
		for i := range series {
			series[i] = Series{Canary: i%2 == 0, Target: string(rune('a' + i/2)), Adds: requests}
			if i == 3 {
				series[i].Adds = Counts{0, -1}
			}
		}
		for len(data) >= 11 {
			s := &series[data[0]%4]
			time := grid.Began + int64(int16(binary.LittleEndian.Uint16(data[1:])))*10
			value := math.Float64frombits(binary.LittleEndian.Uint64(data[3:]))
			if data[0]&4 == 0 {
				value = float64(data[3])
			}
			s.Samples = append(s.Samples, Sample{time, value})
			s.Started = grid.Began + int64(data[0]&8) - 4
			data = data[11:]
		}
		canary, stable := Count(grid, 10, series)
		for _, tally := range append(canary, stable...) {
			if !(tally.Bad >= 0 && tally.Bad <= tally.Requests) || tally.Requests > 0 && !tally.Seen {
				t.Errorf("%+v", tally)
			}
		}
		for _, i := range Pair(canary, stable, 7) {
			if !(i.Canary.Bad >= 0 && i.Canary.Bad <= i.Canary.Requests && i.Stable.Bad <= i.Stable.Requests) {
				t.Errorf("%+v", i)
			}
		}
		again, _ := Count(grid, 10, series)
		if !slices.Equal(again, canary) {
			t.Error("two runs differ")
		}
	})
}
