// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Apply writes what was decided, and nothing where that is so already. The writer may die after any write:
//
//  1. The record of a new revision comes first. Found again, it is adopted, so no number is ever lost to two
//     revisions.
//  2. Workloads come up. More capacity never hurts.
//  3. The route is written, weights and rollout record in one, under the resource version that the decision was taken
//     on. A decision on an old view fails here. It only gives weight to what was seen ready.
//  4. The tag hosts follow, and the Service with KServe's name and the ScaleTarget once the gateway serves another split.
//  5. Workloads retire, and old records go. The decision asks for it only when it changes no route, and it is
//     confirmed against the API server that the route and the spec are still those that were observed.
//
// Steps that do not build on each other go on when one fails, so that a target that the API server refuses does not keep a
// canary that was rejected in the traffic.
func (s *session) Apply(ctx context.Context, change backend.Change) (backend.Outcome, error) {
	w := &writer{session: s, Change: change, unwritten: map[rollout.Number]error{}, replicas: map[rollout.Number]int{}}
	w.objects = objects.Writer{Store: &s.Store, InferenceService: s.isvc, Written: w.noteWritten, Contested: w.outcome.NoteContest}
	w.history = history.Writer{History: s.found.History, Writer: w.objects}
	if err := w.history.Amend(ctx, change.Amended); err != nil {
		return w.outcome, err
	}
	failures := []error{w.create(ctx), w.mendRecords(ctx), w.runWorkloads(ctx)}
	routed := w.writeRoutes(ctx)
	addressed := w.predictorAddress(ctx)
	failures = append(failures, routed, w.localAddress(ctx), addressed, w.keepScaleTarget(ctx))
	if routed == nil && addressed == nil {
		failures = append(failures, w.retire(ctx))
	}
	return w.outcome, errors.Join(failures...)
}

// writer carries out one change.
type writer struct {
	*session
	backend.Change
	objects objects.Writer
	history history.Writer
	outcome backend.Outcome
	// replicas are those of the workloads that run, once they are written.
	replicas map[rollout.Number]int
	// unwritten are the revisions whose workloads could not be written, with why.
	unwritten map[rollout.Number]error
}

// create records the target if it is new.
func (w *writer) create(ctx context.Context) error {
	if !w.Decision.Create || w.Revision == nil {
		return nil
	}
	if w.found.remains(w.Decision.Target) {
		return fmt.Errorf("%w: pods of an earlier %s are still there, and go by themselves unless somebody has cut them loose",
			backend.ErrStale, backend.RevisionName(w.isvc.Name, w.Decision.Target))
	}
	err := w.history.Record(ctx, w.Decision.Target, *w.Revision)
	w.outcome.Target = err == nil
	return err
}

// mendRecords restores the records that somebody has deleted, and what somebody has taken off others.
func (w *writer) mendRecords(ctx context.Context) error {
	failures := []error{w.history.Mend(ctx)}
	for _, n := range slices.Sorted(maps.Keys(w.found.deployments)) {
		// A record that is there and cannot be read is not replaced; its Deployment runs on.
		if w.found.Records[n] == nil {
			failures = append(failures, w.history.Record(ctx, n, revisionOf(w.found.deployments[n], w.found.services[n])))
		}
	}
	return errors.Join(failures...)
}

