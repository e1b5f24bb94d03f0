// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package watchrecorder

import (
	"fmt"
	"slices"

	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/rollout"
)

const annotationRolloutState = "rollout.serinus.io/record"

// IsRoute reports whether an object splits the traffic of an InferenceService: its HTTPRoute or, in
// Knative mode, its Knative Service. An HTTPRoute that rewrites the host does not: it forwards to
// Knative's ingress.
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

// SplitOf returns the split of an InferenceService's route.
func SplitOf(isvc string, route client.Object) (rollout.Split, error) {
	switch route := route.(type) {
	case *gatewayv1.HTTPRoute:
		return splitOfHTTPRoute(isvc, route)
	case *servingv1.Service:
		return splitOfService(isvc, route)
	}
	return rollout.Split{}, fmt.Errorf("%T is not a route", route)
}

func splitOfHTTPRoute(isvc string, route *gatewayv1.HTTPRoute) (rollout.Split, error) {
	var shares []rollout.Share
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			number := revisionNumber(isvc, string(ref.Name))
			if number == 0 || ref.Weight == nil {
				return rollout.Split{}, fmt.Errorf("HTTPRoute %s routes to %q, which is not a revision with a weight", route.Name, ref.Name)
			}
			shares = append(shares, rollout.Share{Revision: number, Percent: int(*ref.Weight)})
		}
	}
	return rollout.NewSplit(shares...)
}

// splitOfService leaves out revisions with 0 % that the rollout state does not have: they are being
// restored. It adds revisions that the rollout state has with 0 % and the Knative Service does not
// name, because Knative rejects revisions that are not ready. While the split in the rollout state
// is empty, a new Knative Service has no split.
func splitOfService(isvc string, service *servingv1.Service) (rollout.Split, error) {
	state, _ := StateOf(service) // An invalid rollout state counts as an empty split.
	traffic := slices.DeleteFunc(slices.Clone(service.Spec.Traffic), func(t servingv1.TrafficTarget) bool { return t.Percent != nil && *t.Percent == 0 })
	if state.Split.IsEmpty() && len(traffic) <= 1 {
		return rollout.Split{}, nil
	}
	shares := map[rollout.Number]int{}
	for _, share := range state.Split.Shares() {
		if share.Percent == 0 {
			shares[share.Revision] = 0
		}
	}
	return addTraffic(shares, isvc, service.Name, traffic)
}

// addTraffic returns the split of a Knative Service's traffic and of other shares. KServe may name
// a revision twice.
func addTraffic(shares map[rollout.Number]int, isvc, service string, traffic []servingv1.TrafficTarget) (rollout.Split, error) {
	for _, target := range traffic {
		number := revisionNumber(isvc, target.RevisionName)
		if number == 0 || target.Percent == nil {
			return rollout.Split{}, fmt.Errorf("service %s of Knative routes to %q, which is not a revision with a percent", service, target.RevisionName)
		}
		shares[number] += int(*target.Percent)
	}
	var all []rollout.Share
	for number, percent := range shares {
		all = append(all, rollout.Share{Revision: number, Percent: percent})
	}
	return rollout.NewSplit(all...)
}

// StateOf returns the rollout state on a route.
func StateOf(route client.Object) (rollout.State, error) {
	text, found := route.GetAnnotations()[annotationRolloutState]
	if !found {
		return rollout.State{}, fmt.Errorf("%T %s has no rollout state", route, route.GetName())
	}
	return rollout.DecodeState(text)
}

func namedRevisions(isvc string, service *servingv1.Service) map[rollout.Number]bool {
	names := map[rollout.Number]bool{}
	for _, targets := range [][]servingv1.TrafficTarget{service.Spec.Traffic, service.Status.Traffic} {
		for _, target := range targets {
			names[revisionNumber(isvc, target.RevisionName)] = true
		}
	}
	return names
}

func revisionOfPod(isvc string, labels map[string]string) rollout.Number {
	return revisionNumber(isvc, labels[serving.RevisionLabelKey])
}
