// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/serving"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
)

// hostRoute is the route for the InferenceService's own host, which Knative does not know: an
// HTTPRoute to Knative's ingress that rewrites the host to the predictor's. It names no revisions,
// so a rollout does not change it.
type hostRoute struct {
	route    *gatewayv1.HTTPRoute
	gateways gateway.Gateways
	// localService directs requests from inside the cluster to the local gateway; nil if there is
	// none.
	localService *corev1.Service
	// placeholder is the Service with the predictor's name by which Knative points at its ingress;
	// nil if there is none. It has the labels of the Knative Service, so the cache shows it.
	placeholder *corev1.Service
}

// readHostRoute reads the objects of the host route, if the cluster has the Gateway API.
func (b *Backend) readHostRoute(ctx context.Context, isvc *v1beta1.InferenceService, observed *children) error {
	if !b.RoutesInstalled() {
		return nil
	}
	name := gateway.RouteName(isvc.Name)
	routes, gateways, err := gateway.ReadRoutes(ctx, &b.Store, b.Gateways, isvc, b.Config.Ingress, name)
	if err != nil {
		return err
	}
	observed.hostRoute.route, observed.hostRoute.gateways = routes[name], gateways
	var services corev1.ServiceList
	if err := b.List(ctx, isvc, &services); err != nil {
		return err
	}
	for _, service := range objects.Pointers(services.Items) {
		switch {
		case service.Name == isvc.Name && objects.CheckOwner(isvc, service, "Service") == nil:
			observed.hostRoute.localService = service
		case service.Name == backend.PredictorName(isvc.Name) && isPlaceholder(service):
			observed.hostRoute.placeholder = service
		}
	}
	return nil
}

func isPlaceholder(service *corev1.Service) bool {
	owner := metav1.GetControllerOf(service)
	return owner != nil && owner.Kind == "Route" && strings.HasPrefix(owner.APIVersion, serving.GroupName+"/")
}

// isPrivate reports whether the predictor is reachable only inside the cluster, by the user's
// choice or by an administrator's configuration of Knative. In the latter case Knative's URL equals
// the local address.
func (c *children) isPrivate(isvc *v1beta1.InferenceService) bool {
	if gateway.ClusterLocal(isvc) {
		return true
	}
	if c.service == nil || c.service.Status.URL == nil || c.service.Status.Address == nil || c.service.Status.Address.URL == nil {
		return false
	}
	return c.service.Status.URL.Host == c.service.Status.Address.URL.Host
}

// ingress is the Service and port at which Knative's ingress takes requests from inside the
// cluster.
type ingress struct {
	service types.NamespacedName
	port    int32
}

// ingress returns where Knative's ingress is, according to the placeholder. It is nil until Knative
// reports it, and if a gateway cannot route to it; obstacle then says why.
//
// The HTTPRoute references the Service that an ExternalName names, not the Service of type
// ExternalName: gateways need not support that type, and some refuse it because its author could
// redirect the gateway anywhere.
func (c *children) ingress() (found *ingress, obstacle string) {
	placeholder := c.hostRoute.placeholder
	if c.service == nil || c.service.Status.URL == nil || placeholder == nil {
		return nil, ""
	}
	own := types.NamespacedName{Namespace: placeholder.Namespace, Name: placeholder.Name}
	port := int32(80)
	if len(placeholder.Spec.Ports) > 0 {
		port = placeholder.Spec.Ports[0].Port
	}
	switch spec := placeholder.Spec; {
	case spec.Type == corev1.ServiceTypeExternalName:
		service, internal := serviceOf(spec.ExternalName)
		switch {
		case spec.ExternalName == c.service.Status.URL.Host, service == own:
			return nil, "" // Knative's initial value.
		case !internal:
			return nil, fmt.Sprintf("it leads to %s", spec.ExternalName)
		}
		return &ingress{service, port}, ""
	case spec.ClusterIP == corev1.ClusterIPNone:
		return &ingress{own, port}, ""
	default:
		return nil, "it leads nowhere outside of a service mesh"
	}
}

