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
	"github.com/serinus-io/serinus/test/integration/wire"
	"github.com/serinus-io/serinus/test/journal"
	"github.com/serinus-io/serinus/test/peers"
)

// The rules that hold at every moment, by their numbers, as far as a real API server has something to add to the tests
// of the core. Rules 1, 2, 4, 7 and 9 are also held against every story by its journal.

// autoscale sets the replicas of a revision as an autoscaler does.
func (s *story) autoscale(n int, replicas int32) {
	GinkgoHelper()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: revision(n) + "-deployment"}}
	Expect(api.Patch(s.ctx, deployment, patch, client.FieldOwner("kube-controller-manager"))).To(Succeed())
}

func (s *story) deployment(n int) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{}
	return deployment, api.Get(s.ctx, s.key(revision(n)+"-deployment"), deployment)
}

// replicas waits until a revision asks for so many replicas.
func (s *story) replicas(n int, wanted int32) {
	GinkgoHelper()
	Eventually(func() (*int32, error) {
		deployment, err := s.deployment(n)
		return deployment.Spec.Replicas, err
	}).Should(HaveValue(Equal(wanted)), "replicas of revision %d", n)
}

var _ = inBothModes("rule 3: capacity first", func(mode option) {
	It("gives a canary its share once it has minReplicas ready", func(ctx SpecContext) {
		s := begin(ctx, mode)
		s.apply(model(1), replicas(3, 3))
		s.prints("True", "", "100", "", revision(1))
		s.becomes(2, peers.ReadyUpTo(2))
		s.apply(model(2), percent(10), replicas(3, 3))
		if !s.isKnative() { // Knative calls it ready only then, and so do we.
			s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "WaitingForReplicas", "gets 10 % of the traffic once it has 3 ready replicas"))
		}
		s.prints("Unknown", "", "100", "", revision(1))
		s.becomes(2, peers.Ready())
		s.prints("True", "90", "10", revision(1), revision(2))
		s.history("1:100", "2:10 1:90")
	})
})

var _ = Describe("rule 3: capacity first", func() {
	It("brings up what a bigger share takes before it is given", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1), replicas(1, 8))
		s.prints("True", "", "100", "", revision(1))
		s.autoscale(1, 6)
		s.replicas(1, 6)
		s.becomes(2, peers.ReadyUpTo(2))
		s.apply(model(2), percent(50), replicas(1, 8))
		s.replicas(2, 3)
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "WaitingForReplicas", "3 ready replicas"))
		s.splits("1:100")
		s.becomes(2, peers.Ready())
		s.prints("True", "50", "50", revision(1), revision(2))
		s.replicas(1, 6)
		s.history("1:100", "2:50 1:50")
	})

	It("has a revision that was scaled away ready before traffic goes back to it", func(ctx SpecContext) {
		const all = 11
		s := begin(ctx)
		s.apply(model(1), replicas(all, all))
		s.prints("True", "", "100", "", revision(1))
		s.apply(model(2), replicas(all, all))
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
		s.becomes(1, peers.ReadyUpTo(1))
		s.apply(model(2), percent(0), replicas(all, all))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "WaitingForReplicas", revision(1)+" gets 100 % of the traffic once it has 11 ready replicas"))
		s.settles()
		s.splits("2:100") // 1 of 11 replicas is for 9 %, which is not worth a write.

		By("giving it parts as its replicas become ready")
		s.becomes(1, peers.ReadyUpTo(2))
		s.splits("2:82 1:18")
		s.prints("Unknown", "18", "82", revision(1), revision(2))
		s.remembers("S=1")
		s.becomes(1, peers.ReadyUpTo(5))
		s.splits("2:55 1:45")
		s.becomes(1, peers.Ready())
		s.prints("True", "100", "0", revision(1), revision(2))
		s.announces("RolledBack")
		s.history("1:100", "2:100", "2:82 1:18", "2:55 1:45", "2:0 1:100")
		var written []time.Time
		for _, entry := range s.journal.Entries() {
			route, is := entry.Object.(*gatewayv1.HTTPRoute)
			if !is {
				continue
			}
			record, err := journal.RecordOf(route)
			Expect(err).NotTo(HaveOccurred())
			if len(written) == 0 || !record.ShiftedAt.Equal(written[len(written)-1]) {
				written = append(written, record.ShiftedAt)
			}
		}
		for i := len(written) - 2; i < len(written); i++ {
			Expect(written[i].Sub(written[i-1])).To(BeNumerically(">=", 10*time.Second), "the time between two parts")
		}
	})

	It("does not wait for a revision that was scaled away when the one that serves cannot", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1), replicas(2, 2))
		s.prints("True", "", "100", "", revision(1))
		s.apply(model(2), replicas(2, 2))
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
		s.becomes(2, peers.Crash(1, ""))
		s.prints("False", "", "100", "", revision(2))
		s.becomes(1, peers.ReadyUpTo(1))
		s.apply(model(2), percent(0), replicas(2, 2))
		s.prints("False", "100", "0", revision(1), revision(2))
		s.history("1:100", "2:100", "2:0 1:100")
	})
})

