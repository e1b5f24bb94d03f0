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

// entrance is the way to an InferenceService by its own host, which Knative knows nothing of: an HTTPRoute that leads to
// Knative's ingress, and asks there for the predictor. It has nothing to do with revisions, so no rollout changes it.
type entrance struct {
	// route is the HTTPRoute; nil where there is none.
	route *gatewayv1.HTTPRoute
	// gateways are those that the HTTPRoute names, or is to name.
	gateways gateway.Gateways
	// localService leads from inside the cluster to the local gateway; nil where there is none.
	localService *corev1.Service
	// placeholder is the Service of the predictor's name, by which Knative leads to its ingress; nil where there is none.
	// It has the labels of the Knative Service, so that the cache shows it.
	placeholder *corev1.Service
}

// readEntrance reads the entrance, where the cluster has what it is made of.
func (b *Backend) readEntrance(ctx context.Context, isvc *v1beta1.InferenceService, found *children) error {
	if !b.RoutesInstalled() {
		return nil
	}
	var routes gatewayv1.HTTPRouteList
	if err := b.List(ctx, isvc, &routes); err != nil {
		return err
	}
	for _, route := range objects.Pointers(routes.Items) {
		if route.Name != gateway.RouteName(isvc.Name) {
			continue
		}
		ours, err := objects.Belongs(isvc, route, gateway.RouteKind)
		if err != nil {
			return err
		}
		if ours {
			found.entrance.route = route
		}
	}
	refs := gateway.ParentRefs(isvc, b.Config.Ingress)
	if route := found.entrance.route; route != nil {
		refs = append(refs, route.Spec.ParentRefs...)
	}
	reader := b.Gateways
	if reader == nil {
		reader = b.Client
	}
	var err error
	if found.entrance.gateways, err = gateway.ReadGateways(ctx, reader, refs...); err != nil {
		return err
	}
	var services corev1.ServiceList
	if err := b.List(ctx, isvc, &services); err != nil {
		return err
	}
	for _, service := range objects.Pointers(services.Items) {
		switch {
		case service.Name == isvc.Name && objects.Mine(isvc, service, "Service") == nil:
			found.entrance.localService = service
		case service.Name == backend.PredictorName(isvc.Name) && isPlaceholder(service):
			found.entrance.placeholder = service
		}
	}
	return nil
}

// isPlaceholder tells whether a Service is one that Knative makes for a Route.
func isPlaceholder(service *corev1.Service) bool {
	owner := metav1.GetControllerOf(service)
	return owner != nil && owner.Kind == "Route" && strings.HasPrefix(owner.APIVersion, serving.GroupName+"/")
}

// isPrivate tells whether the predictor is kept inside the cluster: by the user, or by an administrator in Knative, whose
// URL is then the address inside.
func (c *children) isPrivate(isvc *v1beta1.InferenceService) bool {
	if gateway.ClusterLocal(isvc) {
		return true
	}
	if c.service == nil || c.service.Status.URL == nil || c.service.Status.Address == nil || c.service.Status.Address.URL == nil {
		return false
	}
	return c.service.Status.URL.Host == c.service.Status.Address.URL.Host
}

// ingress is where Knative's ingress takes requests from inside the cluster.
type ingress struct {
	service types.NamespacedName
	port    int32
}

// ingress reads off the placeholder where Knative's ingress is. It is nil as long as Knative has not said it, and where
// that is no Service that a gateway can lead to, which the obstacle tells.
//
// Gateways need not follow the name in a Service of type ExternalName, and some refuse it, as whoever may write such a
// Service could lead them anywhere. So the Service that the name means is what the HTTPRoute refers to.
func (c *children) ingress() (found *ingress, obstacle string) {
	placeholder := c.entrance.placeholder
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
			return nil, "" // What Knative begins with.
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

// serviceOf reads which Service a name of the cluster's DNS means: iris.kserve-test.svc, with or without a domain.
func serviceOf(host string) (service types.NamespacedName, internal bool) {
	parts := strings.SplitN(host, ".", 4)
	if len(parts) < 3 || parts[2] != "svc" {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: parts[1], Name: parts[0]}, true
}

// entranceRoute leads the hosts of the InferenceService to Knative's ingress. There it is asked for the predictor by its
// host inside the cluster, which every ingress of Knative's serves at this place, whatever else it is configured to.
func entranceRoute(isvc *v1beta1.InferenceService, settings config.Ingress, to ingress, host string) *gatewayv1.HTTPRoute {
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
				Matches: gateway.Everything(),
				Filters: []gatewayv1.HTTPRouteFilter{{
					Type:       gatewayv1.HTTPRouteFilterURLRewrite,
					URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Hostname: new(gatewayv1.PreciseHostname(host))},
				}},
				BackendRefs: []gatewayv1.HTTPBackendRef{ref},
			}},
		},
	}
}

// wantedEntrance is the HTTPRoute as it shall be; nil where it is to stay as it is, or away.
func (b *Backend) wantedEntrance(isvc *v1beta1.InferenceService, found *children) *gatewayv1.HTTPRoute {
	to, _ := found.ingress()
	if to == nil || found.isPrivate(isvc) {
		return nil
	}
	host := b.Config.Ingress.ClusterHost(backend.PredictorName(isvc.Name), isvc.Namespace)
	if address := found.service.Status.Address; address != nil && address.URL != nil {
		host = address.URL.Host
	}
	route := entranceRoute(isvc, b.Config.Ingress, *to, host)
	route.Spec.Rules[0].Timeouts = b.hostRouteTimeouts(isvc, found, route)
	return route
}

