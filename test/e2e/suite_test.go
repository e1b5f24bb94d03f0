// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/serinus-io/serinus/internal/controller"
	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/isolated"
	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/models"
	"github.com/serinus-io/serinus/test/cluster/operator"
)

const (
	defaultTimeout  = time.Minute
	pollingInterval = 50 * time.Millisecond
	scenarioTimeout = 5 * time.Minute
)

var update = flag.Bool("update", false, "write the report into docs/")

// Shared by all scenarios.
var (
	root    checkout.Root
	cluster *local.Cluster
	api     client.WithWatch
)

// TestMain restarts the test binary in its own Linux namespaces and cleans up afterwards.
// TestScenariosForCI needs no cluster and runs directly.
func TestMain(m *testing.M) {
	isolated.Enter()
	flag.Parse()
	if isolated.Inside() || flag.Lookup("test.run").Value.String() == "^TestScenariosForCI$" {
		os.Exit(m.Run())
	}
	code, err := runIsolated()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runIsolated() (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err = checkout.Find(ctx)
	if err != nil {
		return 1, err
	}
	if _, err := local.Down(dir()); err != nil {
		return 1, fmt.Errorf("cleaning up after an earlier run: %w", err)
	}
	if err := local.PrepareNode(ctx, filepath.Join(dir(), "logs"), printProgress); err != nil {
		return 1, err
	}
	if err := local.PrepareKnative(ctx); err != nil {
		return 1, err
	}
	code, err = isolated.Run(os.Args[1:])
	_, downErr := local.Down(dir())
	return code, errors.Join(err, downErr)
}

func dir() string { return root.Path("bin", "e2e") }

func TestScenarios(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.Timeout = 45 * time.Minute
	reporter.NoColor = true // Output of go test is not a terminal.
	RunSpecs(t, "Canary releases under traffic", suite, reporter)
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(defaultTimeout)
	SetDefaultEventuallyPollingInterval(pollingInterval)
	EnforceDefaultTimeoutsWhenUsingContexts()
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))

	var err error
	cluster, api, err = startCluster(ctx)
	if cluster != nil {
		DeferCleanup(func() error { return cluster.Stop() })
	}
	Expect(err).NotTo(HaveOccurred())
	start := time.Now()
	served, err := models.Serve(ctx, cluster, root)
	Expect(err).NotTo(HaveOccurred())
	maps.Copy(commonSettings, served)
	printProgress(fmt.Sprintf("%-24s ready after %.1fs more", "models", time.Since(start).Seconds()))
	Expect(operator.Shell(ctx, cluster, root, models.InstallCommand).Run()).To(Succeed())
	start = time.Now()
	startOperators(ctx, singleOperator())
	printProgress(fmt.Sprintf("%-24s ready after %.1fs more", "operator", time.Since(start).Seconds()))
}, NodeTimeout(5*time.Minute))

// startCluster starts a cluster with Knative, loads the test server's image and prepares the
// cluster for the operator.
func startCluster(ctx context.Context) (*local.Cluster, client.WithWatch, error) {
	var err error
	root, err = checkout.Find(ctx)
	if err != nil {
		return nil, nil, err
	}
	started, err := local.Start(ctx, local.Options{
		Level: local.Knative, Tools: root.Tools(), Images: root.Images(), Dir: dir(), Progress: printProgress,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := started.LoadImage(ctx, filepath.Join(root.Images(), "testserver.tar")); err != nil {
		return started, nil, fmt.Errorf("%w; run `make e2e`, which packs the images first", err)
	}
	if err := operator.Install(ctx, started, root); err != nil {
		return started, nil, err
	}
	clientScheme, err := newScheme()
	if err != nil {
		return started, nil, err
	}
	administrator, err := client.NewWithWatch(started.Config(), client.Options{Scheme: clientScheme})
	return started, administrator, err
}

// Ginkgo's own summary names the failed scenarios but not the reasons.
var _ = ReportAfterSuite("failures", func(run Report) {
	for _, spec := range run.SpecReports.WithState(types.SpecStateFailureStates) {
		printProgress(fmt.Sprintf("\nFAILED: %s\n%s", spec.FullText(), firstLines(spec.FailureMessage())))
	}
})

// firstLines returns the first lines of a failure message. The rest is a dump of the error value.
func firstLines(text string) string {
	const lines, width = 5, 400
	var kept []string
	for line := range strings.Lines(text) {
		if len(kept) == lines {
			break
		}
		line = strings.TrimRight(line, "\n")
		kept = append(kept, "  "+line[:min(len(line), width)])
	}
	return strings.Join(kept, "\n")
}

func gateway() string { return fmt.Sprintf("127.0.0.1:%d", cluster.GatewayPort()) }

func printProgress(line string) { fmt.Fprintln(os.Stderr, line) }

func newScheme() (*runtime.Scheme, error) {
	clientScheme, err := controller.NewScheme()
	if err != nil {
		return nil, err
	}
	return clientScheme, scheme.AddToScheme(clientScheme)
}