// serviceOf parses a DNS name of a Service, such as iris.kserve-test.svc, with or without a domain.
func serviceOf(host string) (service types.NamespacedName, internal bool) {
	parts := strings.SplitN(host, ".", 4)
	if len(parts) < 3 || parts[2] != "svc" {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: parts[1], Name: parts[0]}, true
}

// buildHostRoute returns the HTTPRoute from the InferenceService's hosts to Knative's ingress. It
// rewrites the host to the predictor's cluster-local one, which every ingress of Knative serves at
// this address.
func buildHostRoute(isvc *v1beta1.InferenceService, settings config.Ingress, to ingress, host string) *gatewayv1.HTTPRoute {
	ref := gateway.Service(to.service.Name, to.port, 1)
	if to.service.Namespace != isvc.Namespace {
		ref.Namespace = new(gatewayv1.Namespace(to.service.Namespace))
	}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: objects.Meta(isvc, gateway.RouteName(isvc.Name), 0),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: gateway.ParentRefs(isvc, settings)},
			Hostnames:       gateway.Hosts(isvc, settings, isvc.Name),
			Rules: []gatewayv1.HTTPRouteRule{{
				Matches: gateway.MatchAll(),
				Filters: []gatewayv1.HTTPRouteFilter{{
					Type:       gatewayv1.HTTPRouteFilterURLRewrite,
					URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Hostname: new(gatewayv1.PreciseHostname(host))},
				}},
				BackendRefs: []gatewayv1.HTTPBackendRef{ref},
			}},
		},
	}
}

// desiredHostRoute returns the desired HTTPRoute; nil if the current one stays as it is or is
// deleted.
func (b *Backend) desiredHostRoute(isvc *v1beta1.InferenceService, observed *children) *gatewayv1.HTTPRoute {
	to, _ := observed.ingress()
	if to == nil || observed.isPrivate(isvc) {
		return nil
	}
	host := b.Config.Ingress.ClusterHost(backend.PredictorName(isvc.Name), isvc.Namespace)
	if address := observed.service.Status.Address; address != nil && address.URL != nil {
		host = address.URL.Host
	}
	route := buildHostRoute(isvc, b.Config.Ingress, *to, host)
	route.Spec.Rules[0].Timeouts = b.hostRouteTimeouts(isvc, observed, route)
	return route
}

// hostRouteTimeouts keeps the gateway from ending requests before the revisions do. Knative
// enforces the timeout of each revision. An upgrade of the operator adds no timeout to a route that
// is in use.
func (b *Backend) hostRouteTimeouts(isvc *v1beta1.InferenceService, observed *children, desired *gatewayv1.HTTPRoute) *gatewayv1.HTTPRouteTimeouts {
	settings, current := b.Config.Ingress, observed.hostRoute.route
	if current != nil && (len(current.Spec.Rules) != 1 || !equality.Semantic.DeepEqual(current.Spec.Hostnames, desired.Spec.Hostnames) ||
		!equality.Semantic.DeepEqual(current.Spec.Rules[0].BackendRefs, desired.Spec.Rules[0].BackendRefs)) {
		current = nil
	}
	if settings.RequestTimeout == nil {
		if current != nil && current.Spec.Rules[0].Timeouts == nil || current == nil && !observed.hostRoute.gateways.SupportTimeouts(desired.Spec.ParentRefs) {
			return nil
		}
	}
	var ofRevisions []*int64
	for _, share := range readTraffic(isvc, observed.service).split().Shares() {
		ofRevisions = append(ofRevisions, observed.Revisions[share.Revision].Runs.TimeoutSeconds)
	}
	return observed.hostRoute.gateways.RequestTimeout(settings, desired.Spec.ParentRefs, current, ofRevisions...)
}

