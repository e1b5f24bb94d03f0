// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Options are the settings of the operator that a policy depends on.
type Options struct {
	// Presets are the names of the known presets. Nil means that they are not checked.
	Presets []string
	// NamespacedQueries allows query and counters in a CanaryPolicy.
	NamespacedQueries bool
}

// The defaults, and the bounds that the CRDs have as well.
const (
	defaultHold        = 5 * time.Minute
	defaultInterval    = 15 * time.Second
	defaultWarmUp      = 30 * time.Second
	defaultConfidence  = 0.95
	defaultMinRequests = 100
	defaultTimeout     = 4 * time.Hour
	defaultKeep        = 10 * time.Minute
	defaultHarmRatio   = 1.5
	defaultProofRatio  = 3
	// With a higher ratio, every request could be slower than the median.
	defaultMedianProofRatio = 1.8

	maxDuration    = 168 * time.Hour
	maxSteps       = 20
	maxMetrics     = 10
	maxMinRequests = 1_000_000
	maxRatio       = 100
)

// defaultQuantile is that of the metric latency.
const defaultQuantile = "p95"

var defaultFloors = map[MetricKind]struct{ harm, proof float64 }{
	Errors:  {harm: 0.001, proof: 0.01},
	Latency: {harm: 0.02, proof: 0.10},
}

// Parse validates a policy and returns its plan. The problem is that of the first invalid field, and
// the plan is then nil. The API server has the same rules, apart from those that depend on the
// options.
func Parse(ref Ref, spec *canaryv1alpha1.CanaryPolicySpec, options Options) (*Plan, *Problem) {
	p := &parser{ref: ref, options: options}
	plan := p.plan(spec)
	if p.problem != nil {
		return nil, p.problem
	}
	return plan, nil
}

// parser keeps the first problem. Its methods return arbitrary values after that.
type parser struct {
	ref     Ref
	options Options
	problem *Problem
}

func (p *parser) reject(field, format string, args ...any) {
	if p.problem == nil {
		p.problem = &Problem{PolicyInvalid, fmt.Sprintf("%s: %s: %s", p.ref, field, fmt.Sprintf(format, args...))}
	}
}

func (p *parser) plan(spec *canaryv1alpha1.CanaryPolicySpec) *Plan {
	plan := &Plan{Steps: p.steps(spec.Steps), Bake: p.duration("spec.bake", spec.Bake, 0, 0, maxDuration), KeepRejected: defaultKeep}
	if spec.Selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(spec.Selector); err != nil && p.problem == nil {
			p.problem = invalidSelector(p.ref, err)
		}
	}
	if promotion := spec.Promotion; promotion != nil {
		plan.ApprovePromotion = p.approval("spec.promotion.approval", promotion.Approval)
	}
	if rejected := spec.Rejected; rejected != nil {
		plan.KeepRejected = p.duration("spec.rejected.keep", rejected.Keep, defaultKeep, 0, maxDuration)
	}
	if deadlines := spec.Deadlines; deadlines != nil {
		plan.QueueDeadline = p.duration("spec.deadlines.queue", deadlines.Queue, 0, 0, maxDuration)
		plan.LoadDeadline = p.duration("spec.deadlines.load", deadlines.Load, 0, time.Second, maxDuration)
	}
	if spec.Analysis != nil {
		plan.Analysis = p.analysis(spec.Analysis)
	}
	return plan
}

func (p *parser) steps(given []canaryv1alpha1.Step) []rollout.Step {
	if len(given) == 0 || len(given) > maxSteps {
		p.reject("spec.steps", "there are %d steps: write 1 to %d", len(given), maxSteps)
	}
	steps := make([]rollout.Step, len(given))
	for i, s := range given {
		field := fmt.Sprintf("spec.steps[%d]", i)
		if s.Percent < 0 || s.Percent > 99 {
			p.reject(field+".percent", "%d is not a share from 0 to 99: the promotion to 100 follows the last step", s.Percent)
		}
		if i > 0 && s.Percent <= given[i-1].Percent {
			p.reject(field+".percent", "%d does not follow %d: write the steps in ascending order of percent", s.Percent, given[i-1].Percent)
		}
		steps[i] = rollout.Step{
			Percent: int(s.Percent),
			Hold:    p.duration(field+".hold", s.Hold, defaultHold, 0, maxDuration),
			Approve: p.approval(field+".approval", s.Approval),
		}
	}
	return steps
}

