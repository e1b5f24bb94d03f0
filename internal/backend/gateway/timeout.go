// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
)

// featureRequestTimeout is the feature of a GatewayClass that supports timeouts.request.
const featureRequestTimeout gatewayv1.FeatureName = "HTTPRouteRequestTimeout"

// reasonTimeoutNotSupported is the reason for a timeout that the gateway may ignore.
const reasonTimeoutNotSupported = "RequestTimeoutNotSupported"

// RequestTimeout returns the request timeout of a route to revisions with the given timeouts in
// seconds. A nil timeout stands for the configured one, and 0 for none. A route has one timeout for
// all revisions: the longest.
//
// The built-in default must not be added to a route in use before its backends change: an upgrade
// of the operator or of the gateway writes nothing. Current is the existing route if its backends
// stay, else nil.
func (g Gateways) RequestTimeout(ingress config.Ingress, refs []gatewayv1.ParentReference, current *gatewayv1.HTTPRoute, ofRevisions ...*int64) *gatewayv1.HTTPRouteTimeouts {
	if configured := ingress.RequestTimeout; configured != nil {
		return longest(configured.Duration, ofRevisions)
	}
	byDefault, none := longest(config.DefaultRequestTimeout, ofRevisions), longest(0, ofRevisions)
	if current != nil && len(current.Spec.Rules) == 1 {
		existing := current.Spec.Rules[0].Timeouts
		if equality.Semantic.DeepEqual(existing, byDefault) || equality.Semantic.DeepEqual(existing, none) {
			return existing
		}
	}
	if g.SupportTimeouts(refs) {
		return byDefault
	}
	return none
}

func longest(otherwise time.Duration, ofRevisions []*int64) *gatewayv1.HTTPRouteTimeouts {
	var seconds int64
	for _, own := range ofRevisions {
		timeout := int64(otherwise.Seconds())
		if own != nil {
			timeout = *own
		}
		if timeout == 0 {
			return nil
		}
		seconds = max(seconds, timeout)
	}
	if seconds == 0 {
		return nil
	}
	return &gatewayv1.HTTPRouteTimeouts{Request: new(duration(seconds))}
}

// duration formats seconds for the Gateway API, which allows five digits for each unit. Longer
// timeouts are cut to the largest value.
func duration(seconds int64) gatewayv1.Duration {
	const maximum = 99_999
	if seconds <= maximum {
		return gatewayv1.Duration(fmt.Sprintf("%ds", seconds))
	}
	hours := seconds / 3600
	if hours >= maximum {
		return gatewayv1.Duration(fmt.Sprintf("%dh", maximum))
	}
	return gatewayv1.Duration(fmt.Sprintf("%dh%dm%ds", hours, seconds/60%60, seconds%60))
}

// SupportTimeouts reports whether the class of every referenced Gateway lists the feature.
func (g Gateways) SupportTimeouts(refs []gatewayv1.ParentReference) bool {
	return len(refs) > 0 && !slices.ContainsFunc(refs, func(ref gatewayv1.ParentReference) bool {
		gateway := g.gateways[keyOf(ref, "")]
		return gateway == nil || !listsTimeouts(g.classes[gateway.Spec.GatewayClassName])
	})
}

func listsTimeouts(class *gatewayv1.GatewayClass) bool {
	return class != nil && slices.ContainsFunc(class.Status.SupportedFeatures, func(feature gatewayv1.SupportedFeature) bool {
		return feature.Name == featureRequestTimeout
	})
}

// timeoutRemarks describes the limit of requests if it may differ from the timeout of the route.
func (g Gateways) timeoutRemarks(ingress config.Ingress, route *gatewayv1.HTTPRoute) []backend.Remark {
	if len(route.Spec.Rules) != 1 {
		return nil
	}
	var remarks []backend.Remark
	timeouts := route.Spec.Rules[0].Timeouts
	for _, ref := range route.Spec.ParentRefs {
		gateway := g.gateways[keyOf(ref, route.Namespace)]
		if gateway == nil {
			continue
		}
		class := g.classes[gateway.Spec.GatewayClassName]
		if class == nil || listsTimeouts(class) {
			continue
		}
		switch {
		case timeouts != nil && timeouts.Request != nil:
			remarks = append(remarks, backend.Remark{Reason: reasonTimeoutNotSupported, Message: fmt.Sprintf(
				"the request timeout of %s may have no effect: GatewayClass %q does not list %s in status.supportedFeatures",
				*timeouts.Request, class.Name, featureRequestTimeout)})
		case ingress.RequestTimeout == nil:
			remarks = append(remarks, backend.Remark{Message: fmt.Sprintf(
				"the route has no request timeout, as GatewayClass %q does not list %s in status.supportedFeatures, so the gateway's own limit "+
					"applies (15s in Envoy, unless it is configured); ingress.requestTimeout in the operator's configuration sets one",
				class.Name, featureRequestTimeout)})
		}
	}
	return remarks
}
