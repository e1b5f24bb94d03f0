// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"maps"
	"slices"
	"strings"
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

// crashingStable is one that has most of the traffic and crashes, beside a canary that serves.
func crashingStable(failure *backend.Failure, percent int) scene {
	s := scene{
		target: 2, percent: new(percent), ready: replicas{1: 0, 2: 1}, failing: failures{},
		record: remembered(1, 0, 2, new(percent), split(2, percent, 1, 100-percent)),
	}
	if failure != nil {
		s.failing[1] = *failure
	}
	return s
}

// TestTheCrashLoopOfAServingRevisionIsReportedOnce, with its last line, though the model that is asked for is loaded.
func TestTheCrashLoopOfAServingRevisionIsReportedOnce(t *testing.T) {
	for _, percent := range []int{0, 10} {
		report := crashingStable(new(crash()), percent).report()
		first := status.For(report)
		model := first.ModelStatus
		if info := model.LastFailureInfo; info == nil || info.ModelRevisionName != "sklearn-iris-predictor-00001" || !strings.HasSuffix(info.Message, ": no such model") {
			t.Fatalf("failure is %+v", info)
		}
		if model.TransitionStatus != v1beta1.UpToDate || model.ModelRevisionStates.TargetModelState != v1beta1.Loaded || model.ModelCopies.FailedCopies != 0 {
			t.Errorf("of the target it says %+v", model)
		}
		if active := model.ModelRevisionStates.ActiveModelState; active != v1beta1.FailedToLoad {
			t.Errorf("what is served is %s", active)
		}
		again := crash()
		again.Time, again.Pod, again.Detail = now.Add(time.Hour), "another-pod", "no such model: attempt 2"
		report = crashingStable(&again, percent).report()
		report.InferenceService.Status = first
		if diff := cmp.Diff(first, status.For(report)); diff != "" {
			t.Errorf("the second crash is another status (-first +second):\n%s", diff)
		}
	}
}

// TestAFailureIsKeptUntilTheRevisionIsReady: what has been pulled at last has yet to load, and may fail again.
func TestAFailureIsKeptUntilTheRevisionIsReady(t *testing.T) {
	canary := func(ready int) scene {
		return scene{target: 2, percent: new(10), ready: replicas{1: 1, 2: ready}, record: remembered(1, 0, 2, new(10), split(1, 100))}
	}
	_, failed := reportFailures(crash())
	for name, test := range map[string]struct {
		failed               v1beta1.InferenceServiceStatus
		comesUp, ready, gone scene
		transition           v1beta1.TransitionStatus
	}{
		"the target":      {failed, canary(0), canary(1), served(), v1beta1.InProgress},
		"one that serves": {status.For(crashingStable(new(crash()), 10).report()), crashingStable(nil, 10), canary(1), served(), v1beta1.UpToDate},
	} {
		t.Run(name, func(t *testing.T) {
			look := func(scene scene) v1beta1.ModelStatus {
				report := scene.report()
				report.InferenceService.Status = test.failed
				return *status.For(report).ModelStatus
			}
			comesUp := look(test.comesUp)
			if diff := cmp.Diff(test.failed.ModelStatus.LastFailureInfo, comesUp.LastFailureInfo); diff != "" {
				t.Errorf("while it comes up (-before +after):\n%s", diff)
			}
			if comesUp.TransitionStatus != test.transition {
				t.Errorf("while it comes up, the transition is %s", comesUp.TransitionStatus)
			}
			for _, over := range []scene{test.ready, test.gone} {
				if got := look(over).LastFailureInfo; got != nil {
					t.Errorf("once it is over, failure is %+v", got)
				}
			}
		})
	}
}

// TestWhoFailsIsReadFromAStatus: this is how it is known what has been announced.
func TestWhoFailsIsReadFromAStatus(t *testing.T) {
	_, failed := reportFailures(crash())
	remembers := *failed.DeepCopy()
	remembers.Conditions = nil
	problem := served().report()
	problem.Problem = &status.Problem{Condition: v1beta1.ConditionPredictorReady, Reason: "OwnershipConflict", Message: `Service "sklearn-iris-predictor-00001" is controlled by Deployment web`}
	stopped := scene{target: 2, stopped: true, recorded: []rollout.Number{1, 2}, record: remembered(1, 0, 2, new(10), rollout.Split{})}
	lost := scene{target: 2, percent: new(10), ready: replicas{2: 1}, record: remembered(1, 0, 2, new(10), split(2, 10, 1, 90))}
	both := crashingStable(new(crash()), 0)
	both.ready[2], both.failing[2] = 0, refusedPods()
	awaited := scene{target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, record: remembered(1, 0, 2, new(0), split(2, 100))}
	for name, test := range map[string]struct {
		said v1beta1.InferenceServiceStatus
		want map[rollout.Number]string
	}{
		"nothing is said yet":                {v1beta1.InferenceServiceStatus{}, map[rollout.Number]string{}},
		"all is well":                        {status.For(served().report()), map[rollout.Number]string{}},
		"the target":                         {failed, map[rollout.Number]string{2: "ContainerCrashed"}},
		"the target did":                     {remembers, map[rollout.Number]string{2: ""}},
		"one that serves":                    {status.For(crashingStable(new(crash()), 10).report()), map[rollout.Number]string{1: "ContainerCrashed"}},
		"one that serves, and the target":    {status.For(both.report()), map[rollout.Number]string{1: "ContainerCrashed", 2: "PodsRefused"}},
		"one that is to be gone back to":     {status.For(awaited.report()), map[rollout.Number]string{1: "ContainerCrashed"}},
		"one that is lost":                   {status.For(lost.report()), map[rollout.Number]string{1: "RevisionLost"}},
		"one that comes up":                  {status.For(crashingStable(nil, 10).report()), map[rollout.Number]string{}},
		"a problem that is not a revision's": {status.For(problem), map[rollout.Number]string{}},
		"what is stopped":                    {status.For(stopped.report()), map[rollout.Number]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[rollout.Number]string{}
			for n, condition := range status.Failing("sklearn-iris", test.said) {
				got[n] = ""
				if condition != nil {
					got[n] = condition.Reason
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
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
