// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
)

const (
	interval = 15 * time.Second
	hour     = 240 // intervals
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at returns the end of the first n intervals.
func at(n int) time.Time { return began.Add(time.Duration(n) * interval) }

// load is what a revision serves in one interval.
type load struct{ requests, bad, slow float64 }

// service is what both revisions serve in each interval. Interval 0 is the first of the trial.
type service struct {
	canary, stable func(k int) load
	// scrape is how many intervals one scrape takes. Default 1.
	scrape int
}

func constant(l load) func(int) load { return func(int) load { return l } }

// steady is a service at 10 %, with a good canary.
func steady() service {
	return service{canary: constant(load{150, 0, 6}), stable: constant(load{1350, 1, 54})}
}

// canaryIs returns the service with another canary.
func canaryIs(l load) service { return service{canary: constant(l), stable: steady().stable} }

// from returns one load before an interval, and another one from then on.
func from(k int, before, after load) func(int) load {
	return func(i int) load {
		if i < k {
			return before
		}
		return after
	}
}

var bounds = []string{"0.1", "0.5", "+Inf"}

// series returns the samples of the first n intervals of the trial and the hour before, as a gateway
// counts that was scraped in each interval. All bad responses have the code 500, and slow ones take
// from 0.1 to 0.5 seconds.
func (s service) series(n int) (errors, latency []metricsource.Series) {
	scrape := max(1, s.scrape)
	for _, canary := range []bool{false, true} {
		one := func(requests, bad float64, labels map[string]string) metricsource.Series {
			return metricsource.Series{Labels: labels, Canary: canary, Target: "gateway", Requests: requests, Bad: bad}
		}
		good, failed := one(1, 0, map[string]string{"code": "200"}), one(1, 1, map[string]string{"code": "500"})
		var buckets []metricsource.Series
		for _, le := range bounds {
			buckets = append(buckets, one(1, 0, map[string]string{"le": le}))
		}
		var sum load
		for k := -hour; k < n; k++ {
			l := s.stable(k)
			if canary {
				l = load{}
				if k >= 0 {
					l = s.canary(k)
				}
			}
			sum = load{sum.requests + l.requests, sum.bad + l.bad, sum.slow + l.slow}
			if (k+hour+1)%scrape != 0 {
				continue
			}
			// A counter appears with its first event.
			scraped := at(k).UnixMilli() + 5000
			add := func(s *metricsource.Series, value, born float64) {
				if born > 0 {
					s.Samples = append(s.Samples, metricsource.Sample{Time: scraped, Value: value})
				}
			}
			add(&good, sum.requests-sum.bad, sum.requests-sum.bad)
			add(&failed, sum.bad, sum.bad)
			add(&buckets[0], sum.requests-sum.slow, sum.requests)
			add(&buckets[1], sum.requests, sum.requests)
			add(&buckets[2], sum.requests, sum.requests)
		}
		errors = append(errors, good, failed)
		latency = append(latency, buckets...)
	}
	born := func(s metricsource.Series) bool { return len(s.Samples) == 0 }
	return slices.DeleteFunc(errors, born), slices.DeleteFunc(latency, born)
}

// look returns the look after n intervals.
func (s service) look(trial metricsource.Trial, n int) metricsource.Look {
	errors, latency := s.series(n)
	look := metricsource.Look{At: at(n), Source: "traefik"}
	for _, m := range trial.Metrics {
		r := metricsource.Reading{Metric: m.Name, Through: look.At}
		switch m.FromPreset {
		case metricsource.Errors:
			r.Series = errors
		case metricsource.Buckets, metricsource.Latency:
			r.Series = latency
		}
		look.Readings = append(look.Readings, r)
	}
	return look
}

// values returns results of a query at the given looks, starting with the first.
func values(results ...float64) []metricsource.Sample {
	var samples []metricsource.Sample
	for k, value := range results {
		if !math.IsNaN(value) {
			samples = append(samples, metricsource.Sample{Time: at(k).UnixMilli(), Value: value})
		}
	}
	return samples
}

func errorMetric() policy.Metric {
	return policy.Metric{
		Name: "errors", Kind: policy.Errors,
		Harm: policy.HarmLimits{MaxRatio: 1.5, Floor: 0.001}, Proof: policy.ProofLimits{MaxRatio: 3, Floor: 0.01},
	}
}

func latencyMetric() policy.Metric {
	return policy.Metric{
		Name: "latency", Kind: policy.Latency, Quantile: 0.95,
		Harm: policy.HarmLimits{MaxRatio: 1.5, Floor: 0.02}, Proof: policy.ProofLimits{MaxRatio: 3, Floor: 0.1},
	}
}

func memoryMetric() policy.Metric {
	return policy.Metric{Name: "memory", Kind: policy.Query, Query: "max(used)", Harm: policy.HarmLimits{Max: new(70_000.)}}
}

// input is that of a canary at 10 % since the beginning, with the default policy or other metrics.
func input(metrics ...policy.Metric) Input {
	a := policy.Analysis{
		Source: "auto", Interval: interval, WarmUp: 30 * time.Second, Confidence: 0.95, RequireProof: true, MinRequests: 100,
		Timeout: 4 * time.Hour, Metrics: metrics,
	}
	if metrics == nil {
		a.DefaultMetrics, a.Metrics = true, []policy.Metric{errorMetric(), latencyMetric()}
	}
	return Input{Analysis: a, Shares: []Share{{10, began}}}
}

func trialFor(in Input) metricsource.Trial {
	presets, err := metricsource.NewPresets()
	if err != nil {
		panic(err)
	}
	return TrialFor(Rollout{
		ID: "2.1", Began: began, Controllers: []string{"traefik.io/gateway-controller"}, Runtime: "kserve-sklearnserver",
		Revisions: metricsource.Revisions{Namespace: "models", Stable: "iris-predictor-00001", Canary: "iris-predictor-00002"},
	}, in, presets)
}

// judgeAt judges the look after n intervals, which may be changed before.
func judgeAt(s service, in Input, n int, changes ...func(*metricsource.Look)) Verdict {
	trial := trialFor(in)
	look := s.look(trial, n)
	for _, change := range changes {
		change(&look)
	}
	return Judge(trial, look)
}

var (
	down      = &metricsource.Failure{Status: metricsource.Unavailable, Message: "query requests_total[135000ms]: connection refused"}
	noSamples = &metricsource.Failure{Status: metricsource.NoSeries, Message: "Prometheus has no series for x{}"}
)

// fails gives a reading a failure, without anything read since the end of n intervals.
func fails(reading, n int, failure *metricsource.Failure) func(*metricsource.Look) {
	return func(l *metricsource.Look) {
		r := &l.Readings[reading]
		r.Failure, r.Through = failure, at(n)
	}
}

// lacks gives a reading no samples at all.
func lacks(reading int, failure *metricsource.Failure) func(*metricsource.Look) {
	return func(l *metricsource.Look) {
		r := &l.Readings[reading]
		*r = metricsource.Reading{Metric: r.Metric, Failure: failure, Through: r.Through}
	}
}

func reads(reading int, results ...float64) func(*metricsource.Look) {
	return func(l *metricsource.Look) { l.Readings[reading].Values = values(results...) }
}

func TestJudge(t *testing.T) {
	type verdict struct {
		Harm    bool
		Proven  int // the look at the time of the proof, or 0
		Enough  int
		Missing Reason
	}
	dead, slow := load{150, 150, 0}, load{150, 0, 60}
	dryRun := func(m policy.Metric) policy.Metric { m.DryRun = true; return m }
	preview := input()
	preview.Shares[0].Percent = 0
	second := input()
	second.Shares = append(second.Shares, Share{50, at(40)})
	ceiling := policy.Metric{
		Name: "differed", Kind: policy.Counters, Total: `compared{r="$revision"}`, Bad: `differed{r="$revision"}`, Harm: policy.HarmLimits{Max: new(0.02)},
	}
	own := func(bad float64) func(*metricsource.Look) {
		// Only the canary has such series.
		return func(l *metricsource.Look) {
			r := &l.Readings[0]
			errors, _ := canaryIs(load{150, bad, 0}).series(int(l.At.Sub(began) / interval))
			r.Series = slices.DeleteFunc(errors, func(s metricsource.Series) bool { return !s.Canary })
			for i := range r.Series {
				r.Series[i].Started = began.UnixMilli() + 1
			}
		}
	}
	idle := load{}
	high := 71_000.
	none := math.NaN()

	for _, tc := range []struct {
		name    string
		service service
		input   Input
		looks   int
		changes []func(*metricsource.Look)
		want    verdict
	}{
		{"the first look", steady(), input(), 0, nil, verdict{}},
		{"good", steady(), input(), 40, nil, verdict{Proven: 6, Enough: 1}},
		{"good, but too few requests for proof", canaryIs(load{1, 0, 0}), input(), 40, nil, verdict{}},
		{"always fails", canaryIs(dead), input(), 3, nil, verdict{Harm: true, Enough: 1}},
		{"slow", canaryIs(slow), input(), 20, nil, verdict{Harm: true, Enough: 1}},
		{"slow in the warm-up", service{from(2, slow, load{150, 0, 6}), steady().stable, 1}, input(), 40, nil, verdict{Proven: 6, Enough: 1}},
		{"both fail", service{constant(dead), from(0, load{1350, 1, 54}, load{1350, 1350, 54}), 1}, input(), 40, nil, verdict{Proven: 3, Enough: 1}},
		{"another share", steady(), second, 60, nil, verdict{Proven: 46, Enough: 41}},
		{"another share has just begun", steady(), second, 41, nil, verdict{Enough: 41}},

		{"four looks without requests", canaryIs(idle), input(), 4, nil, verdict{}},
		{"five looks without requests", canaryIs(idle), input(), 5, nil, verdict{Missing: NoTraffic}},
		{"requests end after the proof", service{from(30, load{150, 0, 6}, idle), steady().stable, 1}, input(), 40, nil, verdict{Proven: 6, Enough: 1, Missing: NoTraffic}},
		{"requests come", service{from(10, idle, load{150, 0, 6}), steady().stable, 1}, input(), 11, nil, verdict{Enough: 11}},
		{"requests end again for less than ten looks", service{func(k int) load {
			if k == 10 {
				return load{20, 0, 1}
			}
			return idle
		}, steady().stable, 1}, input(), 20, nil, verdict{}},
		{"a preview without requests", canaryIs(idle), preview, 40, nil, verdict{}},

		{"one failed look", steady(), input(), 41, []func(*metricsource.Look){fails(0, 40, down), fails(1, 40, down)}, verdict{Proven: 6, Enough: 1}},
		{"Prometheus is down", steady(), input(), 42, []func(*metricsource.Look){fails(0, 40, down), fails(1, 40, down)}, verdict{Missing: Unavailable}},
		{"Prometheus goes down after harm", canaryIs(dead), input(), 42, []func(*metricsource.Look){fails(0, 3, down), fails(1, 3, down)}, verdict{Harm: true, Missing: Unavailable}},
		{"Prometheus has never responded", steady(), input(), 1, []func(*metricsource.Look){func(l *metricsource.Look) { l.Failure, l.Readings = down, nil }}, verdict{Missing: Unavailable}},
		{"the source has no series", steady(), input(), 1, []func(*metricsource.Look){func(l *metricsource.Look) { l.Failure, l.Readings = noSamples, nil }}, verdict{Missing: NoSeries}},
		{"there are no samples any more", steady(), input(), 40, []func(*metricsource.Look){func(l *metricsource.Look) { l.At = at(45); l.Readings[0].Through = at(45) }}, verdict{Missing: NoSeries}},
		{"there are no samples of a few looks", steady(), input(), 40, []func(*metricsource.Look){func(l *metricsource.Look) { l.At = at(43); l.Readings[0].Through = at(43) }}, verdict{Proven: 6, Enough: 1}},
		{"a default metric that the preset lacks", steady(), input(), 40, []func(*metricsource.Look){lacks(1, noSamples)}, verdict{Proven: 6, Enough: 1}},
		{"no errors", steady(), input(), 40, []func(*metricsource.Look){lacks(0, noSamples)}, verdict{Missing: NoSeries}},
		{"a listed metric that the preset lacks", steady(), input(errorMetric(), latencyMetric()), 40, []func(*metricsource.Look){lacks(1, noSamples)}, verdict{Missing: NoSeries}},
		{"a dry run that the preset lacks", steady(), input(errorMetric(), dryRun(latencyMetric())), 40, []func(*metricsource.Look){lacks(1, noSamples)}, verdict{Proven: 6, Enough: 1}},
		{"harm of a dry run", canaryIs(slow), input(errorMetric(), dryRun(latencyMetric())), 40, nil, verdict{Proven: 6, Enough: 1}},
		{"harm of a metric beside a missing one", canaryIs(dead), input(errorMetric(), latencyMetric()), 40, []func(*metricsource.Look){lacks(1, noSamples)}, verdict{Harm: true, Missing: NoSeries}},

		{"two results of a query above the limit", steady(), input(errorMetric(), memoryMetric()), 2, []func(*metricsource.Look){reads(1, 0, high, high)}, verdict{Enough: 1}},
		{"three results of a query above the limit", steady(), input(errorMetric(), memoryMetric()), 3, []func(*metricsource.Look){reads(1, 0, high, high, high)}, verdict{Harm: true, Enough: 1}},
		{"harm of a query stays", steady(), input(errorMetric(), memoryMetric()), 4, []func(*metricsource.Look){reads(1, 0, high, high, high, 0)}, verdict{Harm: true, Enough: 1}},
		{"three results of a query, not in a row", steady(), input(errorMetric(), memoryMetric()), 4, []func(*metricsource.Look){reads(1, high, high, none, high, high)}, verdict{Enough: 1}},
		{"a dry run of a query above the limit", steady(), input(errorMetric(), dryRun(memoryMetric())), 3, []func(*metricsource.Look){reads(1, high, high, high, high)}, verdict{Enough: 1}},
		{"a query without results", steady(), input(errorMetric(), memoryMetric()), 3, []func(*metricsource.Look){lacks(1, noSamples)}, verdict{Missing: NoSeries}},
		{"a query with several results", steady(), input(errorMetric(), memoryMetric()), 3, []func(*metricsource.Look){lacks(1, &metricsource.Failure{Status: metricsource.Invalid})}, verdict{Missing: Invalid}},
		{"only a query, which also needs requests", steady(), input(memoryMetric()), 3, []func(*metricsource.Look){reads(0, 0, 0, 0, 0)}, verdict{Enough: 1}},
		{"only a query, without requests", canaryIs(idle), input(memoryMetric()), 5, []func(*metricsource.Look){reads(0, 0, 0, 0, 0, 0, 0)}, verdict{Missing: NoTraffic}},

		{"counters of the canary alone, below the limit", steady(), input(ceiling), 40, []func(*metricsource.Look){own(1)}, verdict{Enough: 1}},
		{"counters of the canary alone, above the limit", steady(), input(ceiling), 40, []func(*metricsource.Look){own(20)}, verdict{Harm: true, Enough: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := judgeAt(tc.service, tc.input, tc.looks, tc.changes...)
			if diff := cmp.Diff(tc.want, verdict{v.Harm, lookOf(v.ProvenAt), lookOf(v.EnoughAt), v.Missing.Reason}); diff != "" {
				t.Errorf("wrong verdict (-want +got):\n%s\n%+v", diff, v)
			}
		})
	}
}

// lookOf returns the look at a time, or 0.
func lookOf(moment time.Time) int {
	if moment.IsZero() {
		return 0
	}
	return int(moment.Sub(began) / interval)
}

func TestMissingMessages(t *testing.T) {
	listed := input(errorMetric(), latencyMetric())
	unsupported := func(l *metricsource.Look) {
		lacks(1, &metricsource.Failure{Status: metricsource.NoSeries, Message: `preset "triton" has no latency histogram`})(l)
		l.Readings[1].Unsupported = true
	}
	late := func(l *metricsource.Look) { l.At, l.Readings[0].Through = at(50), at(50) }
	unknown := listed
	unknown.Analysis.Source = "gone"
	tooHigh := input(errorMetric(), latencyMetric())
	tooHigh.Analysis.Metrics[1].Quantile, tooHigh.Analysis.Metrics[1].Threshold = 0, time.Second
	const selector = `traefik_service_requests_total{service=~"(?:models-iris-predictor-00001-http-[0-9]+@kubernetesgateway|httproute-models-.+-svc-models-iris-predictor-00001-[0-9]+@kubernetesgateway)|(?:models-iris-predictor-00002-http-[0-9]+@kubernetesgateway|httproute-models-.+-svc-models-iris-predictor-00002-[0-9]+@kubernetesgateway)"}`
	const hint = ". Traefik needs --metrics.prometheus and --metrics.prometheus.addServicesLabels (the default)"

	for _, tc := range []struct {
		name   string
		input  Input
		change func(*metricsource.Look)
		want   Missing
	}{
		{"down", listed, fails(0, 30, down), Missing{Unavailable, "errors: query requests_total: connection refused"}},
		{"no series", listed, lacks(0, noSamples), Missing{NoSeries, "errors: Prometheus has no series for x{}" + hint}},
		{"unsupported", listed, unsupported, Missing{NoSeries, `latency: preset "triton" has no latency histogram: remove the metric from spec.analysis.metrics, or set spec.analysis.source to another preset`}},
		{"no samples any more", listed, late, Missing{NoSeries, "errors: Prometheus has no samples of " + selector + " since 2026-03-01T12:09:50Z" + hint}},
		{"a preset that does not exist", unknown, func(*metricsource.Look) {}, Missing{NoSeries, `errors: there is no preset "gone": set spec.analysis.source to auto or to the name of a preset`}},
		{"a bound that does not exist", tooHigh, func(*metricsource.Look) {}, Missing{Invalid, "latency: slowerThan 1s is above 500ms, the highest bucket bound of both revisions: write slowerThan: 500ms or less"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := judgeAt(steady(), tc.input, 40, tc.change)
			if diff := cmp.Diff(tc.want, v.Missing); diff != "" {
				t.Errorf("wrong message (-want +got):\n%s", diff)
			}
		})
	}

	in := input()
	trial := TrialFor(Rollout{ID: "2.1", Began: began}, in, metricsource.Presets{})
	v := Judge(trial, steady().look(trial, 3))
	if v.Missing.Reason != NoSeries || !strings.Contains(v.Missing.Message, "no preset is for the gateway") {
		t.Errorf("without a preset: %+v", v.Missing)
	}
}

func TestLeftOutMetricIsNamed(t *testing.T) {
	v := judgeAt(steady(), input(), 40, lacks(1, noSamples))
	if m := v.Metrics[1]; !m.LeftOut || !strings.HasPrefix(m.Sentence(), "left out: latency: Prometheus has no series for x{}") {
		t.Errorf("%+v", m)
	}
	// The whole permitted probability of a false rejection is left to the errors.
	if e := v.Metrics[0].Evidence; math.Abs(e.HarmNeeded-20) > 1e-9 {
		t.Errorf("%v are needed, want 20", e.HarmNeeded)
	}
	v = judgeAt(steady(), input(), 44, lacks(1, noSamples), fails(0, 40, down), fails(1, 40, down))
	if e := v.Metrics[0].Evidence; math.Abs(e.HarmNeeded-20) > 1e-9 || v.Missing.Reason != Unavailable {
		t.Errorf("%v are needed while Prometheus is down, want 20; %+v", e.HarmNeeded, v.Missing)
	}
	if e := judgeAt(steady(), input(), 40).Metrics[0].Evidence; math.Abs(e.HarmNeeded-40) > 1e-9 {
		t.Errorf("%v are needed with both metrics, want 40", e.HarmNeeded)
	}
}

func TestBound(t *testing.T) {
	fixed := func(threshold time.Duration) Input {
		in := input()
		in.Analysis.Metrics[1].Quantile, in.Analysis.Metrics[1].Threshold = 0, threshold
		return in
	}
	quantile := func(q float64) Input {
		in := input()
		in.Analysis.Metrics[1].Quantile = q
		return in
	}
	otherBounds := func(l *metricsource.Look) {
		series := l.Readings[1].Series
		for i, s := range series {
			if s.Canary && s.Labels["le"] == "0.1" {
				series[i].Labels = map[string]string{"le": "0.2"}
			}
		}
	}
	quietBefore := service{canary: steady().canary, stable: from(0, load{}, load{30, 0, 1})}
	for _, tc := range []struct {
		name    string
		service service
		input   Input
		looks   int
		change  func(*metricsource.Look)
		want    time.Duration
		counted int // in how many intervals
	}{
		{"the p95 of the hour before", steady(), quantile(0.95), 10, nil, 100 * time.Millisecond, 8},
		{"the p99 of the hour before", steady(), quantile(0.99), 10, nil, 500 * time.Millisecond, 8},
		{"it does not follow the trial", service{canary: steady().canary, stable: from(0, load{1350, 1, 54}, load{1350, 1, 900})}, quantile(0.95), 10, nil, 100 * time.Millisecond, 8},
		{"a duration", steady(), fixed(200 * time.Millisecond), 10, nil, 500 * time.Millisecond, 8},
		{"a duration that is a bound", steady(), fixed(100 * time.Millisecond), 10, nil, 100 * time.Millisecond, 8},
		{"a bound of both revisions", steady(), fixed(100 * time.Millisecond), 10, otherBounds, 500 * time.Millisecond, 8},
		{"without an hour before, at first", quietBefore, quantile(0.95), 3, nil, 0, 0},
		{"without an hour before, after 100 responses", quietBefore, quantile(0.95), 10, nil, 100 * time.Millisecond, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var changes []func(*metricsource.Look)
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			m := judgeAt(tc.service, tc.input, tc.looks, changes...).Metrics[1]
			if m.SlowerThan != tc.want || m.Evidence.Canary.Requests != float64(150*tc.counted) {
				t.Errorf("slower than %s with %v requests, want %s with %d; %+v", m.SlowerThan, m.Evidence.Canary.Requests, tc.want, 150*tc.counted, m.Missing)
			}
		})
	}
}

