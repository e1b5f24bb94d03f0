// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func newMetrics(t *testing.T, counts func() map[v1beta1.Phase]int) (*Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := New(registry, Options{Rollouts: counts, Waiting: noTrials, FailureReasons: []string{"ImagePullFailed", "Crashed"}})
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

func noRollouts() map[v1beta1.Phase]int { return nil }

func noTrials() map[v1beta1.TrialWait]int { return nil }

func expect(t *testing.T, registry *prometheus.Registry, name, want string) {
	t.Helper()
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

func TestRolloutsAreCountedOnScrape(t *testing.T) {
	counts := map[v1beta1.Phase]int{v1beta1.PhaseCanary: 2, "Imaginary": 5}
	_, registry := newMetrics(t, func() map[v1beta1.Phase]int { return counts })
	expect(t, registry, "serinus_rollouts", `
# HELP serinus_rollouts InferenceServices, by the phase of their rollout.
# TYPE serinus_rollouts gauge
serinus_rollouts{phase="AwaitingApproval"} 0
serinus_rollouts{phase="Baking"} 0
serinus_rollouts{phase="Blocked"} 0
serinus_rollouts{phase="Canary"} 2
serinus_rollouts{phase="Pending"} 0
serinus_rollouts{phase="Preview"} 0
serinus_rollouts{phase="Progressing"} 0
serinus_rollouts{phase="Rejected"} 0
serinus_rollouts{phase="RolledBack"} 0
serinus_rollouts{phase="Stable"} 0
serinus_rollouts{phase="Stopped"} 0
`)

	counts = map[v1beta1.Phase]int{v1beta1.PhaseStable: 2, v1beta1.PhaseStopped: 1}
	expect(t, registry, "serinus_rollouts", `
# HELP serinus_rollouts InferenceServices, by the phase of their rollout.
# TYPE serinus_rollouts gauge
serinus_rollouts{phase="AwaitingApproval"} 0
serinus_rollouts{phase="Baking"} 0
serinus_rollouts{phase="Blocked"} 0
serinus_rollouts{phase="Canary"} 0
serinus_rollouts{phase="Pending"} 0
serinus_rollouts{phase="Preview"} 0
serinus_rollouts{phase="Progressing"} 0
serinus_rollouts{phase="Rejected"} 0
serinus_rollouts{phase="RolledBack"} 0
serinus_rollouts{phase="Stable"} 2
serinus_rollouts{phase="Stopped"} 1
`)
}

func TestWaitingTrialsAreCountedOnScrape(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	waiting := func() map[v1beta1.TrialWait]int { return map[v1beta1.TrialWait]int{"Approval": 3, "": 7} }
	if _, err := New(registry, Options{Rollouts: noRollouts, Waiting: waiting}); err != nil {
		t.Fatal(err)
	}
	expect(t, registry, "serinus_rollout_waiting", `
# HELP serinus_rollout_waiting Trials by a CanaryPolicy, by what they wait for.
# TYPE serinus_rollout_waiting gauge
serinus_rollout_waiting{for="Approval"} 3
serinus_rollout_waiting{for="Bake"} 0
serinus_rollout_waiting{for="Capacity"} 0
serinus_rollout_waiting{for="Decision"} 0
serinus_rollout_waiting{for="Hold"} 0
serinus_rollout_waiting{for="Metrics"} 0
serinus_rollout_waiting{for="Policy"} 0
serinus_rollout_waiting{for="Proof"} 0
serinus_rollout_waiting{for="Queue"} 0
serinus_rollout_waiting{for="Resume"} 0
serinus_rollout_waiting{for="Series"} 0
serinus_rollout_waiting{for="Stable"} 0
serinus_rollout_waiting{for="Traffic"} 0
`)
}

func TestTrialsStartAtZero(t *testing.T) {
	m, registry := newMetrics(t, noRollouts)
	m.TrialEnded(TrialPromoted)
	m.TrialEnded(TrialHarmful)
	m.TrialEnded(TrialHarmful)
	expect(t, registry, "serinus_rollout_trials_total", `
# HELP serinus_rollout_trials_total Trials by a CanaryPolicy that have ended, by outcome. A bake is a part of its trial.
# TYPE serinus_rollout_trials_total counter
serinus_rollout_trials_total{outcome="Aborted"} 0
serinus_rollout_trials_total{outcome="DeadlineExceeded"} 0
serinus_rollout_trials_total{outcome="Harm"} 2
serinus_rollout_trials_total{outcome="Left"} 0
serinus_rollout_trials_total{outcome="Promoted"} 1
`)
}

func TestTrafficShiftsStartAtZero(t *testing.T) {
	m, registry := newMetrics(t, noRollouts)
	m.TrafficShifted(Up, Promotion)
	m.TrafficShifted(Up, Promotion)
	m.TrafficShifted(Down, Readiness)
	expect(t, registry, "serinus_traffic_shifts_total", `
# HELP serinus_traffic_shifts_total Traffic shifts, by direction (up: the target gets more traffic, down: less) and reason.
# TYPE serinus_traffic_shifts_total counter
serinus_traffic_shifts_total{direction="down",reason="Canary"} 0
serinus_traffic_shifts_total{direction="down",reason="Promotion"} 0
serinus_traffic_shifts_total{direction="down",reason="Readiness"} 1
serinus_traffic_shifts_total{direction="down",reason="Rollback"} 0
serinus_traffic_shifts_total{direction="down",reason="Superseded"} 0
serinus_traffic_shifts_total{direction="up",reason="Canary"} 0
serinus_traffic_shifts_total{direction="up",reason="Promotion"} 2
serinus_traffic_shifts_total{direction="up",reason="Readiness"} 0
serinus_traffic_shifts_total{direction="up",reason="Rollback"} 0
serinus_traffic_shifts_total{direction="up",reason="Superseded"} 0
`)
}

func TestFailureReasonsAreBounded(t *testing.T) {
	m, registry := newMetrics(t, noRollouts)
	m.RevisionFailed("Crashed")
	m.RevisionFailed("sklearn-iris-predictor-00002")
	m.RevisionFailed("")
	expect(t, registry, "serinus_revision_failures_total", `
# HELP serinus_revision_failures_total Failures of revisions that are the target or serve traffic, by reason. Each counts once until the revision can serve again.
# TYPE serinus_revision_failures_total counter
serinus_revision_failures_total{reason="Crashed"} 1
serinus_revision_failures_total{reason="ImagePullFailed"} 0
serinus_revision_failures_total{reason="Other"} 2
`)
}

func TestSpecToTraffic(t *testing.T) {
	m, registry := newMetrics(t, noRollouts)
	m.FirstTraffic(1500 * time.Millisecond)
	m.FirstTraffic(4 * time.Minute)
	m.FirstTraffic(2 * time.Hour)
	expect(t, registry, "serinus_spec_to_traffic_seconds", `
# HELP serinus_spec_to_traffic_seconds Time from the creation of a revision's ControllerRevision to the update of the route that first gives it traffic. Revisions that start at 0 percent, or return, are not measured.
# TYPE serinus_spec_to_traffic_seconds histogram
serinus_spec_to_traffic_seconds_bucket{le="1"} 0
serinus_spec_to_traffic_seconds_bucket{le="2"} 1
serinus_spec_to_traffic_seconds_bucket{le="5"} 1
serinus_spec_to_traffic_seconds_bucket{le="10"} 1
serinus_spec_to_traffic_seconds_bucket{le="20"} 1
serinus_spec_to_traffic_seconds_bucket{le="30"} 1
serinus_spec_to_traffic_seconds_bucket{le="60"} 1
serinus_spec_to_traffic_seconds_bucket{le="120"} 1
serinus_spec_to_traffic_seconds_bucket{le="300"} 2
serinus_spec_to_traffic_seconds_bucket{le="600"} 2
serinus_spec_to_traffic_seconds_bucket{le="1200"} 2
serinus_spec_to_traffic_seconds_bucket{le="1800"} 2
serinus_spec_to_traffic_seconds_bucket{le="3600"} 2
serinus_spec_to_traffic_seconds_bucket{le="+Inf"} 3
serinus_spec_to_traffic_seconds_sum 7441.5
serinus_spec_to_traffic_seconds_count 3
`)
}

func TestMetricNames(t *testing.T) {
	_, registry := newMetrics(t, noRollouts)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestSecondRegistrationFails(t *testing.T) {
	_, registry := newMetrics(t, noRollouts)
	if _, err := New(registry, Options{Rollouts: noRollouts, Waiting: noTrials}); err == nil {
		t.Error("the same metrics were registered twice")
	}
}
