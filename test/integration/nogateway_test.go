// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
)

// newScenarioOnOwnServer starts an API server with the operator's and the given CRDs for one
// scenario. Such scenarios run the manager command, to test what it requires of a cluster.
func newScenarioOnOwnServer(ctx SpecContext, mode configOption, crds ...string) *scenario {
	GinkgoHelper()
	SetDefaultEventuallyTimeout(time.Minute) // The operator discovers APIs periodically.
	DeferCleanup(SetDefaultEventuallyTimeout, eventuallyTimeout)
	original := connection{Kubeconfig: kubeconfig, OperatorToken: asOperator.BearerToken}
	DeferCleanup(func() { connect(original) })
	connect(startServer(ctx, crds...))
	s := &scenario{ctx: ctx, namespace: newNamespace(ctx), deferCleanup: afterSpec, config: config.Default()}
	mode(s.config)
	return s
}

var _ = Describe("a cluster without the Gateway API", Serial, func() {
	It("runs models, reports what is missing, and serves once it is installed; if it is removed and installed again, the shares are restored", func(ctx SpecContext) {
		s := newScenarioOnOwnServer(ctx, inStandardMode)
		operator := launch()
		s.apply(model(1))
		missing := BeCondition(metav1.ConditionFalse, "GatewayAPINotInstalled", "install its CRDs and a gateway that implements it")
		s.awaitCondition(v1beta1.ConditionReady, missing)
		s.awaitColumns("False", "", "", "", "")
		s.awaitRunning(1)

		By("installing it")
		_, err := envtest.InstallCRDs(administrator, envtest.CRDInstallOptions{Paths: gatewayAPI()})
		Expect(err).NotTo(HaveOccurred())
		Expect(installGateway(ctx, api)).To(Succeed())
		s.startFakeControllers()
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")

		By("removing it, with every route, while no operator runs")
		operator.session.Signal(syscall.SIGTERM)
		Eventually(operator.session).Should(gexec.Exit(0))
		scheme := runtime.NewScheme()
		Expect(apiextensionsv1.AddToScheme(scheme)).To(Succeed())
		definitions, err := client.New(administrator, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		routes := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "httproutes.gateway.networking.k8s.io"}}
		Expect(definitions.Delete(ctx, routes)).To(Succeed())
		Eventually(func() error {
			_, err := s.route()
			return err
		}).ShouldNot(Succeed(), "the routes still exist")
		Eventually(func() error { return api.List(ctx, &gatewayv1.HTTPRouteList{}) }).ShouldNot(Succeed(), "routes are still served")
		launch()
		s.awaitCondition(v1beta1.ConditionReady, missing)
		s.awaitRunning(1, 2)

		By("installing it again")
		_, err = envtest.InstallCRDs(administrator, envtest.CRDInstallOptions{Paths: gatewayAPI()})
		Expect(err).NotTo(HaveOccurred())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
		s.awaitRolloutState("S=1")
	})
})

var _ = Describe("a cluster without Knative", Serial, func() {
	It("reports what is missing if Knative mode is requested, and runs models once it is installed", func(ctx SpecContext) {
		s := newScenarioOnOwnServer(ctx, inKnativeMode, gatewayAPI()...)
		launch()
		asked := annotation(v1beta1.AnnotationDeploymentMode, "Knative")
		s.apply(model(1), asked)
		s.awaitCondition(v1beta1.ConditionIngressReady, SatisfyAll(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", "KnativeNotInstalled"), HaveField("Message", ContainSubstring("install it")),
		))
		Eventually(s.isvc).Should(HaveField("Status.DeploymentMode", "Knative"))
		Expect(s.revisionHistory()).To(ConsistOf(revision(1)))

		By("installing it")
		_, err := envtest.InstallCRDs(administrator, envtest.CRDInstallOptions{Paths: knativeServing()})
		Expect(err).NotTo(HaveOccurred())
		s.startFakeControllers()
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10), asked)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
	})
})
