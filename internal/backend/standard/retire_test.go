// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// promoteAndAwaitGateway promotes revision 2 and waits until the gateway has accepted the route.
func promoteAndAwaitGateway(c *cluster) {
	c.T.Helper()
	c.settle()
	c.ask("b", -1)
	for range 20 {
		_, err := c.reconcile()
		c.Must(err)
		c.runControllers()
		if c.served().Equal(rollout.All(2)) && gateway.AcceptanceOf(c.route()).Accepted {
			return
		}
	}
	c.T.Fatal("2 is not promoted")
}

// TestTheDrainIsNotSkipped if the last replica is unready when the gateway stops using it.
func TestTheDrainIsNotSkipped(t *testing.T) {
	c := newCluster(t)
	promoteAndAwaitGateway(c)
	c.setUnready(1, true)
	c.runControllers()
	for range 3 {
		_, err := c.reconcile()
		c.Must(err)
	}
	if got := c.replicas(1); got == 0 {
		t.Error("it is scaled down before the drain is over")
	}
	c.now = c.now.Add(c.policy.DrainPeriod)
	_, err := c.reconcile()
	c.Must(err)
	if got := c.replicas(1); got != 0 {
		t.Errorf("after the drain it has %d replicas", got)
	}
}

// TestRollbackRightAfterTheScaleDown: pods that are about to be deleted still look ready and must
// get no traffic.
func TestRollbackRightAfterTheScaleDown(t *testing.T) {
	for name, observes := range map[string]bool{"the Deployment controller is behind": false, "the ReplicaSet controller is behind": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			promoteAndAwaitGateway(c)
			_, err := c.reconcile()
			c.Must(err)
			c.now = c.now.Add(c.policy.DrainPeriod)
			_, err = c.reconcile()
			c.Must(err)
			if c.replicas(1) != 0 {
				t.Fatal("it is not scaled down yet")
			}
			c.ask("b", 0)
			for range 3 {
				_, err := c.reconcile()
				c.Must(err)
				if observes {
					deployment := &appsv1.Deployment{}
					c.Get(deploymentName(isvcName, 1), deployment)
					deployment.Status.ObservedGeneration = deployment.Generation
					c.Must(c.server.Status().Update(t.Context(), deployment))
				}
			}
			if got := c.served(); !got.Equal(rollout.All(2)) {
				t.Fatalf("the split is %s on a pod that is about to go", got)
			}

			pod := &corev1.Pod{}
			c.Get(c.pods(1)[0].Name, pod)
			c.Must(c.server.Delete(t.Context(), pod))
			c.setUnready(1, true) // The new pod loads.
			c.runControllers()
			_, err = c.reconcile()
			c.Must(err)
			if got := c.served(); !got.Equal(rollout.All(2)) {
				t.Errorf("the split is %s while the new pod loads", got)
			}
			c.setUnready(1, false)
			c.settle()
			if got := c.served(); got.Percent(1) != 100 {
				t.Errorf("the split is %s once it is ready", got)
			}
		})
	}
}

// TestNeverRoutedCanariesGo while no gateway has accepted the route: no request can reach them.
func TestNeverRoutedCanariesGo(t *testing.T) {
	c := newCluster(t)
	c.setUnresponsive(true)
	step := func() {
		for range 6 {
			_, err := c.reconcile()
			c.Must(err)
			c.runControllers()
			c.now = c.now.Add(time.Minute)
		}
	}
	step()
	for _, n := range []rollout.Number{2, 3, 4} {
		c.setUnready(n, true)
	}
	for _, inputs := range []string{"b", "c", "d"} {
		c.ask(inputs, 10)
		step()
	}
	for _, n := range []rollout.Number{2, 3} {
		if c.Has(deploymentName(isvcName, n), &appsv1.Deployment{}) && c.replicas(n) > 0 {
			t.Errorf("superseded canary %d still runs", n)
		}
	}
	if c.replicas(1) != 1 || c.replicas(4) != 1 {
		t.Error("the stable and the target do not run")
	}
}

// TestStoppedIsReportedWithoutPods: while the gateway does not accept the route, pods keep running.
func TestStoppedIsReportedWithoutPods(t *testing.T) {
	c := newCluster(t)
	c.settle()
	c.setUnresponsive(true)
	c.editSpec(testkit.Annotation(v1beta1.AnnotationStop, "true"))
	for range 20 {
		decision, err := c.reconcile()
		c.Must(err)
		c.runControllers()
		c.now = c.now.Add(time.Minute)
		if decision.Phase != rollout.Stopping || c.replicas(1) == 0 {
			t.Fatalf("the phase is %s with %d replicas", decision.Phase, c.replicas(1))
		}
	}
	c.setUnresponsive(false)
	c.settle()
	if decision, err := c.reconcile(); err != nil || decision.Phase != rollout.Stopped {
		t.Errorf("the phase is %s, %v", decision.Phase, err)
	}
}

// TestNewerRolloutStateIsLeftAlone: the observation fails with a message that says what to do.
func TestNewerRolloutStateIsLeftAlone(t *testing.T) {
	c := newCluster(t)
	c.settle()
	const later = `{"version":99,"stable":1,"target":1,"split":{"1":100},"before":{},"shiftedAt":"2026-03-11T12:00:00Z","highest":1}`
	testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(route *gatewayv1.HTTPRoute) {
		route.Annotations[objects.AnnotationState] = later
	})
	before := len(c.server.Writes)
	c.ask("b", -1)
	_, err := c.reconcile()
	var newer *rollout.NewerVersionError
	if !errors.As(err, &newer) || newer.Version != 99 {
		t.Errorf("the error is %v", err)
	}
	if len(c.server.Writes) > before || c.route().Annotations[objects.AnnotationState] != later {
		t.Errorf("it writes %v", c.server.Writes[before:])
	}
}
