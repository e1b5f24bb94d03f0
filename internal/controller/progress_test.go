// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/config"
)

// TestRequeueAtTheProgressDeadline checks that a loading revision counts as progress until its
// deadline.
func TestRequeueAtTheProgressDeadline(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.failing[2] = nil
	o.rollOut("v2", new(int64(10)))
	o.newEvents()
	detail := o.backend.details[2]
	detail.Stage, detail.LoadDeadline = "waiting for a node: Insufficient cpu", 10*time.Minute
	o.backend.details[2] = detail
	o.reconcile()
	latest := o.condition(v1beta1.ConditionLatestDeploymentReady)
	const want = "sklearn-iris-predictor-00002 is being brought up: waiting for a node: Insufficient cpu; it has to become ready within 10m0s of being scheduled"
	if latest.Status != metav1.ConditionUnknown || latest.Message != want {
		t.Errorf("LatestDeploymentReady is %s: %s", latest.Status, latest.Message)
	}
	if isvc := o.isvc(); isvc.Status.Phase != v1beta1.PhaseProgressing || isvc.Status.ModelStatus.TransitionStatus != v1beta1.InProgress {
		t.Errorf("phase is %s, transition status %s", isvc.Status.Phase, isvc.Status.ModelStatus.TransitionStatus)
	}
	if events := o.newEvents(); len(events) > 0 {
		t.Errorf("the events are %v", events)
	}

	from := o.clock.Now().Add(10 * time.Minute)
	detail.Pending = []backend.Pending{{From: from, Failure: backend.Failure{Reason: "ProgressDeadlineExceeded", Message: "no pod became ready within 10m0s"}}}
	o.backend.details[2] = detail
	if after := o.reconcile().RequeueAfter; after != 10*time.Minute+time.Millisecond {
		t.Errorf("RequeueAfter is %s", after)
	}
	o.clock.SetTime(from)
	o.reconcile()
	if latest := o.condition(v1beta1.ConditionLatestDeploymentReady); latest.Status != metav1.ConditionFalse || latest.Reason != "ProgressDeadlineExceeded" {
		t.Errorf("after the deadline LatestDeploymentReady is %s (%s)", latest.Status, latest.Reason)
	}
	if phase := o.isvc().Status.Phase; phase != v1beta1.PhaseBlocked {
		t.Errorf("after the deadline the phase is %s", phase)
	}
}

// TestStatusIsWrittenIfTheClockIsBehind covers a route that was written by a replica whose clock
// was an hour ahead.
func TestStatusIsWrittenIfTheClockIsBehind(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.unresponsive = true
	o.edit(withModel("v2", nil))
	for range 4 {
		o.reconcile()
		o.backend.catchUp()
	}
	o.clock.SetTime(o.clock.Now().Add(-time.Hour))
	if after := o.reconcile().RequeueAfter; after > time.Minute {
		t.Errorf("RequeueAfter is %s", after)
	}
	if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionUnknown || ready.Reason != "WaitingForGateway" {
		t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
	}
}

// TestModeSurvivesWipedStatus checks that neither a wiped status nor another default changes the
// mode.
func TestModeSurvivesWipedStatus(t *testing.T) {
	for _, current := range []v1beta1.DeploymentMode{v1beta1.DeploymentModeStandard, v1beta1.DeploymentModeKnative} {
		for _, byDefault := range []v1beta1.DeploymentMode{v1beta1.DeploymentModeStandard, v1beta1.DeploymentModeKnative} {
			t.Run(string(current)+", default "+string(byDefault), func(t *testing.T) {
				o := newOperator(t)
				o.reconciler.Config.DeploymentMode = config.DeploymentMode(byDefault)
				backends := map[v1beta1.DeploymentMode]*fakeBackend{
					v1beta1.DeploymentModeStandard: newFakeBackend(), v1beta1.DeploymentModeKnative: newFakeBackend(),
				}
				for mode, found := range backends {
					found.mode = current
					o.reconciler.Backends[mode] = found
				}
				o.reconcile()
				if got := o.isvc().Status.DeploymentMode; got != string(current) {
					t.Errorf("the mode is %s", got)
				}
				if decisions := backends[current].decisions; len(decisions) != 1 {
					t.Errorf("the backend of the mode was asked to apply %d decisions", len(decisions))
				}
			})
		}
	}
}

// TestAnotherWriterIsReported checks that there is one event and a condition, and that Ready stays
// True while the split is served.
func TestAnotherWriterIsReported(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.newEvents()
	retryAt := o.clock.Now().Add(time.Minute)
	o.backend.contests = []backend.Contest{{
		Kind: "Deployment", Name: "sklearn-iris-predictor-00001-deployment", Field: "spec.replicas", Writer: `the field manager "keda"`, RetryAt: retryAt,
	}}
	for range 3 {
		if after := o.reconcile().RequeueAfter; after != time.Minute+time.Millisecond {
			t.Errorf("RequeueAfter is %s", after)
		}
	}
	const want = `sklearn-iris-predictor-00001 is ready; spec.replicas of Deployment "sklearn-iris-predictor-00001-deployment" is changed each time by the field manager "keda"; the operator writes it again after growing pauses`
	if got := o.condition(v1beta1.ConditionPredictorReady); got.Status != metav1.ConditionTrue || got.Reason != "ChangedByAnotherWriter" || got.Message != want {
		t.Errorf("PredictorReady is %s (%s): %s", got.Status, got.Reason, got.Message)
	}
	if got := o.condition(v1beta1.ConditionReady); got.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %s", got.Status)
	}
	if events := o.newEvents(); len(events) != 1 || events[0] != "Warning ChangedByAnotherWriter "+want {
		t.Errorf("events are %v", events)
	}
}

func TestReconcilesAgainWhenTheObservationChanges(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.wakeAt = o.clock.Now().Add(42 * time.Second)
	if after := o.reconcile().RequeueAfter; after != 42*time.Second+time.Millisecond {
		t.Errorf("it reconciles again after %s", after)
	}
}
