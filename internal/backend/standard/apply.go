// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Apply writes what was decided, and nothing where that is so already. The writer may die after any write:
//
//  1. The record of a new revision comes first. Found again, it is adopted, so no number is ever lost to two
//     revisions.
//  2. Workloads come up. More capacity never hurts.
//  3. The route is written, weights and rollout record in one, under the resource version that the decision was taken
//     on. A decision on an old view fails here. It only gives weight to what was seen ready.
//  4. The tag hosts follow.
//  5. Workloads retire, and old records go. The decision asks for it only when it changes no route, and it is
//     confirmed against the API server that the route and the spec are still those that were observed.
//
// The target is rendered, by render, only when it is new. Steps that do not build on each other go on when one fails,
// so that a target that the API server refuses does not keep a canary that was rejected in the traffic.
func (b *Backend) Apply(
	ctx context.Context,
	isvc *v1beta1.InferenceService,
	observed *backend.Observation,
	decision rollout.Decision,
	render func(context.Context) (backend.NewRevision, error),
) (backend.Written, error) {
	found, ok := observed.Private.(*children)
	if !ok {
		return backend.Written{}, fmt.Errorf("applying an observation of another backend: %T", observed.Private)
	}
	w := &writer{Backend: b, isvc: isvc, found: found, decision: decision, unwritten: map[rollout.Number]error{}}
	failures := []error{w.create(ctx, render), w.mendRecords(ctx), w.runWorkloads(ctx)}
	routed := w.writeRoutes(ctx)
	failures = append(failures, routed, w.localAddress(ctx))
	if routed == nil {
		failures = append(failures, w.retire(ctx))
	}
	return w.written, errors.Join(failures...)
}

// writer carries out one decision.
type writer struct {
	*Backend
	isvc     *v1beta1.InferenceService
	found    *children
	decision rollout.Decision
	written  backend.Written
	// unwritten are the revisions whose workloads could not be written, with why.
	unwritten map[rollout.Number]error
}

// create records the target if it is new.
func (w *writer) create(ctx context.Context, render func(context.Context) (backend.NewRevision, error)) error {
	if !w.decision.Create {
		return nil
	}
	if w.found.remains(w.decision.Target) {
		return fmt.Errorf("%w: pods of an earlier %s are still there, and go by themselves unless somebody has cut them loose",
			backend.ErrStale, backend.RevisionName(w.isvc.Name, w.decision.Target))
	}
	revision, err := render(ctx)
	if err != nil {
		return err
	}
	err = w.record(ctx, w.decision.Target, revision)
	w.written.Target = err == nil
	return err
}

// mendRecords restores the records that somebody has deleted, and what somebody has taken off others.
func (w *writer) mendRecords(ctx context.Context) error {
	var failures []error
	for _, n := range slices.Sorted(maps.Keys(w.found.records)) {
		failures = append(failures, w.restore(ctx, w.found.records[n], n))
	}
	for _, n := range slices.Sorted(maps.Keys(w.found.deployments)) {
		// A record that is there and cannot be read is not replaced; its Deployment runs on.
		if w.found.records[n] == nil {
			failures = append(failures, w.record(ctx, n, revisionOf(w.found.deployments[n], w.found.services[n])))
		}
	}
	return errors.Join(failures...)
}

func (w *writer) record(ctx context.Context, n rollout.Number, revision backend.NewRevision) error {
	record, err := controllerRevision(w.isvc, n, revision)
	if err != nil {
		return err
	}
	err = w.Client.Create(ctx, record, client.FieldOwner(backend.FieldOwner))
	switch {
	case err == nil:
		w.found.revisions[n] = revision
		return nil
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("creating ControllerRevision %q: %w", record.Name, err)
	}
	there, err := w.look(ctx, record, "ControllerRevision")
	if err != nil {
		return err
	}
	if there != unlabelled {
		return backend.ErrStale
	}
	marks, err := w.marksOf(record, n)
	if err != nil {
		return err
	}
	return w.send(ctx, marks)
}

// restore puts our labels and our reference back on a record that lacks any of them.
func (w *writer) restore(ctx context.Context, record *appsv1.ControllerRevision, n rollout.Number) error {
	marks, err := w.marksOf(record, n)
	if err != nil {
		return err
	}
	same, err := realised(marks, &metav1.PartialObjectMetadata{ObjectMeta: record.ObjectMeta}, sharedLists)
	if err != nil || same {
		return err
	}
	marks.SetResourceVersion(record.ResourceVersion)
	marks.SetUID(record.UID)
	return w.send(ctx, marks)
}

