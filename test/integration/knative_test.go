// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

const lag = 300 * time.Millisecond

// A rollout must take the same steps, however Knative's status lags.
var _ = Describe("a stale status of Knative", func() {
	for name, statusLag := range map[string]fakecluster.StatusLag{
		"it reports the new traffic before it is ready":     fakecluster.ReadyLate(lag),
		"it is that of the previous generation":             fakecluster.Stale(lag),
		"it reports the old traffic for the new generation": fakecluster.StaleTraffic(lag),
		"it reports the new traffic for the old generation": fakecluster.StaleGeneration(lag),
		"it is current, and then once more the old one":     fakecluster.StaleAgain(lag),
	} {
		It("changes no step of a rollout if "+name, func(ctx SpecContext) {
			s := startScenario(ctx, inKnativeMode)
			s.knative.SetStatusLag(s.namespace, statusLag)
			s.setUpStable()
			s.apply(model(2), percent(10))
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.apply(model(2))
			s.awaitColumns("True", "", "100", "", revision(2))
			s.awaitRunning(2)
			s.apply(model(2), percent(0))
			s.awaitColumns("True", "100", "0", revision(1), revision(2))
			s.apply(model(3), percent(30))
			s.awaitColumns("True", "70", "30", revision(1), revision(3))
			s.apply(model(1))
			s.awaitColumns("True", "", "100", "", revision(1))
			s.awaitRunning(1)
			s.awaitRolloutState("S=1")
			s.awaitSplitHistory("1:100", "2:10 1:90", "2:100", "2:0 1:100", "1:100", "3:30 1:70", "1:100")
		})

		// KServe's status has no observedGeneration. KServe therefore mistakes the status of one
		// release for that of the next, and rolls back too far (KServe issue 1968).
		It("makes a rollback return by exactly one release if "+name, func(ctx SpecContext) {
			s := startScenario(ctx, inKnativeMode)
			s.knative.SetStatusLag(s.namespace, statusLag)
			s.setUpStable()
			for n := 2; n <= 3; n++ {
				s.apply(model(n))
				s.awaitColumns("True", "", "100", "", revision(n))
			}
			s.apply(model(3), percent(0))
			s.awaitColumns("True", "100", "0", revision(2), revision(3))
			s.restartOperator()
			s.awaitSettled()
			s.awaitRolloutState("S=2")
			s.awaitSplitHistory("1:100", "2:100", "3:100", "3:0 2:100")
		})
	}

	It("does not lose a rollback: the next canary runs beside the revision that was rolled back to", func(ctx SpecContext) {
		s := startPromotion(ctx, inKnativeMode)
		s.knative.Stop(s.namespace)
		s.apply(model(2), percent(0))
		s.awaitSettled()
		s.awaitSplit("2:100")
		s.apply(model(3), percent(20))
		s.awaitSettled()
		s.awaitColumns("Unknown", "", "100", "", revision(2))
		s.knative.Start(s.namespace)
		s.awaitColumns("True", "80", "20", revision(1), revision(3))
		s.awaitRolloutState("S=1")
		// Revision 3 may be ready as soon as revision 1.
		Eventually(func() []string { return s.recorder.Splits(iris) }).Should(Or(
			Equal([]string{"1:100", "2:10 1:90", "2:100", "1:100", "3:20 1:80"}),
			Equal([]string{"1:100", "2:10 1:90", "2:100", "3:20 1:80"}),
		))
	})
})

var _ = Describe("a Knative Revision", func() {
	It("is recreated after Knative gave up and scaled it down, and gets its share", func(ctx SpecContext) {
		s := startStable(ctx, inKnativeMode)
		s.setPods(2, fakecluster.NotReady())
		s.apply(model(2), percent(10))
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		before := s.knativeRevision(2)

		By("letting Knative give up")
		s.knative.Stop(s.namespace)
		s.awaitSettled()
		deployment, err := s.deployment(2)
		Expect(err).NotTo(HaveOccurred())
		deployment.Spec.Replicas = new(int32(0))
		Expect(api.Update(ctx, deployment)).To(Succeed())
		Eventually(s.podUIDs).WithArguments(2).Should(BeEmpty())
		failed := s.knativeRevision(2)
		failed.Status.InitializeConditions()
		failed.Status.ObservedGeneration = failed.Generation
		failed.Status.MarkResourcesAvailableFalse(servingv1.ReasonProgressDeadlineExceeded, "Initial scale was never achieved")
		failed.Status.DesiredReplicas = new(int32(0))
		Expect(api.Status().Update(ctx, failed)).To(Succeed())
		s.setPods(2, fakecluster.Ready())
		Eventually(func() error { return api.Get(ctx, s.key(revision(2)), &servingv1.Revision{}) }).ShouldNot(Succeed())

		By("recreating it")
		s.knative.Start(s.namespace)
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		Expect(s.knativeRevision(2).UID).NotTo(Equal(before.UID))
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})

	It("is protected from Knative's garbage collector while it is in the revision history", func(ctx SpecContext) {
		s := startPromotion(ctx, inKnativeMode)
		for _, n := range []int{1, 2} {
			Expect(s.knativeRevision(n).Annotations).To(HaveKeyWithValue("serving.knative.dev/no-gc", "true"))
		}
	})

	It("that is deleted while it serves is recreated, and the rollout state is unchanged", func(ctx SpecContext) {
		s := startCanary(ctx, inKnativeMode)
		s.awaitSettled()
		lost := s.knativeRevision(2)
		s.recorder.Excuse(lost)
		Expect(api.Delete(ctx, lost)).To(Succeed())
		Eventually(func() (string, error) {
			current := &servingv1.Revision{}
			err := api.Get(ctx, s.key(revision(2)), current)
			return string(current.UID), client.IgnoreNotFound(err)
		}).ShouldNot(BeElementOf("", string(lost.UID)))
		s.awaitSplitHistory("1:100", "2:10 1:90", "2:0 1:100", "2:10 1:90")
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitRolloutState("S=1")
	})
})

