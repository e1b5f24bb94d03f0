// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// IntentOf returns the object as a server-side apply intent, with only the fields that we set.
func IntentOf(object client.Object, scheme *runtime.Scheme) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("converting %s %q: %w", gvk.Kind, object.GetName(), err)
	}
	intent := &unstructured.Unstructured{Object: content}
	intent.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
	return intent, nil
}

// Lists is how lists of objects are compared.
type Lists bool

const (
	// ExactLists compares whole lists: additional elements and additional fields of elements are
	// removed, such as a filter in a route's rule. The intent must contain the API server's
	// defaults.
	ExactLists Lists = true
	// SharedLists allows additional elements, such as a sidecar or an environment variable that an
	// admission controller injects.
	SharedLists Lists = false
)

// IsUpToDate reports whether the observed object has all fields of the intent, so that applying it
// would change nothing. It compares with the object instead of the last applied intent. So it
// notices the changes of other writers, and restarts and upgrades do not matter.
func IsUpToDate(intent *unstructured.Unstructured, observed client.Object, how Lists) (bool, error) {
	actual, err := runtime.DefaultUnstructuredConverter.ToUnstructured(observed)
	if err != nil {
		return false, fmt.Errorf("converting %q: %w", observed.GetName(), err)
	}
	for key := range observed.GetAnnotations() {
		if _, desired := intent.GetAnnotations()[key]; strings.HasPrefix(key, OwnPrefix) && !desired {
			return false, nil
		}
	}
	desired := withoutUserLabels(intent).Object
	return SharedLists.Covers(actual["metadata"], desired["metadata"]) &&
		how.Covers(actual["spec"], desired["spec"]) && sameSelector(actual, desired), nil
}

// withoutUserLabels removes the labels that an object inherits from its InferenceService. They are
// written only together with another change, so that an upgrade of the operator writes nothing.
func withoutUserLabels(intent *unstructured.Unstructured) *unstructured.Unstructured {
	labels := intent.GetLabels()
	maps.DeleteFunc(labels, func(key, _ string) bool { return !slices.Contains(ownLabels, key) })
	if len(labels) == len(intent.GetLabels()) {
		return intent
	}
	reduced := intent.DeepCopy()
	reduced.SetLabels(labels)
	return reduced
}

// sameSelector reports whether the selector of a Service has no additional labels: with one more
// label it would match no pods.
func sameSelector(actual, desired map[string]any) bool {
	selector, found, _ := unstructured.NestedFieldNoCopy(desired, "spec", "selector")
	chosen, _, _ := unstructured.NestedFieldNoCopy(actual, "spec", "selector")
	return !found || equal(chosen, selector)
}

// Covers reports whether actual has all fields of wanted.
func (how Lists) Covers(actual, desired any) bool {
	switch desired := desired.(type) {
	case nil:
		return true
	case map[string]any:
		actual, _ := actual.(map[string]any)
		for key, value := range desired {
			if _, found := actual[key]; !found && !IsEmpty(value) || !how.Covers(actual[key], value) {
				return false
			}
		}
		return true
	case []any:
		actual, _ := actual.([]any)
		if how == SharedLists && IsObjects(desired) {
			return how.containsAll(actual, desired)
		}
		return how.coversEach(actual, desired)
	default:
		return reflect.DeepEqual(actual, desired)
	}
}

func (how Lists) coversEach(actual, desired []any) bool {
	if how == ExactLists {
		return equal(actual, desired)
	}
	return slices.EqualFunc(actual, desired, how.Covers)
}

// equal reports whether both values are equal, treating empty and missing fields as the same.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && equalButEmpty(a, b) && equalButEmpty(b, a)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	default:
		return reflect.DeepEqual(a, b)
	}
}

func equalButEmpty(a, b map[string]any) bool {
	for key, value := range a {
		if !IsEmpty(value) && !equal(value, b[key]) {
			return false
		}
	}
	return true
}

func (how Lists) containsAll(actual, desired []any) bool {
	for _, element := range desired {
		found := false
		for _, candidate := range actual {
			found = found || how.Covers(candidate, element)
		}
		if !found {
			return false
		}
	}
	return true
}

// IsObjects reports whether the elements of a list are objects.
func IsObjects(list []any) bool {
	if len(list) == 0 {
		return false
	}
	_, ok := list[0].(map[string]any)
	return ok
}

// IsEmpty reports whether the API server omits a value.
func IsEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case map[string]any:
		for _, inner := range value {
			if !IsEmpty(inner) {
				return false
			}
		}
		return true
	case []any:
		return len(value) == 0
	default:
		return false
	}
}
