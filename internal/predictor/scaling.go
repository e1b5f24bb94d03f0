// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"strconv"

	"knative.dev/serving/pkg/apis/autoscaling"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// knativeScaling returns Knative's scaling annotations. As in KServe, minReplicas defaults to 1, so
// scaling to zero is opt-in. Knative's own autoscaler supports only request metrics, so CPU and
// memory select the HPA class unless the user sets a class.
func knativeScaling(isvc *v1beta1.InferenceService) map[string]string {
	spec := isvc.Spec.Predictor.ComponentExtensionSpec
	scaling := map[string]string{autoscaling.MinScaleAnnotationKey: "1"}
	if spec.MinReplicas != nil {
		scaling[autoscaling.MinScaleAnnotationKey] = strconv.Itoa(int(*spec.MinReplicas))
	}
	if spec.MaxReplicas != 0 {
		scaling[autoscaling.MaxScaleAnnotationKey] = strconv.Itoa(int(spec.MaxReplicas))
	}
	metric := v1beta1.ScaleMetric(isvc.Annotations[v1beta1.AnnotationMetrics])
	if spec.ScaleMetric != nil {
		metric = *spec.ScaleMetric
	}
	if metric == "" && isvc.Annotations[v1beta1.AnnotationAutoscalerClass] == string(v1beta1.AutoscalerClassHPA) {
		metric = v1beta1.MetricCPU
	}
	isResourceMetric := metric == v1beta1.MetricCPU || metric == v1beta1.MetricMemory
	if metric != "" {
		scaling[autoscaling.MetricAnnotationKey] = string(metric)
	}
	if _, hasClass := union(isvc.Annotations, isvc.Spec.Predictor.Annotations)[autoscaling.ClassAnnotationKey]; isResourceMetric && !hasClass {
		scaling[autoscaling.ClassAnnotationKey] = autoscaling.HPA
	}
	if target := isvc.Annotations[v1beta1.AnnotationTargetUtilizationPercentage]; target != "" && isResourceMetric {
		scaling[autoscaling.TargetAnnotationKey] = target
	}
	if spec.ScaleTarget != nil {
		scaling[autoscaling.TargetAnnotationKey] = strconv.Itoa(int(*spec.ScaleTarget))
	}
	return scaling
}
