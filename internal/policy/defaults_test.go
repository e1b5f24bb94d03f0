// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/config/crd"
)

// TestDescriptionsNameTheDefaults: the schema has no defaults, so only the descriptions of the
// fields say what they are.
func TestDescriptionsNameTheDefaults(t *testing.T) {
	plan := mustParse(t, `{steps: [{percent: 10}], analysis: {}}`)
	errorRate, latency := plan.Analysis.Metrics[0], plan.Analysis.Metrics[1]
	percent := func(rate float64) string { return number(100*rate) + "%" }
	tests := map[string]string{
		"steps.hold":           "default " + short(plan.Steps[0].Hold),
		"steps.approval":       "Default Automatic",
		"promotion.approval":   "Default Automatic",
		"bake":                 "default " + short(plan.Bake),
		"rejected.keep":        "default " + short(plan.KeepRejected),
		"deadlines.queue":      "default " + short(plan.QueueDeadline),
		"analysis.source":      "Default " + plan.Analysis.Source,
		"analysis.interval":    "default " + short(plan.Analysis.Interval),
		"analysis.warmUp":      "default " + short(plan.Analysis.WarmUp),
		"analysis.confidence":  "default " + percent(plan.Analysis.Confidence),
		"analysis.require":     "Default Proof",
		"analysis.minRequests": "default 100",
		"analysis.timeout":     "default " + short(plan.Analysis.Timeout),
		"analysis.noTraffic":   "Default Hold",
		"analysis.metrics":     "Default: " + errorRate.Name + " and " + latency.Name,
		"analysis.metrics.harm": "Default of errors: maxRatio " + number(errorRate.Harm.MaxRatio) + " and floor " + percent(errorRate.Harm.Floor) +
			"; of latency: maxRatio " + number(latency.Harm.MaxRatio) + " and floor " + percent(latency.Harm.Floor),
		"analysis.metrics.proof": "Default of errors: maxRatio " + number(errorRate.Proof.MaxRatio) + " and floor " + percent(errorRate.Proof.Floor) +
			"; of latency: maxRatio " + number(latency.Proof.MaxRatio) + " (" + number(defaultMedianProofRatio) + " for p50) and floor " + percent(latency.Proof.Floor),
		"analysis.metrics.slowerThan": "default of the metric latency is " + defaultQuantile,
	}
	for _, name := range []string{"canarypolicies", "clustercanarypolicies"} {
		schema := specSchema(t, name)
		for path, want := range tests {
			if got := fieldOf(schema, path).Description; !strings.Contains(got, want) {
				t.Errorf("%s: spec.%s is described as %q, which does not contain %q", name, path, got, want)
			}
		}
	}
}

func specSchema(t *testing.T, name string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := crd.Bases.ReadFile("bases/canary.serinus.io_" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &definition); err != nil {
		t.Fatal(err)
	}
	return definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

func fieldOf(schema apiextensionsv1.JSONSchemaProps, path string) apiextensionsv1.JSONSchemaProps {
	for name := range strings.SplitSeq(path, ".") {
		if schema.Items != nil {
			schema = *schema.Items.Schema
		}
		schema = schema.Properties[name]
	}
	return schema
}
