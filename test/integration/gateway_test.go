// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

var _ = Describe("a gateway", func() {
	It("that is slow causes only one write of the status", func(ctx SpecContext) {
		s := startScenario(ctx, withLongSettlePeriod)
		s.setUpStable()
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSettled()
		s.setGateway(fakecluster.Accepting().After(700 * time.Millisecond))
		before := len(s.operator.wire.Writes())
		s.apply(model(2), percent(50))
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
		var writes []string
		for _, write := range s.operator.wire.Writes()[before:] {
			writes = append(writes, write.String())
		}
		Expect(writes).To(Equal([]string{"patch httproutes " + iris, "patch inferenceservices/status " + iris}))
	})

	It("that takes longer than the settle period is reported in the status", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.setGateway(fakecluster.Accepting().After(2 * time.Second))
		s.apply(model(2), percent(50))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionUnknown, "WaitingForGateway", "waiting for the gateway to serve 50 % on "+revision(2)))
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
	})

	It("that no longer accepts a route changes no split", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.setGateway(fakecluster.Rejecting(gatewayv1.RouteReasonNotAllowedByListeners, "no listener takes routes from this namespace"))
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionFalse, "NotAllowedByListeners", "no listener takes routes from this namespace"))
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90")

		By("deleting the HTTPRoute of a tag while the gateway is unresponsive")
		withTagRouting := annotation(v1beta1.AnnotationEnableTagRouting, "true")
		s.apply(model(2), percent(10), withTagRouting)
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
		s.setGateway(fakecluster.Unresponsive())
		Expect(api.Delete(ctx, &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: "latest-" + iris + "-predictor",
		}})).To(Succeed())
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionUnknown, "WaitingForGateway", ""))
		s.awaitTags(map[string]string{"latest": "3:100", "prev": "1:100"})
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(3))
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
	})
})

var _ = Describe("an InferenceService that is created again after its deletion", func() {
	It("waits until the objects of the deleted one are collected, and starts at revision 1", func(ctx SpecContext) {
		s := startPromotion(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(api.Delete(ctx, isvc)).To(Succeed())
		s.apply(model(3))
		s.awaitSettled()
		Eventually(s.columns).Should(HaveColumns("", "", "", "", ""))

		By("deleting the objects")
		for _, list := range []client.ObjectList{
			&appsv1.DeploymentList{}, &corev1.ServiceList{}, &gatewayv1.HTTPRouteList{}, &appsv1.ControllerRevisionList{},
		} {
			s.collect(list, isvc)
		}
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitRolloutState("S=1")
		Expect(s.storageURI(1)).To(HaveSuffix("model-3"))
	})
})

// collect deletes the objects of an owner, as the garbage collector does.
func (s *scenario) collect(list client.ObjectList, owner client.Object) {
	GinkgoHelper()
	Expect(api.List(s.ctx, list, client.InNamespace(s.namespace))).To(Succeed())
	for _, object := range itemsOf(list) {
		if !metav1.IsControlledBy(object, owner) {
			continue
		}
		s.recorder.Excuse(object)
		if err := api.Delete(s.ctx, object); !apierrors.IsNotFound(err) {
			Expect(err).NotTo(HaveOccurred())
		}
	}
}

var _ = Describe("InferenceServices of one namespace", func() {
	It("do not affect each other, however similar their names are", func(ctx SpecContext) {
		s := startCanary(ctx)
		newNeighbor := func(name string) *v1beta1.InferenceService {
			neighbor := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
			model(7)(neighbor)
			return neighbor
		}
		others := []string{"sklearn", "sklearn-iris-2", "sklearn-iris-predictor-00001", "sklearn-iris-predictor-predictor"}
		for _, name := range others {
			Expect(api.Create(ctx, newNeighbor(name))).To(Succeed())
		}
		for _, name := range others {
			Eventually(columnsOf).WithArguments(ctx, s.key(name)).Should(HaveColumns("True", "", "100", "", name+"-predictor-00001"))
		}
		s.awaitSettled()
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitRunningBeside(others, 1, 2)
		s.awaitSplitHistory("1:100", "2:10 1:90")
		for _, name := range others {
			Expect(api.Delete(ctx, newNeighbor(name))).To(Succeed())
		}
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
	})
})