// A first value counts only if its target was scraped in the interval before, so the intervals are at
// least as long as those of the scrapes.
func TestIntervalsAreAtLeastThoseOfTheScrapes(t *testing.T) {
	s := canaryIs(load{150, 15, 6})
	s.scrape = 4
	v := judgeAt(s, input(), 12)
	if e := v.Metrics[0].Evidence; e.Canary.Requests != 1800 || e.Canary.Bad != 180 || !v.Harm {
		t.Errorf("counted %+v of 1800 requests and 180 errors, harm %v", e.Canary, v.Harm)
	}
	if v.EnoughAt != at(4) {
		t.Errorf("enough after %s, want 1m0s", v.EnoughAt.Sub(began))
	}
}

func TestPhiIsThatOfTheHourBefore(t *testing.T) {
	bursts := service{canary: steady().canary, stable: func(k int) load {
		if k%10 == 0 {
			return load{1350, 50, 54}
		}
		return load{1350, 0, 54}
	}}
	before := judgeAt(bursts, input(), 0).Metrics[0].Evidence.Phi
	if before < 5 {
		t.Errorf("phi is %v", before)
	}
	if after := judgeAt(bursts, input(), 100).Metrics[0].Evidence.Phi; after != before {
		t.Errorf("phi changed from %v to %v", before, after)
	}
	if phi := judgeAt(service{canary: steady().canary, stable: from(-20, load{}, load{1350, 1, 54})}, input(), 10).Metrics[0].Evidence.Phi; phi != 2 {
		t.Errorf("phi is %v after five minutes of history, want 2", phi)
	}
}

