// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/journal"
)

// In Knative mode nobody but Knative counts replicas.
var _ = told("a rollout under load", []mode{inStandard}, func(m mode) {
	It("waits for the replicas that the autoscaler had given the stable", func(ctx SpecContext) {
		const most = 3
		busy := func(version int) []manifest {
			return []manifest{model(version, "--work=2ms"), requestsCPU("100m"), replicas(1, most), scaledByCPU(50)}
		}
		s := begin(ctx, m, busy(1)...)
		Eventually(s.readyPods).WithArguments(1).WithTimeout(2 * patience).Should(Equal(most))
		s.apply("canary of 40 %", append(busy(2), percent(40))...)
		s.serves(split{1: 60, 2: 40})
		Expect(s.readyWhen(2, "2:40 1:60")).To(BeNumerically(">=", 2), "40 %% of 3 take 2")
		s.apply("promotion", busy(2)...)
		s.serves(split{2: 100})
		Expect(s.readyWhen(2, "2:100")).To(Equal(most))
	}, SpecTimeout(perStory))

	It("has the replicas that a HorizontalPodAutoscaler of the user's had given the stable, and is scaled by it then", func(ctx SpecContext) {
		external := annotation(v1beta1.AnnotationAutoscalerClass, string(v1beta1.AutoscalerClassExternal))
		s := begin(ctx, m, model(1), external)
		own := s.autoscaler(3)
		Expect(api.Create(ctx, own)).To(Succeed())
		Eventually(s.readyPods).WithArguments(1).WithTimeout(2 * patience).Should(Equal(3))
		s.apply("canary of 40 %", model(2), external, percent(40))
		s.serves(split{1: 60, 2: 40})
		Expect(s.readyWhen(2, "2:40 1:60")).To(BeNumerically(">=", 2), "40 %% of 3 take 2")
		s.apply("promotion", model(2), external)
		s.serves(split{2: 100})
		Expect(s.readyWhen(2, "2:100")).To(BeNumerically(">=", 3))
		s.holds(split{2: 100}, func() {
			own.Spec.MinReplicas, own.Spec.MaxReplicas = new(int32(1)), 1
			Expect(api.Update(ctx, own)).To(Succeed())
			Eventually(s.readyPods).WithArguments(2).WithTimeout(2 * patience).Should(Equal(1))
		})
	}, SpecTimeout(perStory))
})

// autoscaler keeps a number of replicas. It is told once what to scale.
func (s *story) autoscaler(replicas int32) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: s.meta("own"),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{
				APIVersion: scalingv1alpha1.GroupVersion.String(), Kind: "ScaleTarget", Name: backend.PredictorName(iris),
			},
			MinReplicas: &replicas, MaxReplicas: replicas,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name:   corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(80))},
				},
			}},
		},
	}
}

var _ = told("a rollout under load", modes, func(m mode) {
	It("is one of ten at the same time", func(ctx SpecContext) {
		const services, each = 10, rate / 10 // Together, as many as elsewhere.
		s := stage(ctx, m, storyNamespace(), "")
		var names []string
		for i := range services {
			name := fmt.Sprintf("%s-%d", iris, i)
			names = append(names, name)
			s.create(name, model(1))
		}
		all := func(want split, do func(isvc string)) {
			GinkgoHelper()
			for _, name := range names {
				do(name)
			}
			for _, name := range names {
				s.settles(name, want)
			}
		}
		all(split{1: 100}, func(string) {})
		var targets []prober.Target
		for _, name := range names {
			targets = append(targets, s.target(name, each))
		}
		s.probe(targets...)
		all(split{1: 90, 2: 10}, func(isvc string) { s.replace(isvc, model(2), percent(10)) })
		s.holdsForAll(split{1: 90, 2: 10}, enough)
		all(split{2: 100}, func(isvc string) { s.replace(isvc, model(2)) })
		s.holdsForAll(split{2: 100}, 5*each)
	}, SpecTimeout(2*perStory))
})

// requestsCPU changes how much of a processor a pod asks for.
func requestsCPU(amount string) manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse(amount)
	}
}

// scaledByCPU has an autoscaler keep the pods as busy as a percent of what they ask for.
func scaledByCPU(percent int32) manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU)
		isvc.Spec.Predictor.ScaleTarget = &percent
	}
}

// readyWhen counts the ready endpoints that a revision had when a split was first written.
func (s *story) readyWhen(n int, split string) (int, error) {
	ready := map[string]int{}
	for _, entry := range s.journal.Entries() {
		switch object := entry.Object.(type) {
		case *discoveryv1.EndpointSlice:
			if object.Labels[discoveryv1.LabelServiceName] == revision(n) {
				ready[object.Name] = 0
				for _, endpoint := range object.Endpoints {
					if !entry.Deleted && endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
						ready[object.Name]++
					}
				}
			}
		case *gatewayv1.HTTPRoute:
			if found, err := journal.SplitOf(iris, object); err == nil && object.Name == iris && found.String() == split {
				total := 0
				for _, count := range ready {
					total += count
				}
				return total, nil
			}
		}
	}
	return 0, fmt.Errorf("%s was never written", split)
}

// holdsForAll holds that every target serves a split, over so many requests to each from now on.
func (s *story) holdsForAll(want split, requests int) {
	GinkgoHelper()
	from := s.prober.Mark(want.String()).At + gatewayLag
	Expect(s.prober.Until(s.ctx, requests+int(gatewayLag.Seconds()*s.targets[0].Rate)+1)).To(Succeed())
	to := s.prober.Now()
	for _, t := range s.targets {
		s.phases = append(s.phases, phase{
			name: t.Name + " " + want.String(), target: t.Name, want: want, from: from, to: to, enough: requests,
		})
	}
}