var _ = Describe("rule 3: capacity first, where an autoscaler of the user's sets the replicas", func() {
	external := annotation(v1beta1.AnnotationAutoscalerClass, string(v1beta1.AutoscalerClassExternal))
	bounds := replicas(1, 8)
	// onFour has a canary of 10 % beside a stable that the autoscaler has given 4 replicas.
	onFour := func(ctx SpecContext, options ...option) *story {
		GinkgoHelper()
		s := begin(ctx, options...)
		s.apply(model(1), external, bounds)
		s.prints("True", "", "100", "", revision(1))
		s.autoscale(1, 4)
		Eventually(s.pods).WithArguments(1).Should(HaveLen(4))
		s.apply(model(2), percent(10), external, bounds)
		s.prints("True", "90", "10", revision(1), revision(2))
		s.replicas(2, 1)
		return s
	}

	It("raises the replicas that a share needs, holds them for a while, and then leaves them to it", func(ctx SpecContext) {
		s := onFour(ctx, func(cfg *config.Config) { cfg.Rollout.CapacityHold.Duration = 4 * time.Second })
		s.becomes(2, peers.ReadyUpTo(4))
		s.apply(model(2), external, bounds)
		s.replicas(2, 5)
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "WaitingForReplicas", "5 ready replicas"))
		s.splits("2:10 1:90")
		s.becomes(2, peers.Ready())
		s.prints("True", "", "100", "", revision(2))
		s.autoscale(2, 2)
		s.replicas(2, 5)

		By("lowering them after the hold")
		s.outlivesTheHold()
		s.autoscale(2, 2)
		Eventually(s.pods).WithArguments(2).Should(HaveLen(2))
		s.settles()
		s.replicas(2, 2)
		s.history("1:100", "2:10 1:90", "2:100")
	})

	It("stops raising what it lowers three times, and says so", func(ctx SpecContext) {
		s := onFour(ctx)
		s.becomes(2, peers.ReadyUpTo(1))
		s.apply(model(2), external, bounds)
		for range 3 {
			s.replicas(2, 5)
			s.autoscale(2, 1)
		}
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "ExternalAutoscalerHoldsBack", revision(2)+"-deployment needs 5 replicas"))
		s.prints("False", "90", "10", revision(1), revision(2))
		s.settles()
		s.silent()
		s.replicas(2, 1)
		s.splits("2:10 1:90")

		By("giving in")
		s.becomes(2, peers.Ready())
		s.autoscale(2, 5)
		s.prints("True", "", "100", "", revision(2))
		s.history("1:100", "2:10 1:90", "2:100")
	})

	It("keeps a 0 that it sets", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1), external, bounds)
		s.prints("True", "", "100", "", revision(1))
		s.outlivesTheHold()
		s.journal.Excuse(s.child(deploymentOf(1)))
		s.autoscale(1, 0)
		s.prints("Unknown", "", "100", "", revision(1))
		s.settles()
		s.silent()
		s.replicas(1, 0)
		s.autoscale(1, 1)
		s.prints("True", "", "100", "", revision(1))
		s.history("1:100")
	})
})

// outlivesTheHold waits until the replicas of the last shift are held no more.
func (s *story) outlivesTheHold() {
	GinkgoHelper()
	route, err := s.route()
	Expect(err).NotTo(HaveOccurred())
	record, err := journal.RecordOf(route)
	Expect(err).NotTo(HaveOccurred())
	Eventually(time.Now).Should(BeTemporally(">", record.ShiftedAt.Add(s.config.Rollout.CapacityHold.Duration)))
	s.settles()
}

