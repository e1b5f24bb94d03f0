// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
)

// Store is where objects are read and written.
type Store struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, where the cache does not show an object that is not labelled as ours, or is
	// too old to delete on.
	Live client.Reader
	// Scheme knows every kind that a backend writes.
	Scheme *runtime.Scheme
	// Now returns the time; nil is the clock's.
	Now func() time.Time

	written Consistency
	futile  futileWrites
	repeats repeats
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// List reads from the cache what belongs to the InferenceService.
func (s *Store) List(ctx context.Context, isvc *v1beta1.InferenceService, list client.ObjectList) error {
	err := s.Client.List(ctx, list, client.InNamespace(isvc.Namespace), client.MatchingFields{IndexByInferenceService: isvc.Name})
	if err != nil {
		return fmt.Errorf("listing %T: %w", list, err)
	}
	return nil
}

// Confirm makes sure that the spec and an object, which may be nil, are as they were observed, before anything goes that
// could not be had back at once. The cache alone may be older than our own last write.
func (s *Store) Confirm(ctx context.Context, isvc *v1beta1.InferenceService, object client.Object) error {
	current := &v1beta1.InferenceService{}
	if err := s.Live.Get(ctx, client.ObjectKeyFromObject(isvc), current); err != nil {
		return fmt.Errorf("confirming the spec: %w", err)
	}
	// Labels and annotations count as much as the spec, and no generation tells of them.
	if current.UID != isvc.UID || current.ResourceVersion != isvc.ResourceVersion {
		return backend.ErrStale
	}
	if object == nil {
		return nil
	}
	there, err := s.Metadata(ctx, object)
	if err != nil {
		return fmt.Errorf("confirming the route: %w", err)
	}
	if there.ResourceVersion != object.GetResourceVersion() {
		return backend.ErrStale
	}
	return nil
}

// Metadata reads from the API server what an object of that kind and name has for metadata.
func (s *Store) Metadata(ctx context.Context, object client.Object) (*metav1.PartialObjectMetadata, error) {
	gvk, err := apiutil.GVKForObject(object, s.Scheme)
	if err != nil {
		return nil, err
	}
	there := &metav1.PartialObjectMetadata{}
	there.SetGroupVersionKind(gvk)
	return there, s.Live.Get(ctx, client.ObjectKeyFromObject(object), there)
}

// Writer writes the objects of one InferenceService.
type Writer struct {
	Store            *Store
	InferenceService *v1beta1.InferenceService
	// Written is told of everything that was applied; nil if nobody asks.
	Written func(*unstructured.Unstructured) error
	// Contested receives which objects another writer keeps changing; nil where nobody asks.
	Contested func(backend.Contest)
}

// Apply makes the object what it shall be, unless it is. An object that exists is applied under the resource version
// that was observed; one that does not is looked for first, as the cache shows only what is labelled as ours.
func (w Writer) Apply(ctx context.Context, made, current client.Object, how Lists) error {
	intent, err := IntentOf(made, w.Store.Scheme)
	if err != nil {
		return err
	}
	if current != nil {
		return w.ApplyIntent(ctx, intent, current, how)
	}
	there, err := w.Look(ctx, made, intent.GetKind())
	if err != nil {
		return err
	}
	if there == Labelled {
		return backend.ErrStale
	}
	target, content := targetOf(intent), contentOf(intent)
	return w.Repeat(ctx, target, content, func() (Who, error) {
		return func(context.Context) backend.Contest {
			return backend.Contest{Kind: target.Kind, Name: target.Name, Writer: "another writer deletes it"}
		}, w.Send(ctx, intent)
	})
}

// ApplyIntent applies over an object that exists what the object does not say.
func (w Writer) ApplyIntent(ctx context.Context, intent *unstructured.Unstructured, current client.Object, how Lists) error {
	same, err := Realised(intent, current, how)
	if err != nil || same || w.Store.futile.known(intent, current) {
		w.report(targetOf(intent))
		return err
	}
	target, content := targetOf(intent), contentOf(intent)
	return w.Repeat(ctx, target, content, func() (Who, error) {
		wanted := intent.DeepCopy()
		err := w.Store.futile.note(intent, current, func() error {
			intent.SetResourceVersion(current.GetResourceVersion())
			intent.SetUID(current.GetUID()) // Else an object that was deleted in the meantime would be made anew.
			if err := w.Send(ctx, intent); err != nil {
				return err
			}
			return w.removeForged(ctx, intent, wanted.GetAnnotations())
		})
		return func(ctx context.Context) backend.Contest { return w.contestOf(ctx, wanted, intent, current, how) }, err
	})
}

func targetOf(intent *unstructured.Unstructured) Target {
	return Target{intent.GetKind(), client.ObjectKeyFromObject(intent)}
}

// Who finds out which writer keeps undoing a write.
type Who func(context.Context) backend.Contest

// Admission is the writer that has changed what the API server answers a write with.
const Admission = "an admission policy or webhook"

