// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// losses are ways to lose the rollout state or the status of a rollout at rest.
var losses = map[string]func(*simulation){
	"the state is damaged":                          func(sim *simulation) { sim.overwriteState("garbage") },
	"the route is deleted":                          func(sim *simulation) { sim.deleteRoute() },
	"the status is wiped":                           func(sim *simulation) { sim.wipeStatus() },
	"the state is damaged, and the status is wiped": func(sim *simulation) { sim.overwriteState(""); sim.wipeStatus() },
	"the route is deleted, and the status is wiped": func(sim *simulation) { sim.deleteRoute(); sim.wipeStatus() },
}

// TestLossMovesNoTraffic: after a loss in any resting state, the route or the status recovers the
// state. The workloads alone recover the split.
func TestLossMovesNoTraffic(t *testing.T) {
	tagged := func(s *spec) { s.Tagged = true }
	scenarios := map[string][]func(*spec){
		"first deployment":                 {},
		"first deployment with a percent":  {percent(10)},
		"canary":                           {model(2, new(10))},
		"canary with tags":                 {tagged, model(2, new(10))},
		"canary of a second":               {model(2, nil), model(3, new(30))},
		"canary of all but one":            {model(2, new(99))},
		"promotion":                        {model(2, new(10)), percent(nil)},
		"canary that is rolled back":       {model(2, new(10)), percent(0)},
		"promotion that is undone":         {model(2, nil), percent(0)},
		"promotion that is undone by half": {model(2, nil), percent(50)},
		"failing canary":                   {model(5, new(10))},
		"abort":                            {model(2, nil), model(3, new(10)), model(2, new(10))},
		"return to the first":              {model(2, nil), model(1, nil)},
		"return to the first, as a canary": {model(2, nil), model(1, new(20))},
	}
	for scenarioName, scenario := range scenarios {
		for lossName, lose := range losses {
			t.Run(scenarioName+": "+lossName, func(t *testing.T) {
				t.Parallel()
				sim := playScenario(scenario, unlimited, later)
				before, err := DecodeState(sim.route.state)
				if err != nil {
					t.Fatal(err)
				}
				logged := len(sim.trace.lines)

				lose(sim)
				sim.settle()
				after, err := DecodeState(sim.route.state)
				if err != nil {
					t.Fatal(err)
				}
				after.ShiftedAt, after.ServedBefore = before.ShiftedAt, before.ServedBefore
				after.AskedAt, after.LostAt, after.Routed = before.AskedAt, before.LostAt, before.Routed
				if lossName != "the status is wiped" {
					after.NothingToUndo = before.NothingToUndo // Only the rollout state has this.
				}
				if strings.Contains(lossName, ", and the status") {
					after.Previous, after.Tried = before.Previous, before.Tried // Nothing else has this.
				}
				if diff := cmp.Diff(before, after, splitsByShares); diff != "" {
					t.Errorf("the rollout state changes (-before +after):\n%s\n%s", diff, sim.trace)
				}
				for _, line := range sim.trace.lines[logged:] {
					if line.served != before.Split.String() {
						t.Errorf("%s is served in between:\n%s", line.served, sim.trace)
					}
				}
			})
		}
	}
}

// TestLossInTrials: a loss during a trial or after a rejection moves no traffic, and the rejection
// stays. If nothing knows the share any more, the trial begins again with the first step.
func TestLossInTrials(t *testing.T) {
	bakes := func(s *spec) { s.Plan.Bake = 168 * time.Hour }
	scenarios := map[string][]func(*spec){
		"a gate":                       {automatic, gated, model(2, nil)},
		"a gate before the promotion":  {automatic, func(s *spec) { s.Plan.ApprovePromotion = true }, model(2, nil)},
		"a rejected target":            {automatic, gated, model(2, nil), abort(TrialID{2, 1})},
		"a rejected target, no policy": {automatic, gated, model(2, nil), abort(TrialID{2, 1}), func(s *spec) { s.Plan = nil }},
		"a superseded, rejected one":   {automatic, gated, model(2, nil), abort(TrialID{2, 1}), model(3, nil)},
		"a promoted target":            {automatic, model(2, nil)},
	}
	for scenarioName, scenario := range scenarios {
		for lossName, lose := range losses {
			t.Run(scenarioName+": "+lossName, func(t *testing.T) {
				t.Parallel()
				sim := playScenario(scenario, unlimited, later)
				before, _ := sim.state()
				logged := len(sim.trace.lines)
				lose(sim)
				for range 5 {
					sim.reconcile()
					sim.runControllers()
				}
				after, _ := sim.state()
				share := after.Split.Percent(after.Target)
				unknown := lossName == "the route is deleted, and the status is wiped" && before.Trial != nil
				if unknown && share != 10 || !unknown && !after.Split.Equal(before.Split) || after.Stable != before.Stable || len(after.Rejected) != len(before.Rejected) {
					t.Errorf("the state\n%s\nbecomes\n%s\n%s", before.Encode(), after.Encode(), sim.trace)
				}
				if lost := before.Trial != nil && lossName != "the status is wiped"; lost && after.Trial.Attempt <= before.Trial.Attempt {
					t.Errorf("the lost trial %+v becomes %+v", before.Trial, after.Trial)
				}
				for _, line := range sim.trace.lines[logged:] {
					if line.served != before.Split.String() && !unknown {
						t.Errorf("%s is served in between:\n%s", line.served, sim.trace)
					}
				}
			})
		}
	}
	t.Run("a bake", func(t *testing.T) {
		sim := newSimulation()
		sim.trace = &trace{}
		sim.settle()
		for _, change := range []func(*spec){automatic, bakes, model(2, nil)} {
			sim.edit("edits the spec", change)
		}
		for range 8 {
			_, wakeAt := sim.reconcile()
			if sim.runControllers(); !wakeAt.IsZero() && wakeAt.Sub(sim.now) < time.Hour {
				sim.advance(wakeAt.Sub(sim.now))
			}
		}
		if state, _ := sim.state(); !state.Trial.bakes() {
			t.Fatalf("there is no bake:\n%s", sim.trace)
		}
		sim.deleteRoute()
		sim.reconcile()
		sim.runControllers()
		sim.reconcile()
		if state, id := sim.state(); !state.Trial.bakes() || id != (TrialID{2, 2}) || sim.deployments[1] == nil {
			t.Errorf("the bake is lost:\n%s", sim.trace)
		}
	})
}

