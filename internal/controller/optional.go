// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/standard"
)

// optionalAPI watches kinds that a cluster may lack. It starts the watches once the cluster serves
// them.
type optionalAPI struct {
	// name and whenMissing are for log messages. whenMissing says what does not work without the
	// API.
	name, whenMissing string
	// kinds are watched. The API is served once a request for the list succeeds.
	kinds []client.Object
	list  func() client.ObjectList
	// related are further event sources, which are watched together with the kinds.
	related []func() source.Source

	mgr        manager.Manager
	controller controller.Controller
	installed  atomic.Bool
	// indexed and watched count the kinds, and related sources, that are done. Neither can be
	// repeated.
	indexed, watched int
}

func gatewayAPI(mgr manager.Manager, gateways cache.Cache) *optionalAPI {
	return &optionalAPI{
		name: "the Gateway API", whenMissing: "InferenceServices in Standard mode get no traffic until it is installed",
		kinds: []client.Object{standard.Route()}, list: func() client.ObjectList { return &gatewayv1.HTTPRouteList{} }, mgr: mgr,
		related: gatewaySources(mgr, gateways),
	}
}

func knativeServing(mgr manager.Manager) *optionalAPI {
	return &optionalAPI{
		name: "Knative Serving", whenMissing: "InferenceServices in Knative mode are not run until it is installed",
		kinds: knative.Kinds(), list: func() client.ObjectList { return &servingv1.ServiceList{} }, mgr: mgr,
	}
}

func scaleTargets(mgr manager.Manager) *optionalAPI {
	return &optionalAPI{
		name: "ScaleTarget", whenMissing: "external autoscalers can scale Deployments only until its CRD is installed",
		kinds: []client.Object{standard.ScaleTarget()}, list: func() client.ObjectList { return &scalingv1alpha1.ScaleTargetList{} }, mgr: mgr,
	}
}

func (a *optionalAPI) setup(ctx context.Context) error {
	present, err := a.isServed(ctx)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", a.name, err)
	}
	if present {
		return a.watch(ctx)
	}
	return a.mgr.Add(warmRunnable(a.await))
}

// warmRunnable runs on all replicas, also without leadership, as caches do.
type warmRunnable func(context.Context) error

// Start implements manager.Runnable.
func (r warmRunnable) Start(ctx context.Context) error { return r(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (warmRunnable) NeedLeaderElection() bool { return false }

// await polls until the cluster serves the API, then enqueues every InferenceService.
func (a *optionalAPI) await(ctx context.Context) error {
	log := a.mgr.GetLogger().WithName("apis").WithValues("api", a.name)
	log.Info("The cluster does not serve the API yet; " + a.whenMissing)
	err := wait.PollUntilContextCancel(ctx, discoveryPeriod, true, func(ctx context.Context) (bool, error) {
		present, err := a.isServed(ctx)
		if err != nil || !present {
			return false, nil //nolint:nilerr // The API server is unreachable for a moment; retry.
		}
		if err := a.watch(ctx); err != nil {
			log.Error(err, "Watching the API")
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil //nolint:nilerr // The manager stops.
	}
	log.Info("The cluster serves the API now")
	return a.enqueueAllOnce()
}

// isServed lists objects instead of asking discovery. Discovery still shows a kind for a while
// after its CRD is deleted, and a watch of that kind would never sync.
func (a *optionalAPI) isServed(ctx context.Context) (bool, error) {
	err := a.mgr.GetAPIReader().List(ctx, a.list(), client.Limit(1))
	if apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// watch adds the indexes and watches. It may be called again after an error.
func (a *optionalAPI) watch(ctx context.Context) error {
	for i, kind := range a.kinds {
		if i >= a.indexed {
			if err := a.mgr.GetFieldIndexer().IndexField(ctx, kind, objects.IndexByInferenceService, objects.InferenceServiceOf); err != nil {
				return fmt.Errorf("indexing %T: %w", kind, err)
			}
			a.indexed = i + 1
		}
		if i >= a.watched {
			if err := a.controller.Watch(source.Kind(a.mgr.GetCache(), kind, handler.EnqueueRequestsFromMapFunc(enqueueOwner))); err != nil {
				return fmt.Errorf("watching %T: %w", kind, err)
			}
			a.watched = i + 1
		}
	}
	for i, related := range a.related {
		if len(a.kinds)+i >= a.watched {
			if err := a.controller.Watch(related()); err != nil {
				return fmt.Errorf("watching the related kinds of %s: %w", a.name, err)
			}
			a.watched++
		}
	}
	a.installed.Store(true)
	return nil
}

func (a *optionalAPI) enqueueAllOnce() error {
	events := make(chan event.GenericEvent, 1)
	events <- event.GenericEvent{Object: &v1alpha1.ClusterServingRuntime{}}
	return a.controller.Watch(source.Channel(events, handler.EnqueueRequestsFromMapFunc(enqueueAll(a.mgr.GetClient()))))
}
