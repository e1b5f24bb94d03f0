// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
)

// schemaFile holds the pod fields in the CRD of Knative Services, in the version that the operator
// is built with. The value true marks a field whose inner fields Knative does not check.
//
//go:embed podspec.json
var schemaFile []byte

var podSchema = func() map[string]any {
	var schema map[string]any
	if err := json.Unmarshal(schemaFile, &schema); err != nil {
		panic(fmt.Sprintf("reading the schema of Knative Services: %v", err)) // The file is embedded.
	}
	return schema
}()

// fieldPath is the path of a field. A list item is identified by its name: containers,
// [kserve-container], image.
type fieldPath []string

func (p fieldPath) String() string {
	return strings.ReplaceAll(strings.Join(p, "."), ".[", "[")
}

// unknownFields lists the fields of a pod that Knative's schema lacks. The API server would drop
// them with only a warning.
func unknownFields(pod corev1.PodSpec) []fieldPath {
	return unknownIn(asMap(pod), podSchema, nil)
}

func unknownIn(value, schema any, path fieldPath) []fieldPath {
	known, checked := schema.(map[string]any)
	if !checked {
		return nil
	}
	var unknown []fieldPath
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			inner := append(slices.Clone(path), key)
			if next, found := known[key]; found {
				unknown = append(unknown, unknownIn(value[key], next, inner)...)
			} else if value[key] != nil {
				unknown = append(unknown, inner)
			}
		}
	case []any:
		for i, item := range value {
			unknown = append(unknown, unknownIn(item, schema, append(slices.Clone(path), itemKey(item, i)))...)
		}
	}
	return unknown
}

// itemKey identifies a list item by its mountPath, its name or its index.
func itemKey(item any, index int) string {
	fields, _ := item.(map[string]any)
	for _, key := range []string{"mountPath", "name"} {
		if name, named := fields[key].(string); named && name != "" {
			return "[" + name + "]"
		}
	}
	return fmt.Sprintf("[%d]", index)
}

func isIndex(key string) bool {
	_, err := strconv.Atoi(strings.Trim(key, "[]"))
	return err == nil
}

// has reports whether a value has a field. The indices of items without a name need not match.
func has(value any, path fieldPath) bool {
	if len(path) == 0 {
		return true
	}
	switch value := value.(type) {
	case map[string]any:
		inner, found := value[path[0]]
		return found && has(inner, path[1:])
	case []any:
		for i, item := range value {
			key := itemKey(item, i)
			if (key == path[0] || isIndex(key) && isIndex(path[0])) && has(item, path[1:]) {
				return true
			}
		}
	}
	return false
}

func asMap(object any) map[string]any {
	data, err := json.Marshal(object)
	if err != nil {
		return nil
	}
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil
	}
	return plain
}

// source returns where a pod field comes from: the InferenceService or the serving runtime.
func source(isvc *v1beta1.InferenceService, runtime predictor.RuntimeRef, path fieldPath) string {
	const predictorField = "spec.predictor"
	spec := asMap(isvc.Spec.Predictor)
	if has(spec, path) {
		return predictorField + "." + path.String()
	}
	if len(path) > 2 && path[0] == "containers" {
		if containers := isvc.Spec.Predictor.Containers; len(containers) == 1 && containers[0].Name == "" && has(spec, append(fieldPath{"containers", "[0]"}, path[2:]...)) {
			return predictorField + "." + append(fieldPath{"containers", "[0]"}, path[2:]...).String()
		}
		for _, field := range slices.Sorted(maps.Keys(spec)) {
			// The serving container is written as model, or as sklearn and other frameworks.
			if _, isObject := spec[field].(map[string]any); isObject && path[1] == "["+v1beta1.ServingContainerName+"]" && has(spec[field], path[2:]) {
				return predictorField + "." + append(fieldPath{field}, path[2:]...).String()
			}
		}
	}
	if path[0] == "initContainers" {
		return "the init container that downloads the model"
	}
	if runtime.Name == "" {
		return "the pod's " + path.String()
	}
	return fmt.Sprintf("%s %q: spec.%s", runtime.Kind, runtime.Name, path)
}

// Check refuses a new revision with fields that Knative would drop.
func (*Backend) Check(isvc *v1beta1.InferenceService, runtime predictor.RuntimeRef, pod *corev1.PodSpec) error {
	unknown := unknownFields(*pod)
	if len(unknown) == 0 {
		return nil
	}
	var fields []string
	for _, path := range unknown {
		fields = append(fields, source(isvc, runtime, path))
	}
	what := "Knative has no such field, and would leave it out"
	if len(fields) > 1 {
		what = "Knative has no such field, nor " + strings.Join(fields[1:], ", ") + ", and would leave them out"
	}
	return &predictor.Error{
		Reason:  v1beta1.InvalidPredictorSpec,
		Field:   fields[0],
		Message: what + fmt.Sprintf("; remove it, or create the InferenceService with the annotation %s: %s", v1beta1.AnnotationDeploymentMode, v1beta1.DeploymentModeStandard),
	}
}

// withoutUnknownFields returns a pod without the fields that Knative drops. Revisions of earlier
// versions of the operator and of KServe have always run without these fields, and must still be
// restorable.
func withoutUnknownFields(pod corev1.PodSpec) corev1.PodSpec {
	if len(unknownFields(pod)) == 0 {
		return pod
	}
	data, err := json.Marshal(known(asMap(pod), podSchema))
	if err != nil {
		return pod
	}
	var kept corev1.PodSpec
	if err := json.Unmarshal(data, &kept); err != nil {
		return pod
	}
	return kept
}

func known(value, schema any) any {
	fields, checked := schema.(map[string]any)
	if !checked {
		return value
	}
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, inner := range value {
			if next, found := fields[key]; found {
				kept[key] = known(inner, next)
			}
		}
		return kept
	case []any:
		items := make([]any, len(value))
		for i, item := range value {
			items[i] = known(item, schema)
		}
		return items
	}
	return value
}
