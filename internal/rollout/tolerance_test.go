// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const tolerance = time.Minute

// behind returns a settled canary whose Gateway was changed a while ago, with a superseded revision
// that still runs.
func behind() Snapshot {
	observed := newSnapshot(rolloutState(1, 0, 3, new(10), canarySplit(3, 10, 1)), 3, new(10), up(1), up(2), up(3))
	observed.Route.Accepted, observed.Route.BehindSince = false, testNow.Add(-20*time.Second)
	observed.Reported = Reported{Stable: 1, Target: 3, Split: canarySplit(3, 10, 1), Programmed: true}
	return observed
}

func policyWithTolerance() Policy {
	policy := testPolicy
	policy.GatewayTolerance = tolerance
	return policy
}

// TestGatewayTolerance: a settled split stays reported as programmed while a changed Gateway has yet
// to report.
func TestGatewayTolerance(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Snapshot)
		after  time.Duration
		want   bool
	}{
		"within the tolerance":       {change: func(*Snapshot) {}, want: true},
		"just within the tolerance":  {change: func(*Snapshot) {}, after: 40*time.Second - time.Millisecond, want: true},
		"after it":                   {change: func(*Snapshot) {}, after: 40 * time.Second},
		"no Gateway was changed":     {change: func(s *Snapshot) { s.Route.BehindSince = time.Time{} }},
		"not reported as programmed": {change: func(s *Snapshot) { s.Reported.Programmed = false }},
		"another split is reported":  {change: func(s *Snapshot) { s.Reported.Split = All(1) }},
		"another split is desired":   {change: func(s *Snapshot) { s.Desired.Intent = Intent{Share: 30} }},
		"tag hosts are desired":      {change: func(s *Snapshot) { s.Desired.Tagged = true }},
	} {
		t.Run(name, func(t *testing.T) {
			observed := behind()
			test.change(&observed)
			decision := Decide(observed, policyWithTolerance(), testNow.Add(test.after))
			if decision.Programmed != test.want {
				t.Errorf("programmed is %t", decision.Programmed)
			}
			if until := observed.Route.BehindSince.Add(tolerance); test.want && !decision.WakeAt.Equal(until) {
				t.Errorf("it wakes at %v, want %v", decision.WakeAt, until)
			}
			if decision.WithRouteChanged().Programmed {
				t.Error("it is programmed although the route was changed")
			}
		})
	}
}

// TestToleranceMovesNothing: the tolerance changes what is reported and when the next decision is
// due, and nothing else.
func TestToleranceMovesNothing(t *testing.T) {
	if plan := planOf(Decide(behind(), policyWithTolerance(), testNow), 2); plan.Action != AwaitRoute {
		t.Errorf("the superseded revision takes the step %s", plan.Action)
	}
	random, tolerated := rand.New(rand.NewPCG(20261123, 1)), 0
	for range 3_000 {
		observed := randomSnapshot(&choices{randomBytes(random, 120)})
		if observed.Route.State != nil && random.IntN(2) == 0 {
			observed.Reported.Split = observed.Route.State.Split
		}
		want := Decide(observed, policyWithTolerance(), testNow)
		observed.Route.BehindSince, observed.Reported.Programmed = testNow.Add(-time.Second), true
		got := Decide(observed, policyWithTolerance(), testNow)
		if got.Programmed && !want.Programmed {
			tolerated++
		}
		got.Programmed, got.WakeAt = want.Programmed, want.WakeAt
		if diff := cmp.Diff(want, got, splitsByShares); diff != "" {
			t.Fatalf("with the tolerance the decision differs (-want +got):\n%s", diff)
		}
	}
	if tolerated < 20 {
		t.Errorf("the tolerance applied only %d times", tolerated)
	}
}

// TestServedWithoutBackends: a route without backends serves nothing, unless its split was already
// reported as served.
func TestServedWithoutBackends(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Snapshot)
		want   Split
	}{
		"reported":               {func(*Snapshot) {}, canarySplit(3, 10, 1)},
		"without a target":       {func(s *Snapshot) { s.Reported.Target = 0 }, canarySplit(3, 10, 1)},
		"another one reported":   {func(s *Snapshot) { s.Reported.Split = All(1) }, Split{}},
		"nothing reported":       {func(s *Snapshot) { s.Reported = Reported{} }, Split{}},
		"the route has no state": {func(s *Snapshot) { s.Route.State = nil }, Split{}},
	} {
		t.Run(name, func(t *testing.T) {
			observed := behind()
			observed.Route.NoBackends = true
			test.change(&observed)
			if got := Decide(observed, testPolicy, testNow).Served; !got.Equal(test.want) {
				t.Errorf("served is %s, want %s", got, test.want)
			}
		})
	}
}
