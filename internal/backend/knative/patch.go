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

// operation is one of a JSON patch.
type operation struct {
	Operation string `json:"op"`
	Path      string `json:"path"`
	Value     any    `json:"value,omitempty"`
}

// difference is what of a Knative Service is ours to write, and differs. To add what is there replaces it.
func difference(current, wanted *servingv1.Service) []operation {
	found := slices.Concat(
		differentPairs("/metadata/labels", current.Labels, wanted.Labels),
		differentPairs("/metadata/annotations", current.Annotations, wanted.Annotations),
	)
	replace := func(path string, before, after any) {
		if !equality.Semantic.DeepEqual(before, after) {
			found = append(found, operation{"add", path, after})
		}
	}
	replace("/metadata/ownerReferences", current.OwnerReferences, wanted.OwnerReferences)
	replace("/spec/template", current.Spec.Template, wanted.Spec.Template)
	replace("/spec/traffic", current.Spec.Traffic, wanted.Spec.Traffic)
	return found
}

// differentPairs leaves alone what it is not told of: the cache does not show all.
func differentPairs(path string, before, after map[string]string) []operation {
	if len(before) == 0 && len(after) > 0 {
		return []operation{{"add", path, after}}
	}
	var found []operation
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if value, there := before[key]; !there || value != after[key] {
			found = append(found, operation{"add", path + "/" + escaped(key), after[key]})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			found = append(found, operation{Operation: "remove", Path: path + "/" + escaped(key)})
		}
	}
	return found
}

// escaped is a key as a JSON pointer has it.
func escaped(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

func unescaped(key string) string { return strings.NewReplacer("~1", "/", "~0", "~").Replace(key) }

// contentOf is what a change says, without times; empty where it changes nothing.
func contentOf(change []operation) string {
	if len(change) == 0 {
		return ""
	}
	content, err := json.Marshal(change)
	if err != nil {
		return "" // It is sent as JSON, too.
	}
	return objects.WithoutTimes(string(content))
}
