// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestTimeoutFormat: at most five digits for each unit.
func TestTimeoutFormat(t *testing.T) {
	pattern := regexp.MustCompile(`^(\d{1,5}(h|m|s|ms)){1,4}$`)
	for seconds, want := range map[int64]gatewayv1.Duration{
		1: "1s", 60: "60s", 99_999: "99999s", 100_000: "27h46m40s", 359_996_400: "99999h", 1 << 62: "99999h",
	} {
		if got := duration(seconds); got != want || !pattern.MatchString(string(got)) {
			t.Errorf("%d seconds are written as %q, want %q", seconds, got, want)
		}
	}
}

func withTimeout(text gatewayv1.Duration) func(*gatewayv1.HTTPRoute) {
	return func(route *gatewayv1.HTTPRoute) {
		route.Spec.Rules[0].Timeouts = &gatewayv1.HTTPRouteTimeouts{Request: &text}
	}
}

// TestRequestTimeout: there is one route for all revisions, and some gateways refuse a route with a
// timeout.
func TestRequestTimeout(t *testing.T) {
	seconds := func(all ...int64) []*int64 {
		var own []*int64
		for _, s := range all {
			if s < 0 {
				own = append(own, nil)
			} else {
				own = append(own, &s)
			}
		}
		return own
	}
	configured := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	const listed, unlisted = true, false
	for name, test := range map[string]struct {
		class      bool
		configured *metav1.Duration
		current    *gatewayv1.HTTPRoute
		own        []*int64
		want       gatewayv1.Duration
	}{
		"none is set, and the class lists it":         {class: listed, own: seconds(-1, -1), want: "300s"},
		"none is set, and the class does not list it": {own: seconds(-1, -1)},
		"both set one":                                       {own: seconds(30, 60), want: "60s"},
		"both set one, and the class lists it":               {class: listed, own: seconds(30, 60), want: "60s"},
		"one sets a shorter one than the default":            {class: listed, own: seconds(30, -1), want: "300s"},
		"one sets a longer one than the default":             {class: listed, own: seconds(600, -1), want: "600s"},
		"one sets none, and the class does not list it":      {own: seconds(30, -1)},
		"one lifts it":                                       {class: listed, own: seconds(30, 0)},
		"the administrator's":                                {configured: configured(time.Minute), own: seconds(-1), want: "60s"},
		"the administrator's, beside a longer one":           {configured: configured(time.Minute), own: seconds(90, -1), want: "90s"},
		"the administrator's is 0":                           {class: listed, configured: configured(0), own: seconds(-1)},
		"the administrator's is 0, and a predictor sets one": {class: listed, configured: configured(0), own: seconds(90), want: "90s"},
		"a route without one stays so":                       {class: listed, current: acceptedRoute(), own: seconds(-1)},
		"a route with the default keeps it":                  {class: unlisted, current: acceptedRoute(withTimeout("300s")), own: seconds(-1), want: "300s"},
		"a route gets the administrator's":                   {class: unlisted, current: acceptedRoute(), configured: configured(time.Minute), own: seconds(-1), want: "60s"},
		"a route loses one that the administrator took away": {class: unlisted, current: acceptedRoute(withTimeout("60s")), own: seconds(-1)},
		"a route loses one for the administrator's 0":        {class: listed, current: acceptedRoute(withTimeout("300s")), configured: configured(0), own: seconds(-1)},
		"a route gets back what another writer has removed":  {class: unlisted, current: acceptedRoute(), own: seconds(90), want: "90s"},
		"stopped": {class: listed},
	} {
		t.Run(name, func(t *testing.T) {
			class := testkit.NewGatewayClass()
			if test.class == listed {
				class = testkit.NewGatewayClass(featureRequestTimeout)
			}
			gateways := readGateways(t, externalGateway(), localGateway(), class)
			ingress := config.Ingress{RequestTimeout: test.configured}
			got := gateways.RequestTimeout(ingress, []gatewayv1.ParentReference{externalRef, localRef}, test.current, test.own...)
			switch {
			case got == nil && test.want != "", got != nil && *got.Request != test.want:
				t.Errorf("it is %v, want %q", got, test.want)
			}
		})
	}
}

// TestTimeoutsNeedAllGateways: it might refuse the route.
func TestTimeoutsNeedAllGateways(t *testing.T) {
	other := localGateway()
	other.Spec.GatewayClassName = "other"
	gateways := readGateways(t, externalGateway(), other, testkit.NewGatewayClass(featureRequestTimeout))
	if got := gateways.RequestTimeout(config.Ingress{}, []gatewayv1.ParentReference{externalRef, localRef}, nil, nil); got != nil {
		t.Errorf("it is %v", *got.Request)
	}
	if got := gateways.RequestTimeout(config.Ingress{}, []gatewayv1.ParentReference{externalRef}, nil, nil); got == nil {
		t.Error("there is none for the Gateway that lists it")
	}
}

// Remarks describe the effective limit if it differs from the route's timeout.
func TestTimeoutRemarks(t *testing.T) {
	lists, listsNot := testkit.NewGatewayClass(featureRequestTimeout), testkit.NewGatewayClass()
	for name, test := range map[string]struct {
		class                *gatewayv1.GatewayClass
		route                *gatewayv1.HTTPRoute
		ingress              config.Ingress
		wantReason, wantSays string
	}{
		"the gateway may ignore it":               {class: listsNot, route: acceptedRoute(withTimeout("2s")), wantReason: "RequestTimeoutNotSupported", wantSays: `the request timeout of 2s may have no effect: GatewayClass "example"`},
		"there is none":                           {class: listsNot, route: acceptedRoute(), wantSays: "15s in Envoy"},
		"the administrator wants none":            {class: listsNot, route: acceptedRoute(), ingress: config.Ingress{RequestTimeout: &metav1.Duration{}}},
		"it is applied":                           {class: lists, route: acceptedRoute(withTimeout("2s"))},
		"the route is older than the default":     {class: lists, route: acceptedRoute()},
		"the class is not there":                  {route: acceptedRoute()},
		"the route was changed by another writer": {class: listsNot, route: acceptedRoute(func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = nil })},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{externalGateway()}
			if test.class != nil {
				objects = append(objects, test.class)
			}
			remarks := readGateways(t, objects...).Detail(test.ingress, test.route).Remarks
			if test.wantSays == "" {
				if len(remarks) > 0 {
					t.Errorf("the remarks are %+v", remarks)
				}
				return
			}
			if len(remarks) != 1 || remarks[0].Reason != test.wantReason || !strings.Contains(remarks[0].Message, test.wantSays) {
				t.Errorf("the remarks are %+v, want %s: %s", remarks, test.wantReason, test.wantSays)
			}
		})
	}
}
