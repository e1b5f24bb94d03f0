// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history stores the revision history as ControllerRevisions: what each revision runs, and
// what it was rendered from, for as long as the revision can be brought back. Both backends use it.
package history

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// History is the revision history of one InferenceService.
type History struct {
	// ControllerRevisions are as read from the cache.
	ControllerRevisions map[rollout.Number]*appsv1.ControllerRevision
	// Revisions are decoded from ControllerRevisions, without those that cannot be decoded.
	Revisions map[rollout.Number]backend.RenderedRevision
	// SavedState keeps the rollout state while no object splits the traffic; nil if there is no
	// such state. See [Writer.SaveState].
	SavedState *appsv1.ControllerRevision
}

// Read reads the revision history from the cache.
func Read(ctx context.Context, store *objects.Store, isvc *v1beta1.InferenceService) (History, error) {
	history := History{
		ControllerRevisions: map[rollout.Number]*appsv1.ControllerRevision{},
		Revisions:           map[rollout.Number]backend.RenderedRevision{},
	}
	var list appsv1.ControllerRevisionList
	if err := store.List(ctx, isvc, &list); err != nil {
		return History{}, err
	}
	all := objects.Pointers(list.Items)
	if err := objects.Collect(isvc, "ControllerRevision", backend.RevisionNumber, all, history.ControllerRevisions); err != nil {
		return History{}, err
	}
	for _, stored := range all {
		if stored.Name != backend.PredictorName(isvc.Name) {
			continue
		}
		ours, err := objects.IsOwned(isvc, stored, "ControllerRevision")
		if err != nil {
			return History{}, err
		}
		if ours {
			history.SavedState = stored
		}
	}
	for n, stored := range history.ControllerRevisions {
		if revision, err := Decode(stored); err == nil {
			history.Revisions[n] = revision
		}
	}
	return history, history.awaitWritten(ctx, store, isvc)
}

// awaitWritten returns [backend.ErrStaleCache] while the cache is behind the creation of a
// ControllerRevision. Without it, the revision in the status would look like a lost one, and the same
// spec would get another number.
func (h History) awaitWritten(ctx context.Context, store *objects.Store, isvc *v1beta1.InferenceService) error {
	reported := isvc.Status.Components[v1beta1.PredictorComponent].LatestCreatedRevision
	if n := backend.RevisionNumber(isvc.Name, reported); n != 0 && h.ControllerRevisions[n] == nil {
		missing := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: isvc.Namespace, Name: reported}}
		if err := store.AwaitWritten(ctx, missing); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(h.ControllerRevisions)) {
		if err := store.AwaitWritten(ctx, h.ControllerRevisions[n]); err != nil {
			return err
		}
	}
	return nil
}

// Entries returns the history in the form of an observation.
func (h History) Entries() map[rollout.Number]backend.HistoryEntry {
	all := map[rollout.Number]backend.HistoryEntry{}
	for n, revision := range h.Revisions {
		recorded := backend.HistoryEntry{
			Identity: revision.Runs.Identity, Runtime: revision.Runs.Runtime,
			User: revision.User, Template: &revision.Runs.Template,
		}
		if stored := h.ControllerRevisions[n]; stored != nil {
			recorded.Created = stored.CreationTimestamp.Time
		}
		all[n] = recorded
	}
	return all
}

// Mode returns the mode that the newest revision was created in; empty if none is recorded.
func (h History) Mode() v1beta1.DeploymentMode {
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(h.Revisions))) {
		if mode := h.Revisions[n].Mode; mode != "" {
			return mode
		}
	}
	return ""
}

// Writer writes the revision history of one InferenceService.
type Writer struct {
	History
	objects.Writer
}

