// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
)

// Condition reasons about Gateways.
const (
	reasonGatewayMissing       = "GatewayNotFound"
	reasonGatewayNotProgrammed = "GatewayNotProgrammed"
)

// Acceptance is the state of a route, by its own conditions and those of its Gateways.
type Acceptance struct {
	// Accepted reports whether every referenced Gateway has accepted the current generation, and
	// neither a Gateway nor a listener is Programmed=False.
	Accepted bool
	// Refused reports whether a Gateway refuses the current generation, for the Reason and Message.
	Refused         bool
	Reason, Message string
	remarks         []backend.Remark
	// silent are the Gateways that have never reported on the route, pending those that have not
	// reported on its current generation.
	silent, pending []gatewayv1.ParentReference
	notProgrammed   string
	// behind describes the Gateway that has not reported on its own current generation, which was
	// written at behindSince.
	behind      string
	behindSince time.Time
}

// Answered reports whether the outcome for the current generation is known: the route is served, or
// it is refused by Gateways that are themselves programmed.
func (a Acceptance) Answered() bool {
	return a.Accepted || a.Refused && a.notProgrammed == "" && a.behind == ""
}

// AcceptanceOf reads the conditions of a route. Every referenced Gateway must report Accepted and
// ResolvedRefs at the route's generation. Some implementations, such as Traefik, publish an entry
// for each listener and may leave old entries behind. So one good entry for each Gateway is enough.
func AcceptanceOf(route *gatewayv1.HTTPRoute) Acceptance {
	all := Acceptance{Accepted: len(route.Spec.ParentRefs) > 0}
	for _, ref := range route.Spec.ParentRefs {
		one := acceptanceBy(route, ref)
		all.Accepted = all.Accepted && one.Accepted
		all.silent, all.pending = append(all.silent, one.silent...), append(all.pending, one.pending...)
		all.remarks = append(all.remarks, one.remarks...)
		if one.Refused && !all.Refused {
			all.Refused, all.Reason, all.Message = true, one.Reason, one.Message
		}
	}
	return all
}

func acceptanceBy(route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) Acceptance {
	acceptance := Acceptance{silent: []gatewayv1.ParentReference{ref}, pending: []gatewayv1.ParentReference{ref}}
	for _, parent := range route.Status.Parents {
		if !sameParent(parent.ParentRef, ref, route.Namespace) {
			continue
		}
		acceptance.silent = nil
		problem := problemOf(parent.Conditions, route.Generation)
		if problem == nil {
			return Acceptance{Accepted: true, remarks: remarksOf(parent.Conditions)}
		}
		if problem.Status != metav1.ConditionUnknown && !acceptance.Refused {
			acceptance = Acceptance{Refused: true, Reason: problem.Reason, Message: problem.Message}
		}
	}
	return acceptance
}

// problemOf returns the first condition that keeps a route from being served; nil if there is none.
// A condition of an older generation counts as Unknown. A partially invalid route counts as not
// served: the gateway drops a rule or keeps the previous configuration.
func problemOf(conditions []metav1.Condition, generation int64) *metav1.Condition {
	for _, required := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		condition := apimeta.FindStatusCondition(conditions, string(required))
		switch {
		case condition == nil || condition.ObservedGeneration < generation:
			return &metav1.Condition{Type: string(required), Status: metav1.ConditionUnknown}
		case condition.Status != metav1.ConditionTrue:
			return condition
		}
	}
	partial := apimeta.FindStatusCondition(conditions, string(gatewayv1.RouteConditionPartiallyInvalid))
	if partial != nil && partial.Status == metav1.ConditionTrue && partial.ObservedGeneration >= generation {
		return partial
	}
	return nil
}

// remarksOf returns the reasons of True conditions that mean more than acceptance, such as
// UnsupportedField.
func remarksOf(conditions []metav1.Condition) []backend.Remark {
	var remarks []backend.Remark
	for _, condition := range conditions {
		var plain string
		switch gatewayv1.RouteConditionType(condition.Type) {
		case gatewayv1.RouteConditionAccepted:
			plain = string(gatewayv1.RouteReasonAccepted)
		case gatewayv1.RouteConditionResolvedRefs:
			plain = string(gatewayv1.RouteReasonResolvedRefs)
		default:
			continue
		}
		if condition.Reason != "" && condition.Reason != plain {
			remarks = append(remarks, backend.Remark{
				Reason:  condition.Reason,
				Message: fmt.Sprintf("the gateway reports %s", quote(condition)),
			})
		}
	}
	return remarks
}

func quote(condition metav1.Condition) string {
	const limit = 400
	message := []rune(backend.StableMessage(condition.Message))
	if len(message) > limit {
		message = append(message[:limit-1], '…')
	}
	if len(message) == 0 {
		return condition.Reason
	}
	return condition.Reason + ": " + string(message)
}

func sameParent(a, b gatewayv1.ParentReference, namespace string) bool {
	return keyOf(a, namespace) == keyOf(b, namespace) &&
		(a.SectionName == nil || b.SectionName == nil || *a.SectionName == *b.SectionName)
}