func TestBake(t *testing.T) {
	const promoted = 40
	in := input()
	in.Bake, in.Promoted = true, at(promoted)
	after := func(l load) service {
		return service{canary: from(promoted, load{150, 0, 6}, l), stable: from(promoted, load{1350, 1, 54}, load{})}
	}
	v := judgeAt(after(load{1500, 1, 60}), in, 100)
	if v.Harm || v.Missing.Reason != "" || v.Share != (Share{100, at(promoted)}) {
		t.Errorf("a good canary: %+v", v)
	}
	// The stable's last hour with traffic ends with the promotion.
	if e := v.Metrics[0].Evidence; e.Stable.Requests != 240*1350 || e.Canary.Requests != 60*1500 {
		t.Errorf("%v requests against %v", e.Canary.Requests, e.Stable.Requests)
	}
	const want = "errors: 90 of 4,500 (2 %) against 240 of 324,000 (0.074 %) before the promotion: 27 times the stable's rate, at least 17 times; allowed 1.5 times"
	if v = judgeAt(after(load{1500, 30, 60}), in, promoted+3); !v.Harm || v.Sentence() != want {
		t.Errorf("a bad canary: harm %v, %s", v.Harm, v.Sentence())
	}
	if v = judgeAt(after(load{}), in, promoted+5); v.Missing.Reason != NoTraffic {
		t.Errorf("without requests: %+v", v)
	}
}

