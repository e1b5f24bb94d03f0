// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// writer writes one change. It implements [engine.Driver].
type writer struct {
	*engine.Writer
	*Backend
	isvc     *v1beta1.InferenceService
	observed *children
	// replicas are the desired replicas of the running workloads, once these are written.
	replicas map[rollout.Number]int
	// unwritten are the revisions whose workloads could not be written, with the errors.
	unwritten map[rollout.Number]error
}

// CheckCreate returns an error while pods of an earlier revision of the same name exist.
func (w *writer) CheckCreate() error {
	if !w.observed.hasLeftoverPods(w.Decision.Target) {
		return nil
	}
	return fmt.Errorf("%w: pods of an earlier %s still exist; they are garbage-collected unless their owner references were removed",
		backend.ErrStaleCache, backend.RevisionName(w.isvc.Name, w.Decision.Target))
}

// Unrecorded restores revisions from their Deployments.
func (w *writer) Unrecorded() map[rollout.Number]backend.RenderedRevision {
	unrecorded := map[rollout.Number]backend.RenderedRevision{}
	for n, deployment := range w.observed.deployments {
		if w.observed.ControllerRevisions[n] == nil {
			unrecorded[n] = revisionOf(deployment, w.observed.services[n])
		}
	}
	return unrecorded
}

// Remains reports nothing: what is left of a workload is observed as one.
func (*writer) Remains(rollout.Number) bool { return false }

// WriteWorkloads writes the workloads that should run. Those that retire are written later.
func (w *writer) WriteWorkloads(ctx context.Context) {
	for _, plan := range w.Decision.Workloads {
		revision, known := w.revision(plan.Revision)
		if plan.Action != rollout.Run || !known {
			continue
		}
		if err := w.run(ctx, plan, revision); err != nil {
			w.unwritten[plan.Revision] = err
			w.Fail(err)
		}
	}
}

// WriteRoutes writes the routes, and then the Services and the ScaleTarget that follow them.
func (w *writer) WriteRoutes(ctx context.Context) bool {
	routed, addressed := w.writeRoutes(ctx), w.writePredictorService(ctx)
	w.Fail(routed, w.writeLocalService(ctx), addressed, w.writeScaleTarget(ctx))
	return routed == nil && addressed == nil
}

// revision returns the revision from the history. If its ControllerRevision cannot be decoded, it
// returns the Deployment's content. Serving pods are not restarted for credentials that were
// recorded just before the pods became ready.
func (w *writer) revision(n rollout.Number) (revision backend.RenderedRevision, known bool) {
	revision, known = w.observed.Revisions[n]
	deployment := w.observed.deployments[n]
	late := revision.Amendment.Download != nil && deployment != nil && w.observed.ready(n) > 0 &&
		deployment.Annotations[objects.AnnotationDownload] != revision.DownloadHash()
	if known && !late {
		return revision, true
	}
	if deployment != nil {
		return revisionOf(deployment, w.observed.services[n]), true
	}
	return backend.RenderedRevision{}, false
}

func (w *writer) run(ctx context.Context, plan rollout.WorkloadPlan, revision backend.RenderedRevision) error {
	n := plan.Revision
	if err := w.Objects.Apply(ctx, service(w.isvc, n, revision), objects.OrNil(w.observed.services[n]), objects.SharedLists); err != nil {
		return err
	}
	scaling := scalingFor(w.isvc, w.Replicas)
	current := plan.MinReplicas // The initial replicas of a new Deployment.
	if deployment := w.observed.deployments[n]; deployment != nil {
		current = replicasOf(deployment)
	}
	replicas := scaling.replicas(current, plan)
	desired := deployment(w.isvc, n, revision, replicas, w.progressDeadline(revision))
	annotatePlan(desired, plan)
	if err := w.Objects.Apply(ctx, desired, objects.OrNil(w.observed.deployments[n]), objects.SharedLists); err != nil {
		return err
	}
	w.replicas[n] = replicas
	switch {
	case scaling.autoscaled():
		return w.Objects.Apply(ctx, autoscaler(w.isvc, n, scaling.bounds, plan.MinReplicas), objects.OrNil(w.observed.autoscalers[n]), objects.ExactLists)
	case scaling.class == unknownClass:
		return nil
	default:
		return w.Objects.Delete(ctx, objects.OrNil(w.observed.autoscalers[n]))
	}
}

