// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

var _ = Describe("events", func() {
	It("are emitted once for each transition", func(ctx SpecContext) {
		s := startStable(ctx, withLongSettlePeriod)
		want := []string{
			"RevisionCreated: Created revision " + revision(1),
			"TrafficShifted: First traffic: 100 % on " + revision(1),
			"Ready: 100 % on " + revision(1),
		}
		s.awaitEvents(want...)

		By("failing")
		s.setPods(2, fakecluster.Crash(3, "no such file"))
		s.apply(model(2), percent(10))
		want = append(want,
			"RevisionCreated: Created revision "+revision(2),
			"RevisionFailed: "+revision(2)+`: container "kserve-container" ends with exit code 3: no such file`)
		s.awaitEvents(want...)

		By("recovering")
		s.setPods(2, fakecluster.Ready())
		want = append(want,
			"TrafficShifted: Shifted traffic from 100 % on "+revision(1)+" to 10 % on "+revision(2)+", 90 % on "+revision(1),
			"RevisionRecovered: "+revision(2)+" does not fail any more",
			"Ready: 10 % on "+revision(2)+", 90 % on "+revision(1))
		s.awaitEvents(want...)

		By("promoting")
		s.apply(model(2))
		want = append(want,
			"Promoted: Promoted "+revision(2)+" over "+revision(1),
			"TrafficShifted: Shifted traffic from 10 % on "+revision(2)+", 90 % on "+revision(1)+" to 100 % on "+revision(2))
		s.awaitEvents(want...)
		s.awaitRunning(2)

		By("rolling back")
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitEvent("RolledBack")

		By("superseding")
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(20))
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitEvent("Superseded")

		By("restarting the operator")
		before, err := s.events()
		Expect(err).NotTo(HaveOccurred())
		s.restartOperator()
		s.awaitSettled()
		Expect(s.events()).To(Equal(before))
	})
})

var _ = Describe("a failing stable", func() {
	It("is reported once while the canary serves, and so is its recovery", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.setPods(1, fakecluster.Crash(3, "out of files"))
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.awaitEvent("RevisionFailed")
		Expect(s.events()).To(ContainElement("RevisionFailed: " + revision(1) +
			`, which has 90 % of the traffic, has no ready replica: container "kserve-container" ends with exit code 3: out of files`))
		s.awaitModelStatus(SatisfyAll(
			HaveField("TransitionStatus", v1beta1.UpToDate),
			HaveField("ModelRevisionStates", HaveValue(Equal(v1beta1.ModelRevisionStates{
				ActiveModelState: v1beta1.FailedToLoad, TargetModelState: v1beta1.Loaded,
			}))),
			HaveField("LastFailureInfo", HaveValue(SatisfyAll(
				HaveField("ModelRevisionName", revision(1)), HaveField("Message", ContainSubstring("out of files")))))))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.Phase).To(Equal(v1beta1.PhaseBlocked))

		s.setPods(1, fakecluster.NotReady())
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitEvent("RevisionRecovered")
		s.awaitEvent("RevisionFailed")
		s.awaitModelStatus(HaveField("LastFailureInfo", BeNil()))
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})
})

// awaitEvents waits until these are all events of the InferenceService.
func (s *scenario) awaitEvents(want ...string) {
	GinkgoHelper()
	Eventually(s.events).Should(ConsistOf(want))
}

var _ = Describe("modelStatus", func() {
	It("reports that the model is loaded", func(ctx SpecContext) {
		s := startStable(ctx)
		s.awaitModelStatus(SatisfyAll(
			HaveField("TransitionStatus", v1beta1.UpToDate),
			HaveField("ModelRevisionStates", HaveValue(Equal(v1beta1.ModelRevisionStates{
				ActiveModelState: v1beta1.Loaded, TargetModelState: v1beta1.Loaded,
			}))),
			HaveField("ModelCopies", HaveValue(Equal(v1beta1.ModelCopies{TotalCopies: 1}))),
			HaveField("LastFailureInfo", BeNil())))
	})

	It("reports that the model is loading", func(ctx SpecContext) {
		s := startStable(ctx)
		s.setPods(2, fakecluster.NotReady())
		s.apply(model(2), percent(10))
		s.awaitModelStatus(SatisfyAll(
			HaveField("TransitionStatus", v1beta1.InProgress),
			HaveField("ModelRevisionStates", HaveValue(Equal(v1beta1.ModelRevisionStates{
				ActiveModelState: v1beta1.Loaded, TargetModelState: v1beta1.Loading,
			}))),
			HaveField("LastFailureInfo", BeNil())))
	})

	for name, failure := range map[string]struct {
		behavior fakecluster.PodBehavior
		reason   v1beta1.FailureReason
		message  string
		exitCode int32
		located  bool
	}{
		"whose image cannot be pulled":       {fakecluster.ImagePullError("manifest unknown"), v1beta1.ModelLoadFailed, "manifest unknown", 0, true},
		"that crashes":                       {fakecluster.Crash(2, "loading\nno such file: model.joblib\n"), v1beta1.ModelLoadFailed, "exit code 2: no such file: model.joblib", 2, true},
		"that cannot be downloaded":          {fakecluster.InitCrash(1, "Traceback\n404 Not Found\n"), v1beta1.ModelLoadFailed, "404 Not Found", 1, true},
		"that runs out of memory":            {fakecluster.OutOfMemory(), v1beta1.ModelLoadFailed, "raise resources.limits.memory", 137, true},
		"that exceeds the progress deadline": {fakecluster.DeadlineExceeded(), v1beta1.RuntimeUnhealthy, "no pod became ready within 10m0s", 0, false},
	} {
		It("reports the failure of a model "+name+" and clears it", func(ctx SpecContext) {
			s := startStable(ctx)
			s.setPods(2, failure.behavior)
			s.apply(model(2), percent(10))
			s.awaitModelStatus(SatisfyAll(
				HaveField("TransitionStatus", v1beta1.BlockedByFailedLoad),
				HaveField("ModelRevisionStates", HaveValue(Equal(v1beta1.ModelRevisionStates{
					ActiveModelState: v1beta1.Loaded, TargetModelState: v1beta1.FailedToLoad,
				}))),
				HaveField("LastFailureInfo", HaveValue(SatisfyAll(
					HaveField("Reason", failure.reason),
					HaveField("Message", ContainSubstring(failure.message)),
					HaveField("ModelRevisionName", revision(2)),
					HaveField("ExitCode", failure.exitCode),
					WithTransform(func(info v1beta1.FailureInfo) bool { return info.Location != "" }, Equal(failure.located)),
				)))))
			s.setPods(2, fakecluster.Ready())
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitModelStatus(SatisfyAll(HaveField("TransitionStatus", v1beta1.UpToDate), HaveField("LastFailureInfo", BeNil())))
		})
	}
})

// awaitModelStatus waits until modelStatus matches.
func (s *scenario) awaitModelStatus(matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func() (v1beta1.ModelStatus, error) {
		isvc, err := s.isvc()
		if isvc.Status.ModelStatus == nil {
			return v1beta1.ModelStatus{}, err
		}
		return *isvc.Status.ModelStatus, err
	}).Should(matcher)
}
