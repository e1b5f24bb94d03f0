// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

// The tests in this file cover the rows of the table in docs/concepts.md, section "The split".

// startStable starts a scenario in which model 1 has all traffic.
func startStable(ctx SpecContext, options ...configOption) *scenario {
	GinkgoHelper()
	s := startScenario(ctx, options...)
	s.setUpStable()
	return s
}

func (s *scenario) setUpStable() {
	GinkgoHelper()
	s.apply(model(1))
	s.awaitColumns("True", "", "100", "", revision(1))
}

// withLongSettlePeriod makes the status wait for the gateway long enough even on a busy machine.
// Each change then causes one write of the status.
func withLongSettlePeriod(cfg *config.Config) { cfg.Rollout.SettlePeriod.Duration = 5 * time.Second }

// startCanary starts a scenario in which model 2 is a canary with 10 %.
func startCanary(ctx SpecContext, options ...configOption) *scenario {
	GinkgoHelper()
	s := startStable(ctx, options...)
	s.apply(model(2), percent(10))
	s.awaitColumns("True", "90", "10", revision(1), revision(2))
	return s
}

// startPromotion starts a scenario in which model 2 is promoted and the workload of model 1 is
// deleted.
func startPromotion(ctx SpecContext, options ...configOption) *scenario {
	GinkgoHelper()
	s := startCanary(ctx, options...)
	s.apply(model(2))
	s.awaitColumns("True", "", "100", "", revision(2))
	s.awaitRunning(2)
	return s
}

var _ = inBothModes("row 1: the first deployment is not ready", func(mode configOption) {
	for name, options := range map[string][]testkit.Edit{"no percent": {model(1)}, "a percent": {model(1), percent(10)}} {
		It("has no split, with "+name, func(ctx SpecContext) {
			s := startScenario(ctx, mode)
			s.setPods(1, fakecluster.NotReady())
			s.apply(options...)
			s.awaitColumns("Unknown", "", "", "", "")
			s.awaitSettled()
			s.awaitSplitHistory()
		})
	}
})

var _ = inBothModes("row 2: the first deployment is ready", func(mode configOption) {
	for name, options := range map[string][]testkit.Edit{"no percent": {model(1)}, "a percent": {model(1), percent(10)}, "0 %": {model(1), percent(0)}} {
		It("gives it all traffic, with "+name, func(ctx SpecContext) {
			s := startScenario(ctx, mode)
			s.apply(options...)
			s.awaitColumns("True", "", "100", "", revision(1))
			s.awaitSplit("1:100")
			s.awaitRolloutState("S=1")
		})
	}
})

var _ = inBothModes("row 3: the target is not ready", func(mode configOption) {
	for name, options := range map[string][]testkit.Edit{"no percent": {model(2)}, "a percent": {model(2), percent(10)}} {
		It("leaves all traffic with the stable, with "+name, func(ctx SpecContext) {
			s := startStable(ctx, mode)
			s.setPods(2, fakecluster.NotReady())
			s.apply(options...)
			s.awaitColumns("Unknown", "", "100", "", revision(1))
			s.awaitSplit("1:100")
			s.awaitRolloutState("S=1")
			s.awaitRunning(1, 2)
		})
	}
})

var _ = inBothModes("row 4: the target is ready and the percent is 10", func(mode configOption) {
	It("gives it 10", func(ctx SpecContext) {
		s := startStable(ctx, mode)
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
		s.awaitRolloutState("S=1")
		s.awaitRunning(1, 2)
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 5: the percent changes to 50", func(mode configOption) {
	It("gives the canary 50", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2), percent(50))
		s.awaitColumns("True", "50", "50", revision(1), revision(2))
		s.awaitSplit("2:50 1:50")
		s.awaitRolloutState("S=1")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:50 1:50")
	})
})

