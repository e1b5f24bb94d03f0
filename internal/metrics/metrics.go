// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics defines the operator's Prometheus metrics.
//
// Every label has a small, fixed set of values. No label is the name of an object: metrics describe
// all InferenceServices together, events and status describe a single one.
package metrics

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Direction is the direction of a traffic shift.
type Direction string

const (
	// Up means that the target gets more traffic.
	Up Direction = "up"
	// Down means that the target, or a superseded target, gets less traffic.
	Down Direction = "down"
)

// ShiftReason is the reason for a traffic shift.
type ShiftReason string

const (
	// Canary means that the spec asks for this percent.
	Canary ShiftReason = "Canary"
	// Promotion means that the target becomes the stable.
	Promotion ShiftReason = "Promotion"
	// Rollback means that a promotion is undone.
	Rollback ShiftReason = "Rollback"
	// Superseded means that another target replaces a canary.
	Superseded ShiftReason = "Superseded"
	// Readiness means that the target lost its last ready pod, or has a ready pod again.
	Readiness ShiftReason = "Readiness"
)

// TrialOutcome is how a trial ended.
type TrialOutcome string

const (
	// TrialPromoted means that the target was promoted, and that its bake did not undo that.
	TrialPromoted TrialOutcome = "Promoted"
	// TrialHarmful means that the target was worse than the policy allows.
	TrialHarmful TrialOutcome = "Harm"
	// TrialAborted means that a person has rejected the target.
	TrialAborted TrialOutcome = "Aborted"
	// TrialOverdue means that the target missed a deadline of the policy.
	TrialOverdue TrialOutcome = "DeadlineExceeded"
	// TrialLeft means that something else was asked for: another target or a percent.
	TrialLeft TrialOutcome = "Left"
)

// otherFailure is the label of failures with an unknown reason.
const otherFailure = "Other"

var phases = []v1beta1.Phase{
	v1beta1.PhasePending, v1beta1.PhaseProgressing, v1beta1.PhaseCanary, v1beta1.PhaseStable, v1beta1.PhaseRolledBack, v1beta1.PhasePreview,
	v1beta1.PhaseBlocked, v1beta1.PhaseStopped, v1beta1.PhaseAwaitingApproval, v1beta1.PhaseBaking, v1beta1.PhaseRejected,
}

var waits = []v1beta1.TrialWait{
	"Hold", "Proof", "Decision", "Approval", "Capacity", "Queue", "Traffic", "Metrics", "Series", "Resume", "Policy", "Stable", "Bake",
}

// Options configures [New].
type Options struct {
	// Rollouts returns the number of InferenceServices in each phase. Each scrape calls it,
	// possibly concurrently.
	Rollouts func() map[v1beta1.Phase]int
	// Waiting returns the number of trials by what they wait for. Each scrape calls it, too.
	Waiting        func() map[v1beta1.TrialWait]int
	FailureReasons []string
}

// Metrics records events of rollouts.
type Metrics struct {
	shifts         *prometheus.CounterVec
	failures       *prometheus.CounterVec
	trials         *prometheus.CounterVec
	failureReasons []string
	specToTraffic  prometheus.Histogram
}

// New registers the metrics. It creates all series with known labels at 0, so that increase()
// includes the first event.
func New(registerer prometheus.Registerer, options Options) (*Metrics, error) {
	m := &Metrics{
		shifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_traffic_shifts_total",
			Help: "Traffic shifts, by direction (up: the target gets more traffic, down: less) and reason.",
		}, []string{"direction", "reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_revision_failures_total",
			Help: "Failures of revisions that are the target or serve traffic, by reason. Each counts once until the revision can serve again.",
		}, []string{"reason"}),
		trials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_rollout_trials_total",
			Help: "Trials by a CanaryPolicy that have ended, by outcome. A bake is a part of its trial.",
		}, []string{"outcome"}),
		failureReasons: options.FailureReasons,
		specToTraffic: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "serinus_spec_to_traffic_seconds",
			Help:    "Time from the creation of a revision's ControllerRevision to the update of the route that first gives it traffic. Revisions that start at 0 percent, or return, are not measured.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		}),
	}
	for _, direction := range []Direction{Up, Down} {
		for _, reason := range []ShiftReason{Canary, Promotion, Rollback, Superseded, Readiness} {
			m.shifts.WithLabelValues(string(direction), string(reason))
		}
	}
	for _, reason := range append([]string{otherFailure}, options.FailureReasons...) {
		m.failures.WithLabelValues(reason)
	}
	for _, outcome := range []TrialOutcome{TrialPromoted, TrialHarmful, TrialAborted, TrialOverdue, TrialLeft} {
		m.trials.WithLabelValues(string(outcome))
	}

	rollouts := counted[v1beta1.Phase]{
		prometheus.NewDesc("serinus_rollouts", "InferenceServices, by the phase of their rollout.", []string{"phase"}, nil), phases, options.Rollouts,
	}
	waiting := counted[v1beta1.TrialWait]{
		prometheus.NewDesc("serinus_rollout_waiting", "Trials by a CanaryPolicy, by what they wait for.", []string{"for"}, nil), waits, options.Waiting,
	}
	var errs []error
	for _, collector := range []prometheus.Collector{rollouts, waiting, m.shifts, m.failures, m.trials, m.specToTraffic} {
		errs = append(errs, registerer.Register(collector))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

// TrafficShifted counts a traffic shift.
func (m *Metrics) TrafficShifted(direction Direction, reason ShiftReason) {
	m.shifts.WithLabelValues(string(direction), string(reason)).Inc()
}

// RevisionFailed counts a failure of a revision.
func (m *Metrics) RevisionFailed(reason string) {
	if !slices.Contains(m.failureReasons, reason) {
		reason = otherFailure
	}
	m.failures.WithLabelValues(reason).Inc()
}

// TrialEnded counts a trial that has ended.
func (m *Metrics) TrialEnded(outcome TrialOutcome) { m.trials.WithLabelValues(string(outcome)).Inc() }

// FirstTraffic records the time from the creation of a revision's ControllerRevision to the update
// of the route that first gives it traffic.
func (m *Metrics) FirstTraffic(sinceCreation time.Duration) {
	m.specToTraffic.Observe(sinceCreation.Seconds())
}

// counted counts InferenceServices on each scrape, so that the metric cannot become stale.
type counted[L ~string] struct {
	description *prometheus.Desc
	labels      []L
	count       func() map[L]int
}

// Describe implements prometheus.Collector.
func (c counted[L]) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.description }

// Collect implements prometheus.Collector. It also reports labels without InferenceServices.
func (c counted[L]) Collect(metrics chan<- prometheus.Metric) {
	counts := c.count()
	for _, label := range c.labels {
		metrics <- prometheus.MustNewConstMetric(c.description, prometheus.GaugeValue, float64(counts[label]), string(label))
	}
}
