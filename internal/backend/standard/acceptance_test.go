// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/testkit"
)

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

// externalRef and localRef are the gateways of the routes in these tests. The external one has
// several listeners.
var (
	externalRef = gateway.ParentRef("kserve", "kserve-ingress-gateway", "")
	localRef    = gateway.ParentRef("kserve", "kserve-local-gateway", "http")
)

// TestRouteAcceptance checks the main route and the tag routes.
func TestRouteAcceptance(t *testing.T) {
	for name, test := range map[string]struct {
		edit                                func(c *cluster)
		wantRoute, wantTags, wantTagRefused bool
		// otherTags is set if the tags are not the desired ones.
		otherTags bool
	}{
		"as it is": {edit: func(*cluster) {}, wantRoute: true, wantTags: true},
		"the weights differ from the rollout state": {wantTags: true, edit: func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
				r.Spec.Rules[0].BackendRefs[0].Weight, r.Spec.Rules[0].BackendRefs[1].Weight = new(int32(20)), new(int32(80))
			})
			c.runControllers()
		}},
		"the gateway has yet to take it over": {wantTags: true, edit: func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = nil })
		}},
		"it names no gateway": {wantTags: true, edit: func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.ParentRefs = nil })
		}},
		"a tag is refused": {wantRoute: true, wantTagRefused: true, edit: func(c *cluster) {
			c.refuse("latest-sklearn-iris-predictor")
		}},
		"a tag is refused, and the other is not accepted yet": {wantRoute: true, edit: func(c *cluster) {
			c.refuse("latest-sklearn-iris-predictor")
			testkit.EditObject(c.Objects, "prev-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = nil })
		}},
		"a tag is not accepted yet": {wantRoute: true, edit: func(c *cluster) {
			testkit.EditObject(c.Objects, "latest-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = nil })
		}},
		"a tag leads elsewhere": {wantRoute: true, wantTags: true, otherTags: true, edit: func(c *cluster) {
			testkit.EditObject(c.Objects, "latest-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
				r.Spec.Rules[0].BackendRefs[0].Name = "sklearn-iris-predictor-00001"
			})
			c.runControllers()
		}},
		"a tag is missing": {wantRoute: true, wantTags: true, otherTags: true, edit: func(c *cluster) {
			c.Remove("latest-sklearn-iris-predictor", &gatewayv1.HTTPRoute{})
		}},
		"no tags are wanted": {wantRoute: true, wantTags: true, otherTags: true, edit: func(c *cluster) {
			c.editSpec(func(isvc *v1beta1.InferenceService) { delete(isvc.Annotations, v1beta1.AnnotationEnableTagRouting) })
		}},
		"the switch of the tags is malformed": {wantRoute: true, wantTags: true, edit: func(c *cluster) {
			c.editSpec(func(isvc *v1beta1.InferenceService) { isvc.Annotations[v1beta1.AnnotationEnableTagRouting] = "yes" })
		}},
		"the rollout state cannot be decoded": {edit: func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { annotate(r, objects.AnnotationState, "{") })
			c.runControllers()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			test.edit(c)
			observed, err := c.observe()
			c.Must(err)
			got := observed.Route
			if got.Accepted != test.wantRoute || got.TagsAccepted != test.wantTags || got.TagsRefused != test.wantTagRefused {
				t.Errorf("the route is accepted: %t, the tags: %t, one is refused: %t", got.Accepted, got.TagsAccepted, got.TagsRefused)
			}
			if got, want := c.decide(observed).Programmed, test.wantRoute && test.wantTags && !test.otherTags; got != want {
				t.Errorf("programmed: %t, want %t", got, want)
			}
			if got, want := observed.Route.Split.IsEmpty(), false; got != want {
				t.Error("the split cannot be read")
			}
		})
	}
}

func (c *cluster) refuse(name string) {
	c.T.Helper()
	route := &gatewayv1.HTTPRoute{}
	c.Get(name, route)
	route.Status.Parents = nil
	for _, ref := range route.Spec.ParentRefs {
		route.Status.Parents = append(route.Status.Parents, testkit.ParentStatus(ref, route.Generation, metav1.ConditionFalse, metav1.ConditionTrue))
	}
	c.Must(c.server.Status().Update(c.T.Context(), route))
}

func TestSplitOfForeignRoute(t *testing.T) {
	for name, edit := range map[string]func(*gatewayv1.HTTPRoute){
		"no rules":           func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = nil },
		"two rules":          func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = append(r.Spec.Rules, r.Spec.Rules[0]) },
		"another Service":    func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Name = "web" },
		"weights beyond 100": func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Weight = new(int32(11)) },
		"weights left out":   func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Weight = nil },
		"a Service twice": func(r *gatewayv1.HTTPRoute) {
			r.Spec.Rules[0].BackendRefs[0].Name = r.Spec.Rules[0].BackendRefs[1].Name
		},
		"no backends":              func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs = nil },
		"a number we do not write": func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Name = "sklearn-iris-predictor-2" },
	} {
		t.Run(name, func(t *testing.T) {
			route := intendedRoute(t)
			edit(route)
			if got := splitOf(testkit.NewInferenceService(), route); !got.IsEmpty() {
				t.Errorf("split is %v", got)
			}
		})
	}
	if got, want := splitOf(testkit.NewInferenceService(), intendedRoute(t)), split(t, 2, 10, 1, 90); !got.Equal(want) {
		t.Errorf("our own is %v, want %v", got, want)
	}
}

