// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
)

const (
	// patience is the number of intervals without requests, or without samples, after which they are
	// reported as missing.
	patience = 5
	// row is how many results of a query in a row above its limit are harm.
	row = 3
)

// Judge returns the verdict on a trial. It is the Judge of a metricsource.Gatherer for trials of
// [TrialFor].
func Judge(trial metricsource.Trial, look metricsource.Look) Verdict {
	input, _ := trial.Input.(Input)
	j := &judge{Input: input, trial: trial, look: look}
	v := Verdict{Source: look.Source, Share: j.share()}
	if look.Failure != nil {
		v.Missing = missing(*look.Failure)
		return v
	}
	if i := slices.IndexFunc(trial.Presets, func(p metricsource.Preset) bool { return p.Name == look.Source }); i >= 0 {
		j.preset = trial.Presets[i]
	}
	for i, m := range measured(input.Analysis) {
		j.metrics = append(j.metrics, &metric{Metric: Metric{Metric: m, Evidence: analysis.Evidence{Name: m.Name, DryRun: m.DryRun}}, reading: look.Readings[i]})
	}
	j.timeline = newTimeline(trial, j.metrics)
	for _, m := range j.metrics {
		m.Missing = j.missing(m)
		if m.Kind == policy.Query {
			m.judgeQuery(j.trial)
		} else {
			j.count(m)
		}
	}
	j.leaveOut()
	j.evaluate(&v)
	j.observeTraffic(&v)
	for _, m := range j.metrics {
		if m.Name != requestsOnly {
			v.Metrics = append(v.Metrics, m.Metric)
		}
	}
	return v
}

// judge is the computation of one verdict.
type judge struct {
	Input
	trial   metricsource.Trial
	look    metricsource.Look
	preset  metricsource.Preset
	metrics []*metric
	timeline
}

// metric is a metric, and what was read and counted of it.
type metric struct {
	Metric
	reading metricsource.Reading
	counted
}

// isNeeded reports whether a share waits for the metric.
func (m *metric) isNeeded() bool { return !m.DryRun || m.Name == requestsOnly }

// share returns the present share.
func (j *judge) share() Share {
	switch {
	case !j.Promoted.IsZero():
		return Share{100, j.Promoted}
	case len(j.Shares) == 0:
		return Share{Since: j.trial.Began}
	}
	return j.Shares[len(j.Shares)-1]
}

// evaluate adds the evidence of all metrics that are not left out.
func (j *judge) evaluate(v *Verdict) {
	a := j.Analysis
	settings := analysis.Settings{
		Confidence: a.Confidence, MinRequests: float64(a.MinRequests), WarmUp: a.WarmUp.Milliseconds(), Bake: j.Bake,
	}
	trial := analysis.Trial{Grid: j.grid, Shares: []int64{j.grid.Began}}
	for _, s := range j.Shares {
		if at := s.Since.UnixMilli(); at > j.grid.Began {
			trial.Shares = append(trial.Shares, at)
		}
	}
	if !j.Promoted.IsZero() {
		trial.Promoted = j.Promoted.UnixMilli()
	}
	var counted []*metric
	for _, m := range j.metrics {
		v.Harm = v.Harm || m.Evidence.Harmful && !m.DryRun
		if m.Kind == policy.Query || m.LeftOut {
			continue
		}
		counted = append(counted, m)
		settings.Metrics = append(settings.Metrics, m.settings())
		trial.Counts = append(trial.Counts, m.intervals)
		trial.Previous = append(trial.Previous, m.previous)
	}
	result := analysis.Evaluate(settings, trial)
	for i, m := range counted {
		m.Evidence, m.Baking = result.Metrics[i], !j.Promoted.IsZero()
	}
	v.Harm = v.Harm || result.Harm
	v.Missing = j.worst()
	if v.Missing.Reason != "" {
		return
	}
	if result.Proven {
		v.ProvenAt = j.end(result.ProvenAfter)
	}
	if result.Enough {
		v.EnoughAt = j.end(result.EnoughAfter)
	}
}

// settings returns the limits of a metric that counts.
func (m *metric) settings() analysis.Metric {
	s := analysis.Metric{
		Name: m.Name, Phi: m.phi, SkipWarmUp: m.Kind == policy.Latency, DryRun: m.DryRun,
		Harm:  analysis.HarmLimits{MaxRatio: m.Harm.MaxRatio, Floor: m.Harm.Floor},
		Proof: analysis.ProofLimits{MaxRatio: m.Proof.MaxRatio, Floor: m.Proof.Floor},
	}
	if m.Harm.Max != nil {
		s.Harm.Max = *m.Harm.Max
	}
	return s
}