// hostRouteStatus returns the status of the host route that users see. It is nil if there is no
// host route, and until Knative reports its ingress.
func (b *Backend) hostRouteStatus(isvc *v1beta1.InferenceService, observed *children) (*backend.HostRoute, error) {
	if !b.RoutesInstalled() || observed.service == nil || observed.isPrivate(isvc) {
		return nil, nil
	}
	detail := &backend.HostRoute{URL: b.Config.Ingress.URL(b.Config.Ingress.Host(isvc.Name, isvc.Namespace))}
	desired, route := b.desiredHostRoute(isvc, observed), observed.hostRoute.route
	if desired == nil {
		_, obstacle := observed.ingress()
		if obstacle == "" {
			return nil, nil
		}
		detail.Route = noIngress(observed.hostRoute.placeholder, obstacle)
		return detail, nil
	}
	same, err := isRealised(desired, route, b.Scheme)
	if err != nil || !same {
		return detail, err
	}
	acceptance := observed.hostRoute.gateways.AcceptanceOf(route)
	if acceptance.Refused && acceptance.Reason == string(gatewayv1.RouteReasonRefNotPermitted) {
		detail.Route = notPermitted(route)
	} else {
		detail.Route = observed.hostRoute.gateways.Detail(b.Config.Ingress, route)
	}
	// A reported URL stays while a Gateway that serves it has only yet to report on its own change.
	detail.Open = acceptance.Accepted || !detail.Route.BehindSince.IsZero() && isvc.Status.URL == detail.URL
	return detail, nil
}

// isRealised reports whether the current HTTPRoute routes as desired. It ignores additional fields:
// a newer Gateway API adds defaults, and other additions are removed by the next write.
func isRealised(desired, route *gatewayv1.HTTPRoute, scheme *runtime.Scheme) (bool, error) {
	if route == nil {
		return false, nil
	}
	intent, err := objects.IntentOf(desired, scheme)
	if err != nil {
		return false, err
	}
	return objects.IsUpToDate(intent, route, objects.SharedLists)
}

// reasonNoIngress is the condition reason for a Knative ingress that a gateway cannot route to.
const reasonNoIngress = "IngressNotReachable"

func noIngress(placeholder *corev1.Service, obstacle string) backend.RouteStatus {
	return backend.RouteStatus{
		Refused: true, Reason: reasonNoIngress,
		Message: fmt.Sprintf("Knative's ingress is no Service of this cluster that the gateway could lead to: Service %q is all that Knative tells of it, and %s",
			placeholder.Name, obstacle),
	}
}

// notPermitted returns the status that says how to allow references to another namespace.
func notPermitted(route *gatewayv1.HTTPRoute) backend.RouteStatus {
	ref := route.Spec.Rules[0].BackendRefs[0]
	namespace := objects.ValueOr(ref.Namespace, gatewayv1.Namespace(route.Namespace))
	return backend.RouteStatus{
		Exists: true, Refused: true, Reason: string(gatewayv1.RouteReasonRefNotPermitted),
		Message: fmt.Sprintf("HTTPRoutes of namespace %q may not lead to Service %q in namespace %q, where Knative's ingress is; "+
			"have an administrator allow it with a ReferenceGrant in namespace %q", route.Namespace, ref.Name, namespace, namespace),
	}
}

// writeHostRoute writes the host route. While the address of Knative's ingress is unknown, as when
// the InferenceService is stopped, it leaves the route unchanged. Its failure does not block other
// work: the predictor has a host of its own.
func (w *writer) writeHostRoute(ctx context.Context) error {
	if !w.RoutesInstalled() {
		return nil
	}
	current, desired := w.observed.hostRoute, w.desiredHostRoute(w.isvc, w.observed)
	var err error
	switch {
	case w.observed.isPrivate(w.isvc):
		if err = w.Objects.Delete(ctx, objects.OrNil(current.route)); err == nil {
			err = w.Objects.Delete(ctx, objects.OrNil(current.localService))
		}
	case desired != nil && !gateway.RemoveUnusableHosts(desired, current.route, w.UnusableHosts):
		err = w.Objects.Delete(ctx, objects.OrNil(current.route))
	case desired != nil:
		if err = w.Objects.Apply(ctx, desired, objects.OrNil(current.route), objects.ExactLists); err == nil {
			err = gateway.WriteLocalService(ctx, w.Objects, w.Config.Ingress, objects.OrNil(current.localService))
		}
	}
	return err
}
