// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

// maxSize is below the limit of 262,144 bytes for the annotations of an object, because a
// client-side kubectl apply stores the whole manifest in an annotation.
const maxSize = 250_000

func TestCRDsFitIntoAnAnnotation(t *testing.T) {
	for name, text := range crdFiles(t) {
		t.Run(name, func(t *testing.T) {
			var object map[string]any
			if err := yaml.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}
			applied, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if len(applied) > maxSize {
				t.Errorf("the manifest is %d bytes as JSON, want at most %d; keep fewer descriptions in hack/codegen/crds", len(applied), maxSize)
			}
			t.Logf("%d bytes", len(applied))
		})
	}
}

// TestExponentsAreShort checks the pattern of quantities because parsing a quantity such as
// 1e-999999999 exhausts the memory.
func TestExponentsAreShort(t *testing.T) {
	const quantity = `^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]{1,2}))?$`
	for name, text := range crdFiles(t) {
		found := 0
		for line := range strings.Lines(string(text)) {
			if _, pattern, ok := strings.Cut(strings.TrimSpace(line), "pattern: "); ok && strings.Contains(pattern, "KMGTPE") {
				found++
				if pattern != quantity {
					t.Errorf("%s: a quantity has the pattern %s; narrow it in hack/codegen/crds", name, pattern)
				}
			}
		}
		if found == 0 && strings.HasPrefix(name, v1beta1.GroupVersion.Group) {
			t.Errorf("%s: no quantities found", name)
		}
	}
}

// TestCRDsAreValid finds errors that the API server would report, such as a rule that does not
// compile or that exceeds the cost limit.
func TestCRDsAreValid(t *testing.T) {
	for name, text := range crdFiles(t) {
		t.Run(name, func(t *testing.T) {
			crd := internalCRD(t, parseCRD(t, text))
			for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), crd) {
				t.Error(err)
			}
		})
	}
}

func TestAcceptedOffline(t *testing.T) {
	validators := newValidators(t)
	for _, m := range mustReadManifests(t, "accepted") {
		t.Run(m.name, func(t *testing.T) {
			_, validationErrors := validators[m.object.GetKind()].create(t.Context(), m.object)
			if report := diffErrors(validationErrors, nil); report != "" {
				t.Error(report)
			}
		})
	}
}

func TestCanaryPolicySamplesAreAccepted(t *testing.T) {
	validators := newValidators(t)
	for _, name := range []string{"minimal", "standard", "strict"} {
		documents, err := readFile("../../config/samples/canary-policy/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documents {
			_, validationErrors := validators[m.object.GetKind()].create(t.Context(), m.object)
			if report := diffErrors(validationErrors, nil); report != "" {
				t.Errorf("%s: %s", name, report)
			}
		}
	}
}

// TestPoliciesAreNotDefaulted checks that the schema has no defaults: package policy resolves them.
func TestPoliciesAreNotDefaulted(t *testing.T) {
	validators := newValidators(t)
	for _, m := range mustReadManifests(t, "accepted") {
		if !strings.HasSuffix(m.object.GetKind(), "CanaryPolicy") {
			continue
		}
		stored, _ := validators[m.object.GetKind()].create(t.Context(), m.object)
		if diff := cmp.Diff(m.object.Object, stored.Object); diff != "" {
			t.Errorf("%s: the API server would change the object (-given +stored):\n%s", m.name, diff)
		}
	}
}

func TestRejectedOffline(t *testing.T) {
	validators := newValidators(t)
	for _, m := range mustReadManifests(t, "rejected") {
		t.Run(m.name, func(t *testing.T) {
			if len(m.want) == 0 {
				t.Fatal("the manifest has no line that begins with \"# want: \"")
			}
			_, validationErrors := validators[m.object.GetKind()].create(t.Context(), m.object)
			if report := diffErrors(validationErrors, m.want); report != "" {
				t.Error(report)
			}
		})
	}
}

// TestEveryRuleHasAManifest checks that at least one rejected manifest violates each validation
// rule.
func TestEveryRuleHasAManifest(t *testing.T) {
	violated := map[string]bool{}
	for _, m := range mustReadManifests(t, "rejected") {
		for _, want := range m.want {
			violated[want.message] = true
		}
	}
	rules := map[string]bool{}
	for _, text := range crdFiles(t) {
		for _, version := range parseCRD(t, text).Spec.Versions {
			collectRules(rules, version.Schema.OpenAPIV3Schema)
		}
	}
	if len(rules) == 0 {
		t.Fatal("the CRDs have no rules")
	}
	for message := range rules {
		if !violated[message] {
			t.Errorf("no manifest in testdata/rejected violates the rule with the message %q", message)
		}
	}
}

