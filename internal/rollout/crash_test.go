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

// Rule 7: an operator that dies between any two writes is followed by one that comes to the same end, by the same
// splits, and breaks no rule on the way.

// crashScenes are rollouts, each as the specs that a user asks for one after the other. Whatever is to be done for one
// is done before the next.
var crashScenarios = map[string][]func(*spec){
	"first deployment":     {},
	"canary":               {model(2, new(10)), percent(50)},
	"canary with tags":     {func(s *spec) { s.Tagged = true }, model(2, new(10)), percent(20)},
	"promotion":            {model(2, new(10)), percent(nil)},
	"rollback of a canary": {model(2, new(10)), percent(new(0))},
	"rollback of a promotion to one that was scaled away": {model(2, new(10)), percent(nil), percent(new(0))},
	"rollback that is taken back":                         {model(2, nil), percent(new(0)), percent(nil)},
	"supersession":                                        {model(2, new(10)), model(3, new(30))},
	"abort":                                               {model(2, nil), model(3, new(10)), model(2, new(10))},
	"failing canary":                                      {model(5, new(10)), model(3, new(10))},
	"stop and resume":                                     {model(2, new(10)), stop(true), stop(false)},
	"stop, edit and resume":                               {model(2, new(10)), stop(true), model(3, nil), stop(false)},
	"autoscaled promotion":                                {autoscaled, model(2, new(20)), percent(nil)},
	"long history": {
		func(*spec) {}, model(2, nil), model(3, nil), model(4, nil), model(6, nil),
	},
}

func model(n Number, percent *int) func(*spec) {
	return func(s *spec) { s.Inputs, s.Percent = hashOf(n), percent }
}

// percent asks for a percent: an int, a *int, or nil for none.
func percent(p any) func(*spec) {
	return func(s *spec) {
		switch p := p.(type) {
		case int:
			s.Percent = new(p)
		case *int:
			s.Percent = p
		default:
			s.Percent = nil
		}
	}
}

func stop(stopped bool) func(*spec) { return func(s *spec) { s.Stopped = stopped } }

func autoscaled(s *spec) { s.Replicas = Bounds{Min: 1, Max: 10} }

// playScene plays a scene with an operator of so many writes' life, followed by one that lives for ever: at once, or
// after the peers have moved on.
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
			t.Run(name+", replaced "+string(restart), func(t *testing.T) {
				t.Parallel()
				for writesLeft := range undisturbed.trace.count("operator") {
					testCrash(t, undisturbed, playScenario(scenario, writesLeft, restart), writesLeft)
				}
			})
		}
	}
}

// testCrash expects that a world is as if the operator had not died in it. Only how it got there may differ where its
// peers have moved while there was no operator.
func testCrash(t *testing.T, undisturbed, crashed *simulation, writesLeft int) {
	t.Helper()
	if violations := crashed.checker.violations; len(violations) > 0 {
		t.Fatalf("dying after %d writes breaks rules: %v\n%s", writesLeft, violations, crashed.trace)
	}
	if crashed.trace.count("operator crashes") != 1 {
		t.Fatalf("the operator did not die after %d writes:\n%s", writesLeft, crashed.trace)
	}
	if diff := cmp.Diff(undisturbed.String(), crashed.String()); diff != "" {
		t.Errorf("after %d writes it ends otherwise (-undisturbed +crashed):\n%s\n%s", writesLeft, diff, crashed.trace)
	}
	if crashed.restart != atOnce {
		return
	}
	if diff := cmp.Diff(undisturbed.trace.splits(), crashed.trace.splits()); diff != "" {
		t.Errorf("after %d writes it gets there by other splits (-undisturbed +crashed):\n%s\n%s", writesLeft, diff, crashed.trace)
	}
	if extra := difference(crashed.announcements(), undisturbed.announcements()); len(extra) > 0 {
		t.Errorf("after %d writes it announces twice: %v\n%s", writesLeft, extra, crashed.trace)
	}
}

// exceeding gives what is in a list more often than in another.
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

// count tells how many lines of a story begin with these words.
func (s *trace) count(words string) int {
	count := 0
	for _, line := range s.lines {
		if strings.HasPrefix(line.who+" "+line.what, words) {
			count++
		}
	}
	return count
}

// splits are the splits that the gateway served, one after the other.
func (s *trace) splits() []string {
	var served []string
	for _, line := range s.lines {
		served = append(served, line.served)
	}
	return slices.Compact(served)
}

// String tells all that is in a world, but for times, versions and ids, and what was known at those times.
func (sim *simulation) String() string {
	var text strings.Builder
	state := Record{}
	if sim.route != nil {
		state, _ = DecodeRecord(sim.route.state)
		state.ShiftedAt, state.Before, state.AskedAt, state.Routed = time.Time{}, Split{}, time.Time{}, nil
	}
	fmt.Fprintf(&text, "records %v\nrecord %s\nreported %+v\n", sim.history, state.Encode(), sim.reported)
	if sim.hosts != nil {
		fmt.Fprintf(&text, "hosts %+v\n", sim.hosts.desired)
	}
	for _, n := range numbers(sim.deployments) {
		d := sim.deployments[n]
		fmt.Fprintf(&text, "workload %d: %s, %d or more, %d ready of %d\n", n, d.hash, d.minReplicas, d.count(ready), d.replicas)
	}
	return text.String()
}
