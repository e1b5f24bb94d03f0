// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/rollout"
)

func TestAddresses(t *testing.T) {
	clusterLocal := labelledAs(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	const local = "http://sklearn-iris.kserve-test.svc.cluster.local"
	for name, test := range map[string]struct {
		isvc                      *v1beta1.InferenceService
		local                     bool
		wantURL, wantPredictorURL string
		wantLocal                 string
	}{
		"by default": {
			isvc:             newInferenceService(),
			wantURL:          "http://sklearn-iris.kserve-test.example.com",
			wantPredictorURL: "http://sklearn-iris-predictor.kserve-test.example.com",
		},
		"with a local gateway": {
			isvc: newInferenceService(), local: true,
			wantURL:          "http://sklearn-iris.kserve-test.example.com",
			wantPredictorURL: "http://sklearn-iris-predictor.kserve-test.example.com",
			wantLocal:        local,
		},
		"only for the cluster": {
			isvc: newInferenceService(clusterLocal), local: true,
			wantURL: local, wantPredictorURL: local, wantLocal: local,
		},
		"only for the cluster, in Knative's words": {
			isvc: newInferenceService(labelledAs(v1beta1.LabelKnativeNetworkVisibility, v1beta1.VisibilityClusterLocal)), local: true,
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

// TestTimeoutsAreAsTheGatewayAPIWritesThem: at most five digits to a unit.
func TestTimeoutsAreAsTheGatewayAPIWritesThem(t *testing.T) {
	pattern := regexp.MustCompile(`^(\d{1,5}(h|m|s|ms)){1,4}$`)
	for seconds, want := range map[int64]gatewayv1.Duration{
		1: "1s", 60: "60s", 99_999: "99999s", 100_000: "27h46m40s", 359_996_400: "99999h", 1 << 62: "99999h",
	} {
		route := mainRoute(newInferenceService(), newConfig().Ingress, rollout.Record{Stable: 1, Target: 1, Split: rollout.All(1)}, seconds)
		got := *route.Spec.Rules[0].Timeouts.Request
		if got != want || !pattern.MatchString(string(got)) {
			t.Errorf("%d seconds are written as %q, want %q", seconds, got, want)
		}
	}
}

// TestTheTimeoutIsTheLongestOfTheSplit: there is one route for all revisions.
func TestTheTimeoutIsTheLongestOfTheSplit(t *testing.T) {
	timeouts := func(seconds ...int64) map[rollout.Number]backend.NewRevision {
		revisions := map[rollout.Number]backend.NewRevision{}
		for i, s := range seconds {
			revision := backend.NewRevision{}
			if s >= 0 {
				revision.Runs.TimeoutSeconds = &s
			}
			revisions[rollout.Number(i+1)] = revision
		}
		return revisions
	}
	for name, test := range map[string]struct {
		revisions map[rollout.Number]backend.NewRevision
		want      int64
	}{
		"both set one":             {timeouts(30, 60), 60},
		"the older sets a longer":  {timeouts(90, 60), 90},
		"the older sets none":      {timeouts(-1, 60), 0},
		"the newer sets none":      {timeouts(30, -1), 0},
		"the newer lifts it":       {timeouts(30, 0), 0},
		"one cannot be read":       {timeouts(30), 0},
		"others do not matter":     {timeouts(30, 60, 600), 60},
		"others need not have one": {timeouts(30, 60, -1), 60},
	} {
		t.Run(name, func(t *testing.T) {
			record := &rollout.Record{Split: split(t, 2, 10, 1, 90)}
			w := &writer{found: &children{History: history.History{Revisions: test.revisions}}, decision: rollout.Decision{Record: record}}
			if got := w.timeoutSeconds(); got != test.want {
				t.Errorf("timeout is %d, want %d", got, test.want)
			}
		})
	}
}

// TestAClusterLocalServiceStaysWhereItIsWithoutALocalGateway: neither may the label take a live service out of
// everybody's reach, nor may the loss of the local gateway put a private one before the public.
func TestAClusterLocalServiceStaysWhereItIsWithoutALocalGateway(t *testing.T) {
	clusterLocal := labelledAs(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	attachments := func(c *cluster) map[string]gatewayv1.HTTPRouteSpec {
		found := map[string]gatewayv1.HTTPRouteSpec{}
		for _, name := range []string{isvcName, "latest-sklearn-iris-predictor", "prev-sklearn-iris-predictor"} {
			route := &gatewayv1.HTTPRoute{}
			if c.has(name, route) {
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
		if diff := worldDiff(anyOf(before), anyOf(attachments(c))); diff != "" {
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
		if diff := worldDiff(anyOf(before), anyOf(attachments(c))); diff != "" {
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

func TestTheAddressInsideTheClusterGoesWithTheLocalGateway(t *testing.T) {
	c := newCanary(t)
	service := &corev1.Service{}
	c.get(isvcName, service)
	if got, want := service.Spec.ExternalName, "kserve-local.kserve.svc.cluster.local"; got != want {
		t.Errorf("it leads to %q, want %q", got, want)
	}
	c.backend.Config = newConfig()
	c.settle()
	if c.has(isvcName, service) {
		t.Error("it is still there")
	}

	t.Run("but not one that is somebody else's", func(t *testing.T) {
		c := newCanary(t)
		edit(c, isvcName, &corev1.Service{}, func(s *corev1.Service) { s.OwnerReferences, s.Labels = nil, nil })
		c.backend.Config = newConfig()
		c.settle()
		if !c.has(isvcName, &corev1.Service{}) {
			t.Error("it is deleted")
		}
	})
}
