// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"
	"time"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
)

// history is the time before a trial from which phi and the bucket bounds are taken. After the
// promotion, it is also how much of the previous revision's traffic counts.
const history = time.Hour

// Input is what a verdict depends on besides the samples.
type Input struct {
	// Analysis is that of the trial, see [Continue].
	Analysis policy.Analysis
	// Bake reports that the policy had a bake when the trial began. The bake gets half of the
	// permitted probability of a false rejection, so this must not change during a trial.
	Bake bool
	// Shares are the shares that the canary has got, in order. The last one is the present share, or
	// the last one before the promotion. Earlier ones only matter for the latency, which ignores the
	// warm-up at each share: without them, the requests in their warm-up count.
	Shares []Share
	// Promoted is the time of the promotion, or zero.
	Promoted time.Time
}

// Share is a share of the traffic, and since when the canary has had it.
type Share struct {
	Percent int
	Since   time.Time
}

// Rollout says where the requests of a trial can be counted.
type Rollout struct {
	// ID is the trial, such as 2.1.
	ID string
	metricsource.Revisions
	// Began is when the canary got its first share.
	Began time.Time
	// Knative is the mode, Controllers are the controllerNames of the gateways, and Runtime is the
	// name of the serving runtime. The source auto depends on them.
	Knative     bool
	Controllers []string
	Runtime     string
}

// Continue returns the analysis of a trial after its policy was edited. New limits, and what a share
// waits for, count at once, also for what was served before. The source, the interval, the confidence
// and the metrics remain those with which the trial began, because the permitted probability of a
// false rejection holds for one sequence of bets. The caller must keep them for as long as the trial
// lasts.
func Continue(begun, edited policy.Analysis) policy.Analysis {
	current := edited
	current.Source, current.Interval, current.Confidence = begun.Source, begun.Interval, begun.Confidence
	current.DefaultMetrics, current.Metrics = begun.DefaultMetrics, slices.Clone(begun.Metrics)
	for i := range current.Metrics {
		m := &current.Metrics[i]
		for _, e := range edited.Metrics {
			if e.Name == m.Name && e.Kind == m.Kind {
				m.Harm, m.Proof = e.Harm, e.Proof
			}
		}
	}
	return current
}

// TrialFor returns what to read for a trial.
func TrialFor(r Rollout, input Input, presets metricsource.Presets) metricsource.Trial {
	trial := metricsource.Trial{
		ID: r.ID, Revisions: r.Revisions, Began: r.Began, Interval: input.Analysis.Interval, History: history, Input: input,
	}
	for _, m := range measured(input.Analysis) {
		read := metricsource.Metric{Name: m.Name}
		switch m.Kind {
		case policy.Counters:
			read.Counters = &metricsource.Counters{Total: []string{m.Total}, Bad: []string{m.Bad}}
		case policy.Query:
			read.Query = m.Query
		case policy.Latency:
			// All buckets, because the bound depends on what the stable served before.
			read.FromPreset = metricsource.Buckets
		default:
			read.FromPreset = metricsource.Errors
		}
		trial.Metrics = append(trial.Metrics, read)
	}
	if slices.ContainsFunc(trial.Metrics, readsPreset) {
		trial.Presets = r.presets(input.Analysis.Source, presets)
	}
	return trial
}

func readsPreset(m metricsource.Metric) bool { return m.FromPreset != "" }

func (r Rollout) presets(source string, presets metricsource.Presets) []metricsource.Preset {
	if source == canaryv1alpha1.SourceAuto {
		return presets.Auto(r.Knative, r.Controllers, r.Runtime)
	}
	if preset, ok := presets[source]; ok {
		return []metricsource.Preset{preset}
	}
	return nil
}

// measured returns the metrics to read. If none of them counts requests, the errors are also read as
// a dry run, because the number of requests is needed.
func measured(a policy.Analysis) []policy.Metric {
	for _, m := range a.Metrics {
		if m.Kind != policy.Query {
			return a.Metrics
		}
	}
	return append(slices.Clone(a.Metrics), policy.Metric{Name: requestsOnly, Kind: policy.Errors, DryRun: true})
}

// requestsOnly names the metric that only counts requests. It is no valid name in a policy.
const requestsOnly = ""
