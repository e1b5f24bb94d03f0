// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// Under load, watch events arrive late, and each kind has its own stream. An operator with a stale
// cache must not do harm or report a wrong status. The recorder checks this.
var _ = Describe("an operator with a stale cache", func() {
	for _, resource := range []string{
		"httproutes", "inferenceservices", "deployments", "services", "controllerrevisions", "endpointslices", "pods",
	} {
		It("of "+resource+" reaches the same results by the same steps", func(ctx SpecContext) {
			s := startScenario(ctx)
			s.operator.wire.DelayWatch(resource, 200*time.Millisecond)
			withTagRouting := annotation(v1beta1.AnnotationEnableTagRouting, "true")
			s.apply(model(1), withTagRouting)
			s.awaitColumns("True", "", "100", "", revision(1))
			s.apply(model(2), percent(10), withTagRouting)
			s.awaitColumns("True", "90", "10", revision(1), revision(2))

			By("changing the percent faster than the operator observes it")
			for range 5 {
				s.apply(model(2), percent(20), withTagRouting)
				s.apply(model(2), percent(10), withTagRouting)
			}
			s.awaitColumns("True", "90", "10", revision(1), revision(2))
			s.awaitSplit("2:10 1:90")

			By("promoting and rolling back at once")
			s.apply(model(2), withTagRouting)
			s.awaitSplit("2:100")
			s.apply(model(2), percent(0), withTagRouting)
			s.awaitColumns("True", "100", "0", revision(1), revision(2))
			s.awaitSplit("2:0 1:100")
			s.awaitRolloutState("S=1")
			s.awaitRunning(1, 2)

			By("superseding")
			s.apply(model(3), withTagRouting)
			s.awaitColumns("True", "", "100", "", revision(3))
			s.awaitRolloutState("S=3 V=1")
			s.awaitRunning(3)
			s.awaitSettled()
		})
	}
})
