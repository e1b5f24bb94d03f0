// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Analysis compares the canary with the stable revision while both serve.
//
// A rejection by chance is limited for the whole rollout: with the default confidence, at most 5 %
// of the canaries that are never worse than allowed are rejected, however often and however many
// metrics are looked at. This does not hold for metrics with query. Neither harm.max nor query
// compares with the stable revision, so an outage behind both revisions can reject a canary.
//
// +kubebuilder:validation:XValidation:rule="!has(self.metrics) || has(self.require) && self.require == 'NoHarm' || self.metrics.exists(m, !(has(m.dryRun) && m.dryRun) && !has(m.query) && (!has(m.counters) || has(m.proof)))",fieldPath=".metrics",message="no metric here can prove anything: list errors or latency, set proof of a metric with counters, or set require to NoHarm"
type Analysis struct {
	// Where the requests are counted: the name of a preset, such as knative, traefik or istio, or
	// auto, which chooses by the deployment mode, the gateway and the serving runtime. Default auto.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="write auto or the name of a preset, such as knative"
	Source string `json:"source,omitempty"`

	// The time between two looks. It is at least the interval at which Prometheus scrapes. 5s to
	// 5m, default 15s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(h|m|s|ms))+$') || duration(self) >= duration('5s') && duration(self) <= duration('5m')",message="write a duration from 5s to 5m, such as 15s"
	Interval Duration `json:"interval,omitempty"`

	// The time after a new share for which latency and proof ignore requests. Failed requests count
	// from the first. 0s to 1h, default 30s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(h|m|s|ms))+$') || duration(self) <= duration('1h')",message="write a duration from 0s to 1h, such as 30s"
	WarmUp Duration `json:"warmUp,omitempty"`

	// How sure a verdict is. At 95%, at most 5 % of good canaries are rejected by chance, counted per
	// rollout. A higher confidence takes more requests. 80% to 99.9%, default 95%.
	// +optional
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{2}([.][0-9]{1,3})?%$') && double(self.split('%')[0]) >= 80.0 && double(self.split('%')[0]) <= 99.9",message="write a percentage from 80% to 99.9%, such as 95%"
	Confidence string `json:"confidence,omitempty"`

	// What the share waits for. Proof: for evidence that the canary is not worse than proof allows.
	// NoHarm: only for the hold and for minRequests without harm. Default Proof.
	// +optional
	Require Requirement `json:"require,omitempty"`

	// The number of requests that the canary must have answered at a share before the share goes
	// up. 1 to 1000000, default 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinRequests int32 `json:"minRequests,omitempty"`

	// How long a step waits for proof. The rollout then pauses (Inconclusive); it neither goes on nor
	// fails. 0s to 168h, default 4h. 0s is without limit.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`

	// What happens while the canary gets no requests. Hold: the share stays. Proceed: the share goes
	// up after its hold, without evidence. Default Hold.
	// +optional
	NoTraffic NoTraffic `json:"noTraffic,omitempty"`

	// What is measured. Default: errors and latency, each as far as the source counts it. A metric
	// that is listed here and that the source lacks stops the rollout (NoSeries).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Metrics []Metric `json:"metrics,omitempty"`
}

// Requirement is what a share waits for.
//
// +kubebuilder:validation:Enum=Proof;NoHarm
type Requirement string

// The values of Requirement.
const (
	// RequireProof asks for evidence that the canary is not worse than allowed.
	RequireProof Requirement = "Proof"
	// RequireNoHarm asks for enough requests without evidence of harm.
	RequireNoHarm Requirement = "NoHarm"
)

// NoTraffic is what happens while the canary gets no requests.
//
// +kubebuilder:validation:Enum=Hold;Proceed
type NoTraffic string

// The values of NoTraffic.
const (
	// NoTrafficHold keeps the share.
	NoTrafficHold NoTraffic = "Hold"
	// NoTrafficProceed raises the share by time.
	NoTrafficProceed NoTraffic = "Proceed"
)

// The names of the metrics that need neither counters nor query.
const (
	// MetricErrors is the share of failed requests.
	MetricErrors = "errors"
	// MetricLatency is the share of slow requests.
	MetricLatency = "latency"
)

// SourceAuto lets the operator choose the source.
const SourceAuto = "auto"

