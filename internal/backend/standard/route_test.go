// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestAddresses(t *testing.T) {
	clusterLocal := testkit.Label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	const local = "http://sklearn-iris.kserve-test.svc.cluster.local"
	for name, test := range map[string]struct {
		isvc                      *v1beta1.InferenceService
		local                     bool
		wantURL, wantPredictorURL string
		wantLocal                 string
	}{
		"by default": {
			isvc:             testkit.NewInferenceService(),
			wantURL:          "http://sklearn-iris.kserve-test.example.com",
			wantPredictorURL: "http://sklearn-iris-predictor.kserve-test.example.com",
		},
		"with a local gateway": {
			isvc: testkit.NewInferenceService(), local: true,
			wantURL:          "http://sklearn-iris.kserve-test.example.com",
			wantPredictorURL: "http://sklearn-iris-predictor.kserve-test.example.com",
			wantLocal:        local,
		},
		"only for the cluster": {
			isvc: testkit.NewInferenceService(clusterLocal), local: true,
			wantURL: local, wantPredictorURL: local, wantLocal: local,
		},
		"only for the cluster, in Knative's words": {
			isvc: testkit.NewInferenceService(testkit.Label(v1beta1.LabelKnativeNetworkVisibility, v1beta1.VisibilityClusterLocal)), local: true,
			wantURL: local, wantPredictorURL: local, wantLocal: local,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newConfig()
			if test.local {
				cfg = newConfig(localGateway)
			}
			got := addresses(test.isvc, cfg.Ingress)
			if got.URL != test.wantURL || got.Predictor != test.wantPredictorURL || got.Local != test.wantLocal {
				t.Errorf("addresses are %q, %q and %q; want %q, %q and %q",
					got.URL, got.Predictor, got.Local, test.wantURL, test.wantPredictorURL, test.wantLocal)
			}
			if got, want := got.Tag("latest"), "http://latest-sklearn-iris-predictor.kserve-test.example.com"; got != want {
				t.Errorf("the tag is at %q, want %q", got, want)
			}
		})
	}
}

// TestClusterLocalWithoutLocalGateway: the label must not make a serving InferenceService
// unreachable, and the loss of the local gateway must not make a private one public.
func TestClusterLocalWithoutLocalGateway(t *testing.T) {
	clusterLocal := testkit.Label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	attachments := func(c *cluster) map[string]gatewayv1.HTTPRouteSpec {
		found := map[string]gatewayv1.HTTPRouteSpec{}
		for _, name := range []string{isvcName, "latest-sklearn-iris-predictor", "prev-sklearn-iris-predictor"} {
			route := &gatewayv1.HTTPRoute{}
			if c.Has(name, route) {
				found[name] = gatewayv1.HTTPRouteSpec{CommonRouteSpec: route.Spec.CommonRouteSpec, Hostnames: route.Spec.Hostnames}
			}
		}
		return found
	}

	t.Run("a public one gets the label", func(t *testing.T) {
		c := newCanary(t)
		c.backend.Config = newConfig()
		c.settle()
		before := attachments(c)
		c.editSpec(clusterLocal)
		c.rollOut("b", 20)
		if diff := stateDiff(anyOf(before), anyOf(attachments(c))); diff != "" {
			t.Errorf("its routes move (-before +after):\n%s", diff)
		}
		if got, want := c.served(), split(t, 2, 20, 1, 80); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
	})

	t.Run("the local gateway of a private one is gone", func(t *testing.T) {
		c := newCanary(t)
		c.editSpec(clusterLocal)
		c.settle()
		before := attachments(c)
		c.backend.Config = newConfig()
		c.rollOut("b", 20)
		if diff := stateDiff(anyOf(before), anyOf(attachments(c))); diff != "" {
			t.Errorf("its routes move (-before +after):\n%s", diff)
		}
	})

	t.Run("a new one gets no route", func(t *testing.T) {
		c := newCluster(t, clusterLocal)
		c.settle()
		if got := c.names(&gatewayv1.HTTPRouteList{}); len(got) > 0 {
			t.Errorf("routes are %v", got)
		}
	})
}

func anyOf[T any](m map[string]T) map[string]any {
	all := map[string]any{}
	for key, value := range m {
		all[key] = value
	}
	return all
}

func TestLocalAddressFollowsLocalGateway(t *testing.T) {
	c := newCanary(t)
	service := &corev1.Service{}
	c.Get(isvcName, service)
	if got, want := service.Spec.ExternalName, "kserve-local.kserve.svc.cluster.local"; got != want {
		t.Errorf("it leads to %q, want %q", got, want)
	}
	c.backend.Config = newConfig()
	c.settle()
	if c.Has(isvcName, service) {
		t.Error("it is still there")
	}

	t.Run("but not one with another owner", func(t *testing.T) {
		c := newCanary(t)
		testkit.EditObject(c.Objects, isvcName, &corev1.Service{}, func(s *corev1.Service) { s.OwnerReferences, s.Labels = nil, nil })
		c.backend.Config = newConfig()
		c.settle()
		if !c.Has(isvcName, &corev1.Service{}) {
			t.Error("it is deleted")
		}
	})
}
