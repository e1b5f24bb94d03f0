// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Apply writes what was decided, and nothing where that is so already. The writer may die after any write:
//
//  1. The record of a new revision comes first. Found again, it is adopted, so no number is ever lost to two
//     revisions.
//  2. The Knative Service is written: the template, where a revision is to be made, and the traffic with the rollout
//     record, all in one, under the resource version that the decision was taken on. A decision on an old view fails
//     here. It only gives weight to what was seen ready.
//  3. The host of the InferenceService itself is led to Knative. See [writer.writeEntrance].
//  4. What Knative does not take down by itself retires, and old records go. The decision asks for it only when it
//     changes no route, and it is confirmed against the API server that the Knative Service and the spec are still
//     those that were observed.
func (s *session) Apply(ctx context.Context, change backend.Change) (backend.Outcome, error) {
	w := &writer{session: s, Change: change}
	w.objects = objects.Writer{Store: &s.Store, InferenceService: s.isvc, Contested: w.outcome.NoteContest}
	w.history = history.Writer{History: s.found.History, Writer: w.objects}
	if err := w.history.Amend(ctx, change.Amended); err != nil {
		return w.outcome, err
	}
	failures := []error{w.create(ctx), w.mendRecords(ctx)}
	if !s.Installed() {
		return w.outcome, errors.Join(failures...)
	}
	routed := w.writeService(ctx)
	failures = append(failures, routed, w.protect(ctx), w.retry(ctx), w.renew(ctx), w.writeEntrance(ctx))
	if routed == nil {
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
}

// create records the target if it is new.
func (w *writer) create(ctx context.Context) error {
	if !w.Decision.Create || w.Revision == nil {
		return nil
	}
	err := w.history.Record(ctx, w.Decision.Target, *w.Revision)
	w.outcome.Target = err == nil
	return err
}

// mendRecords puts on record what is not: what somebody has deleted the record of, and what KServe has made.
func (w *writer) mendRecords(ctx context.Context) error {
	failures := []error{w.history.Mend(ctx)}
	for _, n := range slices.Sorted(maps.Keys(w.found.made)) {
		if w.found.Records[n] == nil && w.found.made[n].DeletionTimestamp == nil {
			failures = append(failures, w.history.Record(ctx, n, revisionOf(w.found.made[n], w.origin(n))))
		}
	}
	return errors.Join(failures...)
}

// origin is what a revision without a history record was created from, as far as that is known.
func (w *writer) origin(n rollout.Number) backend.CurrentRevision {
	if n == w.observed.Current && w.Current != nil {
		return *w.Current
	}
	return backend.CurrentRevision{Inputs: w.found.made[n].Annotations[objects.AnnotationInputs]}
}

// writeService makes the Knative Service what it shall be. Where nobody is to be served there is none, and the record
// waits for the next one elsewhere.
func (w *writer) writeService(ctx context.Context) error {
	current := w.found.service
	if w.Decision.Phase == rollout.Stopped || w.Decision.Phase == rollout.Stopping {
		return w.stop(ctx)
	}
	if current == nil {
		return w.makeService(ctx)
	}
	wanted, casting, err := w.wantedService(ctx)
	if err != nil && wanted == nil {
		return err
	}
	failures := []error{err, w.update(ctx, wanted, casting)}
	if w.found.Parked != nil && current.Annotations[objects.AnnotationRecord] != "" {
		failures = append(failures, w.objects.Delete(ctx, w.found.Parked))
	}
	return errors.Join(failures...)
}

// update writes the Knative Service. A template that is refused must not keep the traffic as it is: a canary that was
// rejected would go on being served.
func (w *writer) update(ctx context.Context, wanted *servingv1.Service, casting bool) error {
	err := w.patch(ctx, wanted)
	if casting && backend.IsRefusal(err) {
		wanted.Spec.Template = *w.found.service.Spec.Template.DeepCopy()
		return errors.Join(err, w.patch(ctx, wanted))
	}
	return err
}

// stop deletes the Knative Service, and keeps the record first.
func (w *writer) stop(ctx context.Context) error {
	if record := w.Decision.Record; record != nil {
		if err := w.history.Park(ctx, *record); err != nil {
			return err
		}
		w.outcome.Route = true
	}
	if w.found.service == nil {
		return nil
	}
	return w.deleteConfirmed(ctx, w.found.service)
}

func (w *writer) makeService(ctx context.Context) error {
	n, revision, missing := w.mould()
	if !missing {
		return nil
	}
	meta := objects.Meta(w.isvc, backend.PredictorName(w.isvc.Name), 0)
	made := w.dressed(&servingv1.Service{ObjectMeta: objects.WithUserLabels(meta, revision.Runs.Template.Labels)})
	made.Spec.Template = w.template(n, revision)
	made.Spec.Traffic = w.traffic().targets(w.isvc.Name)
	there, err := w.objects.Look(ctx, made, serviceKind)
	if err == nil && there != objects.Absent {
		err = w.takeBack(ctx, made, there)
	}
	if err == nil {
		err = w.lookForRevision(ctx, w.isvc, n)
	}
	if err != nil {
		return err
	}
	if err := w.Client.Create(ctx, made, client.FieldOwner(backend.FieldOwner), strict); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return backend.ErrStale
		}
		return w.explained(fmt.Errorf("creating Knative Service %q: %w", made.Name, err), n)
	}
	w.outcome.Route = w.Decision.Record != nil
	return w.NoteWritten(made)
}

