// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// ReasonScaleTargetMissing is the reason of a condition that stays True although the ScaleTarget
// could not be created.
const ReasonScaleTargetMissing = "ScaleTargetMissing"

const scaleTargetKind = "ScaleTarget"

// ScaleTarget returns the kind that external autoscalers scale. A cluster may lack it after an
// upgrade.
func ScaleTarget() client.Object { return &scalingv1alpha1.ScaleTarget{} }

func (b *Backend) scaleTargetsInstalled() bool {
	return b.ScaleTargetsInstalled != nil && b.ScaleTargetsInstalled()
}

func (b *Backend) readScaleTarget(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if !b.scaleTargetsInstalled() {
		return nil
	}
	var list scalingv1alpha1.ScaleTargetList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	for _, target := range objects.Pointers(list.Items) {
		if target.Name == backend.PredictorName(isvc.Name) && objects.CheckOwner(isvc, target, scaleTargetKind) == nil {
			observed.scaleTarget = target
		}
	}
	return nil
}

// requestedReplicas returns the number that an autoscaler or a user has set on the ScaleTarget. It
// is nil while the number is the operator's copy of a Deployment's replicas: then autoscalers, if
// there are any, scale Deployments.
//
// The first other number removes the annotation of the copy, so that the same number counts if it
// is set later.
func (c *children) requestedReplicas() *int {
	if c.scaleTarget == nil || c.scaleTarget.Annotations[annotationCopiedReplicas] == copied(c.scaleTarget.Spec.Replicas) {
		return nil
	}
	return new(int(c.scaleTarget.Spec.Replicas))
}

func copied(replicas int32) string { return strconv.Itoa(int(replicas)) }

// writeScaleTarget writes the ScaleTarget, which an external autoscaler can reference across
// revisions. Like the predictor's Service, it stands for the revision with the largest accepted
// share.
//
// Only an autoscaler that references it depends on it. A failure to create it is reported and
// blocks nothing.
func (w *writer) writeScaleTarget(ctx context.Context) error {
	current, class := w.observed.scaleTarget, autoscalerClass(w.isvc)
	switch {
	case !w.scaleTargetsInstalled(), class == unknownClass:
		return nil
	case class != v1beta1.AutoscalerClassExternal:
		return w.Objects.Delete(ctx, objects.OrNil(current))
	case current == nil && w.Decision.State != nil && w.predatesPredictorService():
		return nil
	}
	n := w.Decision.Scaled()
	replicas, runs := w.replicas[n]
	if current == nil {
		if !runs {
			return nil
		}
		err := w.Objects.Apply(ctx, scaleTargetCopy(w.isvc, replicas), nil, objects.ExactLists)
		if backend.IsConflict(err) || backend.IsRefusal(err) {
			w.addFinding(v1beta1.ConditionPredictorReady, ReasonScaleTargetMissing, "there is no ScaleTarget for an external autoscaler", err)
			return nil
		}
		return err
	}
	current, err := w.reportScale(ctx, current, n)
	if err != nil {
		return err
	}
	requested := w.observed.requestedReplicas() != nil
	if requested || !runs {
		replicas = int(current.Spec.Replicas)
	}
	desired := scaleTargetCopy(w.isvc, replicas)
	if requested {
		desired.Annotations = nil
	}
	return w.Objects.Apply(ctx, desired, current, objects.ExactLists)
}

// scaleTargetCopy returns a ScaleTarget with the replicas of a Deployment, annotated as a copy.
func scaleTargetCopy(isvc *v1beta1.InferenceService, replicas int) *scalingv1alpha1.ScaleTarget {
	desired := &scalingv1alpha1.ScaleTarget{
		ObjectMeta: objects.Meta(isvc, backend.PredictorName(isvc.Name), 0),
		Spec:       scalingv1alpha1.ScaleTargetSpec{Replicas: int32(replicas)},
	}
	desired.Annotations = map[string]string{annotationCopiedReplicas: copied(desired.Spec.Replicas)}
	return desired
}

// reportScale updates the status with the pods that are scaled. It returns the updated ScaleTarget.
func (w *writer) reportScale(ctx context.Context, current *scalingv1alpha1.ScaleTarget, n rollout.Number) (*scalingv1alpha1.ScaleTarget, error) {
	if n == 0 {
		return current, nil
	}
	reported := current.DeepCopy()
	reported.Status = scalingv1alpha1.ScaleTargetStatus{
		Replicas:     new(int32(0)),
		Selector:     labels.SelectorFromSet(selector(w.isvc, n)).String(),
		RevisionName: backend.RevisionName(w.isvc.Name, n),
	}
	if deployment := w.observed.deployments[n]; deployment != nil {
		*reported.Status.Replicas = deployment.Status.Replicas
	}
	if equality.Semantic.DeepEqual(current.Status, reported.Status) {
		return current, nil
	}
	_, err := w.Objects.Write(ctx, objects.Attempt{
		Object: reported, Content: fmt.Sprint("status ", *reported.Status.Replicas, reported.Status.RevisionName),
		Write: func() error {
			patch := client.MergeFromWithOptions(current, client.MergeFromWithOptimisticLock{})
			return w.Client.Status().Patch(ctx, reported, patch, client.FieldOwner(backend.FieldOwner))
		},
		Undone: func(context.Context) (field, writer string) { return "status", "another writer" },
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, backend.ErrStaleCache
	case err != nil:
		return nil, fmt.Errorf("writing the status of ScaleTarget %q: %w", current.Name, err)
	}
	return reported, nil
}
