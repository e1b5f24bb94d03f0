// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// Standard mode never scales a revision with a share to zero.
var _ = describeInModes("a service that may scale to zero", []mode{inKnative}, func(m mode) {
	fromZero := replicas(0, 1)

	It("is scaled up by a request, and so is its canary", func(ctx SpecContext) {
		s := newScenario(ctx, m, scenarioNamespace(), iris)
		s.create(iris, model(1), fromZero)
		s.awaitSplit(iris, split{1: 100})
		s.awaitScaledToZero(1)
		s.send(s.target(iris, rate))
		s.expectSplit(split{1: 100})
		s.apply("canary of 0 %", model(2), fromZero, percent(0))
		s.expectSplit(split{1: 100, 2: 0})
		s.awaitScaledToZero(2)
		s.apply("20 %", model(2), fromZero, percent(20))
		s.expectSplit(split{1: 80, 2: 20})
	}, SpecTimeout(scenarioTimeout))

	It("is rolled back to a revision without pods, and no request fails (row 9)", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1, "--start-after=2s"), fromZero)
		s.apply("promotion", model(2), fromZero)
		s.expectSplit(split{2: 100})
		s.awaitScaledToZero(1)
		s.apply("rollback", model(2), fromZero, percent(0))
		s.expectSplit(split{1: 100, 2: 0})
	}, SpecTimeout(scenarioTimeout))
})

func (s *scenario) awaitScaledToZero(n int) {
	GinkgoHelper()
	Eventually(s.podUIDs).WithArguments(n).WithTimeout(2 * defaultTimeout).Should(BeEmpty())
}
