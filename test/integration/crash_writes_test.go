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

var _ = Describe("an operator that dies after a write", func() {
	It("leaves to the next one what this one would have come to, whichever write it was", func(ctx SpecContext) {
		courses := undisturbed(ctx, lives)
		var trials []trial
		for name, told := range lives {
			course := courses[name]
			for last := 1; last <= course.most(); last++ {
				trials = append(trials, trial{
					name:    fmt.Sprintf("%s in which an operator dies after write %d of each chapter", name, last),
					options: told.options,
					tell:    func(s *story) { s.live(told, course, last, 1) },
				})
			}
			trials = append(trials, trial{
				name: name + " in which each operator dies after its first write", options: told.options,
				tell: func(s *story) { s.live(told, course, 1, math.MaxInt) },
			})
		}
		together(ctx, trials)
	})
})

// live tells a life in which operators die after so many writes, and as many of them in each chapter. Each chapter must
// end as if none had.
func (s *story) live(told life, course course, writes, deaths int) {
	GinkgoHelper()
	for i, c := range told.chapters {
		s.operator.wire.Inject(wire.CrashAfter(writes))
		s.apply(append(slices.Clone(c.says), told.replicas)...)
		for died := 0; died < deaths && s.diesBefore(c, course[i]); {
			died++
			s.stopOperator()
			next := wire.New()
			if died < deaths {
				next.Inject(wire.CrashAfter(writes))
			}
			s.start(next)
		}
		s.operator.wire.Inject(nil)
		s.reaches(c)
		s.becomesWorld(course[i].world, "after the "+c.name)
	}
	s.livedThrough(told)
}

// diesBefore waits for the operator to die, or for the end of the chapter.
func (s *story) diesBefore(c chapter, end ending) bool {
	GinkgoHelper()
	died := false
	Eventually(func() (bool, error) {
		select {
		case <-s.operator.wire.Crashed():
			died = true
			return true, nil
		default:
		}
		if s.operator.wire.Idle() < 500*time.Millisecond {
			return false, nil
		}
		world, err := s.world()
		return world == end.world, err
	}).Should(BeTrue(), "the operator neither dies nor comes to the end of the %s", c.name)
	return died
}