// marksOf is all of a record but its data, which nobody can change.
func (w *writer) marksOf(record *appsv1.ControllerRevision, n rollout.Number) (*unstructured.Unstructured, error) {
	marks, err := intentOf(&appsv1.ControllerRevision{ObjectMeta: childMeta(w.isvc, record.Name, n)}, w.Scheme)
	if err != nil {
		return nil, err
	}
	marks.Object = map[string]any{
		"apiVersion": marks.GetAPIVersion(), "kind": marks.GetKind(), "metadata": marks.Object["metadata"],
	}
	inputs, found := record.Annotations[annotationInputs]
	if revision, readable := w.found.revisions[n]; readable {
		inputs, found = revision.Inputs, true
	}
	if found {
		marks.SetAnnotations(map[string]string{annotationInputs: inputs})
	}
	return marks, nil
}

// runWorkloads brings up what runs. What retires is left for later.
func (w *writer) runWorkloads(ctx context.Context) error {
	var failures []error
	for _, plan := range w.decision.Workloads {
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

// revision is what is on record of a revision or, where that cannot be read, what its Deployment says.
func (w *writer) revision(n rollout.Number) (revision backend.NewRevision, known bool) {
	if revision, known = w.found.revisions[n]; known {
		return revision, true
	}
	if deployment := w.found.deployments[n]; deployment != nil {
		return revisionOf(deployment, w.found.services[n]), true
	}
	return backend.NewRevision{}, false
}

func (w *writer) run(ctx context.Context, plan rollout.WorkloadPlan, revision backend.NewRevision) error {
	n := plan.Revision
	if err := w.apply(ctx, service(w.isvc, n, revision), orNil(w.found.services[n]), sharedLists); err != nil {
		return err
	}
	scaling := scalingFor(w.isvc)
	current := 0
	if deployment := w.found.deployments[n]; deployment != nil && deployment.Spec.Replicas != nil {
		current = int(*deployment.Spec.Replicas)
	}
	made := deployment(w.isvc, n, revision, scaling.replicas(current, plan.Floor), w.progressDeadline(revision))
	if err := w.apply(ctx, made, orNil(w.found.deployments[n]), sharedLists); err != nil {
		return err
	}
	switch {
	case scaling.autoscaled():
		return w.apply(ctx, autoscaler(w.isvc, n, scaling.bounds, plan.Floor), orNil(w.found.autoscalers[n]), exactLists)
	case scaling.class == unknownClass:
		return nil
	default:
		return w.delete(ctx, orNil(w.found.autoscalers[n]))
	}
}

// progressDeadline is how long the revision may take to become ready; a model that is known to load slowly brings its
// own.
func (w *writer) progressDeadline(revision backend.NewRevision) time.Duration {
	deadline, err := time.ParseDuration(revision.Runs.Template.Annotations[v1beta1.AnnotationProgressDeadline])
	if err != nil || deadline < time.Second {
		return w.Config.Rollout.ProgressDeadline.Duration
	}
	return deadline
}

// writeRoutes writes the route, then the tag hosts. A tag host that is no longer wanted goes last of them.
func (w *writer) writeRoutes(ctx context.Context) error {
	if w.decision.Record == nil || !w.RoutesInstalled() {
		return nil
	}
	if err := w.mayShift(ctx); err != nil {
		return err
	}
	route := mainRoute(w.isvc, w.Config.Ingress, *w.decision.Record, w.timeoutSeconds())
	written, err := w.writeRoute(ctx, route, w.found.route)
	if err != nil {
		return err
	}
	w.written.Route = written
	wanted := map[string]bool{}
	for _, tag := range tags(w.decision.Tags) {
		wanted[tag.tag] = true
		route := tagRoute(w.isvc, w.Config.Ingress, tag.tag, tag.revision)
		if _, err := w.writeRoute(ctx, route, w.found.tagRoutes[tag.tag]); err != nil {
			return err
		}
	}
	for tag, route := range w.found.tagRoutes {
		if !wanted[tag] {
			if err := w.delete(ctx, route); err != nil {
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
	now, target := rollout.Split{}, w.decision.Target
	if w.found.route != nil {
		now = splitOf(w.isvc, w.found.route)
	}
	for _, share := range w.decision.Record.Split.Shares() {
		if err := w.unwritten[share.Revision]; err != nil && share.Percent > 0 && now.Percent(share.Revision) == 0 {
			return err
		}
	}
	if w.decision.Record.Split.Percent(target) <= now.Percent(target) {
		return nil
	}
	for _, tag := range tags(w.decision.Tags) {
		if w.found.tagRoutes[tag.tag] != nil {
			continue
		}
		if _, err := w.look(ctx, tagRoute(w.isvc, w.Config.Ingress, tag.tag, tag.revision), routeKind); err != nil {
			return err
		}
	}
	return nil
}

// writeRoute writes a route where it belongs. One for a local gateway that there is none of stays where it is, and is not
// made: it must neither lose its traffic nor be put before the public.
func (w *writer) writeRoute(ctx context.Context, made, current *gatewayv1.HTTPRoute) (written bool, err error) {
	if clusterLocal(w.isvc) && w.Config.Ingress.LocalGateway == nil {
		if current == nil {
			return false, nil
		}
		made.Spec.ParentRefs, made.Spec.Hostnames = current.Spec.ParentRefs, current.Spec.Hostnames
	}
	err = w.apply(ctx, made, orNil(current), exactLists)
	return err == nil, err
}

// timeoutSeconds is the longest that any revision in the split may take to answer: a route has one timeout for all.
// One that sets none lifts it for all.
func (w *writer) timeoutSeconds() int64 {
	var longest int64
	for _, share := range w.decision.Record.Split.Shares() {
		revision, _ := w.revision(share.Revision)
		timeout := revision.Runs.TimeoutSeconds
		if timeout == nil || *timeout == 0 {
			return 0
		}
		longest = max(longest, *timeout)
	}
	return longest
}

// retire takes workloads down and forgets old records, one step at a time. See [rollout.WorkloadPlan].
func (w *writer) retire(ctx context.Context) error {
	var steps []func(context.Context) error
	for _, plan := range w.decision.Workloads {
		switch plan.Action {
		case rollout.Run, rollout.Keep:
		case rollout.Drain, rollout.ScaleDown:
			steps = append(steps, func(ctx context.Context) error { return w.quiesce(ctx, plan) })
		case rollout.Delete:
			steps = append(steps, func(ctx context.Context) error { return w.deleteWorkload(ctx, plan.Revision) })
		}
	}
	for _, n := range w.decision.Forget {
		steps = append(steps, func(ctx context.Context) error { return w.delete(ctx, orNil(w.found.records[n])) })
	}
	if len(steps) == 0 {
		return nil
	}
	var failures []error
	for _, step := range steps {
		failures = append(failures, step(ctx))
	}
	return errors.Join(failures...)
}

// quiesce notes since when a workload is idle and, once it has drained, takes its replicas away.
func (w *writer) quiesce(ctx context.Context, plan rollout.WorkloadPlan) error {
	n := plan.Revision
	current := w.found.deployments[n]
	if current == nil {
		return nil
	}
	revision, _ := w.revision(n)
	replicas := 1
	if current.Spec.Replicas != nil {
		replicas = int(*current.Spec.Replicas)
	}
	if plan.Action == rollout.ScaleDown && replicas > 0 {
		if err := w.confirm(ctx); err != nil {
			return err
		}
		if err := w.delete(ctx, orNil(w.found.autoscalers[n])); err != nil {
			return err
		}
		replicas = 0
	}
	made := deployment(w.isvc, n, revision, replicas, w.progressDeadline(revision))
	made.Annotations[annotationIdleSince] = plan.IdleSince.Format(time.RFC3339Nano)
	return w.apply(ctx, made, current, sharedLists)
}

func (w *writer) deleteWorkload(ctx context.Context, n rollout.Number) error {
	if err := w.confirm(ctx); err != nil {
		return err
	}
	for _, object := range []client.Object{
		orNil(w.found.autoscalers[n]), orNil(w.found.deployments[n]), orNil(w.found.services[n]),
	} {
		if err := w.delete(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// confirm makes sure that the decision was taken on the route and the spec as they are, before anything goes that
// could not be had back at once. The cache alone may be older than our own last write.
func (w *writer) confirm(ctx context.Context) error {
	isvc := &v1beta1.InferenceService{}
	if err := w.Live.Get(ctx, client.ObjectKeyFromObject(w.isvc), isvc); err != nil {
		return fmt.Errorf("confirming the spec: %w", err)
	}
	// Labels and annotations count as much as the spec, and no generation tells of them.
	if isvc.UID != w.isvc.UID || isvc.ResourceVersion != w.isvc.ResourceVersion {
		return backend.ErrStale
	}
	if w.found.route == nil {
		return nil
	}
	route := &metav1.PartialObjectMetadata{}
	gvk, err := apiutil.GVKForObject(w.found.route, w.Scheme)
	if err != nil {
		return err
	}
	route.SetGroupVersionKind(gvk)
	if err := w.Live.Get(ctx, client.ObjectKeyFromObject(w.found.route), route); err != nil {
		return fmt.Errorf("confirming the route: %w", err)
	}
	if route.ResourceVersion != w.found.route.ResourceVersion {
		return backend.ErrStale
	}
	return nil
}

// apply makes the object what it shall be, unless it is. An object that exists is applied under the resource version
// that was observed; one that does not is looked for first, as the cache shows only what is labelled as ours.
func (w *writer) apply(ctx context.Context, made, current client.Object, how lists) error {
	intent, err := intentOf(made, w.Scheme)
	if err != nil {
		return err
	}
	if current == nil {
		there, err := w.look(ctx, made, intent.GetKind())
		if err != nil {
			return err
		}
		if there == labelled {
			return backend.ErrStale
		}
		return w.send(ctx, intent)
	}
	same, err := realised(intent, current, how)
	if err != nil || same || w.futile.known(intent, current) {
		return err
	}
	return w.futile.note(intent, current, func() error {
		wanted := intent.GetAnnotations()
		intent.SetResourceVersion(current.GetResourceVersion())
		intent.SetUID(current.GetUID()) // Else an object that was deleted in the meantime would be made anew.
		if err := w.send(ctx, intent); err != nil {
			return err
		}
		return w.removeForged(ctx, intent, wanted)
	})
}

// removeForged removes the annotations of our own that somebody else has written. To apply without them takes away only
// those that we have written.
func (w *writer) removeForged(ctx context.Context, object *unstructured.Unstructured, wanted map[string]string) error {
	forged := map[string]any{}
	for key := range object.GetAnnotations() {
		if _, ours := wanted[key]; !ours && strings.HasPrefix(key, ownPrefix) {
			forged[key] = nil
		}
	}
	if len(forged) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": forged, "resourceVersion": object.GetResourceVersion()},
	})
	if err != nil {
		return err
	}
	err = w.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(backend.FieldOwner))
	if err != nil {
		return fmt.Errorf("removing annotations of %s %q: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// send writes the intent, and leaves in it what has become of the object.
func (w *writer) send(ctx context.Context, intent *unstructured.Unstructured) error {
	err := w.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(intent), client.FieldOwner(backend.FieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("applying %s %q: %w", intent.GetKind(), intent.GetName(), err)
	}
	w.noteSent(intent)
	return nil
}

// presence is what there is of an object that the cache does not show.
type presence int

const (
	absent     presence = iota
	labelled            // It is ours, and the cache is late.
	unlabelled          // It is ours, and somebody has taken our labels off.
)

// look looks on the API server for an object that the cache does not show, and refuses one that is not ours.
func (w *writer) look(ctx context.Context, made client.Object, kind string) (presence, error) {
	gvk, err := apiutil.GVKForObject(made, w.Scheme)
	if err != nil {
		return absent, err
	}
	there := &metav1.PartialObjectMetadata{}
	there.SetGroupVersionKind(gvk)
	err = w.Live.Get(ctx, client.ObjectKeyFromObject(made), there)
	if apierrors.IsNotFound(err) {
		return absent, nil
	}
	if err != nil {
		return absent, fmt.Errorf("looking for %s %q: %w", kind, made.GetName(), err)
	}
	if err := mine(w.isvc, there, kind); err != nil {
		return absent, err
	}
	if there.Labels[v1beta1.LabelInferenceService] == w.isvc.Name {
		return labelled, nil
	}
	return unlabelled, nil
}

// delete deletes the very object that was observed; nil where there is none.
func (w *writer) delete(ctx context.Context, object client.Object) error {
	if object == nil || object.GetDeletionTimestamp() != nil {
		return nil
	}
	err := w.Client.Delete(ctx, object,
		client.Preconditions{UID: new(object.GetUID()), ResourceVersion: new(object.GetResourceVersion())},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %T %q: %w", object, object.GetName(), err)
	}
	return nil
}

// orNil is the object as an interface that is nil where there is no object.
func orNil[T any, P interface {
	*T
	client.Object
}](object P) client.Object {
	if object == nil {
		return nil
	}
	return object
}

// localAddress keeps the Service that leads the in-cluster name of the InferenceService to the local gateway, once there
// is a route.
func (w *writer) localAddress(ctx context.Context) error {
	if w.decision.Record == nil || !w.RoutesInstalled() {
		return nil
	}
	local := w.Config.Ingress.LocalGateway
	if local == nil {
		return w.delete(ctx, orNil(w.found.localService))
	}
	return w.apply(ctx, &corev1.Service{
		ObjectMeta: childMeta(w.isvc, w.isvc.Name, 0),
		Spec: corev1.ServiceSpec{
			Type:         corev1.ServiceTypeExternalName,
			ExternalName: local.Service.Name + "." + local.Service.Namespace + ".svc." + w.Config.Ingress.ClusterDomain,
		},
	}, orNil(w.found.localService), sharedLists)
}
