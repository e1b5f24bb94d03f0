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
	// patience is how long a story waits for something to come about.
	patience = time.Minute
	// pollingInterval is how often it looks.
	pollingInterval = 50 * time.Millisecond
	// perStory bounds a story.
	perStory = 5 * time.Minute
)

var update = flag.Bool("update", false, "write the report into docs/")

// What every story shares.
var (
	root    checkout.Root
	cluster *local.Cluster
	// api is the administrator's client.
	api client.WithWatch
)

// TestMain starts the tests again in namespaces of their own, and cleans up
// behind them if they could not. TestScenariosForCI alone runs where it is.
func TestMain(m *testing.M) {
	isolated.Enter()
	flag.Parse()
	if isolated.Inside() || flag.Lookup("test.run").Value.String() == "^TestScenariosForCI$" {
		os.Exit(m.Run())
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func outside() (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err = checkout.Find(ctx)
	if err != nil {
		return 1, err
	}
	if _, err := local.Down(dir()); err != nil {
		return 1, fmt.Errorf("cleaning up behind a run that was killed: %w", err)
	}
	progress := func(line string) { fmt.Fprintln(os.Stderr, line) }
	if err := local.PrepareNode(ctx, filepath.Join(dir(), "logs"), progress); err != nil {
		return 1, err
	}
	if err := local.PrepareKnative(ctx); err != nil {
		return 1, err
	}
	code, err = isolated.Run(os.Args[1:])
	_, left := local.Down(dir())
	return code, errors.Join(err, left)
}

// dir is where the cluster's logs stay.
func dir() string { return root.Path("bin", "e2e") }

func TestStories(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.Timeout = 45 * time.Minute
	reporter.NoColor = true // Under go test there is no terminal.
	RunSpecs(t, "Canary releases under traffic", suite, reporter)
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(pollingInterval)
	EnforceDefaultTimeoutsWhenUsingContexts()
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))

	var err error
	cluster, api, err = startCluster(ctx)
	if cluster != nil {
		DeferCleanup(func() error { return cluster.Stop() })
	}
	Expect(err).NotTo(HaveOccurred())
	begin := time.Now()
	served, err := models.Serve(ctx, cluster, root)
	Expect(err).NotTo(HaveOccurred())
	maps.Copy(everywhere, served)
	tell(fmt.Sprintf("%-24s ready after %.1fs more", "models", time.Since(begin).Seconds()))
	Expect(operator.Shell(ctx, cluster, root, models.InstallCommand).Run()).To(Succeed())
	begin = time.Now()
	startOperators(ctx, one())
	tell(fmt.Sprintf("%-24s ready after %.1fs more", "operator", time.Since(begin).Seconds()))
}, NodeTimeout(5*time.Minute))

// startCluster starts a cluster with Knative and the test server, on which an operator can be run.
func startCluster(ctx context.Context) (*local.Cluster, client.WithWatch, error) {
	var err error
	root, err = checkout.Find(ctx)
	if err != nil {
		return nil, nil, err
	}
	started, err := local.Start(ctx, local.Options{
		Level: local.Knative, Tools: root.Tools(), Images: root.Images(), Dir: dir(), Progress: tell,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := started.LoadImage(ctx, filepath.Join(root.Images(), "testserver.tar")); err != nil {
		return started, nil, fmt.Errorf("%w; `make e2e` packs the images first", err)
	}
	if err := operator.Install(ctx, started, root); err != nil {
		return started, nil, err
	}
	known, err := newScheme()
	if err != nil {
		return started, nil, err
	}
	administrator, err := client.NewWithWatch(started.Config(), client.Options{Scheme: known})
	return started, administrator, err
}

// The summary of a run names the scenarios that failed, and whoever sees only the end of the output wants to know why.
var _ = ReportAfterSuite("failures", func(run Report) {
	for _, spec := range run.SpecReports.WithState(types.SpecStateFailureStates) {
		tell(fmt.Sprintf("\nFAILED: %s\n%s", spec.FullText(), firstLines(spec.FailureMessage())))
	}
})

// firstLines are as many lines as say what is wrong; what comes after is how Go prints the error.
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

// gateway is where the gateway takes requests.
func gateway() string { return fmt.Sprintf("127.0.0.1:%d", cluster.GatewayPort()) }

// tell shows a line to whoever waits for the tests.
func tell(line string) { fmt.Fprintln(os.Stderr, line) }

// newScheme knows what the operator does, and all of Kubernetes' own.
func newScheme() (*runtime.Scheme, error) {
	known, err := controller.NewScheme()
	if err != nil {
		return nil, err
	}
	return known, scheme.AddToScheme(known)
}
