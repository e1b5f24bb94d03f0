// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

const (
	ownURL         = "http://sklearn-iris.kserve-test.example.com"
	predictorURL   = "http://sklearn-iris-predictor.kserve-test.example.com"
	insideURL      = "http://sklearn-iris-predictor.kserve-test.svc.cluster.local"
	otherNamespace = "istio-system"
)

func newUserWithGateway(t *testing.T, changes ...func(*cluster)) user {
	t.Helper()
	u := newUser(t)
	u.installGateway(ingressByName)
	for _, change := range changes {
		change(u.cluster)
	}
	return u
}

func withIngress(spec corev1.ServiceSpec) func(*cluster) {
	return func(c *cluster) { c.installGateway(spec) }
}

func forbidden(c *cluster) { c.setGateway(fakecluster.OwnNamespace()) }

func clusterLocal(isvc *v1beta1.InferenceService) {
	metav1.SetMetaDataLabel(&isvc.ObjectMeta, v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
}

// wantURL checks the reported URL of the InferenceService, and returns the status of its host
// route.
func (u user) wantURL(want string) *backend.HostRoute {
	u.T.Helper()
	observed, _, err := u.reconcile()
	if err != nil {
		u.T.Error(err)
	}
	if got := observed.Addresses.URL; got != want {
		u.T.Errorf("the URL is %s, want %s", got, want)
	}
	if got := observed.Addresses.Predictor; got != predictorURL && got != insideURL {
		u.T.Errorf("the URL of the predictor is %s", got)
	}
	return observed.HostRoute
}

func (u user) wantHostRoute(namespace, service string) *gatewayv1.HTTPRoute {
	u.T.Helper()
	route := u.hostRoute()
	if route == nil {
		u.T.Fatal("there is no HTTPRoute")
	}
	ref := route.Spec.Rules[0].BackendRefs[0]
	got := ""
	if ref.Namespace != nil {
		got = string(*ref.Namespace)
	}
	if got != namespace || string(ref.Name) != service || *ref.Port != 80 {
		u.T.Errorf("it leads to %s in %q at port %d, want %s in %q", ref.Name, got, *ref.Port, service, namespace)
	}
	return route
}

func TestHostRouteReferencesKnativeIngress(t *testing.T) {
	u := newUserWithGateway(t)
	u.rollOut("v1", promote)
	route := u.wantHostRoute(otherNamespace, "knative-local-gateway")
	if got := route.Spec.Hostnames; len(got) != 1 || got[0] != "sklearn-iris.kserve-test.example.com" {
		t.Errorf("its hosts are %v", got)
	}
	filter := route.Spec.Rules[0].Filters[0]
	if got := *filter.URLRewrite.Hostname; filter.Type != gatewayv1.HTTPRouteFilterURLRewrite || got != "sklearn-iris-predictor.kserve-test.svc.cluster.local" {
		t.Errorf("it asks for %s", got)
	}
	if got := route.Spec.ParentRefs; len(got) != 1 || got[0].Name != "kserve-ingress-gateway" || *got[0].Namespace != "kserve" {
		t.Errorf("its gateways are %v", got)
	}
	if !metav1.IsControlledBy(route, u.isvc()) || route.Labels[v1beta1.LabelInferenceService] != isvcName {
		t.Errorf("it is not the InferenceService's: %v", route.ObjectMeta)
	}
	if hostRoute := u.wantURL(ownURL); !hostRoute.Open || hostRoute.URL != ownURL || hostRoute.Route.Refused {
		t.Errorf("the reported status is %+v", hostRoute)
	}
}

func TestRolloutKeepsTheHostRoute(t *testing.T) {
	u := newUserWithGateway(t)
	u.rollOut("v1", promote)
	before := u.hostRoute().ResourceVersion
	for _, percent := range []int64{10, 50, promote, 0, 20} {
		u.rollOut("v2", percent)
		u.wantURL(ownURL)
	}
	u.rollOut("v1", promote)
	if u.hostRoute().ResourceVersion != before {
		t.Error("it was written")
	}
}

func TestKnativeIngress(t *testing.T) {
	by := func(name string) corev1.ServiceSpec {
		return corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: name}
	}
	for name, test := range map[string]struct {
		ingress                    corev1.ServiceSpec
		wantNamespace, wantService string
		wantObstacle               string
	}{
		"a Service of another namespace":                                 {ingressByName, otherNamespace, "knative-local-gateway", ""},
		"a Service of another namespace, in a cluster of another domain": {by("kourier-internal.kourier-system.svc.corp.example"), "kourier-system", "kourier-internal", ""},
		"a Service of another namespace, without a domain":               {by("envoy.contour-internal.svc"), "contour-internal", "envoy", ""},
		"a Service of the same namespace":                                {by("gateway.kserve-test.svc.cluster.local"), "", "gateway", ""},
		"an address":                                                     {ingressByAddress, "", serviceName, ""},
		"outside of the cluster": {
			ingress:      by("lb.example.net"),
			wantObstacle: `Service "sklearn-iris-predictor" is all that Knative tells of it, and it leads to lb.example.net`,
		},
		"a mesh": {
			ingress:      corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.7"},
			wantObstacle: `Service "sklearn-iris-predictor" is all that Knative tells of it, and it leads nowhere outside of a service mesh`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserWithGateway(t, withIngress(test.ingress))
			u.rollOut("v1", promote)
			if test.wantObstacle == "" {
				u.wantHostRoute(test.wantNamespace, test.wantService)
				u.wantURL(ownURL)
				return
			}
			if u.hostRoute() != nil {
				t.Error("there is an HTTPRoute")
			}
			status := u.wantURL(predictorURL).Route
			if !status.Refused || status.Reason != "IngressNotReachable" || !strings.HasSuffix(status.Message, test.wantObstacle) {
				t.Errorf("the reported status is %+v", status)
			}
		})
	}
}

