// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/internal/rollout"
)

var (
	namespacedRef = Ref{KindCanaryPolicy, "p"}
	clusterRef    = Ref{KindClusterCanaryPolicy, "p"}
	allowed       = Options{Presets: []string{"traefik", "knative"}, NamespacedQueries: true}
	approximate   = cmpopts.EquateApprox(0, 1e-12)
)

func specFrom(t *testing.T, text string) *canaryv1alpha1.CanaryPolicySpec {
	t.Helper()
	spec := &canaryv1alpha1.CanaryPolicySpec{}
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func mustParse(t *testing.T, text string) *Plan {
	t.Helper()
	plan, problem := Parse(namespacedRef, specFrom(t, text), allowed)
	if problem != nil {
		t.Fatal(problem.Message)
	}
	return plan
}

func TestSmallestPlan(t *testing.T) {
	want := &Plan{Steps: []rollout.Step{{Percent: 10, Hold: 5 * time.Minute}}, KeepRejected: 10 * time.Minute}
	if diff := cmp.Diff(want, mustParse(t, `steps: [{percent: 10}]`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaultAnalysis(t *testing.T) {
	want := &Analysis{
		Source: "auto", Interval: 15 * time.Second, WarmUp: 30 * time.Second, Confidence: 0.95, RequireProof: true,
		MinRequests: 100, Timeout: 4 * time.Hour, DefaultMetrics: true,
		Metrics: []Metric{
			{Name: "errors", Kind: Errors, Harm: HarmLimits{MaxRatio: 1.5, Floor: 0.001}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.01}},
			{Name: "latency", Kind: Latency, Quantile: 0.95, Harm: HarmLimits{MaxRatio: 1.5, Floor: 0.02}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.1}},
		},
	}
	got := mustParse(t, `{steps: [{percent: 10}], analysis: {}}`).Analysis
	if diff := cmp.Diff(want, got, approximate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaultsWrittenOutAreTheDefaults(t *testing.T) {
	want := mustParse(t, `{steps: [{percent: 10}], analysis: {metrics: [{name: errors}, {name: latency}]}}`)
	got := mustParse(t, `
steps: [{percent: 10, hold: 5m, approval: Automatic}]
promotion: {approval: Automatic}
analysis:
  source: auto
  interval: 15s
  warmUp: 30s
  confidence: 95%
  require: Proof
  minRequests: 100
  timeout: 4h
  noTraffic: Hold
  metrics:
  - name: errors
    harm: {maxRatio: "1.5", floor: 0.1%, max: ""}
    proof: {maxRatio: "3", floor: 1%}
  - name: latency
    slowerThan: p95
    harm: {maxRatio: "1.5", floor: 2%}
    proof: {maxRatio: "3", floor: 10%}
bake: 0s
rejected: {keep: 10m}
deadlines: {queue: 0s, load: ""}
`)
	if diff := cmp.Diff(want, got, approximate); diff != "" {
		t.Errorf("(-implicit +explicit):\n%s", diff)
	}
}

func TestEveryValueReachesThePlan(t *testing.T) {
	want := &Plan{
		Steps:            []rollout.Step{{Percent: 0}, {Percent: 50, Hold: 90 * time.Minute, Approve: true}},
		ApprovePromotion: true,
		Bake:             time.Hour,
		KeepRejected:     0,
		QueueDeadline:    12 * time.Hour,
		LoadDeadline:     20 * time.Minute,
		Analysis: &Analysis{
			Source: "knative", Interval: 5 * time.Second, WarmUp: 0, Confidence: 0.999, RequireProof: false,
			MinRequests: 1, Timeout: 0, ProceedWithoutTraffic: true,
			Metrics: []Metric{
				{
					Name: "errors", Kind: Errors, DryRun: true,
					Harm: HarmLimits{MaxRatio: 2, Floor: 0.001, Max: new(0.05)}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.01},
				},
				{Name: "median", Kind: Latency, Quantile: 0.5, Harm: HarmLimits{MaxRatio: 1.5, Floor: 0.02}, Proof: ProofLimits{MaxRatio: 1.8, Floor: 0.1}},
				{
					Name: "slow", Kind: Latency, Threshold: 500 * time.Millisecond,
					Harm: HarmLimits{MaxRatio: 1.5, Floor: 0}, Proof: ProofLimits{MaxRatio: 3, Floor: 0.2},
				},
				{Name: "diff", Kind: Counters, Total: `total{pod=~"$pods"}`, Bad: `bad{pod=~"$pods"}`, Harm: HarmLimits{Max: new(0.02)}},
				{
					Name: "drift", Kind: Counters, Total: `total{pod=~"$pods"}`, Bad: `bad{pod=~"$pods"}`,
					Harm: HarmLimits{MaxRatio: 2, Floor: 0.01}, Proof: ProofLimits{MaxRatio: 2, Floor: 0.01},
				},
				{Name: "gpu", Kind: Query, Query: "max(gpu)", Harm: HarmLimits{Max: new(-1.5)}},
			},
		},
	}
	got := mustParse(t, `
steps: [{percent: 0, hold: 0s}, {percent: 50, hold: 1h30m, approval: Required}]
promotion: {approval: Required}
bake: 1h
rejected: {keep: 0s}
deadlines: {queue: 12h, load: 20m}
analysis:
  source: knative
  interval: 5s
  warmUp: 0s
  confidence: 99.9%
  require: NoHarm
  minRequests: 1
  timeout: 0s
  noTraffic: Proceed
  metrics:
  - {name: errors, dryRun: true, harm: {maxRatio: "2", max: 5%}}
  - {name: median, slowerThan: p50}
  - {name: slow, slowerThan: 500ms, harm: {floor: 0%}, proof: {floor: 20%}}
  - {name: diff, counters: {total: 'total{pod=~"$pods"}', bad: 'bad{pod=~"$pods"}'}, harm: {max: 2%}}
  - {name: drift, counters: {total: 'total{pod=~"$pods"}', bad: 'bad{pod=~"$pods"}'}, harm: {maxRatio: "2", floor: 1%}, proof: {maxRatio: "2", floor: 1%}}
  - {name: gpu, query: max(gpu), harm: {max: "-1.5"}}
`)
	if diff := cmp.Diff(want, got, approximate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInvalidPolicies(t *testing.T) {
	tests := map[string]string{
		`{}`:                                                          `spec.steps: there are 0 steps: write 1 to 20`,
		`steps: [{percent: 100}]`:                                     `spec.steps[0].percent: 100 is not a share from 0 to 99: the promotion to 100 follows the last step`,
		`steps: [{percent: 50}, {percent: 10}]`:                       `spec.steps[1].percent: 10 does not follow 50: write the steps in ascending order of percent`,
		`steps: [{percent: 10}, {percent: 10}]`:                       `spec.steps[1].percent: 10 does not follow 10: write the steps in ascending order of percent`,
		`steps: [{percent: 10, hold: 169h}]`:                          `spec.steps[0].hold: "169h" is not a duration from 0s to 168h: write, for example, 5m`,
		`steps: [{percent: 10, hold: five}]`:                          `spec.steps[0].hold: "five" is not a duration from 0s to 168h: write, for example, 5m`,
		`steps: [{percent: 10, approval: Yes please}]`:                `spec.steps[0].approval: "Yes please" is unknown: write Automatic or Required`,
		`{steps: [{percent: 10}], deadlines: {load: 0s}}`:             `spec.deadlines.load: "0s" is not a duration from 1s to 168h: write, for example, 5m`,
		`{steps: [{percent: 10}], analysis: {source: haproxy}}`:       `spec.analysis.source: there is no preset "haproxy": write auto or one of knative, traefik`,
		`{steps: [{percent: 10}], analysis: {interval: 1s}}`:          `spec.analysis.interval: "1s" is not a duration from 5s to 5m: write, for example, 15s`,
		`{steps: [{percent: 10}], analysis: {confidence: 100%}}`:      `spec.analysis.confidence: "100%" is not a percentage from 80% to 99.9%: write, for example, 95%`,
		`{steps: [{percent: 10}], analysis: {minRequests: -1}}`:       `spec.analysis.minRequests: -1 is out of bounds: write 1 to 1000000`,
		`{steps: [{percent: 10}], selector: {matchLabels: {a: b c}}}`: `spec.selector is not a label selector: values[0][a]: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
	}
	metrics := map[string]string{
		`{name: errors, harm: {maxRatio: "1.5x"}}`:                                 `[0].harm.maxRatio: "1.5x" is not a ratio from 1 to 100: write, for example, "1.5"`,
		`{name: errors, harm: {maxRatio: "0.5"}}`:                                  `[0].harm.maxRatio: "0.5" is not a ratio from 1 to 100: write, for example, "1.5"`,
		`{name: errors, harm: {floor: "0.001"}}`:                                   `[0].harm.floor: "0.001" is not a percentage from 0% to below 100%: write, for example, 0.1%`,
		`{name: errors, harm: {max: "70000"}}`:                                     `[0].harm.max: "70000" is not a percentage above 0% and below 100%: write the highest percentage of requests, such as 5%`,
		`{name: errors, harm: {maxRatio: "5"}}`:                                    `[0].proof.maxRatio: 3 is below harm.maxRatio, which is 5: raise proof.maxRatio to 5 or above`,
		`{name: errors, proof: {floor: 0.05%}}`:                                    `[0].proof.floor: 0.05% is below harm.floor, which is 0.1%: raise proof.floor to 0.1% or above`,
		`{name: latency, proof: {maxRatio: "20"}}`:                                 `[0].proof.maxRatio: 20 allows every request to be slower than the quantile 0.95: write a ratio below 20`,
		`{name: a, slowerThan: p50, proof: {maxRatio: "2"}}`:                       `[0].proof.maxRatio: 2 allows every request to be slower than the quantile 0.5: write a ratio below 2`,
		`{name: a, slowerThan: p42}`:                                               `[0].slowerThan: "p42" is neither p50, p90, p95 or p99 nor a duration up to 1h: write, for example, 500ms`,
		`{name: error}`:                                                            `[0].name: "error" is not built in: write errors or latency, or set counters, slowerThan or query`,
		`{name: errors, slowerThan: p95}`:                                          `[0].name: errors is built in: write another name for a metric of your own`,
		`{name: a, query: up, slowerThan: p95}`:                                    `[0]: counters, slowerThan and query exclude each other: keep one of them`,
		`{name: a, query: up}`:                                                     `[0].harm.max: "" is not a number: write the highest value of the query, such as "70000"`,
		`{name: a, query: up, harm: {max: 5%}}`:                                    `[0].harm.max: "5%" is not a number: write the highest value of the query, such as "70000"`,
		`{name: a, query: up, harm: {max: "1"}, proof: {floor: 1%}}`:               `[0]: a query has harm.max only: remove harm.maxRatio, harm.floor and proof`,
		`{name: a, query: up, harm: {max: "1"}}`:                                   `: no metric here can prove anything: list errors or latency, set proof of a metric with counters, or set require to NoHarm`,
		`{name: errors, dryRun: true}`:                                             `: no metric here can prove anything: list errors or latency, set proof of a metric with counters, or set require to NoHarm`,
		`{name: a, counters: {total: 't{pod=~"$pods"}', bad: b}, harm: {max: 2%}}`: `[0].counters.bad: "b" is not a series selector with $revision or $pods: write, for example, requests_total{namespace="$namespace",pod=~"$pods"}, without functions and ranges`,
		`{name: a, counters: {total: 't{pod=~"$pods"}', bad: 'b{pod=~"$pods"}'}}`:  `[0].harm: counters have no default limits: set maxRatio, such as "1.5", or max, such as 2%`,
		`{name: A b}`: `[0].name: "A b" is not a name of lower-case letters, digits and inner dashes, at most 32 characters, that begins with a letter`,
	}
	for metric, want := range metrics {
		tests[`{steps: [{percent: 10}], analysis: {metrics: [`+metric+`]}}`] = "spec.analysis.metrics" + want
	}
	for given, want := range tests {
		plan, problem := Parse(clusterRef, specFrom(t, given), allowed)
		if plan != nil || problem == nil {
			t.Errorf("%s: was accepted", given)
			continue
		}
		if diff := cmp.Diff(&Problem{PolicyInvalid, `ClusterCanaryPolicy "p": ` + want}, problem); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", given, diff)
		}
	}
}

func TestQueriesInNamespacedPolicies(t *testing.T) {
	const notAllowed = `CanaryPolicy "p": spec.analysis.metrics[1]: a CanaryPolicy may not have counters and query: ` +
		`write a ClusterCanaryPolicy, or set analysis.namespacedQueries in the operator's configuration`
	for _, metric := range []string{
		`{name: a, query: up, harm: {max: "1"}}`,
		`{name: a, counters: {total: 't{pod=~"$pods"}', bad: 'b{pod=~"$pods"}'}, harm: {max: 2%}}`,
	} {
		spec := specFrom(t, `{steps: [{percent: 10}], analysis: {metrics: [{name: errors}, `+metric+`]}}`)
		if _, problem := Parse(namespacedRef, spec, Options{}); problem == nil || problem.Message != notAllowed {
			t.Errorf("%s: got %v, want %s", metric, problem, notAllowed)
		}
		if _, problem := Parse(namespacedRef, spec, Options{NamespacedQueries: true}); problem != nil {
			t.Errorf("%s, allowed: %s", metric, problem.Message)
		}
		if _, problem := Parse(clusterRef, spec, Options{}); problem != nil {
			t.Errorf("%s in a ClusterCanaryPolicy: %s", metric, problem.Message)
		}
	}
}

func TestParseDoesNotModifyThePolicy(t *testing.T) {
	given := specFrom(t, `{steps: [{percent: 1}, {percent: 2}], analysis: {metrics: [{name: errors}]}}`)
	before := given.DeepCopy()
	if _, problem := Parse(namespacedRef, given, allowed); problem != nil {
		t.Fatal(problem.Message)
	}
	if diff := cmp.Diff(before, given); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestSamplesAreValid(t *testing.T) {
	for _, document := range documents(t, "../../config/samples/canary-policy/*.yaml") {
		if _, problem := Parse(Ref{document.Kind, document.Metadata.Name}, document.Spec, Options{}); problem != nil {
			t.Error(problem.Message)
		}
	}
}

// TestParseAgreesWithTheCRDs applies Parse to the manifests of the CRD tests.
func TestParseAgreesWithTheCRDs(t *testing.T) {
	const folder = "../../test/crd/testdata/"
	for _, document := range documents(t, folder+"accepted/canary-*.yaml") {
		if _, problem := Parse(Ref{document.Kind, document.Metadata.Name}, document.Spec, Options{NamespacedQueries: true}); problem != nil {
			t.Errorf("accepted: %s", problem.Message)
		}
	}
	for _, document := range documents(t, folder+"rejected/canary-*.yaml") {
		if strings.HasPrefix(document.want, "metadata: ") {
			continue
		}
		_, problem := Parse(Ref{document.Kind, document.Metadata.Name}, document.Spec, Options{NamespacedQueries: true})
		if problem == nil && document.want != `spec.analysis.source: write auto or the name of a preset, such as knative` {
			t.Errorf("%s is valid for Parse; the CRD says %s", document.Metadata.Name, document.want)
		}
	}
}

type document struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     *canaryv1alpha1.CanaryPolicySpec
	want     string
}

func documents(t *testing.T, pattern string) []document {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	var all []document
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			text, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			var d document
			if err := yaml.Unmarshal(text, &d); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			_, d.want, _ = strings.Cut(string(text), "# want: ")
			d.want, _, _ = strings.Cut(d.want, "\n")
			all = append(all, d)
		}
	}
	return all
}

func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"1.5", "-1", "1e9", "NaN", "Inf", "0x1p-2", "5%", "999999h999999h", "1h30m", "1_0", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if value, ok := parseNumber(text); ok && (math.IsNaN(value) || math.IsInf(value, 0)) {
			t.Errorf("%q is the number %v", text, value)
		}
		if percent, ok := parsePercentage(text); ok && (math.IsNaN(percent) || percent < 0 || percent >= 100) {
			t.Errorf("%q is %v %%", text, percent)
		}
		if d, ok := parseDuration(text); ok && d < 0 {
			t.Errorf("%q is the duration %v", text, d)
		}
	})
}
