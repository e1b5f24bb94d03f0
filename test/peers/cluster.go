// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Cluster runs all fake controllers of a cluster.
type Cluster struct {
	Workloads *Workloads
	Gateway   *Gateway
	// Knative is nil unless Options.Knative is set.
	Knative *Knative

	manager manager.Manager
}

// Options configures a Cluster.
type Options struct {
	// Namespaces lists the namespaces to act on. The default is all namespaces.
	Namespaces []string
	// Concurrency is the number of objects that each controller reconciles at a time. The default
	// is 1.
	Concurrency int
	// Knative enables the fake of Knative Serving. Its CRDs must be installed.
	Knative bool
}

// New returns fake controllers for the cluster that kube connects to. They start with
// [Cluster.Run].
func New(ctx context.Context, kube *rest.Config, options Options) (*Cluster, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	kube = rest.CopyConfig(kube)
	kube.QPS = -1
	mgr, err := ctrl.NewManager(kube, manager.Options{
		Scheme:     scheme,
		Cache:      cache.Options{DefaultNamespaces: cacheConfigFor(options.Namespaces)},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true), MaxConcurrentReconciles: max(1, options.Concurrency)},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager of the fake controllers: %w", err)
	}
	cluster := &Cluster{Workloads: newWorkloads(mgr), Gateway: newGateway(mgr), manager: mgr}
	setups := []func(context.Context, manager.Manager) error{
		cluster.Workloads.setup, (&endpoints{client: mgr.GetClient()}).setup, cluster.Gateway.setup,
	}
	if options.Knative {
		cluster.Knative = newKnative(mgr)
		setups = append(setups, cluster.Knative.setup)
	}
	for _, setup := range setups {
		if err := setup(ctx, mgr); err != nil {
			return nil, err
		}
	}
	return cluster, nil
}

// Run runs the controllers until the context is done.
func (c *Cluster) Run(ctx context.Context) error { return c.manager.Start(ctx) }

func requestsFor(ctx context.Context, c client.Client, list client.ObjectList, options ...client.ListOption) []reconcile.Request {
	if err := c.List(ctx, list, options...); err != nil {
		return nil // The cache is not synced yet; each object is enqueued once it is.
	}
	var requests []reconcile.Request
	_ = apimeta.EachListItem(list, func(item runtime.Object) error {
		if object, ok := item.(client.Object); ok {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
		}
		return nil
	})
	return requests
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
