// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestReadyWaitsForAChangedRoute checks that Ready and the URL wait for any change of the route.
func TestReadyWaitsForAChangedRoute(t *testing.T) {
	o := newOperator(t)
	o.settle()
	before := o.isvc().Status
	o.backend.unresponsive, o.backend.routeChanged, o.backend.url = true, true, "http://sklearn-iris.elsewhere"
	for range 3 {
		o.reconcile()
		now := o.isvc().Status
		if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionUnknown || ready.Reason != "WaitingForGateway" {
			t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
		}
		if now.URL != before.URL || len(now.Components[v1beta1.PredictorComponent].Traffic) != 1 {
			t.Errorf("the URL is %s, want %s; the traffic is %v", now.URL, before.URL, now.Components)
		}
	}
	o.backend.unresponsive = false
	o.settle()
	if now := o.isvc().Status; now.URL != o.backend.url || o.condition(v1beta1.ConditionReady).Status != metav1.ConditionTrue {
		t.Errorf("after the route is accepted, the URL is %s, and Ready is %s", now.URL, o.condition(v1beta1.ConditionReady).Status)
	}
}

// TestReadyIsNotTrueDuringAShiftOfTheSameGeneration: a client could not tell from the generation
// that the status describes the previous route.
func TestReadyIsNotTrueDuringAShiftOfTheSameGeneration(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.rollOut("v2", new(int64(10)))
	o.backend.unresponsive = true
	o.backend.failing[2] = nil
	o.backend.catchUp() // The canary loses its pods, and its share with them.
	o.reconcile()
	if ready := o.condition(v1beta1.ConditionReady); ready.Status == metav1.ConditionTrue {
		t.Errorf("Ready is True (%s): %s", ready.Reason, ready.Message)
	}
}

// TestSettledServiceStaysReadyWhileItsGatewayLags checks that it stays ready for a minute, and that
// no new split is reported meanwhile.
func TestSettledServiceStaysReadyWhileItsGatewayLags(t *testing.T) {
	o := newOperator(t)
	o.settle()
	writes := o.statusWrites
	o.backend.behindSince = o.clock.Now()
	if result := o.reconcile(); result.RequeueAfter != gatewayTolerance+time.Millisecond || o.statusWrites > writes {
		t.Errorf("RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
	}
	o.clock.SetTime(o.clock.Now().Add(gatewayTolerance - time.Second))
	o.reconcile()
	if o.statusWrites > writes {
		t.Errorf("within the minute the status is written %d times", o.statusWrites-writes)
	}
	o.clock.SetTime(o.clock.Now().Add(time.Second))
	for range 3 {
		o.reconcile()
	}
	if ingress := o.condition(v1beta1.ConditionIngressReady); ingress.Status != metav1.ConditionUnknown || ingress.Message != "waiting for the Gateway" {
		t.Errorf("IngressReady is %s: %s", ingress.Status, ingress.Message)
	}
	if o.statusWrites != writes+1 {
		t.Errorf("after the minute the status is written %d times", o.statusWrites-writes)
	}
	o.backend.behindSince = time.Time{}
	o.settle()
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s once the Gateway has reported", ready.Status)
	}

	t.Run("but a new split is not settled", func(t *testing.T) {
		o.backend.behindSince = o.clock.Now()
		o.edit(withModel("v2", nil))
		for range 5 {
			o.reconcile()
			o.backend.catchUp()
			o.clock.SetTime(o.clock.Now().Add(time.Second))
		}
		if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionUnknown {
			t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
		}
		if traffic := o.isvc().Status.Components[v1beta1.PredictorComponent].Traffic; len(traffic) != 1 || traffic[0].RevisionName != "sklearn-iris-predictor-00001" {
			t.Errorf("the traffic is %v", traffic)
		}
	})
}

