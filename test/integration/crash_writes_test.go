// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"math"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/serinus-io/serinus/test/integration/wire"
)

var _ = Describe("an operator that crashes after a write", func() {
	It("is continued by the next one with the same result, whichever write it was", func(ctx SpecContext) {
		baselines := recordBaselines(ctx, lifecycles)
		var variants []variant
		for name, l := range lifecycles {
			baseline := baselines[name]
			for last := 1; last <= baseline.maxWrites(); last++ {
				variants = append(variants, variant{
					name:    fmt.Sprintf("%s in which an operator crashes after write %d of each step", name, last),
					options: l.options,
					body:    func(s *scenario) { s.runWithCrashes(l, baseline, last, 1) },
				})
			}
			variants = append(variants, variant{
				name: name + " in which each operator crashes after its first write", options: l.options,
				body: func(s *scenario) { s.runWithCrashes(l, baseline, 1, math.MaxInt) },
			})
		}
		runAll(ctx, variants)
	})
})

// runWithCrashes runs a lifecycle in which operators crash with the given write, so many times in
// each step. Each step must have the same result as without crashes.
func (s *scenario) runWithCrashes(l lifecycle, baseline baseline, writes, crashes int) {
	GinkgoHelper()
	for i, st := range l.steps {
		s.operator.wire.Inject(wire.CrashAfter(writes))
		s.apply(append(slices.Clone(st.options), l.replicas)...)
		for crashed := 0; crashed < crashes && s.crashesBefore(st, baseline[i]); {
			crashed++
			s.stopOperator()
			next := wire.New()
			if crashed < crashes {
				next.Inject(wire.CrashAfter(writes))
			}
			s.startOperator(next)
		}
		s.operator.wire.Inject(nil)
		s.awaitStep(st)
		s.awaitSnapshot(baseline[i].snapshot, "after the "+st.name)
	}
	s.checkLifecycle(l)
}

// crashesBefore waits until the operator crashes or the step is complete, and reports whether it
// crashed.
func (s *scenario) crashesBefore(st step, want outcome) bool {
	GinkgoHelper()
	crashed := false
	Eventually(func() (bool, error) {
		select {
		case <-s.operator.wire.Crashed():
			crashed = true
			return true, nil
		default:
		}
		if s.operator.wire.Idle() < 500*time.Millisecond {
			return false, nil
		}
		snapshot, err := s.snapshot()
		return snapshot == want.snapshot, err
	}).Should(BeTrue(), "the operator neither crashes nor completes the %s", st.name)
	return crashed
}
