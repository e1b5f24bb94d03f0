// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
)

// RouteKind is the kind of the routes.
const RouteKind = "HTTPRoute"

// RouteName returns the name of the HTTPRoute for an InferenceService's host.
func RouteName(isvc string) string { return isvc }

// ClusterLocal reports whether the user keeps the InferenceService off the external gateway.
func ClusterLocal(isvc *v1beta1.InferenceService) bool {
	return backend.ClusterLocalLabel(isvc) != ""
}

// Hosts returns the external hosts of the names, which are the InferenceService's and its
// predictor's, and the InferenceService's host at the local gateway.
func Hosts(isvc *v1beta1.InferenceService, ingress config.Ingress, names ...string) []gatewayv1.Hostname {
	var hosts []gatewayv1.Hostname
	if !ClusterLocal(isvc) {
		for _, name := range names {
			hosts = append(hosts, gatewayv1.Hostname(ingress.Host(name, isvc.Namespace)))
		}
	}
	if ingress.LocalGateway != nil {
		hosts = append(hosts, gatewayv1.Hostname(LocalHost(isvc, ingress)))
	}
	return hosts
}

// LocalHost returns the host of an InferenceService inside the cluster.
func LocalHost(isvc *v1beta1.InferenceService, ingress config.Ingress) string {
	return ingress.ClusterHost(isvc.Name, isvc.Namespace)
}

// HostsOf returns the hosts of a route.
func HostsOf(route *gatewayv1.HTTPRoute) []string {
	hosts := make([]string, len(route.Spec.Hostnames))
	for i, name := range route.Spec.Hostnames {
		hosts[i] = string(name)
	}
	return hosts
}

// RemoveUnusableHosts removes unusable hosts from a route before it is written. If the route would
// get an unusable host, it keeps its current hosts without the unusable ones. RemoveUnusableHosts
// reports whether any host is left: a route without hosts would match all hosts.
func RemoveUnusableHosts(route, current *gatewayv1.HTTPRoute, unusable map[string]bool) bool {
	isUnusable := func(name gatewayv1.Hostname) bool { return unusable[string(name)] }
	if !slices.ContainsFunc(route.Spec.Hostnames, isUnusable) {
		return true
	}
	route.Spec.Hostnames = nil
	if current != nil {
		route.Spec.Hostnames = slices.DeleteFunc(slices.Clone(current.Spec.Hostnames), isUnusable)
	}
	return len(route.Spec.Hostnames) > 0
}

// IsChanged reports whether a write has changed the spec of a route; current is nil for a new
// route.
func IsChanged(current *gatewayv1.HTTPRoute, written *unstructured.Unstructured) bool {
	after := &gatewayv1.HTTPRoute{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(written.Object, after); err != nil || current == nil {
		return true
	}
	return !equality.Semantic.DeepEqual(current.Spec, after.Spec)
}

// ParentRefs returns references to the gateways of an InferenceService.
func ParentRefs(isvc *v1beta1.InferenceService, ingress config.Ingress) []gatewayv1.ParentReference {
	var refs []gatewayv1.ParentReference
	if !ClusterLocal(isvc) {
		refs = append(refs, ParentRef(ingress.Gateway.Namespace, ingress.Gateway.Name, ingress.Gateway.SectionName))
	}
	if local := ingress.LocalGateway; local != nil {
		refs = append(refs, ParentRef(local.Namespace, local.Name, local.SectionName))
	}
	return refs
}

// ParentRef returns a reference to a Gateway, or to one of its listeners if the section is not
// empty.
func ParentRef(namespace, name, section string) gatewayv1.ParentReference {
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

// MatchAll matches all requests. It spells out the API server's default, so that a rule that was
// narrowed by hand can be detected.
func MatchAll() []gatewayv1.HTTPRouteMatch {
	return []gatewayv1.HTTPRouteMatch{{
		Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: new("/")},
	}}
}

// Service returns a weighted reference to a port of a Service. Like MatchAll, it spells out the API
// server's defaults.
func Service(name string, port, weight int32) gatewayv1.HTTPBackendRef {
	return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
		BackendObjectReference: gatewayv1.BackendObjectReference{
			Group: new(gatewayv1.Group("")),
			Kind:  new(gatewayv1.Kind("Service")),
			Name:  gatewayv1.ObjectName(name),
			Port:  &port,
		},
		Weight: &weight,
	}}
}

// WriteLocalService writes the Service that directs the in-cluster name of the InferenceService to
// the local gateway. Without a configured local gateway, it does nothing.
func WriteLocalService(ctx context.Context, w objects.Writer, ingress config.Ingress, current client.Object) error {
	local := ingress.LocalGateway
	if local == nil {
		return w.Delete(ctx, current)
	}
	return w.Apply(ctx, &corev1.Service{
		ObjectMeta: objects.Meta(w.InferenceService, w.InferenceService.Name, 0),
		Spec: corev1.ServiceSpec{
			Type:         corev1.ServiceTypeExternalName,
			ExternalName: ingress.ClusterHost(local.Service.Name, local.Service.Namespace),
		},
	}, current, objects.SharedLists)
}
