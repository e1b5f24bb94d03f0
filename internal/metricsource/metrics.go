// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the operator's metrics about its queries.
type Metrics struct {
	queries *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "serinus_analysis_queries_total",
			Help: "Queries to Prometheus for the analysis of canaries, by result.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "serinus_analysis_query_seconds",
			Help:    "Duration of the queries to Prometheus for the analysis of canaries.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}),
	}
	for _, status := range statuses {
		m.queries.WithLabelValues(string(status))
	}
	if err := errors.Join(registerer.Register(m.queries), registerer.Register(m.seconds)); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) observe(status Status, duration time.Duration) {
	m.queries.WithLabelValues(string(status)).Inc()
	m.seconds.Observe(duration.Seconds())
}
