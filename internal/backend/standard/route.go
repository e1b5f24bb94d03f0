// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
)

// mainRoute splits the traffic of the InferenceService's host and its predictor's, and carries the record.
func mainRoute(isvc *v1beta1.InferenceService, ingress config.Ingress, record rollout.Record, timeoutSeconds int64) *gatewayv1.HTTPRoute {
	objectMeta := objects.Meta(isvc, routeName(isvc.Name), 0)
	objectMeta.Annotations = map[string]string{objects.AnnotationRecord: record.Encode()}
	rule := rule(isvc, record.Split)
	if timeoutSeconds > 0 {
		rule.Timeouts = &gatewayv1.HTTPRouteTimeouts{Request: new(duration(timeoutSeconds))}
	}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: objectMeta,
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: parentRefs(isvc, ingress)},
			Hostnames:       hostnames(isvc, ingress),
			Rules:           []gatewayv1.HTTPRouteRule{rule},
		},
	}
}

// duration writes seconds as the Gateway API does, which has five digits for each unit: what is longer than that is as
// good as for ever.
func duration(seconds int64) gatewayv1.Duration {
	const most = 99_999
	if seconds <= most {
		return gatewayv1.Duration(fmt.Sprintf("%ds", seconds))
	}
	hours := seconds / 3600
	if hours >= most {
		return gatewayv1.Duration(fmt.Sprintf("%dh", most))
	}
	return gatewayv1.Duration(fmt.Sprintf("%dh%dm%ds", hours, seconds/60%60, seconds%60))
}

// tagRoute leads the host of a tag to one revision.
func tagRoute(isvc *v1beta1.InferenceService, ingress config.Ingress, tag string, n rollout.Number) *gatewayv1.HTTPRoute {
	host := ingress.TagHost(tag, backend.PredictorName(isvc.Name), isvc.Namespace)
	return &gatewayv1.HTTPRoute{
		ObjectMeta: objects.Meta(isvc, tagRouteName(tag, isvc.Name), 0),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: parentRefs(isvc, ingress)},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(host)},
			Rules:           []gatewayv1.HTTPRouteRule{rule(isvc, rollout.All(n))},
		},
	}
}

// clusterLocal tells whether the user keeps the InferenceService off the outer gateway.
func clusterLocal(isvc *v1beta1.InferenceService) bool {
	return backend.ClusterLocalLabel(isvc) != ""
}

func hostnames(isvc *v1beta1.InferenceService, ingress config.Ingress) []gatewayv1.Hostname {
	var hosts []gatewayv1.Hostname
	if !clusterLocal(isvc) {
		hosts = append(hosts,
			gatewayv1.Hostname(ingress.Host(isvc.Name, isvc.Namespace)),
			gatewayv1.Hostname(ingress.Host(backend.PredictorName(isvc.Name), isvc.Namespace)),
		)
	}
	if ingress.LocalGateway != nil {
		hosts = append(hosts, gatewayv1.Hostname(localHost(isvc, ingress)))
	}
	return hosts
}

func localHost(isvc *v1beta1.InferenceService, ingress config.Ingress) string {
	return isvc.Name + "." + isvc.Namespace + ".svc." + ingress.ClusterDomain
}

func parentRefs(isvc *v1beta1.InferenceService, ingress config.Ingress) []gatewayv1.ParentReference {
	var refs []gatewayv1.ParentReference
	if !clusterLocal(isvc) {
		refs = append(refs, parentRef(ingress.Gateway.Namespace, ingress.Gateway.Name, ingress.Gateway.SectionName))
	}
	if local := ingress.LocalGateway; local != nil {
		refs = append(refs, parentRef(local.Namespace, local.Name, local.SectionName))
	}
	return refs
}

func parentRef(namespace, name, section string) gatewayv1.ParentReference {
	ref := gatewayv1.ParentReference{
		Group:     new(gatewayv1.Group(gatewayv1.GroupName)),
		Kind:      new(gatewayv1.Kind("Gateway")),
		Namespace: new(gatewayv1.Namespace(namespace)),
		Name:      gatewayv1.ObjectName(name),
	}
	if section != "" {
		ref.SectionName = new(gatewayv1.SectionName(section))
	}
	return ref
}

