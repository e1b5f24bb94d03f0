// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package journal

import (
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

// knative is the Knative Service of a generation with the traffic of a split, of which Knative serves what it was told in
// an older or the same generation, and a record of it.
func knative(generation, served int64, split rollout.Split, shares ...rollout.Share) *servingv1.Service {
	made := &servingv1.Service{ObjectMeta: objectMeta("iris-predictor")}
	made.Generation = generation
	made.Annotations = map[string]string{
		annotationRecord: rollout.Record{Stable: 1, Target: 2, Percent: new(10), Split: split, Highest: 3}.Encode(),
	}
	if shares == nil {
		shares = split.Shares()
	}
	for _, share := range shares {
		made.Spec.Traffic = append(made.Spec.Traffic, servingv1.TrafficTarget{
			RevisionName: service(int(share.Revision)).Name, Percent: new(int64(share.Percent)),
		})
	}
	made.Status.ObservedGeneration = served
	made.Status.Traffic = made.Spec.Traffic
	made.Status.Conditions = duckv1.Conditions{{Type: servingv1.ServiceConditionRoutesReady, Status: corev1.ConditionTrue}}
	return made
}

func made(n int, least string) *servingv1.Revision {
	revision := &servingv1.Revision{ObjectMeta: objectMeta(service(n).Name)}
	revision.Annotations = map[string]string{"autoscaling.knative.dev/min-scale": least}
	revision.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: corev1.ConditionTrue}}
	return revision
}

func pod(n int, ready corev1.ConditionStatus) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: objectMeta(service(n).Name + "-deployment-0")}
	pod.Labels[serving.RevisionLabelKey] = service(n).Name
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return pod
}

func TestCheckOfKnative(t *testing.T) {
	canary := split(t, rollout.Share{Revision: 2, Percent: 10}, rollout.Share{Revision: 1, Percent: 90})
	rejected := split(t, rollout.Share{Revision: 2, Percent: 0}, rollout.Share{Revision: 1, Percent: 100})
	begin := changes(
		knative(1, 1, rollout.Split{}, rollout.Share{Revision: 1, Percent: 100}), made(1, "1"), pod(1, "True"),
		knative(2, 2, rollout.All(1)), made(2, "1"), pod(2, "True"),
	)
	spoiled := knative(3, 3, canary)
	spoiled.Annotations = knative(1, 1, rollout.All(1)).Annotations
	unnamed := knative(3, 3, canary)
	unnamed.Spec.Traffic[0].RevisionName = ""
	theirs := knative(3, 3, rollout.All(2))
	theirs.OwnerReferences = []metav1.OwnerReference{{Kind: "Website", Name: "web", Controller: new(true)}}

	testBreaches(t, begin, map[string]breachTest{
		"a canary": {changes(knative(3, 2, canary), knative(3, 3, canary), isvc(10, "True", canary)), ""},
		"one that is left out, not being ready": {
			changes(knative(3, 3, rejected, rollout.Share{Revision: 1, Percent: 100}), isvc(10, "True", rejected)), "",
		},
		"one that is named with nothing, to be brought back": {
			changes(knative(3, 3, rollout.All(1), rollout.Share{Revision: 2}, rollout.Share{Revision: 1, Percent: 100})), "",
		},
		"traffic to the latest revision":                    {changes(unnamed), "rule 1"},
		"percents that do not sum to 100":                   {changes(knative(3, 3, canary, rollout.Share{Revision: 2, Percent: 10})), "rule 1"},
		"a share for who is not ready":                      {changes(pod(2, "False"), knative(3, 3, canary)), "rule 2"},
		"a share for who comes up with a request":           {changes(made(2, "0"), pod(2, "False"), knative(3, 3, canary)), ""},
		"a share for a revision that Knative has not made":  {changes(knative(3, 3, rollout.All(3))), "rule 4"},
		"a revision deleted while it is named":              {append(changes(knative(3, 3, canary)), Entry{Object: made(2, "1"), Deleted: true}), "rule 4"},
		"a revision deleted while its name is still served": {append(changes(knative(3, 3, canary), stillServed(knative(4, 3, rollout.All(1)), canary)), Entry{Object: made(2, "1"), Deleted: true}), "rule 4"},
		"a revision deleted when nobody names it":           {append(changes(knative(3, 3, rollout.All(1))), Entry{Object: made(2, "1"), Deleted: true}), ""},
		"a Knative Service that is made again, before its revisions are": {
			append([]Entry{{Object: knative(2, 2, rollout.All(1)), Deleted: true}, {Object: made(1, "1"), Deleted: true}}, changes(servingNobody(knative(1, 0, rollout.All(1))))...), "",
		},
		"one that comes back beside the first": {
			changes(knative(1, 0, rollout.Split{}, rollout.Share{Revision: 2}, rollout.Share{Revision: 1, Percent: 100})), "",
		},
		"a record that says something else":                         {changes(spoiled), "rule 7"},
		"a status that runs ahead of Knative":                       {changes(knative(3, 2, canary), isvc(10, "Unknown", canary)), "rule 4"},
		"ready with another split than that of the Knative Service": {changes(knative(3, 3, canary), isvc(10, "True", rollout.All(1))), "rule 9"},
		"somebody else's Knative Service":                           {changes(theirs), ""},
	})
}