// TestPredictorURLUntilHostRouteIsServed: the reported URL must always respond.
func TestPredictorURLUntilHostRouteIsServed(t *testing.T) {
	u := newUserWithGateway(t)
	u.setGateway(fakecluster.Unresponsive())
	u.Must(u.server.Create(t.Context(), &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve", Name: "kserve-ingress-gateway"}}))
	u.rollOut("v1", promote)
	if hostRoute := u.wantURL(predictorURL); hostRoute.Open || hostRoute.Route.Refused {
		t.Errorf("the reported status is %+v", hostRoute)
	}
	u.setGateway(fakecluster.Accepting())
	u.catchUp()
	u.settle()
	u.wantURL(ownURL)

	t.Run("nor by what it said of it as it was", func(t *testing.T) {
		u.setGateway(fakecluster.Unresponsive())
		elsewhere := ingressByName
		elsewhere.ExternalName = "elsewhere.istio-system.svc.cluster.local"
		u.installGateway(elsewhere)
		u.catchUp()
		if hostRoute := u.wantURL(predictorURL); hostRoute.Open {
			t.Errorf("the reported status is %+v", hostRoute)
		}
		u.settle()
		u.wantURL(predictorURL)
		u.setGateway(fakecluster.Accepting())
		u.catchUp()
		u.wantURL(ownURL)
	})

	t.Run("nor after a manual change", func(*testing.T) {
		u.Must(u.server.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: otherNamespace, Name: "web"}}))
		testkit.EditObject(u.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
			r.Spec.Rules[0].BackendRefs[0].Name = "web"
		})
		u.step()
		u.wantURL(predictorURL)
		u.settle()
		u.wantHostRoute(otherNamespace, "elsewhere")
		u.wantURL(ownURL)
	})
}

func TestHostRouteProblems(t *testing.T) {
	for name, test := range map[string]struct {
		given                   func(*cluster)
		wantReason, wantMessage string
	}{
		"a ReferenceGrant": {
			given: forbidden, wantReason: "RefNotPermitted",
			wantMessage: `HTTPRoutes of namespace "kserve-test" may not lead to Service "knative-local-gateway" in namespace "istio-system", ` +
				`where Knative's ingress is; have an administrator allow it with a ReferenceGrant in namespace "istio-system"`,
		},
		"the Gateway": {
			given: func(c *cluster) { c.setGateway(fakecluster.Unresponsive()) }, wantReason: "GatewayNotFound",
			wantMessage: `Gateway "kserve-ingress-gateway" in namespace "kserve" does not exist; create it, or name another one ` +
				"in the operator's configuration under ingress.gateway",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserWithGateway(t, test.given)
			u.rollOut("v1", promote)
			u.rollOut("v2", 10)
			u.wantTraffic("2:10 1:90")
			status := u.wantURL(predictorURL).Route
			if !status.Refused || status.Reason != test.wantReason || status.Message != test.wantMessage {
				t.Errorf("the reported status is %s: %s", status.Reason, status.Message)
			}
			u.setGateway(fakecluster.Accepting())
			u.catchUp()
			u.settle()
			u.wantURL(ownURL)
		})
	}
}

