// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
)

var _ = describeInModes("a service created by KServe", []mode{inKnative}, func(m mode) {
	It("is adopted with a canary, without a change of shares or pods", func(ctx SpecContext) {
		stopOperators(ctx)
		DeferCleanup(func(ctx SpecContext) {
			if len(operators) == 0 { // The scenario failed before it started the operator.
				startOperators(ctx, singleOperator())
			}
		})
		s := newUnwatchedScenario(ctx, m, scenarioNamespace(), iris)
		s.createAsKServe(percent(20))
		s.watch()
		s.recorder.ExcuseWrite(s.service(Default))
		isvc, err := s.isvc(iris)
		Expect(err).NotTo(HaveOccurred())
		s.recorder.ExcuseWrite(isvc)
		before := s.template()
		s.probe(targetAt(iris, backend.PredictorName(iris)+"."+s.namespace+".example.com", rate))
		stable, err := s.podUIDs(1)
		Expect(err).NotTo(HaveOccurred())
		canary, err := s.podUIDs(2)
		Expect(err).NotTo(HaveOccurred())

		s.checkSplitDuring(split{1: 80, 2: 20}, func() {
			s.prober.Mark("the operator starts")
			startOperators(ctx, singleOperator())
			Eventually(s.isvc).WithArguments(iris).ShouldNot(HaveField("Status.Phase", BeEmpty()), "KServe's status has no phase")
			s.awaitSplit(iris, split{1: 80, 2: 20})
			s.removeFinalizers()
			Expect(s.prober.Until(ctx, 2*minRequests)).To(Succeed())
		})
		Expect(s.podUIDs(1)).To(Equal(stable), "the stable's pods were replaced")
		Expect(s.podUIDs(2)).To(Equal(canary), "the canary's pods were replaced")
		Expect(s.template()).To(Equal(before), "the template was changed")

		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
		Expect(s.podUIDs(2)).To(Equal(canary), "the canary's pods were replaced")
		s.apply("the next canary", model(3), percent(10))
		s.expectSplit(split{2: 90, 3: 10})
		s.apply("its promotion", model(3))
		s.expectSplit(split{3: 100})
		s.apply("rollback", model(3), percent(0))
		s.expectSplit(split{2: 100, 3: 0})
	}, SpecTimeout(scenarioTimeout))
})

// createAsKServe creates the objects that KServe leaves for a service whose second model is a
// canary.
func (s *scenario) createAsKServe(canary option) {
	GinkgoHelper()
	isvc := s.isvcOf(iris, []option{model(2), canary})
	isvc.Finalizers = []string{"inferenceservice.finalizers"}
	Expect(api.Create(s.ctx, isvc)).To(Succeed())

	service := &servingv1.Service{ObjectMeta: s.meta(backend.PredictorName(iris))}
	service.Labels = map[string]string{v1beta1.LabelInferenceService: iris, v1beta1.LabelComponent: string(v1beta1.PredictorComponent)}
	service.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind("InferenceService"))}
	service.Spec.Template = s.kserveTemplate(model(1))
	service.Spec.Traffic = []servingv1.TrafficTarget{{LatestRevision: new(true), Percent: new(int64(100))}}
	Expect(api.Create(s.ctx, service)).To(Succeed())
	s.awaitKnativeSplit(split{1: 100})

	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := api.Get(s.ctx, client.ObjectKeyFromObject(service), service); err != nil {
			return err
		}
		service.Spec.Template = s.kserveTemplate(model(2))
		service.Spec.Traffic = []servingv1.TrafficTarget{
			{LatestRevision: new(true), Percent: new(int64(20))},
			{LatestRevision: new(false), Percent: new(int64(80)), RevisionName: revision(1), Tag: "prev"},
		}
		return api.Update(s.ctx, service)
	})).To(Succeed())
	s.awaitKnativeSplit(split{1: 80, 2: 20})
	s.withKServesStatusSchema(func() {
		Eventually(func() error {
			return api.Status().Patch(s.ctx, isvc, client.RawPatch(types.MergePatchType, []byte(s.kserveStatus())))
		}).Should(Succeed())
	})
}

