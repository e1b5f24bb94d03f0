// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
	"github.com/serinus-io/serinus/test/integration/wire"
)

// The tests in this file cover the rules that hold at every moment, where a real API server adds to
// the unit tests of the rollout package. The recorder checks rules 1, 2, 4, 7 and 9 in every
// scenario.

// setReplicas sets the replicas of a revision, as an autoscaler does.
func (s *scenario) setReplicas(n int, replicas int32) {
	GinkgoHelper()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: revision(n) + "-deployment"}}
	Expect(api.Patch(s.ctx, deployment, patch, client.FieldOwner("kube-controller-manager"))).To(Succeed())
}

func (s *scenario) deployment(n int) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{}
	return deployment, api.Get(s.ctx, s.key(revision(n)+"-deployment"), deployment)
}

// awaitReplicas waits until the Deployment of a revision has the given spec.replicas.
func (s *scenario) awaitReplicas(n int, want int32) {
	GinkgoHelper()
	Eventually(func() (*int32, error) {
		deployment, err := s.deployment(n)
		return deployment.Spec.Replicas, err
	}).Should(HaveValue(Equal(want)), "replicas of revision %d", n)
}

var _ = inBothModes("rule 3: capacity first", func(mode configOption) {
	It("gives a canary its share once it has minReplicas ready", func(ctx SpecContext) {
		s := startScenario(ctx, mode)
		s.apply(model(1), replicaBounds(3, 3))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setPods(2, fakecluster.ReadyUpTo(2))
		s.apply(model(2), percent(10), replicaBounds(3, 3))
		if !s.isKnative() { // In Knative mode the revision is not Ready before.
			s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "WaitingForReplicas", "gets 10 % of the traffic once it has 3 ready replicas"))
		}
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})
})

var _ = Describe("rule 3: capacity first", func() {
	It("scales up before a share grows", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), replicaBounds(1, 8))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setReplicas(1, 6)
		s.awaitReplicas(1, 6)
		s.setPods(2, fakecluster.ReadyUpTo(2))
		s.apply(model(2), percent(50), replicaBounds(1, 8))
		s.awaitReplicas(2, 3)
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "WaitingForReplicas", "3 ready replicas"))
		s.awaitSplit("1:100")
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
		s.awaitReplicas(1, 6)
		s.awaitSplitHistory("1:100", "2:50 1:50")
	})

	It("waits for a revision that was scaled to zero before traffic returns to it", func(ctx SpecContext) {
		const all = 11
		s := startScenario(ctx)
		s.apply(model(1), replicaBounds(all, all))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), replicaBounds(all, all))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.setPods(1, fakecluster.ReadyUpTo(1))
		s.apply(model(2), percent(0), replicaBounds(all, all))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "WaitingForReplicas", revision(1)+" gets 100 % of the traffic once it has 11 ready replicas"))
		s.awaitSettled()
		s.awaitSplit("2:100") // One of 11 replicas is enough for 9 %, which is below the smallest part.

		By("shifting in parts as replicas become ready")
		s.setPods(1, fakecluster.ReadyUpTo(2))
		s.awaitSplit("2:82 1:18")
		s.awaitColumns("Unknown", "18", "82", revision(1), revision(2))
		s.awaitRolloutState("S=1")
		s.setPods(1, fakecluster.ReadyUpTo(5))
		s.awaitSplit("2:55 1:45")
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitEvent("RolledBack")
		s.awaitSplitHistory("1:100", "2:100", "2:82 1:18", "2:55 1:45", "2:0 1:100")
		var written []time.Time
		for _, entry := range s.recorder.Entries() {
			route, is := entry.Object.(*gatewayv1.HTTPRoute)
			if !is {
				continue
			}
			state, err := watchrecorder.StateOf(route)
			Expect(err).NotTo(HaveOccurred())
			if len(written) == 0 || !state.ShiftedAt.Equal(written[len(written)-1]) {
				written = append(written, state.ShiftedAt)
			}
		}
		for i := len(written) - 2; i < len(written); i++ {
			Expect(written[i].Sub(written[i-1])).To(BeNumerically(">=", 10*time.Second), "the time between two parts")
		}
	})

	It("does not wait for a revision that was scaled to zero if the serving one is not ready", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), replicaBounds(2, 2))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), replicaBounds(2, 2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.setPods(2, fakecluster.Crash(1, ""))
		s.awaitColumns("False", "", "100", "", revision(2))
		s.setPods(1, fakecluster.ReadyUpTo(1))
		s.apply(model(2), percent(0), replicaBounds(2, 2))
		s.awaitColumns("False", "100", "0", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:100", "2:0 1:100")
	})
})

