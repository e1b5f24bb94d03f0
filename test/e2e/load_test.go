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
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

// In Knative mode only Knative determines the number of replicas.
var _ = describeInModes("a rollout under load", []mode{inStandard}, func(m mode) {
	It("waits for replicas in proportion to what the autoscaler gave the stable", func(ctx SpecContext) {
		const maximum = 3
		busy := func(version int) []option {
			return []option{model(version, "--work=2ms"), cpuRequest("100m"), replicas(1, maximum), cpuTarget(50)}
		}
		s := startScenario(ctx, m, busy(1)...)
		Eventually(s.readyPods).WithArguments(1).WithTimeout(2 * defaultTimeout).Should(Equal(maximum))
		s.apply("canary of 40 %", append(busy(2), percent(40))...)
		s.expectSplit(split{1: 60, 2: 40})
		Expect(s.readyEndpointsAt(2, "2:40 1:60")).To(BeNumerically(">=", 2), "40 %% of 3 take 2")
		s.apply("promotion", busy(2)...)
		s.expectSplit(split{2: 100})
		Expect(s.readyEndpointsAt(2, "2:100")).To(Equal(maximum))
	}, SpecTimeout(scenarioTimeout))

	It("gets the replicas that the user's HorizontalPodAutoscaler gave the stable, and is then scaled by it", func(ctx SpecContext) {
		external := annotation(v1beta1.AnnotationAutoscalerClass, string(v1beta1.AutoscalerClassExternal))
		s := startScenario(ctx, m, model(1), external)
		hpa := s.newHPA(3)
		Expect(api.Create(ctx, hpa)).To(Succeed())
		Eventually(s.readyPods).WithArguments(1).WithTimeout(2 * defaultTimeout).Should(Equal(3))
		s.apply("canary of 40 %", model(2), external, percent(40))
		s.expectSplit(split{1: 60, 2: 40})
		Expect(s.readyEndpointsAt(2, "2:40 1:60")).To(BeNumerically(">=", 2), "40 %% of 3 take 2")
		s.apply("promotion", model(2), external)
		s.expectSplit(split{2: 100})
		Expect(s.readyEndpointsAt(2, "2:100")).To(BeNumerically(">=", 3))
		s.checkSplitDuring(split{2: 100}, func() {
			one := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"minReplicas": 1, "maxReplicas": 1}}`))
			Expect(api.Patch(ctx, hpa, one)).To(Succeed())
			Eventually(s.readyPods).WithArguments(2).WithTimeout(2 * defaultTimeout).Should(Equal(1))
		})
	}, SpecTimeout(scenarioTimeout))
})

// newHPA returns an autoscaler that keeps a number of replicas. Its target is the ScaleTarget,
// whose name does not change with the revision.
func (s *scenario) newHPA(replicas int32) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: s.meta("user-hpa"),
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

var _ = describeInModes("a rollout under load", modes, func(m mode) {
	It("runs alongside nine others", func(ctx SpecContext) {
		const services, ratePerService = 10, rate / 10
		s := newScenario(ctx, m, scenarioNamespace(), "")
		var names []string
		for i := range services {
			name := fmt.Sprintf("%s-%d", iris, i)
			names = append(names, name)
			s.create(name, model(1))
		}
		changeAll := func(want split, change func(isvc string)) {
			GinkgoHelper()
			for _, name := range names {
				change(name)
			}
			for _, name := range names {
				s.awaitSplit(name, want)
			}
		}
		changeAll(split{1: 100}, func(string) {})
		var targets []prober.Target
		for _, name := range names {
			targets = append(targets, s.target(name, ratePerService))
		}
		s.probe(targets...)
		changeAll(split{1: 90, 2: 10}, func(isvc string) { s.replace(isvc, model(2), percent(10)) })
		s.checkSplitOfAll(split{1: 90, 2: 10}, minRequests)
		changeAll(split{2: 100}, func(isvc string) { s.replace(isvc, model(2)) })
		s.checkSplitOfAll(split{2: 100}, 5*ratePerService)
	}, SpecTimeout(2*scenarioTimeout))
})

func cpuRequest(amount string) option {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse(amount)
	}
}

// cpuTarget scales by CPU utilization, to a percent of the CPU request.
func cpuTarget(percent int32) option {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU)
		isvc.Spec.Predictor.ScaleTarget = &percent
	}
}

// readyEndpointsAt returns how many ready endpoints a revision had when a split was first written.
func (s *scenario) readyEndpointsAt(n int, split string) (int, error) {
	ready := map[string]int{}
	for _, entry := range s.recorder.Entries() {
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
			if current, err := watchrecorder.SplitOf(iris, object); err == nil && object.Name == iris && current.String() == split {
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

func (s *scenario) checkSplitOfAll(want split, requests int) {
	GinkgoHelper()
	from := s.prober.Mark(want.String()).At + gatewayLag
	Expect(s.prober.Until(s.ctx, requests+int(gatewayLag.Seconds()*s.targets[0].Rate)+1)).To(Succeed())
	to := s.prober.Now()
	for _, t := range s.targets {
		s.phases = append(s.phases, phase{
			name: t.Name + " " + want.String(), target: t.Name, want: want, from: from, to: to, minRequests: requests,
		})
	}
}
