// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
)

// reasonGatewayMissing says, in the conditions, that the Gateway of a route does not exist.
const reasonGatewayMissing = "GatewayNotFound"

// Acceptance is what gateways say of a route.
type Acceptance struct {
	// TakenOver says that every gateway that the route names serves it as it is now.
	TakenOver bool
	// Refused says that one of them refuses it as it is now, and Reason and Message why.
	Refused         bool
	Reason, Message string
	// silent are the gateways that have said nothing of it.
	silent []gatewayv1.ParentReference
}

// AcceptanceOf reads whether every gateway that the route names serves it as it is now: Accepted and ResolvedRefs at
// the route's generation. Traefik and others publish several entries for a gateway when it has several listeners, or
// forget entries of an earlier life; for each gateway one good entry is enough.
func AcceptanceOf(route *gatewayv1.HTTPRoute) Acceptance {
	all := Acceptance{TakenOver: len(route.Spec.ParentRefs) > 0}
	for _, ref := range route.Spec.ParentRefs {
		verdict := acceptanceBy(route, ref)
		all.TakenOver = all.TakenOver && verdict.TakenOver
		all.silent = append(all.silent, verdict.silent...)
		if verdict.Refused && !all.Refused {
			all.Refused, all.Reason, all.Message = true, verdict.Reason, verdict.Message
		}
	}
	return all
}

func acceptanceBy(route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) Acceptance {
	verdict := Acceptance{silent: []gatewayv1.ParentReference{ref}}
	for _, parent := range route.Status.Parents {
		if !sameParent(parent.ParentRef, ref, route.Namespace) {
			continue
		}
		verdict.silent = nil
		problem := problemOf(parent.Conditions, route.Generation)
		if problem == nil {
			return Acceptance{TakenOver: true}
		}
		if problem.Status == metav1.ConditionFalse && !verdict.Refused {
			verdict = Acceptance{Refused: true, Reason: problem.Reason, Message: problem.Message}
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
		objects.ValueOr(a.Namespace, gatewayv1.Namespace(namespace)) == objects.ValueOr(b.Namespace, gatewayv1.Namespace(namespace)) &&
		(a.SectionName == nil || objects.ValueOr(a.SectionName, "") == objects.ValueOr(b.SectionName, "") || b.SectionName == nil)
}

// Detail says how far the gateways are with routes, for people: what is wrong with the first that is not served. A Gateway
// itself is looked at only where it has said nothing about a route, which is rare and worth a read.
func Detail(ctx context.Context, live client.Reader, ingress config.Ingress, routes ...*gatewayv1.HTTPRoute) backend.Route {
	for _, route := range routes {
		acceptance := AcceptanceOf(route)
		if acceptance.TakenOver {
			continue
		}
		if acceptance.Refused {
			return backend.Route{
				Exists: true, Refused: true, Reason: acceptance.Reason,
				Message: fmt.Sprintf("the gateway refuses HTTPRoute %q (%s); see what it says with: kubectl describe httproute -n %s %s",
					route.Name, cmp.Or(acceptance.Message, acceptance.Reason), route.Namespace, route.Name),
			}
		}
		for _, ref := range acceptance.silent {
			if missing := missingGateway(ctx, live, ingress, ref); missing != nil {
				return *missing
			}
		}
	}
	return backend.Route{Exists: true}
}

// missingGateway tells of a gateway that a route names and that does not exist; nil where it does, or where nobody knows:
// what is only told to people must not keep anything from going on. Gateways are not watched.
func missingGateway(ctx context.Context, live client.Reader, ingress config.Ingress, ref gatewayv1.ParentReference) *backend.Route {
	key := client.ObjectKey{Namespace: string(objects.ValueOr(ref.Namespace, "")), Name: string(ref.Name)}
	err := live.Get(ctx, key, &gatewayv1.Gateway{})
	if !apierrors.IsNotFound(err) && !apimeta.IsNoMatchError(err) {
		return nil
	}
	setting := "ingress.gateway"
	if outer := ingress.Gateway; outer.Namespace != key.Namespace || outer.Name != key.Name {
		setting = "ingress.localGateway"
	}
	return &backend.Route{
		Exists: true, Refused: true, Unwatched: true, Reason: reasonGatewayMissing,
		Message: fmt.Sprintf("Gateway %q in namespace %q does not exist; create it, or name another one in the operator's configuration under %s",
			key.Name, key.Namespace, setting),
	}
}
