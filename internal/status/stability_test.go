// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// failingScene is a canary that fails with the last of the given failures; the status is that after all of them.
func reportFailures(failed ...backend.Failure) (before, after v1beta1.InferenceServiceStatus) {
	for _, failure := range failed {
		scene := scene{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, failing: failures{2: failure}, record: remembered(1, 0, 2, new(10), split(1, 100))}
		report := scene.report()
		report.InferenceService.Status = after
		before, after = after, status.For(report)
	}
	return before, after
}

// TestASecondLookSaysTheSame: what is computed again from its own result does not change, not even in its order.
func TestASecondLookSaysTheSame(t *testing.T) {
	report := scene{target: 2, percent: new(10), tagged: true, ready: replicas{1: 1, 2: 1}, record: remembered(1, 0, 2, new(10), split(2, 10, 1, 90))}.report()
	first := status.For(report)
	report.InferenceService.Status = *first.DeepCopy()
	second := status.For(report)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}
	if !equality.Semantic.DeepEqual(first, second) {
		t.Error("it would be written again")
	}

	slices.Reverse(report.InferenceService.Status.Conditions)
	third := status.For(report)
	if diff := cmp.Diff(first, third); diff != "" {
		t.Errorf("the order depends on what was there (-first +third):\n%s", diff)
	}
}

// TestNothingOfTheInputIsChanged: the status that is there belongs to the cache.
func TestNothingOfTheInputIsChanged(t *testing.T) {
	report := served().report()
	report.InferenceService.Status = status.For(report)
	before := report.InferenceService.DeepCopy()
	report.InferenceService.Generation++
	before.Generation++
	report.Problem = &status.Problem{Condition: v1beta1.ConditionPredictorReady, Reason: "X", Message: "x", Failure: v1beta1.InvalidPredictorSpec}
	status.For(report)
	if diff := cmp.Diff(before, report.InferenceService); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

// TestACrashLoopIsReportedOnce: each crash has its own time, pod and last line, and the status keeps those of the first.
func TestACrashLoopIsReportedOnce(t *testing.T) {
	again := crash()
	again.Time, again.Pod, again.Detail = now.Add(time.Hour), "another-pod", "no such model: attempt 2"
	before, after := reportFailures(crash(), again)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the second crash is another status (-first +second):\n%s", diff)
	}
	if got := after.ModelStatus.LastFailureInfo; got.Message != `container "kserve-container" ends with exit code 1: no such model` || !got.Time.Equal(new(metav1.NewTime(now.Add(-time.Minute)))) {
		t.Errorf("failure is %+v", got)
	}
}

// TestAnotherFailureIsReported: another cause, or the same one of another revision, takes the place of the first.
func TestAnotherFailureIsReported(t *testing.T) {
	outOfMemory := crash()
	outOfMemory.Reason, outOfMemory.Message, outOfMemory.ExitCode = "OutOfMemory", "needs more memory", 137
	_, after := reportFailures(crash(), outOfMemory)
	if got := after.ModelStatus.LastFailureInfo; got.Message != "needs more memory: no such model" || got.ExitCode != 137 {
		t.Errorf("of another cause it says %+v", got)
	}

	_, first := reportFailures(crash())
	next := scene{target: 3, percent: new(10), ready: replicas{1: 1, 3: 0}, failing: failures{3: crash()}, record: remembered(1, 0, 3, new(10), split(1, 100))}
	report := next.report()
	report.InferenceService.Status = first
	if got := status.For(report).ModelStatus.LastFailureInfo; got.ModelRevisionName != "sklearn-iris-predictor-00003" {
		t.Errorf("of another revision it says %+v", got)
	}
}

