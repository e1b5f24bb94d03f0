// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

var _ = Describe("a gateway whose data plane is behind", func() {
	It("keeps the old revision running while the Gateway is not programmed, and no request fails", func(ctx SpecContext) {
		gateway, withGateway := newGateway(ctx)
		setProgrammed(ctx, gateway, metav1.ConditionTrue)
		s := startScenario(ctx, withGateway)
		s.setUpStable()
		clients := s.sendRequests()
		s.gateway.SetStalled(true)
		setProgrammed(ctx, gateway, metav1.ConditionFalse)
		message := `Gateway "` + gateway.Name + `" in namespace "kserve" reports that its configuration is not in effect`
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionFalse, "GatewayNotProgrammed", message))
		s.awaitColumns("False", "", "100", "", revision(1))

		s.apply(model(2))
		s.awaitSplit("2:100")
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionFalse, "GatewayNotProgrammed", message))
		Consistently(s.isRunning, 10*s.config.Rollout.DrainPeriod.Duration).WithArguments(1).Should(BeTrue())
		s.awaitColumns("False", "", "100", "", revision(1)) // The status must not report a split that is not served.

		s.gateway.SetStalled(false)
		setProgrammed(ctx, gateway, metav1.ConditionTrue)
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		Eventually(clients.answered).WithArguments(revision(2)).Should(BeNumerically(">", 0))
		Expect(clients.failed()).To(BeEmpty())
	})

	It("by less than the drain period fails no request", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = 3 * time.Second })
		s.setUpStable()
		clients := s.sendRequests()
		s.gateway.SetLag(1500 * time.Millisecond) // Half of the drain period. By default that would be half a minute.
		s.apply(model(2))
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
		s.apply(model(2), percent(0))
		s.awaitColumns("True", "100", "0", revision(1), revision(2))
		Eventually(func() map[string]int32 { return s.gateway.Weights(s.key(iris)) }).Should(Equal(map[string]int32{revision(1): 100}))
		Expect(clients.failed()).To(BeEmpty())
	})

	It("after a restart of its controller fails no request", func(ctx SpecContext) {
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Rollout.DrainPeriod.Duration = 3 * time.Second })
		s.setUpStable()
		clients := s.sendRequests()
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(2), percent(10))
		s.awaitSplit("2:10 1:90")
		s.apply(model(2))
		s.awaitSplit("2:100")
		s.apply(model(3))
		s.awaitSplit("3:100")
		s.awaitSettled()
		s.awaitRunning(1, 2, 3) // Any of the three routes may be in effect.
		s.gateway.SetLag(1500 * time.Millisecond)
		s.setGateway(fakecluster.Accepting())
		s.awaitColumns("True", "", "100", "", revision(3))
		s.awaitRunning(3)
		Eventually(clients.answered).WithArguments(revision(3)).Should(BeNumerically(">", 0))
		Expect(clients.failed()).To(BeEmpty())
	})
})

var _ = Describe("an unresponsive gateway", func() {
	It("blocks all drains and is named in the condition", func(ctx SpecContext) {
		s := startScenario(ctx)
		s.setUpStable()
		clients := s.sendRequests()
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(2))
		s.awaitSplit("2:100")
		s.awaitCondition(v1beta1.ConditionIngressReady, BeCondition(metav1.ConditionUnknown, "WaitingForGateway",
			`waiting for Gateway "kserve-ingress-gateway" in namespace "kserve" to accept HTTPRoute "`+iris+`"`))
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		s.awaitSettled()
		Consistently(s.isRunning, 10*s.config.Rollout.DrainPeriod.Duration).WithArguments(1).Should(BeTrue())
		s.expectNoWrites()
		Expect(clients.failed()).To(BeEmpty())
	})
})

var _ = Describe("a Gateway whose status is of an older generation", func() {
	It("holds drains and reports at once, and makes a settled service not Ready after a minute", func(ctx SpecContext) {
		gateway, withGateway := newGateway(ctx)
		setProgrammed(ctx, gateway, metav1.ConditionTrue)
		s := startScenario(ctx, withGateway)
		s.setUpStable()
		s.awaitSettled()
		gateway.Spec.Listeners[0].Port = 8080
		Expect(api.Update(ctx, gateway)).To(Succeed())
		changed := time.Now()
		setProgrammedAt(ctx, gateway, gateway.Generation-1, metav1.ConditionFalse)
		waiting := BeCondition(metav1.ConditionUnknown, "WaitingForGateway", `waiting for Gateway "`+gateway.Name+`" in namespace "kserve" to report`)

		By("waiting while traffic is served")
		s.expectNoWrites()
		s.awaitColumns("True", "", "100", "", revision(1))
		Expect(time.Since(changed)).To(BeNumerically("<", time.Minute))
		s.awaitConditionWithin(90*time.Second, v1beta1.ConditionIngressReady, waiting)
		// The API server truncates both times to seconds.
		Expect(time.Since(changed)).To(BeNumerically(">", 58*time.Second))
		setProgrammed(ctx, gateway, metav1.ConditionTrue)
		s.awaitColumns("True", "", "100", "", revision(1))

		By("changing the split in the meantime")
		gateway.Spec.Listeners[0].Port = 80
		Expect(api.Update(ctx, gateway)).To(Succeed())
		s.apply(model(2))
		s.awaitSplit("2:100")
		s.awaitCondition(v1beta1.ConditionIngressReady, waiting)
		s.awaitColumns("Unknown", "", "100", "", revision(1))
		Consistently(s.isRunning, 10*s.config.Rollout.DrainPeriod.Duration).WithArguments(1).Should(BeTrue())
		setProgrammed(ctx, gateway, metav1.ConditionTrue)
		s.awaitColumns("True", "", "100", "", revision(2))
		s.awaitRunning(2)
	})
})

