// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

var _ = describeInModes("a rollout continues", modes, func(m mode) {
	It("although the operator is killed twenty times at random moments", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		const kills = 20
		dice := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 0)) //nolint:gosec // Reproducible with Ginkgo's seed.
		killed := make(chan struct{})
		go func() {
			defer GinkgoRecover()
			defer close(killed)
			for range kills {
				<-time.After(time.Duration(dice.IntN(1500)) * time.Millisecond)
				Expect(operators[0].Kill(ctx)).To(Succeed())
				operators[0] = launchOperator(ctx, singleOperator()[0])
			}
		}()
		stable := 1
		for isOpen(killed) {
			canary := stable + 1
			s.apply(fmt.Sprintf("canary %d of 10 %%", canary), model(canary), percent(10))
			s.awaitSplit(iris, split{stable: 90, canary: 10})
			s.apply("50 %", model(canary), percent(50))
			s.awaitSplit(iris, split{stable: 50, canary: 50})
			s.apply("promotion", model(canary))
			s.awaitSplit(iris, split{canary: 100})
			s.apply("rollback", model(canary), percent(0))
			s.awaitSplit(iris, split{stable: 100, canary: 0})
			s.apply("promotion again", model(canary))
			s.awaitSplit(iris, split{canary: 100})
			stable = canary
		}
		s.expectSplit(split{stable: 100})
	}, inCI, rules(7), SpecTimeout(scenarioTimeout))

	It("although its objects are deleted by hand", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1), replicas(2, 2))
		s.apply("canary of 20 %", model(2), replicas(2, 2), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		history := &appsv1.ControllerRevision{ObjectMeta: s.meta(revision(2))}
		for _, object := range slices.Concat([]client.Object{history}, s.workload(2), []client.Object{s.route()}) {
			s.prober.Mark(fmt.Sprintf("%T deleted", object))
			s.recorder.Excuse(object)
			s.allowFailures("until the deleted object is recreated", func() { s.replaceObject(object) })
			s.expectSplit(split{1: 80, 2: 20})
		}
	}, SpecTimeout(scenarioTimeout))
})

// Leader election, the kubelet and the gateway do not depend on the mode.
var _ = describeInModes("a rollout continues", []mode{inStandard}, func(m mode) {
	It("although the leader of two operators is killed", func(ctx SpecContext) {
		restartOperators(ctx, twoOperators())
		s := startScenario(ctx, m, model(1))
		first := s.leader()
		slow := model(2, "--start-after=2s")
		s.apply("canary of 20 %", slow, percent(20))
		Expect(operators[0].Kill(ctx)).To(Succeed()) // It started first and became the leader.
		operators = operators[1:]
		s.expectSplit(split{1: 80, 2: 20})
		Expect(s.leader()).NotTo(Equal(first), "the killed operator was not the leader")
		s.apply("promotion", slow)
		s.expectSplit(split{2: 100})
	}, SpecTimeout(scenarioTimeout))

	It("although the kubelet restarts", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 20 %", model(2), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		before, err := s.podUIDs(2)
		Expect(err).NotTo(HaveOccurred())
		restarted := s.prober.Now()
		Expect(cluster.Restart(ctx, "kubelet")).To(Succeed())
		Expect(s.prober.Until(ctx, 2*minRequests)).To(Succeed())
		s.allowFailuresWhileUnready("while the restarted kubelet reports the pods as unready", restarted)
		// A canary that the kubelet has reported as unready gets its share back once it has been ready for a while.
		s.expectSplit(split{1: 80, 2: 20})
		Expect(s.podUIDs(2)).To(Equal(before))
		s.apply("promotion", model(2))
		s.expectSplit(split{2: 100})
	}, SpecTimeout(scenarioTimeout))

	It("although the gateway restarts: requests fail only while it is down", func(ctx SpecContext) {
		s := startScenario(ctx, m, model(1))
		s.apply("canary of 20 %", model(2), percent(20))
		s.expectSplit(split{1: 80, 2: 20})
		s.prober.Mark("the gateway restarts")
		s.allowFailures("while the gateway is down", func() {
			Expect(cluster.Restart(ctx, "traefik")).To(Succeed())
			Eventually(s.checkModelReady).WithArguments(s.targets[0]).Should(Succeed())
		})
		s.expectSplit(split{1: 80, 2: 20})
	}, SpecTimeout(scenarioTimeout))
})

func isOpen(done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func (s *scenario) leader() string {
	GinkgoHelper()
	lease := &coordinationv1.Lease{}
	key := types.NamespacedName{Namespace: "serinus-system", Name: config.LeaseName}
	Expect(api.Get(s.ctx, key, lease)).To(Succeed())
	Expect(lease.Spec.HolderIdentity).NotTo(BeNil())
	return *lease.Spec.HolderIdentity
}

// checkModelReady sends one request, apart from the prober's, to check that the model is ready.
func (s *scenario) checkModelReady(t prober.Target) error {
	return prober.Answers(s.ctx, gateway(), t.Host, strings.TrimSuffix(t.Path, ":predict"))
}

func (s *scenario) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

func (s *scenario) replaceObject(object client.Object) {
	GinkgoHelper()
	key := client.ObjectKeyFromObject(object)
	Expect(api.Get(s.ctx, key, object)).To(Succeed())
	old := object.GetUID()
	Expect(api.Delete(s.ctx, object)).To(Succeed())
	Eventually(func() (types.UID, error) {
		err := api.Get(s.ctx, key, object)
		return object.GetUID(), client.IgnoreNotFound(err)
	}).ShouldNot(BeElementOf(old, types.UID("")))
	Eventually(func() (bool, error) {
		err := api.Get(s.ctx, key, object)
		return isReady(object), err
	}).Should(BeTrue())
	s.awaitSplit(iris, split{1: 80, 2: 20})
}

func isReady(object client.Object) bool {
	switch object := object.(type) {
	case *appsv1.Deployment:
		return object.Status.ObservedGeneration == object.Generation && object.Status.ReadyReplicas == *object.Spec.Replicas
	case *servingv1.Revision:
		return object.IsReady()
	case *servingv1.Service:
		return object.IsReady()
	}
	return true
}

func (s *scenario) workload(n int) []client.Object {
	if s.mode == inKnative {
		return []client.Object{&servingv1.Revision{ObjectMeta: s.meta(revision(n))}}
	}
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: s.meta(revision(n) + "-deployment")}, &corev1.Service{ObjectMeta: s.meta(revision(n))},
	}
}

func (s *scenario) route() client.Object {
	if s.mode == inKnative {
		return &servingv1.Service{ObjectMeta: s.meta(backend.PredictorName(iris))}
	}
	return &gatewayv1.HTTPRoute{ObjectMeta: s.meta(iris)}
}