var _ = Describe("rule 4: order", func() {
	It("tells users of a split once the gateway serves it, and leaves the old revision alone until then", func(ctx SpecContext) {
		s := canary(ctx)
		s.gatewayTurns(peers.Unresponsive())
		s.apply(model(2))
		s.splits("2:100")
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "WaitingForGateway", "100 % on "+revision(2)))
		s.prints("Unknown", "90", "10", revision(1), revision(2))
		s.settles()
		s.replicas(1, 1)
		s.gatewayTurns(peers.Accepting())
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
	})

	It("drains a revision after the routes of all its hosts were taken over", func(ctx SpecContext) {
		const drain = time.Second
		s := begin(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = drain })
		tagged := annotation(v1beta1.AnnotationEnableTagRouting, "true")
		s.apply(model(1), tagged)
		s.prints("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10), tagged)
		s.prints("True", "90", "10", revision(1), revision(2))
		s.tagged(map[string]string{"latest": "2:100", "prev": "1:100"})
		s.apply(model(2), tagged)
		s.prints("True", "", "100", "", revision(2))
		s.tagged(map[string]string{"latest": "2:100"})
		s.runs(2)

		served, idle := time.Time{}, time.Time{}
		for _, entry := range s.journal.Entries() {
			switch object := entry.Object.(type) {
			case *gatewayv1.HTTPRoute:
				if split, err := journal.SplitOf(iris, object); err == nil && split.Has(1) {
					served = entry.At // The last moment at which a route had the revision.
				}
			case *appsv1.Deployment:
				if object.Name == revision(1)+"-deployment" && *object.Spec.Replicas == 0 && idle.IsZero() {
					idle = entry.At
				}
			}
		}
		// The journal hears of both moments a little late.
		Expect(idle.Sub(served)).To(BeNumerically(">", drain-50*time.Millisecond), "the time that requests had to end")
	})

	It("does not take a revision away under the host of a tag", func(ctx SpecContext) {
		s := begin(ctx)
		tagged := annotation(v1beta1.AnnotationEnableTagRouting, "true")
		s.apply(model(1), tagged)
		s.prints("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10), tagged)
		s.prints("True", "90", "10", revision(1), revision(2))
		latest := types.NamespacedName{Namespace: s.namespace, Name: "latest-" + iris + "-predictor"}
		s.gateway.SetBehavior(latest, peers.Unresponsive())
		s.becomes(3, peers.NotReady())
		s.apply(model(3), percent(10), tagged)
		s.splits("1:100")
		s.tagged(map[string]string{"latest": "1:100"})
		s.settles()
		s.runs(1, 2, 3)
		s.gateway.SetBehavior(latest, peers.Accepting())
		s.runs(1, 3)
	})
})

var _ = inBothModes("rule 5: no second load", func(mode option) {
	It("promotes the canary's pods as they are", func(ctx SpecContext) {
		s := canary(ctx, mode)
		before, err := s.pods(2)
		Expect(err).NotTo(HaveOccurred())
		Expect(before).To(HaveLen(1))
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
		s.settles()
		Expect(s.pods(2)).To(Equal(before))
	})
})

var _ = Describe("rule 5: no second load", func() {
	It("rolls back to pods that still run as they are", func(ctx SpecContext) {
		s := begin(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = time.Minute })
		s.serve()
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		before, err := s.pods(1)
		Expect(err).NotTo(HaveOccurred())
		Expect(before).To(HaveLen(1))
		s.apply(model(2), percent(0))
		s.prints("True", "100", "0", revision(1), revision(2))
		s.settles()
		Expect(s.pods(1)).To(Equal(before))
	})
})

var _ = inBothModes("rule 6: rejected stays rejected", func(mode option) {
	It("gives a revision that was rolled back nothing until the spec asks for it again", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(2), percent(0))
		s.prints("True", "100", "0", revision(1), revision(2))

		By("having it lose its pods and get them back, and the operator start again")
		s.becomes(2, peers.NotReady())
		s.prints("Unknown", "100", "0", revision(1), revision(2))
		s.becomes(2, peers.Ready())
		s.prints("True", "100", "0", revision(1), revision(2))
		s.restart()
		s.settles()

		By("having the stable lose its pods")
		s.becomes(1, peers.NotReady())
		s.prints("Unknown", "100", "0", revision(1), revision(2))
		s.becomes(1, peers.Ready())
		s.prints("True", "100", "0", revision(1), revision(2))
		s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100")

		By("asking for it")
		s.apply(model(2), percent(30))
		s.prints("True", "70", "30", revision(1), revision(2))
	})

	It("gives a revision that was superseded nothing until the spec asks for it again", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(3), percent(20))
		s.prints("True", "80", "20", revision(1), revision(3))
		s.becomes(3, peers.Crash(1, ""))
		s.prints("False", "100", "0", revision(1), revision(3))
		s.runs(1, 3)
		s.history("1:100", "2:10 1:90", "1:100", "3:20 1:80", "3:0 1:100")
		s.apply(model(2), percent(10))
		s.prints("True", "90", "10", revision(1), revision(2))
		Expect(s.records()).To(ConsistOf(revision(1), revision(2), revision(3)))
	})
})