// withoutTimes matches the fields of a state that TestRecover does not compare.
var withoutTimes = regexp.MustCompile(`"servedBefore":\{[^}]*\},|"(hash|askedAt|shiftedAt|trialBegan|waitingSince)":"[^"]*",|"version":3,|"routed":\[[^\]]*\],`)

func TestRecover(t *testing.T) {
	canary := canarySplit(2, 10, 1)
	tests := map[string]struct {
		target    Number // Of the spec, or 0 if it cannot be resolved.
		percent   *int
		bounds    Bounds
		route     Split
		reported  Reported
		revisions []Revision
		want      string // See withoutTimes.
	}{
		"the first deployment": {
			target: 1, revisions: []Revision{down(1)},
		},
		"the route before the status": {
			target: 2, percent: new(10), route: canary,
			reported:  Reported{Stable: 1, Target: 2, Split: All(1)},
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":2}`,
		},
		"a route that was promoted by hand": {
			target: 2, route: canarySplit(2, 100, 1),
			revisions: []Revision{down(1), down(2)},
			want:      `{"stable":2,"previous":1,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"highest":2}`,
		},
		"the status, if there is no route": {
			target: 2, percent: new(10),
			reported:  Reported{Stable: 1, Previous: 3, Target: 2, Split: canary},
			revisions: []Revision{up(1), up(2), withoutWorkload(3)},
			want:      `{"stable":1,"previous":3,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":3}`,
		},
		"the status, if the route names no known revision": {
			target: 2, percent: new(10), route: All(7),
			reported:  Reported{Stable: 1, Target: 2, Split: canary},
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":7}`,
		},
		"the stable, from the route: the revision next to the target": {
			target: 2, percent: new(10), route: canary,
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":2}`,
		},
		"the stable, from the route: the only revision": {
			target: 2, percent: new(10), route: All(1),
			revisions: []Revision{up(1), down(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":100},"highest":2}`,
		},
		"the stable, from the workloads: not the target": {
			target: 2, percent: new(10),
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":2}`,
		},
		"the stable, from the workloads: the newest": {
			target: 4, percent: new(10),
			revisions: []Revision{up(1), up(2), down(3), down(4)},
			want:      `{"stable":2,"target":4,"asked":{"share":10},"split":{"2":100},"highest":4}`,
		},
		"the stable, from the workloads: not a retiring revision": {
			target: 3, percent: new(10),
			revisions: []Revision{up(1), retiring(2, Workload{Ready: 1, Replicas: 1, Pods: 1}, 0), down(3)},
			want:      `{"stable":1,"target":3,"asked":{"share":10},"split":{"1":100},"highest":3}`,
		},
		"the stable, from the workloads: else the reported target": {
			target: 2, percent: new(10), reported: Reported{Target: 1},
			revisions: []Revision{up(1), down(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":100},"highest":2}`,
		},
		"only the target runs: it becomes the stable": {
			target: 2, percent: new(10),
			revisions: []Revision{withoutWorkload(1), up(2)},
			want:      `{"stable":2,"target":2,"asked":{"share":10},"split":{"2":100},"highest":2}`,
		},
		"a previous that is gone": {
			target: 2, reported: Reported{Stable: 2, Previous: 1, Target: 2, Split: All(2)},
			revisions: []Revision{up(2)},
			want:      `{"stable":2,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"highest":2}`,
		},
		"a previous that is the stable": {
			target: 2, reported: Reported{Stable: 2, Previous: 2, Target: 2, Split: All(2)},
			revisions: []Revision{up(2)},
			want:      `{"stable":2,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"highest":2}`,
		},
		"a number that only the status has": {
			target: 7, reported: Reported{Stable: 1, Target: 6, Split: All(1)},
			revisions: []Revision{up(1)},
			want:      `{"stable":1,"target":7,"asked":{"share":100,"promote":true},"split":{"1":100},"highest":7}`,
		},
		"a status that lags: a rejected revision gets nothing": {
			target: 3, reported: Reported{Stable: 3, Previous: 1, Target: 3, Split: canarySplit(2, 50, 1)},
			revisions: []Revision{up(1), up(2), up(3)},
			want:      `{"stable":3,"previous":1,"target":3,"asked":{"share":100,"promote":true},"split":{"3":100},"highest":3}`,
		},
		"a status that lags, while the stable cannot serve": {
			target: 3, reported: Reported{Stable: 3, Previous: 1, Target: 3, Split: canarySplit(2, 50, 1)},
			revisions: []Revision{up(1), up(2), down(3)},
			want:      `{"stable":3,"previous":1,"target":3,"asked":{"share":100,"promote":true},"split":{"1":50,"2":50},"highest":3}`,
		},
		"a spec that cannot be resolved: the reported target, and its share as percent": {
			percent:   new(50),
			reported:  Reported{Stable: 1, Target: 2, Split: canary},
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":10},"split":{"1":90,"2":10},"highest":2}`,
		},
		"a spec that cannot be resolved: a target that waits for the stable is not promoted": {
			reported:  Reported{Stable: 1, Target: 2, Split: All(2)},
			revisions: []Revision{down(1), up(2)},
			want:      `{"stable":1,"target":2,"asked":{"share":0},"split":{"2":100},"highest":2}`,
		},
		"a spec that cannot be resolved: the stable is the target": {
			percent:   new(10),
			reported:  Reported{Stable: 2, Previous: 1, Target: 2, Split: All(2)},
			revisions: []Revision{withoutWorkload(1), up(2)},
			want:      `{"stable":2,"previous":1,"target":2,"asked":{"share":10},"split":{"2":100},"highest":2}`,
		},
		"an invalid percent is no rollback": {
			target: 2, percent: new(-1),
			reported:  Reported{Stable: 2, Previous: 1, Target: 2, Split: All(2)},
			revisions: []Revision{withoutWorkload(1), up(2)},
			want:      `{"stable":2,"previous":1,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"highest":2}`,
		},
		"a spec that cannot be resolved, and only workloads": {
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":2,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"highest":2}`,
		},
		"a percent that changed with the loss undoes nothing": {
			target: 2, percent: new(0),
			reported:  Reported{Stable: 2, Previous: 1, Target: 2, Split: All(2)},
			revisions: []Revision{up(1), up(2)},
			want:      `{"stable":2,"previous":1,"target":2,"asked":{"share":0},"split":{"2":100},"highest":2}`,
		},
		"the ready replicas are held": {
			target: 2, percent: new(50), bounds: scaled, route: canarySplit(2, 50, 1),
			revisions: []Revision{upWith(1, 6), upWith(2, 3)},
			want:      `{"stable":1,"target":2,"asked":{"share":50},"split":{"1":50,"2":50},"held":{"1":{"predictor":6},"2":{"predictor":3}},"highest":2}`,
		},
		"a route with three backends stays until the stable can serve": {
			target: 1, route: split(t, Share{3, 50}, Share{2, 30}, Share{1, 20}),
			reported:  Reported{Stable: 4, Target: 1},
			revisions: []Revision{down(1), up(2), up(3), down(4)},
			want:      `{"stable":4,"target":1,"asked":{"share":100,"promote":true},"split":{"1":20,"2":30,"3":50},"highest":4}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(nil, test.target, test.percent, test.revisions...)
			if test.target == 0 {
				observed.Desired.Hash = ""
			}
			if test.bounds != (Bounds{}) {
				observed.Desired.Replicas = test.bounds
			}
			observed.Route.Split, observed.Reported = test.route, test.reported
			got := ""
			if state := Decide(observed, testPolicy, testNow).State; state != nil {
				got = withoutTimes.ReplaceAllString(state.Encode(), "")
				if want := hashOf(state.Target); state.Hash != want {
					t.Errorf("target %d has the hash %s", state.Target, state.Hash)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rollout state (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRecoverServedSplit: until the state is on the route again, the reported split stays reported.
func TestRecoverServedSplit(t *testing.T) {
	for name, test := range map[string]struct {
		reported Split
		want     Split
	}{
		"a reported split":                      {All(1), All(1)},
		"a reported split with a lost revision": {All(7), Split{}},
		"no reported split":                     {Split{}, Split{}},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(nil, 2, new(10), up(1), up(2))
			observed.Route.Split = canarySplit(2, 10, 1)
			observed.Reported = Reported{Stable: 1, Target: 2, Split: test.reported}
			decision := Decide(observed, testPolicy, testNow)
			if !decision.Served.Equal(test.want) || decision.Programmed {
				t.Errorf("served is %s, programmed %t, want %s and false", decision.Served, decision.Programmed, test.want)
			}
		})
	}
}
