// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package watchrecorder

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/rollout"
)

// knative returns a Knative Service with a generation, the generation that Knative serves, and a
// rollout state with a split. The traffic is that of the split unless shares are given.
func knative(generation, served int64, split rollout.Split, shares ...rollout.Share) *servingv1.Service {
	object := &servingv1.Service{ObjectMeta: objectMeta("iris-predictor")}
	object.Generation = generation
	object.Annotations = map[string]string{
		annotationRolloutState: rollout.State{Stable: 1, Target: 2, Asked: rollout.Intent{Share: 10}, Split: split, Highest: 3}.Encode(),
	}
	if shares == nil {
		shares = split.Shares()
	}
	for _, share := range shares {
		object.Spec.Traffic = append(object.Spec.Traffic, servingv1.TrafficTarget{
			RevisionName: service(int(share.Revision)).Name, Percent: new(int64(share.Percent)),
		})
	}
	object.Status.ObservedGeneration = served
	object.Status.Traffic = object.Spec.Traffic
	object.Status.Conditions = duckv1.Conditions{{Type: servingv1.ServiceConditionRoutesReady, Status: corev1.ConditionTrue}}
	return object
}

func knativeRevision(n int, minScale string) *servingv1.Revision {
	revision := &servingv1.Revision{ObjectMeta: objectMeta(service(n).Name)}
	revision.Annotations = map[string]string{"autoscaling.knative.dev/min-scale": minScale}
	revision.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: corev1.ConditionTrue}}
	return revision
}

func pod(n int, ready corev1.ConditionStatus) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: objectMeta(service(n).Name + "-deployment-0")}
	pod.Labels[serving.RevisionLabelKey] = service(n).Name
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return pod
}

func TestCheckKnative(t *testing.T) {
	canary := split(t, rollout.Share{Revision: 2, Percent: 10}, rollout.Share{Revision: 1, Percent: 90})
	rejected := split(t, rollout.Share{Revision: 2, Percent: 0}, rollout.Share{Revision: 1, Percent: 100})
	begin := changes(
		knative(1, 1, rollout.Split{}, rollout.Share{Revision: 1, Percent: 100}), knativeRevision(1, "1"), pod(1, "True"),
		knative(2, 2, rollout.All(1)), knativeRevision(2, "1"), pod(2, "True"),
	)
	mismatched := knative(3, 3, canary)
	mismatched.Annotations = knative(1, 1, rollout.All(1)).Annotations
	unnamed := knative(3, 3, canary)
	unnamed.Spec.Traffic[0].RevisionName = ""
	theirs := knative(3, 3, rollout.All(2))
	theirs.OwnerReferences = []metav1.OwnerReference{{Kind: "Website", Name: "web", Controller: new(true)}}

	testCheck(t, begin, map[string]checkTest{
		"a canary": {changes(knative(3, 2, canary), knative(3, 3, canary), isvc(10, "True", canary)), ""},
		"an unready revision with 0 % left out": {
			changes(knative(3, 3, rejected, rollout.Share{Revision: 1, Percent: 100}), isvc(10, "True", rejected)), "",
		},
		"a restored revision named with 0 %": {
			changes(knative(3, 3, rollout.All(1), rollout.Share{Revision: 2}, rollout.Share{Revision: 1, Percent: 100})), "",
		},
		"traffic to the latest revision":        {changes(unnamed), "rule 1"},
		"percents that do not sum to 100":       {changes(knative(3, 3, canary, rollout.Share{Revision: 2, Percent: 10})), "rule 1"},
		"a share for an unready revision":       {changes(pod(2, "False"), knative(3, 3, canary)), "rule 2"},
		"a share for a revision scaled to zero": {changes(knativeRevision(2, "0"), pod(2, "False"), knative(3, 3, canary)), ""},
		"a share for a missing revision":        {changes(knative(3, 3, rollout.All(3))), "rule 4"},
		"a named revision deleted":              {append(changes(knative(3, 3, canary)), Entry{Object: knativeRevision(2, "1"), Deleted: true}), "rule 4"},
		"a still served revision deleted":       {append(changes(knative(3, 3, canary), withServedTraffic(knative(4, 3, rollout.All(1)), canary)), Entry{Object: knativeRevision(2, "1"), Deleted: true}), "rule 4"},
		"an unnamed revision deleted":           {append(changes(knative(3, 3, rollout.All(1))), Entry{Object: knativeRevision(2, "1"), Deleted: true}), ""},
		"a Knative Service recreated before its revisions": {
			append([]Entry{{Object: knative(2, 2, rollout.All(1)), Deleted: true}, {Object: knativeRevision(1, "1"), Deleted: true}}, changes(withoutStatus(knative(1, 0, rollout.All(1))))...), "",
		},
		"a revision restored next to the first one": {
			changes(knative(1, 0, rollout.Split{}, rollout.Share{Revision: 2}, rollout.Share{Revision: 1, Percent: 100})), "",
		},
		"a rollout state with another split":                        {changes(mismatched), "rule 7"},
		"a status with a split that is not served":                  {changes(knative(3, 2, canary), isvc(10, "Unknown", canary)), "rule 4"},
		"ready with another split than that of the Knative Service": {changes(knative(3, 3, canary), isvc(10, "True", rollout.All(1))), "rule 9"},
		"a foreign Knative Service":                                 {changes(theirs), ""},
	})
}

