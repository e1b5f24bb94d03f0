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

// OwnPrefix is the prefix of the annotations that only the operator writes. Those that are not
// desired are removed.
const OwnPrefix = "rollout.serinus.io/"

// Annotations on the objects that the operator creates.
const (
	// AnnotationState holds the rollout state on the object that splits the traffic.
	AnnotationState = OwnPrefix + "record"
	// AnnotationHash is the hash of a revision, on all objects of the revision.
	AnnotationHash = OwnPrefix + "inputs"
	// AnnotationAmended holds the [backend.Amendment] of a revision on its ControllerRevision.
	AnnotationAmended = OwnPrefix + "amended"
	// AnnotationDownload is the digest of an amended download on the workload of a revision.
	AnnotationDownload = OwnPrefix + "download"
)

// inferenceServiceKind is the kind of the owner.
const inferenceServiceKind = "InferenceService"

// IndexByInferenceService is the name of the cache index of objects by the name of their
// InferenceService.
const IndexByInferenceService = "serving.kserve.io/inferenceservice"

// InferenceServiceOf extracts the index key of an object.
func InferenceServiceOf(object client.Object) []string {
	if name := object.GetLabels()[v1beta1.LabelInferenceService]; name != "" {
		return []string{name}
	}
	return nil
}

// Meta returns the metadata of an InferenceService's object. The object of a revision is labelled
// with the revision's name.
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
			*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind(inferenceServiceKind)),
		},
	}
}

// ownLabels are the keys of the labels that the operator sets.
var ownLabels = []string{
	v1beta1.LabelInferenceService, v1beta1.LabelComponent, v1beta1.LabelManagedBy, v1beta1.LabelRevision,
}

// WithUserLabels adds the labels that the pods inherit from the InferenceService, as KServe does.
func WithUserLabels(meta metav1.ObjectMeta, pods map[string]string) metav1.ObjectMeta {
	labels := maps.Clone(pods)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, meta.Labels)
	meta.Labels = labels
	return meta
}

// Pointers returns pointers to the items of a list.
func Pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// SortByName sorts objects by name, for a stable order.
func SortByName[T interface{ GetName() string }](objects []T) {
	slices.SortFunc(objects, func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
}

// OrNil returns the object as an interface, which is nil for a nil pointer.
func OrNil[T any, P interface {
	*T
	client.Object
}](object P) client.Object {
	if object == nil {
		return nil
	}
	return object
}

// ValueOr returns the value of an optional field, or a default.
func ValueOr[T any](pointer *T, otherwise T) T {
	if pointer == nil {
		return otherwise
	}
	return *pointer
}
