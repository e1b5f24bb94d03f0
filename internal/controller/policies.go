// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/evidence"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
)

// +kubebuilder:rbac:groups=canary.serinus.io,resources=canarypolicies;clustercanarypolicies,verbs=get;list;watch

// queryConcurrency limits how many trials query Prometheus at the same time.
const queryConcurrency = 8

// canaryPolicies watches the policies. The cache is that of kinds without the operator's label.
func canaryPolicies(mgr manager.Manager, unlabelled cache.Cache) *optionalAPI {
	all := handler.EnqueueRequestsFromMapFunc(enqueueAll(mgr.GetClient()))
	sourceOf := func(kind client.Object) func() source.Source {
		return func() source.Source { return source.Kind(unlabelled, kind, all) }
	}
	return &optionalAPI{
		name: "CanaryPolicy", whenMissing: "no policy moves traffic until its CRDs are installed",
		list: func() client.ObjectList { return &canaryv1alpha1.ClusterCanaryPolicyList{} }, mgr: mgr,
		related: []func() source.Source{sourceOf(&canaryv1alpha1.CanaryPolicy{}), sourceOf(&canaryv1alpha1.ClusterCanaryPolicy{})},
	}
}

// newAutomation returns the automation with the configured metrics. The gatherer enqueues into the
// queue.
func newAutomation(mgr manager.Manager, cfg config.Analysis, registerer prometheus.Registerer, queue *lateQueue) (Automation, error) {
	presets, err := newPresets(cfg.Presets)
	if err != nil {
		return Automation{}, fmt.Errorf("analysis.presets: %w", err)
	}
	automation := Automation{
		Presets: presets,
		Options: policy.Options{Presets: presets.Names(), NamespacedQueries: cfg.NamespacedQueries},
	}
	if cfg.Prometheus.Address == "" {
		return automation, nil
	}
	m, err := metricsource.NewMetrics(registerer)
	if err != nil {
		return Automation{}, err
	}
	prom, err := metricsource.NewClient(metricsource.Config{
		Address: cfg.Prometheus.Address, BearerTokenFile: cfg.Prometheus.BearerTokenFile, CAFile: cfg.Prometheus.CAFile,
		Timeout: cfg.Prometheus.Timeout.Duration,
	}, clock.RealClock{}, m)
	if err != nil {
		return Automation{}, fmt.Errorf("analysis.prometheus: %w", err)
	}
	gatherer := metricsource.NewGatherer(metricsource.Options[evidence.Verdict]{
		Client: prom, Clock: clock.RealClock{}, Concurrency: queryConcurrency,
		Judge: evidence.Judge, Changed: evidence.Changed, Enqueue: queue.add,
	})
	automation.Gatherer = gatherer
	return automation, mgr.Add(gatherer)
}

// newPresets returns the built-in presets with those of the configuration. One with the name of a
// built-in preset is chosen for the same gateways and runtimes, unless it names others.
func newPresets(configured map[string]config.Preset) (metricsource.Presets, error) {
	builtin, err := metricsource.NewPresets()
	if err != nil {
		return nil, err
	}
	var presets []metricsource.Preset
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		given, replaced := configured[name], builtin[name]
		preset := metricsource.Preset{
			Name: name, Hint: replaced.Hint, Controllers: given.Controllers, Runtimes: given.Runtimes,
			Counters: metricsource.Counters{Total: given.Total, Bad: given.Bad, NotBad: given.NotBad},
		}
		if len(preset.Controllers) == 0 {
			preset.Controllers = replaced.Controllers
		}
		if len(preset.Runtimes) == 0 {
			preset.Runtimes = replaced.Runtimes
		}
		if latency := given.Latency; latency != nil {
			preset.Latency = &metricsource.Histogram{
				Bucket: latency.Bucket, Count: latency.Count, Unit: cmp.Or(latency.Unit.Duration, time.Second),
			}
		}
		presets = append(presets, preset)
	}
	return metricsource.NewPresets(presets...)
}

// lateQueue adds requests to the queue of the controller once the controller has started. Until
// then, there is nothing to enqueue.
type lateQueue struct {
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

func (l *lateQueue) add(name types.NamespacedName) {
	if queue := l.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: name})
	}
}

func (l *lateQueue) source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		l.queue.Store(&queue)
		return nil
	})
}