// takeBack puts our label back on a Knative Service that the cache does not show because it lacks it.
func (w *writer) takeBack(ctx context.Context, made *servingv1.Service, there objects.Presence) error {
	if there == objects.Unlabelled {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": made.Labels}})
		if err != nil {
			return err
		}
		label := []operation{{"add", "/metadata/labels", made.Labels}}
		err = w.repeat(ctx, serviceKind, made, label, func() (string, error) {
			return "", w.Client.Patch(ctx, made.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(backend.FieldOwner))
		})
		if err != nil {
			return fmt.Errorf("labelling Knative Service %q: %w", made.Name, err)
		}
	}
	return backend.ErrStale
}

// wantedService is the Knative Service as it shall be, and whether that casts a revision. With an error, what is wanted
// casts none.
func (w *writer) wantedService(ctx context.Context) (wanted *servingv1.Service, casting bool, err error) {
	wanted = w.dressed(w.found.service.DeepCopy())
	wanted.Spec.Traffic = w.traffic().targets(w.isvc.Name)
	if aside, found := w.templateAside(); found {
		wanted.Spec.Template = aside
		return wanted, true, nil
	}
	n, revision, missing := w.mould()
	if !missing {
		return wanted, w.freeTemplate(wanted), nil
	}
	if w.found.casts(w.isvc, n) {
		return wanted, false, nil
	}
	if err := w.lookForRevision(ctx, w.isvc, n); err != nil {
		if w.Decision.Record == nil || w.Decision.Record.Split.IsEmpty() {
			return nil, false, err // Its traffic would name what is not there.
		}
		return wanted, false, err
	}
	wanted.Spec.Template = w.template(n, revision)
	wanted.ObjectMeta = objects.WithUserLabels(wanted.ObjectMeta, revision.Runs.Template.Labels)
	return wanted, true, nil
}

// freeTemplate has the template ask for the stable, and reports whether it must: Knative would create a revision again
// that is deleted while the template asks for it. Knative takes the template for the stable's as long as both specs are
// equal, so it is read off the Revision.
func (w *writer) freeTemplate(wanted *servingv1.Service) bool {
	record := w.Decision.Record
	if record == nil || !slices.ContainsFunc(w.Decision.Workloads, func(plan rollout.WorkloadPlan) bool {
		return plan.Action == rollout.ScaleDown && w.found.isScaledByHPA(plan.Revision) && w.found.casts(w.isvc, plan.Revision)
	}) {
		return false
	}
	made, revision := w.found.made[record.Stable], w.history.Revisions[record.Stable]
	if made == nil || revision.Inputs == "" {
		return false
	}
	wanted.Spec.Template = w.template(record.Stable, revision)
	wanted.Spec.Template.Spec = *made.Spec.DeepCopy()
	return true
}

