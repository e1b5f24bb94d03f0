// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testkit has what tests of all levels share: builders of objects, and a check whether a
// route is in effect. Its subpackages have a fake API server, fake controllers and a recorder of
// watch events.
package testkit

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// The InferenceService of most tests.
const (
	Namespace = "kserve-test"
	Name      = "sklearn-iris"
)

// Edit changes an InferenceService before it is used.
type Edit = func(*v1beta1.InferenceService)

// NewInferenceService returns an InferenceService as the API server stores it.
func NewInferenceService(edits ...Edit) *v1beta1.InferenceService {
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
		Namespace: Namespace, Name: Name, UID: "5e7a0b6e-0000-4000-8000-000000000001", Generation: 1,
		CreationTimestamp: metav1.NewTime(Start),
	}}
	for _, edit := range edits {
		edit(isvc)
	}
	return isvc
}

// Image makes the predictor a container with the image.
func Image(image string) Edit {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: image}}
	}
}

// Percent sets the traffic percent of the canary.
func Percent(percent int64) Edit {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.CanaryTrafficPercent = &percent }
}

// ReplicaBounds sets the minimum and maximum of replicas; a maximum of 0 stands for an absent one.
func ReplicaBounds(minReplicas, maxReplicas int32) Edit {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.MinReplicas, isvc.Spec.Predictor.MaxReplicas = &minReplicas, maxReplicas
	}
}

// Annotation sets an annotation.
func Annotation(key, value string) Edit {
	return func(isvc *v1beta1.InferenceService) { metav1.SetMetaDataAnnotation(&isvc.ObjectMeta, key, value) }
}

// Label sets a label.
func Label(key, value string) Edit {
	return func(isvc *v1beta1.InferenceService) { metav1.SetMetaDataLabel(&isvc.ObjectMeta, key, value) }
}