var _ = Describe("rule 3: capacity first, with an external autoscaler", func() {
	external := annotation(v1beta1.AnnotationAutoscalerClass, string(v1beta1.AutoscalerClassExternal))
	bounds := replicaBounds(1, 8)
	// startCanaryOfFour starts a canary with 10 % next to a stable that the autoscaler has scaled
	// to 4 replicas.
	startCanaryOfFour := func(ctx SpecContext, options ...configOption) *scenario {
		GinkgoHelper()
		s := startScenario(ctx, options...)
		s.apply(model(1), external, bounds)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setReplicas(1, 4)
		Eventually(s.podUIDs).WithArguments(1).Should(HaveLen(4))
		s.apply(model(2), percent(10), external, bounds)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitReplicas(2, 1)
		return s
	}

	It("raises the replicas that a share needs, and holds them until the end of the capacity hold", func(ctx SpecContext) {
		s := startCanaryOfFour(ctx, func(cfg *config.Config) { cfg.Rollout.CapacityHold.Duration = 4 * time.Second })
		s.setPods(2, fakecluster.ReadyUpTo(4))
		s.apply(model(2), external, bounds)
		s.awaitReplicas(2, 5)
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "WaitingForReplicas", "5 ready replicas"))
		s.awaitSplit("2:10 1:90")
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "", "100", "", revision(2))
		s.setReplicas(2, 2)
		s.awaitReplicas(2, 5)

		By("lowering them after the hold")
		s.awaitEndOfCapacityHold()
		s.setReplicas(2, 2)
		Eventually(s.podUIDs).WithArguments(2).Should(HaveLen(2))
		s.awaitSettled()
		s.awaitReplicas(2, 2)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})

	It("stops raising replicas that the autoscaler lowered three times, and reports this", func(ctx SpecContext) {
		s := startCanaryOfFour(ctx)
		s.setPods(2, fakecluster.ReadyUpTo(1))
		s.apply(model(2), external, bounds)
		for range 3 {
			s.awaitReplicas(2, 5)
			s.setReplicas(2, 1)
		}
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "ExternalAutoscalerHoldsBack", revision(2)+"-deployment needs 5 replicas"))
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.awaitSettled()
		s.expectNoWrites()
		s.awaitReplicas(2, 1)
		s.awaitSplit("2:10 1:90")

		By("raising the replicas as the autoscaler")
		s.setPods(2, fakecluster.Ready())
		s.setReplicas(2, 5)
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})

	It("keeps a scale of 0", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), external, bounds)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitEndOfCapacityHold()
		s.recorder.Excuse(s.child(deploymentOf(1)))
		s.setReplicas(1, 0)
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitSettled()
		s.expectNoWrites()
		s.awaitReplicas(1, 0)
		s.setReplicas(1, 1)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitSplitHistory("1:100")
	})
})

// awaitEndOfCapacityHold waits until the replicas of the last shift are no longer held.
func (s *scenario) awaitEndOfCapacityHold() {
	GinkgoHelper()
	route, err := s.route()
	Expect(err).NotTo(HaveOccurred())
	state, err := watchrecorder.StateOf(route)
	Expect(err).NotTo(HaveOccurred())
	Eventually(time.Now).Should(BeTemporally(">", state.ShiftedAt.Add(s.config.Rollout.CapacityHold.Duration)))
	s.awaitSettled()
}