// runWorkloads brings up what runs. What retires is left for later.
func (w *writer) runWorkloads(ctx context.Context) error {
	var failures []error
	for _, plan := range w.Decision.Workloads {
		revision, known := w.revision(plan.Revision)
		if plan.Action != rollout.Run || !known {
			continue
		}
		if err := w.run(ctx, plan, revision); err != nil {
			w.unwritten[plan.Revision] = err
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// revision returns the recorded revision or, where its record cannot be read, what its Deployment says. Pods that serve are
// not restarted for credentials that were recorded a moment before they became ready.
func (w *writer) revision(n rollout.Number) (revision backend.NewRevision, known bool) {
	revision, known = w.found.Revisions[n]
	deployment := w.found.deployments[n]
	late := revision.Amendment.Download != nil && deployment != nil && w.found.ready(n) > 0 &&
		deployment.Annotations[objects.AnnotationDownload] != revision.DownloadDigest()
	if known && !late {
		return revision, true
	}
	if deployment != nil {
		return revisionOf(deployment, w.found.services[n]), true
	}
	return backend.NewRevision{}, false
}

func (w *writer) run(ctx context.Context, plan rollout.WorkloadPlan, revision backend.NewRevision) error {
	n := plan.Revision
	if err := w.objects.Apply(ctx, service(w.isvc, n, revision), objects.OrNil(w.found.services[n]), objects.SharedLists); err != nil {
		return err
	}
	scaling := scalingFor(w.isvc, w.Replicas)
	current := plan.Floor // What a new Deployment begins with.
	if deployment := w.found.deployments[n]; deployment != nil {
		current = replicasOf(deployment)
	}
	replicas := scaling.replicas(current, plan)
	made := deployment(w.isvc, n, revision, replicas, w.progressDeadline(revision))
	annotatePlan(made, plan)
	if err := w.objects.Apply(ctx, made, objects.OrNil(w.found.deployments[n]), objects.SharedLists); err != nil {
		return err
	}
	w.replicas[n] = replicas
	switch {
	case scaling.autoscaled():
		return w.objects.Apply(ctx, autoscaler(w.isvc, n, scaling.bounds, plan.Floor), objects.OrNil(w.found.autoscalers[n]), objects.ExactLists)
	case scaling.class == unknownClass:
		return nil
	default:
		return w.objects.Delete(ctx, objects.OrNil(w.found.autoscalers[n]))
	}
}

// annotatePlan keeps on a Deployment what the next decision must know of its replicas.
func annotatePlan(made *appsv1.Deployment, plan rollout.WorkloadPlan) {
	if !plan.ScaledUpAt.IsZero() {
		made.Annotations[annotationScaledUpAt] = plan.ScaledUpAt.Format(time.RFC3339Nano)
	}
	if plan.Held > 0 {
		made.Annotations[annotationHeldReplicas] = strconv.Itoa(plan.Held)
	}
	if plan.Lowered > 0 {
		made.Annotations[annotationLowered] = strconv.Itoa(plan.Lowered)
	}
}

// progressDeadline is how long the revision may take to become ready; a model that is known to load slowly brings its
// own.
func (b *Backend) progressDeadline(revision backend.NewRevision) time.Duration {
	deadline, err := time.ParseDuration(revision.Runs.Template.Annotations[v1beta1.AnnotationProgressDeadline])
	if err != nil || deadline < time.Second {
		return b.Config.Rollout.ProgressDeadline.Duration
	}
	return deadline
}

// writeRoutes writes the route, then the tag hosts. A tag host that is no longer wanted goes last of them.
func (w *writer) writeRoutes(ctx context.Context) error {
	if w.Decision.Record == nil || !w.RoutesInstalled() {
		return nil
	}
	if err := w.mayShift(ctx); err != nil {
		return err
	}
	route := mainRoute(w.isvc, w.Config.Ingress, *w.Decision.Record, w.timeouts(w.found.route, w.Decision.Record.Split))
	if !gateway.AvoidHosts(route, w.found.route, w.UnusableHosts) {
		// The route carries the rollout record, and without a host it would have every one. This one is only its own.
		route.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(gateway.LocalHost(w.isvc, w.Config.Ingress))}
	}
	written, err := w.writeRoute(ctx, route, w.found.route)
	if err != nil {
		return err
	}
	w.outcome.Route = written
	wanted := map[string]bool{}
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		route := w.tagRoute(tag)
		if !gateway.AvoidHosts(route, w.found.tagRoutes[tag.Tag], w.UnusableHosts) {
			continue
		}
		wanted[tag.Tag] = true
		if _, err := w.writeRoute(ctx, route, w.found.tagRoutes[tag.Tag]); err != nil {
			return err
		}
	}
	for tag, route := range w.found.tagRoutes {
		if !wanted[tag] {
			if err := w.objects.Delete(ctx, route); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayShift keeps the split as it is where it must not be given. A revision without a share gets one only when its
// workload could be written just now: one that was on its way down, and is not yet seen there, fails in that. And a
// target gets more only when its tag hosts are not somebody else's; to take traffic away from it waits for nothing.
func (w *writer) mayShift(ctx context.Context) error {
	now, target := rollout.Split{}, w.Decision.Target
	if w.found.route != nil {
		now = splitOf(w.isvc, w.found.route)
	}
	for _, share := range w.Decision.Record.Split.Shares() {
		if err := w.unwritten[share.Revision]; err != nil && share.Percent > 0 && now.Percent(share.Revision) == 0 {
			return err
		}
	}
	if w.Decision.Record.Split.Percent(target) <= now.Percent(target) {
		return nil
	}
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		if w.found.tagRoutes[tag.Tag] != nil {
			continue
		}
		if _, err := w.objects.Look(ctx, w.tagRoute(tag), routeKind); err != nil {
			return err
		}
	}
	return nil
}

// writeRoute writes a route where it belongs. One for a local gateway that there is none of stays where it is, and is not
// made: it must neither lose its traffic nor be put before the public.
func (w *writer) writeRoute(ctx context.Context, made, current *gatewayv1.HTTPRoute) (written bool, err error) {
	if gateway.ClusterLocal(w.isvc) && w.Config.Ingress.LocalGateway == nil {
		if current == nil {
			return false, nil
		}
		made.Spec.ParentRefs, made.Spec.Hostnames = current.Spec.ParentRefs, current.Spec.Hostnames
	}
	err = w.objects.Apply(ctx, made, objects.OrNil(current), objects.ExactLists)
	return err == nil && !w.objects.Held(made), err
}

func (w *writer) tagRoute(tag backend.TaggedRevision) *gatewayv1.HTTPRoute {
	current := w.found.tagRoutes[tag.Tag]
	timeouts := w.timeouts(current, rollout.All(tag.Revision))
	if w.Config.Ingress.RequestTimeout == nil && current != nil && len(current.Spec.Rules) == 1 &&
		current.Spec.Rules[0].Timeouts == nil && splitOf(w.isvc, current).Equal(rollout.All(tag.Revision)) {
		timeouts = nil // Earlier versions wrote none, and an upgrade writes nothing.
	}
	return tagRoute(w.isvc, w.Config.Ingress, tag.Tag, tag.Revision, timeouts)
}

// timeouts returns those of a route with that split.
func (w *writer) timeouts(current *gatewayv1.HTTPRoute, split rollout.Split) *gatewayv1.HTTPRouteTimeouts {
	if current != nil && !splitOf(w.isvc, current).Equal(split) {
		current = nil
	}
	var ofRevisions []*int64
	for _, share := range split.Shares() {
		revision, _ := w.revision(share.Revision)
		ofRevisions = append(ofRevisions, revision.Runs.TimeoutSeconds)
	}
	return w.found.gateways.RequestTimeout(w.Config.Ingress, gateway.ParentRefs(w.isvc, w.Config.Ingress), current, ofRevisions...)
}

// noteWritten notes a write, and whether it changes a route.
func (w *writer) noteWritten(written *unstructured.Unstructured) error {
	switch written.GetKind() {
	case routeKind:
		current := w.found.routeNamed(w.isvc, written.GetName())
		w.outcome.RouteChanged = w.outcome.RouteChanged || gateway.IsChanged(current, written)
	case deploymentKind:
	default:
		return nil
	}
	return w.NoteWritten(written)
}

// retire takes workloads down and forgets old records, one step at a time. See [rollout.WorkloadPlan].
func (w *writer) retire(ctx context.Context) error {
	var steps []func(context.Context) error
	for _, plan := range w.Decision.Workloads {
		switch plan.Action {
		case rollout.Run, rollout.Keep:
		case rollout.Drain, rollout.ScaleDown:
			steps = append(steps, func(ctx context.Context) error { return w.quiesce(ctx, plan) })
		case rollout.Delete:
			steps = append(steps, func(ctx context.Context) error { return w.deleteWorkload(ctx, plan.Revision) })
		}
	}
	var failures []error
	for _, step := range steps {
		failures = append(failures, step(ctx))
	}
	return errors.Join(append(failures, w.history.Forget(ctx, w.Decision.Forget))...)
}

// quiesce notes since when a workload is idle and, once it has drained, takes its replicas away.
func (w *writer) quiesce(ctx context.Context, plan rollout.WorkloadPlan) error {
	n := plan.Revision
	current := w.found.deployments[n]
	if current == nil {
		return nil
	}
	revision, _ := w.revision(n)
	replicas := replicasOf(current)
	if plan.Action == rollout.ScaleDown && replicas > 0 {
		if err := w.confirm(ctx); err != nil {
			return err
		}
		if err := w.objects.Delete(ctx, objects.OrNil(w.found.autoscalers[n])); err != nil {
			return err
		}
		replicas = 0
	}
	made := deployment(w.isvc, n, revision, replicas, w.progressDeadline(revision))
	made.Annotations[annotationIdleSince] = plan.IdleSince.Format(time.RFC3339Nano)
	return w.objects.Apply(ctx, made, current, objects.SharedLists)
}

func (w *writer) deleteWorkload(ctx context.Context, n rollout.Number) error {
	if err := w.confirm(ctx); err != nil {
		return err
	}
	for _, object := range []client.Object{
		objects.OrNil(w.found.autoscalers[n]), objects.OrNil(w.found.deployments[n]), objects.OrNil(w.found.services[n]),
	} {
		if err := w.objects.Delete(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// confirm makes sure that the decision was taken on the route and the spec as they are.
func (w *writer) confirm(ctx context.Context) error {
	return w.Confirm(ctx, w.isvc, objects.OrNil(w.found.route))
}

// localAddress keeps the Service that leads the in-cluster name of the InferenceService to the local gateway, once there
// is a route.
func (w *writer) localAddress(ctx context.Context) error {
	if w.Decision.Record == nil || !w.RoutesInstalled() {
		return nil
	}
	return gateway.LeadLocally(ctx, w.objects, w.Config.Ingress, objects.OrNil(w.found.localService))
}
