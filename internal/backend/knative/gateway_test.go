// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/gateway/gatewaytest"
	"github.com/serinus-io/serinus/internal/backend/objects"
)

// fakeGateway are the fake controllers of the Gateway API.
type fakeGateway struct {
	// ingress is the spec of the placeholder Service once Knative has an ingress.
	ingress corev1.ServiceSpec
	// forbidden means that no ReferenceGrant allows routes to other namespaces.
	forbidden    bool
	unresponsive bool
}

// Knative's ingress has a cluster-local name or an address.
var (
	ingressByName = corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: "knative-local-gateway.istio-system.svc.cluster.local",
		Ports: []corev1.ServicePort{{Name: "http2", Port: 80}},
	}
	ingressByAddress = corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "http2", Port: 80}},
	}
)

func (c *cluster) placeholder() *corev1.Service {
	c.t.Helper()
	service := &corev1.Service{}
	if !c.has(serviceName, service) {
		return nil
	}
	return service
}

// updatePlaceholder updates the Service that points at Knative's ingress. It names the predictor's
// own host until that is served.
func (c *cluster) updatePlaceholder(service *servingv1.Service) bool {
	c.t.Helper()
	if c.gateway == nil {
		return false
	}
	spec := corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: serviceName + "." + namespace + ".example.com"}
	if len(service.Status.Traffic) > 0 {
		spec = c.gateway.ingress
	}
	current := c.placeholder()
	if current == nil {
		revision := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: serviceName, UID: c.uid(), Labels: maps.Clone(service.Labels),
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: servingv1.SchemeGroupVersion.String(), Kind: "Route", Name: serviceName, UID: service.UID, Controller: new(true),
				}},
			},
			Spec: spec,
		}
		c.must(c.server.Create(c.t.Context(), revision))
		return true
	}
	if equality.Semantic.DeepEqual(current.Spec, spec) {
		return false
	}
	current.Spec = spec
	c.must(c.server.Update(c.t.Context(), current))
	return true
}

func (c *cluster) acceptRoutes() bool {
	c.t.Helper()
	if c.gateway == nil || c.gateway.unresponsive {
		return false
	}
	moved := false
	for _, route := range c.routes() {
		parents := gatewaytest.AcceptedBy(route, route.Generation)
		if c.gateway.forbidden && len(route.Spec.Rules) > 0 && route.Spec.Rules[0].BackendRefs[0].Namespace != nil {
			for i := range parents {
				parents[i] = gatewaytest.ParentStatus(parents[i].ParentRef, route.Generation, metav1.ConditionTrue, metav1.ConditionFalse)
				parents[i].Conditions[1].Reason = string(gatewayv1.RouteReasonRefNotPermitted)
			}
		}
		if equality.Semantic.DeepEqual(route.Status.Parents, parents) {
			continue
		}
		route.Status.Parents = parents
		c.must(c.server.Status().Update(c.t.Context(), route))
		moved = true
	}
	return moved
}

func (c *cluster) routes() []*gatewayv1.HTTPRoute {
	c.t.Helper()
	var list gatewayv1.HTTPRouteList
	c.must(c.server.List(c.t.Context(), &list, client.InNamespace(namespace)))
	return objects.Pointers(list.Items)
}

func (c *cluster) hostRoute() *gatewayv1.HTTPRoute {
	c.t.Helper()
	route := &gatewayv1.HTTPRoute{}
	if !c.has(gateway.RouteName(isvcName), route) {
		return nil
	}
	return route
}