func (p *parser) approval(field string, given canaryv1alpha1.Approval) bool {
	return choice(p, field, given, canaryv1alpha1.ApprovalAutomatic, canaryv1alpha1.ApprovalRequired)
}

// choice reports whether the second value was given. The first one is the default.
func choice[T ~string](p *parser, field string, given, first, second T) bool {
	if given != "" && given != first && given != second {
		p.reject(field, "%q is unknown: write %s or %s", given, first, second)
	}
	return given == second
}

func (p *parser) analysis(given *canaryv1alpha1.Analysis) *Analysis {
	const field = "spec.analysis"
	a := &Analysis{
		Source:                p.source(given.Source),
		Interval:              p.duration(field+".interval", given.Interval, defaultInterval, 5*time.Second, 5*time.Minute),
		WarmUp:                p.duration(field+".warmUp", given.WarmUp, defaultWarmUp, 0, time.Hour),
		Confidence:            defaultConfidence,
		RequireProof:          !choice(p, field+".require", given.Require, canaryv1alpha1.RequireProof, canaryv1alpha1.RequireNoHarm),
		MinRequests:           defaultMinRequests,
		Timeout:               p.duration(field+".timeout", given.Timeout, defaultTimeout, 0, maxDuration),
		ProceedWithoutTraffic: choice(p, field+".noTraffic", given.NoTraffic, canaryv1alpha1.NoTrafficHold, canaryv1alpha1.NoTrafficProceed),
	}
	if given.Confidence != "" {
		percent, ok := parsePercentage(given.Confidence)
		if !ok || percent < 80 || percent > 99.9 {
			p.reject(field+".confidence", "%q is not a percentage from 80%% to 99.9%%: write, for example, 95%%", given.Confidence)
		}
		a.Confidence = percent / 100
	}
	if given.MinRequests != 0 {
		if given.MinRequests < 0 || given.MinRequests > maxMinRequests {
			p.reject(field+".minRequests", "%d is out of bounds: write 1 to %d", given.MinRequests, maxMinRequests)
		}
		a.MinRequests = int(given.MinRequests)
	}
	metrics := given.Metrics
	if len(metrics) == 0 {
		a.DefaultMetrics = true
		metrics = []canaryv1alpha1.Metric{{Name: canaryv1alpha1.MetricErrors}, {Name: canaryv1alpha1.MetricLatency}}
	}
	a.Metrics = p.metrics(field+".metrics", metrics, a.RequireProof)
	return a
}

func (p *parser) source(given string) string {
	switch {
	case given == "" || given == canaryv1alpha1.SourceAuto:
		return canaryv1alpha1.SourceAuto
	case p.options.Presets != nil && !slices.Contains(p.options.Presets, given):
		p.reject("spec.analysis.source", "there is no preset %q: write %s or one of %s", given, canaryv1alpha1.SourceAuto,
			strings.Join(slices.Sorted(slices.Values(p.options.Presets)), ", "))
	}
	return given
}

func (p *parser) metrics(field string, given []canaryv1alpha1.Metric, requireProof bool) []Metric {
	if len(given) > maxMetrics {
		p.reject(field, "there are %d metrics: write at most %d", len(given), maxMetrics)
	}
	var metrics []Metric
	provable := false
	for i := range given {
		at := fmt.Sprintf("%s[%d]", field, i)
		m := p.metric(at, &given[i])
		if slices.ContainsFunc(metrics, func(other Metric) bool { return other.Name == m.Name }) {
			p.reject(at+".name", "%q is there twice: write another name", m.Name)
		}
		metrics = append(metrics, m)
		provable = provable || !m.DryRun && m.Proof.MaxRatio > 0
	}
	if requireProof && !provable {
		p.reject(field, "no metric here can prove anything: list errors or latency, set proof of a metric with counters, or set require to NoHarm")
	}
	return metrics
}