var _ = Describe("rule 4: order", func() {
	It("reports a split once the gateway serves it, and keeps the old revision until then", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(2))
		s.awaitSplit("2:100")
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "WaitingForGateway", "100 % on "+revision(2)))
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.awaitSettled()
		s.awaitReplicas(1, 1)
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
	})

	It("drains a revision after the routes of all its hosts were accepted", func(ctx SpecContext) {
		const drain = time.Second
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = drain })
		withTagRouting := annotation(v1beta1.AnnotationEnableTagRouting, "true")
		s.apply(model(1), withTagRouting)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10), withTagRouting)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitTags(map[string]string{"latest": "2:100", "prev": "1:100"})
		s.apply(model(2), withTagRouting)
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitTags(map[string]string{"latest": "2:100"})
		s.awaitRunning(2)

		served, idle := time.Time{}, time.Time{}
		for _, entry := range s.recorder.Entries() {
			switch object := entry.Object.(type) {
			case *gatewayv1.HTTPRoute:
				if split, err := watchrecorder.SplitOf(iris, object); err == nil && split.Has(1) {
					served = entry.At // The last time that a route referred to the revision.
				}
			case *appsv1.Deployment:
				if object.Name == revision(1)+"-deployment" && *object.Spec.Replicas == 0 && idle.IsZero() {
					idle = entry.At
				}
			}
		}
		// The recorder observes both times with a small delay.
		Expect(idle.Sub(served)).To(BeNumerically(">", drain-50*time.Millisecond), "the time to drain")
	})

	It("does not remove a revision while the route of a tag refers to it", func(ctx SpecContext) {
		s := startScenario(ctx)
		withTagRouting := annotation(v1beta1.AnnotationEnableTagRouting, "true")
		s.apply(model(1), withTagRouting)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10), withTagRouting)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		latest := types.NamespacedName{Namespace: s.namespace, Name: "latest-" + iris + "-predictor"}
		s.gateway.SetBehavior(latest, fakecluster.Unresponsive())
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(10), withTagRouting)
		s.awaitSplit("1:100")
		s.awaitTags(map[string]string{"latest": "1:100"})
		s.awaitSettled()
		s.awaitRunning(1, 2, 3)
		s.gateway.SetBehavior(latest, fakecluster.Accepting())
		s.awaitRunning(1, 3)
	})
})

var _ = inBothModes("rule 5: no second load", func(mode configOption) {
	It("keeps the canary's pods in a promotion", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		before, err := s.podUIDs(2)
		Expect(err).NotTo(HaveOccurred())
		Expect(before).To(HaveLen(1))
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.awaitSettled()
		Expect(s.podUIDs(2)).To(Equal(before))
	})
})

var _ = Describe("rule 5: no second load", func() {
	It("rolls back to pods that are still running", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = time.Minute })
		s.setUpStable()
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		before, err := s.podUIDs(1)
		Expect(err).NotTo(HaveOccurred())
		Expect(before).To(HaveLen(1))
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSettled()
		Expect(s.podUIDs(1)).To(Equal(before))
	})
})

var _ = inBothModes("rule 6: rejected stays rejected", func(mode configOption) {
	It("gives a revision that was rolled back no share until the spec asks for it again", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))

		By("making its pods unready and ready again, and restarting the operator")
		s.setPods(2, fakecluster.NotReady())
		s.awaitColumns("Unknown", "100", "0", revision(1), revision(2))
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.restartOperator()
		s.awaitSettled()

		By("making the pods of the stable unready and ready again")
		s.setPods(1, fakecluster.NotReady())
		s.awaitColumns("Unknown", "100", "0", revision(1), revision(2))
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100")

		By("setting a percent for it")
		s.apply(model(2), percent(30))
		s.awaitColumns("True", "70", "30", revision(1), revision(2))
	})

	It("gives a superseded revision no share until the spec asks for it again", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(3), percent(20))
		s.awaitColumns("True", "80", "20", revision(1), revision(3))
		s.setPods(3, fakecluster.Crash(1, ""))
		s.awaitColumns("False", "100", "0", revision(1), revision(3))
		s.awaitRunning(1, 3)
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:20 1:80", "3:0 1:100")
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2), revision(3)))
	})
})

