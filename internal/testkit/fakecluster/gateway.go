// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// GatewayController is the controller name in the status of routes.
const GatewayController gatewayv1.GatewayController = "fake.serinus.io/gateway"

// RouteBehavior describes how the gateway handles a route.
type RouteBehavior struct {
	unresponsive    bool
	ownNamespace    bool
	reason, message string
	delay           time.Duration
}

// Accepting accepts routes at once. It is the default behavior. If a backend Service does not
// exist, the route is accepted and ResolvedRefs is False.
func Accepting() RouteBehavior { return RouteBehavior{} }

// Rejecting sets Accepted to False.
func Rejecting(reason gatewayv1.RouteConditionReason, message string) RouteBehavior {
	return RouteBehavior{reason: string(reason), message: message}
}

// OwnNamespace accepts routes, but resolves no Service of another namespace, as without a
// ReferenceGrant.
func OwnNamespace() RouteBehavior { return RouteBehavior{ownNamespace: true} }

// Unresponsive leaves routes and their status as they are, like a gateway that is down.
func Unresponsive() RouteBehavior { return RouteBehavior{unresponsive: true} }

// After returns a behavior that starts after a delay since each generation of a route was first
// seen.
func (b RouteBehavior) After(delay time.Duration) RouteBehavior {
	b.delay = delay
	return b
}

// Gateway accepts HTTPRoutes on behalf of every Gateway that they refer to.
type Gateway struct {
	client  client.Client
	clock   clock.PassiveClock
	changes changes

	behaviors behaviors[RouteBehavior, routeGeneration]

	mu sync.Mutex
	// lag is the time between the acceptance of a route and its effect in the data plane. While
	// stalled is set, the data plane keeps its configuration.
	lag     time.Duration
	stalled bool
	// accepted holds the accepted weights of each route, oldest first. Only the first may be in
	// effect.
	accepted map[types.NamespacedName][]routeWeights
}

type routeWeights struct {
	generation  int64
	effectiveAt time.Time
	services    map[string]int32
}

type routeGeneration struct {
	uid        types.UID
	generation int64
}

func newGateway(c client.Client, passive clock.PassiveClock) *Gateway {
	return &Gateway{
		client:   c,
		clock:    passive,
		accepted: map[types.NamespacedName][]routeWeights{},
	}
}

// SetLag delays the data plane after the gateway accepts a route, as after a restart of its
// controller.
func (g *Gateway) SetLag(lag time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lag = lag
}

// SetStalled makes the data plane keep its configuration, as if it rejected every new one.
func (g *Gateway) SetStalled(stalled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = stalled
}

// Weights returns the weights of the Services behind a route that are in effect in the data plane.
func (g *Gateway) Weights(route types.NamespacedName) map[string]int32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.accepted[route]
	for !g.stalled && len(all) > 1 && g.clock.Now().After(all[1].effectiveAt) {
		all = all[1:]
	}
	g.accepted[route] = all
	if len(all) == 0 || g.clock.Now().Before(all[0].effectiveAt) {
		return nil
	}
	return all[0].services
}

func (g *Gateway) configure(route *gatewayv1.HTTPRoute) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := client.ObjectKeyFromObject(route)
	all := g.accepted[key]
	if len(all) > 0 && all[len(all)-1].generation == route.Generation {
		return
	}
	next := routeWeights{generation: route.Generation, effectiveAt: g.clock.Now().Add(g.lag), services: map[string]int32{}}
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			if ref.Weight == nil || *ref.Weight > 0 {
				next.services[string(ref.Name)] = 1
				if ref.Weight != nil {
					next.services[string(ref.Name)] = *ref.Weight
				}
			}
		}
	}
	g.accepted[key] = append(all, next)
}

// SetBehavior sets how the gateway handles a route, also if the route does not exist yet. An empty
// name applies to every route of the namespace without a behavior of its own.
func (g *Gateway) SetBehavior(route types.NamespacedName, behavior RouteBehavior) {
	g.behaviors.set(route, behavior)
	g.changes.notify(&gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: route.Namespace, Name: route.Name}})
}

