// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

const (
	// overlap is how far behind the newest sample a query reaches, for samples that reach Prometheus
	// out of order or late.
	overlap = 2 * time.Minute
	// chunk is the longest range of one query. After a longer gap, several queries read it.
	chunk = 6 * time.Hour
)

// counterReader reads the counters of one metric in one trial, and keeps their samples.
type counterReader struct {
	plan    plan
	starts  *startTimes
	series  map[string]*Series
	newest  int64
	through time.Time
}

func newCounterReader(counters Counters, revisions Revisions, starts *startTimes) (*counterReader, *Failure) {
	p, err := counters.plan(revisions)
	if err != nil {
		return nil, &Failure{Status: Invalid, Message: err.Error()}
	}
	return &counterReader{plan: p, starts: starts, series: map[string]*Series{}}, nil
}

// read reads what is new until at. The first samples are at start.
func (r *counterReader) read(ctx context.Context, c *Client, start, at time.Time) *Failure {
	var failure *Failure
	for from := r.from(start); from.Before(at); from = r.through {
		to := at
		if at.Sub(from) > chunk {
			to = from.Add(chunk)
		}
		failure = r.readRange(ctx, c, from, to)
		if failure != nil && failure.Status != NoSeries {
			return failure
		}
		r.through = to
	}
	return failure
}

// from returns the begin of the next range. It covers the time since the newest sample, also if
// Prometheus gets the samples late, but at most one chunk that was read before.
func (r *counterReader) from(start time.Time) time.Time {
	if r.through.IsZero() {
		return start
	}
	from := r.through.Add(-chunk)
	if r.newest > 0 {
		known := time.UnixMilli(r.newest)
		if r.through.Before(known) {
			known = r.through
		}
		if known = known.Add(-overlap); known.After(from) {
			from = known
		}
	}
	if from.Before(start) {
		return start
	}
	return from
}

func (r *counterReader) readRange(ctx context.Context, c *Client, from, to time.Time) *Failure {
	type found struct {
		series Series
		key    string
	}
	var all []found
	for _, query := range r.plan.queries {
		matrix, failure := c.samples(ctx, query, from, to)
		if failure != nil && failure.Status != NoSeries {
			return failure
		}
		for _, stream := range matrix {
			labels := labelsOf(stream.Metric)
			series, relevant, err := r.plan.classify(labels)
			if err != nil {
				return invalid(query, "series %s: %v", stream.Metric, err)
			}
			if relevant {
				series.Samples = samplesOf(stream.Values)
				all = append(all, found{series: series, key: identity(labels)})
			}
		}
	}
	if len(all) == 0 {
		return noSeries(r.plan.queries...)
	}
	// Nothing is kept before everything has been read, so that a failure loses nothing.
	series := make([]Series, len(all))
	for i := range all {
		series[i] = all[i].series
	}
	if failure := r.starts.add(ctx, c, series, to); failure != nil {
		return failure
	}
	for i, f := range all {
		f.series.Started = series[i].Started
		r.keep(f.key, f.series)
	}
	return nil
}

func (r *counterReader) keep(key string, series Series) {
	if len(series.Samples) == 0 {
		return
	}
	if known := r.series[key]; known != nil {
		known.Samples = merge(known.Samples, series.Samples)
	} else {
		r.series[key] = &series
	}
	r.newest = max(r.newest, series.Samples[len(series.Samples)-1].Time)
}

// all returns the series in a fixed order.
func (r *counterReader) all() []Series {
	result := make([]Series, 0, len(r.series))
	for _, key := range slices.Sorted(maps.Keys(r.series)) {
		result = append(result, *r.series[key])
	}
	return result
}

// merge adds samples to older ones. Of two samples with the same time, the first that was read
// remains.
func merge(known, added []Sample) []Sample {
	overlapping := sort.Search(len(known), func(i int) bool { return known[i].Time >= added[0].Time })
	tail := slices.Concat(known[overlapping:], added)
	sortSamples(tail)
	tail = slices.CompactFunc(tail, func(a, b Sample) bool { return a.Time == b.Time })
	return append(known[:overlapping], tail...)
}

func sortSamples(samples []Sample) {
	slices.SortStableFunc(samples, func(a, b Sample) int { return cmp.Compare(a.Time, b.Time) })
}

