// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend/gateway/gatewaytest"
)

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

// outerRef and localRef are the gateways of the routes in these tests. The external one has several
// listeners.
var (
	outerRef = ParentRef("kserve", "kserve-ingress-gateway", "")
	localRef = ParentRef("kserve", "kserve-local-gateway", "http")
)

func withSection(ref gatewayv1.ParentReference, section string) gatewayv1.ParentReference {
	ref.SectionName = new(gatewayv1.SectionName(section))
	return ref
}

// TestAcceptanceOf uses a route at generation 3.
func TestAcceptanceOf(t *testing.T) {
	const generation = 3
	both := []gatewayv1.ParentReference{outerRef, localRef}
	outer := both[:1]
	for name, test := range map[string]struct {
		refs                   []gatewayv1.ParentReference
		parents                []gatewayv1.RouteParentStatus
		wantServed, wantRefuse bool
	}{
		"nobody has said anything": {refs: outer},
		"accepted":                 {refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, yes, yes)}, wantServed: true},
		"not accepted":             {refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, no, yes)}, wantRefuse: true},
		"not resolved":             {refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, yes, no)}, wantRefuse: true},
		"undecided":                {refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, unknown, yes)}},
		"accepted as it was": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 2, yes, yes)},
		},
		"refused as it was": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 2, no, yes)},
		},
		"accepted, the references as they were": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{{
				ParentRef: outerRef,
				Conditions: []metav1.Condition{
					gatewaytest.ParentStatus(outerRef, 3, yes, yes).Conditions[0], gatewaytest.ParentStatus(outerRef, 2, yes, yes).Conditions[1],
				},
			}},
		},
		"without a word on the references": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{{ParentRef: outerRef, Conditions: gatewaytest.ParentStatus(outerRef, 3, yes, yes).Conditions[:1]}},
		},
		"accepted by another gateway": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(ParentRef("kserve", "other", ""), 3, yes, yes)},
		},
		"accepted by the namesake in another namespace": {
			refs: outer, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(ParentRef("other", "kserve-ingress-gateway", ""), 3, yes, yes)},
		},
		"one listener accepts, one refuses": {
			refs: outer, wantServed: true, parents: []gatewayv1.RouteParentStatus{
				gatewaytest.ParentStatus(withSection(outerRef, "https"), 3, no, yes), gatewaytest.ParentStatus(withSection(outerRef, "http"), 3, yes, yes),
			},
		},
		"every listener refuses": {
			refs: outer, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{
				gatewaytest.ParentStatus(withSection(outerRef, "https"), 3, no, yes), gatewaytest.ParentStatus(withSection(outerRef, "http"), 3, yes, no),
			},
		},
		"one listener refuses, one has yet to say": {
			refs: outer, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{
				gatewaytest.ParentStatus(withSection(outerRef, "https"), 3, no, yes), gatewaytest.ParentStatus(withSection(outerRef, "http"), 2, yes, yes),
			},
		},
		"an entry of an earlier life refuses": {
			refs: outer, wantServed: true, parents: []gatewayv1.RouteParentStatus{
				gatewaytest.ParentStatus(outerRef, 1, no, no), gatewaytest.ParentStatus(outerRef, 3, yes, yes),
			},
		},
		"accepted by another listener than the one asked for": {
			refs: both[1:], parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(withSection(localRef, "https"), 3, yes, yes)},
		},
		"accepted by a gateway that leaves the listener out": {
			refs: both[1:], wantServed: true, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(ParentRef("kserve", "kserve-local-gateway", ""), 3, yes, yes)},
		},
		"accepted by both": {
			refs: both, wantServed: true, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(localRef, 3, yes, yes), gatewaytest.ParentStatus(outerRef, 3, yes, yes)},
		},
		"accepted by one of both": {
			refs: both, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, yes, yes)},
		},
		"accepted by the one and refused by the other": {
			refs: both, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 3, yes, yes), gatewaytest.ParentStatus(localRef, 3, no, yes)},
		},
		"awaited by the one and refused by the other": {
			refs: both, wantRefuse: true, parents: []gatewayv1.RouteParentStatus{gatewaytest.ParentStatus(outerRef, 2, yes, yes), gatewaytest.ParentStatus(localRef, 3, no, yes)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: "sklearn-iris", Generation: generation}}
			route.Spec.ParentRefs, route.Status.Parents = test.refs, test.parents
			got := AcceptanceOf(route)
			if got.Accepted != test.wantServed || got.Refused != test.wantRefuse {
				t.Errorf("taken over: %t, refused: %t; want %t, %t", got.Accepted, got.Refused, test.wantServed, test.wantRefuse)
			}
			if got.Refused && (got.Reason == "" || got.Message == "") {
				t.Errorf("it does not say why: %+v", got)
			}
		})
	}
}
