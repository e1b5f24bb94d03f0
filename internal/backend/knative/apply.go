// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/engine"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// writer writes one change. It implements [engine.Driver].
type writer struct {
	*engine.Writer
	*Backend
	isvc     *v1beta1.InferenceService
	observed *children
}

// CheckCreate returns nil: the Knative Service creates the revision later.
func (*writer) CheckCreate() error { return nil }

// WriteWorkloads does nothing: the template of the Knative Service creates workloads.
func (*writer) WriteWorkloads(context.Context) {}

// Drain does nothing: Knative records since when no Route names a revision.
func (*writer) Drain(context.Context, rollout.WorkloadPlan) error { return nil }

// Unrecorded restores revisions from the Knative Revisions, including those that KServe created.
func (w *writer) Unrecorded() map[rollout.Number]backend.RenderedRevision {
	unrecorded := map[rollout.Number]backend.RenderedRevision{}
	for n, revision := range w.observed.knativeRevisions {
		if w.observed.ControllerRevisions[n] == nil {
			unrecorded[n] = revisionOf(revision, w.origin(n))
		}
	}
	return unrecorded
}

// WriteRoutes writes the Knative Service and the host route. It also takes the steps that create a
// failed or outdated revision again.
func (w *writer) WriteRoutes(ctx context.Context) bool {
	if !w.Installed() {
		return false
	}
	failures := w.writeService(ctx)
	w.Fail(failures...)
	w.protect(ctx)
	w.retry(ctx)
	w.Fail(w.renew(ctx))
	if err := w.writeHostRoute(ctx); err != nil {
		w.Errors = append(w.Errors, backend.WriteError{Err: err, HostRoute: true})
	}
	return len(failures) == 0
}

// origin returns what a revision without a ControllerRevision was created from, as far as that is
// known.
func (w *writer) origin(n rollout.Number) backend.CurrentRevision {
	if n == w.Facts.Current && w.Current != nil {
		return *w.Current
	}
	return backend.CurrentRevision{Hash: w.observed.knativeRevisions[n].Annotations[objects.AnnotationHash]}
}

// writeService creates, updates or deletes the Knative Service. A Knative Service cannot send its
// traffic nowhere, so a stopped InferenceService has none, and a ControllerRevision keeps the
// rollout state.
func (w *writer) writeService(ctx context.Context) (failures []error) {
	add := func(err error) {
		if err != nil {
			failures = append(failures, err)
		}
	}
	switch {
	case w.Decision.Phase == rollout.Stopped || w.Decision.Phase == rollout.Stopping:
		add(w.stop(ctx))
		return failures
	case w.observed.service == nil:
		add(w.createService(ctx))
		return failures
	}
	desired, creates, err := w.desiredService(ctx)
	add(err)
	if desired == nil {
		return failures
	}
	err = w.patch(ctx, desired)
	add(err)
	if creates && backend.IsRefusal(err) {
		// Without its new template, the traffic is written all the same. Otherwise a rejected canary
		// would keep its share.
		desired.Spec.Template = *w.observed.service.Spec.Template.DeepCopy()
		add(w.patch(ctx, desired))
	}
	if w.observed.SavedState != nil && w.observed.service.Annotations[objects.AnnotationState] != "" {
		add(w.Objects.Delete(ctx, w.observed.SavedState))
	}
	return failures
}

func (w *writer) stop(ctx context.Context) error {
	if state := w.Decision.State; state != nil {
		if saved, err := w.History.SaveState(ctx, *state); err != nil || !saved {
			return err // The Knative Service has the only other copy of the state.
		}
		w.Route = true
	}
	if w.observed.service == nil {
		return nil
	}
	return w.DeleteConfirmed(ctx, w.observed.service)
}

