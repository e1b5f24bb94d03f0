// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/controller"
	"github.com/serinus-io/serinus/test/integration/wire"
)

// operator is a running operator for one namespace.
type operator struct {
	wire   *wire.Wire
	cancel context.CancelFunc
	done   chan error
	// reconciledBefore is the number of reconciliations by earlier operators.
	reconciledBefore int
}

// startOperator runs the operator like its command, with the rights of its ServiceAccount, until it
// is stopped or the wire crashes it.
func startOperator(cfg *config.Config, namespace string, w *wire.Wire) (*operator, error) {
	kube := rest.CopyConfig(asOperator)
	kube.QPS = -1
	kube.Wrap(w.Wrap)
	scheme, err := controller.NewScheme()
	if err != nil {
		return nil, err
	}
	cached := controller.CacheOptions(cfg)
	cached.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	mgr, err := ctrl.NewManager(kube, manager.Options{
		Scheme:                  scheme,
		Cache:                   cached,
		Client:                  client.Options{Cache: &client.CacheOptions{Unstructured: false}},
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		Controller:              ctrlconfig.Controller{SkipNameValidation: new(true)},
		GracefulShutdownTimeout: &cfg.Controller.GracefulShutdownTimeout.Duration,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := controller.Setup(ctx, mgr, cfg, prometheus.NewRegistry(), controller.AccountOr("", "")); err != nil {
		cancel()
		return nil, err
	}
	reconciledBefore, err := totalReconciliations()
	if err != nil {
		cancel()
		return nil, err
	}
	o := &operator{wire: w, cancel: cancel, done: make(chan error, 1), reconciledBefore: reconciledBefore}
	go func() {
		select {
		case <-w.Crashed():
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() { o.done <- mgr.Start(ctx) }()
	return o, nil
}

// stop stops the operator and waits until it has ended.
func (o *operator) stop(ctx context.Context) error {
	o.cancel()
	select {
	case err := <-o.done:
		o.done <- nil // A second call must return, too.
		return err
	case <-ctx.Done():
		return fmt.Errorf("the operator does not stop: %w", ctx.Err())
	}
}

// reconciliations returns how often the operator has reconciled an InferenceService.
func (o *operator) reconciliations() (int, error) {
	all, err := totalReconciliations()
	return all - o.reconciledBefore, err
}

// totalReconciliations returns the reconciliations of all operators in this process, from a metric
// of controller-runtime. The metric exists once an operator has started.
func totalReconciliations() (int, error) {
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		total := 0.0
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "controller" && label.GetValue() == "inferenceservice" {
					total += metric.GetCounter().GetValue()
				}
			}
		}
		return int(total), nil
	}
	return 0, nil
}
