// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
)

// timeline is the grid of a trial, and the one of the history before it.
type timeline struct {
	grid, before analysis.Grid
	historyLen   int // the number of intervals of the history
}

// newTimeline returns the grid. Its interval is that of the looks, or the least multiple of it in
// which each target is scraped at least once.
func newTimeline(trial metricsource.Trial, metrics []*metric) timeline {
	began, interval := trial.Began.UnixMilli(), trial.Interval.Milliseconds()
	looks := int64(1)
	for _, m := range metrics {
		if m.isNeeded() {
			// Scrapes are not exactly regular.
			scrape := float64(scrapeInterval(m.reading.Series, began)) * 0.95
			looks = max(looks, int64(math.Ceil(scrape/float64(interval))))
		}
	}
	interval *= looks
	n := max(1, history.Milliseconds()/interval)
	return timeline{analysis.Grid{Began: began, Interval: interval}, analysis.Grid{Began: began - n*interval, Interval: interval}, int(n)}
}

// scrapeInterval returns the median time between two samples of the stable before the trial, or of
// all samples if there are none.
func scrapeInterval(series []metricsource.Series, began int64) int64 {
	var before, all []int64
	for _, s := range series {
		for i := 1; i < len(s.Samples); i++ {
			gap := s.Samples[i].Time - s.Samples[i-1].Time
			all = append(all, gap)
			if !s.Canary && s.Samples[i].Time < began {
				before = append(before, gap)
			}
		}
	}
	if len(before) > 0 {
		all = before
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// end returns the end of the first n intervals.
func (t timeline) end(n int) time.Time {
	return time.UnixMilli(t.grid.Began + int64(n)*t.grid.Interval).UTC()
}

// first returns the first interval that does not begin before the time, or n if it is later.
func (t timeline) first(at time.Time, n int) int { return min(max(0, t.grid.Next(at.UnixMilli())), n) }

// counted is what was counted of a metric.
type counted struct {
	canary, stable []analysis.Tally
	intervals      []analysis.Interval
	phi            float64
	// previous is what the stable served in its last hour with traffic.
	previous analysis.Counts
	// unbounded reports that no bucket bound is high enough.
	unbounded bool
}

// count counts a metric on the grid until the time through which it was read.
func (j *judge) count(m *metric) {
	n := int(max(0, m.reading.Through.UnixMilli()-j.grid.Began) / j.grid.Interval)
	series, from := countersOf(m.reading), 0
	if m.Kind == policy.Latency {
		series, from = j.slowerThanBound(m, n)
	}
	_, before := analysis.Count(j.before, j.historyLen, series)
	m.canary, m.stable = analysis.Count(j.grid, n, series)

	promoted := n
	if !j.Promoted.IsZero() {
		promoted = j.first(j.Promoted, n)
	}
	alone := promoted
	if m.Harm.MaxRatio == 0 && m.Proof.MaxRatio == 0 {
		alone = 0 // The stable may have no such series.
	}
	m.intervals = analysis.Pair(m.canary, m.stable, alone)
	clear(m.intervals[:from])
	m.phi = analysis.Phi(countsOf(before), j.grid.Interval)
	m.previous = lastWithTraffic(countsOf(slices.Concat(before, m.stable[:promoted])), j.historyLen)
}

func countsOf(tallies []analysis.Tally) []analysis.Counts {
	counts := make([]analysis.Counts, len(tallies))
	for i, t := range tallies {
		counts[i] = t.Counts
	}
	return counts
}

// lastWithTraffic returns the sum of n counts, of which the last one has requests.
func lastWithTraffic(counts []analysis.Counts, n int) (sum analysis.Counts) {
	end := len(counts)
	for end > 0 && counts[end-1].Requests == 0 {
		end--
	}
	for _, c := range counts[max(0, end-n):end] {
		sum.Requests += c.Requests
		sum.Bad += c.Bad
	}
	return sum
}

func countersOf(reading metricsource.Reading) []analysis.Series {
	series := make([]analysis.Series, len(reading.Series))
	for i, s := range reading.Series {
		series[i] = toCount(s, analysis.Counts{Requests: s.Requests, Bad: s.Bad})
	}
	return series
}

func toCount(s metricsource.Series, adds analysis.Counts) analysis.Series {
	return analysis.Series{Canary: s.Canary, Target: s.Target, Started: s.Started, Adds: adds, Samples: s.Samples}
}

// minForQuantile is how many responses of the stable a quantile needs.
const minForQuantile = 100

// slowerThanBound returns the series that count the responses slower than the bound of a latency, and
// the first interval in which they count.
func (j *judge) slowerThanBound(m *metric, n int) (series []analysis.Series, from int) {
	all := m.buckets()
	var bound float64
	var ok bool
	if m.Threshold > 0 {
		bound, ok = analysis.NextBound(all.bounds(), float64(m.Threshold)/float64(j.unit()))
	} else {
		bound, from, ok = j.quantileBound(m.Quantile, all, n)
	}
	if ok {
		m.SlowerThan = time.Duration(math.Round(bound * float64(j.unit())))
	} else {
		m.unbounded = from < n && len(all) > 0
		from = n
	}
	if m.unbounded && m.Missing.Reason == "" {
		m.Missing = m.missing(Invalid, m.tooSlow(all.bounds(), j.unit()))
	}
	for _, b := range all {
		switch {
		case math.IsInf(b.bound, 1):
			series = append(series, toCount(b.Series, analysis.Counts{Requests: 1, Bad: 1}))
		case ok && b.bound == bound:
			series = append(series, toCount(b.Series, analysis.Counts{Bad: -1}))
		}
	}
	return series, from
}

// unit returns the unit of the bucket bounds.
func (j *judge) unit() time.Duration {
	if j.preset.Latency == nil {
		return time.Second
	}
	return j.preset.Latency.Unit
}

func (m *metric) tooSlow(bounds []float64, unit time.Duration) string {
	what := fmt.Sprintf("slowerThan %s is", m.Threshold)
	if m.Threshold == 0 {
		what = fmt.Sprintf("the p%g of the stable revision's response time is", 100*m.Quantile)
	}
	bounds = slices.DeleteFunc(bounds, func(b float64) bool { return math.IsInf(b, 1) })
	if len(bounds) == 0 {
		return "the histograms of both revisions have no bucket bound in common"
	}
	highest := time.Duration(slices.Max(bounds) * float64(unit))
	return fmt.Sprintf("%s above %[2]s, the highest bucket bound of both revisions: write slowerThan: %[2]s or less", what, highest)
}

// bucket is one series of a histogram.
type bucket struct {
	metricsource.Series
	bound float64
}

type buckets []bucket

func (m *metric) buckets() buckets {
	var all buckets
	for _, s := range m.reading.Series {
		if bound, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
			all = append(all, bucket{s, bound})
		}
	}
	return all
}

// bounds returns the bounds that the histograms of both revisions have. A revision without any has
// served nothing yet.
func (all buckets) bounds() []float64 {
	of := [2]map[float64]bool{{}, {}}
	for _, b := range all {
		i := 0
		if b.Canary {
			i = 1
		}
		of[i][b.bound] = true
	}
	var bounds []float64
	for _, b := range all {
		if (of[0][b.bound] || len(of[0]) == 0) && (of[1][b.bound] || len(of[1]) == 0) {
			bounds = append(bounds, b.bound)
		}
	}
	slices.Sort(bounds)
	return slices.Compact(bounds)
}

// quantileBound returns the bound next to a quantile of the stable before the trial. If the stable
// served too little then, what it serves in the trial counts too, and the bound is for the intervals
// from then on: it must not depend on the counts that it is used for.
func (j *judge) quantileBound(quantile float64, all buckets, n int) (bound float64, from int, ok bool) {
	for _, length := range []int{j.historyLen, j.historyLen + n} {
		histogram := make([]analysis.Bucket, 0, len(all))
		served := map[float64][]analysis.Tally{}
		for _, b := range all.bounds() {
			histogram = append(histogram, analysis.Bucket{UpperBound: b})
			_, served[b] = analysis.Count(j.before, length, all.ofStable(b))
		}
		for k := range length {
			total := 0.0
			for i := range histogram {
				b := &histogram[i]
				b.Count += served[b.UpperBound][k].Requests
				total = max(total, b.Count)
			}
			if k >= j.historyLen-1 && total >= minForQuantile {
				bound, ok = analysis.QuantileBound(histogram, quantile)
				return bound, k + 1 - j.historyLen, ok
			}
		}
	}
	return 0, n, false
}

// ofStable returns the stable's counters of one bucket.
func (all buckets) ofStable(bound float64) []analysis.Series {
	var series []analysis.Series
	for _, b := range all {
		if b.bound == bound && !b.Canary {
			series = append(series, toCount(b.Series, analysis.Counts{Requests: 1}))
		}
	}
	return series
}
