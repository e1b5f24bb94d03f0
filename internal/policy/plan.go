// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	"github.com/serinus-io/serinus/internal/rollout"
)

// Plan is a valid policy with all defaults.
type Plan struct {
	// Steps are in ascending order of their percent.
	Steps []rollout.Step
	// ApprovePromotion reports that the promotion needs an approval.
	ApprovePromotion bool
	// Analysis is nil if nothing is measured.
	Analysis *Analysis
	Bake     time.Duration
	// KeepRejected is how long the pods of a rejected canary stay.
	KeepRejected time.Duration
	// QueueDeadline is how long pods may wait for a node or for quota. 0 means without limit.
	QueueDeadline time.Duration
	// LoadDeadline is how long a scheduled pod may take to become ready. 0 means the operator's
	// progress deadline.
	LoadDeadline time.Duration
}

// Analysis says what is measured.
type Analysis struct {
	// Source is the name of a preset, or auto.
	Source   string        `json:"source,omitzero"`
	Interval time.Duration `json:"interval,omitzero"`
	WarmUp   time.Duration `json:"warmUp,omitzero"`
	// Confidence is a probability, such as 0.95.
	Confidence float64 `json:"confidence,omitzero"`
	// RequireProof reports that a share goes up only on proof, and otherwise also without harm.
	RequireProof bool `json:"requireProof,omitzero"`
	MinRequests  int  `json:"minRequests,omitzero"`
	// Timeout is how long a step waits for proof. 0 means without limit.
	Timeout time.Duration `json:"timeout,omitzero"`
	// ProceedWithoutTraffic reports that a share goes up by time while the canary gets no requests.
	ProceedWithoutTraffic bool `json:"proceedWithoutTraffic,omitzero"`
	// Metrics have unique names.
	Metrics []Metric `json:"metrics,omitzero"`
	// DefaultMetrics reports that the policy lists no metrics. Those that the source lacks are then
	// left out.
	DefaultMetrics bool `json:"defaultMetrics,omitzero"`
}

// MetricKind says how a metric is measured.
type MetricKind string

// The kinds of metrics.
const (
	// Errors counts failed requests.
	Errors MetricKind = "Errors"
	// Latency counts slow requests.
	Latency MetricKind = "Latency"
	// Counters counts what two selectors of the policy name.
	Counters MetricKind = "Counters"
	// Query compares one number with a limit.
	Query MetricKind = "Query"
)

// Metric is what is measured, and its limits.
type Metric struct {
	Name string     `json:"name,omitzero"`
	Kind MetricKind `json:"kind,omitzero"`
	// Quantile or Threshold is set for Latency. Quantile is that of the stable revision, such as
	// 0.95, and Threshold a fixed limit.
	Quantile  float64       `json:"quantile,omitzero"`
	Threshold time.Duration `json:"threshold,omitzero"`
	// Total and Bad are the selectors of Counters.
	Total string `json:"total,omitzero"`
	Bad   string `json:"bad,omitzero"`
	// Query is a PromQL expression.
	Query string      `json:"query,omitzero"`
	Harm  HarmLimits  `json:"harm,omitzero"`
	Proof ProofLimits `json:"proof,omitzero"`
	// DryRun reports that the metric is reported but not acted on.
	DryRun bool `json:"dryRun,omitzero"`
}

// HarmLimits are the limits for a rejection. Rates are probabilities: 1 % is 0.01.
type HarmLimits struct {
	// MaxRatio is 0 if the canary is not compared with the stable revision.
	MaxRatio float64 `json:"maxRatio,omitzero"`
	Floor    float64 `json:"floor,omitzero"`
	// Max is nil if there is no absolute limit. For a query, it is a number and not a rate.
	Max *float64 `json:"max,omitzero"`
}

// ProofLimits are the limits for an increase. MaxRatio is 0 if the metric needs no proof.
type ProofLimits struct {
	MaxRatio float64 `json:"maxRatio,omitzero"`
	Floor    float64 `json:"floor,omitzero"`
}
