// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
)

// wantHostProblem checks that the InferenceService is ready and that IngressReady reports the
// problem of its own host.
func (o *operator) wantHostProblem(reason, message string) {
	o.t.Helper()
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		o.t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
	ingress := o.condition(v1beta1.ConditionIngressReady)
	if ingress.Status != metav1.ConditionTrue || ingress.Reason != reason || !strings.Contains(ingress.Message, message) {
		o.t.Errorf("IngressReady is %s (%s): %s", ingress.Status, ingress.Reason, ingress.Message)
	}
}

func TestHostRouteProblemIsReportedOnce(t *testing.T) {
	refused := backend.RouteStatus{Exists: true, Refused: true, Reason: "RefNotPermitted", Message: "it needs a ReferenceGrant"}
	for name, test := range map[string]struct {
		route                   backend.RouteStatus
		applyErr                error
		wantReason, wantMessage string
		wantAfter               time.Duration
	}{
		"the gateway refuses it":      {route: refused, wantReason: "RefNotPermitted", wantMessage: "it needs a ReferenceGrant"},
		"the route has another owner": {applyErr: errRoute, wantReason: "OwnershipConflict", wantMessage: errRoute.Error(), wantAfter: afterRecheck},
		"the API server refuses it":   {applyErr: errForbidden, wantReason: "RefusedByAPIServer", wantMessage: "forbidden", wantAfter: afterRecheck},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.backend.hostRoute = &backend.HostRoute{URL: "http://own", Open: true}
			o.settle()
			o.newEvents()
			writes := o.statusWrites
			o.backend.hostRoute = &backend.HostRoute{URL: "http://own", Route: test.route}
			if test.applyErr != nil {
				o.backend.hostRouteErr = test.applyErr
			}
			for range 3 {
				if result := o.reconcile(); result.RequeueAfter != test.wantAfter {
					t.Errorf("RequeueAfter is %v, want %v", result.RequeueAfter, test.wantAfter)
				}
				o.clock.SetTime(o.clock.Now().Add(recheckPeriod))
			}
			o.wantHostProblem(test.wantReason, "but not http://own: ")
			o.wantHostProblem(test.wantReason, test.wantMessage)
			events := o.newEvents()
			if o.statusWrites != writes+1 || len(events) != 1 || !strings.HasPrefix(events[0], "Warning "+test.wantReason) {
				t.Errorf("the status is written %d times, and the events are %v", o.statusWrites-writes, events)
			}

			o.backend.hostRoute, o.backend.hostRouteErr = &backend.HostRoute{URL: "http://own", Open: true}, nil
			o.settle()
			o.wantHostProblem("Ready", "the gateway serves")
		})
	}
}

// TestFailingHostRouteDoesNotAffectReady covers a webhook for HTTPRoutes that is down for long.
func TestFailingHostRouteDoesNotAffectReady(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.hostRoute = &backend.HostRoute{URL: "http://own"}
	o.backend.hostRouteErr = errTransient
	for range 3 {
		if _, err := o.reconciler.Reconcile(t.Context(), o.isvc()); err == nil {
			t.Error("it is not requeued")
		}
		o.clock.SetTime(o.clock.Now().Add(persistentFailureAfter))
	}
	o.wantHostProblem("NotApplied", errTransient.Error())
}

// TestStatusWaitsForTheHostRoute checks that the first URL in the status is the final one.
func TestStatusWaitsForTheHostRoute(t *testing.T) {
	o := newOperator(t)
	o.backend.hostRoute = &backend.HostRoute{URL: "http://own"}
	o.reconcile()
	o.backend.catchUp()
	o.reconcile()
	o.backend.catchUp()
	writes := o.statusWrites
	wait := o.reconciler.Config.Rollout.SettlePeriod.Duration
	if result := o.reconcile(); result.RequeueAfter != wait+time.Millisecond || o.statusWrites > writes {
		t.Errorf("RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
	}
	o.clock.SetTime(o.clock.Now().Add(wait))
	if result := o.reconcile(); result.RequeueAfter != 0 || o.statusWrites != writes+1 {
		t.Errorf("at the end of the settle period, RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
	}
	o.wantHostProblem("Ready", "has yet to accept the route of http://own")
}
