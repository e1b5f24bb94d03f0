// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/config"
)

// newGatewayCache returns a cache of Gateways and GatewayClasses. They lack the label that the main
// cache selects by, and the main cache cannot name kinds that the cluster may get later.
func newGatewayCache(mgr manager.Manager, cfg *config.Config) (cache.Cache, error) {
	return cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		SyncPeriod: &cfg.Controller.ResyncPeriod.Duration, DefaultTransform: trimGateway, ReaderFailOnMissingInformer: true,
	})
}

func trimGateway(object any) (any, error) {
	switch object := object.(type) {
	case *gatewayv1.Gateway:
		return gateway.Trim(object), nil
	case *gatewayv1.GatewayClass:
		return gateway.TrimClass(object), nil
	}
	return object, nil
}

// gatewaySources returns the event sources of Gateways and GatewayClasses.
func gatewaySources(mgr manager.Manager, gateways cache.Cache) []func() source.Source {
	attached := handler.EnqueueRequestsFromMapFunc(enqueueAttached(mgr.GetClient(), gateways))
	sourceOf := func(kind client.Object) func() source.Source {
		return func() source.Source { return source.Kind(gateways, kind, attached, gatewayChanged) }
	}
	return []func() source.Source{sourceOf(&gatewayv1.Gateway{}), sourceOf(&gatewayv1.GatewayClass{})}
}

// gatewayChanged drops updates that change only fields that are not read. A Gateway's status counts
// its routes, so each new InferenceService would otherwise enqueue all others.
var gatewayChanged predicate.Predicate = predicate.Funcs{UpdateFunc: func(update event.UpdateEvent) bool {
	return !equality.Semantic.DeepEqual(withoutVersion(update.ObjectOld), withoutVersion(update.ObjectNew))
}}

func withoutVersion(object client.Object) client.Object {
	object, ok := object.DeepCopyObject().(client.Object)
	if ok {
		object.SetResourceVersion("")
		object.SetManagedFields([]metav1.ManagedFieldsEntry{})
	}
	return object
}

// enqueueAttached maps a Gateway or a GatewayClass to the InferenceServices whose routes attach to
// it.
func enqueueAttached(routes, gateways client.Reader) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		keys := map[client.ObjectKey]bool{client.ObjectKeyFromObject(object): true}
		if class, ok := object.(*gatewayv1.GatewayClass); ok {
			keys = map[client.ObjectKey]bool{}
			var list gatewayv1.GatewayList
			if err := gateways.List(ctx, &list); err != nil {
				logf.FromContext(ctx).Error(err, "Listing the Gateways of a GatewayClass")
				return nil
			}
			for i := range list.Items {
				if string(list.Items[i].Spec.GatewayClassName) == class.Name {
					keys[client.ObjectKeyFromObject(&list.Items[i])] = true
				}
			}
		}
		var list gatewayv1.HTTPRouteList
		if err := routes.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			logf.FromContext(ctx).Error(err, "Listing the routes of a Gateway")
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			route := &list.Items[i]
			if slices.ContainsFunc(gateway.GatewaysOf(route), func(key client.ObjectKey) bool { return keys[key] }) {
				requests = append(requests, enqueueOwner(ctx, route)...)
			}
		}
		return requests
	}
}