// rule sends every request to the split. It says what the API server would add by default, so that a rule that
// somebody has narrowed can be told.
func rule(isvc *v1beta1.InferenceService, split rollout.Split) gatewayv1.HTTPRouteRule {
	return gatewayv1.HTTPRouteRule{
		Matches: []gatewayv1.HTTPRouteMatch{{
			Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: new("/")},
		}},
		BackendRefs: backendRefs(isvc, split),
	}
}

// backendRefs names a Service and a weight for each revision of the split. For the empty split there is none, and a
// gateway answers with an error.
func backendRefs(isvc *v1beta1.InferenceService, split rollout.Split) []gatewayv1.HTTPBackendRef {
	var refs []gatewayv1.HTTPBackendRef
	for _, share := range split.Shares() {
		refs = append(refs, gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Group: new(gatewayv1.Group("")),
				Kind:  new(gatewayv1.Kind("Service")),
				Name:  gatewayv1.ObjectName(backend.RevisionName(isvc.Name, share.Revision)),
				Port:  new(gatewayv1.PortNumber(servicePort)),
			},
			Weight: new(int32(share.Percent)),
		}})
	}
	return refs
}

// splitOf reads a split back off a route; the empty one where the route's backends are not a split of ours.
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

// acceptance is what gateways say of a route.
type acceptance struct {
	takenOver       bool
	refused         bool
	reason, message string
	// silent are the gateways that have said nothing of it.
	silent []gatewayv1.ParentReference
}

// acceptanceOf reads whether every gateway that the route names serves it as it is now: Accepted and ResolvedRefs at
// the route's generation. Traefik and others publish several entries for a gateway when it has several listeners, or
// forget entries of an earlier life; for each gateway one good entry is enough.
func acceptanceOf(route *gatewayv1.HTTPRoute) acceptance {
	all := acceptance{takenOver: len(route.Spec.ParentRefs) > 0}
	for _, ref := range route.Spec.ParentRefs {
		verdict := acceptanceBy(route, ref)
		all.takenOver = all.takenOver && verdict.takenOver
		all.silent = append(all.silent, verdict.silent...)
		if verdict.refused && !all.refused {
			all.refused, all.reason, all.message = true, verdict.reason, verdict.message
		}
	}
	return all
}

func acceptanceBy(route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) acceptance {
	verdict := acceptance{silent: []gatewayv1.ParentReference{ref}}
	for _, parent := range route.Status.Parents {
		if !sameParent(parent.ParentRef, ref, route.Namespace) {
			continue
		}
		verdict.silent = nil
		problem := problemOf(parent.Conditions, route.Generation)
		if problem == nil {
			return acceptance{takenOver: true}
		}
		if problem.Status == metav1.ConditionFalse && !verdict.refused {
			verdict = acceptance{refused: true, reason: problem.Reason, message: problem.Message}
		}
	}
	return verdict
}

// problemOf is the first condition that keeps a route from being served; nil when there is none. One of an older
// generation counts as Unknown.
func problemOf(conditions []metav1.Condition, generation int64) *metav1.Condition {
	for _, wanted := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		condition := apimeta.FindStatusCondition(conditions, string(wanted))
		switch {
		case condition == nil || condition.ObservedGeneration < generation:
			return &metav1.Condition{Type: string(wanted), Status: metav1.ConditionUnknown}
		case condition.Status != metav1.ConditionTrue:
			return condition
		}
	}
	return nil
}

func sameParent(a, b gatewayv1.ParentReference, namespace string) bool {
	return a.Name == b.Name &&
		value(a.Namespace, gatewayv1.Namespace(namespace)) == value(b.Namespace, gatewayv1.Namespace(namespace)) &&
		(a.SectionName == nil || value(a.SectionName, "") == value(b.SectionName, "") || b.SectionName == nil)
}

func value[T any](pointer *T, otherwise T) T {
	if pointer == nil {
		return otherwise
	}
	return *pointer
}
