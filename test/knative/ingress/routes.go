// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
	"knative.dev/pkg/kmeta"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The headers by which a hop tells the activator which revision is meant.
const (
	namespaceHeader = "Knative-Serving-Namespace"
	revisionHeader  = "Knative-Serving-Revision"
)

// Routes makes the HTTPRoutes of an Ingress, one for each of its rules, which attach to the
// gateway. What they cannot express is an error.
func Routes(ingress *netv1alpha1.Ingress, gateway gatewayv1.ParentReference) ([]*gatewayv1.HTTPRoute, error) {
	if len(ingress.Spec.TLS) > 0 || ingress.Spec.HTTPOption == netv1alpha1.HTTPOptionRedirected {
		return nil, errors.New("the gateway of the tests has no certificates: leave external-domain-tls and http-protocol of config-network as they are")
	}
	routes := make([]*gatewayv1.HTTPRoute, 0, len(ingress.Spec.Rules))
	for i := range ingress.Spec.Rules {
		route, err := routeOf(ingress, &ingress.Spec.Rules[i], gateway)
		if err != nil {
			return nil, fmt.Errorf("rule %d of the Ingress: %w", i, err)
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// routeOf makes the HTTPRoute of a rule. It has the name of the rule's first host, which no other
// rule has.
func routeOf(ingress *netv1alpha1.Ingress, rule *netv1alpha1.IngressRule, gateway gatewayv1.ParentReference) (*gatewayv1.HTTPRoute, error) {
	if len(rule.Hosts) == 0 || rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
		return nil, errors.New("it has no hosts or no paths")
	}
	spec := gatewayv1.HTTPRouteSpec{CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{gateway}}}
	for _, host := range rule.Hosts {
		spec.Hostnames = append(spec.Hostnames, gatewayv1.Hostname(host))
	}
	for i := range rule.HTTP.Paths {
		made, err := ruleOf(ingress.Namespace, &rule.HTTP.Paths[i])
		if err != nil {
			return nil, fmt.Errorf("path %d: %w", i, err)
		}
		spec.Rules = append(spec.Rules, made)
	}
	probes, err := probeRule(spec)
	if err != nil {
		return nil, err
	}
	spec.Rules = append(spec.Rules, probes)
	return &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ingress.Namespace, Name: rule.Hosts[0],
			OwnerReferences: []metav1.OwnerReference{*kmeta.NewControllerRef(ingress)},
		},
		Spec: spec,
	}, nil
}

// ruleOf makes the rule for a path, whose shares become weights.
func ruleOf(namespace string, path *netv1alpha1.HTTPIngressPath) (gatewayv1.HTTPRouteRule, error) {
	var rule gatewayv1.HTTPRouteRule
	if path.RewriteHost != "" {
		return rule, errors.New("it rewrites the host, as a DomainMapping does: the ingress of the tests does not")
	}
	if path.Path != "" || len(path.Headers) > 0 {
		rule.Matches = []gatewayv1.HTTPRouteMatch{{Path: prefix(path.Path), Headers: exactly(path.Headers)}}
	}
	if len(path.AppendHeaders) > 0 {
		rule.Filters = []gatewayv1.HTTPRouteFilter{setHeaders(path.AppendHeaders)}
	}
	for i := range path.Splits {
		backend, err := backendOf(namespace, &path.Splits[i], len(path.Splits) == 1)
		if err != nil {
			return rule, err
		}
		rule.BackendRefs = append(rule.BackendRefs, backend)
	}
	if len(rule.BackendRefs) == 0 {
		return rule, errors.New("it has no shares")
	}
	return rule, nil
}

// backendOf makes the backend of a share: the hop of its revision.
func backendOf(namespace string, split *netv1alpha1.IngressBackendSplit, only bool) (gatewayv1.HTTPBackendRef, error) {
	revision := split.ServiceName
	if split.ServiceNamespace != namespace {
		return gatewayv1.HTTPBackendRef{}, fmt.Errorf("the Service %s is in namespace %q: an HTTPRoute leads to its own", revision, split.ServiceNamespace)
	}
	if !maps.Equal(split.AppendHeaders, hopHeaders(namespace, revision)) {
		return gatewayv1.HTTPBackendRef{}, fmt.Errorf("the share of %s has the headers %v; a hop adds %v", revision, split.AppendHeaders, hopHeaders(namespace, revision))
	}
	percent := int32(split.Percent) //nolint:gosec // Of 100.
	if only {
		percent = 100 // Which is what its absence means.
	}
	backend := gatewayv1.HTTPBackendRef{}
	backend.Name, backend.Weight = gatewayv1.ObjectName(hopName(revision)), &percent
	backend.Port = new(split.ServicePort.IntVal)
	return backend, nil
}

// probeRule makes the rule by which the gateway tells what it serves of all that comes before it.
func probeRule(spec gatewayv1.HTTPRouteSpec) (gatewayv1.HTTPRouteRule, error) {
	content, err := json.Marshal(spec)
	if err != nil {
		return gatewayv1.HTTPRouteRule{}, err
	}
	digest := sha256.Sum256(content)
	answers := *spec.Rules[0].BackendRefs[0].DeepCopy()
	answers.Weight = nil // It may have no share.
	return gatewayv1.HTTPRouteRule{
		Matches:     []gatewayv1.HTTPRouteMatch{{Headers: exactly(map[string]netv1alpha1.HeaderMatch{header.ProbeKey: {Exact: probeValue}})}},
		Filters:     []gatewayv1.HTTPRouteFilter{setHeaders(map[string]string{header.HashKey: hex.EncodeToString(digest[:8])})},
		BackendRefs: []gatewayv1.HTTPBackendRef{answers},
	}, nil
}

// probeValue tells our probes from those of Knative's activator, which no hop may answer.
const probeValue = "serinus-test"

// contentOf is what a probe is answered with where the gateway serves the HTTPRoute as it is.
func contentOf(route *gatewayv1.HTTPRoute) string {
	probes := route.Spec.Rules[len(route.Spec.Rules)-1]
	return probes.Filters[0].RequestHeaderModifier.Set[0].Value
}

func hopName(revision string) string { return kmeta.ChildName(revision, "-hop") }

func hopHeaders(namespace, revision string) map[string]string {
	return map[string]string{namespaceHeader: namespace, revisionHeader: revision}
}

func prefix(path string) *gatewayv1.HTTPPathMatch {
	if path == "" {
		return nil
	}
	return &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: &path}
}

func exactly(headers map[string]netv1alpha1.HeaderMatch) []gatewayv1.HTTPHeaderMatch {
	var matches []gatewayv1.HTTPHeaderMatch
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		matches = append(matches, gatewayv1.HTTPHeaderMatch{
			Type: new(gatewayv1.HeaderMatchExact), Name: gatewayv1.HTTPHeaderName(name), Value: headers[name].Exact,
		})
	}
	return matches
}

func setHeaders(headers map[string]string) gatewayv1.HTTPRouteFilter {
	modifier := &gatewayv1.HTTPHeaderFilter{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		modifier.Set = append(modifier.Set, gatewayv1.HTTPHeader{Name: gatewayv1.HTTPHeaderName(name), Value: headers[name]})
	}
	return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: modifier}
}