var _ = inBothModes("rule 7: status is derived", func(mode configOption) {
	wipeStatus := func(s *scenario) {
		GinkgoHelper()
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/status"}]`))
		Expect(api.Status().Patch(s.ctx, isvc, patch)).To(Succeed())
	}
	disruptions := map[string]func(*scenario){
		"the status is wiped": wipeStatus,
		"the operator restarts": func(s *scenario) {
			s.restartOperator()
		},
		"the status is wiped while no operator runs": func(s *scenario) {
			s.stopOperator()
			wipeStatus(s)
			s.startOperator(wire.New())
		},
	}
	for name, disrupt := range disruptions {
		It("keeps a canary when "+name, func(ctx SpecContext) {
			s := startCanary(ctx, mode)
			disrupt(s)
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.apply(model(2))
			s.awaitColumns("True", "", "100", "", revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
		})

		It("keeps the previous revision of a promotion when "+name, func(ctx SpecContext) {
			s := startPromotion(ctx, mode)
			disrupt(s)
			s.awaitColumns("True", "", "100", "", revision(2))
			s.apply(model(2), percent(0))
			s.awaitColumns("True", "100", "0", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100")
		})

		It("keeps the revision that was rolled back rejected when "+name, func(ctx SpecContext) {
			s := startPromotion(ctx, mode)
			s.apply(model(2), percent(0))
			s.awaitColumns("True", "100", "0", revision(1), revision(2))
			disrupt(s)
			s.awaitColumns("True", "100", "0", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100")
		})
	}
})

var _ = inBothModes("rule 8: silence", func(mode configOption) {
	settled := map[string]func(SpecContext, ...configOption) *scenario{"a stable": startStable, "a canary": startCanary, "a promotion": startPromotion}
	for name, settle := range settled {
		It("causes no writes on a reconciliation of "+name, func(ctx SpecContext) {
			s := settle(ctx, mode)
			s.expectNoWritesDuring(1, func() {
				By("changing an annotation that does not propagate")
				isvc, err := s.isvc()
				Expect(err).NotTo(HaveOccurred())
				patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}`))
				Expect(api.Patch(s.ctx, isvc, patch)).To(Succeed())
			})
		})

		It("causes no writes on a restart with "+name, func(ctx SpecContext) {
			s := settle(ctx, mode)
			s.expectNoWritesDuring(1, func() { s.restartOperator() })
		})
	}

	It("causes no writes on a resync", func(ctx SpecContext) {
		s := startScenario(ctx, mode, withFrequentResync)
		s.setUpStable()
		s.apply(model(2), percent(10), annotation(v1beta1.AnnotationEnableTagRouting, "true"), replicaBounds(1, 3))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.expectNoWritesDuring(5, func() {})
	})

	It("causes no writes while a failure lasts", func(ctx SpecContext) {
		s := startScenario(ctx, mode, withFrequentResync)
		s.setUpStable()
		s.setPods(2, fakecluster.Crash(1, "no such file"))
		s.apply(model(2), percent(10))
		s.awaitColumns("False", "", "100", "", revision(1))
		s.expectNoWritesDuring(5, func() {})
	})

	It("needs one write of the route and one of the status to change the percent", func(ctx SpecContext) {
		s := startCanary(ctx, mode, withLongSettlePeriod)
		s.awaitSettled()
		before := len(s.operator.wire.Writes())
		s.apply(model(2), percent(50))
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
		s.awaitSettled()
		var writes []string
		for _, write := range s.operator.wire.Writes()[before:] {
			writes = append(writes, write.String())
		}
		Expect(writes).To(Equal([]string{"patch " + s.routerName(), "patch inferenceservices/status " + iris}))
	})
})

// routerName returns the object that splits the traffic in the notation of wire.Write.
func (s *scenario) routerName() string {
	if s.isKnative() {
		return "services " + iris + "-predictor"
	}
	return "httproutes " + iris
}

// expectNoWritesDuring calls do on a settled scenario. It expects at least the given number of
// reconciliations, no writes, and no change of the operator's objects.
func (s *scenario) expectNoWritesDuring(times int, do func()) {
	GinkgoHelper()
	s.awaitSettled()
	versions := s.resourceVersions()
	operator, before := s.operator, len(s.operator.wire.Writes())
	reconciliations, err := operator.reconciliations()
	Expect(err).NotTo(HaveOccurred())
	do()
	if s.operator != operator {
		reconciliations = 0
	}
	Eventually(s.operator.reconciliations).Should(BeNumerically(">=", reconciliations+times), "the operator does not reconcile again")
	s.awaitSettled()
	Expect(operator.wire.Writes()[before:]).To(BeEmpty())
	if s.operator != operator {
		Expect(s.operator.wire.Writes()).To(BeEmpty(), "after the restart")
	}
	Expect(s.resourceVersions()).To(Equal(versions))
}

// resourceVersions returns the resource versions of the operator's objects.
func (s *scenario) resourceVersions() map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	for _, entry := range s.recorder.Entries() {
		if entry.Object.GetLabels()[v1beta1.LabelManagedBy] != v1beta1.ManagedBySerinus {
			continue
		}
		key := fmt.Sprintf("%T %s", entry.Object, entry.Object.GetName())
		found[key] = entry.Object.GetResourceVersion()
		if entry.Deleted {
			delete(found, key)
		}
	}
	return found
}

var _ = inBothModes("rule 9: own generation", func(mode configOption) {
	It("reports nothing about a spec that it has not observed", func(ctx SpecContext) {
		s := startStable(ctx, mode)
		s.stopOperator()
		s.apply(model(2), percent(10))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ObservedGeneration).To(BeNumerically("<", isvc.Generation))
		s.startOperator(wire.New())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
	})
})

var _ = Describe("rule 9: own generation", func() {
	It("is that of the InferenceService, not of the route", func(ctx SpecContext) {
		s := startCanary(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		route, err := s.route()
		Expect(err).NotTo(HaveOccurred())
		for range 3 {
			s.apply(model(2), percent(20))
			s.apply(model(2), percent(10))
		}
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		later, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(later.Status.ObservedGeneration).To(Equal(isvc.Generation + 6))
		Expect(later.Status.ObservedGeneration).NotTo(Equal(route.Generation))
	})
})

var _ = Describe("rule 10: bad input moves nothing", func() {
	unknownFormat := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Model.ModelFormat.Name = "no-such-format" }
	for name, options := range map[string][]testkit.Edit{
		"during a canary":             {model(2), percent(50), unknownFormat},
		"with a promotion":            {model(2), unknownFormat},
		"with a rollback":             {model(2), percent(0), unknownFormat},
		"with a return to the stable": {model(1), percent(10), unknownFormat},
		"with a new model":            {model(3), percent(90), unknownFormat},
	} {
		It("keeps the split when the model format is unknown "+name, func(ctx SpecContext) {
			s := startCanary(ctx)
			s.apply(options...)
			s.awaitColumns("False", "90", "10", revision(1), revision(2))
			s.awaitSplit("2:10 1:90")
			s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "NoSupportingRuntime", "no-such-format"))
			Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
			s.apply(model(2), percent(10))
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		})
	}

	It("keeps the served split when the gateway rejects the next one", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(2), percent(50))
		s.awaitSplit("2:50 1:50")
		s.setGateway(fakecluster.Rejecting(gatewayv1.RouteReasonNotAllowedByListeners, "no listener takes routes from this namespace"))
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionFalse, "NotAllowedByListeners", "no listener takes routes from this namespace"))
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
	})

	It("names the missing Gateway", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Ingress.Gateway.Name = "no-such-gateway" })
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(1))
		s.awaitColumns("False", "", "", "", "")
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionFalse, "GatewayNotFound", `Gateway "no-such-gateway" in namespace "kserve" does not exist`))
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "", "100", "", revision(1))
	})
})
