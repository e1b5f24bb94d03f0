// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

var _ = Describe("the hosts of tags", func() {
	withTagRouting := annotation(v1beta1.AnnotationEnableTagRouting, "true")

	It("follow the split, and are removed with the annotation", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), withTagRouting)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitTags(map[string]string{"latest": "1:100"})

		s.apply(model(2), percent(10), withTagRouting)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitTags(map[string]string{"latest": "2:100", "prev": "1:100"})

		By("superseding the canary")
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(10), withTagRouting)
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitTags(map[string]string{"latest": "1:100"})
		s.setPods(3, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
		s.awaitTags(map[string]string{"latest": "3:100", "prev": "1:100"})

		By("rolling the canary back, which keeps its host")
		s.apply(model(3), percent(0), withTagRouting)
		s.awaitColumns("True", "100", "0", revision(1), revision(3))
		s.awaitTags(map[string]string{"latest": "3:100", "prev": "1:100"})

		By("removing the annotation, which creates a revision")
		s.apply(model(3), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(4))
		s.awaitTags(map[string]string{})
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.Components[v1beta1.PredictorComponent].Traffic).To(HaveExactElements(
			SatisfyAll(HaveField("Tag", ""), HaveField("URL", BeEmpty())), SatisfyAll(HaveField("Tag", "prev"), HaveField("URL", BeEmpty()))))
	})
})

func withLocalGateway(cfg *config.Config) {
	cfg.Ingress.LocalGateway = &config.LocalGateway{
		Namespace: "kserve", Name: "kserve-local-gateway",
		Service: config.ServiceRef{Namespace: "kserve", Name: "local-gateway-service"},
	}
}

func parentsOf(route *gatewayv1.HTTPRoute) []string {
	var parents []string
	for _, ref := range route.Spec.ParentRefs {
		parents = append(parents, string(*ref.Namespace)+"/"+string(ref.Name))
	}
	return parents
}

var _ = Describe("the local gateway", func() {
	inside := func(s *scenario) string { return iris + "." + s.namespace + ".svc.cluster.local" }

	It("serves the same split inside the cluster at the address in the status", func(ctx SpecContext) {
		s := startScenario(ctx, withLocalGateway)
		s.setUpStable()
		Eventually(s.route).Should(SatisfyAll(
			HaveSplit("1:100"), HaveHosts(append(s.hosts(), inside(s))...),
			WithTransform(parentsOf, Equal([]string{"kserve/kserve-ingress-gateway", "kserve/kserve-local-gateway"}))))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.URL).To(Equal("http://" + s.hosts()[0]))
		Expect(isvc.Status.Address).To(HaveValue(HaveField("URL", "http://"+inside(s))))
		service := &corev1.Service{}
		Expect(api.Get(ctx, s.key(iris), service)).To(Succeed())
		Expect(service.Spec).To(SatisfyAll(
			HaveField("Type", corev1.ServiceTypeExternalName), HaveField("ExternalName", "local-gateway-service.kserve.svc.cluster.local")))
	})

	It("is the only gateway of a cluster-local InferenceService", func(ctx SpecContext) {
		s := startScenario(ctx, withLocalGateway)
		s.apply(model(1), label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal))
		s.awaitColumns("True", "", "100", "", revision(1))
		Eventually(s.route).Should(SatisfyAll(
			HaveHosts(inside(s)), WithTransform(parentsOf, Equal([]string{"kserve/kserve-local-gateway"}))))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.URL).To(Equal("http://" + inside(s)))
	})

	It("is required by a cluster-local InferenceService", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal))
		s.awaitColumns("False", "", "", "", "")
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "LocalGatewayNotConfigured", "ingress.localGateway"))
	})
})

var _ = Describe("the timeout of the predictor", func() {
	It("is the request timeout of the route", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.TimeoutSeconds = new(int64(60)) })
		s.awaitColumns("True", "", "100", "", revision(1))
		Eventually(s.route).Should(HaveField("Spec.Rules", HaveExactElements(
			HaveField("Timeouts", HaveValue(HaveField("Request", HaveValue(BeEquivalentTo("60s"))))))))
	})
})
