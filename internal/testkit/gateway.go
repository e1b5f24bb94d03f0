// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// AcceptedBy returns the status of a route if all its gateways serve that generation.
func AcceptedBy(route *gatewayv1.HTTPRoute, generation int64) []gatewayv1.RouteParentStatus {
	var parents []gatewayv1.RouteParentStatus
	for _, ref := range route.Spec.ParentRefs {
		parents = append(parents, ParentStatus(ref, generation, metav1.ConditionTrue, metav1.ConditionTrue))
	}
	return parents
}

// ParentStatus returns the status of one gateway for a generation, with the statuses of Accepted
// and ResolvedRefs.
func ParentStatus(ref gatewayv1.ParentReference, generation int64, accepted, resolved metav1.ConditionStatus) gatewayv1.RouteParentStatus {
	condition := func(kind gatewayv1.RouteConditionType, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{
			Type: string(kind), Status: status, Reason: string(kind), Message: "the gateway says so",
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(Start),
		}
	}
	return gatewayv1.RouteParentStatus{
		ParentRef: ref, ControllerName: "example.com/gateway",
		Conditions: []metav1.Condition{
			condition(gatewayv1.RouteConditionAccepted, accepted), condition(gatewayv1.RouteConditionResolvedRefs, resolved),
		},
	}
}

// Programmed returns the Programmed condition of a Gateway or a listener for a generation.
func Programmed(generation int64, status metav1.ConditionStatus) metav1.Condition {
	return metav1.Condition{
		Type: string(gatewayv1.GatewayConditionProgrammed), Status: status, Reason: "Programmed" + string(status),
		Message: "the data plane says so", ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(Start),
	}
}

// NewGateway returns a Gateway at a generation, with one listener for each name.
func NewGateway(name string, generation int64, listeners ...string) *gatewayv1.Gateway {
	gateway := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve", Name: name, Generation: generation, CreationTimestamp: metav1.NewTime(Start)}}
	gateway.Spec.GatewayClassName = "example"
	for _, listener := range listeners {
		gateway.Spec.Listeners = append(gateway.Spec.Listeners, gatewayv1.Listener{
			Name: gatewayv1.SectionName(listener), Port: 80, Protocol: gatewayv1.HTTPProtocolType,
			AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromAll)}},
		})
		gateway.Status.Listeners = append(gateway.Status.Listeners, gatewayv1.ListenerStatus{Name: gatewayv1.SectionName(listener)})
	}
	return gateway
}

// NewGatewayClass returns the class of these Gateways with the supported features.
func NewGatewayClass(features ...gatewayv1.FeatureName) *gatewayv1.GatewayClass {
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "example"}}
	for _, feature := range features {
		class.Status.SupportedFeatures = append(class.Status.SupportedFeatures, gatewayv1.SupportedFeature{Name: feature})
	}
	return class
}