var _ = Describe("an InferenceService in Knative mode", func() {
	It("is refused with the names of fields that Knative's schema lacks, and traffic stays on the old model", func(ctx SpecContext) {
		s := startStable(ctx, inKnativeMode)
		s.apply(model(2), func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.Hostname = "model"
			isvc.Spec.Predictor.Model.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}
		})
		for _, field := range []string{"spec.predictor.hostname", "spec.predictor.model.lifecycle"} {
			s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "InvalidPredictorSpec", field))
		}
		s.awaitSettled()
		s.awaitSplit("1:100")
		s.apply(model(1))
		s.awaitColumns("True", "", "100", "", revision(1))
	})

	It("is written with strict field validation, so that the API server names fields that the installed Knative lacks", func(ctx SpecContext) {
		s := startScenario(ctx, inKnativeMode)
		service := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "strict"}}
		service.Spec.Template.Spec.Containers = []corev1.Container{{Image: "a", TTY: true}}
		err := api.Create(ctx, service, client.FieldValidation(metav1.FieldValidationStrict))
		Expect(err).To(MatchError(ContainSubstring(`unknown field "spec.template.spec.containers[0].tty"`)), "the text that the operator parses")
	})

	It("is stopped and resumed with the same shares", func(ctx SpecContext) {
		s := startCanary(ctx, inKnativeMode)
		stop := annotation(v1beta1.AnnotationStop, "true")
		s.apply(model(2), percent(10), stop)
		s.awaitCondition(v1beta1.ConditionStopped, BeCondition(metav1.ConditionTrue, "Stopped", ""))
		s.awaitColumns("False", "", "", "", "")
		s.awaitRunning()
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitRolloutState("S=1")
	})

	It("has replica bounds per revision: a change during a canary creates another canary and reports this", func(ctx SpecContext) {
		s := startCanary(ctx, inKnativeMode)
		s.apply(model(2), percent(10), replicaBounds(2, 2))
		s.awaitColumns("True", "90", "10", revision(1), revision(3))
		s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, BeCondition(metav1.ConditionTrue, "Ready",
			"it differs from "+revision(2)+" only in minReplicas, maxReplicas"))
		s.awaitCondition(v1beta1.ConditionLatestDeploymentReady, BeCondition(metav1.ConditionTrue, "Ready", revision(1)+" keeps its own"))
		Eventually(s.podUIDs).WithArguments(3).Should(HaveLen(2))
		Expect(s.podUIDs(1)).To(HaveLen(1))
		s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:10 1:90")
	})

	It("cannot change to Standard mode", func(ctx SpecContext) {
		s := startCanary(ctx, inKnativeMode)
		s.apply(model(2), percent(50), annotation(v1beta1.AnnotationDeploymentMode, "Standard"))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "DeploymentModeChanged", "cannot change from Knative to Standard"))
		s.awaitSplit("2:10 1:90")
		s.apply(model(2), percent(10))
		s.awaitColumns("True", "90", "10", revision(1), revision(2))
		s.awaitSplitHistory("1:100", "2:10 1:90")
	})

	It("leaves a Knative Service of another owner unchanged, and names the owner", func(ctx SpecContext) {
		s := startScenario(ctx, inKnativeMode)
		other := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: iris + "-predictor"}}
		other.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Website", Name: "web", UID: "1", Controller: new(true)}}
		other.Spec.Template.Spec.Containers = []corev1.Container{{Image: "web"}}
		Expect(api.Create(ctx, other)).To(Succeed())
		s.apply(model(1))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "OwnershipConflict", "Website web"))
		s.awaitSettled()
		service, err := s.knativeService()
		Expect(err).NotTo(HaveOccurred())
		Expect(service.Spec).To(Equal(other.Spec))

		By("deleting it, which the operator does not watch")
		Expect(api.Delete(ctx, other)).To(Succeed())
		s.restartOperator()
		s.awaitColumns("True", "", "100", "", revision(1))
	})
})

func (s *scenario) knativeRevision(n int) *servingv1.Revision {
	GinkgoHelper()
	current := &servingv1.Revision{}
	Expect(api.Get(s.ctx, s.key(revision(n)), current)).To(Succeed())
	return current
}
