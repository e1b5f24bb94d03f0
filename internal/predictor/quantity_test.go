// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestRationalOfEqualQuantities(t *testing.T) {
	equal := [][]string{
		{"1", "1000m", "1e0", "0.001k", "1.0"},
		{"1Gi", "1024Mi", "1073741824", "1048576Ki"},
		{"100m", "0.1", "100e-3"},
		{"0", "0Gi", "0m"},
		{"9223372036854775807", "9223372036854775807"},
		{"100n", "0.1u"},
		{"1e99", "10e98", "1000e96"},
		{"12345678901234567890e99", "1234567890123456789e100"},
		{"1e2000", "100e1998", "1000000e1994"},
		{"2e2000"},
		{"1e999999999", "10e999999998"},
	}
	seen := map[string]string{}
	for _, forms := range equal {
		first := rational(resource.MustParse(forms[0]))
		for _, form := range forms {
			if got := rational(resource.MustParse(form)); got != first {
				t.Errorf("%s is %s, but %s is %s", form, got, forms[0], first)
			}
		}
		if other, clash := seen[first]; clash {
			t.Errorf("%s and %s are both %s", other, forms[0], first)
		}
		seen[first] = forms[0]
	}
}

// TestGoldenRationals pins the encoding of quantities, which is part of stored hashes.
func TestGoldenRationals(t *testing.T) {
	for quantity, want := range map[string]string{
		"0":        "0",
		"0e999999": "0",
		"-1500m":   "-3/2",
		"1n":       "1/1000000000",
		"1e21":     "1000000000000000000000",
		"5e-9":     "1/200000000",
		"1e2000":   "1e2000",
	} {
		if got := rational(resource.MustParse(quantity)); got != want {
			t.Errorf("%s is %s, want %s", quantity, got, want)
		}
	}
}

// TestRationalDoesNotModifyTheQuantity: the quantity belongs to a shared cache.
func TestRationalDoesNotModifyTheQuantity(t *testing.T) {
	quantity := resource.MustParse("12345678901234567890k")
	before := quantity.DeepCopy()
	rational(quantity)
	if quantity.Cmp(before) != 0 {
		t.Errorf("%s became %s", before.String(), quantity.String())
	}
}

func TestCompareQuantities(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"1", "1000m", 0},
		{"1", "2", -1},
		{"1Gi", "1G", 1},
		{"1e999999999", "1Gi", 1},
		{"1Gi", "1e999999999", -1},
		{"-1e999999999", "1Gi", -1},
		{"1e999999999", "1e999999999", 0},
	} {
		if got := compareQuantities(resource.MustParse(test.a), resource.MustParse(test.b)); got != test.want {
			t.Errorf("%s to %s: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// TestOversizedQuantitiesAreRejected: a stored object can be older than the limit in its schema.
func TestOversizedQuantitiesAreRejected(t *testing.T) {
	const huge = "1e999999999"
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	for _, test := range []struct{ predictor, field string }{
		{"{model: {modelFormat: {name: sklearn}, resources: {limits: {memory: " + huge + "}}}}", "spec.predictor.model.resources.limits[memory]"},
		{"{sklearn: {resources: {requests: {memory: " + huge + "}}}}", "spec.predictor.sklearn.resources.requests[memory]"},
		{"{containers: [{name: a}, {name: b, resources: {limits: {cpu: 1, memory: " + huge + "}}}]}", "spec.predictor.containers[1].resources.limits[memory]"},
		{"{volumes: [{name: v, emptyDir: {sizeLimit: " + huge + "}}], model: {modelFormat: {name: sklearn}}}", "spec.predictor.volumes[0].emptyDir.sizeLimit"},
	} {
		_, err := Resolve(isvcFrom(t, test.predictor), cluster(runtime), defaultSettings())
		wantError(t, err, Error{
			Reason: v1beta1.InvalidPredictorSpec, Field: test.field,
			Message: huge + " is too large; write a quantity such as 500m or 2Gi",
		})
	}

	runtime.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"memory": resource.MustParse(huge)}
	for _, predictor := range []string{"{sklearn: {}}", "{model: {modelFormat: {name: sklearn}, runtime: sklearn}}"} {
		resolved, err := Resolve(isvcFrom(t, predictor), cluster(runtime), defaultSettings())
		wantError(t, err, Error{
			Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.model",
			Message: `ClusterServingRuntime "sklearn" cannot be used: spec.containers[0].resources.limits[memory]: ` +
				huge + " is too large; write a quantity such as 500m or 2Gi",
		})
		if resolved == nil || resolved.SpecHash == "" || resolved.Hash != "" {
			t.Errorf("got %+v, want SpecHash only", resolved)
		}
	}
}
