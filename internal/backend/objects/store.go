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

// Store reads and writes objects.
type Store struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// APIReader reads from the API server. The cache does not hold objects without our label, and may be
	// too old to decide on a deletion.
	APIReader client.Reader
	// Scheme knows all kinds that a backend writes.
	Scheme *runtime.Scheme
	// Now returns the current time; the default is time.Now.
	Now func() time.Time

	written Consistency
	repeats repeats
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// List reads the objects of the InferenceService from the cache.
func (s *Store) List(ctx context.Context, isvc *v1beta1.InferenceService, list client.ObjectList) error {
	err := s.Client.List(ctx, list, client.InNamespace(isvc.Namespace), client.MatchingFields{IndexByInferenceService: isvc.Name})
	if err != nil {
		return fmt.Errorf("listing %T: %w", list, err)
	}
	return nil
}

// Confirm returns [backend.ErrStaleCache] unless the API server still has the observed version of the
// InferenceService and of an object, which may be nil. Deletions need it, because the cache may be
// older than our own last write.
func (s *Store) Confirm(ctx context.Context, isvc *v1beta1.InferenceService, object client.Object) error {
	current := &v1beta1.InferenceService{}
	if err := s.APIReader.Get(ctx, client.ObjectKeyFromObject(isvc), current); err != nil {
		return fmt.Errorf("confirming the spec: %w", err)
	}
	// Labels and annotations count as much as the spec, and they do not change the generation.
	if current.UID != isvc.UID || current.ResourceVersion != isvc.ResourceVersion {
		return backend.ErrStaleCache
	}
	if object == nil {
		return nil
	}
	metadata, err := s.Metadata(ctx, object)
	if err != nil {
		return fmt.Errorf("confirming the route: %w", err)
	}
	if metadata.ResourceVersion != object.GetResourceVersion() {
		return backend.ErrStaleCache
	}
	return nil
}

// Metadata reads the metadata of an object from the API server.
func (s *Store) Metadata(ctx context.Context, object client.Object) (*metav1.PartialObjectMetadata, error) {
	gvk, err := apiutil.GVKForObject(object, s.Scheme)
	if err != nil {
		return nil, err
	}
	current := &metav1.PartialObjectMetadata{}
	current.SetGroupVersionKind(gvk)
	return current, s.APIReader.Get(ctx, client.ObjectKeyFromObject(object), current)
}

// Writer writes the objects of one InferenceService.
type Writer struct {
	Store            *Store
	InferenceService *v1beta1.InferenceService
	// Written is called with each applied object; it may be nil.
	Written func(*unstructured.Unstructured) error
	// Contested is called with each object that another writer keeps changing; it may be nil.
	Contested func(backend.Contest)
}

// Attempt is one write to an object. Every write of a backend is one.
type Attempt struct {
	Object client.Object
	// Content is what is written, without times. Nothing is written if it is empty.
	Content string
	Write   func() error
	// Undone returns which field of the content is changed again, and which writer does so.
	Undone func(context.Context) (field, writer string)
}

// Write makes an attempt, unless the same content was written so often that the next write has to
// wait. Other content is never held.
func (w Writer) Write(ctx context.Context, attempt Attempt) (held bool, err error) {
	target, err := w.Store.targetOf(attempt.Object)
	if err != nil {
		return false, err
	}
	defer w.report(target)
	switch {
	case attempt.Content == "":
		return false, nil
	case w.Store.repeats.held(target, attempt.Content, w.Store.now()):
		return true, nil
	}
	if err := attempt.Write(); err != nil {
		return false, err
	}
	w.Store.repeats.note(target, attempt.Content, w.Store.now(), func() backend.Contest {
		field, writer := attempt.Undone(ctx)
		return backend.Contest{Kind: target.qualifiedKind(), Name: target.Name, Field: field, Writer: writer}
	})
	return false, nil
}

// Held reports whether the next write of an object has to wait because another writer has undone
// the same write too often.
func (w Writer) Held(desired client.Object) bool {
	intent, err := IntentOf(desired, w.Store.Scheme)
	if err != nil {
		return false
	}
	target, err := w.Store.targetOf(intent)
	return err == nil && w.Store.repeats.held(target, contentOf(intent), w.Store.now())
}

