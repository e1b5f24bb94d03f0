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

// reportFailures returns the statuses before and after the last of the given failures of a canary.
func reportFailures(failed ...backend.Failure) (before, after v1beta1.InferenceServiceStatus) {
	for _, failure := range failed {
		scenario := scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, failing: failures{2: failure}, state: rolloutState(1, 0, 2, new(10), split(1, 100))}
		report := scenario.report()
		report.InferenceService.Status = after
		before, after = after, status.For(report)
	}
	return before, after
}

// TestStatusIsIdempotent: a status that is computed again from its own result does not change.
func TestStatusIsIdempotent(t *testing.T) {
	report := scenario{target: 2, percent: new(10), tagged: true, ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))}.report()
	first := status.For(report)
	report.InferenceService.Status = *first.DeepCopy()
	second := status.For(report)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}
	if !equality.Semantic.DeepEqual(first, second) {
		t.Error("the status would be written again")
	}

	slices.Reverse(report.InferenceService.Status.Conditions)
	third := status.For(report)
	if diff := cmp.Diff(first, third); diff != "" {
		t.Errorf("the order depends on the reported conditions (-first +third):\n%s", diff)
	}
}

// TestInputIsNotModified: the reported status belongs to the cache.
func TestInputIsNotModified(t *testing.T) {
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

// TestCrashLoopIsReportedOnce: the status keeps the time, pod and last log line of the first crash.
func TestCrashLoopIsReportedOnce(t *testing.T) {
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

// TestAnotherFailureIsReported: another cause, or another revision, replaces the first failure.
func TestAnotherFailureIsReported(t *testing.T) {
	outOfMemory := crash()
	outOfMemory.Reason, outOfMemory.Message, outOfMemory.ExitCode = "OutOfMemory", "needs more memory", 137
	_, after := reportFailures(crash(), outOfMemory)
	if got := after.ModelStatus.LastFailureInfo; got.Message != "needs more memory: no such model" || got.ExitCode != 137 {
		t.Errorf("for another cause, the failure is %+v", got)
	}

	_, first := reportFailures(crash())
	next := scenario{target: 3, percent: new(10), ready: replicas{1: 1, 3: 0}, failing: failures{3: crash()}, state: rolloutState(1, 0, 3, new(10), split(1, 100))}
	report := next.report()
	report.InferenceService.Status = first
	if got := status.For(report).ModelStatus.LastFailureInfo; got.ModelRevisionName != "sklearn-iris-predictor-00003" {
		t.Errorf("for another revision, the failure is %+v", got)
	}
}

// crashingStable is a stable that crashes next to a canary that serves.
func crashingStable(failure *backend.Failure, percent int) scenario {
	s := scenario{
		target: 2, percent: new(percent), ready: replicas{1: 0, 2: 1}, failing: failures{},
		state: rolloutState(1, 0, 2, new(percent), split(2, percent, 1, 100-percent)),
	}
	if failure != nil {
		s.failing[1] = *failure
	}
	return s
}

// A crash loop of the stable is reported although the target is loaded.
func TestCrashLoopOfServingRevisionIsReportedOnce(t *testing.T) {
	for _, percent := range []int{0, 10} {
		report := crashingStable(new(crash()), percent).report()
		first := status.For(report)
		model := first.ModelStatus
		if info := model.LastFailureInfo; info == nil || info.ModelRevisionName != "sklearn-iris-predictor-00001" || !strings.HasSuffix(info.Message, ": no such model") {
			t.Fatalf("failure is %+v", info)
		}
		if model.TransitionStatus != v1beta1.UpToDate || model.ModelRevisionStates.TargetModelState != v1beta1.Loaded || model.ModelCopies.FailedCopies != 0 {
			t.Errorf("for the target, the model status is %+v", model)
		}
		if active := model.ModelRevisionStates.ActiveModelState; active != v1beta1.FailedToLoad {
			t.Errorf("the active model state is %s", active)
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

// TestFailureStaysUntilRevisionIsReady: a revision that starts again may fail again.
func TestFailureStaysUntilRevisionIsReady(t *testing.T) {
	canary := func(ready int) scenario {
		return scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: ready}, state: rolloutState(1, 0, 2, new(10), split(1, 100))}
	}
	_, failed := reportFailures(crash())
	for name, test := range map[string]struct {
		failed                v1beta1.InferenceServiceStatus
		starting, ready, gone scenario
		transition            v1beta1.TransitionStatus
	}{
		"the target":             {failed, canary(0), canary(1), served(), v1beta1.InProgress},
		"a revision that serves": {status.For(crashingStable(new(crash()), 10).report()), crashingStable(nil, 10), canary(1), served(), v1beta1.UpToDate},
	} {
		t.Run(name, func(t *testing.T) {
			compute := func(scenario scenario) v1beta1.ModelStatus {
				report := scenario.report()
				report.InferenceService.Status = test.failed
				return *status.For(report).ModelStatus
			}
			starting := compute(test.starting)
			if diff := cmp.Diff(test.failed.ModelStatus.LastFailureInfo, starting.LastFailureInfo); diff != "" {
				t.Errorf("while it starts (-before +after):\n%s", diff)
			}
			if starting.TransitionStatus != test.transition {
				t.Errorf("while it starts, the transition is %s", starting.TransitionStatus)
			}
			for _, over := range []scenario{test.ready, test.gone} {
				if got := compute(over).LastFailureInfo; got != nil {
					t.Errorf("afterwards, failure is %+v", got)
				}
			}
		})
	}
}

func TestFailing(t *testing.T) {
	_, failed := reportFailures(crash())
	starting := scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, state: rolloutState(1, 0, 2, new(10), split(1, 100))}.report()
	starting.InferenceService.Status = failed
	ofEarlierVersion := *failed.DeepCopy()
	ofEarlierVersion.Rollout = nil
	problem := served().report()
	problem.Problem = &status.Problem{Condition: v1beta1.ConditionPredictorReady, Reason: "OwnershipConflict", Message: `Service "sklearn-iris-predictor-00001" is controlled by Deployment web`}
	stopped := scenario{target: 2, stopped: true, inHistory: []rollout.Number{1, 2}, state: rolloutState(1, 0, 2, new(10), rollout.Split{})}
	lost := scenario{target: 2, percent: new(10), ready: replicas{2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))}
	both := crashingStable(new(crash()), 0)
	both.ready[2], both.failing[2] = 0, refusedPods()
	overdue := scenario{target: 2, minReplicas: 2, ready: replicas{1: 2, 2: 1}, state: rolloutState(1, 0, 2, nil, split(1, 100))}.report()
	overdue.Decision.Waiting.Overdue = true
	pending := scenario{target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, state: rolloutState(1, 0, 2, new(0), split(2, 100))}
	for name, test := range map[string]struct {
		reported v1beta1.InferenceServiceStatus
		want     map[rollout.Number]string
	}{
		"empty status":                           {v1beta1.InferenceServiceStatus{}, map[rollout.Number]string{}},
		"no failure":                             {status.For(served().report()), map[rollout.Number]string{}},
		"the target":                             {failed, map[rollout.Number]string{2: "ContainerCrashed"}},
		"the target, earlier":                    {status.For(starting), map[rollout.Number]string{2: ""}},
		"status of an earlier version":           {ofEarlierVersion, map[rollout.Number]string{2: "ModelLoadFailed"}},
		"replicas that are overdue":              {status.For(overdue), map[rollout.Number]string{2: "ReplicasOverdue"}},
		"a revision that serves":                 {status.For(crashingStable(new(crash()), 10).report()), map[rollout.Number]string{1: "ContainerCrashed"}},
		"a revision that serves, and the target": {status.For(both.report()), map[rollout.Number]string{1: "ContainerCrashed", 2: "PodsRefused"}},
		"the stable of a rollback":               {status.For(pending.report()), map[rollout.Number]string{1: "ContainerCrashed"}},
		"a lost revision":                        {status.For(lost.report()), map[rollout.Number]string{1: "RevisionLost"}},
		"a revision that starts":                 {status.For(crashingStable(nil, 10).report()), map[rollout.Number]string{}},
		"a problem without a revision":           {status.For(problem), map[rollout.Number]string{}},
		"stopped":                                {status.For(stopped.report()), map[rollout.Number]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[rollout.Number]string{}
			for n, failure := range status.Failing("sklearn-iris", test.reported) {
				got[n] = failure.Reason
				if failure.Retrying {
					got[n] = ""
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFailureIsCleared(t *testing.T) {
	_, failed := reportFailures(crash())
	for name, scenario := range map[string]scenario{
		"ready":      {target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
		"superseded": {target: 3, percent: new(10), ready: replicas{1: 1, 3: 0}, state: rolloutState(1, 0, 3, new(10), split(1, 100))},
		"aborted":    served(),
	} {
		t.Run(name, func(t *testing.T) {
			report := scenario.report()
			report.InferenceService.Status = failed
			got := status.For(report)
			if got.ModelStatus.LastFailureInfo != nil {
				t.Errorf("failure is %+v", got.ModelStatus.LastFailureInfo)
			}
		})
	}
}

// A failure without a pod has no location and is reported for the runtime.
func TestFailureWithoutPod(t *testing.T) {
	_, after := reportFailures(refusedPods())
	if got := after.ModelStatus.LastFailureInfo; got.Reason != v1beta1.RuntimeUnhealthy || got.Location != "" {
		t.Errorf("failure is %+v", got)
	}
}

// TestForeignConditionsAreRemoved: KServe's conditions on an adopted object would never change
// again, and the API server refuses those without a reason.
func TestForeignConditionsAreRemoved(t *testing.T) {
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
		t.Errorf("Ready was True before, and its transition time is %v", ready.LastTransitionTime)
	}
	if routes := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionRoutesReady); routes.LastTransitionTime.Equal(&since) {
		t.Error("RoutesReady was False before, and its transition time has not changed")
	}
}

// TestReportedStatusStaysWithoutObservation: reported revisions and traffic stay, and conditions
// that depend on an observation are Unknown.
func TestReportedStatusStaysWithoutObservation(t *testing.T) {
	stopped := scenario{target: 1, stopped: true, inHistory: []rollout.Number{1}, state: rolloutState(1, 0, 1, nil, rollout.Split{})}
	for name, scenario := range map[string]scenario{"served": served(), "stopped": stopped} {
		t.Run(name, func(t *testing.T) {
			before := status.For(scenario.report())
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
					t.Errorf("%s is %s: %s", condition.Type, condition.Status, condition.Message)
				}
			}
		})
	}
}

// TestRolloutFailures compares the failures that the status reports after the failures of a canary
// and of the stable were reported.
func TestRolloutFailures(t *testing.T) {
	both := func(ready1, ready2 int, failing failures) scenario {
		return scenario{target: 2, percent: new(10), ready: replicas{1: ready1, 2: ready2}, failing: failing, state: rolloutState(1, 0, 2, new(10), split(2, 0, 1, 100))}
	}
	of := func(n rollout.Number, failure backend.Failure) v1beta1.RevisionFailure {
		return v1beta1.RevisionFailure{Revision: backend.RevisionName("sklearn-iris", n), Reason: failure.Reason, Message: failure.Message}
	}
	retrying := func(failure v1beta1.RevisionFailure) v1beta1.RevisionFailure {
		failure.Retrying = true
		return failure
	}
	lost := scenario{target: 2, percent: new(10), ready: replicas{2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))}
	replaced := scenario{target: 2, ready: replicas{1: 1, 2: 0}, failing: failures{2: crash()}, state: rolloutState(1, 0, 2, nil, split(1, 100))}.report()
	replaced.Decision.State.Replacement = rollout.ReplacementFailed
	for name, test := range map[string]struct {
		report status.Report
		want   []v1beta1.RevisionFailure
	}{
		"both fail":                  {both(0, 0, failures{1: refusedPods(), 2: crash()}).report(), []v1beta1.RevisionFailure{of(1, refusedPods()), of(2, crash())}},
		"both start again":           {both(0, 0, nil).report(), []v1beta1.RevisionFailure{retrying(of(1, refusedPods())), retrying(of(2, crash()))}},
		"the stable is ready":        {both(1, 0, nil).report(), []v1beta1.RevisionFailure{retrying(of(2, crash()))}},
		"the canary fails otherwise": {both(1, 0, failures{2: refusedPods()}).report(), []v1beta1.RevisionFailure{of(2, refusedPods())}},
		"the canary is abandoned":    {served().report(), nil},
		"stopped":                    {scenario{target: 2, stopped: true, inHistory: []rollout.Number{1, 2}, state: rolloutState(1, 0, 2, new(10), split())}.report(), nil},
		"the stable is lost":         {lost.report(), []v1beta1.RevisionFailure{{Revision: "sklearn-iris-predictor-00001", Reason: "RevisionLost", Message: "its ControllerRevision and its workload were deleted"}}},
		"the replacement has failed": {replaced, []v1beta1.RevisionFailure{{Revision: "sklearn-iris-predictor-00002", Reason: "ReplacementFailed", Message: "did not become ready in the place of sklearn-iris-predictor-00001, and is not tried again until the spec changes"}}},
	} {
		t.Run(name, func(t *testing.T) {
			report := test.report
			report.InferenceService.Status = status.For(both(0, 0, failures{1: refusedPods(), 2: crash()}).report())
			if diff := cmp.Diff(test.want, status.For(report).Rollout.Failures); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestDescribeFailure: a failure is described as in the conditions, with the last output of the
// container.
func TestDescribeFailure(t *testing.T) {
	const crashes = `container "kserve-container" ends with exit code 1`
	overdue := scenario{target: 2, minReplicas: 2, ready: replicas{1: 2, 2: 1}, state: rolloutState(1, 0, 2, nil, split(1, 100))}.report()
	overdue.Decision.Waiting.Overdue = true
	waiting := scenario{target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, state: rolloutState(1, 0, 2, new(0), split(2, 100))}
	canary := scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, failing: failures{2: crash()}, state: rolloutState(1, 0, 2, new(10), split(1, 100))}
	for name, test := range map[string]struct {
		report   status.Report
		revision rollout.Number
		want     string
	}{
		"the target":             {canary.report(), 2, "sklearn-iris-predictor-00002: " + crashes + ": no such model"},
		"a revision that serves": {crashingStable(new(crash()), 10).report(), 1, "sklearn-iris-predictor-00001, which has 90 % of the traffic, has no ready replica: " + crashes + ": no such model"},
		"a share that waits":     {waiting.report(), 1, "sklearn-iris-predictor-00001 cannot get 100 % of the traffic: " + crashes + ": no such model; until then 100 % on sklearn-iris-predictor-00002"},
		"overdue replicas":       {overdue, 2, "sklearn-iris-predictor-00002 needs 2 ready replicas, which did not become ready within the progress deadline"},
	} {
		if got := status.DescribeFailure(test.report, test.revision); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
