// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"fmt"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

type (
	replicas = map[rollout.Number]int
	failures = map[rollout.Number]backend.Failure
)

// TestRows compares the settled status of each row of the table of states with testdata/rows.
func TestRows(t *testing.T) {
	const blank = "– / – / – / –"
	for name, test := range map[string]struct {
		scenario scenario
		// columns are PREV / LATEST / PREVROLLEDOUTREVISION / LATESTREADYREVISION.
		columns string
		ready   metav1.ConditionStatus
	}{
		"01-first-not-ready":         {scenario{target: 1, ready: replicas{1: 0}}, blank, "Unknown"},
		"01-first-not-ready-percent": {scenario{target: 1, percent: new(10), ready: replicas{1: 0}}, blank, "Unknown"},
		"02-first": {
			scenario{target: 1, ready: replicas{1: 1}, state: rolloutState(1, 0, 1, nil, split(1, 100))},
			"– / 100 / – / 1", "True",
		},
		"02-first-percent": {
			scenario{target: 1, percent: new(10), ready: replicas{1: 1}, state: rolloutState(1, 0, 1, new(10), split(1, 100))},
			"– / 100 / – / 1", "True",
		},
		"03-next-not-ready": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, state: rolloutState(1, 0, 2, new(10), split(1, 100))},
			"– / 100 / – / 1", "Unknown",
		},
		"04-canary": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
			"90 / 10 / 1 / 2", "True",
		},
		"05-half": {
			scenario{target: 2, percent: new(50), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(50), split(2, 50, 1, 50))},
			"50 / 50 / 1 / 2", "True",
		},
		"06-promoted": {
			scenario{target: 2, ready: replicas{2: 1}, inHistory: []rollout.Number{1}, state: rolloutState(2, 1, 2, nil, split(2, 100))},
			"– / 100 / – / 2", "True",
		},
		"07-promoted-by-100": {
			scenario{target: 2, percent: new(100), ready: replicas{2: 1}, inHistory: []rollout.Number{1}, state: rolloutState(2, 1, 2, new(100), split(2, 100))},
			"– / 100 / – / 2", "True",
		},
		"08-canary-rolled-back": {
			scenario{target: 2, percent: new(0), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(0), split(2, 0, 1, 100))},
			"100 / 0 / 1 / 2", "True",
		},
		"09-promotion-rolled-back": {
			scenario{target: 2, percent: new(0), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(0), split(2, 0, 1, 100))},
			"100 / 0 / 1 / 2", "True",
		},
		"10-promotion-becomes-canary": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
			"90 / 10 / 1 / 2", "True",
		},
		"11-nothing-to-roll-back-to": {
			scenario{target: 2, percent: new(10), ready: replicas{2: 1}, state: nothingToUndo(rolloutState(2, 0, 2, new(10), split(2, 100)))},
			"– / 100 / – / 2", "False",
		},
		"12-superseded": {
			scenario{target: 3, percent: new(10), ready: replicas{1: 1, 3: 0}, inHistory: []rollout.Number{2}, state: rolloutState(1, 0, 3, new(10), split(1, 100))},
			"– / 100 / – / 1", "Unknown",
		},
		"13-canary-of-a-canary": {
			scenario{target: 3, percent: new(30), ready: replicas{1: 1, 3: 1}, inHistory: []rollout.Number{2}, state: rolloutState(1, 0, 3, new(30), split(3, 30, 1, 70))},
			"70 / 30 / 1 / 3", "True",
		},
		"14-after-a-rollback-not-ready": {
			scenario{target: 3, percent: new(20), ready: replicas{1: 1, 3: 0}, inHistory: []rollout.Number{2}, state: rolloutState(1, 0, 3, new(20), split(1, 100))},
			"– / 100 / – / 1", "Unknown",
		},
		"14-after-a-rollback": {
			scenario{target: 3, percent: new(20), ready: replicas{1: 1, 3: 1}, inHistory: []rollout.Number{2}, state: rolloutState(1, 0, 3, new(20), split(3, 20, 1, 80))},
			"80 / 20 / 1 / 3", "True",
		},
		"15-reverted": {
			scenario{target: 1, ready: replicas{1: 1}, inHistory: []rollout.Number{2}, state: rolloutState(1, 0, 1, nil, split(1, 100))},
			"– / 100 / – / 1", "True",
		},
		"16-aborted": {
			scenario{target: 2, percent: new(10), ready: replicas{2: 1}, inHistory: []rollout.Number{1, 3}, state: rolloutState(2, 1, 2, new(10), split(2, 100))},
			"– / 100 / – / 2", "True",
		},
		"17-failing-canary": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, failing: failures{2: crash()}, state: rolloutState(1, 0, 2, new(10), split(1, 100))},
			"– / 100 / – / 1", "False",
		},
		"17-failing-promotion": {
			scenario{target: 2, ready: replicas{1: 1, 2: 0}, failing: failures{2: refusedPods()}, state: rolloutState(1, 0, 2, nil, split(1, 100))},
			"– / 100 / – / 1", "False",
		},
		"18-canary-lost-its-replicas": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, state: rolloutState(1, 0, 2, new(10), split(2, 0, 1, 100))},
			"100 / 0 / 1 / 2", "Unknown",
		},
		"18-canary-crashes": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 1, 2: 0}, failing: failures{2: crash()}, state: rolloutState(1, 0, 2, new(10), split(2, 0, 1, 100))},
			"100 / 0 / 1 / 2", "False",
		},
		"19-stable-not-ready": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 0, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
			"90 / 10 / 1 / 2", "Unknown",
		},
		"19-stable-crashes": {
			scenario{target: 2, percent: new(10), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
			"90 / 10 / 1 / 2", "False",
		},
		"19-stable-crashes-after-a-rollback": {
			scenario{target: 2, percent: new(0), ready: replicas{1: 0, 2: 1}, failing: failures{1: crash()}, state: rolloutState(1, 0, 2, new(0), split(2, 0, 1, 100))},
			"100 / 0 / 1 / 2", "False",
		},
		"20-tagged": {
			scenario{target: 2, percent: new(10), tagged: true, ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, new(10), split(2, 10, 1, 90))},
			"90 / 10 / 1 / 2", "True",
		},
		"20-tagged-alone": {
			scenario{target: 2, tagged: true, ready: replicas{2: 1}, inHistory: []rollout.Number{1}, state: rolloutState(2, 1, 2, nil, split(2, 100))},
			"– / 100 / – / 2", "True",
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := test.scenario.report()
			if d := report.Decision; len(d.Transitions) > 0 || d.State != nil && !d.Programmed {
				t.Fatalf("the row has not settled: %+v", d)
			}
			got := status.For(report)
			if columns := columnsOf(got); columns != test.columns {
				t.Errorf("columns are %s, want %s", columns, test.columns)
			}
			if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); ready.Status != test.ready {
				t.Errorf("Ready is %s, want %s", ready.Status, test.ready)
			}
			compareWithGolden(t, "rows/"+name, got)
		})
	}
}

func nothingToUndo(state *rollout.State) *rollout.State {
	state.NothingToUndo = true
	return state
}

func refusedPods() backend.Failure {
	return backend.Failure{Reason: "PodsRefused", Message: "the cluster refuses the pods: exceeded quota: small", Time: now}
}

// columnsOf returns the columns that kubectl prints, with numbers for revisions.
func columnsOf(s v1beta1.InferenceServiceStatus) string {
	prev, latest, prevRolledOut, latestReady := "–", "–", "–", "–"
	number := func(name string) string { return fmt.Sprint(backend.RevisionNumber("sklearn-iris", name)) }
	for _, target := range s.Components[v1beta1.PredictorComponent].Traffic {
		if target.Tag == "prev" {
			prev, prevRolledOut = fmt.Sprint(*target.Percent), number(target.RevisionName)
		}
		if *target.LatestRevision {
			latest, latestReady = fmt.Sprint(*target.Percent), number(target.RevisionName)
		}
	}
	return fmt.Sprintf("%s / %s / %s / %s", prev, latest, prevRolledOut, latestReady)
}