var _ = inBothModes("row 6: the percent is absent and the target is ready", func(mode configOption) {
	It("promotes a canary", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplit("2:100")
		s.awaitRolloutState("S=2 V=1")
		s.awaitRunning(2)
		Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})

	It("promotes a target that was never a canary", func(ctx SpecContext) {
		s := startStable(ctx, mode)
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplit("2:100")
		s.awaitRolloutState("S=2 V=1")
		s.awaitRunning(2)
		s.awaitSplitHistory("1:100", "2:100")
	})
})

var _ = inBothModes("row 6: the target differs from the stable only in its labels", func(mode configOption) {
	It("promotes it and keeps the previous revision", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		owned := label("owner", "team-b")
		s.apply(model(2), owned)
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRolloutState("S=3 V=1")
		s.apply(model(2), owned, percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(3))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "3:100", "3:0 1:100")
	})
})

var _ = inBothModes("row 7: the percent is 100 and the target is ready", func(mode configOption) {
	It("promotes it", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2), percent(100))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplit("2:100")
		s.awaitRolloutState("S=2 V=1")
		s.awaitRunning(2)
	})
})

var _ = inBothModes("row 8: the percent becomes 0 while 2 is a canary", func(mode configOption) {
	It("keeps the canary in the split with 0", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSplit("2:0 1:100")
		s.awaitRolloutState("S=1")
		s.awaitRunning(1, 2)
	})
})

var _ = inBothModes("row 9: the percent becomes 0 after the promotion of 2", func(mode configOption) {
	It("rolls back to 1", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSplit("2:0 1:100")
		s.awaitRolloutState("S=1")
		s.awaitRunning(1, 2)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100")
	})

	It("keeps 2 serving until 1, which was scaled to zero, is ready again", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.setPods(1, fakecluster.NotReady())
		s.apply(model(2), percent(0))
		s.awaitColumns("Unknown", "", "100", "", revision(2))
		s.awaitRunning(1, 2)
		s.awaitSplit("2:100")
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100")
	})
})

func (s *scenario) awaitPhase(phase v1beta1.Phase) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation))
		g.Expect(isvc.Status.Phase).To(Equal(phase))
	}).Should(Succeed())
}

var _ = inBothModes("row 9b: the percent becomes 0 after the promotion of 2, together with a new annotation", func(mode configOption) {
	withReason := annotation("example.com/rollback-reason", "error rate")

	It("brings 1 back first, and then gives 0 to the revision with the annotation", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.setPods(1, fakecluster.NotReady())
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(2), percent(0), withReason)
		s.awaitColumns("Unknown", "", "100", "", revision(2))
		s.awaitRunning(1, 2)
		Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)), "3 must not compete with 1 for a node")
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitSplit("1:100")
		s.awaitRunning(1, 3)
		s.setPods(3, fakecluster.Ready())
		s.awaitColumns("True", "100", "0", revision(1), revision(3))
		s.awaitSplit("3:0 1:100")
		s.awaitRolloutState("S=1")
		s.awaitPhase(v1beta1.PhaseRolledBack)
		s.awaitEvent("RolledBack")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "1:100", "3:0 1:100")

		By("removing the annotation again")
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitSplit("2:0 1:100")
		s.awaitPhase(v1beta1.PhaseRolledBack)
		s.awaitEvent("RolledBack")
	})

	It("makes the revision with the annotation a canary of 2 if the percent is 10", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(2), percent(10), withReason)
		s.awaitColumns("True", "90", "10", revision(2), revision(3))
		s.awaitSplit("3:10 2:90")
		s.awaitRolloutState("S=2 V=1")
		s.awaitPhase(v1beta1.PhaseCanary)
	})
})

