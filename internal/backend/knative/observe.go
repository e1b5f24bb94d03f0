// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/rollout"
)

// children are the objects of one InferenceService. A revision's objects are keyed by its number.
type children struct {
	history.History
	service *servingv1.Service
	// knativeRevisions are the Knative Revisions of the Knative Service.
	knativeRevisions map[rollout.Number]*servingv1.Revision
	scalers          map[rollout.Number]*autoscalingv1alpha1.PodAutoscaler
	pods             map[rollout.Number][]*corev1.Pod

	hostRoute hostRoute
	now       time.Time
}

func (b *Backend) observe(ctx context.Context, isvc *v1beta1.InferenceService) (*children, error) {
	observed := &children{
		knativeRevisions: map[rollout.Number]*servingv1.Revision{}, scalers: map[rollout.Number]*autoscalingv1alpha1.PodAutoscaler{}, now: b.now(),
	}
	for _, read := range []func(context.Context, *v1beta1.InferenceService, *children) error{
		b.readHistory, b.readService, b.readRevisions, b.readScalers, b.readPods, b.readHostRoute,
	} {
		if err := read(ctx, isvc, observed); err != nil {
			return nil, err
		}
	}
	return observed, nil
}

func (b *Backend) now() time.Time {
	if b.Clock == nil {
		return time.Now()
	}
	return b.Clock.Now()
}

func (b *Backend) readHistory(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var err error
	observed.History, err = history.Read(ctx, &b.Store, isvc)
	if err != nil || observed.SavedState == nil {
		return err
	}
	return backend.CheckStateVersion(observed.SavedState.Annotations[objects.AnnotationState])
}

func (b *Backend) readService(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if !b.Installed() {
		return nil
	}
	var list servingv1.ServiceList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	for _, service := range objects.Pointers(list.Items) {
		if service.Name != backend.PredictorName(isvc.Name) {
			continue
		}
		ours, err := objects.IsOwned(isvc, service, serviceKind)
		if err != nil {
			return err
		}
		if !ours {
			continue
		}
		if err := backend.CheckStateVersion(service.Annotations[objects.AnnotationState]); err != nil {
			return err
		}
		observed.service = service
	}
	// A view from before our last write must not be used: a spec that was changed back in the
	// meantime would look as if it had been acted on.
	cached := observed.service
	if cached == nil {
		cached = &servingv1.Service{}
		cached.Namespace, cached.Name = isvc.Namespace, backend.PredictorName(isvc.Name)
	}
	return b.AwaitWritten(ctx, cached)
}

// readRevisions reads the revisions of the Knative Service. Those of a deleted Knative Service are
// garbage-collected.
func (b *Backend) readRevisions(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if observed.service == nil {
		return nil
	}
	var list servingv1.RevisionList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	for _, revision := range objects.Pointers(list.Items) {
		n := backend.RevisionNumber(isvc.Name, revision.Name)
		switch {
		case n == 0 || revision.DeletionTimestamp != nil:
		case belongs(revision, observed.service):
			observed.knativeRevisions[n] = revision
		case revision.Labels[serving.ServiceLabelKey] != observed.service.Name:
			return ownerConflict(revision)
		}
	}
	return nil
}

func (b *Backend) readScalers(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if len(observed.knativeRevisions) == 0 {
		return nil
	}
	var list autoscalingv1alpha1.PodAutoscalerList
	if err := b.List(ctx, isvc, &list); err != nil {
		return err
	}
	for _, scaler := range objects.Pointers(list.Items) {
		n := backend.RevisionNumber(isvc.Name, scaler.Name)
		if revision := observed.knativeRevisions[n]; revision != nil && metav1.IsControlledBy(scaler, revision) {
			observed.scalers[n] = scaler
		}
	}
	return nil
}

func belongs(revision client.Object, service *servingv1.Service) bool {
	return revision.GetLabels()[serving.ServiceUIDLabelKey] == string(service.UID)
}

// checkRevisionOwner returns a conflict if a Knative Revision with the needed name belongs to
// another Knative Service.
func (b *Backend) checkRevisionOwner(ctx context.Context, isvc *v1beta1.InferenceService, n rollout.Number) error {
	desired := &servingv1.Revision{}
	desired.Namespace, desired.Name = isvc.Namespace, backend.RevisionName(isvc.Name, n)
	current, err := b.Metadata(ctx, desired)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for Revision %q: %w", desired.Name, err)
	}
	if current.Labels[serving.ServiceLabelKey] == backend.PredictorName(isvc.Name) {
		return fmt.Errorf("%w: Revision %q is ours and not yet seen, or goes with a Knative Service that was deleted", backend.ErrStaleCache, desired.Name)
	}
	return ownerConflict(current)
}

func ownerConflict(revision client.Object) *backend.ConflictError {
	conflict := &backend.ConflictError{Kind: revisionKind, Namespace: revision.GetNamespace(), Name: revision.GetName()}
	if owner := revision.GetLabels()[serving.ServiceLabelKey]; owner != "" {
		conflict.Owner = "Knative Service " + owner
	}
	return conflict
}

func (b *Backend) readPods(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	var err error
	observed.pods, err = pods.Read(ctx, &b.Store, isvc, RevisionLabel)
	return err
}

// routeOf reads the rollout state, and whether Knative serves its split.
func (b *Backend) routeOf(isvc *v1beta1.InferenceService, observed *children, revisions []rollout.Revision) rollout.Route {
	route := rollout.Route{NoRouteAPI: !b.Installed(), NoBackends: observed.service == nil || len(observed.service.Status.Traffic) == 0}
	if observed.service == nil {
		return observed.savedRoute(route)
	}
	traffic := readTraffic(isvc, observed.service)
	route.Split, route.Tags = traffic.split(), traffic.tagged()
	state, err := rollout.DecodeState(observed.service.Annotations[objects.AnnotationState])
	// A state with an empty split belongs to a first deployment: its traffic is a placeholder.
	carried := err == nil && (traffic.matches(state.Split) || state.Split.IsEmpty())
	if err != nil || !carried && !engine.HasRevisionsOf(revisions, state) {
		return route
	}
	route.State = &state
	if carried {
		route.Split = state.Split
	}
	for _, share := range state.Split.Shares() {
		// Knative lets us give a tag only to a revision in the traffic. One that is not ready and has
		// no share is not in it.
		if n := share.Revision; !traffic.names(n) && !observed.isReady(n) {
			route.Untaggable = append(route.Untaggable, n)
		}
	}
	route.Accepted = carried && (isServed(observed.service) || state.Split.IsEmpty())
	route.TagsAccepted = route.Accepted // Tags are part of the traffic.
	return route
}

// savedRoute returns the route of an InferenceService without a Knative Service: nothing is served,
// and a ControllerRevision keeps the rollout state.
func (c *children) savedRoute(observed rollout.Route) rollout.Route {
	if c.SavedState == nil {
		return observed
	}
	state, err := rollout.DecodeState(c.SavedState.Annotations[objects.AnnotationState])
	if err != nil {
		return observed
	}
	observed.State = &state
	observed.Accepted, observed.TagsAccepted = state.Split.IsEmpty(), state.Split.IsEmpty()
	return observed
}