// Metric is a property of the canary's requests. Without counters, slowerThan and query it is one of
// the built-in metrics errors and latency.
//
// +kubebuilder:validation:XValidation:rule="[has(self.counters), has(self.slowerThan), has(self.query)].filter(set, set).size() <= 1",message="counters, slowerThan and query exclude each other: keep one of them"
// +kubebuilder:validation:XValidation:rule="has(self.counters) || has(self.slowerThan) || has(self.query) || self.name in ['errors', 'latency']",fieldPath=".name",message="only errors and latency are built in: set counters, slowerThan or query for any other metric"
// +kubebuilder:validation:XValidation:rule="!(self.name == 'errors' && (has(self.counters) || has(self.slowerThan) || has(self.query)) || self.name == 'latency' && (has(self.counters) || has(self.query)))",fieldPath=".name",message="errors and latency are built in: write another name for a metric of your own"
// +kubebuilder:validation:XValidation:rule="!has(self.query) || has(self.harm) && has(self.harm.max) && self.harm.max.matches('^-?[0-9]{1,18}([.][0-9]{1,18})?$')",fieldPath=".harm",message="a query is compared with one number: set max, such as \"70000\""
// +kubebuilder:validation:XValidation:rule="!has(self.query) || !has(self.proof) && (!has(self.harm) || !has(self.harm.maxRatio) && !has(self.harm.floor))",message="a query has harm.max only: remove harm.maxRatio, harm.floor and proof"
// +kubebuilder:validation:XValidation:rule="has(self.query) || !has(self.harm) || !has(self.harm.max) || self.harm.max.size() == 0 || self.harm.max.matches('^[0-9]{1,2}([.][0-9]{1,6})?%$') && double(self.harm.max.split('%')[0]) > 0.0",fieldPath=".harm.max",message="write the highest percentage of requests, above 0% and below 100%, such as 5%"
// +kubebuilder:validation:XValidation:rule="!has(self.counters) || has(self.harm) && (has(self.harm.maxRatio) || has(self.harm.max) && self.harm.max.size() > 0)",fieldPath=".harm",message="counters have no default limits: set maxRatio, such as \"1.5\", or max, such as 2%"
// +kubebuilder:validation:XValidation:rule="!has(self.counters) || !has(self.harm) || !has(self.harm.floor) || has(self.harm.maxRatio)",fieldPath=".harm",message="floor has no effect without maxRatio: set maxRatio, such as \"1.5\", or remove floor"
// +kubebuilder:validation:XValidation:rule="!has(self.counters) || !has(self.proof) || has(self.proof.maxRatio)",fieldPath=".proof",message="counters have no default limits: set maxRatio, such as \"3\""
// +kubebuilder:validation:XValidation:rule="has(self.query) || has(self.counters) && !(has(self.harm) && has(self.harm.maxRatio) && has(self.proof) && has(self.proof.maxRatio)) || [has(self.harm) && has(self.harm.maxRatio) ? self.harm.maxRatio : '1.5', has(self.proof) && has(self.proof.maxRatio) ? self.proof.maxRatio : has(self.slowerThan) && self.slowerThan == 'p50' ? '1.8' : '3'].map(r, r.matches('^[0-9]{1,3}([.][0-9]{1,6})?$') ? double(r) : 1.0).isSorted()",fieldPath=".proof",message="proof.maxRatio is below harm.maxRatio: raise proof.maxRatio (default 3, or 1.8 for p50) to harm.maxRatio (default 1.5) or above"
// +kubebuilder:validation:XValidation:rule="has(self.query) || has(self.counters) && !has(self.proof) || [has(self.harm) && has(self.harm.floor) ? self.harm.floor : has(self.counters) ? '0%' : self.name == 'errors' ? '0.1%' : '2%', has(self.proof) && has(self.proof.floor) ? self.proof.floor : has(self.counters) ? '0%' : self.name == 'errors' ? '1%' : '10%'].map(f, f.matches('^[0-9]{1,2}([.][0-9]{1,6})?%$') ? double(f.split('%')[0]) : 0.0).isSorted()",fieldPath=".proof",message="proof.floor is below harm.floor: raise proof.floor (default 1% for errors, 10% for latency) to harm.floor (default 0.1% for errors, 2% for latency) or above"
// +kubebuilder:validation:XValidation:rule="has(self.query) || has(self.counters) || self.name == 'errors' || has(self.slowerThan) && !self.slowerThan.matches('^p(50|90|95|99)$') || [has(self.harm) && has(self.harm.maxRatio) ? self.harm.maxRatio : '1.5', has(self.proof) && has(self.proof.maxRatio) ? self.proof.maxRatio : '1'].all(r, !r.matches('^[0-9]{1,3}([.][0-9]{1,6})?$') || double(r) * (100.0 - double(has(self.slowerThan) ? self.slowerThan.substring(1) : '95')) < 100.0)",message="maxRatio allows every request to be slow: write harm.maxRatio and proof.maxRatio below 2 for p50, below 10 for p90, below 20 for p95 and below 100 for p99"
type Metric struct {
	// The name, which is unique in the policy. errors is the share of failed requests, and latency
	// the share of slow requests.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="write a name of lower-case letters, digits and inner dashes that begins with a letter, such as gpu-memory"
	Name string `json:"name"`

	// A request that takes longer is slow. A duration, such as 500ms, or the quantile p50, p90, p95 or
	// p99 of the stable revision, taken before the rollout. Both are rounded up to the next bucket
	// of the histogram. The default of the metric latency is p95.
	// +optional
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^p(50|90|95|99)$') || self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('1h')",message="write p50, p90, p95, p99 or a duration up to 1h, such as 500ms"
	SlowerThan string `json:"slowerThan,omitempty"`

	// Two counters of your own, one of all events and one of the bad ones. A CanaryPolicy may have them
	// only if analysis.namespacedQueries is true in the operator's configuration.
	// +optional
	Counters *Counters `json:"counters,omitempty"`

	// A PromQL expression that gives one number. Three looks in a row above harm.max are harm. It is
	// a threshold only: there is no comparison with the stable revision, and no limit for rejections
	// by chance. $namespace, $revision and $pods stand for those of the canary. A CanaryPolicy may have
	// it only if analysis.namespacedQueries is true in the operator's configuration.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query,omitempty"`

	// What makes the share go to 0. Default of errors: maxRatio 1.5 and floor 0.1%; of latency: maxRatio
	// 1.5 and floor 2%. Required with counters and query.
	// +optional
	Harm *Harm `json:"harm,omitempty"`

	// What must be shown before the share goes up. Default of errors: maxRatio 3 and floor 1%; of
	// latency: maxRatio 3 (1.8 for p50) and floor 10%. A metric with counters and without proof is
	// not waited for.
	// +optional
	Proof *Margin `json:"proof,omitempty"`

	// Report the metric, but never act on it. It costs no confidence.
	// +optional
	DryRun bool `json:"dryRun,omitempty"`
}

