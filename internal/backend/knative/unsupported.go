// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"fmt"

	"knative.dev/serving/pkg/apis/serving"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Unsupported returns the first field that Knative mode does not support, and a message with the
// problem and the alternative. Both are empty if there is none.
func (*Backend) Unsupported(isvc *v1beta1.InferenceService) (field, message string) {
	annotations := isvc.Annotations
	if duration := annotations[serving.RolloutDurationKey]; duration != "" {
		return annotationField(serving.RolloutDurationKey), fmt.Sprintf(
			"%q: Knative moves traffic little by little only to the latest revision, and here traffic names revisions, so that it moves to none by itself; "+
				"remove the annotation, and raise spec.predictor.canaryTrafficPercent in steps", duration)
	}
	if class := v1beta1.AutoscalerClass(annotations[v1beta1.AnnotationAutoscalerClass]); class != "" && class != v1beta1.AutoscalerClassHPA {
		return annotationField(v1beta1.AnnotationAutoscalerClass), fmt.Sprintf(
			"%q: in %s mode Knative scales; remove the annotation, and choose by spec.predictor.scaleMetric: concurrency or rps for Knative's own autoscaler, cpu or memory for a HorizontalPodAutoscaler",
			class, v1beta1.DeploymentModeKnative)
	}
	if isvc.Spec.Predictor.DeploymentStrategy != nil {
		return "spec.predictor.deploymentStrategy", fmt.Sprintf(
			"in %s mode Knative makes the Deployments, and replaces no pods of a revision; remove it", v1beta1.DeploymentModeKnative)
	}
	return "", ""
}

func annotationField(key string) string { return fmt.Sprintf("metadata.annotations[%s]", key) }