func (w Writer) report(target Target) {
	if contest, found := w.Store.repeats.contest(target, w.Store.now()); found && w.Contested != nil {
		w.Contested(contest)
	}
}

// Apply applies an object unless it is up to date. An existing object is applied under the observed
// resource version. A new one is first looked up on the API server, because the cache holds only
// objects with our label.
func (w Writer) Apply(ctx context.Context, desired, current client.Object, how Lists) error {
	intent, err := IntentOf(desired, w.Store.Scheme)
	if err != nil {
		return err
	}
	if current != nil {
		return w.ApplyIntent(ctx, intent, current, how)
	}
	presence, err := w.Lookup(ctx, desired, intent.GetKind())
	if err != nil {
		return err
	}
	if presence == Labelled {
		return backend.ErrStaleCache
	}
	_, err = w.Send(ctx, intent, presence)
	return err
}

// ApplyIntent applies an intent to an existing object unless it is up to date, or is known to stay
// as it is.
func (w Writer) ApplyIntent(ctx context.Context, intent *unstructured.Unstructured, current client.Object, how Lists) error {
	target, err := w.Store.targetOf(intent)
	if err != nil {
		return err
	}
	futile := string(current.GetUID()) + current.GetResourceVersion() + encode(intent)
	same, err := IsUpToDate(intent, current, how)
	if err != nil || same || w.Store.repeats.isFutile(target, futile) {
		w.report(target)
		return err
	}
	desired := intent.DeepCopy()
	held, err := w.Write(ctx, Attempt{
		Object: intent, Content: contentOf(intent),
		Write: func() error {
			intent.SetResourceVersion(current.GetResourceVersion())
			intent.SetUID(current.GetUID()) // Otherwise a deleted object would be created again.
			if err := w.send(ctx, intent); err != nil {
				return err
			}
			return w.removeForged(ctx, intent, desired.GetAnnotations())
		},
		Undone: func(ctx context.Context) (field, writer string) { return w.undone(ctx, desired, intent, current, how) },
	})
	if err == nil && !held && intent.GetResourceVersion() == current.GetResourceVersion() {
		w.Store.repeats.noteFutile(target, futile)
	}
	return err
}

// Send applies an intent whatever the current object contains.
func (w Writer) Send(ctx context.Context, intent *unstructured.Unstructured, presence Ownership) (held bool, err error) {
	return w.Write(ctx, Attempt{
		Object: intent, Content: contentOf(intent),
		Write: func() error { return w.send(ctx, intent) },
		Undone: func(ctx context.Context) (field, writer string) {
			if presence == Absent {
				return "", deletes
			}
			return w.undoneMetadata(ctx, intent)
		},
	})
}

// send applies the intent and stores the resulting object in it.
func (w Writer) send(ctx context.Context, intent *unstructured.Unstructured) error {
	err := w.Store.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(intent), client.FieldOwner(backend.FieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("applying %s %q: %w", intent.GetKind(), intent.GetName(), err)
	}
	if w.Written == nil {
		return nil
	}
	return w.Written(intent)
}

// Create creates an object.
func (w Writer) Create(ctx context.Context, object client.Object, options ...client.CreateOption) (held bool, err error) {
	intent, err := IntentOf(object, w.Store.Scheme)
	if err != nil {
		return false, err
	}
	return w.Write(ctx, Attempt{
		Object: object, Content: contentOf(intent),
		Write: func() error {
			return w.Store.Client.Create(ctx, object, append(options, client.FieldOwner(backend.FieldOwner))...)
		},
		Undone: func(context.Context) (field, writer string) { return "", deletes },
	})
}

// PatchMetadata merges metadata into an object, under its resource version if it has one.
func (w Writer) PatchMetadata(ctx context.Context, object client.Object, metadata map[string]any) (held bool, err error) {
	content, err := json.Marshal(metadata)
	if err != nil {
		return false, err
	}
	return w.Write(ctx, Attempt{
		Object: object, Content: WithoutTimes(string(content)),
		Write:  func() error { return w.patchMetadata(ctx, object, metadata) },
		Undone: func(ctx context.Context) (field, writer string) { return w.undoneMetadata(ctx, object) },
	})
}

