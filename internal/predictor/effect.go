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

// withoutEffect are annotations of KServe's that Serinus accepts and does not act on, each with the reason.
var withoutEffect = map[string]string{
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

// kserveLabels are labels that KServe, or the operator, writes on what it makes.
var kserveLabels = []string{
	v1beta1.LabelInferenceService,
	v1beta1.LabelRevision,
	"serving.kserve.io/inferencegraph",
	"serving.kserve.io/kind",
}

// predictorFields are fields that users write as annotations.
var predictorFields = []string{
	"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency", "timeout", "deploymentStrategy",
	"model.runtime", "model.runtimeVersion", "model.storageUri", "model.protocolVersion",
}

// place is a map of labels or annotations in an InferenceService.
type place struct {
	field  string
	values map[string]string
	labels bool
	// onPredictor says that the values are for the pods only.
	onPredictor bool
}

func placesOf(isvc *v1beta1.InferenceService) []place {
	predictor := isvc.Spec.Predictor
	return []place{
		{field: "metadata.annotations", values: isvc.Annotations},
		{field: "metadata.labels", values: isvc.Labels, labels: true},
		{field: predictorField + ".annotations", values: predictor.Annotations, onPredictor: true},
		{field: predictorField + ".labels", values: predictor.Labels, labels: true, onPredictor: true},
	}
}

// WithoutEffect lists the accepted settings of an InferenceService that have no effect, each with the reason, in a stable
// order. Misleading ones are refused at admission, but an object can be older than that rule.
func WithoutEffect(isvc *v1beta1.InferenceService, settings Settings) []Problem {
	var found []Problem
	add := func(field, message string) { found = append(found, Problem{Field: field, Message: message}) }
	standard := settings.Mode != v1beta1.DeploymentModeKnative
	if isvc.Spec.CanaryTrafficPercent != nil {
		add("spec.canaryTrafficPercent", "has no effect; write "+percentField)
	}
	for _, place := range placesOf(isvc) {
		for _, key := range slices.Sorted(maps.Keys(place.values)) {
			if reason := whyIgnored(isvc, key, place, settings); reason != "" {
				add(fmt.Sprintf("%s[%s]", place.field, key), "has no effect"+reason)
			}
		}
	}
	if minimum := isvc.Spec.Predictor.MinReplicas; standard && minimum != nil && *minimum == 0 {
		add(predictorField+".minReplicas", "0 means 1 in Standard mode, where nothing could start a replica for a request")
	}
	if problem := StrategyProblem(isvc.Spec.Predictor.DeploymentStrategy); standard && problem != nil {
		add(problem.Field, "has no effect, as Kubernetes refuses it; "+problem.Message)
	}
	return found
}

// whyIgnored returns why a label or annotation has no effect, as the end of a sentence; empty where it has one, or is not
// for Serinus to judge.
func whyIgnored(isvc *v1beta1.InferenceService, key string, place place, settings Settings) string {
	domain, _, _ := strings.Cut(key, "/")
	knative := settings.Mode == v1beta1.DeploymentModeKnative
	switch {
	case key == settings.Credentials.StorageSecretNameAnnotation && !place.labels:
		return ""
	case rightSpelling(key) != "":
		return "; write " + rightSpelling(key)
	case misplaced(key, place) != "":
		return " here; write it in " + misplaced(key, place)
	case place.labels:
		return ""
	case withoutEffect[key] != "":
		return ": " + withoutEffect[key]
	case inKServeDomain(key) && !isKnown(key):
		return fieldInstead(key)
	case strings.HasSuffix(domain, ".keda.sh") && isvc.Annotations[v1beta1.AnnotationAutoscalerClass] != string(v1beta1.AutoscalerClassExternal):
		return ": KEDA is not supported; for a ScaledObject of your own, set " + v1beta1.AnnotationAutoscalerClass + ": external"
	case !knative && isKnatives(domain) && key != v1beta1.AnnotationProgressDeadline:
		if domain == "autoscaling.knative.dev" {
			return " in Standard mode, where Knative does not scale; write minReplicas, maxReplicas, scaleMetric and scaleTarget in " + predictorField
		}
		return " in Standard mode, which does not use Knative"
	case knative && slices.Contains(knativeBounds, key):
		return "; write minReplicas and maxReplicas in " + predictorField
	}
	return ""
}

// knativeBounds are Knative's annotations that the fields of the predictor replace.
var knativeBounds = []string{
	"autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale",
	"autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale",
}

func isKnatives(domain string) bool {
	return strings.HasSuffix(domain, ".knative.dev") || strings.HasSuffix(domain, ".knative.openshift.io")
}

// misplaced returns where a key belongs that is right but in the wrong map; empty where it is in the right one.
func misplaced(key string, place place) string {
	forOperator := slices.Contains(operatorAnnotations, key)
	switch {
	case slices.Contains(visibilityLabels, key) && (!place.labels || place.onPredictor):
		return "metadata.labels"
	case forOperator && (place.labels || place.onPredictor):
		return "metadata.annotations"
	case slices.Contains(podAnnotations, key) && place.labels:
		return strings.TrimSuffix(place.field, "labels") + "annotations"
	}
	return ""
}

// fieldInstead says of an unknown annotation in KServe's domain which field has its name.
func fieldInstead(key string) string {
	for _, field := range predictorFields {
		if normalName(key) == normalName(field[strings.LastIndex(field, ".")+1:]) {
			return "; write " + predictorField + "." + field
		}
	}
	return ": it is not an annotation that Serinus acts on"
}

// MisplacedPercent returns the label, annotation or field in which a percent has no effect; nil where there is none.
func MisplacedPercent(isvc *v1beta1.InferenceService) *Error {
	const message = "a percent has no effect here, so that no new revision is made; write " + percentField
	if isvc.Spec.CanaryTrafficPercent != nil {
		return invalid("spec.canaryTrafficPercent", message)
	}
	for _, place := range placesOf(isvc) {
		for _, key := range slices.Sorted(maps.Keys(place.values)) {
			if rightSpelling(key) == percentField {
				return invalid(fmt.Sprintf("%s[%s]", place.field, key), message)
			}
		}
	}
	return nil
}
