// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package watchrecorder

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
)

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{v1beta1.LabelInferenceService: "iris"}}
}

func service(n int) *corev1.Service {
	return &corev1.Service{ObjectMeta: objectMeta(fmt.Sprintf("iris-predictor-%05d", n))}
}

func deployment(n int, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: objectMeta(fmt.Sprintf("iris-predictor-%05d-deployment", n)),
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas},
	}
}

func endpoints(n int, ready ...bool) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: objectMeta(fmt.Sprintf("iris-predictor-%05d-abcde", n))}
	slice.Labels[discoveryv1.LabelServiceName] = fmt.Sprintf("iris-predictor-%05d", n)
	for _, r := range ready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &r}})
	}
	return slice
}

// route returns an HTTPRoute with a generation, the generation that the gateway has accepted, and a
// split.
func route(generation, accepted int64, split rollout.Split) *gatewayv1.HTTPRoute {
	object := &gatewayv1.HTTPRoute{ObjectMeta: objectMeta("iris")}
	object.Generation = generation
	state := rollout.State{Stable: 1, Target: 2, Asked: rollout.Intent{Share: 10}, Split: split, Highest: 2}
	object.Annotations = map[string]string{annotationRolloutState: state.Encode()}
	rule := gatewayv1.HTTPRouteRule{}
	for _, share := range split.Shares() {
		ref := gatewayv1.HTTPBackendRef{}
		ref.Name, ref.Weight = gatewayv1.ObjectName(service(int(share.Revision)).Name), new(int32(share.Percent))
		rule.BackendRefs = append(rule.BackendRefs, ref)
	}
	object.Spec.Rules = []gatewayv1.HTTPRouteRule{rule}
	object.Status.Parents = []gatewayv1.RouteParentStatus{{Conditions: []metav1.Condition{
		{Type: string(gatewayv1.RouteConditionAccepted), Status: "True", ObservedGeneration: accepted},
		{Type: string(gatewayv1.RouteConditionResolvedRefs), Status: "True", ObservedGeneration: accepted},
	}}}
	return object
}

func isvc(percent int64, ready metav1.ConditionStatus, split rollout.Split) *v1beta1.InferenceService {
	object := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Name: "iris", Generation: 1}}
	object.Spec.Predictor.CanaryTrafficPercent = &percent
	object.Status.ObservedGeneration = 1
	object.Status.Conditions = []metav1.Condition{{Type: v1beta1.ConditionReady, Status: ready, ObservedGeneration: 1}}
	component := v1beta1.ComponentStatusSpec{}
	for _, share := range split.Shares() {
		component.Traffic = append(component.Traffic, v1beta1.TrafficTarget{
			RevisionName: service(int(share.Revision)).Name, Percent: new(int64(share.Percent)),
		})
	}
	object.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: component}
	return object
}

