// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestHowKnativeScales(t *testing.T) {
	const prefix = "autoscaling.knative.dev/"
	for name, test := range map[string]struct {
		edit func(*v1beta1.InferenceService)
		want map[string]string
	}{
		"by default": {func(*v1beta1.InferenceService) {}, map[string]string{"min-scale": "1"}},
		"from zero": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.MinReplicas, isvc.Spec.Predictor.MaxReplicas = new(int32(0)), 4
		}, map[string]string{"min-scale": "0", "max-scale": "4"}},
		"by requests under way": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleMetric, isvc.Spec.Predictor.ScaleTarget = new(v1beta1.MetricConcurrency), new(int32(10))
		}, map[string]string{"min-scale": "1", "metric": "concurrency", "target": "10"}},
		"by CPU": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU)
			isvc.Annotations = map[string]string{v1beta1.AnnotationTargetUtilizationPercentage: "70"}
		}, map[string]string{"min-scale": "1", "metric": "cpu", "class": "hpa.autoscaling.knative.dev", "target": "70"}},
		"by KServe's older annotations": {func(isvc *v1beta1.InferenceService) {
			isvc.Annotations = map[string]string{v1beta1.AnnotationAutoscalerClass: "hpa", v1beta1.AnnotationMetrics: "memory"}
		}, map[string]string{"min-scale": "1", "metric": "memory", "class": "hpa.autoscaling.knative.dev"}},
		"by the class alone": {func(isvc *v1beta1.InferenceService) {
			isvc.Annotations = map[string]string{v1beta1.AnnotationAutoscalerClass: "hpa"}
		}, map[string]string{"min-scale": "1", "metric": "cpu", "class": "hpa.autoscaling.knative.dev"}},
		"by an autoscaler that the user has chosen": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU)
			isvc.Annotations = map[string]string{prefix + "class": "custom.example.com"}
		}, map[string]string{"min-scale": "1", "metric": "cpu"}},
	} {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{}
			test.edit(isvc)
			want := map[string]string{}
			for key, value := range test.want {
				want[prefix+key] = value
			}
			if diff := cmp.Diff(want, knativeScaling(isvc)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// In Knative mode the bounds are part of a revision, and in Standard mode they are not.
func TestTheModeSaysWhetherBoundsMakeARevision(t *testing.T) {
	isvc := &v1beta1.InferenceService{}
	isvc.Spec.Predictor.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/v1"}}
	for mode, want := range map[v1beta1.DeploymentMode]bool{"": false, v1beta1.DeploymentModeStandard: false, v1beta1.DeploymentModeKnative: true} {
		resolve := func(least int32) *Resolved {
			isvc.Spec.Predictor.MinReplicas = &least
			resolved, err := Resolve(isvc, Runtimes{}, Settings{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			return resolved
		}
		one, two := resolve(1), resolve(2)
		if got := one.Inputs != two.Inputs; got != want || one.Identity.Equal(two.Identity) == want {
			t.Errorf("mode %q: bounds make a revision: %t", mode, got)
		}
	}
}
