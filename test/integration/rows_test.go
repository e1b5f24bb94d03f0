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
	"github.com/serinus-io/serinus/test/peers"
)

// The rows of the table «What the split is» in the contract, by their numbers.

// stable has model 1 serve everything.
func stable(ctx SpecContext, options ...option) *story {
	GinkgoHelper()
	s := begin(ctx, options...)
	s.serve()
	return s
}

func (s *story) serve() {
	GinkgoHelper()
	s.apply(model(1))
	s.prints("True", "", "100", "", revision(1))
}

// patiently has a status wait for the gateway for longer than that ever takes on a busy machine, so that each change is
// one write.
func patiently(cfg *config.Config) { cfg.Rollout.SettlePeriod.Duration = 5 * time.Second }

// canary has model 2 get 10 % beside model 1.
func canary(ctx SpecContext, options ...option) *story {
	GinkgoHelper()
	s := stable(ctx, options...)
	s.apply(model(2), percent(10))
	s.prints("True", "90", "10", revision(1), revision(2))
	return s
}

// promoted has model 2 take over from model 1, whose workload is gone since.
func promoted(ctx SpecContext, options ...option) *story {
	GinkgoHelper()
	s := canary(ctx, options...)
	s.apply(model(2))
	s.prints("True", "", "100", "", revision(2))
	s.runs(2)
	return s
}

var _ = inBothModes("row 1: the first deployment is not ready", func(mode option) {
	for name, says := range map[string][]manifest{"no percent": {model(1)}, "a percent": {model(1), percent(10)}} {
		It("splits nothing, with "+name, func(ctx SpecContext) {
			s := begin(ctx, mode)
			s.becomes(1, peers.NotReady())
			s.apply(says...)
			s.prints("Unknown", "", "", "", "")
			s.settles()
			s.history()
		})
	}
})

var _ = inBothModes("row 2: the first deployment is ready", func(mode option) {
	for name, says := range map[string][]manifest{"no percent": {model(1)}, "a percent": {model(1), percent(10)}, "0 %": {model(1), percent(0)}} {
		It("gives it everything, with "+name, func(ctx SpecContext) {
			s := begin(ctx, mode)
			s.apply(says...)
			s.prints("True", "", "100", "", revision(1))
			s.splits("1:100")
			s.remembers("S=1")
		})
	}
})

var _ = inBothModes("row 3: the target is not ready", func(mode option) {
	for name, says := range map[string][]manifest{"no percent": {model(2)}, "a percent": {model(2), percent(10)}} {
		It("leaves everything with the stable, with "+name, func(ctx SpecContext) {
			s := stable(ctx, mode)
			s.becomes(2, peers.NotReady())
			s.apply(says...)
			s.prints("Unknown", "", "100", "", revision(1))
			s.splits("1:100")
			s.remembers("S=1")
			s.runs(1, 2)
		})
	}
})

var _ = inBothModes("row 4: the target is ready and the percent is 10", func(mode option) {
	It("gives it 10", func(ctx SpecContext) {
		s := stable(ctx, mode)
		s.apply(model(2), percent(10))
		s.prints("True", "90", "10", revision(1), revision(2))
		s.splits("2:10 1:90")
		s.remembers("S=1")
		s.runs(1, 2)
		s.history("1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 5: the percent changes to 50", func(mode option) {
	It("gives the canary 50", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2), percent(50))
		s.prints("True", "50", "50", revision(1), revision(2))
		s.splits("2:50 1:50")
		s.remembers("S=1")
		s.history("1:100", "2:10 1:90", "2:50 1:50")
	})
})

var _ = inBothModes("row 6: the percent is absent and the target is ready", func(mode option) {
	It("promotes a canary", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		s.splits("2:100")
		s.remembers("S=2 V=1")
		s.runs(2)
		Expect(s.records()).To(ConsistOf(revision(1), revision(2)))
		s.history("1:100", "2:10 1:90", "2:100")
	})

	It("promotes a target that was never a canary", func(ctx SpecContext) {
		s := stable(ctx, mode)
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		s.splits("2:100")
		s.remembers("S=2 V=1")
		s.runs(2)
		s.history("1:100", "2:100")
	})
})

