// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// drawScenario draws a settled rollout with a few changes since.
func drawScenario(t *rapid.T) scenario {
	s := rapid.SampledFrom([]func() scenario{
		served,
		func() scenario {
			return scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))}
		},
		func() scenario {
			return scenario{target: 2, ready: replicas{2: 3}, minReplicas: 3, inHistory: []rollout.Number{1}, state: rolloutState(2, 1, 2, nil, split(2, 100))}
		},
		func() scenario {
			return scenario{target: 3, percent: new(0), ready: replicas{1: 2, 3: 1}, maxReplicas: 4, state: rolloutState(1, 0, 3, new(0), split(3, 0, 1, 100))}
		},
	}).Draw(t, "settled")()
	s.failing = failures{}
	anyOf := func(label string) rollout.Number { return rollout.Number(rapid.IntRange(1, 3).Draw(t, label)) }
	for _, change := range []func(){
		func() { s.target = anyOf("target") - 1 },
		func() {
			s.percent = rapid.SampledFrom([]*int{nil, new(0), new(10), new(50), new(100)}).Draw(t, "percent")
		},
		func() { s.ready[anyOf("unready")] = 0 },
		func() { s.ready[anyOf("ready")] = rapid.IntRange(1, 3).Draw(t, "replicas") },
		func() { s.failing[anyOf("failing")] = crash() },
		func() { s.minReplicas = 3 },
		func() { s.tagged, s.stopped = rapid.Bool().Draw(t, "tagged"), rapid.Bool().Draw(t, "stopped") },
		func() { s.pending = true },
		func() { s.refused = &backend.RouteStatus{Exists: true, Refused: true, Reason: "No", Message: "no"} },
		func() { s.state = nil },
	} {
		if rapid.IntRange(0, 5).Draw(t, "happens") == 0 {
			change()
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "reconciliations") {
		s.state = s.report().Decision.State
	}
	return s
}

// TestReadyOnlyForRealizedSpec checks rule 9: Ready is True only for the InferenceService's own
// generation, and only if nothing is left to do.
func TestReadyOnlyForRealizedSpec(t *testing.T) {
	timesReady := 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			if isReady(t, anyReport(t)) {
				timesReady++
			}
		}
	})
	if timesReady < 10 {
		t.Errorf("Ready was True only %d times", timesReady)
	}
}

// Alerts use the phase, so it must agree with Ready.
func TestAPhaseIsBlockedWhileReadyIsFalse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		report := anyReport(t)
		got := status.For(report)
		stopped := (report.Decision.Phase == rollout.Stopped || report.Decision.Phase == rollout.Stopping) && report.Problem == nil
		failed := apimeta.IsStatusConditionFalse(got.Conditions, v1beta1.ConditionReady)
		if blocked := got.Phase == v1beta1.PhaseBlocked; blocked != (failed && !stopped) {
			t.Errorf("phase is %s, and Ready is %+v", got.Phase, apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady))
		}
	})
}

func anyReport(t *rapid.T) status.Report {
	scenario := drawScenario(t)
	report := scenario.report()
	// A spec that cannot be resolved always comes with a problem.
	if scenario.target == 0 || rapid.IntRange(0, 5).Draw(t, "problem") == 0 {
		report.Problem = &status.Problem{
			Condition: rapid.SampledFrom([]string{v1beta1.ConditionPredictorReady, v1beta1.ConditionIngressReady}).Draw(t, "condition"),
			Reason:    "Problem", Message: "a problem",
			Failure: rapid.SampledFrom([]v1beta1.FailureReason{"", v1beta1.InvalidPredictorSpec}).Draw(t, "failure"),
		}
		if rapid.IntRange(0, 5).Draw(t, "unobserved") == 0 {
			report.Observed, report.Decision = nil, rollout.Decision{}
		}
	}
	return report
}

// isReady reports whether Ready is True, and fails the test if it must not be.
func isReady(t *rapid.T, report status.Report) bool {
	got := status.For(report)
	if got.ObservedGeneration != report.InferenceService.Generation {
		t.Errorf("observed generation is %d", got.ObservedGeneration)
	}
	for _, condition := range got.Conditions {
		if condition.Reason == "" || condition.ObservedGeneration != report.InferenceService.Generation {
			t.Errorf("condition %+v", condition)
		}
	}
	if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
		return false
	}
	d := report.Decision
	switch {
	case report.Problem != nil:
		t.Error("there is a problem")
	case report.Snapshot.Desired.Hash == "":
		t.Error("the spec is not resolved")
	case d.Phase == rollout.Stopped:
		t.Error("it is stopped")
	case d.Create || len(d.Transitions) > 0:
		t.Errorf("there are transitions: %+v", d.Transitions)
	case d.Waiting != nil || d.State == nil || d.State.NothingToUndo:
		t.Error("the desired split cannot be written")
	case !d.Programmed || !d.Served.Equal(d.State.Split):
		t.Errorf("%v is served, want %v", d.Served, d.State.Split)
	}
	for _, share := range append(d.Served.Shares(), rollout.Share{Revision: d.Target, Percent: 1}) {
		if share.Percent > 0 && readyReplicas(report.Observed, share.Revision) == 0 {
			t.Errorf("revision %d cannot serve", share.Revision)
		}
	}
	return true
}

func readyReplicas(observed *backend.Observation, n rollout.Number) int {
	for _, revision := range observed.Revisions {
		if revision.Number == n && revision.Workloads[rollout.Predictor] != nil {
			return revision.Workloads[rollout.Predictor].Ready
		}
	}
	return 0
}

// TestFieldNames pins the JSON field names that KServe's clients and the printer columns use.
func TestFieldNames(t *testing.T) {
	report := scenario{
		target: 2, percent: new(10), tagged: true, ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90)),
	}.report()
	_, failed := reportFailures(crash())
	for name, test := range map[string]struct {
		status v1beta1.InferenceServiceStatus
		path   []string
		want   string
	}{
		"traffic": {
			status.For(report),
			[]string{"components", "predictor", "traffic"},
			`[{"latestRevision":true,"percent":10,"revisionName":"sklearn-iris-predictor-00002","tag":"latest","url":"http://latest-sklearn-iris-predictor.kserve-test.example.com"},` +
				`{"latestRevision":false,"percent":90,"revisionName":"sklearn-iris-predictor-00001","tag":"prev","url":"http://prev-sklearn-iris-predictor.kserve-test.example.com"}]`,
		},
		"model": {
			failed,
			[]string{"modelStatus"},
			`{"copies":{"failedCopies":1,"totalCopies":1},` +
				`"lastFailureInfo":{"exitCode":1,"location":"sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z","message":"container \"kserve-container\" ends with exit code 1: no such model","modelRevisionName":"sklearn-iris-predictor-00002","reason":"ModelLoadFailed","time":"2026-11-23T07:59:00Z"},` +
				`"states":{"activeModelState":"Loaded","targetModelState":"FailedToLoad"},"transitionStatus":"BlockedByFailedLoad"}`,
		},
		"generation": {failed, []string{"observedGeneration"}, "7"},
		"url":        {failed, []string{"url"}, `"http://sklearn-iris.kserve-test.example.com"`},
		"mode":       {failed, []string{"deploymentMode"}, `"Standard"`},
		"created":    {failed, []string{"components", "predictor", "latestCreatedRevision"}, `"sklearn-iris-predictor-00002"`},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(test.status)
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := json.Unmarshal(text, &value); err != nil {
				t.Fatal(err)
			}
			for _, key := range test.path {
				fields, _ := value.(map[string]any)
				value = fields[key]
			}
			got, err := json.Marshal(value) // With sorted keys.
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
