// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
)

// sentRoutes remembers the version of each route that was written until the cache shows it. Before that, a spec that
// has changed back in the meantime looks as if it were acted on: nothing would be written, and the status would call a
// split ready that the route has just left.
//
// It is no memory that anything relies on: a restart begins with a fresh cache. The zero value is ready to use.
type sentRoutes struct {
	versions sync.Map // From client.ObjectKey to the resourceVersion.
}

func (s *sentRoutes) note(route client.Object) {
	s.versions.Store(client.ObjectKeyFromObject(route), route.GetResourceVersion())
}

// awaited tells whether the version that was written last is newer than the one that was seen, which is empty where
// there was none. Versions that cannot be compared are not waited for.
func (s *sentRoutes) awaited(key client.ObjectKey, seen string) bool {
	sent, found := s.versions.Load(key)
	if !found {
		return false
	}
	if seen == "" {
		return true
	}
	version, _ := sent.(string)
	if order, err := resourceversion.CompareResourceVersion(seen, version); err == nil && order < 0 {
		return true
	}
	s.versions.CompareAndDelete(key, sent)
	return false
}

// awaitRoutes refuses a view from before our own last write of a route.
func (b *Backend) awaitRoutes(ctx context.Context, isvc *v1beta1.InferenceService, found *children) error {
	names := []string{routeName(isvc.Name), tagRouteName(v1beta1.TagLatest, isvc.Name), tagRouteName(v1beta1.TagPrevious, isvc.Name)}
	for _, name := range names {
		seen := ""
		if route := found.routeNamed(isvc, name); route != nil {
			seen = route.ResourceVersion
		}
		key := client.ObjectKey{Namespace: isvc.Namespace, Name: name}
		if !b.sent.awaited(key, seen) {
			continue
		}
		if seen != "" {
			return backend.ErrStale
		}
		if err := b.awaitCreated(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// awaitCreated refuses a view without a route that was made and is still there. One that somebody has deleted before
// the cache was looked at does not come any more.
func (b *Backend) awaitCreated(ctx context.Context, key client.ObjectKey) error {
	there := &metav1.PartialObjectMetadata{}
	gvk, err := apiutil.GVKForObject(Route(), b.Scheme)
	if err != nil {
		return err
	}
	there.SetGroupVersionKind(gvk)
	switch err := b.Live.Get(ctx, key, there); {
	case apierrors.IsNotFound(err):
		b.sent.versions.Delete(key)
		return nil
	case err != nil:
		return fmt.Errorf("looking for HTTPRoute %q: %w", key.Name, err)
	}
	return backend.ErrStale
}
