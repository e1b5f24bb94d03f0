// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"errors"
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

// ReasonScaleTargetMissing says, in a condition that stays True, that there is no ScaleTarget for an external autoscaler.
const ReasonScaleTargetMissing = "ScaleTargetMissing"

const scaleTargetKind = "ScaleTarget"

// ScaleTarget is the kind of the objects that external autoscalers scale, which a cluster may lack after an upgrade.
func ScaleTarget() client.Object { return &scalingv1alpha1.ScaleTarget{} }

// scaleTargetsInstalled reports whether the cluster has ScaleTargets.
func (b *Backend) scaleTargetsInstalled() bool {
	return b.ScaleTargetsInstalled != nil && b.ScaleTargetsInstalled()
}

func (b *Backend) readScaleTarget(ctx context.Context, isvc *v1beta1.InferenceService, found *children) error {
	if !b.scaleTargetsInstalled() {
		return nil
	}
	var list scalingv1alpha1.ScaleTargetList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	for _, target := range objects.Pointers(list.Items) {
		if target.Name == backend.PredictorName(isvc.Name) && objects.Mine(isvc, target, scaleTargetKind) == nil {
			found.scaleTarget = target
		}
	}
	return nil
}

// askedReplicas returns the number that an autoscaler or a person has set on the ScaleTarget. It is nil while the number is
// the one that the operator has copied from a Deployment: then autoscalers, if there are any, scale Deployments.
//
// The first other number removes the note of what was copied, so that a later number that happens to be the same counts.
func (c *children) askedReplicas() *int {
	if c.scaleTarget == nil || c.scaleTarget.Annotations[annotationCopiedReplicas] == copied(c.scaleTarget.Spec.Replicas) {
		return nil
	}
	return new(int(c.scaleTarget.Spec.Replicas))
}

func copied(replicas int32) string { return strconv.Itoa(int(replicas)) }

// keepScaleTarget keeps the object that an external autoscaler can be told once. Like the Service of the predictor it
// stands for the revision with the largest share that clients get, so it follows the gateway.
//
// Nothing depends on it but the autoscaler that uses it: where it cannot be created, that is reported and keeps nothing
// else.
func (w *writer) keepScaleTarget(ctx context.Context) error {
	current, class := w.found.scaleTarget, autoscalerClass(w.isvc)
	switch {
	case !w.scaleTargetsInstalled(), class == unknownClass:
		return nil
	case class != v1beta1.AutoscalerClassExternal:
		return w.objects.Delete(ctx, objects.OrNil(current))
	case current == nil && w.Decision.Record != nil && w.isUnaddressed():
		return nil
	}
	n := w.Decision.Scaled()
	replicas, runs := w.replicas[n]
	if current == nil {
		if !runs {
			return nil
		}
		err := w.objects.Apply(ctx, copyingScaleTarget(w.isvc, replicas), nil, objects.ExactLists)
		if conflict := (*backend.ConflictError)(nil); errors.As(err, &conflict) || backend.IsRefusal(err) {
			w.find(v1beta1.ConditionPredictorReady, ReasonScaleTargetMissing, "there is no ScaleTarget for an external autoscaler", err)
			return nil
		}
		return err
	}
	current, err := w.reportScale(ctx, current, n)
	if err != nil {
		return err
	}
	asked := w.found.askedReplicas() != nil
	if asked || !runs {
		replicas = int(current.Spec.Replicas)
	}
	made := copyingScaleTarget(w.isvc, replicas)
	if asked {
		made.Annotations = nil
	}
	return w.objects.Apply(ctx, made, current, objects.ExactLists)
}

// copyingScaleTarget has the number of replicas of a Deployment, and notes that this is where it is from.
func copyingScaleTarget(isvc *v1beta1.InferenceService, replicas int) *scalingv1alpha1.ScaleTarget {
	made := &scalingv1alpha1.ScaleTarget{
		ObjectMeta: objects.Meta(isvc, backend.PredictorName(isvc.Name), 0),
		Spec:       scalingv1alpha1.ScaleTargetSpec{Replicas: int32(replicas)},
	}
	made.Annotations = map[string]string{annotationCopiedReplicas: copied(made.Spec.Replicas)}
	return made
}

// reportScale writes which pods are scaled, where that has changed. It returns the ScaleTarget as it is then.
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
	if deployment := w.found.deployments[n]; deployment != nil {
		*reported.Status.Replicas = deployment.Status.Replicas
	}
	if equality.Semantic.DeepEqual(current.Status, reported.Status) {
		return current, nil
	}
	patch := client.MergeFromWithOptions(current, client.MergeFromWithOptimisticLock{})
	err := w.Client.Status().Patch(ctx, reported, patch, client.FieldOwner(backend.FieldOwner))
	switch {
	case apierrors.IsNotFound(err):
		return nil, backend.ErrStale
	case err != nil:
		return nil, fmt.Errorf("writing the status of ScaleTarget %q: %w", current.Name, err)
	}
	return reported, nil
}
