// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/standard"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/test/integration/wire"
)

// external selects an external autoscaler.
var external = annotation(v1beta1.AnnotationAutoscalerClass, "external")

func (s *scenario) scaleTarget() *scalingv1alpha1.ScaleTarget {
	return &scalingv1alpha1.ScaleTarget{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: iris + "-predictor"}}
}

// setScale updates the scale subresource of the ScaleTarget, as an autoscaler does.
func (s *scenario) setScale(replicas int32) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		target, scale := s.scaleTarget(), &autoscalingv1.Scale{}
		if err := api.SubResource("scale").Get(s.ctx, target, scale); err != nil {
			return err
		}
		scale.Spec.Replicas = replicas
		return api.SubResource("scale").Update(s.ctx, target, client.WithSubResourceBody(scale))
	})).To(Succeed())
}

// awaitScale waits until the scale subresource of the ScaleTarget has the pods of a revision and
// these replicas in spec and status.
func (s *scenario) awaitScale(n int, asked, running int32) {
	GinkgoHelper()
	Eventually(func() (*autoscalingv1.Scale, error) {
		scale := &autoscalingv1.Scale{}
		return scale, api.SubResource("scale").Get(s.ctx, s.scaleTarget(), scale)
	}).Should(SatisfyAll(
		HaveField("Name", iris+"-predictor"),
		HaveField("Spec.Replicas", asked),
		HaveField("Status.Replicas", running),
		HaveField("Status.Selector", "serving.kserve.io/inferenceservice="+iris+",serving.kserve.io/revision="+revision(n)),
	))
}

var _ = Describe("an external autoscaler", func() {
	// scaledToFour starts a scenario whose ScaleTarget is scaled to 4.
	scaledToFour := func(ctx SpecContext) *scenario {
		s := startScenario(ctx, inStandardMode)
		s.apply(model(1), external)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitScale(1, 1, 1)
		s.setScale(4)
		s.awaitReplicas(1, 4)
		s.awaitScale(1, 4, 4)
		return s
	}

	It("scales one stable name through a canary, its promotion and its rollback", func(ctx SpecContext) {
		s := scaledToFour(ctx)
		uid := func() (string, error) {
			target := s.scaleTarget()
			return string(target.UID), api.Get(ctx, client.ObjectKeyFromObject(target), target)
		}
		before, err := uid()
		Expect(err).NotTo(HaveOccurred())
		s.apply(model(2), percent(10), external)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitScale(1, 4, 4)

		By("promoting the canary with one unready replica")
		s.setPods(2, fakecluster.ReadyUpTo(4))
		s.apply(model(2), external)
		s.awaitReplicas(2, 5)
		s.awaitCondition(v1beta1.ConditionRoutesReady, HaveField("Status", metav1.ConditionUnknown))
		s.awaitSplit("2:10 1:90")
		s.awaitScale(1, 4, 4)

		By("making it ready")
		s.setPods(2, fakecluster.Ready())
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitScale(2, 4, 4)
		s.awaitReplicas(2, 4)
		s.awaitRunning(2)

		By("scaling by the same name")
		s.setScale(6)
		s.awaitReplicas(2, 6)
		s.awaitScale(2, 6, 6)
		s.apply(model(2), percent(0), external)
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		s.awaitScale(1, 6, 6)
		Expect(uid()).To(Equal(before))
		s.awaitSettled()
	})

	It("may scale to zero, also when the operator restarts", func(ctx SpecContext) {
		s := scaledToFour(ctx)
		deployment, err := s.deployment(1)
		Expect(err).NotTo(HaveOccurred())
		s.recorder.Excuse(deployment)
		s.setScale(0)
		s.awaitReplicas(1, 0)
		s.awaitScale(1, 0, 0)
		s.restartOperator()
		s.awaitSettled()
		s.awaitReplicas(1, 0)
		s.setScale(2)
		s.awaitReplicas(1, 2)
		s.awaitScale(1, 2, 2)
	})

	It("may scale the Deployment of a revision until it scales the stable name", func(ctx SpecContext) {
		s := startScenario(ctx, inStandardMode)
		s.apply(model(1), external)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.setReplicas(1, 3)
		s.awaitScale(1, 3, 3)
		s.awaitSettled()
		s.awaitReplicas(1, 3)

		By("leaving the replicas to the operator")
		s.apply(model(1))
		Eventually(func() error { return api.Get(ctx, client.ObjectKeyFromObject(s.scaleTarget()), s.scaleTarget()) }).
			Should(Satisfy(apierrors.IsNotFound))
		s.awaitReplicas(1, 1)
	})

	It("is reported to lack the stable name if that has another owner", func(ctx SpecContext) {
		s := newScenario(ctx, newNamespace(ctx), afterSpec, inStandardMode)
		other := s.scaleTarget()
		other.Spec.Replicas = 7
		Expect(api.Create(ctx, other)).To(Succeed())
		s.startOperator(wire.New())
		s.apply(model(1), external)
		s.awaitColumns("True", "", "100", "", revision(1))
		s.awaitCondition(v1beta1.ConditionPredictorReady, SatisfyAll(
			HaveField("Status", metav1.ConditionTrue), HaveField("Reason", standard.ReasonScaleTargetMissing),
			HaveField("Message", ContainSubstring("left alone")),
		))
		deployment := &appsv1.Deployment{}
		Expect(api.Get(ctx, s.key(revision(1)+"-deployment"), deployment)).To(Succeed())
		Expect(deployment.Spec.Replicas).To(HaveValue(BeEquivalentTo(1)))
	})
})