// New limits count at once. What the bets are about does not change.
func TestContinue(t *testing.T) {
	begun := input().Analysis
	edited := begun
	edited.Interval, edited.Confidence, edited.Source, edited.Timeout = time.Minute, 0.8, "istio", time.Hour
	loose := errorMetric()
	loose.Harm.MaxRatio, loose.Proof.MaxRatio, loose.DryRun = 50, 60, true
	other := latencyMetric()
	other.Kind, other.Harm.MaxRatio = policy.Counters, 9
	edited.Metrics = []policy.Metric{other, loose}

	want := begun
	want.Metrics = []policy.Metric{errorMetric(), latencyMetric()}
	want.Metrics[0].Harm.MaxRatio, want.Metrics[0].Proof.MaxRatio = 50, 60
	want.Timeout = time.Hour
	if diff := cmp.Diff(want, Continue(begun, edited)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if begun.Metrics[0].Harm.MaxRatio != 1.5 {
		t.Error("the analysis of the beginning changed")
	}

	bad := canaryIs(load{150, 3, 6})
	if v := judgeAt(bad, input(), 40); !v.Harm {
		t.Errorf("with the limits of the beginning: %+v", v)
	}
	in := input()
	in.Analysis = Continue(begun, edited)
	if v := judgeAt(bad, in, 40); v.Harm {
		t.Errorf("with new limits: %+v", v)
	}
}

// A few requests do not change the state of the rollout again and again.
func TestSparseTrafficChangesTheStateRarely(t *testing.T) {
	s := service{stable: steady().stable, canary: func(k int) load {
		if k%8 == 7 {
			return load{1, 0, 0}
		}
		return load{}
	}}
	var idle []int
	for n := range 2 * hour {
		if judgeAt(s, input(), n).Missing.Reason == NoTraffic {
			idle = append(idle, n)
		}
	}
	if want := []int{5, 6, 7}; !slices.Equal(idle, want) {
		t.Errorf("no traffic after the looks %v, want %v", idle, want)
	}
}

func TestServedShare(t *testing.T) {
	gateway := func(percent, requests float64) service {
		return service{
			canary: constant(load{requests * percent / 100, 0, 0}), stable: constant(load{requests * (100 - percent) / 100, 0, 0}),
		}
	}
	at50 := input()
	at50.Shares = []Share{{50, began}}
	for _, tc := range []struct {
		name    string
		service service
		input   Input
		looks   int
		percent float64
		off     bool
	}{
		{"as asked", gateway(10, 1500), input(), 40, 10, false},
		{"a quarter less", gateway(7.5, 2000), input(), 40, 7.5, false},
		{"half of it", gateway(5, 2000), input(), 40, 5, true},
		{"half of it, for four looks after the warm-up", gateway(5, 2000), input(), 6, 5, false},
		{"half of it, for five looks after the warm-up", gateway(5, 2000), input(), 7, 5, true},
		{"half of it, with few requests", gateway(5, 100), input(), 14, 5, false},
		{"half of it, with few requests for a longer time", gateway(5, 100), input(), 17, 5, true},
		{"half more", gateway(15, 2000), input(), 40, 15, true},
		{"slow canaries get less of fewest connections", gateway(25, 2000), at50, 40, 25, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := judgeAt(tc.service, tc.input, tc.looks)
			if math.Abs(v.Served.Percent()-tc.percent) > 1e-9 || v.Served.Off != tc.off {
				t.Errorf("served %v %%, off %v", v.Served.Percent(), v.Served.Off)
			}
		})
	}
}

