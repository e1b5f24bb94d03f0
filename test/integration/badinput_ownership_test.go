// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

// conflictingObjects are objects with names that a release needs and with another owner.
var conflictingObjects = map[string]struct {
	name string
	make func(metav1.ObjectMeta) client.Object
	// kind is the object's kind in the message of the condition.
	kind, condition string
	options         []configOption
	// first reports whether the first deployment needs the name; otherwise the canary does.
	first bool
	// printed holds the expected columns during the conflict.
	printed [4]string
}{
	"a Deployment": {
		name: revision(2) + "-deployment", kind: "Deployment", condition: v1beta1.ConditionPredictorReady,
		make: func(meta metav1.ObjectMeta) client.Object {
			labels := map[string]string{"app": "web"}
			return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
				Replicas: new(int32(0)),
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.com/web"}}},
				},
			}}
		},
		printed: [4]string{"", "100", "", revision(1)},
	},
	"a Service": {
		name: revision(2), kind: "Service", condition: v1beta1.ConditionPredictorReady,
		make: func(meta metav1.ObjectMeta) client.Object {
			return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		},
		printed: [4]string{"", "100", "", revision(1)},
	},
	"a HorizontalPodAutoscaler": {
		name: revision(2), kind: "HorizontalPodAutoscaler", condition: v1beta1.ConditionPredictorReady,
		make: func(meta metav1.ObjectMeta) client.Object {
			return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MaxReplicas: 2,
			}}
		},
		printed: [4]string{"", "100", "", revision(1)},
	},
	"a ControllerRevision": {
		name: revision(2), kind: "ControllerRevision", condition: v1beta1.ConditionPredictorReady,
		make: func(meta metav1.ObjectMeta) client.Object {
			return &appsv1.ControllerRevision{ObjectMeta: meta, Data: runtime.RawExtension{Raw: []byte(`{}`)}, Revision: 1}
		},
		printed: [4]string{"", "100", "", revision(1)},
	},
	"an HTTPRoute": {
		name: iris, kind: "HTTPRoute", condition: v1beta1.ConditionIngressReady, first: true,
		make: func(meta metav1.ObjectMeta) client.Object { return &gatewayv1.HTTPRoute{ObjectMeta: meta} },
	},
	"an HTTPRoute for a tag": {
		name: "prev-" + iris + "-predictor", kind: "HTTPRoute", condition: v1beta1.ConditionIngressReady,
		make:    func(meta metav1.ObjectMeta) client.Object { return &gatewayv1.HTTPRoute{ObjectMeta: meta} },
		printed: [4]string{"", "100", "", revision(1)},
	},
	"the Service for the cluster-local host": {
		name: iris, kind: "Service", condition: v1beta1.ConditionPredictorReady, first: true,
		options: []configOption{withLocalGateway},
		make: func(meta metav1.ObjectMeta) client.Object {
			return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		},
		printed: [4]string{"", "100", "", revision(1)},
	},
}

var owners = map[string]struct {
	mark    func(*metav1.ObjectMeta)
	message string
}{
	"without a controller": {func(*metav1.ObjectMeta) {}, "is not controlled by this InferenceService"},
	"of another controller": {
		func(meta *metav1.ObjectMeta) {
			meta.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "example.com/v1", Kind: "Website", Name: "web", UID: "6b1f1f0e-0000-4000-8000-000000000000", Controller: new(true),
			}}
		},
		"is controlled by Website web",
	},
	"of another controller with the operator's labels": {
		func(meta *metav1.ObjectMeta) {
			meta.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "example.com/v1", Kind: "Website", Name: "web", UID: "6b1f1f0e-0000-4000-8000-000000000000", Controller: new(true),
			}}
			meta.Labels = map[string]string{
				v1beta1.LabelInferenceService: iris, v1beta1.LabelManagedBy: v1beta1.ManagedBySerinus, v1beta1.LabelRevision: revision(2),
			}
		},
		"is controlled by Website web",
	},
}

