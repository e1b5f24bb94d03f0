// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/testkit"
)

func everyIntent(t *testing.T) map[string]struct {
	intended client.Object
	empty    func() client.Object
	how      objects.Lists
} {
	t.Helper()
	return map[string]struct {
		intended client.Object
		empty    func() client.Object
		how      objects.Lists
	}{
		"Deployment":              {intendedDeployment(), func() client.Object { return &appsv1.Deployment{} }, objects.SharedLists},
		"Service":                 {intendedService(), func() client.Object { return &corev1.Service{} }, objects.SharedLists},
		"HorizontalPodAutoscaler": {intendedAutoscaler(), func() client.Object { return &autoscalingv2.HorizontalPodAutoscaler{} }, objects.ExactLists},
		"HTTPRoute":               {intendedRoute(t), func() client.Object { return &gatewayv1.HTTPRoute{} }, objects.ExactLists},
	}
}

// TestIsUpToDateIgnoresAdditions: fields that the API server or admission controllers add must not
// cause a write, in any order of list elements.
func TestIsUpToDateIgnoresAdditions(t *testing.T) {
	for kind, test := range everyIntent(t) {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				intent, err := objects.IntentOf(test.intended, newScheme(t))
				if err != nil {
					rt.Fatal(err)
				}
				desired := intent.Object["spec"]
				actual := enriched(rt, runtime.DeepCopyJSONValue(desired), test.how)
				if !test.how.Covers(actual, desired) {
					rt.Errorf("%v is not what was wanted: %v", actual, desired)
				}
			})
		})
	}
}

// enriched adds fields to a value as other writers may do.
func enriched(rt *rapid.T, value any, how objects.Lists) any {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			value[key] = enriched(rt, value[key], how)
		}
		if rapid.Bool().Draw(rt, "add a field") {
			value[fmt.Sprintf("x%d", len(value))] = rapid.SampledFrom([]any{"x", int64(1), true, map[string]any{"a": "b"}, []any{"c"}}).Draw(rt, "field")
		}
		return value
	case []any:
		if how == objects.ExactLists || !objects.IsObjects(value) {
			return value
		}
		for i := range value {
			value[i] = enriched(rt, value[i], how)
		}
		if rapid.Bool().Draw(rt, "add an element") {
			value = append(value, map[string]any{"name": "injected"})
		}
		return rapid.Permutation(value).Draw(rt, "order")
	default:
		return value
	}
}

// TestIsUpToDateDetectsRemovals: any single field of ours that is changed or removed must cause a
// write.
func TestIsUpToDateDetectsRemovals(t *testing.T) {
	for kind, test := range everyIntent(t) {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				intent, err := objects.IntentOf(test.intended, newScheme(t))
				if err != nil {
					rt.Fatal(err)
				}
				// The labels from the InferenceService are written only together with other
				// changes.
				intent.SetLabels(objects.Meta(testkit.NewInferenceService(), "", 2).Labels)
				actual := intent.DeepCopy()
				where := damage(rt, actual.Object)
				observed := test.empty()
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(actual.Object, observed); err != nil {
					rt.Skip("the kind has no such value")
				}
				same, err := objects.IsUpToDate(intent, observed, test.how)
				if err != nil {
					rt.Fatal(err)
				}
				if same {
					rt.Errorf("%s is not detected", where)
				}
			})
		})
	}
}

// damage changes or removes one value of an object, and returns which.
func damage(rt *rapid.T, object map[string]any) string {
	var places []string
	var change []func()
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				inner := value[key]
				if objects.IsEmpty(inner) {
					continue
				}
				places = append(places, path+"."+key+" removed")
				change = append(change, func() { delete(value, key) })
				if other := another(inner); other != nil {
					places = append(places, path+"."+key+" changed")
					change = append(change, func() { value[key] = other })
				}
				walk(path+"."+key, inner)
			}
		case []any:
			for i, inner := range value {
				walk(fmt.Sprintf("%s[%d]", path, i), inner)
			}
		}
	}
	walk("spec", object["spec"])
	metadata, _ := object["metadata"].(map[string]any)
	for _, part := range []string{"labels", "annotations", "ownerReferences"} {
		walk("metadata."+part, metadata[part])
	}
	i := rapid.IntRange(0, len(places)-1).Draw(rt, "place")
	change[i]()
	return places[i]
}

// another returns another value of the same type; nil for a container of values.
func another(value any) any {
	switch value := value.(type) {
	case string:
		return value + "x"
	case int64:
		return value + 1
	case bool:
		return !value
	default:
		return nil
	}
}
