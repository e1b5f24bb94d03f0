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

// The headers that name the revision to the activator.
const (
	namespaceHeader = "Knative-Serving-Namespace"
	revisionHeader  = "Knative-Serving-Revision"
)

// Routes returns an HTTPRoute for each rule of an Ingress, attached to the gateway. It returns an
// error for features that HTTPRoutes cannot express.
func Routes(ingress *netv1alpha1.Ingress, gateway gatewayv1.ParentReference) ([]*gatewayv1.HTTPRoute, error) {
	if len(ingress.Spec.TLS) > 0 || ingress.Spec.HTTPOption == netv1alpha1.HTTPOptionRedirected {
		return nil, errors.New("the gateway of the tests has no certificates: keep the defaults of external-domain-tls and http-protocol in config-network")
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

// routeOf returns the HTTPRoute of a rule. Its name is the first host of the rule, which is unique.
func routeOf(ingress *netv1alpha1.Ingress, rule *netv1alpha1.IngressRule, gateway gatewayv1.ParentReference) (*gatewayv1.HTTPRoute, error) {
	if len(rule.Hosts) == 0 || rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
		return nil, errors.New("it has no hosts or no paths")
	}
	spec := gatewayv1.HTTPRouteSpec{CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{gateway}}}
	for _, host := range rule.Hosts {
		spec.Hostnames = append(spec.Hostnames, gatewayv1.Hostname(host))
	}
	for i := range rule.HTTP.Paths {
		routeRule, err := ruleOf(ingress.Namespace, &rule.HTTP.Paths[i])
		if err != nil {
			return nil, fmt.Errorf("path %d: %w", i, err)
		}
		spec.Rules = append(spec.Rules, routeRule)
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

// ruleOf returns the rule of a path. The percentages of its splits become weights.
func ruleOf(namespace string, path *netv1alpha1.HTTPIngressPath) (gatewayv1.HTTPRouteRule, error) {
	var rule gatewayv1.HTTPRouteRule
	if path.RewriteHost != "" {
		return rule, errors.New("it rewrites the host, as a DomainMapping does: the ingress controller of the tests does not support it")
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
		return rule, errors.New("it has no splits")
	}
	return rule, nil
}

// backendOf returns the backend of a split, which is the hop of its revision.
func backendOf(namespace string, split *netv1alpha1.IngressBackendSplit, only bool) (gatewayv1.HTTPBackendRef, error) {
	revision := split.ServiceName
	if split.ServiceNamespace != namespace {
		return gatewayv1.HTTPBackendRef{}, fmt.Errorf("the Service %s is in namespace %q: it must be in the namespace of the Ingress", revision, split.ServiceNamespace)
	}
	if !maps.Equal(split.AppendHeaders, hopHeaders(namespace, revision)) {
		return gatewayv1.HTTPBackendRef{}, fmt.Errorf("the split of %s has the headers %v; a hop adds %v", revision, split.AppendHeaders, hopHeaders(namespace, revision))
	}
	percent := int32(split.Percent) //nolint:gosec // At most 100.
	if only {
		percent = 100 // The default of Knative's API.
	}
	backend := gatewayv1.HTTPBackendRef{}
	backend.Name, backend.Weight = gatewayv1.ObjectName(hopName(revision)), &percent
	backend.Port = new(split.ServicePort.IntVal)
	return backend, nil
}

// probeRule returns the rule for probes. It adds a hash of the other rules as a header.
func probeRule(spec gatewayv1.HTTPRouteSpec) (gatewayv1.HTTPRouteRule, error) {
	content, err := json.Marshal(spec)
	if err != nil {
		return gatewayv1.HTTPRouteRule{}, err
	}
	digest := sha256.Sum256(content)
	backend := *spec.Rules[0].BackendRefs[0].DeepCopy()
	backend.Weight = nil // Its weight can be 0.
	return gatewayv1.HTTPRouteRule{
		Matches:     []gatewayv1.HTTPRouteMatch{{Headers: exactly(map[string]netv1alpha1.HeaderMatch{header.ProbeKey: {Exact: probeValue}})}},
		Filters:     []gatewayv1.HTTPRouteFilter{setHeaders(map[string]string{header.HashKey: hex.EncodeToString(digest[:8])})},
		BackendRefs: []gatewayv1.HTTPBackendRef{backend},
	}, nil
}

// probeValue distinguishes this controller's probes from those of Knative's activator, which hops
// must forward.
const probeValue = "serinus-test"

// hashOf returns the hash that a probe returns if the gateway serves the HTTPRoute's current
// content.
func hashOf(route *gatewayv1.HTTPRoute) string {
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
