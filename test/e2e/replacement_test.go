// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/status"
)

// In Knative mode a deploymentStrategy is refused.
var _ = describeInModes("a model that leaves no room for another on its node", []mode{inStandard}, func(m mode) {
	exclusive := []option{hostPort(18080), recreate()}

	It("makes room for the next one, where the user allows that (row 22)", func(ctx SpecContext) {
		s := startScenario(ctx, m, append([]option{model(1)}, exclusive...)...)
		s.allowFailures("while one takes the place of the other", func() {
			s.apply("the next one", append([]option{model(2)}, exclusive...)...)
			s.awaitConditionWithin(2*defaultTimeout, v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonReplacing)
			s.awaitSplit(iris, split{2: 100})
		})
		s.checkSplit(split{2: 100})
	}, inCI, SpecTimeout(scenarioTimeout))

	It("comes back if the next one fails (row 22)", func(ctx SpecContext) {
		s := startScenario(ctx, m, append([]option{model(1)}, exclusive...)...)
		s.allowFailures("while the other is tried in its place", func() {
			s.apply("the next one", append([]option{model(2, "--never-ready")}, exclusive...)...)
			s.awaitConditionWithin(3*defaultTimeout, v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonReplacementFailed)
			Eventually(s.readyPods).WithArguments(1).Should(Equal(1))
		})
		s.checkSplit(split{1: 100})
		Expect(s.podUIDs(2)).To(BeEmpty())
	}, SpecTimeout(scenarioTimeout))
})

// onPortOfNode has a model take a port of its node, which can be had once.
func hostPort(port int32) option {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Containers[0].Ports[0].HostPort = port }
}

// recreated allows a revision to be taken down before the next one can serve.
func recreate() option {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
}
