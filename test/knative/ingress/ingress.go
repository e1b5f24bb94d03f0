// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/objects"
)

// Class is the class of the Ingresses that the controller serves.
const Class = "serinus-test.ingress.networking.knative.dev"

// Gateway identifies the Gateway that serves Ingresses.
type Gateway struct {
	Namespace, Name string
	// Address is the address and port for probes.
	Address string
	// Internal is the DNS name of its Service inside the cluster.
	Internal string
}

func (g Gateway) reference() gatewayv1.ParentReference {
	return gatewayv1.ParentReference{
		Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")),
		Namespace: new(gatewayv1.Namespace(g.Namespace)), Name: gatewayv1.ObjectName(g.Name),
	}
}

// NewScheme returns a scheme with all kinds that the controller reads and writes.
func NewScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, netv1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// SetUp adds the controllers to the manager. Hops listen on hopAddress, which the gateway must be
// able to reach.
func SetUp(mgr ctrl.Manager, gateway Gateway, hopAddress string) error {
	w := writer{mgr.GetClient()}
	if err := (&hopReconciler{writer: w, hops: newHops(hopAddress)}).setUp(mgr); err != nil {
		return err
	}
	return newIngressReconciler(w, gateway).setUp(mgr)
}

type writer struct{ client.Client }

const fieldOwner = client.FieldOwner("serinus-test-ingress")

// apply applies an object and updates it from the response.
func (w writer) apply(ctx context.Context, object client.Object) error {
	intent, err := objects.IntentOf(object, w.Scheme())
	if err != nil {
		return err
	}
	if err := w.Apply(ctx, client.ApplyConfigurationFromUnstructured(intent), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", intent.GetKind(), intent.GetName(), err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(intent.Object, object)
}