// Counters select the series of two counters. Each names one series for each pod or target of a
// revision.
type Counters struct {
	// The selector of the series that count all events, such as
	// compared_total{namespace="$namespace",pod=~"$pods"}.
	// +required
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_:][a-zA-Z0-9_:]*([{].*[}])?$|^[{].+[}]$') && (self.contains('$revision') || self.contains('$pods'))",message="write a series selector with $revision or $pods, without functions and ranges, such as requests_total{namespace=\"$namespace\",pod=~\"$pods\"}"
	Total string `json:"total"`

	// The selector of the series that count bad events, which are part of total.
	// +required
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_:][a-zA-Z0-9_:]*([{].*[}])?$|^[{].+[}]$') && (self.contains('$revision') || self.contains('$pods'))",message="write a series selector with $revision or $pods, without functions and ranges, such as requests_total{namespace=\"$namespace\",pod=~\"$pods\"}"
	Bad string `json:"bad"`
}

// Harm is what makes the share of a canary go to 0. The canary's rate is its bad requests divided by
// all its requests.
type Harm struct {
	// The canary's rate may be this many times the rate of the stable revision, "1" to "100".
	// +optional
	MaxRatio Ratio `json:"maxRatio,omitempty"`

	// A rate up to this percentage is no harm, whatever the ratio. 0% to below 100%.
	// +optional
	Floor Percentage `json:"floor,omitempty"`

	// An upper limit, whatever the stable revision does: of the canary's rate, such as 5%, or, with
	// query, of its number, such as "70000". It compares with no stable revision: an outage behind
	// both revisions can exceed it and reject the canary. Absent or empty: none.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Max string `json:"max,omitempty"`
}

// Margin is what must be shown about a canary before its share goes up.
type Margin struct {
	// The canary's rate is at most this many times the rate of the stable revision, "1" to "100".
	// +optional
	MaxRatio Ratio `json:"maxRatio,omitempty"`

	// A rate up to this percentage suffices, whatever the ratio. 0% to below 100%.
	// +optional
	Floor Percentage `json:"floor,omitempty"`
}
