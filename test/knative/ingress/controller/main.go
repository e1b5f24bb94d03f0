// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Controller is the ingress controller for Knative on local clusters. See package ingress.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/serinus-io/serinus/test/knative/ingress"
)

type options struct {
	gateway         ingress.Gateway
	address, health string
}

func main() {
	var o options
	flag.StringVar(&o.gateway.Namespace, "gateway-namespace", "", "the namespace of the Gateway")
	flag.StringVar(&o.gateway.Name, "gateway-name", "", "the name of the Gateway")
	flag.StringVar(&o.gateway.Address, "gateway-address", "", "the address and port of the gateway")
	flag.StringVar(&o.gateway.Internal, "gateway-service", "", "the DNS name of the gateway's Service")
	flag.StringVar(&o.address, "address", "", "the IP address that hops listen on, which the gateway must be able to reach")
	flag.StringVar(&o.health, "health", "", "the address and port of the health endpoint /readyz")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "ingress controller:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	ctrl.SetLogger(zap.New())
	scheme, err := ingress.NewScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, HealthProbeBindAddress: o.health, Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := ingress.SetUp(mgr, o.gateway, o.address); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
