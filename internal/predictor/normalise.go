// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	predictorField = "spec.predictor"
	modelField     = "spec.predictor.model"
)

// framework is one of KServe's legacy fields, which spec.predictor.model replaces.
type framework struct {
	field  string
	format string
	// protocol is the field's default protocol.
	protocol *v1beta1.ProtocolVersion
	model    *v1beta1.PredictorExtensionSpec
}

func frameworks(spec *v1beta1.PredictorSpec) []framework {
	v2 := new(v1beta1.ProtocolV2)
	all := []framework{
		{field: "sklearn", format: "sklearn", model: spec.SKLearn},
		{field: "xgboost", format: "xgboost", model: spec.XGBoost},
		{field: "tensorflow", format: "tensorflow", model: spec.Tensorflow},
		{field: "pytorch", format: "pytorch", model: spec.PyTorch},
		{field: "triton", format: "triton", model: spec.Triton, protocol: v2},
		{field: "onnx", format: "onnx", model: spec.ONNX, protocol: v2},
		{field: "huggingface", format: "huggingface", model: spec.HuggingFace, protocol: v2},
		{field: "pmml", format: "pmml", model: spec.PMML},
		{field: "lightgbm", format: "lightgbm", model: spec.LightGBM},
		{field: "paddle", format: "paddle", model: spec.Paddle},
	}
	return slices.DeleteFunc(all, func(f framework) bool { return f.model == nil })
}

// defaultProtocols holds the formats whose default for model.protocolVersion is not v1.
var defaultProtocols = map[string]v1beta1.ProtocolVersion{
	"triton": v1beta1.ProtocolV2,
	"vLLM":   v1beta1.ProtocolV2,
}

// normalise returns a copy of a predictor in a form that does not depend on how it was written. A
// model is always in the field model. Otherwise the serving container is the first container and is
// named kserve-container.
func normalise(original v1beta1.PredictorSpec) (v1beta1.PredictorSpec, *Error) {
	spec := *original.DeepCopy()
	if err := checkExactlyOne(&spec); err != nil {
		return spec, err
	}
	for _, legacy := range frameworks(&spec) {
		model, err := patchModel(legacy.asModel(), spec.Model)
		if err != nil {
			return spec, invalid(modelField, "cannot be read together with %s.%s: %v", predictorField, legacy.field, err)
		}
		spec.Model = model
	}
	spec.SKLearn, spec.XGBoost, spec.Tensorflow, spec.PyTorch, spec.Triton = nil, nil, nil, nil, nil
	spec.ONNX, spec.HuggingFace, spec.PMML, spec.LightGBM, spec.Paddle = nil, nil, nil, nil, nil

	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	spec.DeprecatedServiceAccount = ""

	if spec.Model != nil {
		return spec, normaliseModel(spec.Model)
	}
	return spec, normaliseContainers(spec.Containers)
}

// checkExactlyOne rejects a predictor without a unique model server. A model is allowed next to one
// framework field: a patch can add it to an object that was created with that field.
func checkExactlyOne(spec *v1beta1.PredictorSpec) *Error {
	var legacy []string
	for _, framework := range frameworks(spec) {
		legacy = append(legacy, framework.field)
	}
	hasModel := spec.Model != nil || len(legacy) > 0
	switch {
	case !hasModel && len(spec.Containers) == 0:
		return invalid(predictorField, "no model server is set; set model, or set containers to run your own model server")
	case len(legacy) > 1:
		return invalid(predictorField, "%s are set; keep one of them", strings.Join(legacy, " and "))
	case hasModel && slices.ContainsFunc(spec.Containers, isServing):
		return invalid(predictorField+".containers", "%s is the container of the model; rename or remove this one, or remove the model",
			v1beta1.ServingContainerName)
	default:
		return nil
	}
}

func (f framework) asModel() *v1beta1.ModelSpec {
	model := &v1beta1.ModelSpec{
		ModelFormat:            v1beta1.ModelFormat{Name: f.format},
		PredictorExtensionSpec: *f.model,
	}
	if model.ProtocolVersion == nil {
		model.ProtocolVersion = f.protocol
	}
	return model
}

// patchModel applies patch to a model as a JSON merge patch. A nil patch has no effect.
func patchModel(model, patch *v1beta1.ModelSpec) (*v1beta1.ModelSpec, error) {
	if patch == nil {
		return model, nil
	}
	fields, err := kruntime.DefaultUnstructuredConverter.ToUnstructured(model)
	if err != nil {
		return nil, err
	}
	changes, err := kruntime.DefaultUnstructuredConverter.ToUnstructured(patch)
	if err != nil {
		return nil, err
	}
	mergePatch(fields, changes)
	result := &v1beta1.ModelSpec{}
	return result, kruntime.DefaultUnstructuredConverter.FromUnstructured(fields, result)
}

func mergePatch(fields, changes map[string]any) {
	for key, change := range changes {
		inner, isMap := change.(map[string]any)
		if current, wasMap := fields[key].(map[string]any); isMap && wasMap {
			mergePatch(current, inner)
			continue
		}
		fields[key] = change
	}
}

func normaliseModel(model *v1beta1.ModelSpec) *Error {
	if model.Name != "" && model.Name != v1beta1.ServingContainerName {
		return invalid(modelField+".name", "%q: the container of a model is always called %s; remove the field",
			model.Name, v1beta1.ServingContainerName)
	}
	model.Name = ""
	if model.Storage != nil && model.Storage.StorageKey != nil && *model.Storage.StorageKey == "" {
		model.Storage.StorageKey = nil
	}
	if model.ProtocolVersion == nil {
		if protocol, ok := defaultProtocols[model.ModelFormat.Name]; ok {
			model.ProtocolVersion = &protocol
		}
	}
	return nil
}

func normaliseContainers(containers []corev1.Container) *Error {
	serving := slices.IndexFunc(containers, isServing)
	switch {
	case serving >= 0:
	case len(containers) == 1 || containers[0].Name == "":
		serving = 0
		containers[0].Name = v1beta1.ServingContainerName
	default:
		return invalid(predictorField+".containers", "no container is named %s; give this name to the container that serves the model",
			v1beta1.ServingContainerName)
	}
	first := containers[serving]
	copy(containers[1:serving+1], containers[:serving])
	containers[0] = first
	return nil
}

func isServing(container corev1.Container) bool {
	return container.Name == v1beta1.ServingContainerName
}