var _ = inBothModes("rule 7: status is derived", func(mode option) {
	wipe := func(s *story) {
		GinkgoHelper()
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/status"}]`))
		Expect(api.Status().Patch(s.ctx, isvc, patch)).To(Succeed())
	}
	meddle := map[string]func(*story){
		"the status is wiped": wipe,
		"the operator starts again": func(s *story) {
			s.restart()
		},
		"the status is wiped while no operator runs": func(s *story) {
			s.stopOperator()
			wipe(s)
			s.start(wire.New())
		},
	}
	for name, interfere := range meddle {
		It("keeps a canary when "+name, func(ctx SpecContext) {
			s := canary(ctx, mode)
			interfere(s)
			s.prints("True", "90", "10", revision(1), revision(2))
			s.apply(model(2))
			s.prints("True", "", "100", "", revision(2))
			s.history("1:100", "2:10 1:90", "2:100")
		})

		It("keeps what a promotion can be undone with when "+name, func(ctx SpecContext) {
			s := promoted(ctx, mode)
			interfere(s)
			s.prints("True", "", "100", "", revision(2))
			s.apply(model(2), percent(0))
			s.prints("True", "100", "0", revision(1), revision(2))
			s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100")
		})

		It("keeps rejecting what was rolled back when "+name, func(ctx SpecContext) {
			s := promoted(ctx, mode)
			s.apply(model(2), percent(0))
			s.prints("True", "100", "0", revision(1), revision(2))
			interfere(s)
			s.prints("True", "100", "0", revision(1), revision(2))
			s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100")
		})
	}
})

