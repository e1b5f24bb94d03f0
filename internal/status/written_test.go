// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// TestAPromotionThatWasNotWrittenIsNotReported: what the route remembers is what is so, and where there is none, what was
// reported before stays: the history would be lost with it.
func TestAPromotionThatWasNotWrittenIsNotReported(t *testing.T) {
	promoting := func() status.Report {
		ten := 10
		return scene{
			target: 2, ready: map[rollout.Number]int{1: 1, 2: 1}, record: remembered(1, 0, 2, &ten, split(2, 10, 1, 90)),
		}.report()
	}
	if report := promoting(); report.Decision.Record.Stable != 2 {
		t.Fatalf("the stable is to be %d", report.Decision.Record.Stable)
	}
	for name, test := range map[string]struct {
		change     func(*status.Report)
		wantStable string
	}{
		"it was written": {func(*status.Report) {}, "sklearn-iris-predictor-00002"},
		"it was not":     {func(r *status.Report) { r.Outcome.Route = false }, "sklearn-iris-predictor-00001"},
		"there is no route to write it on": {func(r *status.Report) {
			r.Outcome.Route = false
			r.Snapshot.Route = rollout.Route{Impossible: true}
			r.Snapshot.Reported.Stable = 1
		}, "sklearn-iris-predictor-00001"},
	} {
		t.Run(name, func(t *testing.T) {
			report := promoting()
			test.change(&report)
			got := status.For(report).Components[v1beta1.PredictorComponent].LatestRolledoutRevision
			if got != test.wantStable {
				t.Errorf("the stable is %q, want %q", got, test.wantStable)
			}
		})
	}
}

// TestATargetThatWasNotMadeIsNotReported, whoever is to blame.
func TestATargetThatWasNotMadeIsNotReported(t *testing.T) {
	s := served()
	s.target = 2
	report := s.report()
	if !report.Decision.Create {
		t.Fatal("there is nothing to make")
	}
	for made, want := range map[bool]string{true: "sklearn-iris-predictor-00002", false: ""} {
		report.Outcome = backend.Outcome{Target: made, Route: true}
		if got := status.For(report).Components[v1beta1.PredictorComponent].LatestCreatedRevision; got != want {
			t.Errorf("made: %t, and %q is reported", made, got)
		}
	}
}