func split(t *testing.T, shares ...rollout.Share) rollout.Split {
	t.Helper()
	object, err := rollout.NewSplit(shares...)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func replay(entries []Entry) error {
	r := &Recorder{started: time.Unix(0, 0), excused: map[string]bool{}}
	for i, entry := range entries {
		entry.Version, entry.At = uint64(i), time.Unix(int64(i), 0)
		r.entries = append(r.entries, entry)
	}
	return r.Check()
}

func changes(objects ...client.Object) []Entry {
	entries := make([]Entry, len(objects))
	for i := range objects {
		entries[i].Object = objects[i]
	}
	return entries
}

type checkTest struct {
	changes []Entry
	want    string
}

func testCheck(t *testing.T, begin []Entry, tests map[string]checkTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := replay(append(append([]Entry{}, begin...), test.changes...))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("Check() = %v, want no violation", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("Check() = %v, want a violation of %s", err, test.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	canary := split(t, rollout.Share{Revision: 2, Percent: 10}, rollout.Share{Revision: 1, Percent: 90})
	begin := changes(
		service(1), deployment(1, 1), endpoints(1, true), route(1, 0, rollout.All(1)), route(1, 1, rollout.All(1)),
		service(2), deployment(2, 1), endpoints(2, true),
	)
	mismatched := route(2, 1, canary)
	mismatched.Annotations = route(1, 1, rollout.All(1)).Annotations
	missing := route(2, 1, canary)
	missing.Annotations = nil
	uneven := route(2, 1, canary)
	uneven.Spec.Rules[0].BackendRefs[0].Weight = new(int32(11))
	replacing := func(replacement rollout.Replacement) *gatewayv1.HTTPRoute {
		route := route(1, 1, rollout.All(1))
		state, err := StateOf(route)
		if err != nil {
			t.Fatal(err)
		}
		state.Replacement = replacement
		route.Annotations = map[string]string{annotationRolloutState: state.Encode()}
		return route
	}
	tag := route(1, 1, rollout.All(2))
	tag.Name = "latest-iris-predictor"
	mixed := isvc(10, "True", rollout.All(1))
	mixed.Status.Conditions[0].ObservedGeneration = 0

	testCheck(t, begin, map[string]checkTest{
		"a canary": {
			changes(route(2, 1, canary), route(2, 2, canary), isvc(10, "True", canary)), "",
		},
		"weights that do not sum to 100":  {changes(uneven), "rule 1"},
		"a share for an unready revision": {changes(endpoints(2, false), route(2, 1, canary)), "rule 2"},
		"a first share for an unready revision while no revision is ready": {
			changes(endpoints(1, false), endpoints(2, false), route(2, 1, canary)), "",
		},
		"an unchanged share of a revision that became unready": {
			changes(route(2, 2, canary), endpoints(1, false), route(3, 2, canary)), "",
		},
		"a route to a missing Service": {
			append(changes(service(2)), Entry{Object: service(2), Deleted: true}, Entry{Object: route(2, 1, canary)}), "rule 4",
		},
		"a routed revision scaled to zero":                       {changes(route(2, 2, canary), deployment(1, 0)), "rule 4"},
		"a tagged revision scaled to zero":                       {changes(tag, deployment(2, 0)), "rule 4"},
		"a revision scaled to zero before the route is accepted": {changes(route(2, 2, canary), route(3, 2, rollout.All(1)), deployment(2, 0)), "rule 4"},
		"a revision scaled to zero after the route is accepted":  {changes(route(2, 2, canary), route(3, 3, rollout.All(1)), deployment(2, 0)), ""},
		"a stable that is being replaced":                        {changes(replacing(rollout.Replacing), deployment(1, 0)), ""},
		"a stable down after a failed replacement":               {changes(replacing(rollout.ReplacementFailed), deployment(1, 0)), "rule 4"},
		"the Service of a routed revision deleted":               {append(changes(route(2, 2, canary)), Entry{Object: service(2), Deleted: true}), "rule 4"},
		"the Deployment of a routed revision deleted":            {append(changes(route(2, 2, canary)), Entry{Object: deployment(2, 1), Deleted: true}), "rule 4"},
		"objects deleted with the InferenceService": {
			append(changes(route(2, 2, canary), isvc(10, "True", canary)),
				Entry{Object: isvc(10, "True", canary), Deleted: true}, Entry{Object: deployment(2, 1), Deleted: true}), "",
		},
		"a rollout state with another split":         {changes(mismatched), "rule 7"},
		"a route without a rollout state":            {changes(missing), "rule 7"},
		"a status with a split that is not accepted": {changes(route(2, 1, canary), isvc(10, "Unknown", canary)), "rule 4"},
		"ready for a percent that was not observed":  {changes(route(2, 2, canary), isvc(50, "True", canary)), "rule 9"},
		"ready with another split than the route's":  {changes(route(2, 2, canary), isvc(10, "True", rollout.All(1))), "rule 9"},
		"conditions of another generation":           {changes(mixed), "rule 9"},
	})
}

func TestCheckExcuses(t *testing.T) {
	r := &Recorder{excused: map[string]bool{}}
	r.entries = append(changes(service(1), endpoints(1, true), deployment(1, 1), route(1, 1, rollout.All(1))),
		Entry{Object: deployment(1, 1), Deleted: true})
	if err := r.Check(); err == nil {
		t.Error("Check() = nil for a deleted Deployment that was routed to")
	}
	r.Excuse(deployment(1, 1))
	if err := r.Check(); err != nil {
		t.Errorf("Check() = %v after the deletion was excused", err)
	}
}

// Foreign objects may have the operator's names and labels.
func TestCheckIgnoresForeignObjects(t *testing.T) {
	theirs := route(1, 1, rollout.All(2))
	theirs.OwnerReferences = []metav1.OwnerReference{{Kind: "Website", Name: "web", Controller: new(true)}}
	r := &Recorder{excused: map[string]bool{}}
	r.entries = changes(theirs)
	if err := r.Check(); err != nil {
		t.Errorf("Check() = %v", err)
	}
	theirs.OwnerReferences = nil
	if err := r.Check(); err == nil {
		t.Error("Check() = nil for a route without a foreign owner")
	}
}

func TestCheckExcusesWrites(t *testing.T) {
	theirs := route(2, 1, rollout.All(2))
	theirs.ResourceVersion = "42"
	ours := route(3, 1, rollout.All(2))
	r := &Recorder{excused: map[string]bool{}}
	r.entries = append(changes(service(1), endpoints(1, true), route(1, 1, rollout.All(1)), service(2)), Entry{Object: theirs, Version: 42})
	if err := r.Check(); err == nil {
		t.Error("Check() = nil for a share of a revision that cannot serve")
	}
	r.ExcuseWrite(theirs)
	if err := r.Check(); err != nil {
		t.Errorf("Check() = %v after the write was excused", err)
	}
	r.entries = append(r.entries, Entry{Object: route(4, 1, rollout.All(1)), Version: 43}, Entry{Object: ours, Version: 44})
	if err := r.Check(); err == nil {
		t.Error("Check() = nil for a later write with the same violation")
	}
}

func TestGiven(t *testing.T) {
	canary := split(t, rollout.Share{Revision: 2, Percent: 10}, rollout.Share{Revision: 1, Percent: 90})
	theirs := route(2, 1, rollout.All(2))
	theirs.ResourceVersion = "42"
	r := &Recorder{excused: map[string]bool{}}
	r.entries = changes(route(1, 0, rollout.All(1)), route(1, 1, rollout.All(1)))
	r.entries = append(r.entries,
		Entry{Object: theirs, Version: 42},
		Entry{Object: route(2, 2, rollout.All(2)), Version: 43}, // The gateway accepts it.
		Entry{Object: route(3, 2, canary), Version: 44})
	r.ExcuseWrite(theirs)
	if diff := cmp.Diff([]string{"1:100", "2:10 1:90"}, r.Given("iris")); diff != "" {
		t.Errorf("Given() (-want +got):\n%s", diff)
	}
}
