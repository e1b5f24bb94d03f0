// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/test/integration/wire"
)

func (s *scenario) wipeStatus() {
	GinkgoHelper()
	isvc, err := s.isvc()
	Expect(err).NotTo(HaveOccurred())
	patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/status"}]`))
	Expect(api.Status().Patch(s.ctx, isvc, patch)).To(Succeed())
}

func (s *scenario) withoutOperator(do func()) {
	GinkgoHelper()
	s.awaitSettled()
	s.stopOperator()
	do()
	s.startOperator(wire.New())
}

// expectSplitsSince expects that all splits written to the route, except the first ones, are among
// the given ones.
func (s *scenario) expectSplitsSince(first int, splits ...string) {
	GinkgoHelper()
	for _, split := range s.recorder.Given(iris)[first:] {
		Expect(split).To(BeElementOf(splits))
	}
}

// setUpPromotion promotes model 2 and waits until the workload of model 1 is deleted.
func (s *scenario) setUpPromotion() {
	GinkgoHelper()
	s.setUpCanary()
	s.apply(model(2))
	s.awaitColumns("True", "", "100", "", revision(2))
	s.awaitRunning(2)
	s.awaitSettled()
}

// stateLosses are the ways to lose the rollout state on the route. The status still has the split.
var stateLosses = map[string]func(*scenario){
	"the route is deleted":          func(s *scenario) { s.deleteExternally(routeNamed(iris)) },
	"the rollout state is not JSON": func(s *scenario) { s.edit(routeNamed(iris), setRolloutState("garbage")) },
	"the rollout state is removed":  func(s *scenario) { s.edit(routeNamed(iris), removeRolloutState) },
	"the rollout state names unknown revisions": func(s *scenario) {
		s.edit(routeNamed(iris), setRolloutState(`{"stable":7,"target":8,"percent":10,"split":{"7":90,"8":10},"highest":9}`))
	},
}

