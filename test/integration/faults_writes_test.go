// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/test/integration/wire"
)

// faults are the ways in which the API server fails a write.
var faults = []struct {
	name  string
	fault wire.Fault
	// unknown says that the operator does not get to know what its write has come to.
	unknown bool
}{
	{"answers with a conflict", wire.ErrorResponse(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again"), false},
	{"has too many requests", wire.ErrorResponse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "the server has received too many requests"), false},
	{"fails", wire.ErrorResponse(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: no leader"), false},
	{"is not available", wire.ErrorResponse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down"), false},
	{"does nothing until the client gives up", wire.RequestLost().TimedOut(), false},
	{"does it and does not answer until the client gives up", wire.ResponseLost().TimedOut(), true},
}

// once has the n-th write of a chapter meet a fate, and everyOther each write whose turn is odd.
func once(n int) func(turn int) bool { return func(turn int) bool { return turn == n } }
func everyOther(turn int) bool       { return turn%2 == 1 }

// meeting has the writes whose turn it is meet a fate.
func meeting(fault wire.Fault, isTurn func(turn int) bool) wire.Injector {
	turn := 0
	return func(wire.Write) wire.Fault {
		if turn++; isTurn(turn) {
			return fault
		}
		return wire.NoFault()
	}
}

var _ = Describe("an API server that fails a write", func() {
	It("delays a release, and changes nothing about it", func(ctx SpecContext) {
		const name = "a life"
		told := lives[name]
		told.chapters = told.chapters[:4] // Up to the rollback; the others write what these write.
		course := undisturbed(ctx, map[string]life{name: told})[name]
		var trials []trial
		for _, fault := range faults {
			try := func(when string, isTurn func(int) bool) {
				trials = append(trials, trial{
					name: fmt.Sprintf("%s in which the API server %s %s", name, fault.name, when),
					tell: func(s *story) { s.endure(told, course, fault.fault, fault.unknown, isTurn) },
				})
			}
			for n := 1; n <= course.most(); n++ {
				try(fmt.Sprintf("at write %d of each chapter", n), once(n))
			}
			try("at every other write", everyOther)
		}
		together(ctx, trials)
	})
})

// endure tells a life in which writes fail. Each chapter must end as if none had, after not many more writes, and with
// the same announced.
func (s *story) endure(told life, course course, fault wire.Fault, unknown bool, isTurn func(int) bool) {
	GinkgoHelper()
	for i, c := range told.chapters {
		before := len(s.operator.wire.Writes())
		s.operator.wire.Inject(meeting(fault, isTurn))
		s.apply(append(slices.Clone(c.says), told.replicas)...)
		s.reaches(c)
		s.becomesWorld(course[i].world, "after the "+c.name)
		s.operator.wire.Inject(nil)
		Expect(len(s.operator.wire.Writes())-before).To(BeNumerically("<=", 2*course[i].writes+5), "writes of the %s", c.name)
		if !unknown {
			Eventually(s.transitions).Should(Equal(course[i].announced), "what is announced of the %s", c.name)
		}
	}
	s.livedThrough(told)
}

var _ = Describe("an API server that goes on failing writes of one kind", func() {
	It("is told of, moves nothing, and is gone on with once it takes them", func(ctx SpecContext) {
		scaling := replicas(1, 3)
		var trials []trial
		for _, resource := range []string{"controllerrevisions", "deployments", "services", "horizontalpodautoscalers", "httproutes"} {
			trials = append(trials, trial{name: resource, tell: func(s *story) {
				s.apply(model(1), scaling)
				s.prints("True", "", "100", "", revision(1))
				s.settles()
				fails := wire.ErrorResponse(http.StatusInternalServerError, metav1.StatusReasonInternalError, "failed calling webhook \"example.com\"")
				s.operator.wire.Inject(func(write wire.Write) wire.Fault {
					if write.Resource == resource {
						return fails
					}
					return wire.NoFault()
				})
				s.apply(model(2), percent(10), scaling)
				s.prints("False", "", "100", "", revision(1))
				s.condition(v1beta1.ConditionReady, Be(metav1.ConditionFalse, "NotApplied", "failed calling webhook \"example.com\""))
				s.condition(v1beta1.ConditionReady, Be(metav1.ConditionFalse, "NotApplied", "goes on by itself once the API server takes it"))
				s.announces("NotApplied")
				s.history("1:100")
				s.operator.wire.Inject(nil)
				s.prints("True", "90", "10", revision(1), revision(2))
				s.history("1:100", "2:10 1:90")
			}})
		}
		together(ctx, trials)
	})
})
