// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"strconv"
	"testing"
	"time"

	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// user applies specs to a cluster and runs the reconciliations.
type user struct{ *cluster }

func newUser(t *testing.T) user {
	t.Helper()
	return user{newCluster(t)}
}

// promote stands for an absent percent.
const promote = -1

func (u user) apply(model string, percent int64, changes ...testkit.Edit) {
	u.T.Helper()
	testkit.EditObject(u.Objects, isvcName, &v1beta1.InferenceService{}, func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor = v1beta1.PredictorSpec{}
		testkit.Image("registry.example.com/" + model)(isvc)
		if percent != promote {
			isvc.Spec.Predictor.CanaryTrafficPercent = &percent
		}
		for _, change := range changes {
			change(isvc)
		}
		isvc.Generation++
	})
}

func (u user) reconcile() (backendtest.Moment, rollout.Decision, error) {
	u.T.Helper()
	observed, decision, _, err := u.carryOut()
	return observed, decision, err
}

func (u user) carryOut() (backendtest.Moment, rollout.Decision, backend.Outcome, error) {
	u.T.Helper()
	isvc := u.isvc()
	resolved, err := predictor.Resolve(isvc, predictor.Runtimes{}, predictor.Settings{Mode: v1beta1.DeploymentModeKnative})
	u.Must(err)
	session, err := u.backend.Observe(u.T.Context(), isvc)
	u.Must(err)
	current := backend.HistoryEntry{Identity: resolved.Identity, Runtime: resolved.Runtime}
	known := session.Observation()
	if known.Current != 0 {
		known = known.WithCurrent(current)
	}
	observed := backendtest.At(session, isvc, v1beta1.DeploymentModeKnative, intent.FindTarget(isvc, known, resolved))
	policy := rollout.Policy{DrainPeriod: 30 * time.Second, CapacityHold: 5 * time.Minute, HistoryLimit: 10}
	decision := rollout.Decide(observed.Snapshot, policy, u.now)
	change := observed.Change(decision)
	change.Amended, u.amended = u.amended, nil
	if known.Current != 0 {
		change.Current = &backend.CurrentRevision{Hash: resolved.Hash, HistoryEntry: current}
	}
	if decision.Create {
		runs, err := resolved.Render(predictor.Credentials{})
		u.Must(err)
		change.Revision = &backend.RenderedRevision{Hash: resolved.Hash, Runs: runs}
	}
	outcome := session.Apply(u.T.Context(), change)
	return observed, decision, outcome, outcome.Err()
}

func (u user) observe() backendtest.Moment {
	u.T.Helper()
	isvc := u.isvc()
	session, err := u.backend.Observe(u.T.Context(), isvc)
	u.Must(err)
	return backendtest.At(session, isvc, v1beta1.DeploymentModeKnative, intent.Target{})
}

// settle reconciles, and lets Knative catch up, until nothing is left to do. It returns the
// backend's writes.
func (u user) settle() []write {
	u.T.Helper()
	before := len(u.server.Writes)
	backendtest.Settle(u.T, &u.now, func() int { return len(u.server.Writes) }, u.step, func() (time.Time, error) {
		observed, decision, err := u.reconcile()
		if !backend.IsStale(err) {
			u.Must(err)
		}
		wakeAt := decision.WakeAt
		if at := observed.WakeAt; wakeAt.IsZero() || !at.IsZero() && at.Before(wakeAt) {
			wakeAt = at
		}
		return wakeAt, err
	})
	return u.server.Writes[before:]
}

func (u user) rollOut(model string, percent int64, changes ...testkit.Edit) []write {
	u.T.Helper()
	u.apply(model, percent, changes...)
	return u.settle()
}

// wantTraffic checks that the Knative Service has this traffic, such as «2:10 1:90», and that
// Knative serves it.
func (u user) wantTraffic(want string) {
	u.T.Helper()
	u.wantSpecTraffic(want)
	if !isServed(u.service()) {
		u.T.Error("Knative does not serve it")
	}
}

func (u user) wantSpecTraffic(want string) {
	u.T.Helper()
	got := ""
	for _, target := range u.service().Spec.Traffic {
		if got != "" {
			got += " "
		}
		got += target.RevisionName[len(target.RevisionName)-1:] + ":" + strconv.FormatInt(*target.Percent, 10)
	}
	if got != want {
		u.T.Errorf("the traffic is %s, want %s", got, want)
	}
}

func (u user) revision(n rollout.Number) *servingv1.Revision {
	u.T.Helper()
	revision := &servingv1.Revision{}
	u.Get(backend.RevisionName(isvcName, n), revision)
	return revision
}

func (u user) replicas(n rollout.Number) int {
	u.T.Helper()
	count := 0
	for _, pod := range u.Pods() {
		if pod.Labels[serving.RevisionLabelKey] == backend.RevisionName(isvcName, n) {
			count++
		}
	}
	return count
}

func atLeast(replicas int32) func(*v1beta1.InferenceService) {
	return func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MinReplicas = &replicas }
}
