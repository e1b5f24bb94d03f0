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
	futile  futileWrites
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
	target, content := targetOf(intent), contentOf(intent)
	return w.Repeat(ctx, target, content, func() (FindWriter, error) {
		return func(context.Context) backend.Contest {
			return backend.Contest{Kind: target.Kind, Name: target.Name, Writer: "another writer deletes it"}
		}, w.Send(ctx, intent)
	})
}

// ApplyIntent applies an intent to an existing object unless it is up to date.
func (w Writer) ApplyIntent(ctx context.Context, intent *unstructured.Unstructured, current client.Object, how Lists) error {
	same, err := IsUpToDate(intent, current, how)
	if err != nil || same || w.Store.futile.known(intent, current) {
		w.report(targetOf(intent))
		return err
	}
	target, content := targetOf(intent), contentOf(intent)
	return w.Repeat(ctx, target, content, func() (FindWriter, error) {
		desired := intent.DeepCopy()
		err := w.Store.futile.note(intent, current, func() error {
			intent.SetResourceVersion(current.GetResourceVersion())
			intent.SetUID(current.GetUID()) // Otherwise a deleted object would be created again.
			if err := w.Send(ctx, intent); err != nil {
				return err
			}
			return w.removeForged(ctx, intent, desired.GetAnnotations())
		})
		return func(ctx context.Context) backend.Contest { return w.contestOf(ctx, desired, intent, current, how) }, err
	})
}

func targetOf(intent *unstructured.Unstructured) Target {
	return Target{intent.GetKind(), client.ObjectKeyFromObject(intent)}
}

// FindWriter identifies the writer that keeps undoing a write.
type FindWriter func(context.Context) backend.Contest

// Admission is the name of a writer that changes an object before the API server stores it.
const Admission = "an admission policy or webhook"

// Repeat writes content to an object, unless the same content was written so often that the next
// write has to wait. Empty content is not written.
func (w Writer) Repeat(ctx context.Context, target Target, content string, write func() (FindWriter, error)) error {
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

// Held reports whether the next write of an object has to wait because another writer has undone
// the same write too often.
func (w Writer) Held(desired client.Object) bool {
	intent, err := IntentOf(desired, w.Store.Scheme)
	return err == nil && w.Store.repeats.held(targetOf(intent), contentOf(intent), w.Store.now())
}

func (w Writer) report(target Target) {
	if contest, found := w.Store.repeats.contest(target, w.Store.now()); found && w.Contested != nil {
		w.Contested(contest)
	}
}

// contestOf returns which field is changed, and by which writer. If the response to our own write
// has another value, admission control has changed it, which managed fields do not show.
func (w Writer) contestOf(ctx context.Context, desired, answer *unstructured.Unstructured, before client.Object, how Lists) backend.Contest {
	contest := backend.Contest{Kind: desired.GetKind(), Name: desired.GetName()}
	if path := difference(desired, answer.Object, how); path != nil {
		contest.Field, contest.Writer = fieldOf(path), Admission
		return contest
	}
	observed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(before)
	if err != nil {
		return contest
	}
	path := difference(desired, observed, how)
	contest.Field = fieldOf(path)
	contest.Writer = w.Store.OtherWriter(ctx, answer, path)
	return contest
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

// Send applies the intent and stores the resulting object in it.
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

// Create creates an object.
func (w Writer) Create(ctx context.Context, object client.Object) error {
	return w.Store.Client.Create(ctx, object, client.FieldOwner(backend.FieldOwner))
}

// Ownership is the state on the API server of an object that the cache does not hold.
type Ownership int

// Presences of an object.
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

// Delete deletes an object in the observed version; nil is ignored.
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