var metricName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$`)

func (p *parser) metric(field string, given *canaryv1alpha1.Metric) Metric {
	if !metricName.MatchString(given.Name) {
		p.reject(field+".name", "%q is not a name of lower-case letters, digits and inner dashes, at most 32 characters, that begins with a letter", given.Name)
	}
	m := Metric{Name: given.Name, Kind: p.kind(field, given), DryRun: given.DryRun}
	switch m.Kind {
	case Latency:
		m.Quantile, m.Threshold = p.slowerThan(field+".slowerThan", given.SlowerThan)
		m.Harm, m.Proof = p.limits(field, m, given)
	case Counters:
		m.Total = p.selector(field+".counters.total", given.Counters.Total)
		m.Bad = p.selector(field+".counters.bad", given.Counters.Bad)
		m.Harm, m.Proof = p.limits(field, m, given)
	case Query:
		m.Query = given.Query
		m.Harm.Max = p.queryLimit(field, given)
	default:
		m.Harm, m.Proof = p.limits(field, m, given)
	}
	if (m.Kind == Counters || m.Kind == Query) && p.ref.Kind == KindCanaryPolicy && !p.options.NamespacedQueries {
		p.reject(field, "a CanaryPolicy may not have counters and query: write a ClusterCanaryPolicy, or set analysis.namespacedQueries in the operator's configuration")
	}
	return m
}

func (p *parser) kind(field string, given *canaryv1alpha1.Metric) MetricKind {
	var kinds []MetricKind
	if given.Counters != nil {
		kinds = append(kinds, Counters)
	}
	if given.SlowerThan != "" {
		kinds = append(kinds, Latency)
	}
	if given.Query != "" {
		kinds = append(kinds, Query)
	}
	builtIn := map[string]MetricKind{canaryv1alpha1.MetricErrors: Errors, canaryv1alpha1.MetricLatency: Latency}[given.Name]
	switch {
	case len(kinds) > 1:
		p.reject(field, "counters, slowerThan and query exclude each other: keep one of them")
	case len(kinds) == 1 && builtIn != "" && builtIn != kinds[0]:
		p.reject(field+".name", "%s is built in: write another name for a metric of your own", given.Name)
	case len(kinds) == 0 && builtIn == "":
		p.reject(field+".name", "%q is not built in: write errors or latency, or set counters, slowerThan or query", given.Name)
	}
	if builtIn != "" || len(kinds) == 0 {
		return builtIn
	}
	return kinds[0]
}

func (p *parser) slowerThan(field, given string) (quantile float64, threshold time.Duration) {
	if given == "" {
		given = defaultQuantile
	}
	if slices.Contains([]string{"p50", "p90", "p95", "p99"}, given) {
		percent, _ := strconv.Atoi(given[1:])
		return float64(percent) / 100, 0
	}
	threshold, ok := parseDuration(given)
	if !ok || threshold <= 0 || threshold > time.Hour {
		p.reject(field, "%q is neither p50, p90, p95 or p99 nor a duration up to 1h: write, for example, 500ms", given)
	}
	return 0, threshold
}

var selectorPattern = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})?$|^\{.+\}$`)

func (p *parser) selector(field, given string) string {
	if !selectorPattern.MatchString(given) || !strings.Contains(given, "$revision") && !strings.Contains(given, "$pods") {
		p.reject(field, `%q is not a series selector with $revision or $pods: write, for example, requests_total{namespace="$namespace",pod=~"$pods"}, without functions and ranges`, given)
	}
	return given
}

func (p *parser) queryLimit(field string, given *canaryv1alpha1.Metric) *float64 {
	if given.Proof != nil || given.Harm != nil && (given.Harm.MaxRatio != "" || given.Harm.Floor != "") {
		p.reject(field, "a query has harm.max only: remove harm.maxRatio, harm.floor and proof")
	}
	text := ""
	if given.Harm != nil {
		text = given.Harm.Max
	}
	limit, ok := parseNumber(text)
	if !ok {
		p.reject(field+".harm.max", `%q is not a number: write the highest value of the query, such as "70000"`, text)
	}
	return &limit
}

// limits returns the limits of a metric that counts requests. Only the built-in metrics, and those
// with slowerThan, have defaults.
func (p *parser) limits(field string, m Metric, given *canaryv1alpha1.Metric) (HarmLimits, ProofLimits) {
	harmGiven, proofGiven := canaryv1alpha1.Harm{}, canaryv1alpha1.Margin{}
	if given.Harm != nil {
		harmGiven = *given.Harm
	}
	if given.Proof != nil {
		proofGiven = *given.Proof
	}
	var harm HarmLimits
	var proof ProofLimits
	if m.Kind != Counters {
		floors := defaultFloors[m.Kind]
		harm = HarmLimits{MaxRatio: defaultHarmRatio, Floor: floors.harm}
		proof = ProofLimits{MaxRatio: defaultProofRatio, Floor: floors.proof}
		if m.Quantile == 0.5 {
			proof.MaxRatio = defaultMedianProofRatio
		}
	}
	p.setRatio(field+".harm.maxRatio", harmGiven.MaxRatio, &harm.MaxRatio)
	p.setFloor(field+".harm.floor", harmGiven.Floor, &harm.Floor)
	p.setRatio(field+".proof.maxRatio", proofGiven.MaxRatio, &proof.MaxRatio)
	p.setFloor(field+".proof.floor", proofGiven.Floor, &proof.Floor)
	if harmGiven.Max != "" {
		percent, ok := parsePercentage(harmGiven.Max)
		if !ok || percent <= 0 {
			p.reject(field+".harm.max", "%q is not a percentage above 0%% and below 100%%: write the highest percentage of requests, such as 5%%", harmGiven.Max)
		}
		harm.Max = new(percent / 100)
	}
	p.checkLimits(field, m, given, harm, proof)
	return harm, proof
}