// The last change before the recorder started may be that of the Knative Service.
func TestCheckKnativeFromTheMiddle(t *testing.T) {
	testCheck(t, changes(knativeRevision(1, "1"), pod(1, "True")), map[string]checkTest{
		"a Knative Service of an existing revision": {changes(knative(2, 2, rollout.All(1))), ""},
		"a Knative Service of a missing revision":   {changes(knative(2, 2, rollout.All(2))), "rule 4"},
	})
}

// The pod of the first revision may become unready after Knative serves it and before the operator
// writes the rollout state.
func TestCheckFirstKnativeSplit(t *testing.T) {
	begin := changes(
		knative(1, 1, rollout.Split{}, rollout.Share{Revision: 1, Percent: 100}), knativeRevision(1, "1"), pod(1, "True"), pod(1, "False"), knativeRevision(2, "1"),
	)
	testCheck(t, begin, map[string]checkTest{
		"the revision that Knative serves":     {changes(knative(1, 1, rollout.All(1))), ""},
		"another revision, which is not ready": {changes(knative(2, 1, rollout.All(2))), "rule 2"},
		"another revision, which is ready":     {changes(pod(2, "True"), knative(2, 1, rollout.All(2))), ""},
	})
}

// What KServe had served before the adoption may be reported until Knative serves it by name.
func TestCheckAdoption(t *testing.T) {
	canary := split(t, rollout.Share{Revision: 2, Percent: 20}, rollout.Share{Revision: 1, Percent: 80})
	kserves := withServedTraffic(knative(1, 1, rollout.Split{}, canary.Shares()...), canary)
	kserves.Annotations, kserves.Spec.Traffic[0].RevisionName, kserves.Spec.Traffic[0].LatestRevision = nil, "", new(true)
	kserves.Status.Traffic = knative(0, 0, canary).Spec.Traffic
	begin := []Entry{{Object: knativeRevision(1, "1")}, {Object: knativeRevision(2, "1")}, {Object: pod(1, "True")}, {Object: pod(2, "True")}}
	adopted := []client.Object{knative(2, 1, canary), isvc(20, "Unknown", canary)}
	if err := replay(append(begin, changes(adopted...)...)); !strings.Contains(fmt.Sprint(err), "rule 4") {
		t.Errorf("a reported split that was never served: %v", err)
	}
	if err := replay(append(begin, changes(append([]client.Object{kserves}, adopted...)...)...)); strings.Contains(fmt.Sprint(err), "rule 4") {
		t.Errorf("a reported split that KServe served: %v", err)
	}
}

func withoutStatus(service *servingv1.Service) *servingv1.Service {
	service.Status = servingv1.ServiceStatus{}
	return service
}

func withServedTraffic(service *servingv1.Service, split rollout.Split) *servingv1.Service {
	service.Status.Traffic = knative(0, 0, split).Spec.Traffic
	return service
}

func TestIsRoute(t *testing.T) {
	own := route(1, 1, rollout.All(1))
	withoutState := route(1, 1, rollout.All(1))
	withoutState.Annotations = nil
	hostRoute := route(1, 1, rollout.All(1))
	hostRoute.Spec.Rules[0].Filters = []gatewayv1.HTTPRouteFilter{{
		URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Hostname: new(gatewayv1.PreciseHostname("iris-predictor.default.svc.cluster.local"))},
	}}
	tag := route(1, 1, rollout.All(1))
	tag.Name = "latest-iris-predictor"
	for name, test := range map[string]struct {
		object client.Object
		want   bool
	}{
		"an HTTPRoute":                         {own, true},
		"an HTTPRoute without a rollout state": {withoutState, true},
		"an HTTPRoute that rewrites the host":  {hostRoute, false},
		"an HTTPRoute of a tag":                {tag, false},
		"a Knative Service":                    {knative(1, 1, rollout.All(1)), true},
		"a Service":                            {service(1), false},
	} {
		if got := IsRoute("iris", test.object); got != test.want {
			t.Errorf("IsRoute() of %s = %t, want %t", name, got, test.want)
		}
	}
}
