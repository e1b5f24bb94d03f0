// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"io"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestAPIServer(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set to a folder with etcd, kube-apiserver and kubectl; `make test` builds them")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // The machine can be busy.
	RunSpecs(t, "CRDs on an API server")
}

var (
	server  *envtest.Environment
	api     client.Client
	kubectl interface {
		Run(args ...string) (stdout, stderr io.Reader, err error)
	}
)

var _ = BeforeSuite(func() {
	server = &envtest.Environment{
		CRDDirectoryPaths:     []string{crdFolder},
		ErrorIfCRDPathMissing: true,
		CRDInstallOptions:     envtest.CRDInstallOptions{MaxTime: time.Minute},
		Scheme:                newScheme(),
	}
	DeferCleanup(func() error { return server.Stop() })
	config, err := server.Start()
	Expect(err).NotTo(HaveOccurred())

	api, err = client.New(config, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	api = client.WithFieldValidation(api, metav1.FieldValidationStrict)

	user, err := server.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	kubectl, err = user.Kubectl()
	Expect(err).NotTo(HaveOccurred())
})

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(canaryv1alpha1.AddToScheme(s))
	utilruntime.Must(scalingv1alpha1.AddToScheme(s))
	utilruntime.Must(v1beta1.AddToScheme(s))
	return s
}

func newNamespace(ctx SpecContext) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "crd-"}}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}
