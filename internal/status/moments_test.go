// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// TestMoments compares the status between two rows of the table, and during failures, with
// testdata/moments.
func TestMoments(t *testing.T) {
	refused := &backend.RouteStatus{Exists: true, Refused: true, Reason: "NotAllowedByListeners", Message: `the gateway refuses HTTPRoute "sklearn-iris"`}
	noGatewayAPI := &backend.RouteStatus{Refused: true, Reason: "GatewayAPINotInstalled", Message: "the cluster does not have the Gateway API"}
	shifting := func(state *rollout.State) *rollout.State {
		state.ServedBefore, state.ShiftedAt = rollout.All(1), now.Add(-time.Second)
		return state
	}
	for name, scenario := range map[string]scenario{
		"created":                  {target: 1},
		"first-fails":              {target: 1, ready: replicas{1: 0}, failing: failures{1: crash()}},
		"first-route-awaited":      {target: 1, ready: replicas{1: 1}, state: shifting(&rollout.State{Stable: 1, Target: 1, Split: rollout.All(1), Highest: 1}), pending: true},
		"first-route-refused":      {target: 1, ready: replicas{1: 1}, state: rolloutState(1, 0, 1, nil, split(1, 100)), refused: refused},
		"no-gateway-api":           {target: 1, ready: replicas{1: 1}, refused: noGatewayAPI},
		"first-waits-for-replicas": {target: 1, minReplicas: 3, ready: replicas{1: 2}},
		"canary-awaited":           {target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: shifting(rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))), pending: true},
		"canary-refused":           {target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90)), refused: refused},
		"promotion-waits-for-replicas": {
			target: 2, minReplicas: 1, maxReplicas: 9, ready: replicas{1: 4, 2: 1}, state: rolloutState(1, 0, 2, new(20), split(2, 20, 1, 80)),
		},
		"promotion-waits-and-fails": {
			target: 2, minReplicas: 1, maxReplicas: 9, ready: replicas{1: 4, 2: 1}, failing: failures{2: refusedPods()}, state: rolloutState(1, 0, 2, new(20), split(2, 20, 1, 80)),
		},
		"rollback-waits-for-the-stable": {
			target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, state: rolloutState(1, 0, 2, new(0), split(2, 100)),
		},
		"rollback-cannot-get-the-stable": {
			target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, state: rolloutState(1, 0, 2, new(0), split(2, 100)),
		},
		"canary-fails-while-the-stable-comes-up": {
			target: 2, percent: new(10), ready: replicas{1: 0, 2: 0}, failing: failures{2: crash()}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90)),
		},
		"canary-and-stable-fail": {
			target: 2, percent: new(10), ready: replicas{1: 0, 2: 0}, failing: failures{1: refusedPods(), 2: crash()},
			state: rolloutState(1, 0, 2, new(10), split(2, 0, 1, 100)),
		},
		"stopped":                    {target: 2, stopped: true, inHistory: []rollout.Number{1, 2}, state: rolloutState(1, 0, 2, new(10), rollout.Split{})},
		"resumed-waits-for-replicas": {target: 1, minReplicas: 3, ready: replicas{1: 2}, state: rolloutState(1, 0, 1, nil, rollout.Split{})},
		"stable-fails": {
			target: 2, ready: replicas{2: 0}, failing: failures{2: crash()}, inHistory: []rollout.Number{1}, state: rolloutState(2, 1, 2, nil, split(2, 100)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := status.For(scenario.report())
			if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); ready.Status == metav1.ConditionTrue {
				t.Error("Ready is True")
			}
			compareWithGolden(t, "moments/"+name, got)
		})
	}
}

func served() scenario {
	return scenario{target: 1, ready: replicas{1: 1}, state: rolloutState(1, 0, 1, nil, split(1, 100))}
}

// unresolved is a served predictor whose new spec cannot be resolved.
func unresolved() scenario {
	scenario := served()
	scenario.target = 0
	return scenario
}

