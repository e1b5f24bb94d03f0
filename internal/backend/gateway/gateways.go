// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
)

// Gateways are the Gateways that routes reference, and their classes. The zero value contains none.
type Gateways struct {
	gateways map[client.ObjectKey]*gatewayv1.Gateway
	classes  map[gatewayv1.ObjectName]*gatewayv1.GatewayClass
}

// Controllers returns the controllerNames of the GatewayClasses, in order.
func (g Gateways) Controllers() []string {
	var names []string
	for _, class := range g.classes {
		if class != nil && class.Spec.ControllerName != "" {
			names = append(names, string(class.Spec.ControllerName))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ReadRoutes reads the HTTPRoutes of an InferenceService that have one of the names, and the Gateways
// that they and the configuration reference. The default reader of Gateways is the store's client.
func ReadRoutes(
	ctx context.Context, store *objects.Store, reader client.Reader, isvc *v1beta1.InferenceService, ingress config.Ingress, names ...string,
) (map[string]*gatewayv1.HTTPRoute, Gateways, error) {
	var list gatewayv1.HTTPRouteList
	if err := store.List(ctx, isvc, &list); err != nil {
		return nil, Gateways{}, err
	}
	routes, refs := map[string]*gatewayv1.HTTPRoute{}, ParentRefs(isvc, ingress)
	for _, route := range objects.Pointers(list.Items) {
		if !slices.Contains(names, route.Name) {
			continue
		}
		ours, err := objects.IsOwned(isvc, route, RouteKind)
		if err != nil {
			return nil, Gateways{}, err
		}
		if ours {
			routes[route.Name] = route
			refs = append(refs, route.Spec.ParentRefs...)
		}
	}
	if reader == nil {
		reader = store.Client
	}
	gateways, err := readReferenced(ctx, reader, refs...)
	return routes, gateways, err
}

// readReferenced reads the referenced Gateways and their classes. The references must contain
// namespaces.
func readReferenced(ctx context.Context, reader client.Reader, refs ...gatewayv1.ParentReference) (Gateways, error) {
	gateways := Gateways{
		gateways: map[client.ObjectKey]*gatewayv1.Gateway{}, classes: map[gatewayv1.ObjectName]*gatewayv1.GatewayClass{},
	}
	for _, ref := range refs {
		key := keyOf(ref, "")
		if _, known := gateways.gateways[key]; known {
			continue
		}
		gateway, err := read(ctx, reader, key, &gatewayv1.Gateway{})
		if err != nil {
			return Gateways{}, fmt.Errorf("reading Gateway %q in namespace %q: %w", key.Name, key.Namespace, err)
		}
		gateways.gateways[key] = gateway
		if gateway == nil {
			continue
		}
		name := gateway.Spec.GatewayClassName
		gateways.classes[name], err = read(ctx, reader, client.ObjectKey{Name: string(name)}, &gatewayv1.GatewayClass{})
		if err != nil {
			return Gateways{}, fmt.Errorf("reading GatewayClass %q: %w", name, err)
		}
	}
	return gateways, nil
}

// GatewaysOf returns the keys of the Gateways that a route references.
func GatewaysOf(route *gatewayv1.HTTPRoute) []client.ObjectKey {
	keys := make([]client.ObjectKey, len(route.Spec.ParentRefs))
	for i, ref := range route.Spec.ParentRefs {
		keys[i] = keyOf(ref, route.Namespace)
	}
	return keys
}

// Trim returns a Gateway with only the fields that this package reads, for caches.
func Trim(gateway *gatewayv1.Gateway) *gatewayv1.Gateway {
	trimmed := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{
		Namespace: gateway.Namespace, Name: gateway.Name, UID: gateway.UID, ResourceVersion: gateway.ResourceVersion,
		Generation: gateway.Generation, CreationTimestamp: gateway.CreationTimestamp, DeletionTimestamp: gateway.DeletionTimestamp,
		ManagedFields: []metav1.ManagedFieldsEntry{{Time: new(metav1.NewTime(lastWritten(gateway)))}},
	}}
	trimmed.Spec.GatewayClassName = gateway.Spec.GatewayClassName
	for _, listener := range gateway.Spec.Listeners {
		listener.TLS = nil
		trimmed.Spec.Listeners = append(trimmed.Spec.Listeners, listener)
	}
	trimmed.Status.Conditions = onlyProgrammed(gateway.Status.Conditions)
	for _, listener := range gateway.Status.Listeners {
		trimmed.Status.Listeners = append(trimmed.Status.Listeners, gatewayv1.ListenerStatus{
			Name: listener.Name, AttachedRoutes: min(listener.AttachedRoutes, 1), Conditions: onlyProgrammed(listener.Conditions),
		})
	}
	return trimmed
}

func onlyProgrammed(conditions []metav1.Condition) []metav1.Condition {
	condition := apimeta.FindStatusCondition(conditions, string(gatewayv1.GatewayConditionProgrammed))
	if condition == nil {
		return nil
	}
	return []metav1.Condition{{
		Type: condition.Type, Status: condition.Status, Reason: condition.Reason, Message: condition.Message,
		ObservedGeneration: condition.ObservedGeneration,
	}}
}

// TrimClass returns a GatewayClass with only the fields that this package reads, for caches.
func TrimClass(class *gatewayv1.GatewayClass) *gatewayv1.GatewayClass {
	trimmed := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{
		Name: class.Name, UID: class.UID, ResourceVersion: class.ResourceVersion, DeletionTimestamp: class.DeletionTimestamp,
	}}
	trimmed.Spec.ControllerName = class.Spec.ControllerName
	if listsTimeouts(class) {
		trimmed.Status.SupportedFeatures = []gatewayv1.SupportedFeature{{Name: featureRequestTimeout}}
	}
	return trimmed
}

// read returns nil for an object that does not exist.
func read[T client.Object](ctx context.Context, reader client.Reader, key client.ObjectKey, into T) (T, error) {
	var none T
	err := reader.Get(ctx, key, into)
	if client.IgnoreNotFound(err) == nil && err != nil || apimeta.IsNoMatchError(err) {
		return none, nil //nolint:nilerr // To be absent is an answer: nil, also where the API is not installed.
	}
	return into, err
}

// attachedListeners returns the status of the listeners that a reference attaches a route to. If
// the Gateway reports on each listener, only those that have accepted the route count.
func attachedListeners(gateway *gatewayv1.Gateway, route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) []gatewayv1.ListenerStatus {
	reported, accepted := acceptedSections(route, ref)
	var attached []gatewayv1.ListenerStatus
	for _, status := range gateway.Status.Listeners {
		index := slices.IndexFunc(gateway.Spec.Listeners, func(l gatewayv1.Listener) bool { return l.Name == status.Name })
		switch {
		case index < 0, reported && !accepted[status.Name],
			!isSelected(gateway.Spec.Listeners[index], ref), !admits(gateway, gateway.Spec.Listeners[index], status, route):
		default:
			attached = append(attached, status)
		}
	}
	return attached
}

// acceptedSections returns which listeners accept the current generation of a route, and whether
// the Gateway reports on individual listeners.
func acceptedSections(route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) (reported bool, accepted map[gatewayv1.SectionName]bool) {
	accepted = map[gatewayv1.SectionName]bool{}
	for _, parent := range route.Status.Parents {
		section := parent.ParentRef.SectionName
		if section == nil || !sameParent(parent.ParentRef, ref, route.Namespace) {
			continue
		}
		condition := apimeta.FindStatusCondition(parent.Conditions, string(gatewayv1.RouteConditionAccepted))
		if condition == nil || condition.ObservedGeneration < route.Generation {
			continue
		}
		reported = true
		accepted[*section] = accepted[*section] || condition.Status == metav1.ConditionTrue
	}
	return reported, accepted
}

func isSelected(listener gatewayv1.Listener, ref gatewayv1.ParentReference) bool {
	return (ref.SectionName == nil || *ref.SectionName == listener.Name) && (ref.Port == nil || *ref.Port == listener.Port)
}

// admits reports whether a listener allows the kind, namespace and hosts of a route.
func admits(gateway *gatewayv1.Gateway, listener gatewayv1.Listener, status gatewayv1.ListenerStatus, route *gatewayv1.HTTPRoute) bool {
	if slices.Contains([]gatewayv1.ProtocolType{gatewayv1.TCPProtocolType, gatewayv1.UDPProtocolType, gatewayv1.TLSProtocolType}, listener.Protocol) {
		return false
	}
	allowed := objects.ValueOr(listener.AllowedRoutes, gatewayv1.AllowedRoutes{})
	isHTTPRoute := func(kind gatewayv1.RouteGroupKind) bool { return kind.Kind == RouteKind }
	if len(allowed.Kinds) > 0 && !slices.ContainsFunc(allowed.Kinds, isHTTPRoute) {
		return false
	}
	switch objects.ValueOr(objects.ValueOr(allowed.Namespaces, gatewayv1.RouteNamespaces{}).From, gatewayv1.NamespacesFromSame) {
	case gatewayv1.NamespacesFromSame:
		if gateway.Namespace != route.Namespace {
			return false
		}
	case gatewayv1.NamespacesFromSelector:
		if status.AttachedRoutes == 0 { // Namespaces are not watched, so the selector cannot be evaluated.
			return false
		}
	case gatewayv1.NamespacesFromNone:
		return false
	case gatewayv1.NamespacesFromAll:
	}
	host := string(objects.ValueOr(listener.Hostname, ""))
	return host == "" || len(route.Spec.Hostnames) == 0 || slices.ContainsFunc(route.Spec.Hostnames, func(name gatewayv1.Hostname) bool {
		suffix, wildcard := strings.CutPrefix(host, "*")
		return string(name) == host || wildcard && strings.HasSuffix(string(name), suffix)
	})
}