// strict has the API server refuse fields that the schema of the installed Knative does not have, which it would leave out.
const strict = client.FieldValidation(metav1.FieldValidationStrict)

// annotationPassthrough has OpenShift's ingress leave TLS to the pods. It is read off the Knative Service.
const annotationPassthrough = "serving.knative.openshift.io/enablePassthrough"

// dressed gives the Knative Service our labels, the reference to its owner and the record.
func (w *writer) dressed(service *servingv1.Service) *servingv1.Service {
	meta := objects.Meta(w.isvc, service.Name, 0)
	for key, value := range meta.Labels {
		metav1.SetMetaDataLabel(&service.ObjectMeta, key, value)
	}
	if backend.ClusterLocalLabel(w.isvc) != "" {
		metav1.SetMetaDataLabel(&service.ObjectMeta, v1beta1.LabelKnativeNetworkVisibility, v1beta1.VisibilityClusterLocal)
	} else {
		delete(service.Labels, v1beta1.LabelKnativeNetworkVisibility)
	}
	if passthrough, asked := w.isvc.Annotations[annotationPassthrough]; asked {
		metav1.SetMetaDataAnnotation(&service.ObjectMeta, annotationPassthrough, passthrough)
	}
	if metav1.GetControllerOf(service) == nil {
		service.OwnerReferences = append(service.OwnerReferences, meta.OwnerReferences...)
	}
	if record := w.Decision.Record; record != nil {
		metav1.SetMetaDataAnnotation(&service.ObjectMeta, objects.AnnotationRecord, record.Encode())
	}
	return service
}

// mould is the revision that is to be cast next: one that is to run and that Knative does not have. The stable is the
// first, then the others by their numbers.
func (w *writer) mould() (n rollout.Number, revision backend.NewRevision, missing bool) {
	first := rollout.Number(0)
	if w.Decision.Record != nil {
		first = w.Decision.Record.Stable
	}
	for _, plan := range w.Decision.Workloads {
		if plan.Action != rollout.Run || w.found.made[plan.Revision] != nil || missing && plan.Revision != first {
			continue
		}
		if recorded, known := w.history.Revisions[plan.Revision]; known {
			n, revision, missing = plan.Revision, recorded, true
		}
	}
	return n, revision, missing
}

func (w *writer) template(n rollout.Number, revision backend.NewRevision) servingv1.RevisionTemplateSpec {
	template := templateOf(w.isvc, n, revision)
	if template.Annotations[serving.ProgressDeadlineAnnotationKey] == "" {
		template.Annotations[serving.ProgressDeadlineAnnotationKey] = w.Config.Rollout.ProgressDeadline.Duration.String()
	}
	return template
}

// traffic is who is to get what. Knative must be told somebody: as long as nobody is to be served, that is the revision
// that will be the first, which gets nothing before it is ready.
func (w *writer) traffic() traffic {
	split := rollout.All(w.Decision.Target)
	if record := w.Decision.Record; record != nil {
		split = record.Split
		if split.IsEmpty() {
			split = rollout.All(record.Stable)
		}
	}
	var wanted traffic
	for _, share := range split.Shares() {
		if share.Percent > 0 || w.found.isReady(share.Revision) {
			wanted = append(wanted, target{revision: share.Revision, percent: share.Percent, tag: w.tag(share.Revision)})
		}
	}
	for _, plan := range w.Decision.Workloads {
		if plan.Action == rollout.Run && !split.Has(plan.Revision) && w.mustBeReached(plan.Revision) {
			wanted = append(wanted, target{revision: plan.Revision})
		}
	}
	return wanted
}