// TestProblems compares the status with a problem with testdata/problems.
func TestProblems(t *testing.T) {
	runtimeMissing := &status.Problem{
		Condition: v1beta1.ConditionPredictorReady, Reason: "NoSupportingRuntime",
		Message: `spec.predictor.model.modelFormat: no serving runtime serves format "iris"`, Failure: v1beta1.NoSupportingRuntime,
	}
	conflict := &status.Problem{
		Condition: v1beta1.ConditionPredictorReady, Reason: "OwnershipConflict", Message: `Service "sklearn-iris-predictor-00001" is controlled by Deployment web`,
	}
	routeConflict := &status.Problem{
		Condition: v1beta1.ConditionIngressReady, Reason: "OwnershipConflict", Message: `HTTPRoute "sklearn-iris" is controlled by App web`,
	}
	refusedByServer := &status.Problem{
		Condition: v1beta1.ConditionPredictorReady, Reason: "RefusedByAPIServer", Message: `applying Deployment "sklearn-iris-predictor-00002-deployment": a policy says no`,
	}
	nextRefused := served()
	nextRefused.target = 2
	served, unresolved := served(), unresolved()
	unresolvedNew := scenario{}
	for name, test := range map[string]struct {
		// scenario is nil if the service could not be observed.
		scenario *scenario
		problem  *status.Problem
		before   *v1beta1.InferenceServiceStatus
	}{
		"spec-cannot-be-resolved":           {scenario: &unresolved, problem: runtimeMissing},
		"first-spec-cannot-be-resolved":     {scenario: &unresolvedNew, problem: runtimeMissing},
		"next-revision-is-refused":          {scenario: &nextRefused, problem: refusedByServer},
		"route-is-somebody-elses":           {scenario: &served, problem: routeConflict},
		"unobserved-for-a-conflict":         {problem: conflict, before: new(status.For(served.report()))},
		"unobserved-for-a-conflict-at-once": {problem: conflict},
		"unobserved-for-a-route":            {problem: routeConflict, before: new(status.For(served.report()))},
	} {
		t.Run(name, func(t *testing.T) {
			report := status.Report{InferenceService: newInferenceService(), Mode: v1beta1.DeploymentModeStandard}
			if test.scenario != nil {
				report = test.scenario.report()
			}
			if test.before != nil {
				report.InferenceService.Status = *test.before
			}
			report.Problem = test.problem
			report.Outcome.Target = false
			got := status.For(report)
			for _, kind := range []string{test.problem.Condition, v1beta1.ConditionReady} {
				condition := apimeta.FindStatusCondition(got.Conditions, kind)
				if condition.Status != metav1.ConditionFalse || condition.Reason != test.problem.Reason || condition.Message != test.problem.Message {
					t.Errorf("%s is %s (%s): %s", kind, condition.Status, condition.Reason, condition.Message)
				}
			}
			if got.Phase != v1beta1.PhaseBlocked {
				t.Errorf("phase is %s", got.Phase)
			}
			compareWithGolden(t, "problems/"+name, got)
		})
	}
}

func TestServingRuntimeName(t *testing.T) {
	for kind, want := range map[predictor.RuntimeKind][2]string{
		predictor.ServingRuntimeKind:        {"mine", ""},
		predictor.ClusterServingRuntimeKind: {"", "mine"},
		"":                                  {"", ""},
	} {
		report := served().report()
		report.InferenceService.Status.ServingRuntimeName, report.InferenceService.Status.ClusterServingRuntimeName = "older", "older"
		report.Observed.History[1] = backend.HistoryEntry{Runtime: predictor.RuntimeRef{Kind: kind, Name: "mine"}}
		got := status.For(report)
		if got.ServingRuntimeName != want[0] || got.ClusterServingRuntimeName != want[1] {
			t.Errorf("for kind %q, the names are %q and %q", kind, got.ServingRuntimeName, got.ClusterServingRuntimeName)
		}
	}
}

func TestClusterLocalAddress(t *testing.T) {
	report := served().report()
	report.Observed.Addresses.Local = "http://sklearn-iris.kserve-test.svc.cluster.local"
	got := status.For(report)
	for what, address := range map[string]*v1beta1.Address{"service": got.Address, "predictor": got.Components["predictor"].Address} {
		if address == nil || address.URL != report.Observed.Addresses.Local {
			t.Errorf("the %s's address is %+v", what, address)
		}
	}
}