var _ = inBothModes("row 6: the target differs from the stable in its labels only", func(mode option) {
	It("promotes it, and keeps what can be gone back to", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		owned := label("owner", "team-b")
		s.apply(model(2), owned)
		s.prints("True", "", "100", "", revision(3))
		s.remembers("S=3 V=1")
		s.apply(model(2), owned, percent(0))
		s.prints("True", "100", "0", revision(1), revision(3))
		s.history("1:100", "2:10 1:90", "2:100", "3:100", "3:0 1:100")
	})
})

var _ = inBothModes("row 7: the percent is 100 and the target is ready", func(mode option) {
	It("promotes it", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2), percent(100))
		s.prints("True", "", "100", "", revision(2))
		s.splits("2:100")
		s.remembers("S=2 V=1")
		s.runs(2)
	})
})

var _ = inBothModes("row 8: the percent becomes 0 while 2 is a canary", func(mode option) {
	It("leaves the canary in the split, with nothing", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2), percent(0))
		s.prints("True", "100", "0", revision(1), revision(2))
		s.splits("2:0 1:100")
		s.remembers("S=1")
		s.runs(1, 2)
	})
})

var _ = inBothModes("row 9: the percent becomes 0 after the promotion of 2", func(mode option) {
	It("goes back to 1", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(2), percent(0))
		s.prints("True", "100", "0", revision(1), revision(2))
		s.splits("2:0 1:100")
		s.remembers("S=1")
		s.runs(1, 2)
		s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100")
	})

	It("keeps 2 serving until 1, which was scaled away, is ready again", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.becomes(1, peers.NotReady())
		s.apply(model(2), percent(0))
		s.prints("Unknown", "", "100", "", revision(2))
		s.runs(1, 2)
		s.splits("2:100")
		s.becomes(1, peers.Ready())
		s.prints("True", "100", "0", revision(1), revision(2))
		s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100")
	})
})

// inPhase waits until the column PHASE says so.
func (s *story) inPhase(phase v1beta1.Phase) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		isvc, err := s.isvc()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(isvc.Status.ObservedGeneration).To(Equal(isvc.Generation))
		g.Expect(isvc.Status.Phase).To(Equal(phase))
	}).Should(Succeed())
}

var _ = inBothModes("row 9b: the percent becomes 0 after the promotion of 2, together with another annotation", func(mode option) {
	note := annotation("example.com/rollback-reason", "error rate")

	It("brings 1 back first, and then offers the revision of the annotation nothing", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.becomes(1, peers.NotReady())
		s.becomes(3, peers.NotReady())
		s.apply(model(2), percent(0), note)
		s.prints("Unknown", "", "100", "", revision(2))
		s.runs(1, 2)
		Expect(s.records()).To(ConsistOf(revision(1), revision(2)), "3 must not compete with 1 for a node")
		s.becomes(1, peers.Ready())
		s.prints("Unknown", "", "100", "", revision(1))
		s.splits("1:100")
		s.runs(1, 3)
		s.becomes(3, peers.Ready())
		s.prints("True", "100", "0", revision(1), revision(3))
		s.splits("3:0 1:100")
		s.remembers("S=1")
		s.inPhase(v1beta1.PhaseRolledBack)
		s.announces("RolledBack")
		s.history("1:100", "2:10 1:90", "2:100", "1:100", "3:0 1:100")

		By("removing the annotation again")
		s.apply(model(2), percent(0))
		s.prints("True", "100", "0", revision(1), revision(2))
		s.splits("2:0 1:100")
		s.inPhase(v1beta1.PhaseRolledBack)
		s.announces("RolledBack")
	})

	It("makes a canary of the annotation on 2 where the percent is 10", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(2), percent(10), note)
		s.prints("True", "90", "10", revision(2), revision(3))
		s.splits("3:10 2:90")
		s.remembers("S=2 V=1")
		s.inPhase(v1beta1.PhaseCanary)
	})
})

