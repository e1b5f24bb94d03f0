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

// Knative mode rejects deploymentStrategy.
var _ = describeInModes("a model that leaves no room for another on its node", []mode{inStandard}, func(m mode) {
	exclusive := []option{hostPort(18080), recreate()}

	It("makes room for the next revision if its strategy allows it (row 22)", func(ctx SpecContext) {
		s := startScenario(ctx, m, append([]option{model(1)}, exclusive...)...)
		s.allowFailures("while the next revision replaces the stable", func() {
			s.apply("the next revision", append([]option{model(2)}, exclusive...)...)
			s.awaitConditionWithin(2*defaultTimeout, v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonReplacing)
			s.awaitSplit(iris, split{2: 100})
		})
		s.checkSplit(split{2: 100})
	}, inCI, SpecTimeout(scenarioTimeout))

	It("is restored if the next revision fails (row 22)", func(ctx SpecContext) {
		s := startScenario(ctx, m, append([]option{model(1)}, exclusive...)...)
		s.allowFailures("while the next revision is tried in its place", func() {
			s.apply("the next revision", append([]option{model(2, "--never-ready")}, exclusive...)...)
			s.awaitConditionWithin(3*defaultTimeout, v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonReplacementFailed)
			Eventually(s.readyPods).WithArguments(1).Should(Equal(1))
		})
		s.checkSplit(split{1: 100})
		Expect(s.podUIDs(2)).To(BeEmpty())
	}, SpecTimeout(scenarioTimeout))
})

// hostPort binds the model to a port of its node, so that only one pod fits on a node.
func hostPort(port int32) option {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Containers[0].Ports[0].HostPort = port }
}

// recreate allows the operator to scale down a revision before the next one can serve.
func recreate() option {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
}
