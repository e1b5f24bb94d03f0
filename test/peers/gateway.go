// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// GatewayController is the name under which the gateway reports.
const GatewayController gatewayv1.GatewayController = "peers.serinus.io/gateway"

// indexByBackend indexes HTTPRoutes by the Services that they lead to.
const indexByBackend = "backend"

// Verdict is what a gateway makes of a route.
type Verdict struct {
	ignores         bool
	reason, message string
	delay           time.Duration
}

// Accepts takes a route over at once. It is what happens without a script. A route to a Service that does not exist
// is accepted, but its references are not resolved.
func Accepts() Verdict { return Verdict{} }

// Refuses reports that a route is not accepted.
func Refuses(reason gatewayv1.RouteConditionReason, message string) Verdict {
	return Verdict{reason: string(reason), message: message}
}

// Ignores does nothing, like a gateway that is down. What it said earlier stays.
func Ignores() Verdict { return Verdict{ignores: true} }

// After is the same, this long after each generation of a route was first seen.
func (v Verdict) After(delay time.Duration) Verdict {
	v.delay = delay
	return v
}

// Gateway takes HTTPRoutes over, for every Gateway that they name.
type Gateway struct {
	client client.Client
	nudges chan event.GenericEvent

	mu       sync.Mutex
	verdicts map[types.NamespacedName]Verdict
	seen     map[routeGeneration]time.Time
	// lag is how long after its acceptance a route is in effect; a stalled data plane keeps what it has.
	lag     time.Duration
	stalled bool
	// accepted are the weights of each route, oldest first, with when they are in effect; the first may be in effect.
	accepted map[types.NamespacedName][]weights
}

// weights are those of the Services behind one generation of a route.
type weights struct {
	generation int64
	from       time.Time
	services   map[string]int32
}

type routeGeneration struct {
	uid        types.UID
	generation int64
}

func newGateway(mgr manager.Manager) *Gateway {
	return &Gateway{
		client:   mgr.GetClient(),
		nudges:   make(chan event.GenericEvent, 1024),
		verdicts: map[types.NamespacedName]Verdict{},
		seen:     map[routeGeneration]time.Time{},
		accepted: map[types.NamespacedName][]weights{},
	}
}

// Lag has the data plane follow this long after the gateway accepts a route, as after a restart of its controller.
func (g *Gateway) Lag(lag time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lag = lag
}

// Stall has the data plane keep the configuration that it has, as if it refused a new one, or no longer does.
func (g *Gateway) Stall(stalled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = stalled
}

// Sends returns the weights by which the data plane sends requests to the Services behind a route now.
func (g *Gateway) Sends(route types.NamespacedName) map[string]int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.accepted[route]
	for !g.stalled && len(all) > 1 && time.Now().After(all[1].from) {
		all = all[1:]
	}
	g.accepted[route] = all
	if len(all) == 0 || time.Now().Before(all[0].from) {
		return nil
	}
	return all[0].services
}

// configure gives the data plane a route that was accepted.
func (g *Gateway) configure(route *gatewayv1.HTTPRoute) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := client.ObjectKeyFromObject(route)
	all := g.accepted[key]
	if len(all) > 0 && all[len(all)-1].generation == route.Generation {
		return
	}
	made := weights{generation: route.Generation, from: time.Now().Add(g.lag), services: map[string]int32{}}
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			if ref.Weight == nil || *ref.Weight > 0 {
				made.services[string(ref.Name)] = 1
				if ref.Weight != nil {
					made.services[string(ref.Name)] = *ref.Weight
				}
			}
		}
	}
	g.accepted[key] = append(all, made)
}

// Play sets what the gateway makes of a route, whether it is there yet or not. An empty name stands for every route of
// the namespace that has no verdict of its own.
func (g *Gateway) Play(route types.NamespacedName, verdict Verdict) {
	g.mu.Lock()
	g.verdicts[route] = verdict
	g.mu.Unlock()
	g.nudges <- event.GenericEvent{Object: &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
		Namespace: route.Namespace, Name: route.Name,
	}}}
}

func (g *Gateway) verdict(route types.NamespacedName) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range []types.NamespacedName{route, {Namespace: route.Namespace}} {
		if verdict, ok := g.verdicts[key]; ok {
			return verdict
		}
	}
	return Accepts()
}

