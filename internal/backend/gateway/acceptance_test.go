// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

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
	externalRef = ParentRef("kserve", "kserve-ingress-gateway", "")
	localRef    = ParentRef("kserve", "kserve-local-gateway", "http")
)

func withSection(ref gatewayv1.ParentReference, section string) gatewayv1.ParentReference {
	ref.SectionName = new(gatewayv1.SectionName(section))
	return ref
}

// TestAcceptanceOf uses a route at generation 3.
func TestAcceptanceOf(t *testing.T) {
	const generation = 3
	both := []gatewayv1.ParentReference{externalRef, localRef}
	externalGateway := both[:1]
	for name, test := range map[string]struct {
		refs                   []gatewayv1.ParentReference
		parents                []gatewayv1.RouteParentStatus
		wantServed, wantRefuse bool
	}{
		"no status":    {refs: externalGateway},
		"accepted":     {refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, yes, yes)}, wantServed: true},
		"not accepted": {refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, no, yes)}, wantRefuse: true},
		"not resolved": {refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, yes, no)}, wantRefuse: true},
		"undecided":    {refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, unknown, yes)}},
		"accepted as it was": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 2, yes, yes)},
		},
		"refused as it was": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 2, no, yes)},
		},
		"accepted, the references as they were": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{{
				ParentRef: externalRef,
				Conditions: []metav1.Condition{
					testkit.ParentStatus(externalRef, 3, yes, yes).Conditions[0], testkit.ParentStatus(externalRef, 2, yes, yes).Conditions[1],
				},
			}},
		},
		"without a word on the references": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{{ParentRef: externalRef, Conditions: testkit.ParentStatus(externalRef, 3, yes, yes).Conditions[:1]}},
		},
		"accepted by another gateway": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(ParentRef("kserve", "other", ""), 3, yes, yes)},
		},
		"accepted by the namesake in another namespace": {
			refs: externalGateway, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(ParentRef("other", "kserve-ingress-gateway", ""), 3, yes, yes)},
		},
		"one listener accepts, one refuses": {
			refs: externalGateway, wantServed: true, parents: []gatewayv1.RouteParentStatus{
				testkit.ParentStatus(withSection(externalRef, "https"), 3, no, yes), testkit.ParentStatus(withSection(externalRef, "http"), 3, yes, yes),
			},
		},
		"every listener refuses": {
			refs: externalGateway, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{
				testkit.ParentStatus(withSection(externalRef, "https"), 3, no, yes), testkit.ParentStatus(withSection(externalRef, "http"), 3, yes, no),
			},
		},
		"one listener refuses, one has yet to say": {
			refs: externalGateway, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{
				testkit.ParentStatus(withSection(externalRef, "https"), 3, no, yes), testkit.ParentStatus(withSection(externalRef, "http"), 2, yes, yes),
			},
		},
		"an entry of an earlier life refuses": {
			refs: externalGateway, wantServed: true, parents: []gatewayv1.RouteParentStatus{
				testkit.ParentStatus(externalRef, 1, no, no), testkit.ParentStatus(externalRef, 3, yes, yes),
			},
		},
		"accepted by another listener than the one asked for": {
			refs: both[1:], parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(withSection(localRef, "https"), 3, yes, yes)},
		},
		"accepted by a gateway that leaves the listener out": {
			refs: both[1:], wantServed: true, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(ParentRef("kserve", "kserve-local-gateway", ""), 3, yes, yes)},
		},
		"accepted by both": {
			refs: both, wantServed: true, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(localRef, 3, yes, yes), testkit.ParentStatus(externalRef, 3, yes, yes)},
		},
		"accepted by one of both": {
			refs: both, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, yes, yes)},
		},
		"accepted by the one and refused by the other": {
			refs: both, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 3, yes, yes), testkit.ParentStatus(localRef, 3, no, yes)},
		},
		"awaited by the one and refused by the other": {
			refs: both, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{testkit.ParentStatus(externalRef, 2, yes, yes), testkit.ParentStatus(localRef, 3, no, yes)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: "sklearn-iris", Generation: generation}}
			route.Spec.ParentRefs, route.Status.Parents = test.refs, test.parents
			got := AcceptanceOf(route)
			if got.Accepted != test.wantServed || got.Refused != test.wantRefuse {
				t.Errorf("accepted: %t, refused: %t; want %t, %t", got.Accepted, got.Refused, test.wantServed, test.wantRefuse)
			}
			if got.Refused && (got.Reason == "" || got.Message == "") {
				t.Errorf("it does not say why: %+v", got)
			}
		})
	}
}
