// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

var readySince = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)

// knativeStatus is how programs that were written for KServe read a status:
// with Knative's types.
type knativeStatus struct {
	duckv1.Status `json:",inline"`
	Address       *duckv1.Addressable `json:"address,omitempty"`
	URL           *apis.URL           `json:"url,omitempty"`
	Components    map[string]struct {
		LatestReadyRevision string                    `json:"latestReadyRevision,omitempty"`
		Traffic             []servingv1.TrafficTarget `json:"traffic,omitempty"`
		URL                 *apis.URL                 `json:"url,omitempty"`
	} `json:"components,omitempty"`
	ModelStatus struct {
		TransitionStatus string `json:"transitionStatus"`
	} `json:"modelStatus"`
}

func TestKServeClientsReadTheStatus(t *testing.T) {
	given := InferenceServiceStatus{
		ObservedGeneration: 3,
		Conditions: []metav1.Condition{{
			Type: ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving", Message: "all is well",
			ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(readySince),
		}},
		URL:     "http://iris.default.example.com",
		Address: &Address{URL: "http://iris.default.svc.cluster.local"},
		Components: map[ComponentType]ComponentStatusSpec{
			PredictorComponent: {
				LatestReadyRevision: "iris-predictor-00001",
				Traffic: []TrafficTarget{{
					LatestRevision: new(true),
					Percent:        new(int64(100)),
					RevisionName:   "iris-predictor-00001",
					Tag:            "latest",
					URL:            "http://latest-iris-predictor.default.example.com",
				}},
				URL: "http://iris-predictor.default.example.com",
			},
		},
		ModelStatus: &ModelStatus{TransitionStatus: UpToDate},
	}

	var got knativeStatus
	convert(t, given, &got)

	ready := got.GetCondition(apis.ConditionReady)
	want := &apis.Condition{
		Type: apis.ConditionReady, Status: corev1.ConditionTrue, Reason: "Serving", Message: "all is well",
		LastTransitionTime: apis.VolatileTime{Inner: metav1.NewTime(readySince)},
	}
	if diff := cmp.Diff(want, ready); diff != "" {
		t.Errorf("condition Ready (-want +got):\n%s", diff)
	}
	traffic := []servingv1.TrafficTarget{{
		LatestRevision: new(true),
		Percent:        new(int64(100)),
		RevisionName:   "iris-predictor-00001",
		Tag:            "latest",
		URL:            apis.HTTP("latest-iris-predictor.default.example.com"),
	}}
	if diff := cmp.Diff(traffic, got.Components["predictor"].Traffic); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	for name, pair := range map[string][2]string{
		"url":             {"http://iris.default.example.com", got.URL.String()},
		"address":         {"http://iris.default.svc.cluster.local", got.Address.URL.String()},
		"predictor's url": {"http://iris-predictor.default.example.com", got.Components["predictor"].URL.String()},
		"transition":      {"UpToDate", got.ModelStatus.TransitionStatus},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s = %q, want %q", name, pair[1], pair[0])
		}
	}
}

// TestReadsWhatKServeWrote: the first status that the operator sees may be
// KServe's, whose conditions can lack a reason and have a severity.
func TestReadsWhatKServeWrote(t *testing.T) {
	given := json.RawMessage(`{
		"observedGeneration": 2,
		"conditions": [
			{"type": "PredictorConfigurationReady", "status": "True", "severity": "Info", "lastTransitionTime": "2026-03-11T12:00:00Z"},
			{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-11T12:00:00Z"}
		],
		"url": "http://iris.default.example.com",
		"address": {"url": "http://iris.default.svc.cluster.local", "name": "http"},
		"components": {"predictor": {
			"latestCreatedRevision": "iris-predictor-00002",
			"latestReadyRevision": "iris-predictor-00002",
			"latestRolledoutRevision": "iris-predictor-00001",
			"previousRolledoutRevision": "iris-predictor-00001",
			"traffic": [
				{"latestRevision": true, "percent": 10, "revisionName": "iris-predictor-00002"},
				{"latestRevision": false, "percent": 90, "revisionName": "iris-predictor-00001", "tag": "prev"}
			],
			"url": "http://iris-predictor.default.example.com"
		}},
		"modelStatus": {
			"copies": {"failedCopies": 0, "totalCopies": 1},
			"states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
			"transitionStatus": "UpToDate"
		},
		"canaryStatuses": [],
		"deploymentMode": "Knative"
	}`)
	var got InferenceServiceStatus
	convert(t, given, &got)

	since := metav1.NewTime(readySince)
	want := InferenceServiceStatus{
		ObservedGeneration: 2,
		Conditions: []metav1.Condition{
			{Type: "PredictorConfigurationReady", Status: metav1.ConditionTrue, LastTransitionTime: since},
			{Type: ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: since},
		},
		URL:     "http://iris.default.example.com",
		Address: &Address{URL: "http://iris.default.svc.cluster.local"},
		Components: map[ComponentType]ComponentStatusSpec{PredictorComponent: {
			LatestCreatedRevision:     "iris-predictor-00002",
			LatestReadyRevision:       "iris-predictor-00002",
			LatestRolledoutRevision:   "iris-predictor-00001",
			PreviousRolledoutRevision: "iris-predictor-00001",
			Traffic: []TrafficTarget{
				{LatestRevision: new(true), Percent: new(int64(10)), RevisionName: "iris-predictor-00002"},
				{LatestRevision: new(false), Percent: new(int64(90)), RevisionName: "iris-predictor-00001", Tag: "prev"},
			},
			URL: "http://iris-predictor.default.example.com",
		}},
		ModelStatus: &ModelStatus{
			TransitionStatus:    UpToDate,
			ModelRevisionStates: &ModelRevisionStates{ActiveModelState: Loaded, TargetModelState: Loaded},
			ModelCopies:         &ModelCopies{TotalCopies: 1},
		},
		DeploymentMode: "Knative",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func convert(t *testing.T, from, into any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	mustUnmarshal(t, string(text), into)
}
