// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

var _ = describeInModes("a rollout", modes, func(m mode) {
	It("starts with one revision regardless of the percent, and keeps serving it while the next one loads (rows 1, 2 and 3)", func(ctx SpecContext) {
		s := newScenario(ctx, m, scenarioNamespace(), iris)
		s.create(iris, model(1, "--start-after=4s"), percent(10))
		s.awaitCondition(v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonNoRevisionReady)
		Expect(s.isvc(iris)).To(WithTransform(reported, BeEmpty()))
		s.awaitSplit(iris, split{1: 100})
		s.probe(s.target(iris, rate))
		s.apply("the next revision", model(2, "--start-after=8s"), percent(10))
		s.awaitSplit(iris, split{1: 100})
		s.checkSplit(split{1: 100})
		s.expectSplit(split{1: 90, 2: 10})
	}, inCI, rules(2), SpecTimeout(scenarioTimeout))

	It("promotes the canary without replacing its pods (rows 4 and 6)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		canary, err := s.podUIDs(2)
		Expect(err).NotTo(HaveOccurred())
		Expect(canary).To(HaveLen(1))

		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		Expect(s.podUIDs(2)).To(Equal(canary), "the canary's pods were replaced")
		Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
	}, inCI, rules(4, 5), SpecTimeout(scenarioTimeout))

	It("goes from 10 to 50 to 100 %, and the canary's share never falls (rows 5 and 7)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1), replicas(2, 2))
		if m == inStandard {
			s.picture, s.title = "traffic-steps", "10, 50 and 100 %"
		}
		from := s.prober.Now()
		s.apply("10 %", model(2), replicas(2, 2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		s.apply("50 %", model(2), replicas(2, 2), percent(50))
		s.expectSplit(split{1: 50, 2: 50})
		s.apply("100 %", model(2), replicas(2, 2), percent(100))
		s.expectSplit(split{2: 100})

		results := s.prober.Results()
		Expect(prober.ShareRises(results.Window("all steps", from, results.End).Buckets(s.bucketWidth()), revision(2))).To(Succeed())
	}, inCI, rules(1), SpecTimeout(scenarioTimeout))

	It("is rolled back while the canary runs (row 8)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 20 %", model(2), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		s.apply("rollback", model(2), percent(0))
		s.expectSplit(split{1: 100, 2: 0})
	}, inCI, SpecTimeout(scenarioTimeout))

	It("is rolled back after the promotion to a revision that was scaled to zero, and is then retried (rows 9 and 10)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1, "--start-after=2s"))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
		s.apply("rollback", model(2), percent(0))
		s.expectSplit(split{1: 100, 2: 0})
		s.apply("promotion again", model(2))
		s.expectSplit(split{2: 100})
		s.apply("10 % of it", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
	}, inCI, rules(3), SpecTimeout(scenarioTimeout))

	It("is rolled back by a change that also edits an annotation (row 9b)", func(ctx SpecContext) {
		note := annotation("example.com/note", "bad answers")
		s := startScenario(ctx, m, model(1))
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
		s.apply("rollback, with a note", model(2), note, percent(0))
		s.expectSplit(split{1: 100, 3: 0})
		s.awaitPhase(rollout.RolledBack)
	}, inCI, SpecTimeout(scenarioTimeout))

	It("is previewed, not rolled back, if a percent of 0 arrives together with another model", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		s.apply("a third model, with 0 %", model(3), percent(0))
		s.expectSplit(split{2: 100, 3: 0})
		s.awaitPhase(rollout.Preview)
		s.apply("10 % of it", model(3), percent(10))
		s.expectSplit(split{2: 90, 3: 10})
	}, SpecTimeout(scenarioTimeout))

	It("is not rolled back if no previous revision is left, and reports this (row 11)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
		s.withoutOperator(func() { s.deleteRevision(1) }) // The operator must not observe the percent before the deletion.
		s.apply("rollback", model(2), percent(10))
		s.awaitCondition(v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonNothingToRollBackTo)
		s.checkSplit(split{2: 100})
	}, inCI, SpecTimeout(scenarioTimeout))

	It("is superseded: the old canary gets no more requests (rows 12 and 13)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		s.apply("the next canary", model(3, "--start-after=8s"), percent(30))
		s.awaitSplit(iris, split{1: 100})
		s.checkSplit(split{1: 100})
		s.expectSplit(split{1: 70, 3: 30})
	}, inCI, rules(6), SpecTimeout(scenarioTimeout))

	if m == inStandard { // For Knative mode see kserve_test.go: KServe fails in both cases.
		It("is superseded after a rollback: the rejected revision stays rejected (row 14)", func(ctx SpecContext) {
			s := startScenario(ctx, m, model(1))
			s.apply("canary of 10 %", model(2), percent(10))
			s.expectSplit(split{1: 90, 2: 10})
			s.apply("rollback", model(2), percent(0))
			s.expectSplit(split{1: 100, 2: 0})
			s.apply("the next canary", model(3, "--start-after=8s"), percent(20))
			s.awaitSplit(iris, split{1: 100})
			s.checkSplit(split{1: 100})
			s.expectSplit(split{1: 80, 3: 20})
		}, inCI, rules(6), SpecTimeout(scenarioTimeout))

		It("is aborted by returning to the stable's spec (row 15)", func(ctx SpecContext) {
			s := startScenario(ctx, m, model(1))
			stable, err := s.podUIDs(1)
			Expect(err).NotTo(HaveOccurred())
			s.apply("canary of 20 %", model(2), percent(20))
			s.expectSplit(split{1: 80, 2: 20})
			s.apply("the stable's spec again", model(1))
			s.expectSplit(split{1: 100})
			Expect(s.podUIDs(1)).To(Equal(stable), "the stable's pods were replaced")
			Eventually(s.podUIDs).WithArguments(2).Should(BeEmpty())
		}, inCI, SpecTimeout(scenarioTimeout))
	}

	It("is aborted by returning to the stable's spec with the percent unchanged (row 16)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 10 %", model(2), percent(10))
		s.expectSplit(split{1: 90, 2: 10})
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		s.apply("the next canary", model(3), percent(10))
		s.expectSplit(split{2: 90, 3: 10})
		s.apply("the stable's spec again", model(2), percent(10))
		s.expectSplit(split{2: 100})
	}, inCI, SpecTimeout(scenarioTimeout))

	It("is stopped midway and resumed with the same shares", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 20 %", model(2), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		s.allowFailures("while it is stopped", func() {
			s.apply("stop", model(2), percent(20), annotation(v1beta1.AnnotationStop, "true"))
			s.awaitCondition(v1beta1.ConditionStopped, metav1.ConditionTrue, status.ReasonStopped)
			Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
			Eventually(s.podUIDs).WithArguments(2).Should(BeEmpty())
			s.apply("resume", model(2), percent(20))
			s.awaitSplit(iris, split{1: 80, 2: 20})
		})
		s.checkSplit(split{1: 80, 2: 20})
	}, SpecTimeout(scenarioTimeout))
})

func (s *scenario) awaitPhase(want rollout.Phase) {
	GinkgoHelper()
	Eventually(s.isvc).WithArguments(s.name).Should(HaveField("Status.Phase", BeEquivalentTo(want)))
}

func (s *scenario) withoutOperator(do func()) {
	GinkgoHelper()
	stopOperators(s.ctx)
	defer func() { startOperators(s.ctx, singleOperator()) }()
	do()
}

// deleteRevision deletes the workload and the ControllerRevision of a revision, so that it cannot
// be restored.
func (s *scenario) deleteRevision(n int) {
	GinkgoHelper()
	for _, object := range append(s.workload(n), &appsv1.ControllerRevision{ObjectMeta: s.meta(revision(n))}) {
		Expect(client.IgnoreNotFound(api.Delete(s.ctx, object))).To(Succeed())
	}
}