func (g *Gateway) controller() controller {
	return controller{
		name: "gateway", client: g.client, kind: &gatewayv1.HTTPRoute{}, sync: g.sync, changes: &g.changes,
		watches: []watch{{&corev1.Service{}, g.routesTo}},
	}
}

func (g *Gateway) routesTo(ctx context.Context, service client.Object) []reconcile.Request {
	return requestsFor(ctx, g.client, &gatewayv1.HTTPRoute{}, service.GetNamespace(), func(object client.Object) bool {
		route, ok := object.(*gatewayv1.HTTPRoute)
		return ok && slices.Contains(backendsOf(route), client.ObjectKeyFromObject(service))
	})
}

func (g *Gateway) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	var route gatewayv1.HTTPRoute
	if err := g.client.Get(ctx, key, &route); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	behavior := g.behaviors.of(key, Accepting())
	if behavior.unresponsive {
		return 0, nil
	}
	if wait := g.behaviors.remaining(routeGeneration{route.UID, route.Generation}, behavior.delay, g.clock); wait > 0 {
		return wait, nil
	}
	resolved, err := g.resolve(ctx, &route, behavior)
	if err != nil {
		return 0, err
	}
	if behavior.reason == "" {
		g.configure(&route)
	}
	before := route.Status.DeepCopy()
	setConditions(&route, g.clock.Now(), behavior.condition(), resolved)
	if equality.Semantic.DeepEqual(before, &route.Status) {
		return 0, nil
	}
	return 0, g.client.Status().Update(ctx, &route)
}

func (b RouteBehavior) condition() metav1.Condition {
	if b.reason != "" {
		return metav1.Condition{
			Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionFalse, Reason: b.reason, Message: b.message,
		}
	}
	return metav1.Condition{
		Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonAccepted),
	}
}

// resolve returns the ResolvedRefs condition. It is False if a backend Service does not exist or
// must not be referred to.
func (g *Gateway) resolve(ctx context.Context, route *gatewayv1.HTTPRoute, behavior RouteBehavior) (metav1.Condition, error) {
	unresolved := func(reason gatewayv1.RouteConditionReason, message string) metav1.Condition {
		return metav1.Condition{
			Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionFalse, Reason: string(reason), Message: message,
		}
	}
	for _, backend := range backendsOf(route) {
		if behavior.ownNamespace && backend.Namespace != route.Namespace {
			return unresolved(gatewayv1.RouteReasonRefNotPermitted, fmt.Sprintf("no ReferenceGrant allows a route to Service %q", backend)), nil
		}
		err := g.client.Get(ctx, backend, &corev1.Service{})
		switch {
		case apierrors.IsNotFound(err):
			return unresolved(gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %q not found", backend.Name)), nil
		case err != nil:
			return metav1.Condition{}, err
		}
	}
	return metav1.Condition{
		Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonResolvedRefs),
	}, nil
}

// setConditions sets the conditions for every Gateway that the route refers to.
func setConditions(route *gatewayv1.HTTPRoute, now time.Time, conditions ...metav1.Condition) {
	var parents []gatewayv1.RouteParentStatus
	for _, ref := range route.Spec.ParentRefs {
		parent := gatewayv1.RouteParentStatus{ParentRef: ref, ControllerName: GatewayController}
		for _, existing := range route.Status.Parents {
			if equality.Semantic.DeepEqual(existing.ParentRef, ref) {
				parent.Conditions = existing.Conditions
			}
		}
		for _, condition := range conditions {
			condition.ObservedGeneration, condition.LastTransitionTime = route.Generation, metav1.NewTime(now)
			if current := apimeta.FindStatusCondition(parent.Conditions, condition.Type); current != nil && current.Status == condition.Status {
				condition.LastTransitionTime = current.LastTransitionTime
			}
			apimeta.SetStatusCondition(&parent.Conditions, condition)
		}
		parents = append(parents, parent)
	}
	route.Status.Parents = parents
}

func backendsOf(route *gatewayv1.HTTPRoute) []types.NamespacedName {
	var backends []types.NamespacedName
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			namespace := route.Namespace
			if ref.Namespace != nil {
				namespace = string(*ref.Namespace)
			}
			backends = append(backends, types.NamespacedName{Namespace: namespace, Name: string(ref.Name)})
		}
	}
	return backends
}
