// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestHopReconcilerFollowsServiceOfRevision(t *testing.T) {
	c := newCluster(t, irisIngress())
	r := &hopReconciler{writer: writer{c.api}, hops: newHops("127.0.0.1")}
	revision := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: iris1.Namespace, Name: iris1.Name, UID: "7"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: []corev1.ServicePort{
			{Name: "http2", Port: 81, AppProtocol: new("kubernetes.io/h2c")}, {Name: "https", Port: 443},
		}},
	}
	c.must(c.api.Create(t.Context(), revision))
	reconcile := func() {
		t.Helper()
		_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: iris1})
		c.must(err)
	}
	reconcile()
	port := r.hops.active[iris1].port
	if to := (upstream{host: "10.96.0.7:81", h2c: true}); r.hops.active[iris1].upstream != to {
		t.Errorf("the hop forwards to %+v, want %+v", r.hops.active[iris1].upstream, to)
	}
	var service corev1.Service
	var slice discoveryv1.EndpointSlice
	hop := types.NamespacedName{Namespace: iris1.Namespace, Name: "iris-00001-hop"}
	for _, object := range []client.Object{&service, &slice} {
		c.must(c.api.Get(t.Context(), hop, object))
		if !metav1.IsControlledBy(object, revision) {
			t.Errorf("the %T is not controlled by the Service of the revision", object)
		}
	}
	if p := service.Spec.Ports[0]; p.Port != 81 || p.Name != "http2" || *p.AppProtocol != "kubernetes.io/h2c" {
		t.Errorf("the Service has the port %+v", p)
	}
	if *slice.Ports[0].Name != "http2" || int(*slice.Ports[0].Port) != port || slice.Endpoints[0].Addresses[0] != "127.0.0.1" {
		t.Errorf("the EndpointSlice is %+v, want port %d", slice, port)
	}
	reconcile()
	if again := r.hops.active[iris1].port; again != port {
		t.Errorf("the port has changed from %d to %d", port, again)
	}
	c.must(c.api.Delete(t.Context(), revision))
	reconcile()
	if len(r.hops.active) > 0 {
		t.Error("the hop is still open")
	}
}
