// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

// installGateway installs the Gateway API and gives Knative an ingress.
func (c *cluster) installGateway(ingress corev1.ServiceSpec) {
	c.T.Helper()
	c.gatewayAPI = true
	c.controllers.Knative.SetIngress(namespace, ingress)
	if name, rest, _ := strings.Cut(ingress.ExternalName, "."); rest != "" {
		target, _, _ := strings.Cut(rest, ".")
		c.Must(client.IgnoreAlreadyExists(c.server.Create(c.T.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: name}})))
	}
}

func (c *cluster) setGateway(behavior fakecluster.RouteBehavior) {
	c.controllers.Gateway.SetBehavior(types.NamespacedName{Namespace: namespace}, behavior)
}

// Knative's ingress has a cluster-local name or an address.
var (
	ingressByName = corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: "knative-local-gateway.istio-system.svc.cluster.local",
		Ports: []corev1.ServicePort{{Name: "http2", Port: 80}},
	}
	ingressByAddress = corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "http2", Port: 80}},
	}
)

func (c *cluster) placeholder() *corev1.Service {
	c.T.Helper()
	service := &corev1.Service{}
	if !c.Has(serviceName, service) {
		return nil
	}
	return service
}

func (c *cluster) hostRoute() *gatewayv1.HTTPRoute {
	c.T.Helper()
	route := &gatewayv1.HTTPRoute{}
	if !c.Has(gateway.RouteName(isvcName), route) {
		return nil
	}
	return route
}
