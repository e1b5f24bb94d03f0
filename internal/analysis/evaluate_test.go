// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var (
	errorMetric = Metric{
		Name: "errors", Phi: 1,
		Harm: HarmLimits{MaxRatio: 1.5, Floor: 0.001}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.01},
	}
	latencyMetric = Metric{
		Name: "latency", Phi: 1, SkipWarmUp: true,
		Harm: HarmLimits{MaxRatio: 1.5, Floor: 0.02}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.1},
	}
	good = Interval{Counts{150, 0}, Counts{1350, 1}}
	dead = Interval{Counts{150, 150}, Counts{1350, 1}}
)

// settings have confidence 95 %, a warm-up of two intervals and at least 100 requests.
func settings(metrics ...Metric) Settings {
	return Settings{Confidence: 0.95, MinRequests: 100, WarmUp: 2 * grid.Interval, Metrics: metrics}
}

// trial is at its first share since its beginning.
func trial(counts ...[]Interval) Trial {
	return Trial{Grid: grid, Shares: []int64{grid.Began}, Counts: counts}
}

func repeat(i Interval, n int) []Interval { return slices.Repeat([]Interval{i}, n) }

func TestVerdicts(t *testing.T) {
	type verdict struct{ harm, proven, enough bool }
	ceiling := Metric{Name: "disagreement", Phi: 1, Harm: HarmLimits{Max: 0.02}}
	both := errorMetric
	both.Harm.Max = 0.02
	dryRun := errorMetric
	dryRun.DryRun = true
	bursts := errorMetric
	bursts.Phi = 30
	noDifference := Interval{Counts{150, 75}, Counts{1350, 675}}

	atSecondShare := trial(slices.Concat(repeat(good, 100), repeat(Interval{}, 100)))
	atSecondShare.Shares = append(atSecondShare.Shares, grid.Began+100*grid.Interval)
	bake := func(previous Counts, counts ...Interval) Trial {
		t := trial(slices.Concat(repeat(good, 10), counts))
		t.Promoted, t.Previous = grid.Began+10*grid.Interval, []Counts{previous}
		return t
	}
	alone := func(bad float64, n int) []Interval { return repeat(Interval{Canary: Counts{1500, bad}}, n) }

	for _, tc := range []struct {
		name     string
		settings Settings
		trial    Trial
		want     verdict
	}{
		{"nothing happened", settings(errorMetric), trial(nil), verdict{}},
		{"good", settings(errorMetric), trial(repeat(good, 40)), verdict{proven: true, enough: true}},
		{"time proves nothing", settings(errorMetric), trial(repeat(Interval{}, 10_000)), verdict{}},
		{"the stable's traffic proves nothing", settings(errorMetric), trial(repeat(Interval{Stable: good.Stable}, 10_000)), verdict{}},
		{"all bad for one interval", settings(errorMetric), trial(repeat(dead, 1)), verdict{enough: true}},
		{"all bad for two intervals", settings(errorMetric), trial(repeat(dead, 2)), verdict{harm: true, enough: true}},
		{"harm stays proven", settings(errorMetric), trial(slices.Concat(repeat(dead, 2), repeat(good, 1000))), verdict{harm: true, proven: true, enough: true}},
		{"all bad of both", settings(errorMetric), trial(repeat(Interval{Counts{150, 150}, Counts{1350, 1350}}, 1000)), verdict{proven: true, enough: true}},
		{"half bad of both", settings(errorMetric), trial(repeat(noDifference, 1000)), verdict{proven: true, enough: true}},
		{"a metric of two without counts", settings(errorMetric, latencyMetric), trial(repeat(good, 40), nil), verdict{enough: true}},
		{"two metrics, one is harmful", settings(errorMetric, latencyMetric), trial(repeat(good, 40), repeat(dead, 40)), verdict{harm: true, enough: true}},
		{"latency in the warm-up", settings(errorMetric, latencyMetric), trial(repeat(good, 40), slices.Concat(repeat(dead, 2), repeat(good, 38))), verdict{proven: true, enough: true}},
		{"proof only in the warm-up", settings(errorMetric), trial(slices.Concat(repeat(Interval{Counts{1e5, 0}, Counts{1e6, 1000}}, 2), repeat(Interval{}, 50))), verdict{enough: true}},
		{"another share begins without proof", settings(errorMetric), atSecondShare, verdict{}},
		{"a dry run", settings(dryRun), trial(repeat(dead, 40)), verdict{enough: true}},
		{"a dry run beside a good metric", settings(errorMetric, dryRun), trial(repeat(good, 40), repeat(dead, 40)), verdict{proven: true, enough: true}},
		{"above a ceiling", settings(ceiling), trial(repeat(Interval{Canary: Counts{100, 20}}, 40)), verdict{harm: true, enough: true}},
		{"below a ceiling", settings(ceiling), trial(repeat(Interval{Canary: Counts{100, 1}}, 40)), verdict{enough: true}},
		{"a ceiling in an outage of both", settings(both), trial(repeat(noDifference, 40)), verdict{harm: true, proven: true, enough: true}},
		{"all bad, with a ceiling", settings(both), trial(repeat(dead, 3)), verdict{harm: true, enough: true}},
		{"three intervals all bad, with strong bursts", settings(bursts), trial(repeat(dead, 3)), verdict{harm: true, enough: true}},
		{"bake, good", settings(errorMetric), bake(Counts{9999, 9}, alone(1, 100)...), verdict{enough: true}},
		{"bake, worse than the previous", settings(errorMetric), bake(Counts{9999, 9}, alone(15, 100)...), verdict{harm: true, enough: true}},
		{"bake, as bad as the previous", settings(errorMetric), bake(Counts{9999, 99}, alone(15, 100)...), verdict{enough: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for len(tc.trial.Previous) < len(tc.settings.Metrics) {
				tc.trial.Previous = append(tc.trial.Previous, Counts{})
			}
			v := Evaluate(tc.settings, tc.trial)
			got := verdict{v.Harm, v.Proven, v.Enough}
			if tc.trial.Promoted > 0 {
				got.proven = false
			}
			if got != tc.want {
				t.Errorf("%+v, want %+v; %+v", got, tc.want, v.Metrics)
			}
		})
	}
}