var _ = inBothModes("a percent of 0 together with another model after the promotion of 2", func(mode configOption) {
	preview := func(ctx SpecContext, version, number int, undo string) *scenario {
		GinkgoHelper()
		s := startPromotion(ctx, mode)
		s.apply(model(version), percent(0))
		s.awaitColumns("True", "100", "0", revision(2), revision(number))
		s.awaitRolloutState("S=2 V=1")
		s.awaitPhase(v1beta1.PhasePreview)
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionTrue, "Ready",
			"100 % on "+revision(2)))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionTrue, "Ready",
			": a preview of "+revision(number)+", and no rollback; to undo the promotion of "+revision(2)+", "+undo))
		Expect(s.events()).NotTo(ContainElement(HavePrefix("RolledBack")))
		return s
	}

	It("is a preview of a new model, which is promoted by removing the percent", func(ctx SpecContext) {
		s := preview(ctx, 3, 3, "apply the spec of "+revision(1)+" without canaryTrafficPercent")
		s.apply(model(3))
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRolloutState("S=3 V=2")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "3:0 2:100", "3:100")
	})

	It("is a preview of the previous model, and removing the percent undoes the promotion", func(ctx SpecContext) {
		s := preview(ctx, 1, 1, "remove canaryTrafficPercent")
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitRolloutState("S=1 V=2")
		s.awaitPhase(v1beta1.PhaseStable)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:100 1:0", "1:100")
	})
})

var _ = inBothModes("row 10: the percent becomes 10 after the promotion of 2", func(mode configOption) {
	It("makes 2 a canary of 1 again", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
		s.awaitRolloutState("S=1")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:10 1:90")
	})
})

func (s *scenario) loseRevision(n int) {
	GinkgoHelper()
	s.deleteExternally(controllerRevisionOf(n))
	workload := deploymentOf(n)
	if s.isKnative() {
		workload = knativeRevision(n)
	}
	s.recorder.Excuse(s.child(workload))
	Expect(client.IgnoreNotFound(api.Delete(s.ctx, s.child(workload)))).To(Succeed())
	Eventually(s.podUIDs).WithArguments(n).Should(BeEmpty())
}

var _ = inBothModes("row 11: the percent falls below 100 after a promotion and no previous is left", func(mode configOption) {
	It("leaves all traffic with 2, and reports that there is nothing to roll back to", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.withoutOperator(func() { // Otherwise the operator could observe the percent before the loss.
			s.loseRevision(1)
		})
		s.apply(model(2), percent(10))
		s.awaitColumns("False", "", "100", "", revision(2))
		s.awaitSplit("2:100")
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "NothingToRollBackTo", "no earlier revision is left"))
		s.awaitEvent("NothingToRollBackTo")

		By("removing the percent")
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})
})

var _ = inBothModes("row 12: 2 is a canary and the spec changes to 3, which is not ready", func(mode configOption) {
	It("removes 2 from the split at once", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(30))
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitSplit("1:100")
		s.awaitRolloutState("S=1")
		s.awaitRunning(1, 3)
	})
})

var _ = inBothModes("row 13: then 3 is ready, at 30", func(mode configOption) {
	It("gives 3 its share of 30", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(30))
		s.awaitSplit("1:100")
		s.setPods(3, fakecluster.Ready())
		s.awaitColumns("True", "70", "30", revision(1), revision(3))
		s.awaitSplit("3:30 1:70")
		s.awaitRolloutState("S=1")
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:30 1:70")
	})
})

var _ = inBothModes("row 14: 2 was rolled back, then the spec changes to 3 at 20", func(mode configOption) {
	supersede := func(s *scenario) {
		GinkgoHelper()
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.setPods(3, fakecluster.NotReady())
		s.apply(model(3), percent(20))
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitSplit("1:100")
		s.setPods(3, fakecluster.Ready())
		s.awaitColumns("True", "80", "20", revision(1), revision(3))
		s.awaitSplit("3:20 1:80")
		s.awaitRolloutState("S=1")
	}

	It("never gives 2 a share again after row 8", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2), percent(0))
		supersede(s)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:0 1:100", "1:100", "3:20 1:80")
	})

	It("never gives 2 a share again after row 9", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(2), percent(0))
		supersede(s)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100", "1:100", "3:20 1:80")
	})
})

