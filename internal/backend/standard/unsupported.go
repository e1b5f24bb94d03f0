// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"fmt"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// useKnativeMode ends messages about features that need request metrics. The mode of an existing
// InferenceService cannot change.
const useKnativeMode = "; Knative mode takes it: create an InferenceService of another name with the annotation " +
	v1beta1.AnnotationDeploymentMode + ": " + string(v1beta1.DeploymentModeKnative)

// Unsupported returns the first field that Standard mode does not support, and a message with the
// problem and the alternative. Both are empty if there is none.
func (*Backend) Unsupported(isvc *v1beta1.InferenceService) (field, message string) {
	spec := isvc.Spec.Predictor.ComponentExtensionSpec
	if metric := spec.ScaleMetric; metric != nil && byRequests(*metric) {
		return "spec.predictor.scaleMetric", unscalable(*metric)
	}
	annotated := v1beta1.ScaleMetric(isvc.Annotations[v1beta1.AnnotationMetrics])
	if spec.ScaleMetric == nil && byRequests(annotated) {
		return fmt.Sprintf("metadata.annotations[%s]", v1beta1.AnnotationMetrics), unscalable(annotated)
	}
	if limit := spec.ContainerConcurrency; limit != nil && *limit > 0 {
		return "spec.predictor.containerConcurrency", fmt.Sprintf(
			"%d: nothing in %s mode counts the requests of a replica; remove it, and limit them in the model server%s",
			*limit, v1beta1.DeploymentModeStandard, useKnativeMode)
	}
	return "", ""
}

func byRequests(metric v1beta1.ScaleMetric) bool {
	return metric == v1beta1.MetricConcurrency || metric == v1beta1.MetricRPS
}

func unscalable(metric v1beta1.ScaleMetric) string {
	return fmt.Sprintf("%q: nothing in %s mode counts requests; write %s or %s%s",
		metric, v1beta1.DeploymentModeStandard, v1beta1.MetricCPU, v1beta1.MetricMemory, useKnativeMode)
}