var _ = Describe("a route of which more than the split changes", func() {
	It("makes the service not Ready, and keeps the URL, until a gateway has accepted it", func(ctx SpecContext) {
		gateway, _ := newGateway(ctx)
		local := &config.LocalGateway{
			Namespace: "kserve", Name: gateway.Name, Service: config.ServiceRef{Namespace: "kserve", Name: "local"},
		}
		s := startScenario(ctx, func(cfg *config.Config) { cfg.Ingress.LocalGateway = local })
		s.setUpStable()
		s.awaitSettled()
		before, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		s.setGateway(fakecluster.Unresponsive())
		s.apply(model(1), label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal))
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionUnknown, "WaitingForGateway", ""))
		Consistently(func(g Gomega) {
			isvc, err := s.isvc()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(isvc.Status.URL).To(Equal(before.Status.URL))
		}, time.Second).Should(Succeed())
		s.setGateway(fakecluster.Accepting())
		s.awaitCondition(v1beta1.ConditionReady, BeCondition(metav1.ConditionTrue, "Ready", ""))
		isvc, err := s.isvc()
		Expect(err).NotTo(HaveOccurred())
		Expect(isvc.Status.URL).To(Equal("http://" + iris + "." + s.namespace + ".svc.cluster.local"))
	})
})

// newGateway creates a Gateway for one scenario, because its conditions apply to all its routes.
func newGateway(ctx context.Context) (*gatewayv1.Gateway, configOption) {
	GinkgoHelper()
	gateway := &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kserve", Name: "gateway-" + rand.String(8)},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "fake", Listeners: []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
	Expect(api.Create(ctx, gateway)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, gateway)).To(Succeed()) })
	return gateway, func(cfg *config.Config) { cfg.Ingress.Gateway.Name = gateway.Name }
}

func setProgrammed(ctx context.Context, gateway *gatewayv1.Gateway, status metav1.ConditionStatus) {
	GinkgoHelper()
	Expect(api.Get(ctx, client.ObjectKeyFromObject(gateway), gateway)).To(Succeed())
	setProgrammedAt(ctx, gateway, gateway.Generation, status)
}

func setProgrammedAt(ctx context.Context, gateway *gatewayv1.Gateway, generation int64, status metav1.ConditionStatus) {
	GinkgoHelper()
	apimeta.SetStatusCondition(&gateway.Status.Conditions, metav1.Condition{
		Type: string(gatewayv1.GatewayConditionProgrammed), Status: status, Reason: "Test", Message: "set by the test",
		ObservedGeneration: generation,
	})
	Expect(api.Status().Update(ctx, gateway)).To(Succeed())
}

// isRunning reports whether the Deployment of a revision has replicas.
func (s *scenario) isRunning(n int) (bool, error) {
	deployment := &appsv1.Deployment{}
	err := api.Get(s.ctx, s.key(revision(n)+"-deployment"), deployment)
	return err == nil && *deployment.Spec.Replicas > 0, client.IgnoreNotFound(err)
}

// requests counts the requests of clients by revision.
type requests struct {
	mu                  sync.Mutex
	successes, failures map[string]int
}

func (r *requests) answered(revision string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.successes[revision]
}

func (r *requests) failed() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

func (s *scenario) sendRequests() *requests {
	sent := &requests{successes: map[string]int{}, failures: map[string]int{}}
	s.repeat(func(ctx context.Context) { s.sendRequest(ctx, sent) })
	return sent
}

// repeat calls do in the background until stop is called or the scenario ends.
func (s *scenario) repeat(do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ticker := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
				do(ctx)
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	s.deferCleanup(func(SpecContext) { stop() })
	return stop
}

func (s *scenario) sendRequest(ctx context.Context, sent *requests) {
	for revision := range s.gateway.Weights(s.key(iris)) {
		var slices discoveryv1.EndpointSliceList
		err := api.List(ctx, &slices, client.InNamespace(s.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: revision})
		if err != nil {
			continue // The scenario has ended.
		}
		ready := 0
		for i := range slices.Items {
			for _, endpoint := range slices.Items[i].Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					ready++
				}
			}
		}
		sent.mu.Lock()
		if ready > 0 {
			sent.successes[revision]++
		} else {
			sent.failures[revision]++
		}
		sent.mu.Unlock()
	}
}