func TestHostRouteWaitsForALaggingGateway(t *testing.T) {
	o := newOperator(t)
	o.backend.hostRoute = &backend.HostRoute{URL: "http://own", Open: true}
	o.settle()
	writes := o.statusWrites
	behind := backend.RouteStatus{Exists: true, BehindSince: o.clock.Now(), Message: "waiting for the Gateway"}
	o.backend.hostRoute = &backend.HostRoute{URL: "http://own", Open: true, Route: behind}
	if result := o.reconcile(); result.RequeueAfter != gatewayTolerance+time.Millisecond || o.statusWrites > writes {
		t.Errorf("RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
	}
	o.clock.SetTime(o.clock.Now().Add(gatewayTolerance))
	o.backend.hostRoute.Route = behind
	o.reconcile()
	o.wantHostProblem("Ready", "; waiting for the Gateway")
}

// TestRoutesGetNoHostsOfOlderInferenceServices also covers a refused InferenceService and hosts of
// its existing routes.
func TestRoutesGetNoHostsOfOlderInferenceServices(t *testing.T) {
	const shared = "sklearn-iris-predictor.kserve-test.example.com"
	older := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
		Namespace: "kserve-test", Name: "sklearn-iris-predictor", UID: types.UID("older"), CreationTimestamp: metav1.NewTime(testkit.Start.Add(-time.Hour * 24)),
	}}
	for name, test := range map[string]struct {
		change func(*v1beta1.InferenceService)
		hosts  []string
		want   []string
	}{
		"of its own names":                       {want: []string{shared}},
		"while it is refused for another reason": {change: testkit.Annotation(v1beta1.AnnotationDeploymentMode, "Turbo"), want: []string{shared}},
		"of its existing routes": {
			hosts: []string{"sklearn-iris-predictor-predictor.kserve-test.example.com", "free.example.com"},
			want:  []string{"sklearn-iris-predictor-predictor.kserve-test.example.com", shared},
		},
		"and invalid ones": {hosts: []string{"-.example.com"}, want: []string{"-.example.com", shared}},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []func(*v1beta1.InferenceService){}
			if test.change != nil {
				changes = append(changes, test.change)
			}
			o := newOperator(t, changes...)
			o.must(o.server.Create(t.Context(), older.DeepCopy()))
			o.backend.hosts = test.hosts
			o.reconcile()
			if got := slices.Sorted(maps.Keys(o.backend.unusable)); !slices.Equal(got, test.want) {
				t.Errorf("unusable are %v, want %v", got, test.want)
			}
		})
	}
}

func TestEnqueueAttached(t *testing.T) {
	route := func(name, gateway string) *gatewayv1.HTTPRoute {
		route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
			Namespace: "kserve-test", Name: name, Labels: map[string]string{v1beta1.LabelInferenceService: name},
		}}
		route.Spec.ParentRefs = []gatewayv1.ParentReference{{Namespace: new(gatewayv1.Namespace("kserve")), Name: gatewayv1.ObjectName(gateway)}}
		return route
	}
	other := testkit.NewGateway("other", 1)
	other.Spec.GatewayClassName = "other"
	server := newServer(t, testkit.NewGateway("outer", 1), other, route("iris", "outer"), route("wine", "outer"), route("digits", "other"))
	for name, test := range map[string]struct {
		object client.Object
		want   []string
	}{
		"a Gateway":                     {testkit.NewGateway("outer", 1), []string{"iris", "wine"}},
		"another one":                   {other, []string{"digits"}},
		"a Gateway without routes":      {testkit.NewGateway("idle", 1), nil},
		"a GatewayClass":                {testkit.NewGatewayClass(), []string{"iris", "wine"}},
		"a GatewayClass without any":    {&gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "idle"}}, nil},
		"a Gateway that does not exist": {testkit.NewGateway("gone", 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, request := range enqueueAttached(server, server)(t.Context(), test.object) {
				got = append(got, request.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("enqueued are %v, want %v", got, test.want)
			}
		})
	}
}

// TestGatewayChangedIgnoresAttachedRoutes: otherwise each new InferenceService would enqueue all
// others.
func TestGatewayChangedIgnoresAttachedRoutes(t *testing.T) {
	trimmedGateway := func(changes ...func(*gatewayv1.Gateway)) client.Object {
		gateway := testkit.NewGateway("outer", 1, "http")
		gateway.Status.Conditions = []metav1.Condition{testkit.Programmed(1, metav1.ConditionTrue)}
		gateway.Status.Listeners[0].AttachedRoutes = 7
		for _, change := range changes {
			change(gateway)
		}
		trimmed, err := trimGateway(gateway)
		if err != nil {
			t.Fatal(err)
		}
		return trimmed.(client.Object)
	}
	for name, test := range map[string]struct {
		change func(*gatewayv1.Gateway)
		want   bool
	}{
		"nothing":            {change: func(*gatewayv1.Gateway) {}},
		"its routes":         {change: func(g *gatewayv1.Gateway) { g.Status.Listeners[0].AttachedRoutes, g.ResourceVersion = 8, "9" }},
		"its addresses":      {change: func(g *gatewayv1.Gateway) { g.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Value: "10.0.0.1"}} }},
		"its generation":     {change: func(g *gatewayv1.Gateway) { g.Generation = 2 }, want: true},
		"what it reports":    {change: func(g *gatewayv1.Gateway) { g.Status.Conditions[0].Status = metav1.ConditionFalse }, want: true},
		"that of a listener": {change: func(g *gatewayv1.Gateway) { g.Status.Listeners[0].Conditions = g.Status.Conditions }, want: true},
		"its class":          {change: func(g *gatewayv1.Gateway) { g.Spec.GatewayClassName = "other" }, want: true},
	} {
		if got := gatewayChanged.Update(event.UpdateEvent{ObjectOld: trimmedGateway(), ObjectNew: trimmedGateway(test.change)}); got != test.want {
			t.Errorf("%s: enqueues: %t, want %t", name, got, test.want)
		}
	}
	if config.Default().Rollout.DrainPeriod.Duration < 32*time.Second {
		t.Error("the default drain period is shorter than the lag of a slow data plane")
	}
}