// TestPredictorURLWhileGatewayIsNotProgrammed: an accepted HTTPRoute is not always served.
func TestPredictorURLWhileGatewayIsNotProgrammed(t *testing.T) {
	u := newUserWithGateway(t)
	outer := testkit.NewGateway("kserve-ingress-gateway", 1, "http")
	outer.Status.Conditions = []metav1.Condition{testkit.Programmed(1, metav1.ConditionFalse)}
	u.Must(u.server.Create(t.Context(), outer))
	u.rollOut("v1", promote)
	status := u.wantURL(predictorURL)
	if status.Open || !status.Route.Refused || status.Route.Reason != "GatewayNotProgrammed" || !strings.Contains(status.Route.Message, `"kserve-ingress-gateway"`) {
		t.Errorf("the reported status is %+v", status)
	}

	report := func(generation, reported int64) {
		u.Must(u.server.Get(t.Context(), client.ObjectKeyFromObject(outer), outer))
		outer.Generation, outer.Status.Conditions = generation, []metav1.Condition{testkit.Programmed(reported, metav1.ConditionTrue)}
		u.Must(u.server.Update(t.Context(), outer))
	}
	report(2, 1)
	if status := u.wantURL(predictorURL); status.Open || status.Route.BehindSince.IsZero() {
		t.Errorf("while the Gateway has yet to report on a change the reported status is %+v", status)
	}
	report(2, 2)
	u.wantURL(ownURL)

	t.Run("but a URL that was reported stays while the Gateway is only behind", func(*testing.T) {
		isvc := u.isvc()
		isvc.Status.URL = ownURL
		u.Must(u.server.Status().Update(t.Context(), isvc))
		report(3, 2)
		if status := u.wantURL(ownURL); !status.Open || status.Route.BehindSince.IsZero() {
			t.Errorf("the reported status is %+v", status)
		}
	})
}

// TestHostRouteTimeout: the route must not end requests before the revisions do, and an upgrade
// must not add a timeout.
func TestHostRouteTimeout(t *testing.T) {
	timeout := func(u user) string {
		timeouts := u.hostRoute().Spec.Rules[0].Timeouts
		if timeouts == nil {
			return ""
		}
		return string(*timeouts.Request)
	}
	install := func(u user, features ...gatewayv1.FeatureName) {
		u.Must(u.server.Create(t.Context(), testkit.NewGateway("kserve-ingress-gateway", 1, "http")))
		u.Must(u.server.Create(t.Context(), testkit.NewGatewayClass(features...)))
	}
	long := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.TimeoutSeconds = new(int64(600)) }
	for name, test := range map[string]struct {
		before, after func(u user)
		change        func(*v1beta1.InferenceService)
		want          string
	}{
		"the class lists it":                      {before: func(u user) { install(u, "HTTPRouteRequestTimeout") }, want: "300s"},
		"and the predictor takes longer":          {before: func(u user) { install(u, "HTTPRouteRequestTimeout") }, change: long, want: "600s"},
		"the class does not list it":              {before: func(u user) { install(u) }},
		"and the predictor takes longer, no":      {before: func(u user) { install(u) }, change: long},
		"the class lists it later":                {after: func(u user) { install(u, "HTTPRouteRequestTimeout") }},
		"the administrator's":                     {before: func(u user) { u.backend.Config.Ingress.RequestTimeout = &metav1.Duration{Duration: time.Minute} }, want: "60s"},
		"the administrator's later":               {after: func(u user) { u.backend.Config.Ingress.RequestTimeout = &metav1.Duration{Duration: time.Minute} }, want: "60s"},
		"the administrator's and the predictor's": {before: func(u user) { u.backend.Config.Ingress.RequestTimeout = &metav1.Duration{Duration: time.Minute} }, change: long, want: "600s"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserWithGateway(t)
			if test.before != nil {
				test.before(u)
			}
			changes := []func(*v1beta1.InferenceService){}
			if test.change != nil {
				changes = append(changes, test.change)
			}
			u.rollOut("v1", promote, changes...)
			if test.after != nil {
				test.after(u)
				u.settle()
			}
			if got := timeout(u); got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

// TestUnusableHosts: a route with no other host is deleted.
func TestUnusableHosts(t *testing.T) {
	const before, after = "sklearn-iris.kserve-test.example.com", "sklearn-iris.kserve-test.example.org"
	for name, test := range map[string]struct {
		unusable []string
		want     string
	}{
		"none":         {want: after},
		"the new host": {unusable: []string{after}, want: before},
		"both":         {unusable: []string{before, after}},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserWithGateway(t)
			u.rollOut("v1", promote)
			u.backend.Config.Ingress.Domain = "example.org"
			observed := u.observe()
			change := observed.Change(rollout.Decide(observed.Snapshot, rollout.Policy{}, u.now))
			change.UnusableHosts = map[string]bool{}
			for _, host := range test.unusable {
				change.UnusableHosts[host] = true
			}
			outcome := observed.Session.Apply(t.Context(), change)
			u.Must(outcome.Err())
			got := ""
			if route := u.hostRoute(); route != nil {
				got = string(route.Spec.Hostnames[0])
			}
			if got != test.want {
				t.Errorf("its host is %q, want %q", got, test.want)
			}
		})
	}
}

