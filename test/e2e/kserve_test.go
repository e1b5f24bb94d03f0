// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

const (
	kserveSection = "Where KServe misroutes requests"
	kserveText    = "KServe's traffic follows the latest ready revision, and KServe keeps its history only in the status. The last column was measured " +
		"with KServe at aaac4e29 on Knative Serving 0.50, behind the same gateway. Entries marked *read* follow from KServe's code and issues. " +
		"All scenarios run in Knative mode."
)

// In each of these scenarios KServe sends requests to a revision that must get none, or loses the
// revision to roll back to.
var _ = Describe(kserveSection, func() {
	Describe("a rollout", func() {
		// KServe #2130: KServe gives 20 % to the latest ready revision, which is 2 until 3 is
		// ready.
		It("sends no requests to a rejected revision while the next canary loads (row 14)", func(ctx SpecContext) {
			s := startScenario(ctx, inKnative, model(1))
			s.kserveBehavior = "the rejected revision got 40 of 200 requests until the next one was ready (#2130)"
			s.apply("canary of 20 %", model(2), percent(20))
			s.expectSplit(split{1: 80, 2: 20})
			s.apply("rollback", model(2), percent(0))
			s.expectSplit(split{1: 100, 2: 0})
			rejected := s.prober.Now()
			s.apply("the next canary", model(3, "--start-after=8s"), percent(20))
			s.awaitSplit(iris, split{1: 100})
			s.checkSplit(split{1: 100})
			s.expectSplit(split{1: 80, 3: 20})
			s.checkNoRequestsSince(rejected, 2)
		}, inCI, rules(6), SpecTimeout(scenarioTimeout))

		// KServe creates a third revision from the first one's spec. Until it is ready, the canary
		// is the latest ready revision.
		It("withdraws the canary's share at once when the spec returns to the stable's (row 15)", func(ctx SpecContext) {
			s := startScenario(ctx, inKnative, model(1, "--start-after=5s"))
			s.kserveBehavior = "the withdrawn canary got 200 of 200 requests until the stable's model was loaded again, " +
				"and a rollback would then have returned to the canary"
			stable, err := s.podUIDs(1)
			Expect(err).NotTo(HaveOccurred())
			s.apply("canary of 20 %", model(2), percent(20))
			s.expectSplit(split{1: 80, 2: 20})
			s.apply("the stable's spec again", model(1, "--start-after=5s"))
			s.expectSplit(split{1: 100})
			Expect(s.podUIDs(1)).To(Equal(stable), "the stable's pods were replaced")
			s.apply("the next canary", model(3), percent(20))
			s.expectSplit(split{1: 80, 3: 20})
		}, inCI, SpecTimeout(scenarioTimeout))

		// KServe #1968: KServe derives the rollback from statuses that may belong to an older spec.
		It("undoes exactly one promotion while Knative's statuses are stale", func(ctx SpecContext) {
			s := startScenario(ctx, inKnative, model(1))
			s.kserveBehavior = "read: a stale status takes the rollback one release too far (#1968)"
			s.apply("promotion of 2", model(2))
			s.expectSplit(split{2: 100})
			s.apply("canary of 20 %", model(3), percent(20))
			s.expectSplit(split{2: 80, 3: 20})
			promoted := s.prober.Now()
			s.withoutKnativeController(func() {
				for range 2 {
					s.apply("promotion of 3", model(3))
					s.awaitObserved()
					s.apply("rollback", model(3), percent(0))
					s.awaitObserved()
				}
			})
			s.expectSplit(split{2: 100, 3: 0})
			for range 3 {
				s.apply("promotion of 3, rolled back at once", model(3))
				s.apply("rollback", model(3), percent(0))
			}
			s.expectSplit(split{2: 100, 3: 0})
			s.apply("promotion of 3", model(3))
			s.expectSplit(split{3: 100})
			s.checkNoRequestsSince(promoted, 1)
		}, SpecTimeout(scenarioTimeout))

		// KServe keeps its history only in the status.
		It("keeps its history and its traffic when the status is wiped", func(ctx SpecContext) {
			s := startScenario(ctx, inKnative, model(1))
			s.kserveBehavior = "all traffic went to the canary (305 of 319 requests in 8 s), and no revision was left to roll back to"
			s.apply("canary of 20 %", model(2), percent(20))
			s.expectSplit(split{1: 80, 2: 20})
			s.checkSplitDuring(split{1: 80, 2: 20}, func() { s.wipeStatus(split{1: 80, 2: 20}) })
			s.apply("promotion", model(2))
			s.expectSplit(split{2: 100})
			s.checkSplitDuring(split{2: 100}, func() { s.wipeStatus(split{2: 100}) })
			s.apply("rollback", model(2), percent(0))
			s.expectSplit(split{1: 100, 2: 0})
		}, SpecTimeout(scenarioTimeout))

		It("needs two writes for a change of percent, and none in a settled minute", func(ctx SpecContext) {
			s := startScenario(ctx, inKnative, model(1))
			s.kserveBehavior = "a change of percent needed 18 writes"
			s.apply("canary of 20 %", model(2), percent(20))
			s.expectSplit(split{1: 80, 2: 20})
			changed := time.Now()
			s.apply("30 %", model(2), percent(30))
			s.expectSplit(split{1: 70, 2: 30})
			Expect(s.writesSince(changed)).To(ConsistOf("Knative Service", "status"))
			settled := time.Now()
			s.checkSplitDuring(split{1: 70, 2: 30}, func() { Expect(s.prober.Until(ctx, 60*rate)).To(Succeed()) })
			Expect(s.writesSince(settled)).To(BeEmpty())
		}, SpecTimeout(scenarioTimeout))
	})
})