func (w *writer) createService(ctx context.Context) error {
	n, revision, missing := w.nextToCreate()
	if !missing {
		return nil
	}
	meta := objects.Meta(w.isvc, backend.PredictorName(w.isvc.Name), 0)
	desired := w.withMetadata(&servingv1.Service{ObjectMeta: objects.WithUserLabels(meta, revision.Runs.Template.Labels)})
	desired.Spec.Template = w.template(n, revision)
	desired.Spec.Traffic = w.traffic().targets(w.isvc.Name)
	current, err := w.Objects.Lookup(ctx, desired, serviceKind)
	if err == nil && current != objects.Absent {
		err = w.restoreLabels(ctx, desired, current)
	}
	if err == nil {
		err = w.checkRevisionOwner(ctx, w.isvc, n)
	}
	if err != nil {
		return err
	}
	held, err := w.Objects.Create(ctx, desired, strict)
	switch {
	case held:
		return nil
	case apierrors.IsAlreadyExists(err):
		return backend.ErrStaleCache
	case err != nil:
		return w.explain(fmt.Errorf("creating Knative Service %q: %w", desired.Name, err), n)
	}
	w.Route = w.Decision.State != nil
	return w.NoteWritten(desired)
}

// restoreLabels restores our label on a Knative Service that the cache does not show because the
// label is missing.
func (w *writer) restoreLabels(ctx context.Context, desired *servingv1.Service, current objects.Ownership) error {
	if current == objects.Unlabelled {
		if _, err := w.Objects.PatchMetadata(ctx, desired.DeepCopy(), map[string]any{"labels": desired.Labels}); err != nil {
			return err
		}
	}
	return backend.ErrStaleCache
}

// desiredService returns the desired Knative Service, and whether its template creates a revision.
// Beside an error, the service creates none.
func (w *writer) desiredService(ctx context.Context) (desired *servingv1.Service, creates bool, err error) {
	desired = w.withMetadata(w.observed.service.DeepCopy())
	desired.Spec.Traffic = w.traffic().targets(w.isvc.Name)
	if replacement, found := w.replacementTemplate(); found {
		desired.Spec.Template = replacement
		return desired, true, nil
	}
	n, revision, missing := w.nextToCreate()
	if !missing {
		return desired, w.pointTemplateAtStable(desired), nil
	}
	if w.observed.templateNames(w.isvc, n) {
		return desired, false, nil
	}
	if err := w.checkRevisionOwner(ctx, w.isvc, n); err != nil {
		if w.Decision.State == nil || w.Decision.State.Split.IsEmpty() {
			return nil, false, err // Its traffic would name a revision that does not exist.
		}
		return desired, false, err
	}
	desired.Spec.Template = w.template(n, revision)
	desired.ObjectMeta = objects.WithUserLabels(desired.ObjectMeta, revision.Runs.Template.Labels)
	return desired, true, nil
}

// pointTemplateAtStable makes the template name the stable, and reports whether it did. Knative
// recreates a deleted revision while the template names it. Knative takes the template for the
// stable's only while both specs are equal, so the spec is copied from the Revision.
func (w *writer) pointTemplateAtStable(desired *servingv1.Service) bool {
	state := w.Decision.State
	if state == nil || !slices.ContainsFunc(w.Decision.Workloads, func(plan rollout.WorkloadPlan) bool {
		return plan.Action == rollout.ScaleDown && w.observed.isScaledByHPA(plan.Revision) && w.observed.templateNames(w.isvc, plan.Revision)
	}) {
		return false
	}
	knativeRevision, revision := w.observed.knativeRevisions[state.Stable], w.History.Revisions[state.Stable]
	if knativeRevision == nil || revision.Hash == "" {
		return false
	}
	desired.Spec.Template = w.template(state.Stable, revision)
	desired.Spec.Template.Spec = *knativeRevision.Spec.DeepCopy()
	return true
}

// strict makes the API server refuse fields that the installed Knative's schema lacks. Otherwise it
// would drop them.
const strict = client.FieldValidation(metav1.FieldValidationStrict)

// annotationPassthrough makes OpenShift's ingress leave TLS to the pods. OpenShift reads it from
// the Knative Service.
const annotationPassthrough = "serving.knative.openshift.io/enablePassthrough"