func TestPrivatePredictorHasNoHostRoute(t *testing.T) {
	t.Run("from the start", func(t *testing.T) {
		u := newUserWithGateway(t)
		u.rollOut("v1", promote, clusterLocal)
		if u.hostRoute() != nil {
			t.Error("there is an HTTPRoute")
		}
		if hostRoute := u.wantURL(insideURL); hostRoute != nil {
			t.Errorf("the reported status is %+v", hostRoute)
		}
	})
	t.Run("from now on", func(t *testing.T) {
		u := newUserWithGateway(t)
		u.rollOut("v1", promote)
		u.apply("v1", promote, clusterLocal)
		if _, _, err := u.reconcile(); err != nil && !backend.IsStale(err) {
			t.Fatal(err)
		}
		if u.hostRoute() != nil {
			t.Error("there is an HTTPRoute")
		}
		u.settle()
		u.wantURL(insideURL)
	})
	t.Run("and one again when it is not any more", func(t *testing.T) {
		u := newUserWithGateway(t)
		u.rollOut("v1", promote, clusterLocal)
		u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) { isvc.Labels = nil })
		u.wantURL(ownURL)
	})
	t.Run("where Knative itself keeps it inside", func(t *testing.T) {
		u := newUserWithGateway(t)
		u.rollOut("v1", promote)
		service := u.service()
		service.Status.URL = apis.HTTP("sklearn-iris-predictor.kserve-test.svc.cluster.local")
		u.Must(u.server.Status().Update(t.Context(), service))
		if hostRoute := u.wantURL(insideURL); hostRoute != nil {
			t.Errorf("the reported status is %+v", hostRoute)
		}
		if u.hostRoute() != nil {
			t.Error("there is an HTTPRoute")
		}
	})
}

func TestHostRouteStaysWhileStopped(t *testing.T) {
	u := newUserWithGateway(t)
	u.rollOut("v1", promote)
	uid := u.hostRoute().UID
	u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) {
		metav1.SetMetaDataAnnotation(&isvc.ObjectMeta, v1beta1.AnnotationStop, "true")
	})
	if u.Has(serviceName, &servingv1.Service{}) || u.placeholder() != nil {
		t.Fatal("it is not stopped")
	}
	observed, _, err := u.reconcile()
	u.Must(err)
	if observed.Addresses.URL != "" || observed.HostRoute != nil {
		t.Errorf("the URL is %q, and the reported status is %+v", observed.Addresses.URL, observed.HostRoute)
	}
	u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) { isvc.Annotations = nil })
	if route := u.hostRoute(); route == nil || route.UID != uid {
		t.Error("the HTTPRoute is gone")
	}
	u.wantURL(ownURL)
}