func TestChanged(t *testing.T) {
	v := judgeAt(steady(), input(), 40)
	more := judgeAt(steady(), input(), 41)
	if Changed(v, more) {
		t.Errorf("counts alone changed the verdict:\n%s", cmp.Diff(v, more, cmpopts.EquateNaNs()))
	}
	for name, change := range map[string]func(*Verdict){
		"harm":    func(v *Verdict) { v.Harm = true },
		"proof":   func(v *Verdict) { v.ProvenAt = time.Time{} },
		"enough":  func(v *Verdict) { v.EnoughAt = time.Time{} },
		"missing": func(v *Verdict) { v.Missing.Reason = NoTraffic },
		"source":  func(v *Verdict) { v.Source = "istio" },
		"share":   func(v *Verdict) { v.Share.Percent = 50 },
		"off":     func(v *Verdict) { v.Served.Off = true },
	} {
		changed := more
		change(&changed)
		if !Changed(v, changed) {
			t.Errorf("%s is no change", name)
		}
	}
	more.Missing.Message = "other"
	if Changed(v, more) {
		t.Error("a message is a change")
	}
}

func TestTrialFor(t *testing.T) {
	in := input(errorMetric(), latencyMetric(), memoryMetric(), policy.Metric{Name: "own", Kind: policy.Counters, Total: "a", Bad: "b"})
	trial := trialFor(in)
	want := []metricsource.Metric{
		{Name: "errors", FromPreset: metricsource.Errors},
		{Name: "latency", FromPreset: metricsource.Buckets},
		{Name: "memory", Query: "max(used)"},
		{Name: "own", Counters: &metricsource.Counters{Total: []string{"a"}, Bad: []string{"b"}}},
	}
	if diff := cmp.Diff(want, trial.Metrics); diff != "" {
		t.Errorf("wrong metrics (-want +got):\n%s", diff)
	}
	if trial.History != time.Hour || trial.Interval != interval || !trial.Began.Equal(began) {
		t.Errorf("%+v", trial)
	}
	presets, err := metricsource.NewPresets()
	if err != nil {
		t.Fatal(err)
	}
	names := func(source string, r Rollout) string {
		in.Analysis.Source = source
		var names []string
		for _, p := range TrialFor(r, in, presets).Presets {
			names = append(names, p.Name)
		}
		return strings.Join(names, " ")
	}
	both := Rollout{Controllers: []string{"istio.io/gateway-controller"}, Runtime: "kserve-mlserver"}
	for _, tc := range []struct {
		source  string
		rollout Rollout
		want    string
	}{
		{"auto", both, "istio mlserver"},
		{"auto", Rollout{Knative: true, Runtime: "kserve-mlserver"}, "knative"},
		{"vllm", both, "vllm"},
		{"unknown", both, ""},
	} {
		if got := names(tc.source, tc.rollout); got != tc.want {
			t.Errorf("source %s: presets %q, want %q", tc.source, got, tc.want)
		}
	}
	if trial := trialFor(input(policy.Metric{Name: "own", Kind: policy.Counters})); trial.Presets != nil {
		t.Errorf("own counters need no preset: %v", trial.Presets)
	}
}