// judgeQuery compares the results of a query with its limit. A time without a result ends a row.
func (m *metric) judgeQuery(trial metricsource.Trial) {
	above := 0
	var last int64
	for _, value := range m.reading.Values {
		if value.Time < trial.Began.UnixMilli() {
			continue
		}
		// Some servers align the times, so they are compared with each other only.
		if value.Time-last > trial.Interval.Milliseconds()*3/2 {
			above = 0
		}
		if above++; value.Value <= *m.Harm.Max {
			above = 0
		}
		m.Evidence.Harmful = m.Evidence.Harmful || above >= row
		m.Value, last = value.Value, value.Time
	}
}

// missing says what is missing of a metric. One failed look is not reported, because the next one
// reads what it missed.
func (j *judge) missing(m *metric) Missing {
	failure := m.reading.Failure
	newest := m.newest()
	quiet := m.reading.Through.UnixMilli()-newest >= patience*j.grid.Interval
	switch {
	case m.isFromPreset() && len(j.trial.Presets) == 0:
		return m.missing(NoSeries, j.noPreset())
	case failure != nil && failure.Status != metricsource.NoSeries && j.look.At.Sub(m.reading.Through) > j.trial.Interval:
	case newest == 0, quiet:
		if failure == nil {
			failure = &metricsource.Failure{Status: metricsource.NoSeries, Message: j.noSamples(m, newest)}
		}
	default:
		return Missing{}
	}
	result := missing(*failure)
	switch {
	case m.reading.Unsupported:
		result.Message += ": remove the metric from spec.analysis.metrics, or set spec.analysis.source to another preset"
	case m.isFromPreset() && failure.Status == metricsource.NoSeries && j.preset.Hint != "":
		result.Message += ". " + j.preset.Hint
	}
	return m.missing(result.Reason, result.Message)
}

func (m *metric) missing(reason Reason, message string) Missing {
	name := m.Name
	if name == requestsOnly {
		name = "requests"
	}
	return Missing{reason, name + ": " + message}
}

func (m *metric) isFromPreset() bool { return m.Kind == policy.Errors || m.Kind == policy.Latency }

func (j *judge) noPreset() string {
	if j.Analysis.Source == canaryv1alpha1.SourceAuto {
		return "no preset is for the gateway or the serving runtime of the InferenceService: set spec.analysis.source to the name of a preset"
	}
	return fmt.Sprintf("there is no preset %q: set spec.analysis.source to auto or to the name of a preset", j.Analysis.Source)
}

// noSamples says since when there are no new samples of a metric.
func (j *judge) noSamples(m *metric, newest int64) string {
	selectors := []string{m.Query}
	switch {
	case m.Kind == policy.Counters:
		selectors = metricsource.Counters{Total: []string{m.Total}, Bad: []string{m.Bad}}.Selectors(j.trial.Revisions)
	case m.Kind == policy.Errors:
		selectors = j.preset.Selectors(j.trial.Revisions)
	case m.Kind == policy.Latency && j.preset.Latency != nil:
		selectors = j.preset.Latency.Buckets().Selectors(j.trial.Revisions)
	}
	message := "Prometheus has no samples of " + strings.Join(selectors, " and ")
	if newest > 0 {
		message += " since " + time.UnixMilli(newest).UTC().Format(time.RFC3339)
	}
	return message
}

// newest returns the time of the newest sample, or 0.
func (m *metric) newest() int64 {
	var newest int64
	for _, s := range m.reading.Series {
		newest = max(newest, lastTime(s.Samples))
	}
	return max(newest, lastTime(m.reading.Values))
}

func lastTime(samples []metricsource.Sample) int64 {
	if len(samples) == 0 {
		return 0
	}
	return samples[len(samples)-1].Time
}

var queryRange = regexp.MustCompile(`\[\d+ms\]`)

// missing returns a failure without the range of its query, which is different at each look.
func missing(f metricsource.Failure) Missing {
	reason := map[metricsource.Status]Reason{metricsource.NoSeries: NoSeries, metricsource.Unavailable: Unavailable}[f.Status]
	if reason == "" {
		reason = Invalid
	}
	return Missing{reason, queryRange.ReplaceAllString(f.Message, "")}
}

// leaveOut leaves out the default latency if the source lacks it. The errors never are: what has no
// requests cannot be judged.
func (j *judge) leaveOut() {
	for _, m := range j.metrics {
		lacking := m.reading.Unsupported || m.newest() == 0 && !m.reading.Through.IsZero() || m.unbounded
		m.LeftOut = lacking && j.Analysis.DefaultMetrics && m.Kind == policy.Latency
	}
}

// worst returns what is missing of the metrics that are acted on. What a person must correct comes
// first.
func (j *judge) worst() Missing {
	for _, reason := range []Reason{Invalid, NoSeries, Unavailable} {
		for _, m := range j.metrics {
			if m.Missing.Reason == reason && m.isNeeded() && !m.LeftOut {
				return m.Missing
			}
		}
	}
	return Missing{}
}
