// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/testkit"
)

func acceptedRoute(changes ...func(*gatewayv1.HTTPRoute)) *gatewayv1.HTTPRoute {
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: "sklearn-iris", Generation: 3}}
	route.Spec.ParentRefs = []gatewayv1.ParentReference{externalRef, localRef}
	route.Spec.Hostnames = []gatewayv1.Hostname{"sklearn-iris.kserve-test.example.com"}
	route.Spec.Rules = []gatewayv1.HTTPRouteRule{{}}
	route.Status.Parents = testkit.AcceptedBy(route, 3)
	for _, change := range changes {
		change(route)
	}
	return route
}

func readGateways(t *testing.T, objects ...client.Object) Gateways {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := gatewayv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	found, err := readReferenced(t.Context(), fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), externalRef, localRef)
	if err != nil {
		t.Fatal(err)
	}
	for key, gateway := range found.gateways {
		if gateway != nil {
			found.gateways[key] = Trim(gateway)
		}
	}
	for name, class := range found.classes {
		if class != nil {
			found.classes[name] = TrimClass(class)
		}
	}
	return found
}

func externalGateway(changes ...func(*gatewayv1.Gateway)) *gatewayv1.Gateway {
	gateway := testkit.NewGateway("kserve-ingress-gateway", 2, "http", "https")
	for _, change := range changes {
		change(gateway)
	}
	return gateway
}

func says(conditions ...metav1.Condition) func(*gatewayv1.Gateway) {
	return func(gateway *gatewayv1.Gateway) { gateway.Status.Conditions = conditions }
}

func failingListener(name string, changes ...func(*gatewayv1.Listener)) func(*gatewayv1.Gateway) {
	return func(gateway *gatewayv1.Gateway) {
		for i := range gateway.Spec.Listeners {
			if gateway.Spec.Listeners[i].Name == gatewayv1.SectionName(name) {
				gateway.Status.Listeners[i].Conditions = []metav1.Condition{testkit.Programmed(2, no)}
				for _, change := range changes {
					change(&gateway.Spec.Listeners[i])
				}
			}
		}
	}
}

func admitting(from gatewayv1.FromNamespaces, kinds ...gatewayv1.RouteGroupKind) func(*gatewayv1.Listener) {
	return func(listener *gatewayv1.Listener) {
		listener.AllowedRoutes = &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: &from}, Kinds: kinds}
	}
}

func withHost(host gatewayv1.Hostname) func(*gatewayv1.Listener) {
	return func(listener *gatewayv1.Listener) { listener.Hostname = &host }
}