// Of what was there before the journal began, the Knative Service may have been written last.
func TestCheckOfKnativeFromTheMiddle(t *testing.T) {
	testBreaches(t, changes(made(1, "1"), pod(1, "True")), map[string]breachTest{
		"a Knative Service of a revision that is there": {changes(knative(2, 2, rollout.All(1))), ""},
		"a Knative Service of one that is not":          {changes(knative(2, 2, rollout.All(2))), "rule 4"},
	})
}

// Knative serves the first revision when it likes, and its pod can cease to be ready before that is recorded.
func TestCheckOfTheFirstRecordOfKnative(t *testing.T) {
	begin := changes(
		knative(1, 1, rollout.Split{}, rollout.Share{Revision: 1, Percent: 100}), made(1, "1"), pod(1, "True"), pod(1, "False"), made(2, "1"),
	)
	testBreaches(t, begin, map[string]breachTest{
		"what Knative serves already":          {changes(knative(1, 1, rollout.All(1))), ""},
		"another revision, which is not ready": {changes(knative(2, 1, rollout.All(2))), "rule 2"},
		"another revision, which is ready":     {changes(pod(2, "True"), knative(2, 1, rollout.All(2))), ""},
	})
}

// servingNobody is a Knative Service that has only been made.
func servingNobody(service *servingv1.Service) *servingv1.Service {
	service.Status = servingv1.ServiceStatus{}
	return service
}

// stillServed has Knative still serve another split.
func stillServed(service *servingv1.Service, split rollout.Split) *servingv1.Service {
	service.Status.Traffic = knative(0, 0, split).Spec.Traffic
	return service
}

func TestIsRoute(t *testing.T) {
	own := route(1, 1, rollout.All(1))
	unrecorded := route(1, 1, rollout.All(1))
	unrecorded.Annotations = nil
	entrance := route(1, 1, rollout.All(1))
	entrance.Spec.Rules[0].Filters = []gatewayv1.HTTPRouteFilter{{
		URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Hostname: new(gatewayv1.PreciseHostname("iris-predictor.default.svc.cluster.local"))},
	}}
	tag := route(1, 1, rollout.All(1))
	tag.Name = "latest-iris-predictor"
	for name, test := range map[string]struct {
		object client.Object
		want   bool
	}{
		"an HTTPRoute":                            {own, true},
		"an HTTPRoute without a record":           {unrecorded, true},
		"an HTTPRoute that leads to another host": {entrance, false},
		"an HTTPRoute of a tag":                   {tag, false},
		"a Knative Service":                       {knative(1, 1, rollout.All(1)), true},
		"a Service":                               {service(1), false},
	} {
		if got := IsRoute("iris", test.object); got != test.want {
			t.Errorf("IsRoute() of %s = %t, want %t", name, got, test.want)
		}
	}
}