// Repeat writes content to an object, unless the same was written so often that it has to wait. There is nothing to write
// where the content is empty.
func (w Writer) Repeat(ctx context.Context, target Target, content string, write func() (Who, error)) error {
	defer w.report(target)
	if content == "" || w.Store.repeats.held(target, content, w.Store.now()) {
		return nil
	}
	who, err := write()
	if err == nil {
		w.Store.repeats.note(target, content, w.Store.now(), func() backend.Contest { return who(ctx) })
	}
	return err
}

// Held reports whether an object is not what it is meant to be because another writer has undone the same write too often.
func (w Writer) Held(made client.Object) bool {
	intent, err := IntentOf(made, w.Store.Scheme)
	return err == nil && w.Store.repeats.held(targetOf(intent), contentOf(intent), w.Store.now())
}

// report reports the other writer of an object, if it has one.
func (w Writer) report(target Target) {
	if contest, found := w.Store.repeats.contest(target, w.Store.now()); found && w.Contested != nil {
		w.Contested(contest)
	}
}

// contestOf says which field of an object is changed, and by whom. Where the answer to our own write has the field
// already changed, that was admission control, which the managed fields do not show.
func (w Writer) contestOf(ctx context.Context, wanted, answer *unstructured.Unstructured, before client.Object, how Lists) backend.Contest {
	contest := backend.Contest{Kind: wanted.GetKind(), Name: wanted.GetName()}
	if path := difference(wanted, answer.Object, how); path != nil {
		contest.Field, contest.Writer = fieldOf(path), Admission
		return contest
	}
	observed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(before)
	if err != nil {
		return contest
	}
	path := difference(wanted, observed, how)
	contest.Field = fieldOf(path)
	contest.Writer = w.Store.OtherWriter(ctx, answer, path)
	return contest
}

// OtherWriter looks on the API server for who else writes a field of an object; the cache keeps no managed fields.
func (s *Store) OtherWriter(ctx context.Context, object client.Object, path []string) string {
	metadata, err := s.Metadata(ctx, object)
	if err != nil {
		return "another writer"
	}
	return cmp.Or(otherWriter(metadata.ManagedFields, path), "another writer")
}

// removeForged removes the annotations of our own that somebody else has written. To apply without them takes away only
// those that we have written.
func (w Writer) removeForged(ctx context.Context, object *unstructured.Unstructured, wanted map[string]string) error {
	forged := map[string]any{}
	for key := range object.GetAnnotations() {
		if _, ours := wanted[key]; !ours && strings.HasPrefix(key, OwnPrefix) {
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
	err = w.Store.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(backend.FieldOwner))
	if err != nil {
		return fmt.Errorf("removing annotations of %s %q: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// Send writes the intent, and leaves in it what has become of the object.
func (w Writer) Send(ctx context.Context, intent *unstructured.Unstructured) error {
	err := w.Store.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(intent), client.FieldOwner(backend.FieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("applying %s %q: %w", intent.GetKind(), intent.GetName(), err)
	}
	if w.Written == nil {
		return nil
	}
	return w.Written(intent)
}

// Create makes an object that there must not be yet.
func (w Writer) Create(ctx context.Context, object client.Object) error {
	return w.Store.Client.Create(ctx, object, client.FieldOwner(backend.FieldOwner))
}

// Presence is what there is of an object that the cache does not show.
type Presence int

// What there may be of an object that the cache does not show.
const (
	Absent     Presence = iota
	Labelled            // It is ours, and the cache is late.
	Unlabelled          // It is ours, and somebody has taken our labels off.
)

// Look looks on the API server for an object that the cache does not show, and refuses one that is not ours.
func (w Writer) Look(ctx context.Context, made client.Object, kind string) (Presence, error) {
	there, err := w.Store.Metadata(ctx, made)
	if apierrors.IsNotFound(err) {
		return Absent, nil
	}
	if err != nil {
		return Absent, fmt.Errorf("looking for %s %q: %w", kind, made.GetName(), err)
	}
	if err := Mine(w.InferenceService, there, kind); err != nil {
		return Absent, err
	}
	if there.Labels[v1beta1.LabelInferenceService] == w.InferenceService.Name {
		return Labelled, nil
	}
	return Unlabelled, nil
}

// Delete deletes the very object that was observed; nil where there is none.
func (w Writer) Delete(ctx context.Context, object client.Object) error {
	if object == nil || object.GetDeletionTimestamp() != nil {
		return nil
	}
	if gvk, err := apiutil.GVKForObject(object, w.Store.Scheme); err == nil {
		w.Store.repeats.forget(Target{gvk.Kind, client.ObjectKeyFromObject(object)})
	}
	err := w.Store.Client.Delete(ctx, object,
		client.Preconditions{UID: new(object.GetUID()), ResourceVersion: new(object.GetResourceVersion())},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %T %q: %w", object, object.GetName(), err)
	}
	return nil
}