var _ = inBothModes("a percent of 0 that comes with another model after the promotion of 2", func(mode option) {
	preview := func(ctx SpecContext, version, number int, undo string) *story {
		GinkgoHelper()
		s := promoted(ctx, mode)
		s.apply(model(version), percent(0))
		s.prints("True", "100", "0", revision(2), revision(number))
		s.remembers("S=2 V=1")
		s.inPhase(v1beta1.PhasePreview)
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionTrue, "Ready",
			"100 % on "+revision(2)))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionTrue, "Ready",
			": a preview of "+revision(number)+", and no rollback; to undo the promotion of "+revision(2)+", "+undo))
		Expect(s.announced()).NotTo(ContainElement(HavePrefix("RolledBack")))
		return s
	}

	It("is a preview of a new one, which the percent promotes later", func(ctx SpecContext) {
		s := preview(ctx, 3, 3, "apply the spec of "+revision(1)+" without canaryTrafficPercent")
		s.apply(model(3))
		s.prints("True", "", "100", "", revision(3))
		s.remembers("S=3 V=2")
		s.history("1:100", "2:10 1:90", "2:100", "3:0 2:100", "3:100")
	})

	It("is a preview of the previous one, and the same spec without the percent undoes the promotion", func(ctx SpecContext) {
		s := preview(ctx, 1, 1, "remove canaryTrafficPercent")
		s.apply(model(1))
		s.prints("True", "", "100", "", revision(1))
		s.remembers("S=1 V=2")
		s.inPhase(v1beta1.PhaseStable)
		s.history("1:100", "2:10 1:90", "2:100", "2:100 1:0", "1:100")
	})
})

var _ = inBothModes("row 10: the percent becomes 10 after the promotion of 2", func(mode option) {
	It("makes 2 a canary of 1 again", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(2), percent(10))
		s.prints("True", "90", "10", revision(1), revision(2))
		s.splits("2:10 1:90")
		s.remembers("S=1")
		s.history("1:100", "2:10 1:90", "2:100", "2:10 1:90")
	})
})

// loses deletes the record and the workload of a revision for good.
func (s *story) loses(n int) {
	GinkgoHelper()
	s.destroy(recordOf(n))
	workload := deploymentOf(n)
	if s.isKnative() {
		workload = knativeRevision(n)
	}
	s.journal.Excuse(s.child(workload))
	Expect(client.IgnoreNotFound(api.Delete(s.ctx, s.child(workload)))).To(Succeed())
	Eventually(s.pods).WithArguments(n).Should(BeEmpty())
}

var _ = inBothModes("row 11: the percent falls below 100 after a promotion and no previous is left", func(mode option) {
	It("leaves everything with 2, and says that there is nothing to go back to", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.asleep(func() { // Else the operator could hear of the percent before it hears of the loss.
			s.loses(1)
		})
		s.apply(model(2), percent(10))
		s.prints("False", "", "100", "", revision(2))
		s.splits("2:100")
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "NothingToRollBackTo", "no earlier revision is left"))
		s.announces("NothingToRollBackTo")

		By("taking the request back")
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		s.history("1:100", "2:10 1:90", "2:100")
	})
})

var _ = inBothModes("row 12: 2 is a canary and the spec changes to 3, which is not ready", func(mode option) {
	It("takes 2 out of the traffic at once", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.becomes(3, peers.NotReady())
		s.apply(model(3), percent(30))
		s.prints("Unknown", "", "100", "", revision(1))
		s.splits("1:100")
		s.remembers("S=1")
		s.runs(1, 3)
	})
})

var _ = inBothModes("row 13: then 3 is ready, at 30", func(mode option) {
	It("gives 3 its 30", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.becomes(3, peers.NotReady())
		s.apply(model(3), percent(30))
		s.splits("1:100")
		s.becomes(3, peers.Ready())
		s.prints("True", "70", "30", revision(1), revision(3))
		s.splits("3:30 1:70")
		s.remembers("S=1")
		s.history("1:100", "2:10 1:90", "1:100", "3:30 1:70")
	})
})

var _ = inBothModes("row 14: 2 was rolled back, then the spec changes to 3 at 20", func(mode option) {
	supersede := func(s *story) {
		GinkgoHelper()
		s.prints("True", "100", "0", revision(1), revision(2))
		s.becomes(3, peers.NotReady())
		s.apply(model(3), percent(20))
		s.prints("Unknown", "", "100", "", revision(1))
		s.splits("1:100")
		s.becomes(3, peers.Ready())
		s.prints("True", "80", "20", revision(1), revision(3))
		s.splits("3:20 1:80")
		s.remembers("S=1")
	}

	It("never gives 2 anything again after row 8", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2), percent(0))
		supersede(s)
		s.history("1:100", "2:10 1:90", "2:0 1:100", "1:100", "3:20 1:80")
	})

	It("never gives 2 anything again after row 9", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(2), percent(0))
		supersede(s)
		s.history("1:100", "2:10 1:90", "2:100", "2:0 1:100", "1:100", "3:20 1:80")
	})
})