// writesSince lists the operator's writes since a time: the status of the InferenceService, and
// everything but the status of other objects.
func (s *scenario) writesSince(since time.Time) []string {
	var writes []string
	last := map[types.UID]client.Object{}
	for _, entry := range s.recorder.Entries() {
		before := last[entry.Object.GetUID()]
		last[entry.Object.GetUID()] = entry.Object
		specified := before == nil || entry.Deleted || before.GetGeneration() != entry.Object.GetGeneration() ||
			!maps.Equal(before.GetAnnotations(), entry.Object.GetAnnotations()) || !maps.Equal(before.GetLabels(), entry.Object.GetLabels())
		written := ""
		switch object := entry.Object.(type) {
		case *v1beta1.InferenceService:
			if !specified {
				written = "status"
			}
		case *servingv1.Service:
			if specified {
				written = "Knative Service"
			}
		case *gatewayv1.HTTPRoute:
			if specified && object.Name == s.name {
				written = "HTTPRoute"
			}
		case *appsv1.ControllerRevision:
			written = "ControllerRevision"
		}
		if written != "" && entry.At.After(since) {
			writes = append(writes, written)
		}
	}
	return writes
}

func (s *scenario) checkNoRequestsSince(since time.Duration, n int) {
	GinkgoHelper()
	results := s.prober.Results()
	window := results.Window("without a share", since+gatewayLag, results.End)
	Expect(prober.NoRequestsTo(window, revision(n))).To(Succeed())
}

func (s *scenario) awaitObserved() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc(s.name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation))
	}).Should(Succeed())
}

func (s *scenario) wipeStatus(want split) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		isvc, err := s.isvc(s.name)
		if err != nil {
			return err
		}
		isvc.Status = v1beta1.InferenceServiceStatus{}
		return api.Status().Update(s.ctx, isvc)
	})).To(Succeed())
	s.awaitSplit(s.name, want)
	Expect(s.prober.Until(s.ctx, minRequests+int(gatewayLag.Seconds()*rate))).To(Succeed())
}

// withoutKnativeController stops Knative's controller while do runs, so that Knative's statuses do
// not change.
func (s *scenario) withoutKnativeController(do func()) {
	GinkgoHelper()
	s.prober.Mark("Knative's controller is stopped")
	s.scaleKnativeController(0)
	defer s.scaleKnativeController(1)
	do()
}

func (s *scenario) scaleKnativeController(replicas int32) {
	GinkgoHelper()
	key := types.NamespacedName{Namespace: "knative-serving", Name: "controller"}
	controller := &appsv1.Deployment{}
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := api.Get(s.ctx, key, controller); err != nil {
			return err
		}
		controller.Spec.Replicas = &replicas
		return api.Update(s.ctx, controller)
	})).To(Succeed())
	Eventually(func(g Gomega) {
		g.Expect(api.Get(s.ctx, key, controller)).To(Succeed())
		g.Expect(controller.Status.ObservedGeneration).To(Equal(controller.Generation))
		g.Expect(controller.Status).To(SatisfyAll(HaveField("Replicas", replicas), HaveField("AvailableReplicas", replicas)))
		pods := &corev1.PodList{}
		g.Expect(api.List(s.ctx, pods, client.InNamespace(key.Namespace), client.MatchingLabels{"app": key.Name})).To(Succeed())
		g.Expect(pods.Items).To(HaveLen(int(replicas)))
	}).Should(Succeed())
}