func TestAFailureIsClearedOnceItIsOver(t *testing.T) {
	_, failed := reportFailures(crash())
	for name, scene := range map[string]scene{
		"it serves":        {target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, record: remembered(1, 0, 2, new(10), split(2, 10, 1, 90))},
		"it is superseded": {target: 3, percent: new(10), ready: replicas{1: 1, 3: 0}, record: remembered(1, 0, 3, new(10), split(1, 100))},
		"it is withdrawn":  served(),
	} {
		t.Run(name, func(t *testing.T) {
			report := scene.report()
			report.InferenceService.Status = failed
			got := status.For(report)
			if got.ModelStatus.LastFailureInfo != nil {
				t.Errorf("failure is %+v", got.ModelStatus.LastFailureInfo)
			}
		})
	}
}

// TestFailuresThatAreNotOfAPod have no place, and are the runtime's.
func TestFailuresThatAreNotOfAPod(t *testing.T) {
	_, after := reportFailures(refusedPods())
	if got := after.ModelStatus.LastFailureInfo; got.Reason != v1beta1.RuntimeUnhealthy || got.Location != "" {
		t.Errorf("failure is %+v", got)
	}
}

// TestConditionsOfOthersGo: an object that KServe ran has conditions of KServe's. They would stay for ever as they are,
// and the API server refuses those that have no reason.
func TestConditionsOfOthersGo(t *testing.T) {
	report := served().report()
	since := metav1.NewTime(now.Add(-time.Hour))
	report.InferenceService.Status.Conditions = []metav1.Condition{
		{Type: "PredictorConfigurationReady", Status: metav1.ConditionTrue, LastTransitionTime: since},
		{Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: since},
		{Type: v1beta1.ConditionRoutesReady, Status: metav1.ConditionFalse, LastTransitionTime: since},
	}
	got := status.For(report)
	types := map[string]bool{}
	for _, condition := range got.Conditions {
		types[condition.Type] = true
		if condition.Reason == "" {
			t.Errorf("%s has no reason", condition.Type)
		}
	}
	want := []string{
		v1beta1.ConditionIngressReady, v1beta1.ConditionLatestDeploymentReady, v1beta1.ConditionPredictorReady,
		v1beta1.ConditionReady, v1beta1.ConditionRoutesReady, v1beta1.ConditionStopped,
	}
	if types := slices.Sorted(maps.Keys(types)); !slices.Equal(types, want) {
		t.Errorf("conditions are %v, want %v", types, want)
	}
	if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); !ready.LastTransitionTime.Equal(&since) {
		t.Errorf("Ready, which was True before, is so since %v", ready.LastTransitionTime)
	}
	if routes := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionRoutesReady); routes.LastTransitionTime.Equal(&since) {
		t.Error("RoutesReady, which was not True before, is so since then")
	}
}

// TestWithoutAnObservationNothingIsMadeUp: what is reported of revisions and traffic stays, and no condition claims what
// nobody has seen.
func TestWithoutAnObservationNothingIsMadeUp(t *testing.T) {
	stopped := scene{target: 1, stopped: true, recorded: []rollout.Number{1}, record: remembered(1, 0, 1, nil, rollout.Split{})}
	for name, scene := range map[string]scene{"it served": served(), "it was stopped": stopped} {
		t.Run(name, func(t *testing.T) {
			before := status.For(scene.report())
			report := status.Report{InferenceService: newInferenceService(), Mode: v1beta1.DeploymentModeStandard}
			report.InferenceService.Status = before
			report.Problem = &status.Problem{Condition: v1beta1.ConditionIngressReady, Reason: "OwnershipConflict", Message: "somebody else's"}
			got := status.For(report)
			if diff := cmp.Diff(before.Components, got.Components); diff != "" {
				t.Errorf("revisions and traffic (-before +after):\n%s", diff)
			}
			if got.URL != before.URL {
				t.Errorf("URL was %q and is %q", before.URL, got.URL)
			}
			for _, condition := range got.Conditions {
				claims := condition.Status != metav1.ConditionUnknown
				if claims && condition.Type != v1beta1.ConditionIngressReady && condition.Type != v1beta1.ConditionReady {
					t.Errorf("%s claims to be %s: %s", condition.Type, condition.Status, condition.Message)
				}
			}
		})
	}
}
