// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// In Standard mode nothing is scaled to zero that requests can come to.
var _ = told("a service that may scale to zero", []mode{inKnative}, func(m mode) {
	fromZero := replicas(0, 1)

	It("is woken by a request, and so is its canary", func(ctx SpecContext) {
		s := stage(ctx, m, storyNamespace(), iris)
		s.create(iris, model(1), fromZero)
		s.settles(iris, split{1: 100})
		s.sleeps(1)
		s.send(s.target(iris, rate))
		s.serves(split{1: 100})
		s.apply("canary of 0 %", model(2), fromZero, percent(0))
		s.serves(split{1: 100, 2: 0})
		s.sleeps(2)
		s.apply("20 %", model(2), fromZero, percent(20))
		s.serves(split{1: 80, 2: 20})
	}, SpecTimeout(perStory))

	It("is rolled back to a revision without pods, and no request fails (row 9)", func(ctx SpecContext) {
		s := begin(ctx, m, model(1, "--start-after=2s"), fromZero)
		s.apply("promotion", model(2), fromZero)
		s.serves(split{2: 100})
		s.sleeps(1)
		s.apply("rollback", model(2), fromZero, percent(0))
		s.serves(split{1: 100, 2: 0})
	}, SpecTimeout(perStory))
})

// sleeps waits until Knative has scaled a revision to zero.
func (s *story) sleeps(n int) {
	GinkgoHelper()
	Eventually(s.uids).WithArguments(n).WithTimeout(2 * patience).Should(BeEmpty())
}
