// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// ineffectiveAnnotations maps KServe's annotations that Serinus accepts but ignores to the reason.
var ineffectiveAnnotations = map[string]string{
	"serving.kserve.io/enable-metric-aggregation": "there is no queue-proxy that aggregates metrics; scrape the pods",
	"serving.kserve.io/gpu-resource-types":        "resources are passed on as they are written; remove it",
	"serving.kserve.io/nodegroup":                 "model caches (LocalModelCache) are not supported",
	"serving.kserve.io/disable-localmodel":        "model caches (LocalModelCache) are not supported",
	"serving.kserve.io/logger-secret-name":        "logger is not supported",
	"serving.kserve.io/logger-secret-path":        "logger is not supported",
	"serving.kserve.io/logger-secret-file":        "logger is not supported",
	"serving.kserve.io/inferencepool-migrated":    "it is for LLMInferenceServices",
	"serving.kserve.io/exp-dra-device-class":      "write spec.predictor.resourceClaims",
	"serving.kserve.io/exp-dra-cel-selector":      "write spec.predictor.resourceClaims",
	"serving.kserve.io/exp-dra-device-count":      "write spec.predictor.resourceClaims",
	"serving.kserve.io/exp-dra-container-name":    "write spec.predictor.resourceClaims",
	"serving.kserve.io/trainedmodel-allocated":    "TrainedModel is not supported",
	"serving.kserve.io/secretKey":                 "it is for ModelMesh; write spec.predictor.model.storage.key",
	"serving.kserve.io/schemaPath":                "it is for ModelMesh; remove it",
	annotationServerType:                          "it belongs on the serving runtime",
}

// kserveLabels are set by KServe or by the operator on the objects that they create.
var kserveLabels = []string{
	v1beta1.LabelInferenceService,
	v1beta1.LabelRevision,
	"serving.kserve.io/inferencegraph",
	"serving.kserve.io/kind",
}

// predictorFields are fields that users mistake for annotations.
var predictorFields = []string{
	"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency", "timeout", "deploymentStrategy",
	"model.runtime", "model.runtimeVersion", "model.storageUri", "model.protocolVersion",
}

type metadataMap struct {
	field       string
	values      map[string]string
	labels      bool
	onPredictor bool
}

func metadataMaps(isvc *v1beta1.InferenceService) []metadataMap {
	predictor := isvc.Spec.Predictor
	return []metadataMap{
		{field: "metadata.annotations", values: isvc.Annotations},
		{field: "metadata.labels", values: isvc.Labels, labels: true},
		{field: predictorField + ".annotations", values: predictor.Annotations, onPredictor: true},
		{field: predictorField + ".labels", values: predictor.Labels, labels: true, onPredictor: true},
	}
}

// IgnoredSettings returns the fields, labels and annotations of an InferenceService that have no
// effect, with the reason, in a stable order. Admission rejects the misleading ones, but a stored
// object can be older than that rule.
func IgnoredSettings(isvc *v1beta1.InferenceService, settings Settings) []Problem {
	var problems []Problem
	add := func(field, message string) { problems = append(problems, Problem{Field: field, Message: message}) }
	standard := settings.Mode != v1beta1.DeploymentModeKnative
	if isvc.Spec.CanaryTrafficPercent != nil {
		add("spec.canaryTrafficPercent", "has no effect; write "+percentField)
	}
	for _, m := range metadataMaps(isvc) {
		for _, key := range slices.Sorted(maps.Keys(m.values)) {
			if reason := ignoredReason(isvc, key, m, settings); reason != "" {
				add(fmt.Sprintf("%s[%s]", m.field, key), "has no effect"+reason)
			}
		}
	}
	if minimum := isvc.Spec.Predictor.MinReplicas; standard && minimum != nil && *minimum == 0 {
		add(predictorField+".minReplicas", "0 means 1 in Standard mode, where nothing could start a replica for a request")
	}
	if problem := StrategyProblem(isvc.Spec.Predictor.DeploymentStrategy); standard && problem != nil {
		add(problem.Field, "has no effect, as Kubernetes refuses it; "+problem.Message)
	}
	return problems
}

// ignoredReason returns the reason why a label or annotation has no effect, as the end of a
// sentence. It returns "" if the key has an effect or does not concern Serinus.
func ignoredReason(isvc *v1beta1.InferenceService, key string, m metadataMap, settings Settings) string {
	domain, _, _ := strings.Cut(key, "/")
	knative := settings.Mode == v1beta1.DeploymentModeKnative
	switch {
	case key == settings.Credentials.StorageSecretNameAnnotation && !m.labels:
		return ""
	case correctKey(key) != "":
		return "; write " + correctKey(key)
	case correctField(key, m) != "":
		return " here; write it in " + correctField(key, m)
	case m.labels:
		return ""
	case ineffectiveAnnotations[key] != "":
		return ": " + ineffectiveAnnotations[key]
	case inKServeDomain(key) && !isKnown(key):
		return fieldHint(key)
	case strings.HasSuffix(domain, ".keda.sh") && isvc.Annotations[v1beta1.AnnotationAutoscalerClass] != string(v1beta1.AutoscalerClassExternal):
		return ": KEDA is not supported; for a ScaledObject of your own, set " + v1beta1.AnnotationAutoscalerClass + ": external"
	case !knative && isKnativeDomain(domain) && key != v1beta1.AnnotationProgressDeadline:
		if domain == "autoscaling.knative.dev" {
			return " in Standard mode, where Knative does not scale; write minReplicas, maxReplicas, scaleMetric and scaleTarget in " + predictorField
		}
		return " in Standard mode, which does not use Knative"
	case knative && slices.Contains(knativeScaleAnnotations, key):
		return "; write minReplicas and maxReplicas in " + predictorField
	}
	return ""
}

var knativeScaleAnnotations = []string{
	"autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale",
	"autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale",
}

func isKnativeDomain(domain string) bool {
	return strings.HasSuffix(domain, ".knative.dev") || strings.HasSuffix(domain, ".knative.openshift.io")
}

// correctField returns the field in which a key has an effect. It returns "" if m is that field.
func correctField(key string, m metadataMap) string {
	forOperator := slices.Contains(operatorAnnotations, key)
	switch {
	case slices.Contains(visibilityLabels, key) && (!m.labels || m.onPredictor):
		return "metadata.labels"
	case forOperator && (m.labels || m.onPredictor):
		return "metadata.annotations"
	case slices.Contains(podAnnotations, key) && m.labels:
		return strings.TrimSuffix(m.field, "labels") + "annotations"
	}
	return ""
}

func fieldHint(key string) string {
	for _, field := range predictorFields {
		if normalizedName(key) == normalizedName(field[strings.LastIndex(field, ".")+1:]) {
			return "; write " + predictorField + "." + field
		}
	}
	return ": it is not an annotation that Serinus acts on"
}

// MisplacedPercent returns an error if a label, an annotation or spec.canaryTrafficPercent sets a
// percent, which has an effect only in the predictor. Otherwise it returns nil.
func MisplacedPercent(isvc *v1beta1.InferenceService) *Error {
	const message = "a percent has no effect here, so no new revision is created; write " + percentField
	if isvc.Spec.CanaryTrafficPercent != nil {
		return invalid("spec.canaryTrafficPercent", message)
	}
	for _, m := range metadataMaps(isvc) {
		for _, key := range slices.Sorted(maps.Keys(m.values)) {
			if correctKey(key) == percentField {
				return invalid(fmt.Sprintf("%s[%s]", m.field, key), message)
			}
		}
	}
	return nil
}
