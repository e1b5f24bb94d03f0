// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"testing"
)

// promoted is a world at rest in which 2 was promoted over 1, and 1 was scaled away.
func promoted(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.story = &story{}
	w.settle()
	w.edit("asks for 2", model(2, nil))
	w.settle()
	w.expect(t, "2:100", 2, 1)
	return w
}

// expect holds what is written on the route against what should be.
func (w *world) expect(t *testing.T, split string, stable, previous Number) {
	t.Helper()
	for _, b := range w.witness.breaches {
		t.Errorf("rule %d: %s", b.rule, b.how)
	}
	record, err := DecodeRecord(w.route.record)
	if err != nil {
		t.Fatal(err)
	}
	if got := record.Split.String(); got != split || record.Stable != stable || record.Previous != previous {
		t.Fatalf("the route says %s with stable %d and previous %d, want %s with %d and %d\n%s",
			got, record.Stable, record.Previous, split, stable, previous, w.story)
	}
}

// TestUndoWhileThePreviousWarmsUp: a rollback to a revision that was scaled away takes its time. Whatever the user or
// the pods do meanwhile, who serves goes on until somebody else can.
func TestUndoWhileThePreviousWarmsUp(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(*world)
		// what the route says while 1 and 3 load, once 3 is ready, and once 1 is ready too, with stable and previous.
		loading, with3, with1 string
		stable, previous      Number
		// loadingStable and loadingPrevious are those before anything is ready.
		loadingStable, loadingPrevious Number
	}{
		"nothing else": {
			meanwhile: func(*world) {},
			loading:   "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"another percent": {
			meanwhile: func(w *world) { w.edit("sets 30", percent(30)) },
			loading:   "2:100", with3: "2:100", with1: "2:30 1:70", stable: 1, loadingStable: 1,
		},
		"no percent: it is taken back": {
			meanwhile: func(w *world) { w.edit("removes it", percent(nil)) },
			loading:   "2:100", with3: "2:100", with1: "2:100", stable: 2, previous: 1, loadingStable: 2, loadingPrevious: 1,
		},
		"one hundred: it is taken back": {
			meanwhile: func(w *world) { w.edit("sets 100", percent(100)) },
			loading:   "2:100", with3: "2:100", with1: "2:100", stable: 2, previous: 1, loadingStable: 2, loadingPrevious: 1,
		},
		"another target, as a canary": {
			meanwhile: func(w *world) { w.edit("asks for 3", model(3, new(20))) },
			loading:   "2:100", with3: "2:100", with1: "3:20 1:80", stable: 1, loadingStable: 1,
		},
		"another target, for all": {
			meanwhile: func(w *world) { w.edit("asks for 3", model(3, nil)) },
			loading:   "2:100", with3: "3:100", with1: "3:100", stable: 3, previous: 1, loadingStable: 1,
		},
		"the return to 1": {
			meanwhile: func(w *world) { w.edit("asks for 1", model(1, new(20))) },
			loading:   "2:100", with3: "2:100", with1: "1:100", stable: 1, loadingStable: 1,
		},
		"a spec that cannot be resolved": {
			meanwhile: func(w *world) {
				w.edit("writes nonsense", func(s *spec) { s.invalid, s.Percent = true, new(77) })
			},
			loading: "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"stopped": {
			meanwhile: func(w *world) { w.edit("stops", stop(true)) },
			loading:   "none", with3: "none", with1: "none", stable: 1, loadingStable: 1,
		},
		"stopped and resumed": {
			meanwhile: func(w *world) {
				w.edit("stops", stop(true))
				w.pass()
				w.edit("resumes", stop(false))
			},
			loading: "none", with3: "none", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
		"who serves has lost its pods: whoever is back first serves": {
			meanwhile: func(w *world) { w.lose(2) },
			loading:   "2:100", with3: "2:100", with1: "2:0 1:100", stable: 1, loadingStable: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := promoted(t)
			w.edit("sets 0", percent(0))
			w.pass()
			w.expect(t, "2:100", 1, 0)

			test.meanwhile(w)
			w.pass()
			w.pass()
			w.expect(t, test.loading, test.loadingStable, test.loadingPrevious)

			w.deploy(3)
			w.start(3)
			w.pass()
			if record, _ := DecodeRecord(w.route.record); record.Split.String() != test.with3 {
				t.Errorf("with 3 ready the route says %s, want %s", record.Split, test.with3)
			}
			w.deploy(1)
			w.start(1)
			w.pass()
			w.expect(t, test.with1, test.stable, test.previous)
			if slices.Contains([]string{"2:100", "3:100"}, test.with1) {
				w.settle()
				if w.deployments[1] != nil {
					t.Error("1 still runs")
				}
			}
		})
	}
}