func samplesOf(values []model.SamplePair) []Sample {
	samples := make([]Sample, 0, len(values))
	for _, value := range values {
		samples = append(samples, Sample{Time: int64(value.Timestamp), Value: float64(value.Value)})
	}
	return samples
}

func labelsOf(metric model.Metric) map[string]string {
	labels := make(map[string]string, len(metric))
	for name, value := range metric {
		labels[string(name)] = string(value)
	}
	return labels
}

// startTimes knows when the processes started that Prometheus began to scrape during a trial. The
// first samples of the others are not needed to count.
type startTimes struct {
	began time.Time
	known map[string]int64
}

// add sets the start times of the series. All metrics of a trial share the answers.
func (s *startTimes) add(ctx context.Context, c *Client, series []Series, at time.Time) *Failure {
	jobs, instances := map[string]bool{}, map[string]bool{}
	var unknown []string
	for _, one := range series {
		_, known := s.known[one.Target]
		switch {
		case known || len(one.Samples) == 0:
		case one.Labels["instance"] == "" || one.Samples[0].Time < s.began.UnixMilli():
			s.known[one.Target] = 0
		default:
			unknown = append(unknown, one.Target)
			jobs[one.Labels["job"]], instances[one.Labels["instance"]] = true, true
		}
	}
	unknown = slices.DeleteFunc(unknown, func(target string) bool { _, known := s.known[target]; return known })
	if len(unknown) > 0 {
		query := fmt.Sprintf("min_over_time(process_start_time_seconds{%s,%s}[%dms])",
			anyOf("instance", instances), anyOf("job", jobs), (at.Sub(s.began) + overlap).Milliseconds())
		vector, failure := c.vector(ctx, query, at)
		if failure != nil {
			return failure
		}
		for _, target := range unknown {
			s.known[target] = 0
		}
		for _, element := range vector {
			if name := target(labelsOf(element.Metric)); slices.Contains(unknown, name) {
				s.known[name] = int64(float64(element.Value) * 1000)
			}
		}
	}
	for i := range series {
		series[i].Started = s.known[series[i].Target]
	}
	return nil
}

func anyOf(label string, values map[string]bool) matcher {
	quoted := make([]string, 0, len(values))
	for _, value := range slices.Sorted(maps.Keys(values)) {
		quoted = append(quoted, regexp.QuoteMeta(value))
	}
	return matcher{label: label, op: matches, value: strings.Join(quoted, "|")}
}

// queryReader reads a query that gives one number.
type queryReader struct {
	query   string
	values  []Sample
	through time.Time
}

func newQueryReader(query string, revisions Revisions) (*queryReader, *Failure) {
	expanded, err := expandQuery(query, revisions)
	if err != nil {
		return nil, invalid(query, "%v", err)
	}
	return &queryReader{query: expanded}, nil
}

func (r *queryReader) read(ctx context.Context, c *Client, trial Trial, at time.Time) *Failure {
	from := r.through.Add(trial.Interval)
	if r.through.IsZero() {
		from = trial.Began
	}
	if late := at.Sub(from) - chunk; late > 0 {
		from = from.Add(late.Truncate(trial.Interval) + trial.Interval)
	}
	values, failure := c.numbers(ctx, r.query, from, at, trial.Interval)
	if len(values) > 0 {
		r.values = merge(r.values, values)
	}
	if failure == nil || failure.Status == NoSeries || len(values) > 0 {
		r.through = at
	}
	return failure
}

// kubernetesName matches names of namespaces and revisions, which need no quotes in PromQL.
var kubernetesName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// expandQuery replaces the placeholders of a query with those of the canary.
func expandQuery(query string, revisions Revisions) (string, error) {
	values := map[string]string{
		namespacePlaceholder: revisions.Namespace, revisionPlaceholder: revisions.Canary, podsPlaceholder: revisions.Canary,
	}
	var problem error
	expanded := placeholderToken.ReplaceAllStringFunc(query, func(placeholder string) string {
		value, known := values[placeholder]
		switch {
		case !known:
			problem = fmt.Errorf("%s is no placeholder; the placeholders are $namespace, $revision and $pods", placeholder)
		case !kubernetesName.MatchString(value):
			problem = fmt.Errorf("the value %q of %s is not the name of a Kubernetes object", value, placeholder)
		case placeholder == podsPlaceholder:
			value += podsSuffix
		}
		return value
	})
	return expanded, problem
}
