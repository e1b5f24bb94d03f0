// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
)

// mainRoute returns the route that splits the traffic of the InferenceService's and the predictor's
// hosts. It carries the rollout state.
func mainRoute(
	isvc *v1beta1.InferenceService, ingress config.Ingress, state rollout.State, timeouts *gatewayv1.HTTPRouteTimeouts,
) *gatewayv1.HTTPRoute {
	objectMeta := objects.Meta(isvc, gateway.RouteName(isvc.Name), 0)
	objectMeta.Annotations = map[string]string{objects.AnnotationState: state.Encode()}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: objectMeta,
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: gateway.ParentRefs(isvc, ingress)},
			Hostnames:       gateway.Hosts(isvc, ingress, isvc.Name, backend.PredictorName(isvc.Name)),
			Rules:           []gatewayv1.HTTPRouteRule{rule(isvc, state.Split, timeouts)},
		},
	}
}

// tagRoute returns the route from the host of a tag to one revision.
func tagRoute(
	isvc *v1beta1.InferenceService, ingress config.Ingress, tag string, n rollout.Number, timeouts *gatewayv1.HTTPRouteTimeouts,
) *gatewayv1.HTTPRoute {
	host := ingress.TagHost(tag, backend.PredictorName(isvc.Name), isvc.Namespace)
	return &gatewayv1.HTTPRoute{
		ObjectMeta: objects.Meta(isvc, tagRouteName(tag, isvc.Name), 0),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: gateway.ParentRefs(isvc, ingress)},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(host)},
			Rules:           []gatewayv1.HTTPRouteRule{rule(isvc, rollout.All(n), timeouts)},
		},
	}
}

// rule returns the rule that splits all requests.
func rule(isvc *v1beta1.InferenceService, split rollout.Split, timeouts *gatewayv1.HTTPRouteTimeouts) gatewayv1.HTTPRouteRule {
	return gatewayv1.HTTPRouteRule{Matches: gateway.MatchAll(), BackendRefs: backendRefs(isvc, split), Timeouts: timeouts}
}

// backendRefs returns the Services and weights of a split. For the empty split there are none, and
// a gateway responds with an error.
func backendRefs(isvc *v1beta1.InferenceService, split rollout.Split) []gatewayv1.HTTPBackendRef {
	var refs []gatewayv1.HTTPBackendRef
	for _, share := range split.Shares() {
		refs = append(refs, gateway.Service(backend.RevisionName(isvc.Name, share.Revision), servicePort, int32(share.Percent)))
	}
	return refs
}

// splitOf reads the split from a route; it is empty if the backends are not a valid split.
func splitOf(isvc *v1beta1.InferenceService, route *gatewayv1.HTTPRoute) rollout.Split {
	if len(route.Spec.Rules) != 1 {
		return rollout.Split{}
	}
	var shares []rollout.Share
	for _, ref := range route.Spec.Rules[0].BackendRefs {
		share := rollout.Share{Revision: backend.RevisionNumber(isvc.Name, string(ref.Name)), Percent: 1}
		if ref.Weight != nil {
			share.Percent = int(*ref.Weight)
		}
		shares = append(shares, share)
	}
	split, err := rollout.NewSplit(shares...)
	if err != nil {
		return rollout.Split{}
	}
	return split
}