var _ = inBothModes("row 15: 2 is a canary and the spec returns to 1's inputs", func(mode option) {
	for name, says := range map[string][]manifest{"no percent": {model(1)}, "a percent": {model(1), percent(10)}} {
		It("gives everything to 1, makes no revision and retires 2, with "+name, func(ctx SpecContext) {
			s := canary(ctx, mode)
			before, err := s.pods(1)
			Expect(err).NotTo(HaveOccurred())
			s.apply(says...)
			s.prints("True", "", "100", "", revision(1))
			s.splits("1:100")
			s.remembers("S=1")
			s.runs(1)
			Expect(s.records()).To(ConsistOf(revision(1), revision(2)))
			Expect(s.pods(1)).To(Equal(before), "the model that serves was loaded again")
			s.history("1:100", "2:10 1:90", "1:100")
		})
	}
})

var _ = inBothModes("row 16: 3 is a canary of 2 and the spec returns to 2's inputs with the percent as it was", func(mode option) {
	It("is an abort, not a rollback of 2", func(ctx SpecContext) {
		s := promoted(ctx, mode)
		s.apply(model(3), percent(10))
		s.prints("True", "90", "10", revision(2), revision(3))
		s.apply(model(2), percent(10))
		s.prints("True", "", "100", "", revision(2))
		s.splits("2:100")
		s.remembers("S=2 V=1")
		s.runs(2)
		s.history("1:100", "2:10 1:90", "2:100", "3:10 2:90", "2:100")
	})
})

var _ = inBothModes("row 17: 2 never becomes ready", func(mode option) {
	for name, failure := range map[string]struct {
		script          peers.PodBehavior
		reason, message string
	}{
		"the image cannot be pulled":     {peers.ImagePullError("manifest unknown"), "ImagePullFailed", "cannot pull the image"},
		"the container crashes":          {peers.Crash(1, "loading\nno such file: model.joblib\n"), "ContainerCrashed", "exit code 1"},
		"the model cannot be downloaded": {peers.InitCrash(1, "404 Not Found\n"), "ModelDownloadFailed", "storageUri"},
		"it does not make the deadline":  {peers.DeadlineExceeded(), "ProgressDeadlineExceeded", "raise the deadline"},
		"it needs more memory":           {peers.OutOfMemory(), "OutOfMemory", "resources.limits.memory"},
	} {
		for percents, says := range map[string][]manifest{"no percent": {model(2)}, "a percent": {model(2), percent(10)}} {
			It("leaves everything with 1 when "+name+", with "+percents, func(ctx SpecContext) {
				s := stable(ctx, mode)
				s.becomes(2, failure.script)
				s.apply(says...)
				s.prints("False", "", "100", "", revision(1))
				s.splits("1:100")
				s.remembers("S=1")
				s.condition(v1beta1.ConditionReady, Be(metav1.ConditionFalse, failure.reason, failure.message))
				s.condition(v1beta1.ConditionLatestDeploymentReady, Be(metav1.ConditionFalse, failure.reason, revision(2)))
				s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionTrue, "Ready", "100 % on "+revision(1)))
				s.settles()
				s.history("1:100")
			})
		}
	}
})