// withMetadata sets our labels, the owner reference and the rollout state on the Knative Service.
func (w *writer) withMetadata(service *servingv1.Service) *servingv1.Service {
	meta := objects.Meta(w.isvc, service.Name, 0)
	for key, value := range meta.Labels {
		metav1.SetMetaDataLabel(&service.ObjectMeta, key, value)
	}
	if backend.ClusterLocalLabel(w.isvc) != "" {
		metav1.SetMetaDataLabel(&service.ObjectMeta, v1beta1.LabelKnativeNetworkVisibility, v1beta1.VisibilityClusterLocal)
	} else {
		delete(service.Labels, v1beta1.LabelKnativeNetworkVisibility)
	}
	if passthrough, requested := w.isvc.Annotations[annotationPassthrough]; requested {
		metav1.SetMetaDataAnnotation(&service.ObjectMeta, annotationPassthrough, passthrough)
	}
	if metav1.GetControllerOf(service) == nil {
		service.OwnerReferences = append(service.OwnerReferences, meta.OwnerReferences...)
	}
	if state := w.Decision.State; state != nil {
		metav1.SetMetaDataAnnotation(&service.ObjectMeta, objects.AnnotationState, state.Encode())
	}
	return service
}

// nextToCreate returns the next revision to create: one that should run and that Knative does not
// have. The stable comes first, then the others in the order of their numbers.
func (w *writer) nextToCreate() (n rollout.Number, revision backend.RenderedRevision, missing bool) {
	first := rollout.Number(0)
	if w.Decision.State != nil {
		first = w.Decision.State.Stable
	}
	for _, plan := range w.Decision.Workloads {
		if plan.Action != rollout.Run || w.observed.knativeRevisions[plan.Revision] != nil || missing && plan.Revision != first {
			continue
		}
		if recorded, known := w.History.Revisions[plan.Revision]; known {
			n, revision, missing = plan.Revision, recorded, true
		}
	}
	return n, revision, missing
}

func (w *writer) template(n rollout.Number, revision backend.RenderedRevision) servingv1.RevisionTemplateSpec {
	template := templateOf(w.isvc, n, revision)
	if template.Annotations[serving.ProgressDeadlineAnnotationKey] == "" {
		template.Annotations[serving.ProgressDeadlineAnnotationKey] = w.Config.Rollout.ProgressDeadline.Duration.String()
	}
	return template
}

// traffic returns the desired traffic. Knative requires at least one entry: before any revision
// serves, that is the first revision, which gets no requests before it is ready.
func (w *writer) traffic() traffic {
	split := rollout.All(w.Decision.Target)
	if state := w.Decision.State; state != nil {
		split = state.Split
		if split.IsEmpty() {
			split = rollout.All(state.Stable)
		}
	}
	var desired traffic
	for _, share := range split.Shares() {
		if share.Percent > 0 || w.observed.isReady(share.Revision) {
			desired = append(desired, target{revision: share.Revision, percent: share.Percent, tag: w.tag(share.Revision)})
		}
	}
	for _, plan := range w.Decision.Workloads {
		if plan.Action == rollout.Run && !split.Has(plan.Revision) && w.needsEntry(plan.Revision) {
			desired = append(desired, target{revision: plan.Revision})
		}
	}
	return desired
}

func (w *writer) tag(n rollout.Number) string {
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		if tag.Revision == n {
			return tag.Tag
		}
	}
	return ""
}

// needsEntry reports whether a revision that should run without traffic needs an entry in the
// traffic, because Knative has scaled it down or would do so. A new revision comes up without an
// entry. But Knative soon treats a revision that no Route names as retired.
func (w *writer) needsEntry(n rollout.Number) bool {
	down := len(w.observed.pods[n]) == 0 || !w.observed.isKept(w.isvc, n)
	return w.observed.isReady(n) && (down || w.observed.mayReceiveRequests(w.isvc, n))
}

// patch writes what differs, under the observed resource version. Fields that Knative and others
// have added stay.
func (w *writer) patch(ctx context.Context, desired *servingv1.Service) error {
	current := w.observed.service
	operations := difference(current, desired)
	if len(operations) == 0 {
		w.Route = w.Decision.State != nil
	}
	patched := desired.DeepCopy()
	_, err := w.Objects.Write(ctx, objects.Attempt{
		Object: current, Content: contentOf(operations),
		Write: func() error { return w.send(ctx, patched, operations) },
		Undone: func(ctx context.Context) (field, writer string) {
			path := pathOf(operations[0])
			if len(difference(patched, desired)) > 0 {
				return strings.Join(path, "."), objects.Admission
			}
			return strings.Join(path, "."), w.OtherWriter(ctx, current, path)
		},
	})
	return err
}

