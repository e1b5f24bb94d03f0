// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/test/integration/wire"
)

var _ = Describe("a new model before the last one is ready", func() {
	It("replaces a first deployment that never became ready", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.setPods(1, fakecluster.Crash(1, "no such file"))
		s.apply(model(1))
		s.awaitColumns("False", "", "", "", "")
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.awaitRolloutState("S=2")
		s.awaitSplitHistory("2:100")
	})

	It("is deployed although the spec changes faster than models load", func(ctx SpecContext) {
		s := startStable(ctx)
		for version := 2; version <= 5; version++ {
			s.setPods(version, fakecluster.NotReady())
			s.apply(model(version), percent(10))
		}
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		latest, err := s.revisionHistory()
		Expect(err).NotTo(HaveOccurred())
		target := len(latest) // Revisions that are superseded at once may be skipped.
		s.awaitRunning(1, target)
		s.setPods(target, fakecluster.Ready())
		s.awaitColumns("True", "90", "10", revision(1), revision(target))
		Eventually(s.storageURI).WithArguments(target).Should(HaveSuffix("model-5"))
	})

	It("replaces a canary", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.apply(model(3), percent(20))
		s.awaitColumns("True", "80", "20", revision(1), revision(3))
		s.apply(model(3))
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRunning(3)
		s.awaitRolloutState("S=3 V=1")
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:20 1:80", "3:100")
	})
})

// storageURI returns the storage URI of a revision, which is an argument of its storage
// initializer.
func (s *scenario) storageURI(n int) (string, error) {
	deployment := &appsv1.Deployment{}
	if err := api.Get(s.ctx, s.key(revision(n)+"-deployment"), deployment); err != nil {
		return "", err
	}
	for _, container := range deployment.Spec.Template.Spec.InitContainers {
		if len(container.Args) > 0 {
			return container.Args[0], nil
		}
	}
	return "", nil
}

var _ = Describe("a revision that was scaled to zero", func() {
	It("is scaled up and not recreated when the spec returns to it", func(ctx SpecContext) {
		s := startPromotion(ctx)
		s.apply(model(1), percent(10))
		s.awaitColumns("True", "90", "10", revision(2), revision(1))
		s.awaitSplit("2:90 1:10")
		Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
		Expect(s.storageURI(1)).To(HaveSuffix("model-1"))
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitRolloutState("S=1 V=2")
		s.awaitRunning(1)
	})

	It("is scaled up unchanged by a rollback", func(ctx SpecContext) {
		s := startPromotion(ctx)
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		Expect(s.storageURI(1)).To(HaveSuffix("model-1"))
	})
})

var _ = Describe("the revision history", func() {
	It("keeps the ten newest revisions and those in use", func(ctx SpecContext) {
		s := startStable(ctx)
		const last = 13
		for version := 2; version <= last; version++ {
			s.apply(model(version), percent(10))
			s.awaitColumns("True", "90", "10", revision(1), revision(version))
		}
		s.awaitRunning(1, last)
		kept := []any{revision(1)}
		for n := last - 9; n <= last; n++ {
			kept = append(kept, revision(n))
		}
		Eventually(s.revisionHistory).Should(ConsistOf(kept...))

		By("deploying a model that is no longer in the history")
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(last+1))
	})
})

var _ = Describe("stop", func() {
	withStop := annotation(v1beta1.AnnotationStop, "true")

	It("removes routes and workloads, and keeps the rollout state", func(ctx SpecContext) {
		s := startCanary(ctx)
		s.apply(model(2), percent(10), withStop)
		s.awaitColumns("False", "", "", "", "")
		s.awaitCondition(v1beta1.ConditionStopped, BeCondition(metav1.ConditionTrue, "Stopped", v1beta1.AnnotationStop))
		s.awaitSplit("none")
		s.awaitRolloutState("S=1")
		s.awaitRunning()

		By("resuming")
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitCondition(v1beta1.ConditionStopped, BeCondition(metav1.ConditionFalse, "Running", "not stopped"))
		s.awaitRolloutState("S=1")
		Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
	})

	It("keeps the rollout state when the operator restarts", func(ctx SpecContext) {
		s := startPromotion(ctx)
		s.apply(model(2), withStop)
		s.awaitRunning()
		s.stopOperator()
		s.startOperator(wire.New())
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRolloutState("S=2 V=1")
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
	})

	It("keeps a first deployment from starting", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), withStop)
		s.awaitColumns("False", "", "", "", "")
		s.awaitRunning()
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
	})
})