// From 50 requests of the canary in an interval on, at shares up to 50 %, two looks reject a canary
// that always fails, also with two metrics and a bake. With a ceiling it takes three.
func TestThreeLooksRejectWhenEverythingFails(t *testing.T) {
	for _, share := range []float64{0.01, 0.1, 0.5} {
		for _, confidence := range []float64{0.8, 0.95, 0.999} {
			for _, limit := range []float64{0, 0.05} {
				metric := errorMetric
				metric.Harm.Max = limit
				s := settings(metric, latencyMetric)
				s.Bake, s.Confidence = true, confidence
				i := Interval{Counts{50, 50}, Counts{50/share - 50, 0}}
				if v := Evaluate(s, trial(repeat(i, 3), repeat(Interval{}, 3))); !v.Harm {
					t.Errorf("share %v, confidence %v, ceiling %v: not rejected", share, confidence, limit)
				}
			}
		}
	}
}

func TestEvidence(t *testing.T) {
	s := settings(errorMetric)
	i := Interval{Counts{150, 2}, Counts{1350, 1}}
	e := Evaluate(s, trial(repeat(i, 20))).Metrics[0]
	if !e.Harmful || e.Canary != (Counts{3000, 40}) || e.Stable != (Counts{27000, 20}) || !near(e.Ratio, 18) {
		t.Errorf("%+v", e)
	}
	if !near(e.HarmNeeded, 20) || e.Harm < e.HarmNeeded || e.Lower < 1.5 || e.Lower > e.Ratio {
		t.Errorf("%+v", e)
	}

	e = Evaluate(s, trial(repeat(good, 100))).Metrics[0]
	if e.Harmful || e.Lower != 0 || !e.Proven || e.Upper <= e.Ratio || math.IsInf(e.Upper, 1) {
		t.Errorf("%+v", e)
	}

	s = settings(errorMetric, latencyMetric)
	s.Bake = true
	if e := Evaluate(s, trial(nil, nil)).Metrics[0]; !near(e.HarmNeeded, 80) || !near(e.ProofNeeded, 20) {
		t.Errorf("%+v", e)
	}
}

