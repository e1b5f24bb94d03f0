// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/networking"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

const h2c = "kubernetes.io/h2c"

type hopReconciler struct {
	writer
	hops *hops
}

func (r *hopReconciler) setUp(mgr ctrl.Manager) error {
	ofRevisions := predicate.NewPredicateFuncs(func(object client.Object) bool {
		return object.GetLabels()[networking.ServiceTypeKey] == string(networking.ServiceTypePublic)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("hops").For(&corev1.Service{}, builder.WithPredicates(ofRevisions)).Complete(r)
}

// Reconcile opens the hop of a revision, and creates a Service and an EndpointSlice for it.
func (r *hopReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var revision corev1.Service
	if err := r.Get(ctx, request.NamespacedName, &revision); apierrors.IsNotFound(err) {
		r.hops.close(request.NamespacedName) // Its Service and EndpointSlice are garbage-collected.
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	port := &revision.Spec.Ports[0] // Other ports are for TLS, which is disabled.
	hopPort, err := r.hops.ensure(ctx, request.NamespacedName, upstream{
		host: net.JoinHostPort(revision.Spec.ClusterIP, strconv.Itoa(int(port.Port))),
		h2c:  port.AppProtocol != nil && *port.AppProtocol == h2c,
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	service, slice := hopObjects(&revision, port, r.hops.address, hopPort)
	// The EndpointSlice comes first, so that the Service is usable as soon as it exists.
	for _, object := range []client.Object{slice, service} {
		if err := r.apply(ctx, object); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}

// hopObjects returns the Service of a hop, which has the port of the revision's Service, and its
// EndpointSlice.
func hopObjects(revision *corev1.Service, port *corev1.ServicePort, address string, hopPort int) (*corev1.Service, *discoveryv1.EndpointSlice) {
	meta := metav1.ObjectMeta{
		Namespace: revision.Namespace, Name: hopName(revision.Name),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(revision, corev1.SchemeGroupVersion.WithKind("Service"))},
	}
	service := &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Ports: []corev1.ServicePort{{Name: port.Name, Port: port.Port, Protocol: corev1.ProtocolTCP, AppProtocol: port.AppProtocol}},
		},
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  meta,
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{
			Name: &port.Name, Port: new(int32(hopPort)), Protocol: new(corev1.ProtocolTCP), AppProtocol: port.AppProtocol, //nolint:gosec // A port.
		}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: service.Name}
	return service, slice
}
