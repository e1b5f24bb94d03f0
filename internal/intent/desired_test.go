// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

const (
	standard = v1beta1.DeploymentModeStandard
	knative  = v1beta1.DeploymentModeKnative
)

func asks(isvc *v1beta1.InferenceService, observed *backend.Observation) rollout.Desired {
	return Snapshot(isvc, standard, observed, Target{Hash: "a"}).Desired
}

func TestIntentIsThatOfTheSpec(t *testing.T) {
	for name, test := range map[string]struct {
		given testkit.Edit
		want  rollout.Intent
	}{
		"absent":                  {func(*v1beta1.InferenceService) {}, rollout.Intent{Share: 100, Promote: true}},
		"0":                       {testkit.Percent(0), rollout.Intent{Undo: true}},
		"10":                      {testkit.Percent(10), rollout.Intent{Share: 10, Undo: true}},
		"100":                     {testkit.Percent(100), rollout.Intent{Share: 100, Promote: true}},
		"one from before the CRD": {testkit.Percent(-1), rollout.Intent{Share: -1, Undo: true}},
	} {
		observed := &backend.Observation{Route: rollout.Route{State: &rollout.State{Asked: rollout.Intent{Share: 100, Promote: true}}}}
		if diff := cmp.Diff(test.want, asks(testkit.NewInferenceService(test.given), observed).Intent); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMalformedSwitchKeepsTheCurrentState(t *testing.T) {
	running := &backend.Observation{Route: rollout.Route{State: &rollout.State{Split: rollout.All(1)}}}
	stopped := &backend.Observation{Route: rollout.Route{State: &rollout.State{}}}
	reportedStopped := func(isvc *v1beta1.InferenceService) {
		isvc.Status.Conditions = []metav1.Condition{{Type: v1beta1.ConditionStopped, Status: metav1.ConditionTrue}}
	}
	for name, test := range map[string]struct {
		given                   []testkit.Edit
		observed                *backend.Observation
		wantStopped, wantTagged bool
	}{
		"no switch":                           {observed: running},
		"true":                                {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "true"), testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true")}, running, true, true},
		"false":                               {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "false"), testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "false")}, stopped, false, false},
		"malformed, running":                  {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "yes")}, running, false, false},
		"malformed, stopped":                  {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "yes")}, stopped, true, false},
		"malformed, only reported as stopped": {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "yes"), reportedStopped}, &backend.Observation{}, true, false},
		"malformed, never seen":               {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationStop, "yes")}, &backend.Observation{}, false, false},
		"malformed, there are tag hosts":      {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "maybe")}, &backend.Observation{TagHosts: true}, false, true},
		"malformed, there are no tag hosts":   {[]testkit.Edit{testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "maybe")}, &backend.Observation{}, false, false},
	} {
		got := asks(testkit.NewInferenceService(test.given...), test.observed)
		if got.Stopped != test.wantStopped || got.Tagged != test.wantTagged {
			t.Errorf("%s: stopped %t, tagged %t; want %t, %t", name, got.Stopped, got.Tagged, test.wantStopped, test.wantTagged)
		}
	}
}

