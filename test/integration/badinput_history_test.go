// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/test/integration/wire"
	"github.com/serinus-io/serinus/test/peers"
)

// wipe removes the status.
func (s *story) wipe() {
	GinkgoHelper()
	isvc, err := s.isvc()
	Expect(err).NotTo(HaveOccurred())
	patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/status"}]`))
	Expect(api.Status().Patch(s.ctx, isvc, patch)).To(Succeed())
}

// asleep has something done while no operator runs.
func (s *story) asleep(do func()) {
	GinkgoHelper()
	s.settles()
	s.stopOperator()
	do()
	s.start(wire.New())
}

// gives expects that of the splits that the route was given, those after the first ones are among these.
func (s *story) gives(first int, splits ...string) {
	GinkgoHelper()
	for _, split := range s.journal.Given(iris)[first:] {
		Expect(split).To(BeElementOf(splits))
	}
}

// promotes brings a story to where model 2 has taken over from model 1, whose workload is gone since.
func (s *story) promotes() {
	GinkgoHelper()
	s.canaries()
	s.apply(model(2))
	s.prints("True", "", "100", "", revision(2))
	s.runs(2)
	s.settles()
}

// losses are the ways in which the route's memory can be lost. Users have still been told.
var losses = map[string]func(*story){
	"the route is deleted":  func(s *story) { s.destroy(routeNamed(iris)) },
	"the record is garbage": func(s *story) { s.meddle(routeNamed(iris), record("garbage")) },
	"the record is removed": func(s *story) { s.meddle(routeNamed(iris), noRecord) },
	"the record tells of nothing known": func(s *story) {
		s.meddle(routeNamed(iris), record(`{"stable":7,"target":8,"percent":10,"split":{"7":90,"8":10},"highest":9}`))
	},
}

var _ = Describe("a release whose record is lost", func() {
	It("goes on where it was", func(ctx SpecContext) {
		var trials []trial
		for name, lose := range losses {
			for when, losing := range map[string]func(*story){
				name:                             lose,
				name + " while no operator runs": func(s *story) { s.asleep(func() { lose(s) }) },
			} {
				trials = append(trials, trial{name: "a canary: " + when, tell: func(s *story) {
					s.canaries()
					given := len(s.journal.Given(iris))
					losing(s)
					s.remembers("S=1")
					s.splits("2:10 1:90")
					s.prints("True", "90", "10", revision(1), revision(2))
					s.gives(given, "2:10 1:90")
					s.apply(model(2))
					s.prints("True", "", "100", "", revision(2))
					s.remembers("S=2 V=1")
					s.gives(given, "2:10 1:90", "2:100")
				}}, trial{name: "a promotion: " + when, tell: func(s *story) {
					s.promotes()
					given := len(s.journal.Given(iris))
					losing(s)
					s.remembers("S=2 V=1")
					s.prints("True", "", "100", "", revision(2))
					s.gives(given, "2:100")
					s.apply(model(2), percent(0))
					s.prints("True", "100", "0", revision(1), revision(2))
					s.gives(given, "2:100", "2:0 1:100")
				}}, trial{name: "a rollback: " + when, tell: func(s *story) {
					s.promotes()
					s.apply(model(2), percent(0))
					s.prints("True", "100", "0", revision(1), revision(2))
					s.settles()
					given := len(s.journal.Given(iris))
					losing(s)
					s.remembers("S=1")
					s.splits("2:0 1:100")
					s.prints("True", "100", "0", revision(1), revision(2))
					s.becomes(3, peers.NotReady())
					s.apply(model(3), percent(20))
					s.prints("Unknown", "", "100", "", revision(1))
					s.becomes(3, peers.Ready())
					s.prints("True", "80", "20", revision(1), revision(3))
					s.gives(given, "2:0 1:100", "1:100", "3:20 1:80")
				}})
			}
		}
		together(ctx, trials)
	})

	It("goes on with the weights, or with what runs, when the status is lost, too", func(ctx SpecContext) {
		together(ctx, []trial{{name: "a canary without its record", tell: func(s *story) {
			s.canaries()
			s.asleep(func() {
				s.meddle(routeNamed(iris), noRecord)
				s.wipe()
			})
			s.remembers("S=1")
			s.prints("True", "90", "10", revision(1), revision(2))
			s.history("1:100", "2:10 1:90")
		}}, {name: "a canary without its route", tell: func(s *story) {
			s.canaries()
			s.asleep(func() {
				s.destroy(routeNamed(iris))
				s.wipe()
			})
			s.remembers("S=1")
			s.prints("True", "90", "10", revision(1), revision(2))
			s.history("1:100", "2:10 1:90")
		}}, {name: "a promotion without its route", tell: func(s *story) {
			s.promotes()
			s.asleep(func() {
				s.destroy(routeNamed(iris))
				s.wipe()
			})
			s.remembers("S=2")
			s.prints("True", "", "100", "", revision(2))
			s.history("1:100", "2:10 1:90", "2:100")
		}}})
	})
})

