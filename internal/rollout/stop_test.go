// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// TestStop: stopping in any state removes all traffic and pods and keeps the history. Resuming
// brings the rollout to the state that the spec asks for then.
func TestStop(t *testing.T) {
	nothing := func(*spec) {}
	tests := map[string]struct {
		begin    []func(*spec)
		meantime func(*spec)
		want     string
		stable   Number
		previous Number
	}{
		"a stable":                              {nil, nothing, "1:100", 1, 0},
		"a promoted revision":                   {[]func(*spec){model(2, nil)}, nothing, "2:100", 2, 1},
		"a canary":                              {[]func(*spec){model(2, new(10))}, nothing, "2:10 1:90", 1, 0},
		"a canary that is rolled back":          {[]func(*spec){model(2, new(10)), percent(0)}, nothing, "2:0 1:100", 1, 0},
		"a promotion that is undone":            {[]func(*spec){model(2, nil), percent(30)}, nothing, "2:30 1:70", 1, 0},
		"a failing canary":                      {[]func(*spec){model(5, new(10))}, nothing, "1:100", 1, 0},
		"a canary, promoted meanwhile":          {[]func(*spec){model(2, new(10))}, percent(nil), "2:100", 2, 1},
		"a promoted revision, undone meanwhile": {[]func(*spec){model(2, nil)}, percent(10), "2:10 1:90", 1, 0},
		"a canary, superseded meanwhile":        {[]func(*spec){model(2, new(10))}, model(3, new(20)), "3:20 1:80", 1, 0},
		"a canary, aborted meanwhile":           {[]func(*spec){model(2, new(10))}, model(1, new(10)), "1:100", 1, 0},
		"a canary, and an invalid spec":         {[]func(*spec){model(2, new(10))}, func(s *spec) { s.invalid = true }, "2:10 1:90", 1, 0},
		"with tags":                             {[]func(*spec){model(2, new(10))}, func(s *spec) { s.Tagged = true }, "2:10 1:90", 1, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sim := newSimulation()
			sim.failingHash, sim.trace = hashOf(5), &trace{}
			sim.settle()
			for _, change := range test.begin {
				sim.edit("edits the spec", change)
				sim.settle()
			}
			before, err := DecodeState(sim.route.state)
			if err != nil {
				t.Fatal(err)
			}

			sim.edit("stops", stop(true))
			sim.settle()
			sim.expect(t, "none", before.Stable, before.Previous)
			if len(sim.deployments) > 0 || !sim.gateway.main.serves.IsEmpty() {
				t.Fatalf("the service is not stopped:\n%s", sim.trace)
			}

			sim.edit("edits the spec meanwhile", test.meantime)
			sim.reconcile()
			sim.edit("resumes", stop(false))
			sim.runToRest()
			sim.expect(t, test.want, test.stable, test.previous)
		})
	}
}

// TestResumeStableFirst: a canary waits for the stable. A promotion does not.
func TestResumeStableFirst(t *testing.T) {
	stopped := func(percent *int) *State { return rolloutState(1, 0, 2, percent, Split{}) }
	tests := map[string]struct {
		percent   *int
		revisions []Revision
		want      Split
	}{
		"none is ready":                  {new(10), []Revision{down(1), down(2)}, Split{}},
		"the canary is ready":            {new(10), []Revision{down(1), up(2)}, Split{}},
		"the stable is ready":            {new(10), []Revision{up(1), down(2)}, All(1)},
		"both are ready":                 {new(10), []Revision{up(1), up(2)}, canarySplit(2, 10, 1)},
		"the target is ready, promotion": {nil, []Revision{down(1), up(2)}, All(2)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			decision := Decide(newSnapshot(stopped(test.percent), 2, test.percent, test.revisions...), testPolicy, testNow)
			if got := decision.State.Split; !got.Equal(test.want) {
				t.Errorf("split is %s, want %s", got, test.want)
			}
		})
	}
}

func TestStopBeforeTheFirstIsReady(t *testing.T) {
	observed := newSnapshot(nil, 1, nil, down(1))
	observed.Desired.Stopped = true
	decision := Decide(observed, testPolicy, testNow)
	if decision.State != nil || decision.Phase != Stopping {
		t.Errorf("phase is %s, with rollout state %+v, while a pod runs", decision.Phase, decision.State)
	}
	if plan := planOf(decision, 1); plan.Action != ScaleDown {
		t.Errorf("plan is %+v", plan)
	}

	observed.Revisions = nil
	if decision := Decide(observed, testPolicy, testNow); !decision.Create || decision.Target != 1 || len(decision.Workloads) > 0 {
		t.Errorf("a new service that is stopped: target %d, created %t, workloads %v", decision.Target, decision.Create, decision.Workloads)
	}
}