func TestRouteStatus(t *testing.T) {
	makeGateway := func(c *cluster, name string) {
		c.Must(c.server.Create(t.Context(), &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve", Name: name}}))
	}
	forget := func(c *cluster, name string) {
		route := &gatewayv1.HTTPRoute{}
		c.Get(name, route)
		route.Status.Parents = nil
		c.Must(c.server.Status().Update(t.Context(), route))
	}
	refuse := func(c *cluster, name string, parents ...gatewayv1.RouteParentStatus) {
		route := &gatewayv1.HTTPRoute{}
		c.Get(name, route)
		route.Status.Parents = parents
		for i := range route.Status.Parents {
			for j := range route.Status.Parents[i].Conditions {
				route.Status.Parents[i].Conditions[j].ObservedGeneration = route.Generation
			}
		}
		c.Must(c.server.Status().Update(t.Context(), route))
	}
	clusterLocal := func(c *cluster) {
		c.editSpec(func(isvc *v1beta1.InferenceService) {
			metav1.SetMetaDataLabel(&isvc.ObjectMeta, v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
		})
	}
	const says = "; see what it says with: kubectl describe httproute -n kserve-test "
	for name, test := range map[string]struct {
		given                   func(c *cluster)
		wantReason, wantMessage string
	}{
		"it is served": {given: func(*cluster) {}},
		"the cluster has no Gateway API": {
			given:      func(c *cluster) { c.backend.RoutesInstalled = func() bool { return false } },
			wantReason: "GatewayAPINotInstalled",
			wantMessage: "the cluster does not have the Gateway API (HTTPRoute of gateway.networking.k8s.io/v1); " +
				"install its CRDs and a gateway that implements it, see https://gateway-api.sigs.k8s.io/guides/",
		},
		"there is no gateway": {
			given:      func(c *cluster) { forget(c, isvcName) },
			wantReason: "GatewayNotFound",
			wantMessage: `Gateway "kserve-ingress-gateway" in namespace "kserve" does not exist; create it, or name another one ` +
				"in the operator's configuration under ingress.gateway",
		},
		"there is no gateway any more, and another one has said something": {
			given: func(c *cluster) {
				refuse(c, isvcName, testkit.ParentStatus(gateway.ParentRef("kserve", "other", ""), 0, yes, yes))
			},
			wantReason: "GatewayNotFound",
			wantMessage: `Gateway "kserve-ingress-gateway" in namespace "kserve" does not exist; create it, or name another one ` +
				"in the operator's configuration under ingress.gateway",
		},
		"there is no local gateway": {
			given: func(c *cluster) {
				makeGateway(c, "kserve-ingress-gateway")
				refuse(c, isvcName, testkit.ParentStatus(externalRef, 0, yes, yes))
			},
			wantReason: "GatewayNotFound",
			wantMessage: `Gateway "kserve-local-gateway" in namespace "kserve" does not exist; create it, or name another one ` +
				"in the operator's configuration under ingress.localGateway",
		},
		"a service that only the cluster reaches has no local gateway": {
			given: func(c *cluster) {
				clusterLocal(c)
				c.settle()
				forget(c, isvcName)
			},
			wantReason: "GatewayNotFound",
			wantMessage: `Gateway "kserve-local-gateway" in namespace "kserve" does not exist; create it, or name another one ` +
				"in the operator's configuration under ingress.localGateway",
		},
		"the gateways are there and have yet to say something": {
			wantMessage: `waiting for Gateway "kserve-ingress-gateway" in namespace "kserve" to accept HTTPRoute "sklearn-iris"`,
			given: func(c *cluster) {
				makeGateway(c, "kserve-ingress-gateway")
				makeGateway(c, "kserve-local-gateway")
				forget(c, isvcName)
			},
		},
		"it is refused": {
			given: func(c *cluster) {
				refuse(c, isvcName, testkit.ParentStatus(externalRef, 0, no, yes), testkit.ParentStatus(localRef, 0, yes, yes))
			},
			wantReason:  "Accepted",
			wantMessage: `the gateway refuses HTTPRoute "sklearn-iris" (the gateway says so)` + says + "sklearn-iris",
		},
		"a tag is refused": {
			given: func(c *cluster) {
				refuse(c, "prev-sklearn-iris-predictor", testkit.ParentStatus(externalRef, 0, yes, no), testkit.ParentStatus(localRef, 0, yes, yes))
			},
			wantReason:  "ResolvedRefs",
			wantMessage: `the gateway refuses HTTPRoute "prev-sklearn-iris-predictor" (the gateway says so)` + says + "prev-sklearn-iris-predictor",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			test.given(c)
			observed, err := c.observe()
			c.Must(err)
			got := observed.RouteStatus
			if got.Refused != (test.wantReason != "") || got.Reason != test.wantReason || got.Message != test.wantMessage {
				t.Errorf("refused: %t\n  %s: %s\nwant\n  %s: %s", got.Refused, got.Reason, got.Message, test.wantReason, test.wantMessage)
			}
		})
	}
}
