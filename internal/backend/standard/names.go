// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Annotations of the operator's own on what it makes.
const (
	// annotationRecord holds the rollout record, on the HTTPRoute.
	annotationRecord = "rollout.serinus.io/record"
	// annotationIdleSince tells, on a Deployment, since when no route points at it.
	annotationIdleSince = "rollout.serinus.io/idle-since"
	// annotationInputs is the identity of a revision, on all that belongs to it.
	annotationInputs = "rollout.serinus.io/inputs"
)

// inferenceServiceKind is the kind of the owner of everything that the operator makes.
const inferenceServiceKind = "InferenceService"

// storageInitializer is the init container that downloads the model.
const storageInitializer = "storage-initializer"

// Vocabulary lists what is the same in the metadata of every child: keys, and some values.
func Vocabulary() []string {
	return []string{
		v1beta1.LabelInferenceService, v1beta1.LabelRevision, v1beta1.LabelComponent, v1beta1.LabelManagedBy,
		string(v1beta1.PredictorComponent), v1beta1.ManagedBySerinus,
		annotationRecord, annotationIdleSince, annotationInputs, annotationRevision,
	}
}

func deploymentName(isvc string, n rollout.Number) string {
	return backend.RevisionName(isvc, n) + "-deployment"
}

// deploymentNumber is the revision of a Deployment of that name; 0 for any other name.
func deploymentNumber(isvc, name string) rollout.Number {
	revision, ok := strings.CutSuffix(name, "-deployment")
	if !ok {
		return 0
	}
	return backend.RevisionNumber(isvc, revision)
}

// routeName is the name of the HTTPRoute that splits the traffic.
func routeName(isvc string) string { return isvc }

func tagRouteName(tag, isvc string) string { return tag + "-" + backend.PredictorName(isvc) }

// childMeta names a child and makes it the InferenceService's. A child of a revision carries the revision's name.
func childMeta(isvc *v1beta1.InferenceService, name string, n rollout.Number) metav1.ObjectMeta {
	labels := map[string]string{
		v1beta1.LabelInferenceService: isvc.Name,
		v1beta1.LabelComponent:        string(v1beta1.PredictorComponent),
		v1beta1.LabelManagedBy:        v1beta1.ManagedBySerinus,
	}
	if n != 0 {
		labels[v1beta1.LabelRevision] = backend.RevisionName(isvc.Name, n)
	}
	return metav1.ObjectMeta{
		Name:      name,
		Namespace: isvc.Namespace,
		Labels:    labels,
		OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind(inferenceServiceKind)),
		},
	}
}
