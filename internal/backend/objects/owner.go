// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// CheckOwner returns a conflict unless the InferenceService controls the object. An orphan with our
// labels is ours and is adopted again. An object of a deleted InferenceService with the same name
// is left to the garbage collector.
func CheckOwner(isvc *v1beta1.InferenceService, object client.Object, kind string) error {
	owner := metav1.GetControllerOf(object)
	labels := object.GetLabels()
	switch {
	case owner != nil && owner.UID == isvc.UID:
		return nil
	case owner == nil && labels[v1beta1.LabelManagedBy] == v1beta1.ManagedBySerinus && labels[v1beta1.LabelInferenceService] == isvc.Name:
		return nil
	case owner != nil && isInferenceService(owner) && owner.Name == isvc.Name:
		return fmt.Errorf("%w: %s %q is of an InferenceService of the same name that was deleted, and goes with it",
			backend.ErrStaleCache, kind, object.GetName())
	}
	conflict := &backend.ConflictError{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
	if owner != nil {
		conflict.Owner = owner.Kind + " " + owner.Name
	}
	return conflict
}

func isInferenceService(owner *metav1.OwnerReference) bool {
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	return owner.Kind == inferenceServiceKind && group == v1beta1.GroupVersion.Group
}

// IsOwned reports whether an object with one of our names is ours. Another owner's object counts as
// absent until its name is needed; only the write then fails with a conflict. A conflicting object
// must not block unrelated work.
func IsOwned(isvc *v1beta1.InferenceService, object client.Object, kind string) (bool, error) {
	err := CheckOwner(isvc, object, kind)
	if conflict := (*backend.ConflictError)(nil); errors.As(err, &conflict) {
		return false, nil
	}
	return err == nil, err
}

// Collect adds the objects of revisions to a map by their numbers. It reads the numbers from the
// names, because labels can be copied and removed.
func Collect[T client.Object](
	isvc *v1beta1.InferenceService, kind string, number func(isvc, name string) rollout.Number, objects []T, into map[rollout.Number]T,
) error {
	for _, object := range objects {
		n := number(isvc.Name, object.GetName())
		if n == 0 {
			continue
		}
		ours, err := IsOwned(isvc, object, kind)
		if err != nil {
			return err
		}
		if ours {
			into[n] = object
		}
	}
	return nil
}