var _ = Describe("replica bounds", func() {
	It("create a HorizontalPodAutoscaler if they differ, and no revision", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), replicaBounds(1, 5), func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.ScaleTarget = new(int32(70))
			isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricMemory)
		})
		s.awaitColumns("True", "", "100", "", revision(1))
		autoscaler := &autoscalingv2.HorizontalPodAutoscaler{}
		Expect(api.Get(ctx, s.key(revision(1)), autoscaler)).To(Succeed())
		Expect(autoscaler.Spec.ScaleTargetRef).To(Equal(autoscalingv2.CrossVersionObjectReference{
			APIVersion: "apps/v1", Kind: "Deployment", Name: revision(1) + "-deployment",
		}))
		Expect(autoscaler.Spec.MinReplicas).To(HaveValue(BeEquivalentTo(1)))
		Expect(autoscaler.Spec.MaxReplicas).To(BeEquivalentTo(5))
		Expect(autoscaler.Spec.Metrics).To(HaveExactElements(HaveField("Resource", SatisfyAll(
			HaveField("Name", corev1.ResourceMemory), HaveField("Target.AverageUtilization", HaveValue(BeEquivalentTo(70)))))))
		before, err := s.podUIDs(1)
		Expect(err).NotTo(HaveOccurred())

		By("raising the minimum")
		s.apply(model(1), replicaBounds(2, 5))
		s.awaitReplicas(1, 2)
		Eventually(s.podUIDs).WithArguments(1).Should(SatisfyAll(HaveLen(2), ContainElements(before)))

		By("scaling as an autoscaler")
		s.setReplicas(1, 4)
		Eventually(s.podUIDs).WithArguments(1).Should(HaveLen(4))
		s.awaitSettled()
		s.awaitReplicas(1, 4)

		By("setting equal bounds")
		s.apply(model(1), replicaBounds(2, 2))
		s.awaitReplicas(1, 2)
		Eventually(func() ([]string, error) {
			var list autoscalingv2.HorizontalPodAutoscalerList
			err := api.List(ctx, &list, client.InNamespace(s.namespace))
			return names(&list), err
		}).Should(BeEmpty())
		s.awaitColumns("True", "", "100", "", revision(1))
		Expect(s.revisionHistory()).To(ConsistOf(revision(1)))
		s.awaitSplitHistory("1:100")
	})

	It("hold the replicas that a share needed until the end of the capacity hold", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.apply(model(1), replicaBounds(1, 8))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setReplicas(1, 4)
		Eventually(s.podUIDs).WithArguments(1).Should(HaveLen(4))
		s.apply(model(2), replicaBounds(1, 8))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitReplicas(2, 4)
		heldMinimum := func() (*int32, error) {
			autoscaler := &autoscalingv2.HorizontalPodAutoscaler{}
			err := api.Get(ctx, s.key(revision(2)), autoscaler)
			return autoscaler.Spec.MinReplicas, err
		}
		Eventually(heldMinimum).Should(HaveValue(BeEquivalentTo(1)), "after the capacity hold")
	})
})

