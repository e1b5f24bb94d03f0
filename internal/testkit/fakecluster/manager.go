// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// retryPeriod is the delay before a retry after a conflicting write.
const retryPeriod = 10 * time.Millisecond

// Managed runs the controllers of a cluster with a manager.
type Managed struct {
	Cluster
	manager manager.Manager
}

// NewManaged returns fake controllers for the API server that kube connects to. They act on the
// given namespaces, by default on all. They start with [Managed.Run].
func NewManaged(kube *rest.Config, options Options, namespaces ...string) (*Managed, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	kube = rest.CopyConfig(kube)
	kube.QPS = -1
	mgr, err := ctrl.NewManager(kube, manager.Options{
		Scheme:     scheme,
		Cache:      cache.Options{DefaultNamespaces: cacheConfigFor(namespaces)},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager of the fake controllers: %w", err)
	}
	managed := &Managed{manager: mgr}
	managed.init(mgr.GetClient(), options)
	for _, controller := range managed.controllers {
		if err := controller.setup(mgr); err != nil {
			return nil, fmt.Errorf("setting up the fake %s: %w", controller.name, err)
		}
	}
	return managed, nil
}

// Run runs the controllers until the context is done.
func (m *Managed) Run(ctx context.Context) error { return m.manager.Start(ctx) }

func (c controller) setup(mgr manager.Manager) error {
	builder := ctrl.NewControllerManagedBy(mgr).Named("fake-" + c.name).For(c.kind)
	for _, watch := range c.watches {
		builder = builder.Watches(watch.kind, handler.EnqueueRequestsFromMapFunc(watch.requests))
	}
	if c.changes != nil {
		c.changes.events = make(chan event.GenericEvent, 1024)
		builder = builder.WatchesRawSource(source.Channel(c.changes.events, handler.EnqueueRequestsFromMapFunc(c.requestsFor)))
	}
	return builder.Complete(reconcile.Func(c.reconcile))
}

func (c controller) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	wait, err := c.sync(ctx, request.NamespacedName)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	return reconcile.Result{RequeueAfter: wait}, err
}

func cacheConfigFor(namespaces []string) map[string]cache.Config {
	var namespaceConfig map[string]cache.Config
	for _, namespace := range namespaces {
		if namespaceConfig == nil {
			namespaceConfig = map[string]cache.Config{}
		}
		namespaceConfig[namespace] = cache.Config{}
	}
	return namespaceConfig
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, gatewayv1.Install, servingv1.AddToScheme,
		autoscalingv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme of the fake controllers: %w", err)
		}
	}
	return scheme, nil
}