var _ = Describe("an object with a name that the operator needs", func() {
	It("is left unchanged and blocks the release until it is deleted", func(ctx SpecContext) {
		var variants []variant
		for what, c := range conflictingObjects {
			for ownership, owner := range owners {
				variants = append(variants, variant{name: what + " " + ownership, options: c.options, body: func(s *scenario) {
					scaling := replicaBounds(1, 3)
					if !c.first {
						s.apply(model(1), scaling, withTagRouting)
						s.awaitColumns("True", "", "100", "", revision(1))
						s.awaitSettled()
					}
					meta := metav1.ObjectMeta{Namespace: s.namespace, Name: c.name}
					owner.mark(&meta)
					object := c.make(meta)
					Expect(api.Create(ctx, object)).To(Succeed())
					s.recorder.Excuse(object)
					before := desiredState(object)

					options := []testkit.Edit{model(2), percent(10), scaling, withTagRouting}
					awaitEnd := func() { s.awaitColumns("True", "90", "10", revision(1), revision(2)) }
					if c.first {
						options = []testkit.Edit{model(1), scaling, withTagRouting}
						awaitEnd = func() { s.awaitColumns("True", "", "100", "", revision(1)) }
					}
					s.apply(options...)
					s.awaitRefusal(c.printed, refusal{
						condition: c.condition, reason: "OwnershipConflict",
						message: fmt.Sprintf("%s %q in namespace %q %s, so it is left alone; delete it (kubectl delete -n %s %s %s), or give",
							c.kind, c.name, s.namespace, owner.message, s.namespace, strings.ToLower(c.kind), c.name),
					})
					if !c.first {
						s.awaitSplit("1:100")
						s.awaitSplitHistory("1:100")
					}
					Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
					Expect(desiredState(object)).To(Equal(before), "the object was changed")

					Expect(api.Delete(ctx, object)).To(Succeed())
					awaitEnd()
					if !c.first {
						s.awaitSplitHistory("1:100", "2:10 1:90")
					}
				}})
			}
		}
		runConcurrently(ctx, variants, len(variants)) // Most of the time they wait for the operator to retry.
	})
})

var _ = Describe("a missing permission or quota", func() {
	It("moves no traffic, is reported with a way to fix it, and blocks the release only until it is fixed", func(ctx SpecContext) {
		runConcurrently(ctx, []variant{{name: "permission to read a Secret", body: func(s *scenario) {
			s.setUpCanary()
			Expect(api.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "minio"}})).To(Succeed())
			Expect(api.Create(ctx, &corev1.ServiceAccount{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reader"},
				Secrets:    []corev1.ObjectReference{{Name: "minio"}},
			})).To(Succeed())
			s.apply(model(3), percent(20), withStorageURI("s3://models/iris"), func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.ServiceAccountName = "reader"
			})
			// The canary is superseded by model 3.
			s.awaitRefusal([4]string{"", "100", "", revision(1)}, refusal{
				condition: v1beta1.ConditionPredictorReady, reason: "CredentialsNotReadable",
				message: `the operator may not read Secret "minio" (ServiceAccount "reader" lists it); allow it in this namespace: kubectl create rolebinding `,
			})
			Expect(s.revisionHistory()).To(ConsistOf(revision(1), revision(2)))
			isvc, err := s.isvc()
			Expect(err).NotTo(HaveOccurred())
			_, command, _ := strings.Cut(apimeta.FindStatusCondition(isvc.Status.Conditions, v1beta1.ConditionReady).Message, "kubectl ")
			_, err = kubectl("", strings.Fields(command)...)
			Expect(err).NotTo(HaveOccurred())
			s.awaitColumns("True", "80", "20", revision(1), revision(3))
			s.awaitSplitHistory("1:100", "2:10 1:90", "1:100", "3:20 1:80")
		}}, {name: "quota for another Deployment", body: func(s *scenario) {
			s.apply(model(1))
			s.awaitColumns("True", "", "100", "", revision(1))
			one := corev1.ResourceList{"count/deployments.apps": resource.MustParse("1")}
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "small"},
				Spec:       corev1.ResourceQuotaSpec{Hard: one},
			}
			Expect(api.Create(ctx, quota)).To(Succeed())
			quota.Status = corev1.ResourceQuotaStatus{Hard: one, Used: one}
			Expect(api.Status().Update(ctx, quota)).To(Succeed())
			s.apply(model(2), percent(10))
			s.awaitRefusal([4]string{"", "100", "", revision(1)}, refusal{
				condition: v1beta1.ConditionPredictorReady, reason: "RefusedByAPIServer", message: "exceeded quota: small",
			})
			Expect(api.Delete(ctx, quota)).To(Succeed())
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplitHistory("1:100", "2:10 1:90")
		}}}, concurrency)
	})
})
