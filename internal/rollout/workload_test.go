// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRetire holds each step on the way down of a revision that nobody needs any more: 2 was superseded by 3.
func TestRetire(t *testing.T) {
	drain := testPolicy.DrainPeriod
	running := Workload{Ready: 1, Replicas: 1, Pods: 1}
	idle := func(ago time.Duration) time.Time { return testNow.Add(-ago) }
	tests := map[string]struct {
		workload Workload
		idleFor  time.Duration // 0 for not yet.
		change   func(*Snapshot)
		want     WorkloadPlan
		wantWake time.Time
	}{
		"it begins to drain when it is first seen idle": {
			workload: running,
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"it drains": {
			workload: running, idleFor: drain - time.Second,
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: idle(drain - time.Second)},
			wantWake: testNow.Add(time.Second),
		},
		"it has drained": {
			workload: running, idleFor: drain,
			want: WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(drain)},
		},
		"its last replica is unready: it drains all the same": {
			workload: Workload{Replicas: 1, Pods: 1},
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"it has no pods, and so nothing to drain": {
			workload: Workload{Replicas: 1},
			want:     WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: testNow},
		},
		"no route has ever named it": {
			workload: Workload{Replicas: 1, Pods: 1},
			change:   func(s *Snapshot) { s.Route.Record.Version = RecordVersion },
			want:     WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: testNow},
		},
		"no route has ever named it, and it is ready": {
			workload: running,
			change:   func(s *Snapshot) { s.Route.Record.Version, s.Route.TakenOver = RecordVersion, false },
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"no route has ever named it, and the gateway has yet to accept the route": {
			workload: Workload{Replicas: 1, Pods: 1},
			change:   func(s *Snapshot) { s.Route.Record.Version, s.Route.TakenOver = RecordVersion, false },
			want:     WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: testNow},
		},
		"a route has named it before the last shift": {
			workload: running,
			change: func(s *Snapshot) {
				s.Route.Record.Version, s.Route.Record.Routed = RecordVersion, []Number{2}
			},
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"its autoscaler is ahead of the drain": {
			workload: Workload{Ready: 1, Leaving: true, Pods: 1}, idleFor: time.Second,
			want:     WorkloadPlan{Revision: 2, Action: Drain, IdleSince: idle(time.Second)},
			wantWake: testNow.Add(drain - time.Second),
		},
		"its pods are stopping": {
			workload: Workload{Pods: 1}, idleFor: time.Minute,
			want: WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(time.Minute)},
		},
		"its pods are gone": {
			workload: Workload{}, idleFor: time.Minute,
			want: WorkloadPlan{Revision: 2, Action: Delete, IdleSince: idle(time.Minute)},
		},
		"the gateway has yet to take the route over": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.TakenOver = false },
			want:   WorkloadPlan{Revision: 2, Action: Keep},
		},
		"the route is about to change": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Percent = new(20) },
			want:   WorkloadPlan{Revision: 2, Action: Keep},
		},
		"a tag host points at it": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Tagged, s.Route.Tags = true, []Number{2, 1} },
			want:   WorkloadPlan{Revision: 2, Action: Keep},
		},
		"a tag host that nobody wants points at it": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.Tags = []Number{2} },
			want:   WorkloadPlan{Revision: 2, Action: Keep},
		},
		"tag hosts are about to change": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Tagged = true },
			want:   WorkloadPlan{Revision: 2, Action: Keep},
		},
		"tag hosts point where they should": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Tagged, s.Route.Tags = true, []Number{1, 3} },
			want:   WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"the gateway has yet to answer for a tag host": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Wanted.Tagged, s.Route.Tags, s.Route.TagsTakenOver = true, []Number{1, 3}, false
			},
			want: WorkloadPlan{Revision: 2, Action: Keep},
		},
		"the gateway refuses a tag host: it leads nowhere": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Wanted.Tagged, s.Route.Tags, s.Route.TagsTakenOver, s.Route.TagsRefused = true, []Number{1, 3}, false, true
			},
			want: WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"the cluster knows no routes any more": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Route = Route{Impossible: true}
				s.Reported = Reported{Stable: 1, Target: 3, Split: canarySplit(3, 10, 1)}
			},
			want: WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"it is asked for again": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Inputs = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Action: Run, Floor: 1},
		},
		"it is asked for again while its pods go": {
			workload: Workload{Pods: 1}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Inputs = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Action: Run, Floor: 1, ScaledUpAt: testNow},
		},
		"it is asked for again when nothing is left of it": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Wanted.Inputs = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Action: Run, Floor: 1},
		},
		"it is the previous, and may be asked for again: the record is enough": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.Record.Previous = 2 },
			want:   WorkloadPlan{Revision: 2, Action: Delete, IdleSince: idle(time.Hour)},
		},
		"it is the previous, and without a record": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.Record.Previous, s.Revisions[1].Recorded = 2, false },
			want:   WorkloadPlan{Revision: 2, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"nobody needs it, and it is without a record": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Revisions[1].Recorded = false },
			want:   WorkloadPlan{Revision: 2, Action: Delete, IdleSince: idle(time.Hour)},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			revision := Revision{Number: 2, Inputs: hashOf(2), Recorded: true, Workload: &test.workload}
			if test.idleFor > 0 {
				revision.Workload.IdleSince = idle(test.idleFor)
			}
			observed := newSnapshot(rolloutState(1, 0, 3, new(10), canarySplit(3, 10, 1)), 3, new(10), up(1), revision, up(3))
			if test.change != nil {
				test.change(&observed)
			}
			decision := Decide(observed, testPolicy, testNow)
			if diff := cmp.Diff(test.want, planOf(decision, 2)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if !decision.WakeAt.Equal(test.wantWake) {
				t.Errorf("it wakes at %v, want %v", decision.WakeAt, test.wantWake)
			}
		})
	}
}