func (p *parser) checkLimits(field string, m Metric, given *canaryv1alpha1.Metric, harm HarmLimits, proof ProofLimits) {
	switch {
	case harm.MaxRatio == 0 && harm.Max == nil:
		p.reject(field+".harm", `counters have no default limits: set maxRatio, such as "1.5", or max, such as 2%%`)
	case harm.MaxRatio == 0 && given.Harm != nil && given.Harm.Floor != "":
		p.reject(field+".harm.floor", `it has no effect without maxRatio: set maxRatio, such as "1.5", or remove floor`)
	case given.Proof != nil && proof.MaxRatio == 0:
		p.reject(field+".proof", `counters have no default limits: set maxRatio, such as "3"`)
	case proof.MaxRatio > 0 && proof.MaxRatio < harm.MaxRatio:
		p.reject(field+".proof.maxRatio", "%s is below harm.maxRatio, which is %s: raise proof.maxRatio to %[2]s or above", number(proof.MaxRatio), number(harm.MaxRatio))
	case proof.MaxRatio > 0 && proof.Floor < harm.Floor:
		p.reject(field+".proof.floor", "%s%% is below harm.floor, which is %s%%: raise proof.floor to %[2]s%% or above", number(100*proof.Floor), number(100*harm.Floor))
	}
	if m.Quantile == 0 {
		return
	}
	for _, ratio := range []struct {
		field string
		value float64
	}{{".harm.maxRatio", harm.MaxRatio}, {".proof.maxRatio", proof.MaxRatio}} {
		// Percent, because 1 − 0.9 is not exactly 0.1.
		slow := 100 - 100*m.Quantile
		if ratio.value*slow >= 100 {
			p.reject(field+ratio.field, "%s allows every request to be slower than the quantile %s: write a ratio below %s", number(ratio.value), number(m.Quantile), number(100/slow))
		}
	}
}

func (p *parser) setRatio(field string, given canaryv1alpha1.Ratio, into *float64) {
	if given == "" {
		return
	}
	ratio, ok := parseNumber(string(given))
	if !ok || ratio < 1 || ratio > maxRatio {
		p.reject(field, `%q is not a ratio from 1 to %d: write, for example, "1.5"`, given, maxRatio)
	}
	*into = ratio
}

func (p *parser) setFloor(field string, given canaryv1alpha1.Percentage, into *float64) {
	if given == "" {
		return
	}
	percent, ok := parsePercentage(string(given))
	if !ok {
		p.reject(field, "%q is not a percentage from 0%% to below 100%%: write, for example, 0.1%%", given)
	}
	*into = percent / 100
}

func (p *parser) duration(field string, given canaryv1alpha1.Duration, absent, lowest, highest time.Duration) time.Duration {
	if given == "" {
		return absent
	}
	d, ok := parseDuration(string(given))
	if !ok || d < lowest || d > highest {
		example := absent
		if example == 0 {
			example = 5 * time.Minute
		}
		p.reject(field, "%q is not a duration from %s to %s: write, for example, %s", given, short(lowest), short(highest), short(example))
	}
	return d
}

// The formats of the CRDs. They are stricter than package strconv, which also accepts 0x1p-2 and
// infinity.
var (
	durationPattern   = regexp.MustCompile(`^(\d{1,6}(\.\d{1,3})?(h|m|s|ms))+$`)
	numberPattern     = regexp.MustCompile(`^-?\d{1,18}(\.\d{1,18})?$`)
	percentagePattern = regexp.MustCompile(`^\d{1,2}(\.\d{1,6})?%$`)
)

func parseDuration(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(text)
	return d, err == nil && durationPattern.MatchString(text)
}

func parseNumber(text string) (float64, bool) {
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil && numberPattern.MatchString(text)
}

func parsePercentage(text string) (percent float64, ok bool) {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	return percent, err == nil && percentagePattern.MatchString(text)
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', 10, 64) }

// short returns a duration without zero units: 5m instead of 5m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
