// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

// byPolicy names the policy of the scenario.
var byPolicy = testkit.Annotation(v1beta1.AnnotationCanaryPolicy, "standard")

func (s *scenario) createPolicy(spec canaryv1alpha1.CanaryPolicySpec) {
	GinkgoHelper()
	Expect(api.Create(s.ctx, &canaryv1alpha1.CanaryPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "standard"}, Spec: spec,
	})).To(Succeed())
}

// steps returns steps without a hold.
func steps(percents ...int32) []canaryv1alpha1.Step {
	var all []canaryv1alpha1.Step
	for _, percent := range percents {
		all = append(all, canaryv1alpha1.Step{Percent: percent, Hold: "0s"})
	}
	return all
}

// startTrial begins a trial of revision 2 by a policy.
func startTrial(ctx SpecContext, mode configOption, spec canaryv1alpha1.CanaryPolicySpec) *scenario {
	GinkgoHelper()
	s := startScenario(ctx, mode)
	s.createPolicy(spec)
	s.apply(model(1), byPolicy)
	s.awaitColumns("True", "", "100", "", revision(1))
	s.apply(model(2), byPolicy)
	return s
}

func (s *scenario) awaitRollout(status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	s.awaitCondition(v1beta1.ConditionRolloutCompleted, And(HaveField("Status", status), HaveField("Reason", reason)))
}

var _ = inBothModes("a policy", func(mode configOption) {
	It("moves the share by its steps to the promotion", func(ctx SpecContext) {
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{Steps: steps(10, 50)})
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRollout(metav1.ConditionTrue, "Completed")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:50 1:50", "2:100")
		s.awaitRunning(2)
		s.awaitSettled()
		s.expectNoWrites()
	})

	It("holds a share without writes, also over a restart of the operator", func(ctx SpecContext) {
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{Steps: []canaryv1alpha1.Step{{Percent: 10, Hold: "1h"}}})
		s.awaitRollout(metav1.ConditionUnknown, "Holding")
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.awaitSettled()
		s.expectNoWrites()
		s.expectNoWritesDuring(1, s.restartOperator)
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})

	It("waits for approvals, and the command in the condition gives them", func(ctx SpecContext) {
		gated := steps(10, 50)
		gated[1].Approval = canaryv1alpha1.ApprovalRequired
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{
			Steps: gated, Promotion: &canaryv1alpha1.Promotion{Approval: canaryv1alpha1.ApprovalRequired},
		})
		s.awaitRollout(metav1.ConditionUnknown, "AwaitingApproval")
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.awaitPhase(v1beta1.PhaseAwaitingApproval)
		s.runSuggestedCommand(v1beta1.ConditionRolloutCompleted)
		s.awaitColumns("Unknown", "50", "50", revision(1), revision(2))
		s.awaitCondition(v1beta1.ConditionRolloutCompleted, HaveField("Message", ContainSubstring("2.1/100")))
		s.runSuggestedCommand(v1beta1.ConditionRolloutCompleted)
		s.awaitColumns("True", "", "100", "", revision(2))
	})

	It("rejects an aborted canary until a person asks for another trial", func(ctx SpecContext) {
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{Steps: []canaryv1alpha1.Step{{Percent: 10, Hold: "1h"}}})
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.apply(model(2), byPolicy, testkit.Annotation(v1beta1.AnnotationAbort, "2.1"))
		s.awaitColumns("False", "100", "0", revision(1), revision(2))
		s.awaitRollout(metav1.ConditionFalse, "Rejected")
		s.awaitPhase(v1beta1.PhaseRejected)
		s.awaitEvent("CanaryRejected")
		s.awaitSettled()
		s.expectNoWritesDuring(1, s.restartOperator)

		s.wipeStatus()
		s.awaitColumns("False", "100", "0", revision(1), revision(2))
		s.loseRouter()
		s.awaitColumns("False", "100", "0", revision(1), revision(2))
		s.apply(model(2)) // The policy no longer applies.
		s.awaitRollout(metav1.ConditionFalse, "Rejected")

		s.apply(model(2), byPolicy)
		s.runSuggestedCommand(v1beta1.ConditionRolloutCompleted)
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
	})

	It("holds the share when it is deleted during a rollout", func(ctx SpecContext) {
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{Steps: []canaryv1alpha1.Step{{Percent: 10, Hold: "1h"}}})
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		Expect(api.Delete(ctx, &canaryv1alpha1.CanaryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "standard"}})).To(Succeed())
		s.awaitRollout(metav1.ConditionFalse, "PolicyNotFound")
		s.apply(model(2))
		s.awaitRollout(metav1.ConditionFalse, "PolicyGone")
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.apply(model(2), percent(30))
		s.awaitColumns("True", "70", "30", revision(1), revision(2))
	})

	It("undoes the promotion in the bake", func(ctx SpecContext) {
		s := startTrial(ctx, mode, canaryv1alpha1.CanaryPolicySpec{Steps: steps(50), Bake: "1h"})
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRollout(metav1.ConditionUnknown, "Baking")
		s.awaitPhase(v1beta1.PhaseBaking)
		Consistently(s.areBothRunning).WithTimeout(time.Second).Should(BeTrue(), "the drain period is a tenth of that")
		s.apply(model(2), byPolicy, testkit.Annotation(v1beta1.AnnotationAbort, "2.1"))
		s.awaitColumns("False", "100", "0", revision(1), revision(2))
		s.awaitRollout(metav1.ConditionFalse, "Rejected")
	})
})

// loseRouter deletes the object that splits the traffic, with the rollout state.
func (s *scenario) loseRouter() {
	GinkgoHelper()
	router, err := s.router()
	Expect(err).NotTo(HaveOccurred())
	s.recorder.Excuse(router)
	Expect(api.Delete(s.ctx, router)).To(Succeed())
}

func (s *scenario) areBothRunning() (bool, error) {
	for n := 1; n <= 2; n++ {
		if running, err := s.isRunning(n); !running || err != nil {
			return false, err
		}
	}
	return true, nil
}