func collectRules(rules map[string]bool, schema *apiextensionsv1.JSONSchemaProps) {
	for _, rule := range schema.XValidations {
		rules[rule.Message] = true
	}
	for _, property := range schema.Properties {
		collectRules(rules, &property)
	}
	if schema.Items != nil {
		collectRules(rules, schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		collectRules(rules, schema.AdditionalProperties.Schema)
	}
}

// TestTypesKeepEveryField decodes objects as the API server would store them into the Go types and
// encodes them again. The operator would lose a field that is in the schema but not in the Go type.
func TestTypesKeepEveryField(t *testing.T) {
	validators := newValidators(t)
	for _, m := range mustReadManifests(t, "accepted") {
		t.Run(m.name, func(t *testing.T) {
			stored, validationErrors := validators[m.object.GetKind()].create(t.Context(), m.object)
			if len(validationErrors) > 0 {
				t.Fatal(validationErrors)
			}
			typed := map[string]any{
				"InferenceService":      &v1beta1.InferenceService{},
				"ServingRuntime":        &v1alpha1.ServingRuntime{},
				"ClusterServingRuntime": &v1alpha1.ClusterServingRuntime{},
				"ScaleTarget":           &scalingv1alpha1.ScaleTarget{},
				"CanaryPolicy":          &canaryv1alpha1.CanaryPolicy{},
				"ClusterCanaryPolicy":   &canaryv1alpha1.ClusterCanaryPolicy{},
			}[m.object.GetKind()]
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(stored.Object, typed, true); err != nil {
				t.Fatalf("decoding into %T: %v", typed, err)
			}
			encoded, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range lostFields("", stored.Object, encoded) {
				t.Error(field)
			}
		})
	}
}

// lostFields returns the paths of non-empty given values that are not kept.
func lostFields(path string, given, kept any) []string {
	switch given := given.(type) {
	case map[string]any:
		keptMap, _ := kept.(map[string]any)
		var lost []string
		for name, value := range given {
			lost = append(lost, lostFields(path+"."+name, value, keptMap[name])...)
		}
		return lost
	case []any:
		keptList, _ := kept.([]any)
		var lost []string
		for i, value := range given {
			var keptValue any
			if i < len(keptList) {
				keptValue = keptList[i]
			}
			lost = append(lost, lostFields(fmt.Sprintf("%s[%d]", path, i), value, keptValue)...)
		}
		return lost
	case nil:
		return nil
	default:
		if isZero(given) && kept == nil || fmt.Sprint(given) == fmt.Sprint(kept) {
			return nil
		}
		return []string{fmt.Sprintf("%s: given %v, kept %v", path, given, kept)}
	}
}

func isZero(value any) bool {
	return value == "" || value == false || value == int64(0)
}

func TestNameLength(t *testing.T) {
	validators := newValidators(t)
	for length, wantRejected := range map[int]bool{1: false, v1beta1.MaxNameLength: false, v1beta1.MaxNameLength + 1: true, 63: true} {
		t.Run(strconv.Itoa(length), func(t *testing.T) {
			name := strings.Repeat("a", length)
			_, validationErrors := validators["InferenceService"].create(t.Context(), newInferenceService(name, nil))
			if rejected := len(validationErrors) > 0; rejected != wantRejected {
				t.Errorf("rejected = %v, want %v; %v", rejected, wantRejected, validationErrors)
			}
			for _, derived := range []string{"latest-" + name + "-predictor", name + "-predictor-100000"} {
				if tooLong := len(derived) > 63; tooLong != wantRejected {
					t.Errorf("%s is %d characters long, and rejected = %v", derived, len(derived), wantRejected)
				}
			}
		})
	}
}

// TestUnnamedContainerServes covers the only default in the schema.
func TestUnnamedContainerServes(t *testing.T) {
	validators := newValidators(t)
	given := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1beta1.GroupVersion.String(),
		"kind":       "InferenceService",
		"metadata":   map[string]any{"name": "iris"},
		"spec": map[string]any{"predictor": map[string]any{
			"containers": []any{map[string]any{"image": "example.com/server:1"}},
		}},
	}}
	stored, validationErrors := validators["InferenceService"].create(t.Context(), given)
	if len(validationErrors) > 0 {
		t.Fatal(validationErrors)
	}
	containers, _, err := unstructured.NestedSlice(stored.Object, "spec", "predictor", "containers")
	if err != nil {
		t.Fatal(err)
	}
	want := []any{map[string]any{"name": v1beta1.ServingContainerName, "image": "example.com/server:1"}}
	if diff := cmp.Diff(want, containers); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

// TestPercentIsNeverDefaulted checks that an absent percent stays absent, because it means
// promotion.
func TestPercentIsNeverDefaulted(t *testing.T) {
	validators := newValidators(t)
	given := newInferenceService("iris", nil)
	stored, validationErrors := validators["InferenceService"].create(t.Context(), given)
	if len(validationErrors) > 0 {
		t.Fatal(validationErrors)
	}
	if diff := cmp.Diff(given.Object, stored.Object); diff != "" {
		t.Errorf("the API server would change the object (-given +stored):\n%s", diff)
	}
}

func newInferenceService(name string, predictor map[string]any) *unstructured.Unstructured {
	spec := map[string]any{
		"model": map[string]any{
			"modelFormat": map[string]any{"name": "sklearn"},
			"storageUri":  "gs://bucket/model",
		},
	}
	maps.Copy(spec, predictor)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1beta1.GroupVersion.String(),
		"kind":       "InferenceService",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"predictor": spec},
	}}
}