var _ = inBothModes("row 15: 2 is a canary and the spec returns to 1's inputs", func(mode configOption) {
	for name, options := range map[string][]testkit.Edit{"no percent": {model(1)}, "a percent": {model(1), percent(10)}} {
		It("gives all traffic to 1, creates no revision and retires 2, with "+name, func(ctx SpecContext) {
			s := startCanary(ctx, mode)
			before, err := s.podUIDs(1)
			Expect(err).NotTo(HaveOccurred())
			s.apply(options...)
			s.awaitColumns("True", "", "100", "", revision(1))
			s.awaitSplit("1:100")
			s.awaitRolloutState("S=1")
			s.awaitRunning(1)
			Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
			Expect(s.podUIDs(1)).To(Equal(before), "the pods of the serving model were replaced")
			s.awaitSplitHistory("1:100", "2:10 1:90", "1:100")
		})
	}
})

var _ = inBothModes("row 16: 3 is a canary of 2 and the spec returns to 2's inputs with the percent unchanged", func(mode configOption) {
	It("is an abort, not a rollback of 2", func(ctx SpecContext) {
		s := startPromotion(ctx, mode)
		s.apply(model(3), percent(10))
		s.awaitColumns("True", "90", "10", revision(2), revision(3))
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitSplit("2:100")
		s.awaitRolloutState("S=2 V=1")
		s.awaitRunning(2)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "3:10 2:90", "2:100")
	})
})

var _ = inBothModes("row 17: 2 never becomes ready", func(mode configOption) {
	for name, failure := range map[string]struct {
		behavior        fakecluster.PodBehavior
		reason, message string
	}{
		"the image cannot be pulled":        {fakecluster.ImagePullError("manifest unknown"), "ImagePullFailed", "cannot pull the image"},
		"the container crashes":             {fakecluster.Crash(1, "loading\nno such file: model.joblib\n"), "ContainerCrashed", "exit code 1"},
		"the model cannot be downloaded":    {fakecluster.InitCrash(1, "404 Not Found\n"), "ModelDownloadFailed", "storageUri"},
		"the progress deadline is exceeded": {fakecluster.DeadlineExceeded(), "ProgressDeadlineExceeded", "raise the deadline"},
		"it runs out of memory":             {fakecluster.OutOfMemory(), "OutOfMemory", "resources.limits.memory"},
	} {
		for percents, options := range map[string][]testkit.Edit{"no percent": {model(2)}, "a percent": {model(2), percent(10)}} {
			It("leaves all traffic with 1 when "+name+", with "+percents, func(ctx SpecContext) {
				s := startStable(ctx, mode)
				s.setPods(2, failure.behavior)
				s.apply(options...)
				s.awaitColumns("False", "", "100", "", revision(1))
				s.awaitSplit("1:100")
				s.awaitRolloutState("S=1")
				s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, failure.reason, failure.message))
				s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, BeCondition(metav1.ConditionFalse, failure.reason, revision(2)))
				s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionTrue, "Ready", "100 % on "+revision(1)))
				s.awaitSettled()
				s.awaitSplitHistory("1:100")
			})
		}
	}
})

var _ = inBothModes("rule 12: progress is not failure", func(mode configOption) {
	for what, wait := range map[string]struct {
		behavior fakecluster.PodBehavior
		message  string
	}{
		"a node":                    {fakecluster.Unschedulable("0/3 nodes are available: 3 Insufficient cpu."), "waiting for a node: Insufficient cpu"},
		"a quota":                   {fakecluster.CreateFails("exceeded quota: team"), "exceeded quota: team"},
		"a registry that times out": {fakecluster.ImagePullError("dial tcp 10.0.0.1:443: i/o timeout"), "pulling the image"},
		"its model to load":         {fakecluster.NotReady(), "within 10m0s"},
	} {
		awaitLoading := func(s *scenario) {
			GinkgoHelper()
			s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, BeCondition(metav1.ConditionUnknown, "Loading", wait.message))
			s.awaitModelStatus(SatisfyAll(HaveField("TransitionStatus", v1beta1.InProgress), HaveField("LastFailureInfo", BeNil())))
			s.awaitSettled()
			Expect(s.events()).NotTo(ContainElement(HavePrefix("RevisionFailed")))
		}

		It("reports progress while the first revision waits for "+what, func(ctx SpecContext) {
			s := startScenario(ctx, mode)
			s.setPods(1, wait.behavior)
			s.apply(model(1))
			awaitLoading(s)
			s.awaitColumns("Unknown", "", "", "", "")
			s.setPods(1, fakecluster.Ready())
			s.awaitColumns("True", "", "100", "", revision(1))
		})

		It("reports progress while a canary waits for "+what, func(ctx SpecContext) {
			s := startStable(ctx, mode)
			s.setPods(2, wait.behavior)
			s.apply(model(2), percent(10))
			awaitLoading(s)
			s.awaitColumns("Unknown", "", "100", "", revision(1))
			s.awaitSplit("1:100")
			s.setPods(2, fakecluster.Ready())
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		})
	}
})