// drawService draws revisions whose rates change once.
func drawService(t *rapid.T) service {
	rate := func(label string) float64 {
		return rapid.SampledFrom([]float64{0, 0.001, 0.01, 0.05, 1}).Draw(t, label)
	}
	revision := func(label string) func(int) load {
		requests := func() float64 { return float64(rapid.SampledFrom([]int{0, 1, 20, 200}).Draw(t, label+" requests")) }
		one := func() load {
			n := requests()
			return load{n, math.Round(n * rate(label+" bad")), math.Round(n * rate(label+" slow"))}
		}
		return from(rapid.IntRange(-10, 40).Draw(t, label+" change"), one(), one())
	}
	return service{canary: revision("canary"), stable: revision("stable"), scrape: rapid.SampledFrom([]int{1, 1, 4}).Draw(t, "scrape")}
}

// The verdict depends only on what was read, not on the looks before and not on the order of the
// series. Harm, proof and enough requests stay what they were. While Prometheus is down, nothing is
// decided; when it is back, the verdict is as if it had never been down.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawService(t)
		in := input()
		if rapid.Bool().Draw(t, "a second share") {
			in.Shares = append(in.Shares, Share{50, at(rapid.IntRange(0, 20).Draw(t, "its time"))})
		}
		looks := rapid.IntRange(1, 50).Draw(t, "looks")
		outage := rapid.IntRange(0, looks-1).Draw(t, "begin of the outage")
		verdict := judgeAt(s, in, looks)

		seed := rapid.Uint64().Draw(t, "order of the series")
		shuffled := judgeAt(s, in, looks, func(l *metricsource.Look) {
			for _, r := range l.Readings {
				rand.New(rand.NewPCG(seed, 0)).Shuffle(len(r.Series), func(i, j int) { r.Series[i], r.Series[j] = r.Series[j], r.Series[i] })
			}
		})
		if diff := cmp.Diff(verdict, shuffled, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("another order of the series gives another verdict:\n%s", diff)
		}

		for range 5 {
			n := rapid.IntRange(0, looks).Draw(t, "an earlier look")
			earlier := judgeAt(s, in, n)
			if earlier.Harm && !verdict.Harm {
				t.Errorf("harm after %d looks was taken back", n)
			}
			if in.Shares[len(in.Shares)-1].Since.After(at(n)) || verdict.Missing.Reason == NoSeries {
				continue
			}
			if !earlier.ProvenAt.IsZero() && earlier.ProvenAt != verdict.ProvenAt || !earlier.EnoughAt.IsZero() && earlier.EnoughAt != verdict.EnoughAt {
				t.Errorf("after %d looks: proven %s, enough %s; later: %s, %s", n, earlier.ProvenAt, earlier.EnoughAt, verdict.ProvenAt, verdict.EnoughAt)
			}
		}

		before := judgeAt(s, in, outage)
		// The samples since then are in Prometheus, but were not read.
		during := judgeAt(s, in, outage, func(l *metricsource.Look) {
			l.At = at(looks + 1)
			for i := range l.Readings {
				fails(i, outage, down)(l)
			}
		})
		if during.Harm != before.Harm || !during.ProvenAt.IsZero() || !during.EnoughAt.IsZero() || during.Missing.Reason != Unavailable {
			t.Errorf("before the outage: %+v; in it: %+v", before, during)
		}
	})
}