func (w *writer) tag(n rollout.Number) string {
	for _, tag := range backend.TaggedRevisions(w.Decision.Tags) {
		if tag.Revision == n {
			return tag.Tag
		}
	}
	return ""
}

// mustBeReached tells whether a revision that is to run, with no traffic, must be named: Knative has taken it down, or
// would. One that is new comes up without. But where nobody names it then, Knative soon takes it for one that retires.
func (w *writer) mustBeReached(n rollout.Number) bool {
	down := len(w.found.pods[n]) == 0 || !w.found.isKept(w.isvc, n)
	return w.found.isReady(n) && (down || w.found.isNamed(w.isvc, n))
}

// patch writes what differs, under the version that was observed. What Knative and others have added is left alone.
func (w *writer) patch(ctx context.Context, wanted *servingv1.Service) error {
	current := w.found.service
	operations := difference(current, wanted)
	if len(operations) == 0 {
		w.outcome.Route = w.Decision.Record != nil
	}
	return w.repeat(ctx, serviceKind, current, operations, func() (string, error) { return w.send(ctx, wanted, operations) })
}

// send patches the Knative Service, and returns who has changed what was sent, as far as the answer shows it.
func (w *writer) send(ctx context.Context, wanted *servingv1.Service, operations []operation) (writer string, err error) {
	current := w.found.service
	// An old version makes a conflict of the whole patch.
	patch, err := json.Marshal(append(operations, operation{"replace", "/metadata/resourceVersion", current.ResourceVersion}))
	if err != nil {
		return "", err
	}
	patched := wanted.DeepCopy()
	err = w.Client.Patch(ctx, patched, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(backend.FieldOwner), strict)
	if err != nil {
		return "", w.explained(fmt.Errorf("patching Knative Service %q: %w", current.Name, err), backend.RevisionNumber(w.isvc.Name, wanted.Spec.Template.Name))
	}
	w.outcome.Route = w.Decision.Record != nil
	if err := w.NoteWritten(patched); err != nil {
		return "", err
	}
	if len(difference(patched, wanted)) > 0 {
		return objects.Admission, nil
	}
	return "", nil
}

// repeat makes a change of an object of Knative's, unless another writer has undone the same change too often. Nothing
// is written where there is no change.
func (w *writer) repeat(
	ctx context.Context, kind string, object client.Object, change []operation, write func() (writer string, err error),
) error {
	target := objects.Target{Kind: kind, ObjectKey: client.ObjectKeyFromObject(object)}
	return w.objects.Repeat(ctx, target, contentOf(change), func() (objects.Who, error) {
		other, err := write()
		return func(ctx context.Context) backend.Contest {
			path := strings.Split(strings.TrimPrefix(change[0].Path, "/"), "/")
			for i := range path {
				path[i] = unescaped(path[i])
			}
			return backend.Contest{
				Kind: kind, Name: object.GetName(), Field: strings.Join(path, "."),
				Writer: cmp.Or(other, w.OtherWriter(ctx, object, path)),
			}
		}, err
	})
}

// protect keeps Knative's garbage collector from the revisions that are on record. Ours are born so.
func (w *writer) protect(ctx context.Context) error {
	var failures []error
	for _, n := range slices.Sorted(maps.Keys(w.found.made)) {
		made := w.found.made[n]
		if made.Annotations[serving.RevisionPreservedAnnotationKey] == "" && !slices.Contains(w.Decision.Forget, n) {
			failures = append(failures, w.mark(ctx, made, map[string]any{
				"annotations": map[string]any{serving.RevisionPreservedAnnotationKey: "true"},
			}))
		}
	}
	return errors.Join(failures...)
}

// mark changes the metadata of a Knative Revision. All else of it is Knative's.
func (w *writer) mark(ctx context.Context, made *servingv1.Revision, metadata map[string]any) error {
	change := []operation{{"add", "/metadata", maps.Clone(metadata)}}
	return w.repeat(ctx, revisionKind, made, change, func() (string, error) { return "", w.sendMark(ctx, made, metadata) })
}

