// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"slices"

	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/policy"
)

// observeTraffic adds what is known from the numbers of requests at the present share.
func (j *judge) observeTraffic(v *Verdict) {
	m := j.requests()
	if m == nil || v.Share.Percent == 0 {
		return
	}
	n := len(m.canary)
	if v.Missing.Reason == "" && m.isIdle(j.first(v.Share.Since, n)) {
		v.Missing = Missing{NoTraffic, fmt.Sprintf("the canary gets no requests at its share of %d %%", v.Share.Percent)}
	}
	if j.Promoted.IsZero() {
		pairs := analysis.Pair(m.canary, m.stable, n)
		v.Served = served(pairs[j.first(v.Share.Since.Add(j.Analysis.WarmUp), n):], v.Share.Percent)
	}
}

// requests returns the metric that counts the requests: the errors if they are measured.
func (j *judge) requests() *metric {
	for _, kind := range []policy.MetricKind{policy.Errors, policy.Latency, policy.Counters} {
		if i := slices.IndexFunc(j.metrics, func(m *metric) bool { return m.Kind == kind && !m.LeftOut }); i >= 0 {
			return j.metrics[i]
		}
	}
	return nil
}

// isIdle reports whether the canary got no requests in the last intervals, of those from the given
// one on. Intervals in which nothing was scraped do not count. After each time that requests come
// again, twice as many intervals are necessary, so that a few requests do not change the state of
// the rollout again and again.
func (m *metric) isIdle(from int) bool {
	empty, limit := 0, patience
	for k, c := range m.canary[from:] {
		switch {
		case c.Requests > 0:
			if empty >= limit {
				limit *= 2
			}
			empty = 0
		case c.Seen || m.stable[from+k].Seen:
			empty++
		}
	}
	return empty >= limit
}

// enoughToCompare is how many requests the revision with the smaller share must expect before the
// share is compared with the one that was asked for.
const enoughToCompare = 30

// served returns what was served. The share is off if it was so in five successive parts with enough
// requests, each in the same direction.
func served(intervals []analysis.Interval, asked int) (s Served) {
	expected := float64(asked) / 100
	var part Served
	low, high := 0, 0
	for _, i := range intervals {
		s.Canary, s.Stable = s.Canary+i.Canary.Requests, s.Stable+i.Stable.Requests
		part.Canary, part.Stable = part.Canary+i.Canary.Requests, part.Stable+i.Stable.Requests
		if (part.Canary+part.Stable)*min(expected, 1-expected) < enoughToCompare {
			continue
		}
		low, high = low+1, high+1
		if ratio := part.Percent() / float64(asked); ratio >= 2./3 {
			low = 0
		}
		if ratio := part.Percent() / float64(asked); ratio <= 4./3 {
			high = 0
		}
		s.Off = s.Off || low >= patience || high >= patience
		part = Served{}
	}
	return s
}
