// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"time"

	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/policy"
)

// Verdict is what is known about a trial.
type Verdict struct {
	// Source is the name of the preset that is read. It is empty if none is, or none was found yet.
	Source string
	// Share is the canary's present share, to which ProvenAt, EnoughAt and Served belong. It is 100
	// after the promotion.
	Share Share
	// Harm reports whether the canary is worse than allowed, at any share. It needs no new samples.
	Harm bool
	// ProvenAt is when it was proven that the canary is not worse than allowed, and EnoughAt when it
	// had had enough requests. Both are ends of intervals, whenever these were read. They are zero
	// before, and while Missing has any reason other than NoTraffic.
	ProvenAt, EnoughAt time.Time
	// Missing says what keeps the evidence from growing.
	Missing Missing
	Served  Served
	Metrics []Metric
}

// Missing says what is missing, and what to do. Its reason is empty if nothing is.
type Missing struct {
	Reason  Reason
	Message string
}

// Reason says why the evidence does not grow.
type Reason string

// The reasons.
const (
	// NoTraffic: the canary gets no requests.
	NoTraffic Reason = "NoTraffic"
	// NoSeries: Prometheus lacks series that are necessary.
	NoSeries Reason = "NoSeries"
	// Unavailable: Prometheus does not respond completely.
	Unavailable Reason = "Unavailable"
	// Invalid: a response cannot be used before somebody corrects the policy or the configuration.
	Invalid Reason = "Invalid"
)

// Served is what both revisions served at the present share since its warm-up, before the promotion.
type Served struct {
	Canary, Stable float64
	// Off reports that the canary's share differed lastingly by more than a third from the one that
	// was asked for.
	Off bool
}

// Percent returns the canary's share of the requests. It is NaN without requests.
func (s Served) Percent() float64 { return 100 * s.Canary / (s.Canary + s.Stable) }

// Metric is what is known about one metric.
type Metric struct {
	policy.Metric
	// Evidence is that of a metric that counts. Of a query, it only has Name, Harmful and DryRun.
	Evidence analysis.Evidence
	// SlowerThan is the bucket bound of a latency, or 0 while it is unknown.
	SlowerThan time.Duration
	// Baking reports that the canary is compared with what the stable served before the promotion.
	Baking bool
	// Value is the last result of a query.
	Value float64
	// Missing says what is missing of this metric.
	Missing Missing
	// LeftOut reports that the metric is a default one and is not analysed, because it is missing.
	LeftOut bool
}

// Changed reports whether a reconciliation must know the new verdict. Counts alone change nothing.
func Changed(old, current Verdict) bool {
	return old.Source != current.Source || old.Harm != current.Harm || old.Missing.Reason != current.Missing.Reason ||
		old.Served.Off != current.Served.Off ||
		old.Share.Percent != current.Share.Percent || !old.Share.Since.Equal(current.Share.Since) ||
		!old.ProvenAt.Equal(current.ProvenAt) || !old.EnoughAt.Equal(current.EnoughAt)
}
