// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/serinus-io/serinus/test/peers"
)

// The rows of the table «What the split is» in the contract, by their numbers.

var _ = Describe("row 1: the first deployment is not ready", func() {
	It("splits nothing and prints blanks", func(ctx SpecContext) {
		s := begin(ctx)
		s.becomes(1, peers.NotReady())
		s.apply(model(1))
		s.prints("Unknown", "", "", "", "")
		s.history()
	})
})

var _ = Describe("row 2: the first deployment is ready", func() {
	It("takes everything", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1))
		s.prints("True", "", "100", "", revision(1))
		s.splits("1:100")
		s.remembers("S=1")
	})
})

var _ = Describe("row 4: the target is ready and the percent is 10", func() {
	It("gives it 10", func(ctx SpecContext) {
		s := begin(ctx)
		s.apply(model(1))
		s.prints("True", "", "100", "", revision(1))
		s.apply(model(2), percent(10))
		s.prints("True", "90", "10", revision(1), revision(2))
		s.splits("2:10 1:90")
		s.remembers("S=1")
	})
})
