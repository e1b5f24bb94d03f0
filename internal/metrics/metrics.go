// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics is what the operator tells Prometheus about rollouts.
//
// Every label has a small, fixed set of values. None of them is the name of an
// object: events and status tell about one InferenceService, metrics about all
// of them.
package metrics

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Direction is where the traffic of a target went.
type Direction string

const (
	// Up is a target getting more traffic than before.
	Up Direction = "up"
	// Down is a target, or a superseded one, getting less.
	Down Direction = "down"
)

// ShiftReason is why traffic moved.
type ShiftReason string

const (
	// Canary is a percent that was asked for.
	Canary ShiftReason = "Canary"
	// Promotion is the target becoming the stable.
	Promotion ShiftReason = "Promotion"
	// Rollback is a promotion undone.
	Rollback ShiftReason = "Rollback"
	// Superseded is a canary giving way to another target.
	Superseded ShiftReason = "Superseded"
	// Readiness is a target losing its last ready pod, or having one again.
	Readiness ShiftReason = "Readiness"
)

// OtherFailure counts the failures whose reason is not a known one.
const OtherFailure = "Other"

// phases are the phases that are counted.
var phases = []v1beta1.Phase{
	v1beta1.PhasePending, v1beta1.PhaseProgressing, v1beta1.PhaseCanary, v1beta1.PhaseStable, v1beta1.PhaseRolledBack, v1beta1.PhasePreview,
	v1beta1.PhaseBlocked, v1beta1.PhaseStopped,
}

// Options are what the metrics need to know.
type Options struct {
	// Rollouts counts InferenceServices by phase. It is called on each scrape,
	// from any goroutine.
	Rollouts func() map[v1beta1.Phase]int
	// FailureReasons are the reasons for which a revision can fail.
	FailureReasons []string
}

// Metrics records what happens to rollouts.
type Metrics struct {
	shifts         *prometheus.CounterVec
	failures       *prometheus.CounterVec
	failureReasons []string
	specToTraffic  prometheus.Histogram
}

// New registers the metrics. Series whose labels are known beforehand begin at
// 0, so that the first event is seen as an increase.
func New(registerer prometheus.Registerer, options Options) (*Metrics, error) {
	m := &Metrics{
		shifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_traffic_shifts_total",
			Help: "Shifts of traffic, by whether the target got more or less and by why.",
		}, []string{"direction", "reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_revision_failures_total",
			Help: "Failures of revisions that are asked for or serve, by why. Each counts once, until the revision can serve again.",
		}, []string{"reason"}),
		failureReasons: options.FailureReasons,
		specToTraffic: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "serinus_spec_to_traffic_seconds",
			Help:    "Time from the creation of a revision's record to the write of the route that first gives it traffic. Not measured: revisions that are first held at 0 percent, or brought back.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		}),
	}
	for _, direction := range []Direction{Up, Down} {
		for _, reason := range []ShiftReason{Canary, Promotion, Rollback, Superseded, Readiness} {
			m.shifts.WithLabelValues(string(direction), string(reason))
		}
	}
	for _, reason := range append([]string{OtherFailure}, options.FailureReasons...) {
		m.failures.WithLabelValues(reason)
	}

	var errs []error
	for _, collector := range []prometheus.Collector{newRollouts(options.Rollouts), m.shifts, m.failures, m.specToTraffic} {
		errs = append(errs, registerer.Register(collector))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

// TrafficShifted counts one shift.
func (m *Metrics) TrafficShifted(direction Direction, reason ShiftReason) {
	m.shifts.WithLabelValues(string(direction), string(reason)).Inc()
}

// RevisionFailed counts one failure of one revision.
func (m *Metrics) RevisionFailed(reason string) {
	if !slices.Contains(m.failureReasons, reason) {
		reason = OtherFailure
	}
	m.failures.WithLabelValues(reason).Inc()
}

// FirstTraffic records how long it took from the creation of a revision's record
// to the write of the route that first gives it traffic.
func (m *Metrics) FirstTraffic(sinceCreation time.Duration) {
	m.specToTraffic.Observe(sinceCreation.Seconds())
}

// rollouts asks for the number of rollouts when it is scraped, so that it can
// never differ from what there is.
type rollouts struct {
	description *prometheus.Desc
	count       func() map[v1beta1.Phase]int
}

func newRollouts(count func() map[v1beta1.Phase]int) *rollouts {
	return &rollouts{
		description: prometheus.NewDesc("serinus_rollouts", "InferenceServices, by the phase of their rollout.", []string{"phase"}, nil),
		count:       count,
	}
}

// Describe implements prometheus.Collector.
func (r *rollouts) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- r.description
}

// Collect implements prometheus.Collector. A phase that nothing is in counts 0.
func (r *rollouts) Collect(metrics chan<- prometheus.Metric) {
	counts := r.count()
	for _, phase := range phases {
		metrics <- prometheus.MustNewConstMetric(r.description, prometheus.GaugeValue, float64(counts[phase]), string(phase))
	}
}