var _ = inBothModes("rule 12: a model has to wait", func(mode option) {
	for what, wait := range map[string]struct {
		script peers.PodBehavior
		says   string
	}{
		"a node":                          {peers.Unschedulable("0/3 nodes are available: 3 Insufficient cpu."), "waiting for a node: Insufficient cpu"},
		"a quota":                         {peers.CreateFails("exceeded quota: team"), "exceeded quota: team"},
		"a registry that does not answer": {peers.ImagePullError("dial tcp 10.0.0.1:443: i/o timeout"), "pulling the image"},
		"its model to load":               {peers.NotReady(), "within 10m0s"},
	} {
		waits := func(s *story) {
			GinkgoHelper()
			s.condition(v1beta1.ConditionLatestDeploymentReady, Be(metav1.ConditionUnknown, "Loading", wait.says))
			s.modelled(SatisfyAll(HaveField("TransitionStatus", v1beta1.InProgress), HaveField("LastFailureInfo", BeNil())))
			s.settles()
			Expect(s.announced()).NotTo(ContainElement(HavePrefix("RevisionFailed")))
		}

		It("is progress and no failure while the first one waits for "+what, func(ctx SpecContext) {
			s := begin(ctx, mode)
			s.becomes(1, wait.script)
			s.apply(model(1))
			waits(s)
			s.prints("Unknown", "", "", "", "")
			s.becomes(1, peers.Ready())
			s.prints("True", "", "100", "", revision(1))
		})

		It("is progress and no failure while a canary waits for "+what, func(ctx SpecContext) {
			s := stable(ctx, mode)
			s.becomes(2, wait.script)
			s.apply(model(2), percent(10))
			waits(s)
			s.prints("Unknown", "", "100", "", revision(1))
			s.splits("1:100")
			s.becomes(2, peers.Ready())
			s.prints("True", "90", "10", revision(1), revision(2))
			s.history("1:100", "2:10 1:90")
		})
	}
})

var _ = inBothModes("row 18: the canary loses every ready pod", func(mode option) {
	It("gets nothing until it is ready again", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.becomes(2, peers.NotReady())
		s.prints("Unknown", "100", "0", revision(1), revision(2))
		s.splits("2:0 1:100")
		s.remembers("S=1")
		s.becomes(2, peers.Ready())
		s.prints("True", "90", "10", revision(1), revision(2))
		s.splits("2:10 1:90")
		s.history("1:100", "2:10 1:90", "2:0 1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 19: the canary is ready and the stable is not", func(mode option) {
	It("changes nothing: the canary never gets more than was asked", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.becomes(1, peers.NotReady())
		s.prints("Unknown", "90", "10", revision(1), revision(2))
		s.splits("2:10 1:90")
		s.becomes(1, peers.Ready())
		s.prints("True", "90", "10", revision(1), revision(2))
		s.history("1:100", "2:10 1:90")
	})
})

var _ = inBothModes("row 20: tag routing is on", func(mode option) {
	It("gives both entries a URL of their own, and the target the tag latest", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.apply(model(2), percent(10), annotation(v1beta1.AnnotationEnableTagRouting, "true"))
		s.prints("True", "90", "10", revision(1), revision(3))
		s.splits("3:10 1:90")
		s.remembers("S=1")
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		traffic := isvc.Status.Components[v1beta1.PredictorComponent].Traffic
		Expect(traffic).To(HaveExactElements(
			SatisfyAll(HaveField("RevisionName", revision(3)), HaveField("Tag", "latest"), HaveField("URL.String()", "http://"+s.tagHost("latest"))),
			SatisfyAll(HaveField("RevisionName", revision(1)), HaveField("Tag", "prev"), HaveField("URL.String()", "http://"+s.tagHost("prev"))),
		))
		s.tagged(map[string]string{"latest": "3:100", "prev": "1:100"})
	})
})

// until is a share that waits for a stable without replicas, in the words of RoutesReady.
func until(share int) gomegatypes.GomegaMatcher {
	return Be(metav1.ConditionUnknown, "WaitingForReplicas", fmt.Sprintf("%s gets %d %% of the traffic once it has 1 ready replica; until then 10 %% on %s, 90 %% on %s",
		revision(1), share, revision(2), revision(1)))
}

var _ = inBothModes("row 21: the stable of a canary cannot serve", func(mode option) {
	for name, test := range map[string]struct {
		asks  []manifest
		share int
		then  string
	}{
		"the percent becomes 0 (row 8)":           {[]manifest{model(2), percent(0)}, 100, "2:0 1:100"},
		"the spec changes to 3 (row 12)":          {[]manifest{model(3), percent(10)}, 100, "1:100"},
		"the spec returns to 1's inputs (row 15)": {[]manifest{model(1)}, 100, "1:100"},
		"the percent falls":                       {[]manifest{model(2), percent(5)}, 95, "2:5 1:95"},
	} {
		It("gains nothing before it can when "+name, func(ctx SpecContext) {
			s := canary(ctx, mode)
			s.becomes(1, peers.NotReady())
			s.prints("Unknown", "90", "10", revision(1), revision(2))
			s.becomes(3, peers.NotReady())
			s.apply(test.asks...)
			s.condition(v1beta1.ConditionRoutesReady, until(test.share))
			s.settles()
			s.splits("2:10 1:90")
			s.becomes(1, peers.Ready())
			s.splits(test.then)
			s.history("1:100", "2:10 1:90", test.then)
		})
	}

	It("gains nothing when it is lost, and the condition says how to go on", func(ctx SpecContext) {
		s := canary(ctx, mode)
		s.asleep(func() { s.loses(1) })
		s.prints("False", "90", "10", revision(1), revision(2))
		s.apply(model(2), percent(0))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "RevisionLost",
			revision(1)+" cannot get 100 % of the traffic: its ControllerRevision and its workload were deleted; until then 10 % on "+revision(2)))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "RevisionLost",
			"To promote "+revision(2)+": kubectl patch isvc"))
		s.settles()
		s.splits("2:10 1:90")
		s.inPhase(v1beta1.PhaseBlocked)

		By("doing as it says")
		s.obeys(v1beta1.ConditionRoutesReady)
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
		s.history("1:100", "2:10 1:90", "2:100")
	})
})