// AcceptanceOf reads the conditions of a route and of the Gateways and listeners that it attaches
// to.
func (g Gateways) AcceptanceOf(route *gatewayv1.HTTPRoute) Acceptance {
	all := AcceptanceOf(route)
	for _, ref := range route.Spec.ParentRefs {
		gateway := g.gateways[keyOf(ref, route.Namespace)]
		if gateway == nil {
			continue
		}
		whole := fmt.Sprintf("Gateway %q in namespace %q", gateway.Name, gateway.Namespace)
		all.addProgrammed(whole, gateway, gateway.Status.Conditions)
		for _, listener := range attachedListeners(gateway, route, ref) {
			all.addProgrammed(fmt.Sprintf("listener %q of %s", listener.Name, whole), gateway, listener.Conditions)
		}
	}
	return all
}

// addProgrammed evaluates the Programmed condition of a Gateway or a listener. If an implementation
// reports no such condition, or no generation with it, the route's own conditions are enough.
func (a *Acceptance) addProgrammed(subject string, gateway *gatewayv1.Gateway, conditions []metav1.Condition) {
	condition := apimeta.FindStatusCondition(conditions, string(gatewayv1.GatewayConditionProgrammed))
	switch {
	case condition == nil:
	case condition.ObservedGeneration != 0 && condition.ObservedGeneration < gateway.Generation:
		a.Accepted = false
		a.behind = cmp.Or(a.behind, subject)
		if since := lastWritten(gateway); a.behindSince.IsZero() || since.Before(a.behindSince) {
			a.behindSince = since
		}
	case condition.Status == metav1.ConditionFalse:
		a.Accepted = false
		a.notProgrammed = cmp.Or(a.notProgrammed, fmt.Sprintf(
			"%s reports that its configuration is not in effect (Programmed=False, %s); until it is, Serinus drains and removes nothing; "+
				"see kubectl describe gateway -n %s %s", subject, quote(*condition), gateway.Namespace, gateway.Name))
	}
}

// Detail returns the status of routes for users: that of the first route that is not served, or the
// Gateways' remarks.
func (g Gateways) Detail(ingress config.Ingress, routes ...*gatewayv1.HTTPRoute) backend.RouteStatus {
	detail := backend.RouteStatus{Exists: true}
	for _, route := range routes {
		acceptance := g.AcceptanceOf(route)
		switch {
		case acceptance.Refused:
			return backend.RouteStatus{
				Exists: true, Refused: true, Reason: acceptance.Reason,
				Message: fmt.Sprintf("the gateway refuses HTTPRoute %q (%s); see what it says with: kubectl describe httproute -n %s %s",
					route.Name, cmp.Or(acceptance.Message, acceptance.Reason), route.Namespace, route.Name),
			}
		case acceptance.notProgrammed != "":
			return backend.RouteStatus{Exists: true, Refused: true, Reason: reasonGatewayNotProgrammed, Message: acceptance.notProgrammed}
		}
		for _, ref := range acceptance.silent {
			if key := keyOf(ref, route.Namespace); g.gateways[key] == nil {
				return missingGateway(ingress, key.Namespace, key.Name)
			}
		}
		switch {
		case len(acceptance.pending) > 0:
			key := keyOf(acceptance.pending[0], route.Namespace)
			return backend.RouteStatus{Exists: true, Message: fmt.Sprintf(
				"waiting for Gateway %q in namespace %q to accept HTTPRoute %q", key.Name, key.Namespace, route.Name)}
		case acceptance.behind != "":
			return backend.RouteStatus{
				Exists: true, BehindSince: acceptance.behindSince,
				Message: fmt.Sprintf("waiting for %s to report that its current configuration is in effect (Programmed)", acceptance.behind),
			}
		}
		for _, remark := range append(acceptance.remarks, g.timeoutRemarks(ingress, route)...) {
			detail.AddRemark(remark)
		}
	}
	return detail
}

func missingGateway(ingress config.Ingress, namespace, name string) backend.RouteStatus {
	setting := "ingress.gateway"
	if outer := ingress.Gateway; outer.Namespace != namespace || outer.Name != name {
		setting = "ingress.localGateway"
	}
	return backend.RouteStatus{
		Exists: true, Refused: true, Reason: reasonGatewayMissing,
		Message: fmt.Sprintf("Gateway %q in namespace %q does not exist; create it, or name another one in the operator's configuration under %s",
			name, namespace, setting),
	}
}

// lastWritten returns when the spec or metadata of a Gateway last changed, according to its managed
// fields.
func lastWritten(gateway *gatewayv1.Gateway) time.Time {
	last := gateway.CreationTimestamp.Time
	for _, entry := range gateway.ManagedFields {
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

func keyOf(ref gatewayv1.ParentReference, namespace string) client.ObjectKey {
	return client.ObjectKey{Namespace: string(objects.ValueOr(ref.Namespace, gatewayv1.Namespace(namespace))), Name: string(ref.Name)}
}