// TestRetireBeforeTheFirstRoute: where there never was a route, nothing has to be waited for.
func TestRetireBeforeTheFirstRoute(t *testing.T) {
	decision := Decide(newSnapshot(nil, 2, nil, down(1), withoutWorkload(2)), testPolicy, testNow)
	want := []WorkloadPlan{
		{Revision: 1, Action: ScaleDown, IdleSince: testNow},
		{Revision: 2, Action: Run, Floor: 1},
	}
	if diff := cmp.Diff(want, decision.Workloads); diff != "" || decision.Record != nil {
		t.Errorf("workloads (-want +got), with record %v:\n%s", decision.Record, diff)
	}
}

// TestARefusedTagHostKeepsNoSecret: who is served by the main route is told by the main route.
func TestARefusedTagHostKeepsNoSecret(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(10), up(1), up(2))
	observed.Wanted.Tagged, observed.Route.Tags = true, []Number{1, 2}
	observed.Route.Record.Before = All(1)
	observed.Route.TagsTakenOver, observed.Route.TagsRefused = false, true
	decision := Decide(observed, testPolicy, testNow)
	if !decision.Served.Equal(canarySplit(2, 10, 1)) || decision.Programmed {
		t.Errorf("%s is said to be served, and programmed is %t", decision.Served, decision.Programmed)
	}
}

// TestServedStaysServed: a gateway that had taken a split over and does not say so any more, as something else of the
// route has changed or the gateway is gone, has not gone back to the split before.
func TestServedStaysServed(t *testing.T) {
	for name, test := range map[string]struct {
		reported, want Split
	}{
		"it was reported":          {canarySplit(2, 10, 1), canarySplit(2, 10, 1)},
		"it was not yet":           {All(1), All(1)},
		"nothing was":              {Split{}, All(1)},
		"what nobody asked for is": {All(2), All(1)},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(30), up(1), up(2))
			observed.Route.Record.Before, observed.Route.TakenOver = All(1), false
			observed.Reported = Reported{Stable: 1, Target: 2, Split: test.reported}
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.Served; !got.Equal(test.want) {
				t.Errorf("%s is said to be served, want %s", got, test.want)
			}
			if got := decision.Record; !got.Before.Equal(test.want) || !got.Split.Equal(canarySplit(2, 30, 1)) {
				t.Errorf("%s is recorded as served before %s, want %s", got.Before, got.Split, test.want)
			}
		})
	}
}

