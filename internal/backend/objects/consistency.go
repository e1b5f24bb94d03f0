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

// Consistency remembers the resource version of each written object until the cache shows it. A
// decision that is based on an older version would undo or repeat the write.
//
// A restart begins with a fresh cache, so the versions need not survive it. The zero value is ready
// to use.
type Consistency struct {
	versions sync.Map // From Target to resourceVersion.
}

// NoteWritten stores the resource version that a write has returned.
func (c *Consistency) NoteWritten(target Target, version string) { c.versions.Store(target, version) }

// Forget drops the version of an object.
func (c *Consistency) Forget(target Target) { c.versions.Delete(target) }

// IsBehind reports whether the cached version is older than the last written one. The cached
// version is empty if the cache does not hold the object. Versions that cannot be compared are not
// waited for.
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

// NoteWritten makes later observations wait until the cache shows the written object. See
// [Store.AwaitWritten].
func (s *Store) NoteWritten(object client.Object) error {
	target, err := s.targetOf(object)
	if err == nil {
		s.written.NoteWritten(target, object.GetResourceVersion())
	}
	return err
}

// AwaitWritten returns [backend.ErrStaleCache] while the cache is behind our last write of an object.
// The object is as cached. If the cache does not hold it, only its namespace and name are set, and
// AwaitWritten returns nil once the object was deleted or has lost our label.
func (s *Store) AwaitWritten(ctx context.Context, object client.Object) error {
	target, err := s.targetOf(object)
	if err != nil || !s.written.IsBehind(target, object.GetResourceVersion()) {
		return err
	}
	if object.GetResourceVersion() != "" {
		return backend.ErrStaleCache
	}
	current, err := s.Metadata(ctx, object)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("looking for %s %q: %w", target.Kind, target.Name, err)
	case apierrors.IsNotFound(err), current.Labels[v1beta1.LabelInferenceService] == "":
		s.written.Forget(target)
		return nil
	}
	return backend.ErrStaleCache
}

func (s *Store) targetOf(object client.Object) (Target, error) {
	gvk, err := apiutil.GVKForObject(object, s.Scheme)
	if err != nil {
		return Target{}, err
	}
	return Target{Group: gvk.Group, Kind: gvk.Kind, ObjectKey: client.ObjectKeyFromObject(object)}, nil
}