// annotatePlan stores what the next decision must know of the replicas on the Deployment.
func annotatePlan(desired *appsv1.Deployment, plan rollout.WorkloadPlan) {
	if !plan.ScaledUpAt.IsZero() {
		desired.Annotations[annotationScaledUpAt] = plan.ScaledUpAt.Format(time.RFC3339Nano)
	}
	if plan.Held > 0 {
		desired.Annotations[annotationHeldReplicas] = strconv.Itoa(plan.Held)
	}
	if plan.Lowered > 0 {
		desired.Annotations[annotationLowered] = strconv.Itoa(plan.Lowered)
	}
}

// progressDeadline returns how long the revision may take to become ready. A model that loads
// slowly can set its own deadline.
func (b *Backend) progressDeadline(revision backend.RenderedRevision) time.Duration {
	deadline, err := time.ParseDuration(revision.Runs.Template.Annotations[v1beta1.AnnotationProgressDeadline])
	if err != nil || deadline < time.Second {
		return b.Config.Rollout.ProgressDeadline.Duration
	}
	return deadline
}

// writeRoutes writes the route, then the tag routes. Tag routes that are no longer desired are
// deleted last.
func (w *writer) writeRoutes(ctx context.Context) error {
	if w.Decision.State == nil || !w.RoutesInstalled() {
		return nil
	}
	if err := w.mayShift(ctx); err != nil {
		return err
	}
	route := mainRoute(w.isvc, w.Config.Ingress, *w.Decision.State, w.timeouts(w.observed.route, w.Decision.State.Split))
	if !gateway.RemoveUnusableHosts(route, w.observed.route, w.UnusableHosts) {
		// A route without hosts would match all hosts, but this route must stay, because it carries
		// the rollout state. This host is the InferenceService's own.
		route.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(gateway.LocalHost(w.isvc, w.Config.Ingress))}
	}
	written, err := w.writeRoute(ctx, route, w.observed.route)
	if err != nil {
		return err
	}
	w.Route = written
	desired := map[string]bool{}
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		route := w.tagRoute(tag)
		if !gateway.RemoveUnusableHosts(route, w.observed.tagRoutes[tag.Tag], w.UnusableHosts) {
			continue
		}
		desired[tag.Tag] = true
		if _, err := w.writeRoute(ctx, route, w.observed.tagRoutes[tag.Tag]); err != nil {
			return err
		}
	}
	for tag, route := range w.observed.tagRoutes {
		if !desired[tag] {
			if err := w.Objects.Delete(ctx, route); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayShift returns an error if the route must keep its split. A revision gets its first share only
// if its workload was just written: the write fails if the workload was being scaled down and the
// cache does not show it yet. A target gets a larger share only if no tag host has another owner. A
// share may always be reduced.
func (w *writer) mayShift(ctx context.Context) error {
	now, target := rollout.Split{}, w.Decision.Target
	if w.observed.route != nil {
		now = splitOf(w.isvc, w.observed.route)
	}
	for _, share := range w.Decision.State.Split.Shares() {
		if err := w.unwritten[share.Revision]; err != nil && share.Percent > 0 && now.Percent(share.Revision) == 0 {
			return err
		}
	}
	if w.Decision.State.Split.Percent(target) <= now.Percent(target) {
		return nil
	}
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		if w.observed.tagRoutes[tag.Tag] != nil {
			continue
		}
		if _, err := w.Objects.Lookup(ctx, w.tagRoute(tag), routeKind); err != nil {
			return err
		}
	}
	return nil
}

// writeRoute writes a route. If its local gateway is not configured, an existing route is not
// changed and a new one is not created: the InferenceService must neither lose its traffic nor
// become public.
func (w *writer) writeRoute(ctx context.Context, desired, current *gatewayv1.HTTPRoute) (written bool, err error) {
	if gateway.ClusterLocal(w.isvc) && w.Config.Ingress.LocalGateway == nil {
		if current == nil {
			return false, nil
		}
		desired.Spec.ParentRefs, desired.Spec.Hostnames = current.Spec.ParentRefs, current.Spec.Hostnames
	}
	err = w.Objects.Apply(ctx, desired, objects.OrNil(current), objects.ExactLists)
	return err == nil && !w.Objects.Held(desired), err
}

func (w *writer) tagRoute(tag backend.TaggedRevision) *gatewayv1.HTTPRoute {
	current := w.observed.tagRoutes[tag.Tag]
	timeouts := w.timeouts(current, rollout.All(tag.Revision))
	if w.Config.Ingress.RequestTimeout == nil && current != nil && len(current.Spec.Rules) == 1 &&
		current.Spec.Rules[0].Timeouts == nil && splitOf(w.isvc, current).Equal(rollout.All(tag.Revision)) {
		timeouts = nil // Earlier versions set no timeouts, and an upgrade writes nothing.
	}
	return tagRoute(w.isvc, w.Config.Ingress, tag.Tag, tag.Revision, timeouts)
}

func (w *writer) timeouts(current *gatewayv1.HTTPRoute, split rollout.Split) *gatewayv1.HTTPRouteTimeouts {
	if current != nil && !splitOf(w.isvc, current).Equal(split) {
		current = nil
	}
	var ofRevisions []*int64
	for _, share := range split.Shares() {
		revision, _ := w.revision(share.Revision)
		ofRevisions = append(ofRevisions, revision.Runs.TimeoutSeconds)
	}
	return w.observed.gateways.RequestTimeout(w.Config.Ingress, gateway.ParentRefs(w.isvc, w.Config.Ingress), current, ofRevisions...)
}

// noteWritten remembers a write, and whether it has changed a route.
func (w *writer) noteWritten(written *unstructured.Unstructured) error {
	switch written.GetKind() {
	case routeKind:
		current := w.observed.routeNamed(w.isvc, written.GetName())
		w.RouteChanged = w.RouteChanged || gateway.IsChanged(current, written)
	case deploymentKind:
	default:
		return nil
	}
	return w.NoteWritten(written)
}

// Drain records since when a workload is idle.
func (w *writer) Drain(ctx context.Context, plan rollout.WorkloadPlan) error {
	current := w.observed.deployments[plan.Revision]
	if current == nil {
		return nil
	}
	return w.retireTo(ctx, plan, current, replicasOf(current))
}

// ScaleDown scales a workload to zero.
func (w *writer) ScaleDown(ctx context.Context, plan rollout.WorkloadPlan) error {
	current := w.observed.deployments[plan.Revision]
	if current == nil {
		return nil
	}
	if replicasOf(current) > 0 {
		if err := w.DeleteConfirmed(ctx, objects.OrNil(w.observed.autoscalers[plan.Revision])); err != nil {
			return err
		}
	}
	return w.retireTo(ctx, plan, current, 0)
}

func (w *writer) retireTo(ctx context.Context, plan rollout.WorkloadPlan, current *appsv1.Deployment, replicas int) error {
	revision, _ := w.revision(plan.Revision)
	desired := deployment(w.isvc, plan.Revision, revision, replicas, w.progressDeadline(revision))
	desired.Annotations[annotationIdleSince] = plan.IdleSince.Format(time.RFC3339Nano)
	return w.Objects.Apply(ctx, desired, current, objects.SharedLists)
}

// Delete deletes what is left of a workload.
func (w *writer) Delete(ctx context.Context, n rollout.Number) error {
	return w.DeleteConfirmed(ctx,
		objects.OrNil(w.observed.autoscalers[n]), objects.OrNil(w.observed.deployments[n]), objects.OrNil(w.observed.services[n]))
}

// writeLocalService writes the Service that directs the in-cluster name of the InferenceService to
// the local gateway, once there is a route.
func (w *writer) writeLocalService(ctx context.Context) error {
	if w.Decision.State == nil || !w.RoutesInstalled() {
		return nil
	}
	return gateway.WriteLocalService(ctx, w.Objects, w.Config.Ingress, objects.OrNil(w.observed.localService))
}
