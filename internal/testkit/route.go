// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// IsAccepted reports whether the gateway or Knative has accepted the current generation of an
// HTTPRoute or a Knative Service. It shares no code with the operator, whose reading it checks.
func IsAccepted(route client.Object) bool {
	switch route := route.(type) {
	case *gatewayv1.HTTPRoute:
		return len(route.Status.Parents) > 0 && !slices.ContainsFunc(route.Status.Parents, func(parent gatewayv1.RouteParentStatus) bool {
			return !isTrue(parent, gatewayv1.RouteConditionAccepted, route.Generation) || !isTrue(parent, gatewayv1.RouteConditionResolvedRefs, route.Generation)
		})
	case *servingv1.Service:
		return route.Status.ObservedGeneration == route.Generation && route.Status.GetCondition(servingv1.ServiceConditionRoutesReady).IsTrue() &&
			slices.EqualFunc(route.Spec.Traffic, route.Status.Traffic, func(desired, served servingv1.TrafficTarget) bool {
				return served.RevisionName == desired.RevisionName && *served.Percent == *desired.Percent && served.Tag == desired.Tag
			})
	}
	return false
}

func isTrue(parent gatewayv1.RouteParentStatus, conditionType gatewayv1.RouteConditionType, generation int64) bool {
	condition := apimeta.FindStatusCondition(parent.Conditions, string(conditionType))
	return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == generation
}
