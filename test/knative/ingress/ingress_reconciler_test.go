// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayapply "sigs.k8s.io/gateway-api/applyconfiguration"

	"github.com/serinus-io/serinus/internal/testkit"
)

type cluster struct {
	t          *testing.T
	api        client.Client
	reconciler *ingressReconciler
	// serving contains the hashes of the HTTPRoutes that the gateway serves, by host.
	serving  map[string]string
	applyErr error
}

func newCluster(t *testing.T, ingress *netv1alpha1.Ingress) *cluster {
	t.Helper()
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	kubernetes, gatewayAPI := runtime.NewScheme(), runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(kubernetes), gatewayv1.Install(gatewayAPI)); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, serving: map[string]string{}}
	c.api = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Apply: func(ctx context.Context, server client.WithWatch, applied runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			if c.applyErr != nil {
				return c.applyErr
			}
			return server.Apply(ctx, applied, options...)
		},
	}).WithScheme(scheme).WithObjects(ingress).
		WithStatusSubresource(&netv1alpha1.Ingress{}, &gatewayv1.HTTPRoute{}).
		WithTypeConverters(gatewayapply.NewTypeConverter(gatewayAPI), clientgoapply.NewTypeConverter(kubernetes), managedfields.NewDeducedTypeConverter()).
		Build()
	own := gateway
	own.Address = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header.ProbeKey) == probeValue {
			w.Header().Set(header.HashKey, c.serving[r.Host])
		}
	}).Listener.Addr().String()
	c.reconciler = newIngressReconciler(writer{c.api}, own)
	return c
}

func (c *cluster) reconcile() (*netv1alpha1.Ingress, ctrl.Result) {
	c.t.Helper()
	result, err := c.reconciler.Reconcile(c.t.Context(), c.ingress())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.ingress(), result
}

func (c *cluster) ingress() *netv1alpha1.Ingress {
	c.t.Helper()
	ingress := &netv1alpha1.Ingress{}
	c.must(c.api.Get(c.t.Context(), client.ObjectKey{Namespace: "ml", Name: "iris"}, ingress))
	return ingress
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) routes() []gatewayv1.HTTPRoute {
	c.t.Helper()
	var all gatewayv1.HTTPRouteList
	c.must(c.api.List(c.t.Context(), &all))
	return all.Items
}

func (c *cluster) createHops(revisions ...string) {
	c.t.Helper()
	for _, revision := range revisions {
		c.must(c.api.Create(c.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: hopName(revision)}}))
	}
}

// accept makes the gateway accept all HTTPRoutes with this status of ResolvedRefs.
func (c *cluster) accept(resolved metav1.ConditionStatus) {
	c.t.Helper()
	for _, route := range c.routes() {
		route.Status.Parents = []gatewayv1.RouteParentStatus{
			testkit.ParentStatus(gateway.reference(), route.Generation, metav1.ConditionTrue, resolved),
		}
		c.must(c.api.Status().Update(c.t.Context(), &route))
	}
}

// serveRoutes makes the gateway serve the current content of all HTTPRoutes.
func (c *cluster) serveRoutes() {
	c.t.Helper()
	for _, route := range c.routes() {
		c.serving[string(route.Spec.Hostnames[0])] = hashOf(&route)
	}
}

// Each step provides one more thing that the Ingress needs.
func TestIngressIsReadyWhenItsSplitIsServed(t *testing.T) {
	c := newCluster(t, irisIngress())
	for _, step := range []struct {
		after      func()
		wantReason string
		wantRoutes int
	}{
		{func() {}, "HopMissing", 0},
		{func() { c.createHops("iris-00001") }, "HopMissing", 0},
		{func() { c.createHops("iris-00002") }, "RouteNotAccepted", 3},
		{func() { c.accept(metav1.ConditionFalse) }, "RouteNotAccepted", 3},
		{func() { c.accept(metav1.ConditionTrue) }, "RouteNotServed", 3},
		{c.serveRoutes, "", 3},
	} {
		step.after()
		ingress, result := c.reconcile()
		ready := ingress.Status.GetCondition(netv1alpha1.IngressConditionReady)
		if ready.Reason != step.wantReason || ready.IsTrue() != (step.wantReason == "") || ingress.Status.ObservedGeneration != ingress.Generation {
			t.Fatalf("at generation %d the condition is %+v, want the reason %q", ingress.Status.ObservedGeneration, ready, step.wantReason)
		}
		if routes := c.routes(); len(routes) != step.wantRoutes {
			t.Errorf("%s: there are %d HTTPRoutes, want %d", step.wantReason, len(routes), step.wantRoutes)
		}
		if requeued := result.RequeueAfter > 0; requeued != (step.wantReason == "RouteNotServed") {
			t.Errorf("%s: requeued after %s; only what the gateway serves cannot be watched", step.wantReason, result.RequeueAfter)
		}
	}
	if at := c.ingress().Status.PrivateLoadBalancer.Ingress; len(at) != 1 || at[0].DomainInternal != gateway.Internal {
		t.Errorf("the private load balancer is %+v", at)
	}
}

