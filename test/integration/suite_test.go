// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/controller"
)

const (
	repoRoot          = "../.."
	eventuallyTimeout = 20 * time.Second
	pollingInterval   = 20 * time.Millisecond
)

func TestIntegration(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The operator on an API server")
}

var (
	kubeconfig                []byte
	administrator, asOperator *rest.Config
	api                       client.WithWatch
)

// connection is what the process that starts the API server sends to the others.
type connection struct {
	Kubeconfig    []byte
	OperatorToken string
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		Fail("KUBEBUILDER_ASSETS is not set; it must name a folder with etcd, kube-apiserver and kubectl: run make test, which builds them")
	}
	message, err := json.Marshal(startServer(ctx, slices.Concat(gatewayAPI(), knativeServing())...))
	Expect(err).NotTo(HaveOccurred())
	return message
}, func(message []byte) {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	SetDefaultEventuallyTimeout(eventuallyTimeout)
	SetDefaultEventuallyPollingInterval(pollingInterval)
	SetDefaultConsistentlyPollingInterval(pollingInterval)
	EnforceDefaultTimeoutsWhenUsingContexts()

	var data connection
	Expect(json.Unmarshal(message, &data)).To(Succeed())
	connect(data)
})

// startServer starts an API server and installs the operator's manifests and the given CRDs.
func startServer(ctx context.Context, crds ...string) connection {
	GinkgoHelper()
	server := &envtest.Environment{
		CRDDirectoryPaths:     append([]string{filepath.Join(repoRoot, "config", "crd", "bases")}, crds...),
		ErrorIfCRDPathMissing: true,
	}
	// All clients of one user share a connection, and each scenario has a dozen watches.
	server.ControlPlane.GetAPIServer().Configure().Append("http2-max-streams-per-connection", "1000")
	// Each revision of each scenario has a cluster IP, and no Service is deleted.
	server.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.96.0.0/12")
	// Some clusters check who may block the deletion of an owner, so the operator's role must allow
	// it.
	server.ControlPlane.GetAPIServer().Configure().Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	DeferCleanup(func() error { return server.Stop() })
	// etcd and kube-apiserver inherit it. They spend a tenth of their CPU time on garbage
	// collection by default, and memory is cheaper here.
	Expect(os.Setenv("GOGC", "400")).To(Succeed())
	config, err := server.Start()
	Expect(os.Unsetenv("GOGC")).To(Succeed())
	Expect(err).NotTo(HaveOccurred())

	admin, err := server.AddUser(envtest.User{Name: "administrator", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	data := connection{}
	data.Kubeconfig, err = admin.KubeConfig()
	Expect(err).NotTo(HaveOccurred())

	c, err := client.New(config, client.Options{Scheme: newScheme()})
	Expect(err).NotTo(HaveOccurred())
	Expect(install(ctx, c)).To(Succeed())
	if len(crds) > 0 {
		Expect(installGateway(ctx, c)).To(Succeed())
	}
	data.OperatorToken, err = operatorToken(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	return data
}

// connect makes later scenarios use this API server.
func connect(data connection) {
	GinkgoHelper()
	kubeconfig = data.Kubeconfig
	var err error
	administrator, err = clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	administrator.QPS = -1
	asOperator = rest.AnonymousClientConfig(administrator)
	asOperator.BearerToken = data.OperatorToken
	api, err = client.NewWithWatch(administrator, client.Options{Scheme: newScheme()})
	Expect(err).NotTo(HaveOccurred())
}

func newScheme() *runtime.Scheme {
	GinkgoHelper()
	known, err := controller.NewScheme()
	Expect(err).NotTo(HaveOccurred())
	Expect(scheme.AddToScheme(known)).To(Succeed())
	return known
}

// gatewayAPI and knativeServing return CRD files of the versions in go.mod.
func gatewayAPI() []string {
	GinkgoHelper()
	folder := filepath.Join(moduleFolder("sigs.k8s.io/gateway-api"), "config", "crd", "standard")
	return []string{
		filepath.Join(folder, "gateway.networking.k8s.io_gatewayclasses.yaml"),
		filepath.Join(folder, "gateway.networking.k8s.io_gateways.yaml"),
		filepath.Join(folder, "gateway.networking.k8s.io_httproutes.yaml"),
	}
}

func knativeServing() []string {
	GinkgoHelper()
	folder := filepath.Join(moduleFolder("knative.dev/serving"), "config", "core", "300-resources")
	var files []string
	for _, kind := range []string{"service", "revision", "podautoscaler"} {
		files = append(files, filepath.Join(folder, kind+".yaml"))
	}
	return files
}

func moduleFolder(module string) string {
	GinkgoHelper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	Expect(err).NotTo(HaveOccurred(), "finding the module %s", module)
	return strings.TrimSpace(string(folder))
}

func install(ctx context.Context, c client.Client) error {
	for _, folder := range []string{"config/manager/namespace.yaml", "config/rbac/*.yaml", "config/runtimes/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(repoRoot, folder))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no file matches %s: %w", folder, err)
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			if err := create(ctx, c, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func installGateway(ctx context.Context, c client.Client) error {
	gateway := &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kserve", Name: "kserve-ingress-gateway"},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "fake",
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
	for _, object := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: gateway.Namespace}}, gateway} {
		if err := c.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %T %q: %w", object, object.GetName(), err)
		}
	}
	return nil
}

func create(ctx context.Context, c client.Client, file string) error {
	objects, err := objectsIn(file)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := c.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %s of %s: %w", object.GetKind(), file, err)
		}
	}
	return nil
}

func objectsIn(file string) ([]*unstructured.Unstructured, error) {
	reader, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	decoder := utilyaml.NewYAMLOrJSONDecoder(reader, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", file, err)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

func operatorToken(ctx context.Context, c client.Client) (string, error) {
	account := &corev1.ServiceAccount{}
	key := client.ObjectKey{Namespace: "serinus-system", Name: "serinus-controller-manager"}
	if err := c.Get(ctx, key, account); err != nil {
		return "", fmt.Errorf("getting the operator's ServiceAccount: %w", err)
	}
	request := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("requesting a token for the operator: %w", err)
	}
	return request.Status.Token, nil
}