func TestBounds(t *testing.T) {
	class := func(class string) testkit.Edit { return testkit.Annotation(v1beta1.AnnotationAutoscalerClass, class) }
	onlyMax := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MaxReplicas = 3 }
	for name, test := range map[string]struct {
		mode  v1beta1.DeploymentMode
		given []testkit.Edit
		want  rollout.Bounds
	}{
		"none":                             {standard, nil, rollout.Bounds{Min: 1, Max: 1}},
		"a minimum":                        {standard, []testkit.Edit{testkit.ReplicaBounds(3, 0)}, rollout.Bounds{Min: 3, Max: 3}},
		"a minimum of 0 is 1":              {standard, []testkit.Edit{testkit.ReplicaBounds(0, 0)}, rollout.Bounds{Min: 1, Max: 1}},
		"a minimum and a maximum":          {standard, []testkit.Edit{testkit.ReplicaBounds(2, 5)}, rollout.Bounds{Min: 2, Max: 5}},
		"a maximum":                        {standard, []testkit.Edit{onlyMax}, rollout.Bounds{Min: 1, Max: 3}},
		"class none":                       {standard, []testkit.Edit{testkit.ReplicaBounds(2, 5), class("none")}, rollout.Bounds{Min: 2, Max: 2}},
		"class hpa":                        {standard, []testkit.Edit{testkit.ReplicaBounds(2, 5), class("hpa")}, rollout.Bounds{Min: 2, Max: 5}},
		"class external":                   {standard, []testkit.Edit{testkit.ReplicaBounds(2, 5), class("external")}, rollout.Bounds{Min: 2, Max: 5, ScaledExternally: true}},
		"class external without a maximum": {standard, []testkit.Edit{testkit.ReplicaBounds(2, 0), class("external")}, rollout.Bounds{Min: 2, Max: math.MaxInt32, ScaledExternally: true}},
		"an unknown class":                 {standard, []testkit.Edit{testkit.ReplicaBounds(2, 5), class("magic")}, rollout.Bounds{Min: 2, Max: 5}},
		"negative, from before the CRD":    {standard, []testkit.Edit{testkit.ReplicaBounds(-3, -1)}, rollout.Bounds{Min: 1, Max: 1}},
		"a maximum below the minimum":      {standard, []testkit.Edit{testkit.ReplicaBounds(5, 2)}, rollout.Bounds{Min: 5, Max: 5}},
		"Knative: none":                    {knative, nil, rollout.Bounds{Min: 1, ScaledByKnative: true}},
		"Knative: a minimum of 0":          {knative, []testkit.Edit{testkit.ReplicaBounds(0, 4)}, rollout.Bounds{Max: 4, ScaledByKnative: true}},
		"Knative: a minimum and a maximum": {knative, []testkit.Edit{testkit.ReplicaBounds(2, 5), class("external")}, rollout.Bounds{Min: 2, Max: 5, ScaledByKnative: true}},
	} {
		if diff := cmp.Diff(test.want, Bounds(testkit.NewInferenceService(test.given...), test.mode)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReplacementIsAllowedByTheDeploymentStrategy(t *testing.T) {
	surge := func(surge string) *appsv1.DeploymentStrategy {
		value := intstr.Parse(surge)
		return &appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &value}}
	}
	for name, test := range map[string]struct {
		strategy *appsv1.DeploymentStrategy
		want     bool
	}{
		"none":                      {},
		"Recreate":                  {&appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, true},
		"no surge":                  {&appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{}}, false},
		"a surge of 0":              {surge("0"), true},
		"a surge of 0 %":            {surge("0%"), true},
		"a surge of 1":              {surge("1"), false},
		"a surge of 1 %":            {surge("1%"), false},
		"a surge that is no number": {surge("some"), false},
	} {
		isvc := testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.DeploymentStrategy = test.strategy })
		if got := asks(isvc, &backend.Observation{}).Replace; got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
		if Snapshot(isvc, knative, &backend.Observation{}, Target{}).Desired.Replace {
			t.Errorf("%s: in Knative mode a revision replaces the stable", name)
		}
	}
}

func TestReportedIsThatOfTheStatus(t *testing.T) {
	share := func(revision string, percent int64) v1beta1.TrafficTarget {
		return v1beta1.TrafficTarget{RevisionName: revision, Percent: &percent}
	}
	isvc := testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) {
		isvc.Status.Phase = v1beta1.PhaseRolledBack
		isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: {
			LatestCreatedRevision: "sklearn-iris-predictor-00002", LatestRolledoutRevision: "sklearn-iris-predictor-00001", PreviousRolledoutRevision: "sklearn-iris-predictor-00003",
			Traffic: []v1beta1.TrafficTarget{share("sklearn-iris-predictor-00002", 30), share("sklearn-iris-predictor-00001", 70)},
		}}
	})
	split, err := rollout.NewSplit(rollout.Share{Revision: 2, Percent: 30}, rollout.Share{Revision: 1, Percent: 70})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rollout.Reported{Stable: 1, Previous: 3, Target: 2, Split: split, Tried: true}, Reported(isvc)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	foreign := testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) {
		isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: {
			LatestCreatedRevision: "another", Traffic: []v1beta1.TrafficTarget{share("another", 30), share("another", 70)},
		}}
	})
	if diff := cmp.Diff(rollout.Reported{}, Reported(foreign)); diff != "" {
		t.Errorf("of foreign revisions (-want +got):\n%s", diff)
	}
}

func TestProgrammedIsReportedForTheCurrentURL(t *testing.T) {
	for name, test := range map[string]struct {
		routes, ingress metav1.ConditionStatus
		url             string
		want            bool
	}{
		"both True":            {metav1.ConditionTrue, metav1.ConditionTrue, "http://iris", true},
		"RoutesReady Unknown":  {metav1.ConditionUnknown, metav1.ConditionTrue, "http://iris", false},
		"IngressReady Unknown": {metav1.ConditionTrue, metav1.ConditionUnknown, "http://iris", false},
		"at another URL":       {metav1.ConditionTrue, metav1.ConditionTrue, "http://before", false},
	} {
		isvc := testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) {
			isvc.Status.URL = test.url
			isvc.Status.Conditions = []metav1.Condition{
				{Type: v1beta1.ConditionRoutesReady, Status: test.routes}, {Type: v1beta1.ConditionIngressReady, Status: test.ingress},
			}
		})
		observed := &backend.Observation{Addresses: backend.Addresses{URL: "http://iris"}}
		if got := Snapshot(isvc, standard, observed, Target{}).Reported.Programmed; got != test.want {
			t.Errorf("%s: programmed is %t", name, got)
		}
	}
}