// Add adds a revision to the history. It reports false without an error if the write has to wait
// because another writer keeps deleting the ControllerRevision.
func (w Writer) Add(ctx context.Context, n rollout.Number, revision backend.RenderedRevision) (added bool, err error) {
	stored, err := Encode(w.InferenceService, n, revision)
	if err != nil {
		return false, err
	}
	held, err := w.Create(ctx, stored)
	switch {
	case held:
		return false, nil
	case err == nil:
		w.Revisions[n] = revision
		return true, w.Store.NoteWritten(stored)
	case !apierrors.IsAlreadyExists(err):
		return false, fmt.Errorf("creating ControllerRevision %q: %w", stored.Name, err)
	}
	current, err := w.Lookup(ctx, stored, "ControllerRevision")
	if err != nil {
		return false, err
	}
	if current != objects.Unlabelled {
		return false, backend.ErrStaleCache
	}
	marks, err := w.marksOf(stored, n)
	if err != nil {
		return false, err
	}
	held, err = w.Send(ctx, marks, current)
	return !held && err == nil, err
}

// Amend stores an amendment of a recorded revision. It must be stored before a workload is changed
// to match.
func (w Writer) Amend(ctx context.Context, amended *backend.Amended) error {
	if amended == nil || w.ControllerRevisions[amended.Revision] == nil {
		return nil
	}
	n := amended.Revision
	revision, stored := w.Revisions[n], w.ControllerRevisions[n].DeepCopy()
	revision.Amend(amended.Amendment)
	text, err := json.Marshal(revision.Amendment)
	if err != nil {
		return err
	}
	held, err := w.PatchMetadata(ctx, stored, map[string]any{"annotations": map[string]string{objects.AnnotationAmended: string(text)}})
	if held || err != nil {
		return err
	}
	w.Revisions[n], w.ControllerRevisions[n] = revision, stored
	return nil
}

// Repair repairs the metadata of the ControllerRevisions after manual edits.
func (w Writer) Repair(ctx context.Context) []error {
	var failures []error
	for _, n := range slices.Sorted(maps.Keys(w.ControllerRevisions)) {
		failures = append(failures, w.restore(ctx, w.ControllerRevisions[n], n))
	}
	return failures
}

func (w Writer) restore(ctx context.Context, stored *appsv1.ControllerRevision, n rollout.Number) error {
	marks, err := w.marksOf(stored, n)
	if err != nil {
		return err
	}
	return w.ApplyIntent(ctx, marks, &metav1.PartialObjectMetadata{ObjectMeta: stored.ObjectMeta}, objects.SharedLists)
}

// marksOf returns the desired metadata of a ControllerRevision, whose data is immutable.
func (w Writer) marksOf(stored *appsv1.ControllerRevision, n rollout.Number) (*unstructured.Unstructured, error) {
	marks, err := objects.IntentOf(&appsv1.ControllerRevision{ObjectMeta: objects.Meta(w.InferenceService, stored.Name, n)}, w.Store.Scheme)
	if err != nil {
		return nil, err
	}
	marks.Object = map[string]any{
		"apiVersion": marks.GetAPIVersion(), "kind": marks.GetKind(), "metadata": marks.Object["metadata"],
	}
	inputs, found := stored.Annotations[objects.AnnotationHash]
	if revision, readable := w.Revisions[n]; readable {
		inputs, found = revision.Hash, true
	}
	annotations := map[string]string{}
	if found {
		annotations[objects.AnnotationHash] = inputs
	}
	if retry := w.Retry(n); retry != (Retry{}) {
		annotations[AnnotationRetry] = retry.encode()
	}
	if amendment := w.Revisions[n].Amendment; amendment != (backend.Amendment{}) {
		text, err := json.Marshal(amendment)
		if err != nil {
			return nil, err
		}
		annotations[objects.AnnotationAmended] = string(text)
	}
	if len(annotations) > 0 {
		marks.SetAnnotations(annotations)
	}
	return marks, nil
}

// Prune deletes the ControllerRevision of a revision.
func (w Writer) Prune(ctx context.Context, n rollout.Number) error {
	return w.Delete(ctx, objects.OrNil(w.ControllerRevisions[n]))
}
