// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/internal/backend/objects"
)

type operation struct {
	Operation string `json:"op"`
	Path      string `json:"path"`
	Value     any    `json:"value,omitempty"`
}

// difference returns the operations for the fields that we write and that differ. The operation add
// replaces an existing value.
func difference(current, desired *servingv1.Service) []operation {
	operations := slices.Concat(
		differentPairs("/metadata/labels", current.Labels, desired.Labels),
		differentPairs("/metadata/annotations", current.Annotations, desired.Annotations),
	)
	replace := func(path string, before, after any) {
		if !equality.Semantic.DeepEqual(before, after) {
			operations = append(operations, operation{"add", path, after})
		}
	}
	replace("/metadata/ownerReferences", current.OwnerReferences, desired.OwnerReferences)
	replace("/spec/template", current.Spec.Template, desired.Spec.Template)
	replace("/spec/traffic", current.Spec.Traffic, desired.Spec.Traffic)
	return operations
}

// differentPairs compares the keys of both maps only: the cache does not hold all of them.
func differentPairs(path string, before, after map[string]string) []operation {
	if len(before) == 0 && len(after) > 0 {
		return []operation{{"add", path, after}}
	}
	var operations []operation
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if value, current := before[key]; !current || value != after[key] {
			operations = append(operations, operation{"add", path + "/" + escaped(key), after[key]})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			operations = append(operations, operation{Operation: "remove", Path: path + "/" + escaped(key)})
		}
	}
	return operations
}

func escaped(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// pathOf returns the keys of the path of an operation.
func pathOf(change operation) []string {
	path := strings.Split(strings.TrimPrefix(change.Path, "/"), "/")
	for i := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(path[i])
	}
	return path
}

// contentOf returns the content of a change without times; empty if it changes nothing.
func contentOf(change []operation) string {
	if len(change) == 0 {
		return ""
	}
	content, err := json.Marshal(change)
	if err != nil {
		return "" // The same data is sent as JSON.
	}
	return objects.WithoutTimes(string(content))
}