var _ = Describe("a release whose rollout state is lost", func() {
	It("continues from the status", func(ctx SpecContext) {
		var variants []variant
		for name, lose := range stateLosses {
			for when, losing := range map[string]func(*scenario){
				name:                             lose,
				name + " while no operator runs": func(s *scenario) { s.withoutOperator(func() { lose(s) }) },
			} {
				variants = append(variants, variant{name: "a canary: " + when, body: func(s *scenario) {
					s.setUpCanary()
					written := len(s.recorder.Given(iris))
					losing(s)
					s.awaitRolloutState("S=1")
					s.awaitSplit("2:10 1:90")
					s.awaitColumns("True", "90", "10", revision(1), revision(2))
					s.expectSplitsSince(written, "2:10 1:90")
					s.apply(model(2))
					s.awaitColumns("True", "", "100", "", revision(2))
					s.awaitRolloutState("S=2 V=1")
					s.expectSplitsSince(written, "2:10 1:90", "2:100")
				}}, variant{name: "a promotion: " + when, body: func(s *scenario) {
					s.setUpPromotion()
					written := len(s.recorder.Given(iris))
					losing(s)
					s.awaitRolloutState("S=2 V=1")
					s.awaitColumns("True", "", "100", "", revision(2))
					s.expectSplitsSince(written, "2:100")
					s.apply(model(2), percent(0))
					s.awaitColumns("True", "100", "0", revision(1), revision(2))
					s.expectSplitsSince(written, "2:100", "2:0 1:100")
				}}, variant{name: "a rollback: " + when, body: func(s *scenario) {
					s.setUpPromotion()
					s.apply(model(2), percent(0))
					s.awaitColumns("True", "100", "0", revision(1), revision(2))
					s.awaitSettled()
					written := len(s.recorder.Given(iris))
					losing(s)
					s.awaitRolloutState("S=1")
					s.awaitSplit("2:0 1:100")
					s.awaitColumns("True", "100", "0", revision(1), revision(2))
					s.setPods(3, fakecluster.NotReady())
					s.apply(model(3), percent(20))
					s.awaitColumns("Unknown", "", "100", "", revision(1))
					s.setPods(3, fakecluster.Ready())
					s.awaitColumns("True", "80", "20", revision(1), revision(3))
					s.expectSplitsSince(written, "2:0 1:100", "1:100", "3:20 1:80")
				}})
			}
		}
		runAll(ctx, variants)
	})

	It("continues from the weights or from the running revisions if the status is also lost", func(ctx SpecContext) {
		runAll(ctx, []variant{{name: "a canary without its rollout state", body: func(s *scenario) {
			s.setUpCanary()
			s.withoutOperator(func() {
				s.edit(routeNamed(iris), removeRolloutState)
				s.wipeStatus()
			})
			s.awaitRolloutState("S=1")
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		}}, {name: "a canary without its route", body: func(s *scenario) {
			s.setUpCanary()
			s.withoutOperator(func() {
				s.deleteExternally(routeNamed(iris))
				s.wipeStatus()
			})
			s.awaitRolloutState("S=1")
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		}}, {name: "a promotion without its route", body: func(s *scenario) {
			s.setUpPromotion()
			s.withoutOperator(func() {
				s.deleteExternally(routeNamed(iris))
				s.wipeStatus()
			})
			s.awaitRolloutState("S=2")
			s.awaitColumns("True", "", "100", "", revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
		}}})
	})
})

var _ = Describe("a revision whose ControllerRevision and workload are deleted", func() {
	lose := func(s *scenario, n int) {
		GinkgoHelper()
		s.withoutOperator(func() { s.loseRevision(n) })
	}

	It("is recreated unchanged while the spec asks for it", func(ctx SpecContext) {
		runAll(ctx, []variant{{name: "a stable", body: func(s *scenario) {
			s.apply(model(1))
			s.awaitColumns("True", "", "100", "", revision(1))
			s.awaitSettled()
			before, err := s.snapshot()
			Expect(err).NotTo(HaveOccurred())
			lose(s, 1)
			s.awaitSnapshot(before, "after it was recreated")
			s.awaitSplitHistory("1:100")
		}}, {name: "a canary", body: func(s *scenario) {
			s.setUpCanary()
			before, err := s.snapshot()
			Expect(err).NotTo(HaveOccurred())
			lose(s, 2)
			s.awaitSnapshot(before, "after it was recreated")
			Expect(s.recorder.Given(iris)).To(HaveEach(BeElementOf("1:100", "2:10 1:90", "2:0 1:100")))
		}}})
	})

	It("is reported as the missing previous revision once a rollback is requested", func(ctx SpecContext) {
		s := startPromotion(ctx)
		s.withoutOperator(func() { s.deleteExternally(controllerRevisionOf(1)) })
		s.awaitColumns("True", "", "100", "", revision(2))
		s.apply(model(2), percent(0))
		s.awaitColumns("False", "", "100", "", revision(2))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "NothingToRollBackTo", "Remove canaryTrafficPercent, or apply the earlier model again"))
		s.apply(model(1), percent(0))
		s.awaitColumns("True", "100", "0", revision(2), revision(3))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "3:0 2:100")
	})

	It("cannot be recreated as the stable, and the canary keeps its share and gets no more", func(ctx SpecContext) {
		s := startCanary(ctx)
		lose(s, 1)
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.awaitSettled()
		s.expectNoWrites()
		s.awaitSplit("2:10 1:90")
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "RevisionLost",
			revision(1)+", which has 90 % of the traffic, is lost: its ControllerRevision and its Deployment were deleted; remove canaryTrafficPercent to promote "+revision(2)))

		By("promoting the canary")
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})

	It("is redeployed under a new number if all other objects are deleted too", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.withoutOperator(func() {
			for _, list := range []client.ObjectList{
				&appsv1.ControllerRevisionList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{},
				&autoscalingv2.HorizontalPodAutoscalerList{}, &gatewayv1.HTTPRouteList{},
			} {
				Expect(api.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
				for _, object := range itemsOf(list) {
					s.recorder.Excuse(object)
					Expect(api.Delete(ctx, object)).To(Succeed())
				}
			}
		})
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRolloutState("S=3")
	})
})
