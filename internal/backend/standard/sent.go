// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/gateway"
)

// childKey names an object of ours.
type childKey struct {
	kind string
	client.ObjectKey
}

// The kinds whose last write is waited for. From before the last write of a route, a spec that has changed back in the
// meantime looks as if it were acted on: nothing would be written, and the status would call a split ready that the
// route has just left. From before the last write of a Deployment, a revision that was scaled down looks as if it could
// take everything.
const (
	deploymentKind = "Deployment"
	routeKind      = gateway.RouteKind
)

// noteSent remembers what was written, where a decision must not be taken without it.
func (b *Backend) noteSent(written *unstructured.Unstructured) {
	if kind := written.GetKind(); kind == deploymentKind || kind == routeKind {
		b.sent.Note(childKey{kind, client.ObjectKeyFromObject(written)}, written.GetResourceVersion())
	}
}

// awaitDeployments refuses a view from before our own last write of a Deployment. One that the cache does not show at
// all is looked for when it is needed.
func (b *Backend) awaitDeployments(_ context.Context, _ *v1beta1.InferenceService, found *children) error {
	for _, n := range slices.Sorted(maps.Keys(found.deployments)) {
		deployment := found.deployments[n]
		if b.sent.Awaited(childKey{deploymentKind, client.ObjectKeyFromObject(deployment)}, deployment.ResourceVersion) {
			return backend.ErrStale
		}
	}
	return nil
}

// awaitRoutes refuses a view from before our own last write of a route.
func (b *Backend) awaitRoutes(ctx context.Context, isvc *v1beta1.InferenceService, found *children) error {
	names := []string{gateway.RouteName(isvc.Name), tagRouteName(v1beta1.TagLatest, isvc.Name), tagRouteName(v1beta1.TagPrevious, isvc.Name)}
	for _, name := range names {
		seen := ""
		if route := found.routeNamed(isvc, name); route != nil {
			seen = route.ResourceVersion
		}
		route := childKey{routeKind, client.ObjectKey{Namespace: isvc.Namespace, Name: name}}
		if !b.sent.Awaited(route, seen) {
			continue
		}
		if seen != "" {
			return backend.ErrStale
		}
		if err := b.awaitCreated(ctx, route); err != nil {
			return err
		}
	}
	return nil
}

// awaitCreated refuses a view without a route that was made and is still there. One that somebody has deleted, or taken
// our label off, before the cache was looked at does not come any more.
func (b *Backend) awaitCreated(ctx context.Context, route childKey) error {
	there := &metav1.PartialObjectMetadata{}
	gvk, err := apiutil.GVKForObject(Route(), b.Scheme)
	if err != nil {
		return err
	}
	there.SetGroupVersionKind(gvk)
	err = b.Live.Get(ctx, route.ObjectKey, there)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("looking for HTTPRoute %q: %w", route.Name, err)
	case apierrors.IsNotFound(err), there.Labels[v1beta1.LabelInferenceService] == "":
		b.sent.Forget(route)
		return nil
	}
	return backend.ErrStale
}