func (w Writer) patchMetadata(ctx context.Context, object client.Object, metadata map[string]any) error {
	if version := object.GetResourceVersion(); version != "" {
		metadata["resourceVersion"] = version
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	target, err := w.Store.targetOf(object)
	if err != nil {
		return err
	}
	err = w.Store.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(backend.FieldOwner))
	if err != nil {
		return fmt.Errorf("patching %s %q: %w", target.Kind, target.Name, err)
	}
	return nil
}

// Delete deletes an object in the observed version; nil is ignored.
func (w Writer) Delete(ctx context.Context, object client.Object) error {
	return w.delete(ctx, object, "deleted")
}

// DeleteChild deletes an object that another controller creates and may create again.
func (w Writer) DeleteChild(ctx context.Context, object client.Object) error {
	return w.delete(ctx, object, "deleted "+string(object.GetUID()))
}

func (w Writer) delete(ctx context.Context, object client.Object, content string) error {
	if object == nil || object.GetDeletionTimestamp() != nil {
		return nil
	}
	_, err := w.Write(ctx, Attempt{
		Object: object, Content: content,
		Write: func() error {
			return w.Store.Client.Delete(ctx, object,
				client.Preconditions{UID: new(object.GetUID()), ResourceVersion: new(object.GetResourceVersion())},
				client.PropagationPolicy(metav1.DeletePropagationBackground))
		},
		Undone: func(context.Context) (field, writer string) { return "", "another writer creates it again" },
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %T %q: %w", object, object.GetName(), err)
	}
	return nil
}

// Writers of a contested object that its managed fields do not name.
const (
	// Admission changes an object before the API server stores it.
	Admission = "an admission policy or webhook"
	deletes   = "another writer deletes it"
)

// undone returns which field is changed, and by which writer. If the response to our own write has
// another value, admission control has changed it, which managed fields do not show.
func (w Writer) undone(ctx context.Context, desired, answer *unstructured.Unstructured, before client.Object, how Lists) (field, writer string) {
	if path := difference(desired, answer.Object, how); path != nil {
		return fieldOf(path), Admission
	}
	observed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(before)
	if err != nil {
		return "", "another writer"
	}
	path := difference(desired, observed, how)
	return fieldOf(path), w.Store.OtherWriter(ctx, answer, path)
}

func (w Writer) undoneMetadata(ctx context.Context, object client.Object) (field, writer string) {
	return "metadata", w.Store.OtherWriter(ctx, object, []string{"metadata"})
}

// OtherWriter returns which other writer sets a field, according to the API server: the cache drops
// managed fields.
func (s *Store) OtherWriter(ctx context.Context, object client.Object, path []string) string {
	metadata, err := s.Metadata(ctx, object)
	if err != nil {
		return "another writer"
	}
	return cmp.Or(otherWriter(metadata.ManagedFields, path), "another writer")
}

// removeForged removes annotations with our prefix that another writer has set. Server-side apply
// removes only those that we have set.
func (w Writer) removeForged(ctx context.Context, object *unstructured.Unstructured, desired map[string]string) error {
	forged := map[string]any{}
	for key := range object.GetAnnotations() {
		if _, ours := desired[key]; !ours && strings.HasPrefix(key, OwnPrefix) {
			forged[key] = nil
		}
	}
	if len(forged) == 0 {
		return nil
	}
	return w.patchMetadata(ctx, object, map[string]any{"annotations": forged})
}

// Ownership is the state on the API server of an object that the cache does not hold.
type Ownership int

// The possible states.
const (
	Absent     Ownership = iota
	Labelled             // It is ours, and the cache is behind.
	Unlabelled           // It is ours, but our labels were removed.
)

// Lookup reads an object that the cache does not hold from the API server. It returns a conflict
// for an object that is not ours.
func (w Writer) Lookup(ctx context.Context, desired client.Object, kind string) (Ownership, error) {
	current, err := w.Store.Metadata(ctx, desired)
	if apierrors.IsNotFound(err) {
		return Absent, nil
	}
	if err != nil {
		return Absent, fmt.Errorf("looking for %s %q: %w", kind, desired.GetName(), err)
	}
	if err := CheckOwner(w.InferenceService, current, kind); err != nil {
		return Absent, err
	}
	if current.Labels[v1beta1.LabelInferenceService] == w.InferenceService.Name {
		return Labelled, nil
	}
	return Unlabelled, nil
}
