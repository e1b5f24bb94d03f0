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

// faults are the ways in which a write can fail.
var faults = []struct {
	name  string
	fault wire.Fault
	// unknown reports whether the write takes effect without the operator's knowledge.
	unknown bool
}{
	{"answers with a conflict", wire.ErrorResponse(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again"), false},
	{"answers with too many requests", wire.ErrorResponse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "the server has received too many requests"), false},
	{"answers with an internal error", wire.ErrorResponse(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: no leader"), false},
	{"answers that it is unavailable", wire.ErrorResponse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down"), false},
	{"loses the request until the client times out", wire.RequestLost().TimedOut(), false},
	{"loses the response until the client times out", wire.ResponseLost().TimedOut(), true},
}

// once selects the n-th write of a step, and everyOther every second write.
func once(n int) func(turn int) bool { return func(turn int) bool { return turn == n } }
func everyOther(turn int) bool       { return turn%2 == 1 }

// faultWhen injects a fault into the selected writes.
func faultWhen(fault wire.Fault, isTurn func(turn int) bool) wire.Injector {
	turn := 0
	return func(wire.Write) wire.Fault {
		if turn++; isTurn(turn) {
			return fault
		}
		return wire.NoFault()
	}
}

var _ = Describe("a write that fails", func() {
	It("delays a release and changes nothing else", func(ctx SpecContext) {
		const name = "a release"
		l := lifecycles[name]
		l.steps = l.steps[:4] // Up to the rollback. The other steps make no other kinds of writes.
		baseline := recordBaselines(ctx, map[string]lifecycle{name: l})[name]
		var variants []variant
		for _, f := range faults {
			add := func(when string, isTurn func(int) bool) {
				variants = append(variants, variant{
					name: fmt.Sprintf("%s in which the API server %s %s", name, f.name, when),
					body: func(s *scenario) { s.runWithFaults(l, baseline, f.fault, f.unknown, isTurn) },
				})
			}
			for n := 1; n <= baseline.maxWrites(); n++ {
				add(fmt.Sprintf("at write %d of each step", n), once(n))
			}
			add("at every second write", everyOther)
		}
		runAll(ctx, variants)
	})
})

// runWithFaults runs a lifecycle in which writes fail. Each step must have the same result and the
// same events as without faults, with a bounded number of additional writes.
func (s *scenario) runWithFaults(l lifecycle, baseline baseline, fault wire.Fault, unknown bool, isTurn func(int) bool) {
	GinkgoHelper()
	for i, st := range l.steps {
		before := len(s.operator.wire.Writes())
		s.operator.wire.Inject(faultWhen(fault, isTurn))
		s.apply(append(slices.Clone(st.options), l.replicas)...)
		s.awaitStep(st)
		s.awaitSnapshot(baseline[i].snapshot, "after the "+st.name)
		s.operator.wire.Inject(nil)
		Expect(len(s.operator.wire.Writes())-before).To(BeNumerically("<=", 2*baseline[i].writes+5), "writes of the %s", st.name)
		if !unknown {
			Eventually(s.transitionEvents).Should(Equal(baseline[i].events), "events of the %s", st.name)
		}
	}
	s.checkLifecycle(l)
}

var _ = Describe("an API server that keeps rejecting writes of one kind", func() {
	It("is reported and moves no traffic, and the release continues once it accepts them", func(ctx SpecContext) {
		scaling := replicaBounds(1, 3)
		var variants []variant
		for _, resource := range []string{"controllerrevisions", "deployments", "services", "horizontalpodautoscalers", "httproutes"} {
			variants = append(variants, variant{name: resource, body: func(s *scenario) {
				s.apply(model(1), scaling)
				s.awaitColumns("True", "", "100", "", revision(1))
				s.awaitSettled()
				failure := wire.ErrorResponse(http.StatusInternalServerError, metav1.StatusReasonInternalError, "failed calling webhook \"example.com\"")
				s.operator.wire.Inject(func(write wire.Write) wire.Fault {
					if write.Resource == resource {
						return failure
					}
					return wire.NoFault()
				})
				s.apply(model(2), percent(10), scaling)
				s.awaitColumns("False", "", "100", "", revision(1))
				s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "NotApplied", "failed calling webhook \"example.com\""))
				s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionFalse, "NotApplied", "goes on by itself once the API server takes it"))
				s.awaitEvent("NotApplied")
				s.awaitSplitHistory("1:100")
				s.operator.wire.Inject(nil)
				s.awaitColumns("True", "90", "10", revision(1), revision(2))
				s.awaitSplitHistory("1:100", "2:10 1:90")
			}})
		}
		runAll(ctx, variants)
	})
})
