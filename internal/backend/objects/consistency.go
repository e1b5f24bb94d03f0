// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
)

// Consistency remembers the version of each written object until the cache shows it. A decision that is based on an older
// version would undo or repeat the write.
//
// Nothing relies on it across restarts, because a restart begins with a fresh cache. The zero value is ready to use.
type Consistency struct {
	versions sync.Map // From Target to the resourceVersion.
}

// NoteWritten takes the version that the API server has answered a write with.
func (c *Consistency) NoteWritten(target Target, version string) { c.versions.Store(target, version) }

// Forget stops waiting for an object.
func (c *Consistency) Forget(target Target) { c.versions.Delete(target) }

// IsBehind reports whether the version in the cache is older than the one that was written last. The version is empty if
// the cache does not have the object. Versions that cannot be compared are not waited for.
func (c *Consistency) IsBehind(target Target, cached string) bool {
	written, found := c.versions.Load(target)
	if !found {
		return false
	}
	if cached == "" {
		return true
	}
	version, _ := written.(string)
	if order, err := resourceversion.CompareResourceVersion(cached, version); err == nil && order < 0 {
		return true
	}
	c.versions.CompareAndDelete(target, written)
	return false
}

// NoteWritten has later observations wait until the cache shows the object as it was written. See [Store.AwaitWritten].
func (s *Store) NoteWritten(object client.Object) error {
	target, err := s.targetOf(object)
	if err == nil {
		s.written.NoteWritten(target, object.GetResourceVersion())
	}
	return err
}

// AwaitWritten returns [backend.ErrStale] while the cache has not caught up with our last write of an object. The object is
// as cached; if the cache does not have it, it has a namespace and a name only, and is not waited for once it was deleted,
// or lost our label.
func (s *Store) AwaitWritten(ctx context.Context, object client.Object) error {
	target, err := s.targetOf(object)
	if err != nil || !s.written.IsBehind(target, object.GetResourceVersion()) {
		return err
	}
	if object.GetResourceVersion() != "" {
		return backend.ErrStale
	}
	current, err := s.Metadata(ctx, object)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("looking for %s %q: %w", target.Kind, target.Name, err)
	case apierrors.IsNotFound(err), current.Labels[v1beta1.LabelInferenceService] == "":
		s.written.Forget(target)
		return nil
	}
	return backend.ErrStale
}

func (s *Store) targetOf(object client.Object) (Target, error) {
	gvk, err := apiutil.GVKForObject(object, s.Scheme)
	if err != nil {
		return Target{}, err
	}
	return Target{Kind: gvk.Kind, ObjectKey: client.ObjectKeyFromObject(object)}, nil
}