func (g *Gateway) setup(ctx context.Context, mgr manager.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &gatewayv1.HTTPRoute{}, indexByBackend, func(object client.Object) []string {
		route, ok := object.(*gatewayv1.HTTPRoute)
		if !ok {
			return nil
		}
		return backendsOf(route)
	})
	if err != nil {
		return fmt.Errorf("indexing HTTPRoutes: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("peer-gateway").
		For(&gatewayv1.HTTPRoute{}).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, service client.Object) []reconcile.Request {
			return g.routes(ctx, service.GetNamespace(), client.MatchingFields{indexByBackend: service.GetName()})
		})).
		WatchesRawSource(source.Channel(g.nudges, handler.EnqueueRequestsFromMapFunc(g.nudged))).
		Complete(reconcile.Func(g.reconcile))
	if err != nil {
		return fmt.Errorf("setting up the gateway: %w", err)
	}
	return nil
}

func (g *Gateway) nudged(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetName() != "" {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(object)}}
	}
	return g.routes(ctx, object.GetNamespace())
}

func (g *Gateway) routes(ctx context.Context, namespace string, options ...client.ListOption) []reconcile.Request {
	return requestsFor(ctx, g.client, &gatewayv1.HTTPRouteList{}, append(options, client.InNamespace(namespace))...)
}

func (g *Gateway) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var route gatewayv1.HTTPRoute
	if err := g.client.Get(ctx, request.NamespacedName, &route); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	verdict := g.verdict(request.NamespacedName)
	if verdict.ignores {
		return reconcile.Result{}, nil
	}
	if wait := g.age(&route, verdict.delay); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	resolved, err := g.resolve(ctx, &route)
	if err != nil {
		return reconcile.Result{}, err
	}
	if verdict.reason == "" {
		g.configure(&route)
	}
	before := route.Status.DeepCopy()
	report(&route, verdict.condition(), resolved)
	if equality.Semantic.DeepEqual(before, &route.Status) {
		return reconcile.Result{}, nil
	}
	err = g.client.Status().Update(ctx, &route)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	return reconcile.Result{}, err
}

// age is how long it takes until this generation of the route is as old as that.
func (g *Gateway) age(route *gatewayv1.HTTPRoute, delay time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := routeGeneration{route.UID, route.Generation}
	if _, ok := g.seen[key]; !ok {
		g.seen[key] = time.Now()
	}
	return delay - time.Since(g.seen[key])
}

func (v Verdict) condition() metav1.Condition {
	if v.reason != "" {
		return metav1.Condition{
			Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionFalse, Reason: v.reason, Message: v.message,
		}
	}
	return metav1.Condition{
		Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonAccepted),
	}
}

// resolve looks for the Services behind the route.
func (g *Gateway) resolve(ctx context.Context, route *gatewayv1.HTTPRoute) (metav1.Condition, error) {
	for _, backend := range backendsOf(route) {
		err := g.client.Get(ctx, client.ObjectKey{Namespace: route.Namespace, Name: backend}, &corev1.Service{})
		switch {
		case apierrors.IsNotFound(err):
			return metav1.Condition{
				Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionFalse,
				Reason: string(gatewayv1.RouteReasonBackendNotFound), Message: fmt.Sprintf("Service %q not found", backend),
			}, nil
		case err != nil:
			return metav1.Condition{}, err
		}
	}
	return metav1.Condition{
		Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonResolvedRefs),
	}, nil
}

// report says the same for every Gateway that the route names.
func report(route *gatewayv1.HTTPRoute, conditions ...metav1.Condition) {
	var parents []gatewayv1.RouteParentStatus
	for _, ref := range route.Spec.ParentRefs {
		parent := gatewayv1.RouteParentStatus{ParentRef: ref, ControllerName: GatewayController}
		for _, said := range route.Status.Parents {
			if equality.Semantic.DeepEqual(said.ParentRef, ref) {
				parent.Conditions = said.Conditions
			}
		}
		for _, condition := range conditions {
			condition.ObservedGeneration = route.Generation
			apimeta.SetStatusCondition(&parent.Conditions, condition)
		}
		parents = append(parents, parent)
	}
	route.Status.Parents = parents
}

func backendsOf(route *gatewayv1.HTTPRoute) []string {
	var names []string
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			names = append(names, string(ref.Name))
		}
	}
	return names
}