// TestUndoTwice: what was undone can be promoted again, and undone again.
func TestUndoTwice(t *testing.T) {
	w := promoted(t)
	for range 2 {
		w.edit("sets 0", percent(0))
		w.settle()
		w.expect(t, "2:0 1:100", 1, 0)
		w.edit("removes it", percent(nil))
		w.settle()
		w.expect(t, "2:100", 2, 1)
	}
}

// TestUndoStepByStep: any percent below 100 undoes a promotion, and the next one only moves the canary.
func TestUndoStepByStep(t *testing.T) {
	w := promoted(t)
	for _, step := range []struct {
		percent int
		want    string
	}{
		{99, "2:99 1:1"},
		{50, "2:50 1:50"},
		{0, "2:0 1:100"},
		{10, "2:10 1:90"},
	} {
		w.edit("sets "+percentText(&step.percent), percent(step.percent))
		w.settle()
		w.expect(t, step.want, 1, 0)
	}
}

// TestNothingToUndo: row 11. It is said once, for as long as it is so.
func TestNothingToUndo(t *testing.T) {
	said := func(seen Snapshot) (record *Record, times int) {
		decision := Decide(seen, testPolicy, testNow)
		for _, transition := range decision.Transitions {
			if transition.Kind == NothingToUndo && transition.Revision == 2 {
				times++
			}
		}
		return decision.Record, times
	}
	record := remembered(2, 1, 2, nil, All(2)) // The record of 1 is gone.
	steps := []struct {
		percent *int
		want    bool
		times   int
	}{
		{nil, false, 0},
		{new(10), true, 1},
		{new(10), true, 0},
		{new(0), true, 0},
		{new(100), false, 0},
		{new(10), true, 1},
		{nil, false, 0},
	}
	for i, step := range steps {
		after, times := said(sees(record, 2, step.percent, up(2)))
		if after.NothingToUndo != step.want || times != step.times {
			t.Errorf("step %d: it is noted %t and said %d times, want %t and %d", i, after.NothingToUndo, times, step.want, step.times)
		}
		if !after.Split.Equal(All(2)) || after.Stable != 2 || after.Previous != 1 {
			t.Errorf("step %d: the record is %+v", i, after)
		}
		record = after
	}

	record, _ = said(sees(record, 2, new(10), up(2)))
	superseded, _ := said(sees(record, 3, new(10), up(2), down(3)))
	if superseded.NothingToUndo {
		t.Error("it is still noted when another revision is asked for")
	}
	back, times := said(sees(superseded, 2, new(10), up(2), down(3)))
	if back.NothingToUndo || times != 0 {
		t.Error("the return from a canary counts as a rollback (row 16)")
	}
}

// TestUndoComesToTheRecordsAid: the previous can be brought back from its record alone, from what runs alone, and not
// from nothing.
func TestUndoComesToTheRecordsAid(t *testing.T) {
	unrecorded := up(1)
	unrecorded.Recorded = false
	for name, test := range map[string]struct {
		previous []Revision
		want     Number
	}{
		"a record":   {[]Revision{away(1)}, 1},
		"a workload": {[]Revision{unrecorded}, 1},
		"nothing":    {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			seen := sees(remembered(2, 1, 2, nil, All(2)), 2, new(0), append(test.previous, up(2))...)
			if got := Decide(seen, testPolicy, testNow).Record.Stable; got != test.want {
				t.Errorf("the stable is %d, want %d", got, test.want)
			}
		})
	}
}

// TestOnlyAPromotionIsUndone: the percent of another target, or of one that comes with it, says nothing about the
// stable.
func TestOnlyAPromotionIsUndone(t *testing.T) {
	tests := map[string]struct {
		last    *Record
		target  Number
		percent *int
	}{
		"the percent comes while the canary loads": {remembered(2, 1, 3, nil, All(2)), 3, new(10)},
		"the percent goes while the canary loads":  {remembered(2, 1, 3, new(10), All(2)), 3, nil},
		"the canary comes with the percent":        {remembered(2, 1, 2, nil, All(2)), 3, new(10)},
		"row 16, and the percent comes with it":    {remembered(2, 1, 3, nil, All(2)), 2, new(10)},
		"row 16, and the percent stays":            {remembered(2, 1, 3, new(10), All(2)), 2, new(10)},
		"the percent changes after row 16":         {remembered(2, 1, 2, new(10), All(2)), 2, new(0)},
		"the percent goes after row 16":            {remembered(2, 1, 2, new(10), All(2)), 2, nil},
		"from one way to say all to the other":     {remembered(2, 1, 2, nil, All(2)), 2, new(100)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			record := Decide(sees(test.last, test.target, test.percent, up(1), up(2), down(3)), testPolicy, testNow).Record
			if record.Stable != 2 || record.Previous != 1 || !record.Split.Equal(All(2)) || record.NothingToUndo {
				t.Errorf("the stable is %d and the previous %d at %s, want 2 and 1 at 2:100", record.Stable, record.Previous, record.Split)
			}
		})
	}
}