// hostRouteTimeouts keeps the gateway from ending requests that the revisions may still answer: Knative itself holds the
// timeout of each revision. A route that is in use is given none by an upgrade.
func (b *Backend) hostRouteTimeouts(isvc *v1beta1.InferenceService, found *children, wanted *gatewayv1.HTTPRoute) *gatewayv1.HTTPRouteTimeouts {
	settings, current := b.Config.Ingress, found.entrance.route
	if current != nil && (len(current.Spec.Rules) != 1 || !equality.Semantic.DeepEqual(current.Spec.Hostnames, wanted.Spec.Hostnames) ||
		!equality.Semantic.DeepEqual(current.Spec.Rules[0].BackendRefs, wanted.Spec.Rules[0].BackendRefs)) {
		current = nil
	}
	if settings.RequestTimeout == nil {
		if current != nil && current.Spec.Rules[0].Timeouts == nil || current == nil && !found.entrance.gateways.SupportTimeouts(wanted.Spec.ParentRefs) {
			return nil
		}
	}
	var ofRevisions []*int64
	for _, share := range readTraffic(isvc, found.service).split().Shares() {
		ofRevisions = append(ofRevisions, found.Revisions[share.Revision].Runs.TimeoutSeconds)
	}
	return found.entrance.gateways.RequestTimeout(settings, wanted.Spec.ParentRefs, current, ofRevisions...)
}

// entranceDetail says how far the gateway is with the entrance, for people; nil where there is to be none, and as long as
// Knative has not said where its ingress is.
func (b *Backend) entranceDetail(isvc *v1beta1.InferenceService, found *children) (*backend.Entrance, error) {
	if !b.RoutesInstalled() || found.service == nil || found.isPrivate(isvc) {
		return nil, nil
	}
	detail := &backend.Entrance{URL: b.Config.Ingress.URL(b.Config.Ingress.Host(isvc.Name, isvc.Namespace))}
	wanted, route := b.wantedEntrance(isvc, found), found.entrance.route
	if wanted == nil {
		_, obstacle := found.ingress()
		if obstacle == "" {
			return nil, nil
		}
		detail.Route = noIngress(found.entrance.placeholder, obstacle)
		return detail, nil
	}
	same, err := isRealised(wanted, route, b.Scheme)
	if err != nil || !same {
		return detail, err
	}
	acceptance := found.entrance.gateways.AcceptanceOf(route)
	if acceptance.Refused && acceptance.Reason == string(gatewayv1.RouteReasonRefNotPermitted) {
		detail.Route = notPermitted(route)
	} else {
		detail.Route = found.entrance.gateways.Detail(b.Config.Ingress, route)
	}
	// A URL that was reported stays while a Gateway that serves it only has yet to report on a change of itself.
	detail.Open = acceptance.TakenOver || !detail.Route.BehindSince.IsZero() && isvc.Status.URL == detail.URL
	return detail, nil
}

// isRealised tells whether the HTTPRoute that there is leads where it shall. What else has been added to it may stay for
// the question: a newer Gateway API adds defaults, and all else is about to be taken off.
func isRealised(wanted, route *gatewayv1.HTTPRoute, scheme *runtime.Scheme) (bool, error) {
	if route == nil {
		return false, nil
	}
	intent, err := objects.IntentOf(wanted, scheme)
	if err != nil {
		return false, err
	}
	return objects.Realised(intent, route, objects.SharedLists)
}

// reasonNoIngress says, in the conditions, that Knative's ingress is nothing that a gateway could lead to.
const reasonNoIngress = "IngressNotReachable"

// noIngress tells why there is no HTTPRoute.
func noIngress(placeholder *corev1.Service, obstacle string) backend.RouteStatus {
	return backend.RouteStatus{
		Refused: true, Reason: reasonNoIngress,
		Message: fmt.Sprintf("Knative's ingress is no Service of this cluster that the gateway could lead to: Service %q is all that Knative tells of it, and %s",
			placeholder.Name, obstacle),
	}
}

// notPermitted tells what lets the gateway lead to another namespace.
func notPermitted(route *gatewayv1.HTTPRoute) backend.RouteStatus {
	ref := route.Spec.Rules[0].BackendRefs[0]
	namespace := objects.ValueOr(ref.Namespace, gatewayv1.Namespace(route.Namespace))
	return backend.RouteStatus{
		Exists: true, Refused: true, Reason: string(gatewayv1.RouteReasonRefNotPermitted),
		Message: fmt.Sprintf("HTTPRoutes of namespace %q may not lead to Service %q in namespace %q, where Knative's ingress is; "+
			"have an administrator allow it with a ReferenceGrant in namespace %q", route.Namespace, ref.Name, namespace, namespace),
	}
}

// writeEntrance makes the entrance what it shall be. As long as nobody knows where it leads, as while the InferenceService
// is stopped, it stays as it is. What keeps it from being written keeps nothing else: the predictor has a host of its own.
func (w *writer) writeEntrance(ctx context.Context) error {
	if !w.RoutesInstalled() {
		return nil
	}
	there, wanted := w.found.entrance, w.wantedEntrance(w.isvc, w.found)
	var err error
	switch {
	case w.found.isPrivate(w.isvc):
		if err = w.objects.Delete(ctx, objects.OrNil(there.route)); err == nil {
			err = w.objects.Delete(ctx, objects.OrNil(there.localService))
		}
	case wanted != nil && !gateway.AvoidHosts(wanted, there.route, w.UnusableHosts):
		err = w.objects.Delete(ctx, objects.OrNil(there.route))
	case wanted != nil:
		if err = w.objects.Apply(ctx, wanted, objects.OrNil(there.route), objects.ExactLists); err == nil {
			err = gateway.LeadLocally(ctx, w.objects, w.Config.Ingress, objects.OrNil(there.localService))
		}
	}
	if err != nil {
		return &backend.EntranceError{Err: err}
	}
	return nil
}