// A proof that is read after the deadline of a share, because Prometheus was down, counts from when it
// was reached.
func TestProofOfAGapHasItsTime(t *testing.T) {
	want := judgeAt(steady(), input(), 6).ProvenAt
	if want != at(6) {
		t.Fatalf("proven at %s", want)
	}
	if got := judgeAt(steady(), input(), 2*hour).ProvenAt; got != want {
		t.Errorf("proven at %s, want %s", got, want)
	}
}

// The warm-up of an earlier share counts only if its time is unknown.
func TestWarmUpOfEarlierShares(t *testing.T) {
	slowAt := func(k int) load {
		if k == 100 || k == 101 {
			return load{150, 0, 150}
		}
		return load{150, 0, 6}
	}
	s := service{canary: slowAt, stable: steady().stable}
	in := input()
	in.Shares = []Share{{10, began}, {25, at(100)}, {50, at(200)}}
	if v := judgeAt(s, in, 210); v.Harm {
		t.Errorf("%+v", v.Metrics[1])
	}
	in.Shares = []Share{{50, at(200)}}
	if v := judgeAt(s, in, 210); v.Metrics[1].Evidence.Canary.Bad < 300 {
		t.Errorf("%+v", v.Metrics[1])
	}
}

func TestLeIsANumber(t *testing.T) {
	m := metric{reading: metricsource.Reading{Series: []metricsource.Series{
		{Labels: map[string]string{"le": "1"}}, {Labels: map[string]string{"le": "1.0"}}, {Labels: map[string]string{"le": "x"}}, {Labels: map[string]string{}},
	}}}
	if got := m.buckets().bounds(); len(got) != 1 || strconv.FormatFloat(got[0], 'f', 0, 64) != "1" {
		t.Errorf("bounds %v", got)
	}
}
