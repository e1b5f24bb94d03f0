// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/local"
	clusteroperator "github.com/serinus-io/serinus/test/cluster/operator"
)

// Each writer has its own ServiceAccount, so that the audit log distinguishes them.
const (
	accountNamespace   = "bench"
	userAccount        = "user"        // Creates and changes InferenceServices.
	bareAccount        = "bare"        // Sends the writes of the operator.
	controllersAccount = "controllers" // Runs the fake controllers.

	operatorNamespace = clusteroperator.Namespace
	operatorAccount   = clusteroperator.ServiceAccount
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":" + operatorAccount
)

func userOf(account string) string {
	return "system:serviceaccount:" + accountNamespace + ":" + account
}

// mainNamespace contains the InferenceServices for all measurements except the comparison of
// creation.
const mainNamespace = "models"

type bench struct {
	*progress
	options options
	root    checkout.Root
	dir     string
	ownsDir bool

	cluster     *local.Cluster
	audit       *auditLog
	controllers *fakeControllers
	tracker     *tracker
	// admin sets up and cleans up. The audit log contains the writes of user and bare.
	admin, user, bare client.Client
	userToken         string

	manager         string // The operator's program.
	operator        *operator
	report          *report
	stopControllers context.CancelFunc
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// start builds the operator and sets up the cluster without InferenceServices.
func start(ctx context.Context, o options, root checkout.Root) (*bench, error) {
	b := &bench{options: o, root: root, progress: &progress{begin: time.Now()}, dir: o.dir, stopControllers: func() {}}
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapcore.ErrorLevel)))
	for _, step := range []func(context.Context) error{b.createFolder, b.build, b.startCluster, b.install, b.connect} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, b.stop())
		}
	}
	return b, nil
}

func (b *bench) createFolder(context.Context) (err error) {
	if b.dir != "" {
		b.dir, err = filepath.Abs(b.dir)
		return errors.Join(err, os.MkdirAll(b.dir, 0o700))
	}
	b.ownsDir = true
	b.dir, err = os.MkdirTemp("", "serinus-bench-")
	return err
}

// build compiles the operator as `make build` does, but to a path that other builds do not
// overwrite.
func (b *bench) build(ctx context.Context) error {
	b.logf("building the operator")
	b.manager = filepath.Join(b.dir, "manager")
	_, err := command(ctx, string(b.root), "env", "CGO_ENABLED=0", "go", "build", "-ldflags=-s -w", "-o", b.manager, "./cmd/manager")
	return err
}

func (b *bench) tools() string {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		return assets
	}
	return b.root.Tools()
}

func (b *bench) startCluster(ctx context.Context) error {
	policy, err := auditPolicy(b.creationNamespaces())
	if err != nil {
		return err
	}
	policyPath, logPath := filepath.Join(b.dir, "audit-policy.yaml"), filepath.Join(b.dir, "audit.log")
	if err := errors.Join(os.WriteFile(policyPath, policy, 0o600), os.WriteFile(logPath, nil, 0o600)); err != nil {
		return err
	}
	b.cluster, err = local.Start(ctx, local.Options{
		Level: local.ControlPlane,
		Tools: b.tools(),
		Dir:   filepath.Join(b.dir, "cluster"),
		APIServerFlags: []string{
			"--audit-policy-file=" + policyPath, "--audit-log-path=" + logPath,
			"--audit-log-mode=blocking", "--audit-log-maxsize=100000",
		},
		Progress: func(line string) { b.logf("%s", line) },
	})
	if err != nil {
		return err
	}
	b.audit, err = openAuditLog(logPath)
	return err
}

// install applies the manifests of the operator except its Deployment, because the operator runs
// outside of the cluster.
func (b *bench) install(ctx context.Context) error {
	kubectl := func(args ...string) error {
		args = append([]string{"--kubeconfig=" + b.cluster.Kubeconfig()}, args...)
		_, err := command(ctx, string(b.root), b.cluster.Tool("kubectl"), args...)
		return err
	}
	module, err := command(ctx, string(b.root), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	if err != nil {
		return err
	}
	gatewayAPI := []string{"apply", "--server-side"}
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes"} {
		gatewayAPI = append(gatewayAPI, "-f",
			filepath.Join(strings.TrimSpace(module), "config", "crd", "standard", "gateway.networking.k8s.io_"+kind+".yaml"))
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", "test/cluster/config"},
		gatewayAPI,
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"},
		{"apply", "--server-side", "-k", "config/runtimes"},
	} {
		if err := kubectl(args...); err != nil {
			return err
		}
	}
	return nil
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1beta1.AddToScheme(scheme))
	utilruntime.Must(gatewayv1.Install(scheme))
	return scheme
}

func (b *bench) connect(ctx context.Context) (err error) {
	if b.admin, err = client.New(b.cluster.Config(), client.Options{Scheme: newScheme()}); err != nil {
		return err
	}
	if err := b.createNamespace(ctx, accountNamespace); err != nil {
		return err
	}
	configs := map[string]*rest.Config{}
	for _, account := range []string{userAccount, bareAccount, controllersAccount} {
		if configs[account], err = b.account(ctx, account); err != nil {
			return fmt.Errorf("creating ServiceAccount %q: %w", account, err)
		}
	}
	if b.user, err = client.New(configs[userAccount], client.Options{Scheme: newScheme()}); err != nil {
		return err
	}
	if b.bare, err = client.New(configs[bareAccount], client.Options{Scheme: newScheme()}); err != nil {
		return err
	}
	b.userToken = configs[userAccount].BearerToken
	for _, namespace := range append(b.creationNamespaces(), mainNamespace, routesNamespace) {
		if err := b.createNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	b.report = newReport(ctx, b.options, b.cluster)
	return b.startWatchers(ctx, configs[controllersAccount])
}

func (b *bench) startWatchers(ctx context.Context, config *rest.Config) (err error) {
	ctx, b.stopControllers = context.WithCancel(context.WithoutCancel(ctx))
	if b.controllers, err = startFakeControllers(ctx, config); err != nil {
		return fmt.Errorf("starting the fake controllers: %w", err)
	}
	if b.tracker, err = startTracker(ctx, config); err != nil {
		return fmt.Errorf("watching InferenceServices: %w", err)
	}
	return nil
}

// account creates a ServiceAccount with the role cluster-admin and returns its client configuration
// without rate limits.
func (b *bench) account(ctx context.Context, name string) (*rest.Config, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: accountNamespace}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: accountNamespace + "-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: name}},
	}
	if err := errors.Join(b.admin.Create(ctx, account), b.admin.Create(ctx, binding)); err != nil {
		return nil, err
	}
	path, err := b.cluster.ServiceAccountKubeconfig(ctx, accountNamespace, name)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// createNamespace creates a namespace and its default ServiceAccount, which pods need and no
// controller creates.
func (b *bench) createNamespace(ctx context.Context, name string) error {
	return errors.Join(
		b.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}),
		b.admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}}),
	)
}

func (b *bench) stop() error {
	var failures []error
	b.stopControllers()
	if b.cluster != nil {
		failures = append(failures, b.cluster.Stop())
	}
	if b.audit != nil {
		failures = append(failures, b.audit.file.Close())
	}
	if b.ownsDir {
		failures = append(failures, os.RemoveAll(b.dir))
	}
	return errors.Join(failures...)
}
