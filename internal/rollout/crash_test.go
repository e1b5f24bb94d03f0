// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Rule 7: after a crash between any two writes, the next operator reaches the same state, by the
// same splits and without violating a rule.

// crashScenarios are rollouts, as sequences of edits of the spec. Each edit waits until the rollout
// has settled.
var crashScenarios = map[string][]func(*spec){
	"first deployment":     {},
	"canary":               {model(2, new(10)), percent(50)},
	"canary with tags":     {func(s *spec) { s.Tagged = true }, model(2, new(10)), percent(20)},
	"promotion":            {model(2, new(10)), percent(nil)},
	"rollback of a canary": {model(2, new(10)), percent(new(0))},
	"rollback to a revision that was scaled down": {model(2, new(10)), percent(nil), percent(new(0))},
	"rollback that is cancelled":                  {model(2, nil), percent(new(0)), percent(nil)},
	"supersession":                                {model(2, new(10)), model(3, new(30))},
	"abort":                                       {model(2, nil), model(3, new(10)), model(2, new(10))},
	"failing canary":                              {model(5, new(10)), model(3, new(10))},
	"stop and resume":                             {model(2, new(10)), stop(true), stop(false)},
	"stop, edit and resume":                       {model(2, new(10)), stop(true), model(3, nil), stop(false)},
	"autoscaled promotion":                        {autoscaled, model(2, new(20)), percent(nil)},
	"automatic promotion":                         {automatic, model(2, nil)},
	"automatic promotion and bake":                {automatic, func(s *spec) { s.Plan.Bake = time.Hour }, model(2, nil), model(1, nil)},
	"approval":                                    {automatic, gated, model(2, nil), approve(TrialID{2, 1}, 50)},
	"abort of a trial":                            {automatic, gated, model(2, nil), abort(TrialID{2, 1})},
	"retry":                                       {automatic, gated, model(2, nil), abort(TrialID{2, 1}), retry(TrialID{2, 2}), approve(TrialID{2, 2}, 50)},
	"percent after an abort":                      {automatic, gated, model(2, nil), abort(TrialID{2, 1}), percent(20), percent(nil)},
	"supersession of a trial":                     {automatic, gated, model(2, nil), model(3, nil), model(2, nil)},
	"long history": {
		func(*spec) {}, model(2, nil), model(3, nil), model(4, nil), model(6, nil),
	},
}

func model(n Number, percent *int) func(*spec) {
	return func(s *spec) { s.Hash, s.percent = hashOf(n), percent }
}

// percent sets the percent to an int, a *int, or nil for none.
func percent(p any) func(*spec) {
	return func(s *spec) {
		switch p := p.(type) {
		case int:
			s.percent = new(p)
		case *int:
			s.percent = p
		default:
			s.percent = nil
		}
	}
}

// automatic adds a policy that needs only time.
func automatic(s *spec) { s.Plan = new(timedPlan.with(func(*Plan) {})) }

// gated has 50 % wait for approval.
func gated(s *spec) { s.Plan.Steps[1].Approve = true }

func approve(trial TrialID, share int) func(*spec) {
	return func(s *spec) { s.Commands.Approve = Approval{trial, share} }
}

func abort(trial TrialID) func(*spec) { return func(s *spec) { s.Commands.Abort = trial } }

func retry(trial TrialID) func(*spec) { return func(s *spec) { s.Commands.Retry = trial } }

func stop(stopped bool) func(*spec) { return func(s *spec) { s.Stopped = stopped } }

func autoscaled(s *spec) { s.Replicas = Bounds{Min: 1, Max: 10} }

// playScenario plays a scenario with an operator that crashes after some writes. It restarts at
// once, or after the fake controllers have run.
func playScenario(scenario []func(*spec), writesLeft int, restart restartTime) *simulation {
	sim := newSimulation()
	sim.writesLeft, sim.restart, sim.load, sim.failingHash = writesLeft, restart, 4, hashOf(5)
	sim.policy.HistoryLimit = 3
	sim.trace = &trace{}
	sim.settle()
	for _, change := range scenario {
		sim.edit("edits the spec", change)
		sim.settle()
	}
	return sim
}

