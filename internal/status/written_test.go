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

// TestUnwrittenPromotionIsNotReported: the rollout state on the route counts. Without a route, the
// reported revisions stay, because the history would be lost otherwise.
func TestUnwrittenPromotionIsNotReported(t *testing.T) {
	promoting := func() status.Report {
		ten := 10
		return scenario{
			target: 2, ready: map[rollout.Number]int{1: 1, 2: 1}, state: rolloutState(1, 0, 2, &ten, split(2, 10, 1, 90)),
		}.report()
	}
	if report := promoting(); report.Decision.State.Stable != 2 {
		t.Fatalf("the desired stable is %d", report.Decision.State.Stable)
	}
	for name, test := range map[string]struct {
		change     func(*status.Report)
		wantStable string
	}{
		"written":     {func(*status.Report) {}, "sklearn-iris-predictor-00002"},
		"not written": {func(r *status.Report) { r.Outcome.Route = false }, "sklearn-iris-predictor-00001"},
		"no route": {func(r *status.Report) {
			r.Outcome.Route = false
			r.Snapshot.Route = rollout.Route{NoRouteAPI: true}
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

func TestUncreatedTargetIsNotReported(t *testing.T) {
	s := served()
	s.target = 2
	report := s.report()
	if !report.Decision.Create {
		t.Fatal("the decision creates no revision")
	}
	for created, want := range map[bool]string{true: "sklearn-iris-predictor-00002", false: ""} {
		report.Outcome = backend.Outcome{Target: created, Route: true}
		if got := status.For(report).Components[v1beta1.PredictorComponent].LatestCreatedRevision; got != want {
			t.Errorf("created: %t, and %q is reported", created, got)
		}
	}
}