// TestRouteNeedsProgrammedGateways: the Gateway's and the listeners' own conditions count as much
// as those of the route.
func TestRouteNeedsProgrammedGateways(t *testing.T) {
	acceptedByHTTPOnly := func(route *gatewayv1.HTTPRoute) {
		route.Status.Parents = []gatewayv1.RouteParentStatus{
			testkit.ParentStatus(withSection(externalRef, "http"), 3, yes, yes),
			testkit.ParentStatus(withSection(externalRef, "https"), 3, no, yes),
			testkit.ParentStatus(localRef, 3, yes, yes),
		}
	}
	const (
		served = iota
		contradicted
		behind
	)
	for name, test := range map[string]struct {
		gateways []client.Object
		route    []func(*gatewayv1.HTTPRoute)
		want     int
		wantSays string
	}{
		"the Gateways are not known":                   {},
		"the Gateway reports nothing":                  {gateways: []client.Object{externalGateway()}},
		"the Gateway is programmed":                    {gateways: []client.Object{externalGateway(says(testkit.Programmed(2, yes)))}},
		"the Gateway has no controller":                {gateways: []client.Object{externalGateway(says(testkit.Programmed(0, unknown)))}},
		"the Gateway reports no generations":           {gateways: []client.Object{externalGateway(says(testkit.Programmed(0, yes)))}},
		"the Gateway is not programmed":                {gateways: []client.Object{externalGateway(says(testkit.Programmed(2, no)))}, want: contradicted, wantSays: `Gateway "kserve-ingress-gateway" in namespace "kserve" reports`},
		"the Gateway was not, and has been changed":    {gateways: []client.Object{externalGateway(says(testkit.Programmed(1, no)))}, want: behind, wantSays: `waiting for Gateway "kserve-ingress-gateway" in namespace "kserve" to report`},
		"the Gateway was programmed before its change": {gateways: []client.Object{externalGateway(says(testkit.Programmed(1, yes)))}, want: behind, wantSays: `waiting for Gateway "kserve-ingress-gateway" in namespace "kserve" to report`},
		"the local Gateway is not programmed": {
			gateways: []client.Object{externalGateway(), localGateway(says(testkit.Programmed(1, no)))}, want: contradicted, wantSays: `Gateway "kserve-local-gateway"`,
		},
		"a listener is not programmed":                  {gateways: []client.Object{externalGateway(failingListener("https"))}, want: contradicted, wantSays: `listener "https" of Gateway "kserve-ingress-gateway"`},
		"a listener of the host is not":                 {gateways: []client.Object{externalGateway(failingListener("https", withHost("*.example.com")))}, want: contradicted, wantSays: `listener "https"`},
		"a listener of another host is not":             {gateways: []client.Object{externalGateway(failingListener("https", withHost("*.example.org")))}},
		"a listener for other namespaces is not":        {gateways: []client.Object{externalGateway(failingListener("https", admitting(gatewayv1.NamespacesFromSame)))}},
		"a listener for selected namespaces is not":     {gateways: []client.Object{externalGateway(failingListener("https", admitting(gatewayv1.NamespacesFromSelector)))}},
		"a listener for other kinds is not":             {gateways: []client.Object{externalGateway(failingListener("https", admitting(gatewayv1.NamespacesFromAll, gatewayv1.RouteGroupKind{Kind: "GRPCRoute"})))}},
		"a listener for another protocol is not":        {gateways: []client.Object{externalGateway(failingListener("https", func(l *gatewayv1.Listener) { l.Protocol = gatewayv1.TCPProtocolType }))}},
		"a listener that refuses the route is not":      {gateways: []client.Object{externalGateway(failingListener("https"))}, route: []func(*gatewayv1.HTTPRoute){acceptedByHTTPOnly}},
		"the one listener that takes the route is not":  {gateways: []client.Object{externalGateway(failingListener("http"))}, route: []func(*gatewayv1.HTTPRoute){acceptedByHTTPOnly}, want: contradicted, wantSays: `listener "http"`},
		"another listener of the local Gateway is not":  {gateways: []client.Object{localGateway(failingListener("https"))}},
		"the listener that the route names is not":      {gateways: []client.Object{localGateway(failingListener("http"))}, want: contradicted, wantSays: `listener "http" of Gateway "kserve-local-gateway"`},
		"a listener for selected namespaces has routes": {gateways: []client.Object{externalGateway(failingListener("https", admitting(gatewayv1.NamespacesFromSelector)), withRoutes)}, want: contradicted, wantSays: `listener "https"`},
	} {
		t.Run(name, func(t *testing.T) {
			gateways, route := readGateways(t, test.gateways...), acceptedRoute(test.route...)
			acceptance, detail := gateways.AcceptanceOf(route), gateways.Detail(config.Default().Ingress, route)
			if got := acceptance.Accepted; got != (test.want == served) {
				t.Errorf("it is served: %t", got)
			}
			if got := acceptance.Answered(); got != (test.want == served) {
				t.Errorf("it is answered: %t", got)
			}
			if got := detail.Refused; got != (test.want == contradicted) || got && detail.Reason != "GatewayNotProgrammed" {
				t.Errorf("it is refused: %t (%s)", got, detail.Reason)
			}
			if got := !detail.BehindSince.IsZero(); got != (test.want == behind) {
				t.Errorf("the Gateway is behind: %t", got)
			}
			if !strings.Contains(detail.Message, test.wantSays) || test.wantSays == "" && detail.Message != "" {
				t.Errorf("users read %q, want %q", detail.Message, test.wantSays)
			}
		})
	}
}

func localGateway(changes ...func(*gatewayv1.Gateway)) *gatewayv1.Gateway {
	gateway := testkit.NewGateway("kserve-local-gateway", 1, "http", "https")
	for _, change := range changes {
		change(gateway)
	}
	return gateway
}

func withRoutes(gateway *gatewayv1.Gateway) {
	for i := range gateway.Status.Listeners {
		gateway.Status.Listeners[i].AttachedRoutes = 7
	}
}