var _ = Describe("row 22: no node has room for 2 beside 1, and the deploymentStrategy lets 1 go first", func() {
	recreate := strategy(appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType})
	noSurge := strategy(appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(0)), MaxUnavailable: new(intstr.FromInt32(1))},
	})
	noRoom := func(since time.Duration) peers.PodBehavior {
		return peers.UnschedulableFor(since, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
	}
	// replacing takes 1 down for 2, which has found no node for a minute.
	replacing := func(ctx SpecContext, how manifest) *story {
		GinkgoHelper()
		s := begin(ctx)
		s.apply(model(1), how)
		s.prints("True", "", "100", "", revision(1))
		s.becomes(2, noRoom(time.Minute))
		s.apply(model(2), how)
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionUnknown, "Replacing", revision(1)+" is down so that "+revision(2)+" can have its node"))
		s.announces("Replacing")
		Eventually(s.pods).WithArguments(1).Should(BeEmpty())
		return s
	}

	for name, how := range map[string]manifest{"Recreate": recreate, "maxSurge 0": noSurge} {
		It("has 2 take the place of 1 after a minute, with "+name, func(ctx SpecContext) {
			s := replacing(ctx, how)
			s.becomes(2, peers.Ready())
			s.prints("True", "", "100", "", revision(2))
			s.remembers("S=2 V=1")
			s.runs(2)
			s.history("1:100", "2:100")
		})
	}

	It("brings 1 back when 2 fails in its place, and tries 2 again only when the spec changes", func(ctx SpecContext) {
		s := replacing(ctx, recreate)
		s.becomes(2, peers.Crash(1, "no such file: model.joblib\n"))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "ReplacementFailed", revision(2)+" did not become ready in the place of "+revision(1)))
		s.announces("ReplacementFailed")
		s.prints("False", "", "100", "", revision(1))
		Eventually(s.pods).WithArguments(1).Should(HaveLen(1))
		Eventually(s.pods).WithArguments(2).Should(BeEmpty())
		s.settles()
		s.silent()
		s.replicas(2, 0)
		s.history("1:100")

		s.becomes(3, peers.Ready())
		s.apply(model(3), recreate)
		s.prints("True", "", "100", "", revision(3))
		s.remembers("S=3 V=1")
		s.history("1:100", "3:100")
	})

	It("interrupts nothing where 2 gets a node within the minute", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1), recreate)
		s.prints("True", "", "100", "", revision(1))
		s.becomes(2, noRoom(0))
		s.apply(model(2), recreate)
		s.condition(v1beta1.ConditionLatestDeploymentReady, Be(metav1.ConditionUnknown, "Loading", "waiting for a node"))
		s.settles()
		s.replicas(1, 1)
		s.becomes(2, peers.Ready())
		s.prints("True", "", "100", "", revision(2))
		Expect(s.announced()).NotTo(ContainElement(HavePrefix("Replacing")))
	})
})

func strategy(how appsv1.DeploymentStrategy) manifest {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.DeploymentStrategy = how.DeepCopy() }
}