func TestCrashes(t *testing.T) {
	for name, scenario := range crashScenarios {
		undisturbed := playScenario(scenario, unlimited, atOnce)
		if violations := undisturbed.checker.violations; len(violations) > 0 {
			t.Fatalf("undisturbed: %v\n%s", violations, undisturbed.trace)
		}
		for _, restart := range []restartTime{atOnce, later} {
			t.Run(name+", restarted "+string(restart), func(t *testing.T) {
				t.Parallel()
				for writesLeft := range undisturbed.trace.count("operator") {
					testCrash(t, undisturbed, playScenario(scenario, writesLeft, restart), writesLeft)
				}
			})
		}
	}
}

// testCrash expects the same final state as without a crash. The way there may differ if the fake
// controllers have run while there was no operator.
func testCrash(t *testing.T, undisturbed, crashed *simulation, writesLeft int) {
	t.Helper()
	if violations := crashed.checker.violations; len(violations) > 0 {
		t.Fatalf("a crash after %d writes violates rules: %v\n%s", writesLeft, violations, crashed.trace)
	}
	if crashed.trace.count("operator crashes") != 1 {
		t.Fatalf("the operator did not crash after %d writes:\n%s", writesLeft, crashed.trace)
	}
	if diff := cmp.Diff(undisturbed.String(), crashed.String()); diff != "" {
		t.Errorf("after %d writes the final state differs (-undisturbed +crashed):\n%s\n%s", writesLeft, diff, crashed.trace)
	}
	if crashed.restart != atOnce {
		return
	}
	if diff := cmp.Diff(undisturbed.trace.splits(), crashed.trace.splits()); diff != "" {
		t.Errorf("after %d writes the splits differ (-undisturbed +crashed):\n%s\n%s", writesLeft, diff, crashed.trace)
	}
	if extra := difference(crashed.announcements(), undisturbed.announcements()); len(extra) > 0 {
		t.Errorf("after %d writes, announced twice: %v\n%s", writesLeft, extra, crashed.trace)
	}
}

// difference returns the items that list contains more often than other.
func difference(list, other []string) []string {
	var extra []string
	other = slices.Clone(other)
	for _, item := range list {
		if i := slices.Index(other, item); i >= 0 {
			other = slices.Delete(other, i, i+1)
		} else {
			extra = append(extra, item)
		}
	}
	return extra
}

// count returns the number of lines with this prefix.
func (s *trace) count(words string) int {
	count := 0
	for _, line := range s.lines {
		if strings.HasPrefix(line.who+" "+line.what, words) {
			count++
		}
	}
	return count
}

// splits returns the splits that the gateway served, in order.
func (s *trace) splits() []string {
	var served []string
	for _, line := range s.lines {
		served = append(served, line.served)
	}
	return slices.Compact(served)
}

// String describes the state of the simulation without times, resource versions and UIDs.
func (sim *simulation) String() string {
	var text strings.Builder
	state := State{}
	if sim.route != nil {
		state, _ = DecodeState(sim.route.state)
		state.ShiftedAt, state.ServedBefore, state.AskedAt, state.Routed = time.Time{}, Split{}, time.Time{}, nil
		if state.Trial != nil {
			state.Trial.Began = time.Time{}
		}
		for n, rejection := range state.Rejected {
			rejection.At = time.Time{}
			state.Rejected[n] = rejection
		}
	}
	fmt.Fprintf(&text, "history %v\nrollout state %s\nreported %+v\n", sim.history, state.Encode(), sim.reported)
	if sim.hosts != nil {
		fmt.Fprintf(&text, "hosts %+v\n", sim.hosts.desired)
	}
	for _, n := range numbers(sim.deployments) {
		d := sim.deployments[n]
		fmt.Fprintf(&text, "workload %d: %s, %d or more, %d ready of %d\n", n, d.hash, d.minReplicas, d.count(ready), d.replicas)
	}
	return text.String()
}
