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
var _ = told("a model that leaves no room for another on its node", []mode{inStandard}, func(m mode) {
	alone := []manifest{onPortOfNode(18080), recreated()}

	It("makes room for the next one, where the user allows that (row 22)", func(ctx SpecContext) {
		s := begin(ctx, m, append([]manifest{model(1)}, alone...)...)
		s.mayFail("while one takes the place of the other", func() {
			s.apply("the next one", append([]manifest{model(2)}, alone...)...)
			s.conditionWithin(2*patience, v1beta1.ConditionRoutesReady, metav1.ConditionUnknown, status.ReasonReplacing)
			s.settles(iris, split{2: 100})
		})
		s.goesOnServing(split{2: 100})
	}, inCI, SpecTimeout(perStory))

	It("comes back if the next one fails (row 22)", func(ctx SpecContext) {
		s := begin(ctx, m, append([]manifest{model(1)}, alone...)...)
		s.mayFail("while the other is tried in its place", func() {
			s.apply("the next one", append([]manifest{model(2, "--never-ready")}, alone...)...)
			s.conditionWithin(3*patience, v1beta1.ConditionRoutesReady, metav1.ConditionFalse, status.ReasonReplacementFailed)
			Eventually(s.readyPods).WithArguments(1).Should(Equal(1))
		})
		s.goesOnServing(split{1: 100})
		Expect(s.uids(2)).To(BeEmpty())
	}, SpecTimeout(perStory))
})

// onPortOfNode has a model take a port of its node, which can be had once.
func onPortOfNode(port int32) manifest {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Containers[0].Ports[0].HostPort = port }
}

// recreated allows a revision to be taken down before the next one can serve.
func recreated() manifest {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
}