func (w *writer) sendMark(ctx context.Context, made *servingv1.Revision, metadata map[string]any) error {
	metadata["resourceVersion"] = made.ResourceVersion
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	err = w.Client.Patch(ctx, made.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(backend.FieldOwner))
	if err != nil {
		return fmt.Errorf("marking Revision %q: %w", made.Name, err)
	}
	return nil
}

// retry deletes, to have it created again, a revision that is to run and that Knative has given up. Knative never tries
// one again, so without this a canary that was out of memory once would never get its share. The time before which it is
// not tried again, and how often it was, are kept with its record: they outlive the revision and the operator.
func (w *writer) retry(ctx context.Context) error {
	var failures []error
	for _, plan := range w.Decision.Workloads {
		n := plan.Revision
		if plan.Action != rollout.Run || !w.found.isGivenUp(n) || w.found.Records[n] == nil {
			continue
		}
		last := w.found.Retry(n)
		if last.Waits(w.found.now) {
			continue
		}
		if err := w.history.NoteRetry(ctx, n, last.Next(w.found.now)); err != nil {
			failures = append(failures, err)
			continue
		}
		failures = append(failures, w.deleteConfirmed(ctx, w.found.made[n]))
	}
	return errors.Join(failures...)
}

// retire takes down what Knative does not: see [writer.scaleDown]. Old records go once Knative has nothing of them: a
// revision without a record is recorded again.
func (w *writer) retire(ctx context.Context) error {
	var failures []error
	for _, plan := range w.Decision.Workloads {
		switch plan.Action {
		case rollout.Run, rollout.Keep, rollout.Drain:
		case rollout.ScaleDown:
			failures = append(failures, w.scaleDown(ctx, plan.Revision))
		case rollout.Delete:
			failures = append(failures, w.deleteRevision(ctx, plan.Revision))
		}
	}
	var gone []rollout.Number
	for _, n := range w.Decision.Forget {
		if w.found.made[n] == nil {
			gone = append(gone, n)
		}
		failures = append(failures, w.deleteRevision(ctx, n))
	}
	return errors.Join(append(failures, w.history.Forget(ctx, gone))...)
}

// scaleDown has a revision that has drained go down. Knative's own autoscaler does that once no Route names it any more.
// But one that no Route ever named it takes for one whose turn has yet to come, and a HorizontalPodAutoscaler knows no
// zero.
func (w *writer) scaleDown(ctx context.Context, n rollout.Number) error {
	made := w.found.made[n]
	if made == nil {
		return nil
	}
	if w.found.isScaledByHPA(n) {
		return w.deleteRevision(ctx, n) // Once the template does not ask for it any more: see [writer.freeTemplate].
	}
	if made.GetRoutingState() == servingv1.RoutingStateReserve {
		return nil
	}
	if err := w.Confirm(ctx, w.isvc, w.found.service); err != nil {
		return err
	}
	return w.mark(ctx, made, map[string]any{
		"labels": map[string]any{serving.RoutingStateLabelKey: string(servingv1.RoutingStateReserve)},
		"annotations": map[string]any{
			serving.RoutingStateModifiedAnnotationKey: servingv1.RoutingStateModifiedString(made.CreationTimestamp.Time),
		},
	})
}

// deleteRevision deletes what Knative has of a revision. It would at once be cast anew where the template asks for it.
func (w *writer) deleteRevision(ctx context.Context, n rollout.Number) error {
	made := w.found.made[n]
	if made == nil || w.found.casts(w.isvc, n) {
		return nil
	}
	return w.deleteConfirmed(ctx, made)
}

// deleteConfirmed deletes an object once it is confirmed that the decision was taken on what is.
func (w *writer) deleteConfirmed(ctx context.Context, object client.Object) error {
	if err := w.Confirm(ctx, w.isvc, w.found.service); err != nil {
		return err
	}
	return w.objects.Delete(ctx, object)
}
