// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

const testServer = "dev.local/testserver:1"

// option sets a part of an InferenceService.
type option = testkit.Edit

// Short names for the edits of the test kit.
var (
	percent    = testkit.Percent
	replicas   = testkit.ReplicaBounds
	annotation = testkit.Annotation
)

// model runs the test server with the given flags. Its predictions identify the version.
func model(version int, flags ...string) option {
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

func image(name string) option {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Containers[0].Image = name }
}

// storageURI runs a model from the object store.
func storageURI(uri string) option {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Model = &v1beta1.ModelSpec{
			ModelFormat:            v1beta1.ModelFormat{Name: "sklearn"},
			PredictorExtensionSpec: v1beta1.PredictorExtensionSpec{StorageURI: &uri},
		}
	}
}

func checkPredictions(body []byte) error {
	var answer struct{ Predictions []int }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Predictions) != 2 {
		return fmt.Errorf("%d predictions for 2 flowers", len(answer.Predictions))
	}
	return nil
}