// TestRefusalByUnprogrammedGateway: it may still serve an earlier generation of the route.
func TestRefusalByUnprogrammedGateway(t *testing.T) {
	refused := acceptedRoute(func(route *gatewayv1.HTTPRoute) {
		route.Status.Parents[0] = testkit.ParentStatus(externalRef, 3, no, yes)
	})
	if !readGateways(t, externalGateway(says(testkit.Programmed(2, yes)))).AcceptanceOf(refused).Answered() {
		t.Error("a refusal is no answer")
	}
	for _, condition := range []metav1.Condition{testkit.Programmed(2, no), testkit.Programmed(1, yes)} {
		if readGateways(t, externalGateway(says(condition))).AcceptanceOf(refused).Answered() {
			t.Errorf("it is answered while the Gateway is %+v", condition)
		}
	}
}

// The time of the change comes from the managed fields in the cache.
func TestBehindSinceLastChange(t *testing.T) {
	created := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	written := func(after time.Duration, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Time: new(metav1.NewTime(created.Add(after))), Subresource: subresource}
	}
	gateway := Trim(externalGateway(says(testkit.Programmed(1, yes)), func(g *gatewayv1.Gateway) {
		g.CreationTimestamp = metav1.NewTime(created)
		g.ManagedFields = []metav1.ManagedFieldsEntry{written(time.Hour, ""), written(time.Minute, ""), written(2*time.Hour, "status")}
	}))
	gateways := Gateways{gateways: map[client.ObjectKey]*gatewayv1.Gateway{client.ObjectKeyFromObject(gateway): gateway}}
	if got, want := gateways.Detail(config.Default().Ingress, acceptedRoute()).BehindSince, created.Add(time.Hour); !got.Equal(want) {
		t.Errorf("it is behind since %v, want %v", got, want)
	}
}

// TestPartiallyInvalidRoute: the gateway drops the rule or keeps the previous configuration.
func TestPartiallyInvalidRoute(t *testing.T) {
	route := acceptedRoute(func(route *gatewayv1.HTTPRoute) {
		route.Status.Parents[0].Conditions = append(route.Status.Parents[0].Conditions, metav1.Condition{
			Type: "PartiallyInvalid", Status: yes, Reason: "UnsupportedValue", Message: "Fall Back to the last valid state", ObservedGeneration: 3,
		})
	})
	if got := AcceptanceOf(route); got.Accepted || !got.Refused || got.Reason != "UnsupportedValue" {
		t.Errorf("it is %+v", got)
	}
}

func TestRemarksOfTrueConditions(t *testing.T) {
	route := acceptedRoute(func(route *gatewayv1.HTTPRoute) {
		for i := range route.Status.Parents {
			route.Status.Parents[i].Conditions[0].Reason = "UnsupportedField"
			route.Status.Parents[i].Conditions[0].Message = "unsupported parameters were ignored: spec.rules[0].timeouts"
		}
	})
	want := []backend.Remark{{
		Reason: "UnsupportedField", Message: "the gateway reports UnsupportedField: unsupported parameters were ignored: spec.rules[0].timeouts",
	}}
	detail := readGateways(t).Detail(config.Default().Ingress, route, route)
	if detail.Refused || len(detail.Remarks) != 1 || detail.Remarks[0] != want[0] {
		t.Errorf("the reported status is %+v, want %+v", detail.Remarks, want)
	}
	if detail := readGateways(t).Detail(config.Default().Ingress, acceptedRoute()); len(detail.Remarks) > 0 {
		t.Errorf("the remarks on an accepted route are %+v", detail.Remarks)
	}
}

// TestControllers: a class that does not exist has no controller.
func TestControllers(t *testing.T) {
	class := testkit.NewGatewayClass()
	class.Spec.ControllerName = "traefik.io/gateway-controller"
	for name, test := range map[string]struct {
		objects []client.Object
		want    []string
	}{
		"no Gateway":                   {},
		"a Gateway without its class":  {[]client.Object{externalGateway()}, nil},
		"a Gateway":                    {[]client.Object{externalGateway(), class}, []string{"traefik.io/gateway-controller"}},
		"two Gateways of one class":    {[]client.Object{externalGateway(), localGateway(), class}, []string{"traefik.io/gateway-controller"}},
		"a class without a controller": {[]client.Object{externalGateway(), testkit.NewGatewayClass()}, nil},
	} {
		if got := readGateways(t, test.objects...).Controllers(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