// The bounds are those of the decision: a canary is rejected by its ratio alone exactly if the lower
// bound is above what is allowed, and proven if the upper bound is below.
func TestConfidenceBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		intervals := rapid.SliceOfN(rapid.Custom(drawInterval), 1, 10).Draw(t, "intervals")
		ratio := rapid.Float64Range(0.1, 5).Draw(t, "ratio")
		s := settings(Metric{Name: "errors", Phi: 1, Harm: HarmLimits{MaxRatio: ratio}, Proof: ProofLimits{MaxRatio: ratio}})
		e := Evaluate(s, trial(intervals)).Metrics[0]
		if e.Harmful != (e.Lower > 0) || e.Harmful && e.Lower < ratio*(1-1e-6) {
			t.Errorf("ratio %v: harm %v, lower bound %v", ratio, e.Harmful, e.Lower)
		}
		if e.Proven != !math.IsInf(e.Upper, 1) || e.Proven && e.Upper > ratio*(1+1e-6) {
			t.Errorf("ratio %v: proven %v, upper bound %v", ratio, e.Proven, e.Upper)
		}
	})
}

// Replaying gives the same verdict, and leaves the counts alone. Once harm is proven, more intervals
// do not change that.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SliceOfN(rapid.Custom(drawInterval), 10, 10)
		s := settings(errorMetric, latencyMetric)
		s.Metrics[0].Phi = rapid.Float64Range(1, 30).Draw(t, "phi")
		s.Bake = rapid.Bool().Draw(t, "bake")
		full := trial(draw.Draw(t, "errors"), draw.Draw(t, "latency"))
		if rapid.Bool().Draw(t, "promoted") {
			full.Promoted = grid.Began + 5*grid.Interval
			full.Previous = []Counts{{1000, 1}, {1000, 50}}
		}
		before := [][]Interval{slices.Clone(full.Counts[0]), slices.Clone(full.Counts[1])}
		verdict := Evaluate(s, full)
		if again := Evaluate(s, full); !sameVerdict(verdict, again) {
			t.Errorf("%+v and %+v", verdict, again)
		}
		if !reflect.DeepEqual(before, full.Counts) {
			t.Error("the counts changed")
		}
		for n := range 10 {
			part := full
			part.Counts = [][]Interval{full.Counts[0][:n], full.Counts[1][:n]}
			earlier := Evaluate(s, part)
			if earlier.Harm && !verdict.Harm {
				t.Errorf("harm after %d intervals was taken back", n)
			}
			if earlier.Proven != (verdict.Proven && n >= verdict.ProvenAfter) || earlier.Enough != (verdict.Enough && n >= verdict.EnoughAfter) {
				t.Errorf("after %d intervals: proven %v, enough %v; later: after %d and %d", n, earlier.Proven, earlier.Enough, verdict.ProvenAfter, verdict.EnoughAfter)
			}
		}
	})
}

// sameVerdict compares numbers that may be NaN.
func sameVerdict(a, b Verdict) bool {
	for i := range a.Metrics {
		if math.IsNaN(a.Metrics[i].Ratio) && math.IsNaN(b.Metrics[i].Ratio) {
			a.Metrics[i].Ratio, b.Metrics[i].Ratio = 0, 0
		}
	}
	return reflect.DeepEqual(a, b)
}