// withKServesStatusSchema runs do while the CRD requires only the condition fields that KServe's
// CRD requires. Changing the CRD ends all watches.
func (s *scenario) withKServesStatusSchema(do func()) {
	GinkgoHelper()
	require := func(fields string) {
		GinkgoHelper()
		const path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions/items/required"
		s.sh(fmt.Sprintf(`kubectl patch crd inferenceservices.serving.kserve.io --type json -p '[{"op":"replace","path":%q,"value":[%s]}]'`, path, fields))
	}
	require(`"status","type"`)
	defer require(`"lastTransitionTime","message","reason","status","type"`)
	do()
}

// kserveTemplate returns the template that KServe creates: without a name and without Serinus's
// fields.
func (s *scenario) kserveTemplate(predictor option) servingv1.RevisionTemplateSpec {
	isvc := s.isvcOf(iris, []option{predictor})
	template := servingv1.RevisionTemplateSpec{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{v1beta1.LabelInferenceService: iris, v1beta1.LabelComponent: string(v1beta1.PredictorComponent)},
		Annotations: map[string]string{
			autoscaling.ClassAnnotationKey: autoscaling.KPA, autoscaling.MinScaleAnnotationKey: "1", "prometheus.kserve.io/path": "/metrics",
		},
	}}
	maps.Copy(template.Annotations, isvc.Annotations)
	template.Spec.Containers = isvc.Spec.Predictor.Containers
	return template
}

// kserveStatus returns a status as KServe writes it. Its conditions have no reason.
func (s *scenario) kserveStatus() string {
	const status = `{"status": {
		"address": {"url": "http://iris.NAMESPACE.svc.cluster.local"},
		"components": {"predictor": {
			"address": {"url": "http://iris-predictor.NAMESPACE.svc.cluster.local"},
			"latestCreatedRevision": "iris-predictor-00002",
			"latestReadyRevision": "iris-predictor-00002",
			"latestRolledoutRevision": "iris-predictor-00001",
			"traffic": [
				{"latestRevision": true, "percent": 20, "revisionName": "iris-predictor-00002"},
				{"latestRevision": false, "percent": 80, "revisionName": "iris-predictor-00001", "tag": "prev",
					"url": "http://prev-iris-predictor.NAMESPACE.example.com"}
			],
			"url": "http://iris-predictor.NAMESPACE.example.com"
		}},
		"conditions": [CONDITIONS],
		"deploymentMode": "Knative",
		"modelStatus": {
			"copies": {"failedCopies": 0, "totalCopies": 1},
			"states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
			"transitionStatus": "UpToDate"
		},
		"observedGeneration": 1,
		"url": "http://iris.NAMESPACE.example.com"
	}}`
	var conditions []string
	for _, kind := range []string{
		"IngressReady", "LatestDeploymentReady", "PredictorConfigurationReady", "PredictorReady", "PredictorRouteReady", "Ready", "RoutesReady",
	} {
		severity := `, "severity": "Info"`
		if kind == "IngressReady" || kind == "PredictorReady" || kind == "Ready" {
			severity = ""
		}
		conditions = append(conditions, fmt.Sprintf(`{"type": %q, "status": "True", "lastTransitionTime": "2026-11-01T08:00:00Z"%s}`, kind, severity))
	}
	return strings.NewReplacer("NAMESPACE", s.namespace, "CONDITIONS", strings.Join(conditions, ", ")).Replace(status)
}

func (s *scenario) awaitKnativeSplit(want split) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		service := s.service(g)
		g.Expect(service.IsReady()).To(BeTrue(), "%+v", service.Status.Conditions)
		served := map[string]int{}
		for _, target := range service.Status.Traffic {
			served[target.RevisionName] = int(*target.Percent)
		}
		g.Expect(served).To(Equal(want.of(iris)))
	}).Should(Succeed())
}

func (s *scenario) service(g Gomega) *servingv1.Service {
	service := &servingv1.Service{}
	g.Expect(api.Get(s.ctx, s.key(backend.PredictorName(iris)), service)).To(Succeed())
	return service
}

func (s *scenario) template() servingv1.RevisionTemplateSpec {
	GinkgoHelper()
	return s.service(Default).Spec.Template
}

func (s *scenario) removeFinalizers() {
	GinkgoHelper()
	s.sh(fmt.Sprintf(`kubectl patch isvc -n %s %s --type merge -p '{"metadata":{"finalizers":null}}'`, s.namespace, iris))
}
