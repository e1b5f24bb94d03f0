// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestKnativeScaling(t *testing.T) {
	const prefix = "autoscaling.knative.dev/"
	for name, test := range map[string]struct {
		edit func(*v1beta1.InferenceService)
		want map[string]string
	}{
		"default": {func(*v1beta1.InferenceService) {}, map[string]string{"min-scale": "1"}},
		"minReplicas and maxReplicas": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.MinReplicas, isvc.Spec.Predictor.MaxReplicas = new(int32(0)), 4
		}, map[string]string{"min-scale": "0", "max-scale": "4"}},
		"concurrency": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleMetric, isvc.Spec.Predictor.ScaleTarget = new(v1beta1.MetricConcurrency), new(int32(10))
		}, map[string]string{"min-scale": "1", "metric": "concurrency", "target": "10"}},
		"CPU": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU)
			isvc.Annotations = map[string]string{v1beta1.AnnotationTargetUtilizationPercentage: "70"}
		}, map[string]string{"min-scale": "1", "metric": "cpu", "class": "hpa.autoscaling.knative.dev", "target": "70"}},
		"KServe's legacy annotations": {func(isvc *v1beta1.InferenceService) {
			isvc.Annotations = map[string]string{v1beta1.AnnotationAutoscalerClass: "hpa", v1beta1.AnnotationMetrics: "memory"}
		}, map[string]string{"min-scale": "1", "metric": "memory", "class": "hpa.autoscaling.knative.dev"}},
		"only the class": {func(isvc *v1beta1.InferenceService) {
			isvc.Annotations = map[string]string{v1beta1.AnnotationAutoscalerClass: "hpa"}
		}, map[string]string{"min-scale": "1", "metric": "cpu", "class": "hpa.autoscaling.knative.dev"}},
		"the user's autoscaler class": {func(isvc *v1beta1.InferenceService) {
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

func TestReplicaBoundsCreateRevisionsInKnativeModeOnly(t *testing.T) {
	isvc := &v1beta1.InferenceService{}
	isvc.Spec.Predictor.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/v1"}}
	for mode, want := range map[v1beta1.DeploymentMode]bool{"": false, v1beta1.DeploymentModeStandard: false, v1beta1.DeploymentModeKnative: true} {
		resolve := func(minReplicas int32) *Resolved {
			isvc.Spec.Predictor.MinReplicas = &minReplicas
			resolved, err := Resolve(isvc, Runtimes{}, Settings{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			return resolved
		}
		one, two := resolve(1), resolve(2)
		if got := one.Hash != two.Hash; got != want || one.Identity.Equal(two.Identity) == want {
			t.Errorf("mode %q: replica bounds create a revision: %t, want %t", mode, got, want)
		}
	}
}
