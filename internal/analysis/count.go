// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Grid divides the time from the beginning of a trial into intervals. All times are in milliseconds,
// as in Prometheus.
type Grid struct {
	Began, Interval int64
}

// index returns the interval that contains the time. It is negative before the beginning.
func (g Grid) index(time int64) int {
	return int(math.Floor(float64(time-g.Began) / float64(g.Interval)))
}

// Next returns the first interval that does not begin before the time.
func (g Grid) Next(time int64) int {
	return int(math.Ceil(float64(time-g.Began) / float64(g.Interval)))
}

// Sample is one raw sample of a counter.
type Sample struct {
	Time  int64
	Value float64
}

// Series is a counter of one process, with its raw samples in the order of their times. The samples
// should reach back to before the trial, so that the first one in it has a predecessor.
type Series struct {
	Canary bool // otherwise of the stable
	// Target identifies the scraped process.
	Target string
	// Started is the start of that process, or 0 if it is unknown.
	Started int64
	// Adds says what one event of the series counts as. A counter of all requests has {1, 0}, and
	// one of errors {0, 1}. For latency, the histogram's _count has {1, 1} and the bucket of the
	// responses that are fast enough {0, −1}. A series with {0, 0} only shows that its target was
	// scraped.
	Adds    Counts
	Samples []Sample
}

// Tally is what a revision's samples of one interval count.
type Tally struct {
	Counts
	// Seen reports whether there was a sample of the requests with a predecessor to compare with.
	Seen bool
	// From is the earliest interval with such a predecessor. After missed scrapes, the counts are
	// those of several intervals.
	From int
}

// Count returns what both revisions served in the first n intervals of the grid. The increase
// between two samples counts in the interval of the later one.
//
// A counter that falls has restarted from 0. A series that appears has counted from 0 if its target
// was scraped without it in this interval or the one before, or if the process started after the
// trial began. Otherwise its first value is only a baseline: a Prometheus that lost its data must
// not count old requests as new ones.
func Count(grid Grid, n int, series []Series) (canary, stable []Tally) {
	canary, stable = make([]Tally, n), make([]Tally, n)
	scrapes := scrapesByTarget(series)
	for _, s := range series {
		tallies := stable
		if s.Canary {
			tallies = canary
		}
		s.count(grid, tallies, scrapes[s.Target])
	}
	for _, tallies := range [][]Tally{canary, stable} {
		for i := range tallies {
			tallies[i].Bad = min(max(0, tallies[i].Bad), tallies[i].Requests)
		}
	}
	return canary, stable
}

func (s Series) count(grid Grid, tallies []Tally, scrapes []int64) {
	var last Sample
	for i, sample := range s.valid() {
		k := grid.index(sample.Time)
		from, delta := k-1, sample.Value
		switch {
		case i > 0:
			from = min(from, grid.index(last.Time))
			if sample.Value >= last.Value {
				delta -= last.Value
			}
		case s.Started > grid.Began:
		case !scrapedBefore(sample.Time, scrapes, grid):
			last = sample
			continue
		}
		last = sample
		if k < 0 || k >= len(tallies) {
			continue
		}
		t := &tallies[k]
		t.Counts = t.plus(s.Adds.times(delta))
		if s.Adds.Requests != 0 {
			if !t.Seen {
				t.Seen, t.From = true, from
			}
			t.From = min(t.From, from)
		}
	}
}

// valid returns the samples without values that no counter has. Above 2⁵³ a float64 does not count
// single events.
func (s Series) valid() []Sample {
	var samples []Sample
	for _, sample := range s.Samples {
		plausible := sample.Value >= 0 && sample.Value <= 1<<53
		if plausible && (len(samples) == 0 || sample.Time > samples[len(samples)-1].Time) {
			samples = append(samples, sample)
		}
	}
	return samples
}

// scrapesByTarget returns the times at which each target was scraped, in order.
func scrapesByTarget(series []Series) map[string][]int64 {
	scrapes := map[string][]int64{}
	for _, s := range series {
		for _, sample := range s.Samples {
			scrapes[s.Target] = append(scrapes[s.Target], sample.Time)
		}
	}
	for target, times := range scrapes {
		slices.SortFunc(times, cmp.Compare)
		scrapes[target] = slices.Compact(times)
	}
	return scrapes
}

// scrapedBefore reports whether the target had been scraped before the time, in the same interval or
// the one before.
func scrapedBefore(time int64, scrapes []int64, grid Grid) bool {
	i := sort.Search(len(scrapes), func(i int) bool { return scrapes[i] >= time })
	return i > 0 && grid.index(scrapes[i-1]) >= grid.index(time)-1
}

// Pair returns the intervals of both revisions. The counts of an interval without samples of one
// revision are added to those of the next interval with samples of both, as far as the other
// revision's counts go back to them. So an outage of both revisions shows in the same interval,
// although a scrape of one of them failed. From interval promoted on, the canary counts alone.
func Pair(canary, stable []Tally, promoted int) []Interval {
	intervals := make([]Interval, len(canary))
	last := -1
	for k := range intervals {
		c, s := canary[k], stable[k]
		if k >= promoted {
			intervals[k].Canary = c.Counts
			continue
		}
		if !c.Seen || !s.Seen {
			continue
		}
		for i := max(last, min(c.From, s.From)) + 1; i <= k; i++ {
			intervals[k].Canary = intervals[k].Canary.plus(canary[i].Counts)
			intervals[k].Stable = intervals[k].Stable.plus(stable[i].Counts)
		}
		last = k
	}
	return intervals
}