var _ = inBothModes("row 18: the canary loses every ready pod", func(mode configOption) {
	It("gets 0 until it is ready again", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.setPods(2, fakecluster.NotReady())
		s.awaitColumns("Unknown", "100", "0", revision(1), revision(2))
		s.awaitSplit("2:0 1:100")
		s.awaitRolloutState("S=1")
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:0 1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 19: the canary is ready and the stable is not", func(mode configOption) {
	It("changes nothing: the canary never gets more than the percent", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.setPods(1, fakecluster.NotReady())
		s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
		s.awaitSplit("2:10 1:90")
		s.setPods(1, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 20: tag routing is on", func(mode configOption) {
	It("gives both entries a URL and the target the tag latest", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.apply(model(2), percent(10), annotation(v1beta1.AnnotationEnableTagRouting, "true"))
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
		s.awaitSplit("3:10 1:90")
		s.awaitRolloutState("S=1")
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		traffic := isvc.Status.Components[v1beta1.PredictorComponent].Traffic
		Expect(traffic).To(HaveExactElements(
			SatisfyAll(HaveField("RevisionName", revision(3)), HaveField("Tag", "latest"), HaveField("URL", "http://"+s.tagHost("latest"))),
			SatisfyAll(HaveField("RevisionName", revision(1)), HaveField("Tag", "prev"), HaveField("URL", "http://"+s.tagHost("prev"))),
		))
		s.awaitTags(map[string]string{"latest": "3:100", "prev": "1:100"})
	})
})

// waitingForStable matches RoutesReady while a share waits for a stable without ready replicas.
func waitingForStable(share int) gomegatypes.GomegaMatcher {
	return BeCondition(metav1.ConditionUnknown, "WaitingForReplicas", fmt.Sprintf("%s gets %d %% of the traffic once it has 1 ready replica; until then 10 %% on %s, 90 %% on %s",
		revision(1), share, revision(2), revision(1)))
}

var _ = inBothModes("row 21: the stable of a canary cannot serve", func(mode configOption) {
	for name, test := range map[string]struct {
		options []testkit.Edit
		share   int
		then    string
	}{
		"the percent becomes 0 (row 8)":           {[]testkit.Edit{model(2), percent(0)}, 100, "2:0 1:100"},
		"the spec changes to 3 (row 12)":          {[]testkit.Edit{model(3), percent(10)}, 100, "1:100"},
		"the spec returns to 1's inputs (row 15)": {[]testkit.Edit{model(1)}, 100, "1:100"},
		"the percent falls":                       {[]testkit.Edit{model(2), percent(5)}, 95, "2:5 1:95"},
	} {
		It("gains no share before it is ready when "+name, func(ctx SpecContext) {
			s := startCanary(ctx, mode)
			s.setPods(1, fakecluster.NotReady())
			s.awaitColumns("Unknown", "90", "10", revision(1), revision(2))
			s.setPods(3, fakecluster.NotReady())
			s.apply(test.options...)
			s.awaitCondition(v1beta1.ConditionRoutesReady, waitingForStable(test.share))
			s.awaitSettled()
			s.awaitSplit("2:10 1:90")
			s.setPods(1, fakecluster.Ready())
			s.awaitSplit(test.then)
			s.awaitSplitHistory("1:100", "2:10 1:90", test.then)
		})
	}

	It("gains no share when it is lost, and the condition has the commands to continue", func(ctx SpecContext) {
		s := startCanary(ctx, mode)
		s.withoutOperator(func() { s.loseRevision(1) })
		s.awaitColumns("False", "90", "10", revision(1), revision(2))
		s.apply(model(2), percent(0))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "RevisionLost",
			revision(1)+" cannot get 100 % of the traffic: its ControllerRevision and its workload were deleted; until then 10 % on "+revision(2)))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "RevisionLost",
			"To promote "+revision(2)+": kubectl patch isvc"))
		s.awaitSettled()
		s.awaitSplit("2:10 1:90")
		s.awaitPhase(v1beta1.PhaseBlocked)

		By("running the suggested command")
		s.runSuggestedCommand(v1beta1.ConditionRoutesReady)
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:100")
	})
})

