// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// testServer is the image of test/images/testserver.
const testServer = "dev.local/testserver:1"

// manifest says one thing about an InferenceService.
type manifest func(*v1beta1.InferenceService)

// model runs a version of a model, which behaves as the flags of the test server say.
func model(version int, flags ...string) manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers = []corev1.Container{{
			Name:  "kserve-container",
			Image: testServer,
			Args:  append([]string{"--model_name=iris", fmt.Sprintf("--answer=%d", version)}, flags...),
			Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
			}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/v1/models/iris", Port: intstr.FromInt32(8080)}},
				PeriodSeconds: 1, FailureThreshold: 1,
			},
		}}
	}
}

// runs changes the image.
func runs(image string) manifest {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Containers[0].Image = image }
}

// downloaded runs a model out of the store.
func downloaded(uri string) manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Model = &v1beta1.ModelSpec{
			ModelFormat:            v1beta1.ModelFormat{Name: "sklearn"},
			PredictorExtensionSpec: v1beta1.PredictorExtensionSpec{StorageURI: &uri},
		}
	}
}

func percent(p int64) manifest {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.CanaryTrafficPercent = &p }
}

func replicas(least, most int32) manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.MinReplicas, isvc.Spec.Predictor.MaxReplicas = &least, most
	}
}

func annotation(key, value string) manifest {
	return func(isvc *v1beta1.InferenceService) { metav1.SetMetaDataAnnotation(&isvc.ObjectMeta, key, value) }
}

// predictions finds fault with an answer that is none of a model.
func predictions(body []byte) error {
	var answer struct{ Predictions []int }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Predictions) != 2 {
		return fmt.Errorf("%d predictions for 2 flowers", len(answer.Predictions))
	}
	return nil
}