var _ = Describe("a revision whose record and workload are deleted", func() {
	lose := func(s *story, n int) {
		GinkgoHelper()
		s.asleep(func() { s.loses(n) })
	}

	It("is made again as it was, as long as the spec asks for it", func(ctx SpecContext) {
		together(ctx, []trial{{name: "a stable", tell: func(s *story) {
			s.apply(model(1))
			s.prints("True", "", "100", "", revision(1))
			s.settles()
			before, err := s.world()
			Expect(err).NotTo(HaveOccurred())
			lose(s, 1)
			s.becomesWorld(before, "once it is back")
			s.history("1:100")
		}}, {name: "a canary", tell: func(s *story) {
			s.canaries()
			before, err := s.world()
			Expect(err).NotTo(HaveOccurred())
			lose(s, 2)
			s.becomesWorld(before, "once it is back")
			Expect(s.journal.Given(iris)).To(HaveEach(BeElementOf("1:100", "2:10 1:90", "2:0 1:100")))
		}}})
	})

	It("is not missed as the previous one before a rollback is asked for, and then the condition says so", func(ctx SpecContext) {
		s := promoted(ctx)
		s.asleep(func() { s.destroy(recordOf(1)) })
		s.prints("True", "", "100", "", revision(2))
		s.apply(model(2), percent(0))
		s.prints("False", "", "100", "", revision(2))
		s.condition(v1beta1.ConditionRoutesReady, Be(metav1.ConditionFalse, "NothingToRollBackTo", "Remove canaryTrafficPercent, or apply the earlier model again"))
		s.apply(model(1), percent(0))
		s.prints("True", "100", "0", revision(2), revision(3))
		s.history("1:100", "2:10 1:90", "2:100", "3:0 2:100")
	})

	It("cannot be brought back as the stable of a canary, which keeps its share and no more", func(ctx SpecContext) {
		s := canary(ctx)
		lose(s, 1)
		s.prints("False", "90", "10", revision(1), revision(2))
		s.settles()
		s.silent()
		s.splits("2:10 1:90")
		s.condition(v1beta1.ConditionReady, Be(metav1.ConditionFalse, "RevisionLost",
			revision(1)+", which has 90 % of the traffic, is lost: its ControllerRevision and its Deployment were deleted; remove canaryTrafficPercent to promote "+revision(2)))

		By("promoting the canary")
		s.apply(model(2))
		s.prints("True", "", "100", "", revision(2))
		s.runs(2)
		s.history("1:100", "2:10 1:90", "2:100")
	})

	It("is made anew with everything else", func(ctx SpecContext) {
		s := canary(ctx)
		s.asleep(func() {
			for _, list := range []client.ObjectList{
				&appsv1.ControllerRevisionList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{},
				&autoscalingv2.HorizontalPodAutoscalerList{}, &gatewayv1.HTTPRouteList{},
			} {
				Expect(api.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
				for _, object := range itemsOf(list) {
					s.journal.Excuse(object)
					Expect(api.Delete(ctx, object)).To(Succeed())
				}
			}
		})
		s.prints("True", "", "100", "", revision(3))
		s.remembers("S=3")
	})
})