var _ = Describe("row 22: no node has room for 2 next to 1, and the deploymentStrategy permits replacing 1", func() {
	recreate := withStrategy(appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType})
	noSurge := withStrategy(appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(0)), MaxUnavailable: new(intstr.FromInt32(1))},
	})
	noRoom := func(since time.Duration) fakecluster.PodBehavior {
		return fakecluster.UnschedulableFor(since, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
	}
	// replacing starts a scenario in which revision 1 is scaled down for revision 2, which has been
	// unschedulable for a minute.
	replacing := func(ctx SpecContext, option testkit.Edit) *scenario {
		GinkgoHelper()
		s := startScenario(ctx)
		s.apply(model(1), option)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setPods(2, noRoom(time.Minute))
		s.apply(model(2), option)
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionUnknown, "Replacing", revision(1)+" is down so that "+revision(2)+" can have its node"))
		s.awaitEvent("Replacing")
		Eventually(s.podUIDs).WithArguments(1).Should(BeEmpty())
		return s
	}

	for name, option := range map[string]testkit.Edit{"Recreate": recreate, "maxSurge 0": noSurge} {
		It("replaces 1 by 2 after a minute, with "+name, func(ctx SpecContext) {
			s := replacing(ctx, option)
			s.setPods(2, fakecluster.Ready())
			s.awaitColumns("True", "", "100", "", revision(2))
			s.awaitRolloutState("S=2 V=1")
			s.awaitRunning(2)
			s.awaitSplitHistory("1:100", "2:100")
		})
	}

	It("restores 1 when 2 fails, and does not retry 2 until the spec changes", func(ctx SpecContext) {
		s := replacing(ctx, recreate)
		s.setPods(2, fakecluster.Crash(1, "no such file: model.joblib\n"))
		s.awaitCondition(v1beta1.ConditionRoutesReady, BeCondition(metav1.ConditionFalse, "ReplacementFailed", revision(2)+" did not become ready in the place of "+revision(1)))
		s.awaitEvent("ReplacementFailed")
		s.awaitColumns("False", "", "100", "", revision(1))
		Eventually(s.podUIDs).WithArguments(1).Should(HaveLen(1))
		Eventually(s.podUIDs).WithArguments(2).Should(BeEmpty())
		s.awaitSettled()
		s.expectNoWrites()
		s.awaitReplicas(2, 0)
		s.awaitSplitHistory("1:100")

		s.setPods(3, fakecluster.Ready())
		s.apply(model(3), recreate)
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRolloutState("S=3 V=1")
		s.awaitSplitHistory("1:100", "3:100")
	})

	It("keeps 1 if 2 is scheduled within the minute", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), recreate)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setPods(2, noRoom(0))
		s.apply(model(2), recreate)
		s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, BeCondition(metav1.ConditionUnknown, "Loading", "waiting for a node"))
		s.awaitSettled()
		s.awaitReplicas(1, 1)
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "", "100", "", revision(2))
		Expect(s.events()).NotTo(ContainElement(HavePrefix("Replacing")))
	})
})

func withStrategy(strategy appsv1.DeploymentStrategy) testkit.Edit {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.DeploymentStrategy = strategy.DeepCopy() }
}