// TestStopWithoutRoutes: where the cluster knows no routes, nothing points at what is to stop.
func TestStopWithoutRoutes(t *testing.T) {
	observed := newSnapshot(nil, 1, nil, up(1))
	observed.Wanted.Stopped, observed.Route.Impossible = true, true
	observed.Reported = Reported{Stable: 1, Target: 1, Split: All(1)}
	if got := planOf(Decide(observed, testPolicy, testNow.Add(testPolicy.DrainPeriod)), 1).Action; got != Drain {
		t.Errorf("it is to %s", got)
	}
}

// TestWakeAt is the earliest of all that time alone changes.
func TestWakeAt(t *testing.T) {
	state := rolloutState(3, 1, 3, nil, All(3))
	state.Floors, state.ShiftedAt = map[Number]int{3: 4}, testNow.Add(-time.Minute)
	running := Workload{Ready: 1, Replicas: 1, Pods: 1}
	observed := newSnapshot(state, 3, nil, retiring(1, running, 20*time.Second), retiring(2, running, 10*time.Second), upWith(3, 4))
	observed.Wanted.Replicas = scaled
	for name, test := range map[string]struct {
		at   time.Duration
		want time.Duration
	}{
		"the first drains":       {0, 10 * time.Second},
		"the second drains":      {10 * time.Second, 20 * time.Second},
		"then the floor ends":    {20 * time.Second, 4 * time.Minute},
		"then there is no more":  {4 * time.Minute, 0},
		"however late one looks": {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var want time.Time
			if test.want > 0 {
				want = testNow.Add(test.want)
			}
			if got := Decide(observed, testPolicy, testNow.Add(test.at)).WakeAt; !got.Equal(want) {
				t.Errorf("it wakes at %v, want %v", got, want)
			}
		})
	}
}

// TestForget: of the records, the newest are kept, and those that are in use.
func TestForget(t *testing.T) {
	history := func(newest Number) []Revision {
		var revisions []Revision
		for n := newest; n >= 1; n-- { // Any order will do.
			revisions = append(revisions, withoutWorkload(n))
		}
		return revisions
	}
	replace := func(revisions []Revision, with Revision) []Revision {
		revisions[len(revisions)-int(with.Number)] = with
		return revisions
	}
	tests := map[string]struct {
		state     *Record
		target    Number
		revisions []Revision
		limit     int
		want      []Number
	}{
		"as many as may be":                 {rolloutState(10, 9, 10, nil, All(10)), 10, history(10), 10, nil},
		"one too many":                      {rolloutState(11, 10, 11, nil, All(11)), 11, history(11), 10, []Number{1}},
		"all that are too many":             {rolloutState(13, 12, 13, nil, All(13)), 13, history(13), 10, []Number{3, 2, 1}},
		"not the stable":                    {rolloutState(1, 0, 12, new(10), All(1)), 12, history(12), 10, []Number{2}},
		"not the previous":                  {rolloutState(12, 1, 12, nil, All(12)), 12, history(12), 10, []Number{2}},
		"not the target":                    {rolloutState(12, 11, 1, nil, All(12)), 1, history(12), 10, []Number{2}},
		"not one that runs":                 {rolloutState(12, 11, 12, nil, All(12)), 12, replace(history(12), up(1)), 10, []Number{2}},
		"not one that has a share still":    {rolloutState(11, 0, 12, new(0), canarySplit(2, 50, 1)), 12, replace(history(12), up(2)), 10, nil},
		"all that are not in use":           {rolloutState(4, 2, 4, nil, All(4)), 4, history(4), 0, []Number{3, 1}},
		"a workload without a record":       {rolloutState(2, 0, 2, nil, All(2)), 2, replace(history(2), Revision{Number: 1, Workload: &Workload{}}), 0, nil},
		"nothing before the first is ready": {nil, 2, history(2), 1, []Number{1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.state != nil {
				test.state.Highest = 20
			}
			observed := newSnapshot(test.state, test.target, nil, test.revisions...)
			if test.state != nil {
				observed.Wanted.Percent = test.state.Percent
			}
			policy := testPolicy
			policy.HistoryLimit = test.limit
			if diff := cmp.Diff(test.want, Decide(observed, policy, testNow).Forget); diff != "" {
				t.Errorf("forgets (-want +got):\n%s", diff)
			}
		})
	}
}
