// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/rollout"
)

// annotationRecord holds the rollout record, on the object that splits the traffic.
const annotationRecord = "rollout.serinus.io/record"

// IsRoute tells whether an object splits the traffic of an InferenceService: its HTTPRoute or, in Knative mode, a Knative
// Service. An HTTPRoute that asks somebody else for another host leads to that one.
func IsRoute(isvc string, object client.Object) bool {
	switch object := object.(type) {
	case *gatewayv1.HTTPRoute:
		return object.Name == isvc && !rewritesHost(object)
	case *servingv1.Service:
		return object.Name == isvc+"-predictor"
	}
	return false
}

func rewritesHost(route *gatewayv1.HTTPRoute) bool {
	return slices.ContainsFunc(route.Spec.Rules, func(rule gatewayv1.HTTPRouteRule) bool {
		return slices.ContainsFunc(rule.Filters, func(filter gatewayv1.HTTPRouteFilter) bool {
			return filter.URLRewrite != nil && filter.URLRewrite.Hostname != nil
		})
	})
}

// SplitOf is what a route of an InferenceService does with requests.
func SplitOf(isvc string, route client.Object) (rollout.Split, error) {
	switch route := route.(type) {
	case *gatewayv1.HTTPRoute:
		return splitOfHTTPRoute(isvc, route)
	case *servingv1.Service:
		return splitOfService(isvc, route)
	}
	return rollout.Split{}, fmt.Errorf("%T is no route", route)
}

func splitOfHTTPRoute(isvc string, route *gatewayv1.HTTPRoute) (rollout.Split, error) {
	var shares []rollout.Share
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			number := revisionNumber(isvc, string(ref.Name))
			if number == 0 || ref.Weight == nil {
				return rollout.Split{}, fmt.Errorf("HTTPRoute %s leads to %q, which is no revision with a weight", route.Name, ref.Name)
			}
			shares = append(shares, rollout.Share{Revision: number, Percent: int(*ref.Weight)})
		}
	}
	return rollout.NewSplit(shares...)
}

// splitOfService leaves out who is named with nothing and is not in the record: a revision that is being brought back. And
// it puts in who is in the record with nothing and is not named: Knative lets nobody name a revision that is not ready.
// As long as its record says that nobody is served, a Knative Service is being made, and has no split.
func splitOfService(isvc string, service *servingv1.Service) (rollout.Split, error) {
	record, _ := RecordOf(service) // One that cannot be read says that nobody is served.
	given := slices.DeleteFunc(slices.Clone(service.Spec.Traffic), func(t servingv1.TrafficTarget) bool { return t.Percent != nil && *t.Percent == 0 })
	if record.Split.IsEmpty() && len(given) <= 1 {
		return rollout.Split{}, nil
	}
	shares := map[rollout.Number]int{}
	for _, share := range record.Split.Shares() {
		if share.Percent == 0 {
			shares[share.Revision] = 0
		}
	}
	for _, target := range given {
		number := revisionNumber(isvc, target.RevisionName)
		if number == 0 || target.Percent == nil {
			return rollout.Split{}, fmt.Errorf("service %s of Knative leads to %q, which is no revision with a percent", service.Name, target.RevisionName)
		}
		shares[number] += int(*target.Percent)
	}
	var all []rollout.Share
	for number, percent := range shares {
		all = append(all, rollout.Share{Revision: number, Percent: percent})
	}
	return rollout.NewSplit(all...)
}

// RecordOf is the rollout record on a route.
func RecordOf(route client.Object) (rollout.Record, error) {
	text, found := route.GetAnnotations()[annotationRecord]
	if !found {
		return rollout.Record{}, fmt.Errorf("%T %s has no rollout record", route, route.GetName())
	}
	return rollout.DecodeRecord(text)
}

// TakenOver reports whether those who serve a route say that they serve it as it is.
func TakenOver(route client.Object) bool {
	switch route := route.(type) {
	case *gatewayv1.HTTPRoute:
		return isAccepted(route)
	case *servingv1.Service:
		return isServed(route)
	}
	return false
}

// isAccepted reports whether every gateway says that it serves the route as it is.
func isAccepted(route *gatewayv1.HTTPRoute) bool {
	for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		for _, parent := range route.Status.Parents {
			condition := apimeta.FindStatusCondition(parent.Conditions, string(kind))
			if condition == nil || condition.Status != "True" || condition.ObservedGeneration != route.Generation {
				return false
			}
		}
	}
	return len(route.Status.Parents) > 0
}

// isServed reports whether Knative says that it serves the Knative Service as it is.
func isServed(service *servingv1.Service) bool {
	if service.Status.ObservedGeneration != service.Generation || len(service.Status.Traffic) != len(service.Spec.Traffic) {
		return false
	}
	for i, asked := range service.Spec.Traffic {
		served := service.Status.Traffic[i]
		if served.RevisionName != asked.RevisionName || *served.Percent != *asked.Percent || served.Tag != asked.Tag {
			return false
		}
	}
	return service.Status.GetCondition(servingv1.ServiceConditionRoutesReady).IsTrue()
}

// named are the revisions that a Knative Service names in its spec, or still in its status.
func named(isvc string, service *servingv1.Service) map[rollout.Number]bool {
	names := map[rollout.Number]bool{}
	for _, targets := range [][]servingv1.TrafficTarget{service.Spec.Traffic, service.Status.Traffic} {
		for _, target := range targets {
			names[revisionNumber(isvc, target.RevisionName)] = true
		}
	}
	return names
}

// revisionOfPod is the revision that a pod of Knative's is of; 0 for any other pod.
func revisionOfPod(isvc string, labels map[string]string) rollout.Number {
	return revisionNumber(isvc, labels[serving.RevisionLabelKey])
}