var _ = inBothModes("rule 8: silence", func(mode option) {
	settled := map[string]func(SpecContext, ...option) *story{"a stable": stable, "a canary": canary, "a promotion": promoted}
	for name, settle := range settled {
		It("costs no writes to look again at "+name, func(ctx SpecContext) {
			s := settle(ctx, mode)
			s.silently(1, func() {
				By("touching what is no input of a revision")
				isvc, err := s.isvc()
				Expect(err).NotTo(HaveOccurred())
				patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}`))
				Expect(api.Patch(s.ctx, isvc, patch)).To(Succeed())
			})
		})

		It("costs no writes to start again at "+name, func(ctx SpecContext) {
			s := settle(ctx, mode)
			s.silently(1, func() { s.restart() })
		})
	}

	It("costs no writes to look again without a cause", func(ctx SpecContext) {
		s := begin(ctx, mode, often)
		s.serve()
		s.apply(model(2), percent(10), annotation(v1beta1.AnnotationEnableTagRouting, "true"), replicas(1, 3))
		s.prints("True", "90", "10", revision(1), revision(2))
		s.silently(5, func() {})
	})

	It("costs no writes while a problem lasts", func(ctx SpecContext) {
		s := begin(ctx, mode, often)
		s.serve()
		s.becomes(2, peers.Crash(1, "no such file"))
		s.apply(model(2), percent(10))
		s.prints("False", "", "100", "", revision(1))
		s.silently(5, func() {})
	})

	It("costs one write of the route and one of the status to change the percent", func(ctx SpecContext) {
		s := canary(ctx, mode, patiently)
		s.settles()
		before := len(s.operator.wire.Writes())
		s.apply(model(2), percent(50))
		s.prints("True", "50", "50", revision(1), revision(2))
		s.settles()
		var writes []string
		for _, write := range s.operator.wire.Writes()[before:] {
			writes = append(writes, write.String())
		}
		Expect(writes).To(Equal([]string{"patch " + s.routerName(), "patch inferenceservices/status " + iris}))
	})
})

// routerName is what splits the traffic, as writes name it.
func (s *story) routerName() string {
	if s.isKnative() {
		return "services " + iris + "-predictor"
	}
	return "httproutes " + iris
}

// silently does something to a settled story, and expects the operator to look at it so many times at least and to write
// nothing: no request, and no change of anything that it made.
func (s *story) silently(times int, do func()) {
	GinkgoHelper()
	s.settles()
	versions := s.versions()
	operator, before := s.operator, len(s.operator.wire.Writes())
	passes, err := operator.passes()
	Expect(err).NotTo(HaveOccurred())
	do()
	if s.operator != operator {
		passes = 0
	}
	Eventually(s.operator.passes).Should(BeNumerically(">=", passes+times), "the operator does not look again")
	s.settles()
	Expect(operator.wire.Writes()[before:]).To(BeEmpty())
	if s.operator != operator {
		Expect(s.operator.wire.Writes()).To(BeEmpty(), "after the restart")
	}
	Expect(s.versions()).To(Equal(versions))
}

// versions are the resource versions of what the operator has made.
func (s *story) versions() map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	for _, entry := range s.journal.Entries() {
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

var _ = inBothModes("rule 9: own generation", func(mode option) {
	It("says nothing about a spec that it has not seen", func(ctx SpecContext) {
		s := stable(ctx, mode)
		s.stopOperator()
		s.apply(model(2), percent(10))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ObservedGeneration).To(BeNumerically("<", isvc.Generation))
		s.start(wire.New())
		s.prints("True", "90", "10", revision(1), revision(2))
	})
})

var _ = Describe("rule 9: own generation", func() {
	It("is its own, not that of the route or of a Deployment", func(ctx SpecContext) {
		s := canary(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		route, err := s.route()
		Expect(err).NotTo(HaveOccurred())
		for range 3 {
			s.apply(model(2), percent(20))
			s.apply(model(2), percent(10))
		}
		s.prints("True", "90", "10", revision(1), revision(2))
		later, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(later.Status.ObservedGeneration).To(Equal(isvc.Generation + 6))
		Expect(later.Status.ObservedGeneration).NotTo(Equal(route.Generation))
	})
})

var _ = Describe("rule 10: bad input moves nothing", func() {
	unknownFormat := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Model.ModelFormat.Name = "no-such-format" }
	for name, says := range map[string][]manifest{
		"in the middle of a canary":         {model(2), percent(50), unknownFormat},
		"with a promotion":                  {model(2), unknownFormat},
		"with a rollback":                   {model(2), percent(0), unknownFormat},
		"with a return to the stable":       {model(1), percent(10), unknownFormat},
		"with a model that was never there": {model(3), percent(90), unknownFormat},
	} {
		It("keeps the split when the model format is unknown "+name, func(ctx SpecContext) {
			s := canary(ctx)
			s.apply(says...)
			s.prints("False", "90", "10", revision(1), revision(2))
			s.splits("2:10 1:90")
			s.condition(v1beta1.ConditionReady, Be(metav1.ConditionFalse, "NoSupportingRuntime", "no-such-format"))
			Expect(s.records()).To(ConsistOf(revision(1), revision(2)))
			s.apply(model(2), percent(10))
			s.prints("True", "90", "10", revision(1), revision(2))
			s.history("1:100", "2:10 1:90")
		})
	}

	It("keeps the split that is served when the gateway refuses the next one", func(ctx SpecContext) {
		s := canary(ctx)
		s.gatewayTurns(peers.Unresponsive())
		s.apply(model(2), percent(50))
		s.splits("2:50 1:50")
		s.gatewayTurns(peers.Rejecting(gatewayv1.RouteReasonNotAllowedByListeners, "no listener takes routes from this namespace"))
		s.prints("False", "90", "10", revision(1), revision(2))
		s.condition(v1beta1.ConditionIngressReady, Be(metav1.ConditionFalse, "NotAllowedByListeners", "no listener takes routes from this namespace"))
		s.gatewayTurns(peers.Accepting())
		s.prints("True", "50", "50", revision(1), revision(2))
	})

	It("says which Gateway is missing", func(ctx SpecContext) {
		s := begin(ctx, func(cfg *config.Config) { cfg.Ingress.Gateway.Name = "no-such-gateway" })
		s.gatewayTurns(peers.Unresponsive())
		s.apply(model(1))
		s.prints("False", "", "", "", "")
		s.condition(v1beta1.ConditionIngressReady, Be(metav1.ConditionFalse, "GatewayNotFound", `Gateway "no-such-gateway" in namespace "kserve" does not exist`))
		s.gatewayTurns(peers.Accepting())
		s.prints("True", "", "100", "", revision(1))
	})
})