// send patches the Knative Service and stores the resulting object.
func (w *writer) send(ctx context.Context, patched *servingv1.Service, operations []operation) error {
	current, n := w.observed.service, backend.RevisionNumber(w.isvc.Name, patched.Spec.Template.Name)
	// An old resource version makes the API server reject the whole patch as a conflict.
	patch, err := json.Marshal(append(operations, operation{"replace", "/metadata/resourceVersion", current.ResourceVersion}))
	if err != nil {
		return err
	}
	err = w.Client.Patch(ctx, patched, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(backend.FieldOwner), strict)
	if err != nil {
		return w.explain(fmt.Errorf("patching Knative Service %q: %w", current.Name, err), n)
	}
	w.Route = w.Decision.State != nil
	return w.NoteWritten(patched)
}

// protect marks the revisions in the history as no-gc. Revisions that we create already carry the
// annotation.
func (w *writer) protect(ctx context.Context) {
	for _, n := range slices.Sorted(maps.Keys(w.observed.knativeRevisions)) {
		revision := w.observed.knativeRevisions[n]
		if revision.Annotations[serving.RevisionPreservedAnnotationKey] == "" && !slices.Contains(w.Decision.Prune, n) {
			w.Fail(w.mark(ctx, revision, map[string]any{
				"annotations": map[string]any{serving.RevisionPreservedAnnotationKey: "true"},
			}))
		}
	}
}

func (w *writer) mark(ctx context.Context, revision *servingv1.Revision, metadata map[string]any) error {
	_, err := w.Objects.PatchMetadata(ctx, revision.DeepCopy(), metadata)
	return err
}

// retry deletes revisions that Knative has given up, so that they are created again. Knative never
// retries by itself, so a canary that ran out of memory once would never get its share. The backoff
// is stored on the ControllerRevision and survives both the Knative Revision and a restart of the
// operator.
func (w *writer) retry(ctx context.Context) {
	for _, plan := range w.Decision.Workloads {
		n := plan.Revision
		if plan.Action != rollout.Run || !w.observed.isGivenUp(n) || w.observed.ControllerRevisions[n] == nil {
			continue
		}
		last := w.observed.Retry(n)
		if last.Waits(w.observed.now) {
			continue
		}
		held, err := w.History.NoteRetry(ctx, n, last.Next(w.observed.now))
		if err == nil && !held {
			err = w.deleteRevision(ctx, n)
		}
		w.Fail(err)
	}
}

// ScaleDown scales down a drained revision. Knative's own autoscaler does so once no Route names the
// revision. But it treats a revision that was never routed as pending, and a
// HorizontalPodAutoscaler cannot scale to zero.
func (w *writer) ScaleDown(ctx context.Context, plan rollout.WorkloadPlan) error {
	n := plan.Revision
	revision := w.observed.knativeRevisions[n]
	if revision == nil {
		return nil
	}
	if w.observed.isScaledByHPA(n) {
		return w.Delete(ctx, n) // Only once the template does not name it: see [writer.pointTemplateAtStable].
	}
	if revision.GetRoutingState() == servingv1.RoutingStateReserve {
		return nil
	}
	if err := w.Confirm(ctx); err != nil {
		return err
	}
	return w.mark(ctx, revision, map[string]any{
		"labels": map[string]any{serving.RoutingStateLabelKey: string(servingv1.RoutingStateReserve)},
		"annotations": map[string]any{
			serving.RoutingStateModifiedAnnotationKey: servingv1.RoutingStateModifiedString(revision.CreationTimestamp.Time),
		},
	})
}

// Delete deletes a Knative Revision, unless the template names it: Knative would create it again at
// once.
func (w *writer) Delete(ctx context.Context, n rollout.Number) error {
	if w.observed.knativeRevisions[n] == nil || w.observed.templateNames(w.isvc, n) {
		return nil
	}
	return w.deleteRevision(ctx, n)
}

func (w *writer) deleteRevision(ctx context.Context, n rollout.Number) error {
	if err := w.Confirm(ctx); err != nil {
		return err
	}
	return w.Objects.DeleteChild(ctx, w.observed.knativeRevisions[n])
}

// Remains reports whether there is a Knative Revision, which also exists while it runs nothing.
func (w *writer) Remains(n rollout.Number) bool { return w.observed.knativeRevisions[n] != nil }