func TestForeignHostRouteIsLeftAlone(t *testing.T) {
	u := newUserWithGateway(t)
	foreign := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: isvcName, UID: types.UID("else"), Generation: 1,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "web", Controller: new(true)}},
	}}
	foreign.Spec.Rules = []gatewayv1.HTTPRouteRule{{}}
	u.Must(u.server.Create(t.Context(), foreign))
	u.apply("v1", promote)
	var last error
	for range 20 {
		_, _, last = u.reconcile()
		u.catchUp()
	}
	conflict := (*backend.ConflictError)(nil)
	if !backend.IsAboutHostRoute(last) || !errors.As(last, &conflict) || conflict.Owner != "Rollout web" {
		t.Errorf("it says: %v", last)
	}
	u.wantTraffic("1:100")
	if got := u.hostRoute(); got.UID != "else" || len(got.Spec.Hostnames) > 0 {
		t.Errorf("it is now %v", got)
	}
	observed, _, _ := u.reconcile()
	if observed.Addresses.URL != predictorURL {
		t.Errorf("the URL is %s", observed.Addresses.URL)
	}

	u.Must(u.server.Delete(t.Context(), foreign))
	u.settle()
	u.wantURL(ownURL)
}

// TestRefusedHostRouteBlocksNothing: a refused HTTPRoute must not block the rollout.
func TestRefusedHostRouteBlocksNothing(t *testing.T) {
	u := newUserWithGateway(t)
	refusal := apierrors.NewForbidden(gatewayv1.Resource("httproutes"), isvcName, errors.New("by a policy"))
	u.server.Intercept = func(w write, do func() error) error {
		if w.Kind == "HTTPRoute" {
			return refusal
		}
		return do()
	}
	u.apply("v1", promote)
	for range 20 {
		if _, _, err := u.reconcile(); err != nil && !backend.IsStale(err) && !backend.IsAboutHostRoute(err) {
			t.Fatal(err)
		}
		u.catchUp()
	}
	u.wantTraffic("1:100")
}

func TestHostRouteFollowsGatewayAPI(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	if hostRoute := u.wantURL(predictorURL); hostRoute != nil {
		t.Errorf("the reported status is %+v", hostRoute)
	}
	u.installGateway(ingressByName)
	u.catchUp()
	u.settle()
	u.wantURL(ownURL)
}

func TestForeignPlaceholderIsIgnored(t *testing.T) {
	u := newUserWithGateway(t)
	u.Must(u.server.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: serviceName, Labels: map[string]string{v1beta1.LabelInferenceService: isvcName},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "secrets.vault.svc.cluster.local"},
	}))
	u.rollOut("v1", promote)
	if u.hostRoute() != nil {
		t.Error("there is an HTTPRoute")
	}
}

func TestHostRouteAtLocalGateway(t *testing.T) {
	u := newUserWithGateway(t)
	u.backend.Config.Ingress.LocalGateway = &config.LocalGateway{
		Namespace: "kserve", Name: "kserve-local-gateway", Service: config.ServiceRef{Namespace: "kserve", Name: "local-gateway-service"},
	}
	local := func() (url string) {
		observed, _, err := u.reconcile()
		u.Must(err)
		return observed.Addresses.Local
	}
	u.rollOut("v1", promote)
	if got := local(); got != "http://sklearn-iris.kserve-test.svc.cluster.local" {
		t.Errorf("the address is %s", got)
	}
	service := &corev1.Service{}
	u.Get(isvcName, service)
	if got := service.Spec.ExternalName; got != "local-gateway-service.kserve.svc.cluster.local" {
		t.Errorf("its name leads to %s", got)
	}
	u.rollOut("v1", promote, clusterLocal)
	if got := local(); got != insideURL || u.Has(isvcName, &corev1.Service{}) {
		t.Errorf("the address of a private one is %s", got)
	}
	u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) { isvc.Labels = nil })
	u.backend.Config.Ingress.LocalGateway = nil
	u.settle()
	if got := local(); got != insideURL || u.Has(isvcName, &corev1.Service{}) {
		t.Errorf("the address without a local gateway is %s", got)
	}
}
