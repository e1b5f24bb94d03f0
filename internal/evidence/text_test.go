// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"
	"testing"
	"time"

	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/policy"
)

// counts returns evidence of these counts.
func counts(bad, of, stableBad, stableOf float64) analysis.Evidence {
	return analysis.Evidence{
		Canary: analysis.Counts{Requests: of, Bad: bad}, Stable: analysis.Counts{Requests: stableOf, Bad: stableBad},
		Ratio: bad / of / (stableBad / stableOf), Upper: math.Inf(1), HarmNeeded: 20, ProofNeeded: 20,
	}
}

func harmful(e analysis.Evidence, lower float64) analysis.Evidence {
	e.Harmful, e.Harm, e.Lower = true, 25, lower
	return e
}

func proven(e analysis.Evidence, upper float64) analysis.Evidence {
	e.Proven, e.Proof, e.Upper = true, 25, upper
	return e
}

func TestSentences(t *testing.T) {
	both := errorMetric()
	both.Harm.Max = new(0.05)
	ceiling := counts(70, 1259, 600, 11302)
	ceiling.Harmful, ceiling.Ceiling = true, 25
	differed := policy.Metric{Name: "differed", Kind: policy.Counters, Harm: policy.HarmLimits{Max: new(0.025)}}
	fine := errorMetric()
	fine.Harm.MaxRatio = 1.25

	for _, tc := range []struct {
		metric Metric
		want   string
	}{
		{
			Metric{Metric: errorMetric(), Evidence: harmful(counts(14, 1259, 9, 11302), 4.19)},
			"errors: 14 of 1,259 (1.1 %) against 9 of 11,302 (0.08 %): 14 times the stable's rate, at least 4.1 times; allowed 1.5 times",
		},
		{
			Metric{Metric: errorMetric(), Evidence: harmful(counts(300, 300, 0, 1_234_567), 120.7)},
			"errors: 300 of 300 (100 %) against 0 of 1,234,567 (0 %): the stable had none, at least 120 times; allowed 1.5 times or 0.1 %",
		},
		{
			Metric{Metric: errorMetric(), Evidence: harmful(counts(299, 300, 1, 1000), 1.4999999999)},
			"errors: 299 of 300 (99.7 %) against 1 of 1,000 (0.1 %): 1,000 times the stable's rate, at least 1.5 times; allowed 1.5 times",
		},
		{
			Metric{Metric: latencyMetric(), SlowerThan: 250 * time.Millisecond, Evidence: harmful(counts(150, 1259, 560, 11302), 1.61)},
			"latency: 150 of 1,259 (12 %) slower than 250ms against 560 of 11,302 (5 %): 2.4 times the stable's rate, at least 1.6 times; allowed 1.5 times",
		},
		{
			Metric{Metric: both, Evidence: ceiling},
			"errors: 70 of 1,259 (5.6 %); allowed 5 %",
		},
		{
			Metric{Metric: differed, Evidence: counts(7, 1000, 0, 0)},
			"differed: 7 of 1,000 (0.7 %); allowed 2.5 %",
		},
		{
			Metric{Metric: errorMetric(), Evidence: proven(counts(1, 12_590, 9, 113_020), 2.71)},
			"errors: 1 of 12,590 (0.0079 %) against 9 of 113,020 (0.008 %): the stable's rate, at most 2.8 times; allowed 3 times or 1 %",
		},
		{
			Metric{Metric: errorMetric(), Evidence: proven(counts(0, 600, 0, 5400), math.Inf(1))},
			"errors: 0 of 600 (0 %) against 0 of 5,400 (0 %); allowed 3 times or 1 %",
		},
		{
			Metric{Metric: fine, Evidence: counts(1, 100, 10, 1000)},
			"errors: 1 of 100 (1 %) against 10 of 1,000 (1 %): the stable's rate; allowed 1.25 times",
		},
		{
			Metric{Metric: errorMetric(), Evidence: counts(0, 0, 0, 0)},
			"errors: 0 of 0 against 0 of 0; allowed 1.5 times or 0.1 %",
		},
		{
			Metric{Metric: memoryMetric(), Value: 71_200.5, Evidence: analysis.Evidence{Harmful: true}},
			"memory: above 70,000 at three looks in a row, the last value is 71,200.5",
		},
		{Metric{Metric: memoryMetric(), Value: 71_200}, "memory: 71,200 is above 70,000"},
		{Metric{Metric: memoryMetric(), Value: -1}, "memory: -1 is not above 70,000"},
		{
			Metric{Metric: errorMetric(), Missing: Missing{NoSeries, "errors: Prometheus has no series for x"}},
			"errors: Prometheus has no series for x",
		},
	} {
		if got := tc.metric.Sentence(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

func TestSentenceOfVerdict(t *testing.T) {
	good := Metric{Metric: errorMetric(), Evidence: proven(counts(1, 600, 9, 5400), 2.5)}
	slow := Metric{Metric: latencyMetric(), SlowerThan: time.Second, Evidence: proven(counts(30, 600, 270, 5400), 1.9)}
	bad := Metric{Metric: latencyMetric(), SlowerThan: time.Second, Evidence: harmful(counts(60, 600, 270, 5400), 1.6)}
	dry := bad
	dry.DryRun = true
	const (
		goodText = "errors: 1 of 600 (0.17 %) against 9 of 5,400 (0.17 %): the stable's rate, at most 2.5 times; allowed 3 times or 1 %"
		slowText = "latency: 30 of 600 (5 %) slower than 1s against 270 of 5,400 (5 %): the stable's rate, at most 1.9 times; allowed 3 times"
		badText  = "latency: 60 of 600 (10 %) slower than 1s against 270 of 5,400 (5 %): 2 times the stable's rate, at least 1.6 times; allowed 1.5 times"
	)
	for _, tc := range []struct {
		verdict Verdict
		want    string
	}{
		{Verdict{}, ""},
		{Verdict{Metrics: []Metric{good, slow}}, ""},
		{Verdict{Metrics: []Metric{good, slow}, ProvenAt: began}, goodText + "; " + slowText},
		{Verdict{Metrics: []Metric{good, bad}, Harm: true}, badText},
		{Verdict{Metrics: []Metric{dry, good}, ProvenAt: began}, goodText},
	} {
		if got := tc.verdict.Sentence(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}
