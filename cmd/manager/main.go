// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manager runs the operator.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/controller"
)

var version = "devel"

type options struct {
	configFile   string
	printVersion bool
	log          zap.Options
}

func main() {
	var opts options
	flag.StringVar(&opts.configFile, "config", "", "Path of the operator's configuration file. Without it, all settings have their defaults.")
	flag.BoolVar(&opts.printVersion, "version", false, "Print the version and exit.")
	opts.log.BindFlags(flag.CommandLine)
	flag.Parse()

	if err := run(ctrl.SetupSignalHandler(), opts); err != nil {
		fmt.Fprintln(os.Stderr, "serinus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) error {
	if opts.printVersion {
		fmt.Println(version)
		return nil
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&opts.log)))
	setGCPercent()
	cfg := config.Default()
	if opts.configFile != "" {
		var err error
		if cfg, err = config.Load(opts.configFile); err != nil {
			return err
		}
	}
	mgr, err := newManager(cfg)
	if err != nil {
		return err
	}
	ctrl.Log.WithName("setup").Info("Starting", "version", version, "deploymentMode", cfg.DeploymentMode)
	if err := controller.AwaitCRDs(ctrl.LoggerInto(ctx, ctrl.Log), mgr.GetAPIReader()); err != nil {
		return err
	}
	if err := controller.Setup(ctx, mgr, cfg, prometheusRegistry(), account()); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

// account returns the operator's ServiceAccount. The Deployment sets the variables.
func account() controller.Account {
	return controller.AccountOr(os.Getenv("POD_NAMESPACE"), os.Getenv("SERVICE_ACCOUNT"))
}

// gcPercent is the garbage collection target. Most of the heap is the informer cache, which grows
// with the number of InferenceServices. A lower target than Go's default of 100 costs little time
// and saves much memory.
const gcPercent = 20

// setGCPercent sets the garbage collection target, unless GOGC does.
func setGCPercent() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

func prometheusRegistry() prometheus.Registerer { return ctrlmetrics.Registry }

// newManager creates the manager. Its readiness probe succeeds when the caches are synced, so that
// a ready standby can become the leader at once.
func newManager(cfg *config.Config) (manager.Manager, error) {
	kube, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding a cluster: %w; set --kubeconfig or KUBECONFIG, or run in a cluster", err)
	}
	scheme, err := controller.NewScheme()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(withClientLimits(kube, cfg), manager.Options{
		Scheme:                        scheme,
		Cache:                         controller.CacheOptions(cfg),
		Metrics:                       metricsOptions(cfg.Metrics),
		HealthProbeBindAddress:        cfg.Health.BindAddress,
		LeaderElection:                cfg.LeaderElection.Enabled,
		LeaderElectionID:              config.LeaseName,
		LeaderElectionNamespace:       cfg.LeaderElection.Namespace,
		LeaderElectionReleaseOnCancel: true, // Requires that the process exits when the manager stops.
		LeaseDuration:                 &cfg.LeaderElection.LeaseDuration.Duration,
		RenewDeadline:                 &cfg.LeaderElection.RenewDeadline.Duration,
		RetryPeriod:                   &cfg.LeaderElection.RetryPeriod.Duration,
		GracefulShutdownTimeout:       &cfg.Controller.GracefulShutdownTimeout.Duration,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("adding the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("caches", controller.CachesFilled(mgr)); err != nil {
		return nil, fmt.Errorf("adding the readiness check: %w", err)
	}
	return mgr, nil
}

func withClientLimits(kube *rest.Config, cfg *config.Config) *rest.Config {
	kube = rest.CopyConfig(kube)
	kube.QPS, kube.Burst = cfg.Controller.KubeAPIQPS, cfg.Controller.KubeAPIBurst
	kube.UserAgent = "serinus/" + version
	return kube
}

func metricsOptions(cfg config.Metrics) metricsserver.Options {
	options := metricsserver.Options{BindAddress: cfg.BindAddress, SecureServing: cfg.Secure, CertDir: cfg.CertDir}
	if cfg.Secure {
		options.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return options
}
