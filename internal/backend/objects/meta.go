// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// OwnPrefix begins the annotations that only this operator writes. One that is no longer wanted must go.
const OwnPrefix = "rollout.serinus.io/"

// Annotations of the operator's own on what it makes.
const (
	// AnnotationRecord holds the rollout record, on what splits the traffic.
	AnnotationRecord = OwnPrefix + "record"
	// AnnotationInputs is the identity of a revision, on all that belongs to it.
	AnnotationInputs = OwnPrefix + "inputs"
	// AnnotationAmended is what has changed on record of a revision since it was made.
	AnnotationAmended = OwnPrefix + "amended"
	// AnnotationDownload stands, on what runs a revision, for how a revision gets its model, where that has changed since it was made.
	AnnotationDownload = OwnPrefix + "download"
)

// InferenceServiceKind is the kind of the owner of everything that the operator makes.
const InferenceServiceKind = "InferenceService"

// IndexByInferenceService indexes every kind that a backend reads by the name of the InferenceService that the objects
// belong to.
const IndexByInferenceService = "serving.kserve.io/inferenceservice"

// InferenceServiceOf extracts that index.
func InferenceServiceOf(object client.Object) []string {
	if name := object.GetLabels()[v1beta1.LabelInferenceService]; name != "" {
		return []string{name}
	}
	return nil
}

// Meta names a child and makes it the InferenceService's. A child of a revision carries the revision's name.
func Meta(isvc *v1beta1.InferenceService, name string, n rollout.Number) metav1.ObjectMeta {
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
			*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind(InferenceServiceKind)),
		},
	}
}

// ownLabels are the keys of the labels that the operator gives a child.
var ownLabels = []string{
	v1beta1.LabelInferenceService, v1beta1.LabelComponent, v1beta1.LabelManagedBy, v1beta1.LabelRevision,
}

// WithUserLabels adds the labels that the pods have from the InferenceService, as KServe does.
func WithUserLabels(meta metav1.ObjectMeta, pods map[string]string) metav1.ObjectMeta {
	labels := maps.Clone(pods)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, meta.Labels)
	meta.Labels = labels
	return meta
}

// Pointers points at each item of a list.
func Pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// SortByName gives objects an order that does not change from one look to the next.
func SortByName[T interface{ GetName() string }](objects []T) {
	slices.SortFunc(objects, func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
}

// OrNil is the object as an interface that is nil where there is no object.
func OrNil[T any, P interface {
	*T
	client.Object
}](object P) client.Object {
	if object == nil {
		return nil
	}
	return object
}

// ValueOr is what a field has that may be absent.
func ValueOr[T any](pointer *T, otherwise T) T {
	if pointer == nil {
		return otherwise
	}
	return *pointer
}