var _ = Describe("labels and annotations", func() {
	It("create a revision, because they propagate to the pods", func(ctx SpecContext) {
		s := startStable(ctx)
		s.apply(model(1), label("team", "flowers"))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.apply(model(1), label("team", "flowers"), annotation("example.com/note", "petals"))
		s.awaitColumns("True", "", "100", "", revision(3))
		var pods corev1.PodList
		Expect(api.List(ctx, &pods, client.InNamespace(s.namespace), client.MatchingLabels{v1beta1.LabelRevision: revision(3)})).To(Succeed())
		Expect(pods.Items).To(HaveExactElements(SatisfyAll(
			HaveField("Labels", HaveKeyWithValue("team", "flowers")),
			HaveField("Annotations", HaveKeyWithValue("example.com/note", "petals")))))
	})

	It("create none if they do not propagate to the pods", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) {
			cfg.Propagation.ExcludedAnnotations = []string{"example.com/*"}
			cfg.Propagation.ExcludedLabels = []string{"cost-centre"}
		})
		s.setUpStable()
		s.apply(model(1),
			annotation("kubectl.kubernetes.io/last-applied-configuration", "{}"),
			annotation("argocd.argoproj.io/tracking-id", "iris"),
			annotation("kustomize.toolkit.fluxcd.io/checksum", "1"),
			annotation(v1beta1.AnnotationDeploymentMode, "Standard"),
			annotation(v1beta1.AnnotationDisableAutoUpdate, "true"),
			annotation("example.com/note", "petals"),
			label("cost-centre", "4711"))
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitSettled()
		Expect(s.revisionHistory()).To(ConsistOf(revision(1)))
		s.awaitSplitHistory("1:100")
	})
})

var _ = Describe("the serving runtime", func() {
	It("is named in the status", func(ctx SpecContext) {
		s := startStable(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.ClusterServingRuntimeName).To(Equal("kserve-sklearnserver"))
	})
})

var _ = Describe("an object of the operator", func() {
	It("is owned by the InferenceService and is not recreated during its deletion", func(ctx SpecContext) {
		s := startCanary(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		s.awaitSettled()
		for _, entry := range s.recorder.Entries() {
			switch entry.Object.(type) {
			case *appsv1.ControllerRevision, *appsv1.Deployment, *corev1.Service, *gatewayv1.HTTPRoute:
				Expect(metav1.GetControllerOf(entry.Object)).To(HaveValue(SatisfyAll(
					HaveField("UID", isvc.UID), HaveField("Kind", "InferenceService"), HaveField("APIVersion", "serving.kserve.io/v1beta1"),
					HaveField("BlockOwnerDeletion", HaveValue(BeTrue())))))
			}
		}
		before := len(s.operator.wire.Writes())
		Expect(api.Delete(ctx, isvc)).To(Succeed())
		reconciliations, err := s.operator.reconciliations()
		Expect(err).NotTo(HaveOccurred())
		for _, name := range []string{revision(1), revision(2)} {
			Expect(api.Delete(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}})).To(Succeed())
		}
		Eventually(s.operator.reconciliations).Should(BeNumerically(">", reconciliations))
		s.awaitSettled()
		Expect(s.operator.wire.Writes()[before:]).To(BeEmpty())
	})
})

var _ = Describe("an InferenceService with a finalizer of KServe", func() {
	It("reports how to complete its deletion, and serves until then", func(ctx SpecContext) {
		s := startStable(ctx)
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["inferenceservice.finalizers"]}}`))
		Expect(api.Patch(ctx, isvc, patch)).To(Succeed())
		s.awaitSettled()
		Expect(api.Delete(ctx, isvc)).To(Succeed())
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "DeletionBlocked",
			"inferenceservice.finalizers; only KServe removes its own, and KServe is not in this cluster"))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "DeletionBlocked", "clients are served: 100 % on "+revision(1)))
		s.awaitEvent("DeletionBlocked")
		s.awaitSettled()
		s.expectNoWrites()
		s.awaitSplit("1:100")
		s.awaitReplicas(1, 1)

		By("running the suggested command")
		s.runSuggestedCommand(v1beta1.ConditionReady)
		Eventually(func() error {
			_, err := s.isvc()
			return err
		}).Should(Satisfy(apierrors.IsNotFound))
	})
})