func readyCluster(t *testing.T, changes ...func(*netv1alpha1.Ingress)) *cluster {
	t.Helper()
	c := newCluster(t, irisIngress(changes...))
	c.createHops("iris-00001", "iris-00002")
	c.reconcile()
	c.accept(metav1.ConditionTrue)
	c.serveRoutes()
	if ingress, _ := c.reconcile(); !ingress.IsReady() {
		t.Fatalf("the Ingress is not ready: %+v", ingress.Status)
	}
	return c
}

func TestIngressIsNotReadyWhileTheGatewayServesTheOldSplit(t *testing.T) {
	c := readyCluster(t)
	ingress := c.ingress()
	ingress.Spec.Rules = ingress.Spec.Rules[:2] // Without the tag.
	for i := range ingress.Spec.Rules {
		ingress.Spec.Rules[i].HTTP.Paths[0].Splits = []netv1alpha1.IngressBackendSplit{share("iris-00002", 100)}
	}
	ingress.Generation++
	c.must(c.api.Update(t.Context(), ingress))

	got, _ := c.reconcile()
	if got.IsReady() || got.Status.GetCondition(netv1alpha1.IngressConditionReady).Reason != "RouteNotServed" {
		t.Errorf("the status is %+v", got.Status)
	}
	if routes := c.routes(); len(routes) != 2 {
		t.Errorf("there are %d HTTPRoutes, want 2 without the tag", len(routes))
	}
	c.serveRoutes()
	if got, _ := c.reconcile(); !got.IsReady() {
		t.Errorf("the Ingress is not ready: %+v", got.Status)
	}
}

func TestIngressIsNotReadyWhileItsRoutesCannotBeWritten(t *testing.T) {
	c := readyCluster(t)
	ingress := c.ingress()
	path(ingress).Splits = []netv1alpha1.IngressBackendSplit{share("iris-00002", 100)}
	ingress.Generation++
	c.must(c.api.Update(t.Context(), ingress))

	c.applyErr = errors.New("the quota is exceeded")
	if _, err := c.reconciler.Reconcile(t.Context(), c.ingress()); !errors.Is(err, c.applyErr) {
		t.Errorf("error is %v", err)
	}
	ready := c.ingress().Status.GetCondition(netv1alpha1.IngressConditionReady)
	if ready.IsTrue() || !strings.Contains(ready.Message, c.applyErr.Error()) {
		t.Errorf("the condition is %+v", ready)
	}
	c.applyErr = nil
	c.reconcile()
	c.serveRoutes()
	if got, _ := c.reconcile(); !got.IsReady() {
		t.Errorf("the Ingress is not ready: %+v", got.Status)
	}
}

func TestUnsupportedIngressFails(t *testing.T) {
	c := newCluster(t, irisIngress(func(i *netv1alpha1.Ingress) { path(i).RewriteHost = "other" }))
	if _, err := c.reconciler.Reconcile(t.Context(), c.ingress()); err == nil {
		t.Error("got no error")
	}
	if ready := c.ingress().Status.GetCondition(netv1alpha1.IngressConditionReady); !ready.IsFalse() || !strings.Contains(ready.Message, "rewrites the host") {
		t.Errorf("the condition is %+v", ready)
	}
}

func TestIngressOfAnotherClassIsIgnored(t *testing.T) {
	c := newCluster(t, irisIngress(func(i *netv1alpha1.Ingress) { i.Annotations = nil }))
	c.createHops("iris-00001", "iris-00002")
	if got, _ := c.reconcile(); got.Status.ObservedGeneration != 0 || len(c.routes()) != 0 {
		t.Errorf("the status is %+v, and there are %d HTTPRoutes", got.Status, len(c.routes()))
	}
}

func TestHopEnqueuesUnreadyIngresses(t *testing.T) {
	hop := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ml"}}
	unready, served := newCluster(t, irisIngress()), readyCluster(t)
	if got := unready.reconciler.enqueueUnready(t.Context(), hop); len(got) != 1 || got[0].Name != "iris" {
		t.Errorf("enqueued %v", got)
	}
	if got := served.reconciler.enqueueUnready(t.Context(), hop); len(got) != 0 {
		t.Errorf("enqueued %v, which is ready", got)
	}
}
