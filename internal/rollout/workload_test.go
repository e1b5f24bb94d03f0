// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRetire checks each step of a revision that retires: 2 was superseded by 3.
func TestRetire(t *testing.T) {
	drain := testPolicy.DrainPeriod
	running := Workload{Ready: 1, Replicas: 1, Pods: 1}
	idle := func(ago time.Duration) time.Time { return testNow.Add(-ago) }
	tests := map[string]struct {
		workload Workload
		idleFor  time.Duration // 0 means not yet.
		change   func(*Snapshot)
		want     WorkloadPlan
		wantWake time.Time
	}{
		"it starts to drain when it is first idle": {
			workload: running,
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"it drains": {
			workload: running, idleFor: drain - time.Second,
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: idle(drain - time.Second)},
			wantWake: testNow.Add(time.Second),
		},
		"it has drained": {
			workload: running, idleFor: drain,
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(drain)},
		},
		"its last replica is unready: it drains too": {
			workload: Workload{Replicas: 1, Pods: 1},
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"it has no pods to drain": {
			workload: Workload{Replicas: 1},
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: testNow},
		},
		"no route has ever named it": {
			workload: Workload{Replicas: 1, Pods: 1},
			change:   func(s *Snapshot) { s.Route.State.Version = StateVersion },
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: testNow},
		},
		"no route has ever named it, and it is ready": {
			workload: running,
			change:   func(s *Snapshot) { s.Route.State.Version, s.Route.Accepted = StateVersion, false },
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"no route has ever named it, and the gateway has not accepted the route": {
			workload: Workload{Replicas: 1, Pods: 1},
			change:   func(s *Snapshot) { s.Route.State.Version, s.Route.Accepted = StateVersion, false },
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: testNow},
		},
		"a route has named it before the last shift": {
			workload: running,
			change: func(s *Snapshot) {
				s.Route.State.Version, s.Route.State.Routed = StateVersion, []Number{2}
			},
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: testNow},
			wantWake: testNow.Add(drain),
		},
		"its autoscaler scales it down before the drain ends": {
			workload: Workload{Ready: 1, Terminating: true, Pods: 1}, idleFor: time.Second,
			want:     WorkloadPlan{Revision: 2, Component: Predictor, Action: Drain, IdleSince: idle(time.Second)},
			wantWake: testNow.Add(drain - time.Second),
		},
		"its pods are stopping": {
			workload: Workload{Pods: 1}, idleFor: time.Minute,
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(time.Minute)},
		},
		"its pods are gone": {
			workload: Workload{}, idleFor: time.Minute,
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: Delete, IdleSince: idle(time.Minute)},
		},
		"the gateway has not accepted the route": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.Accepted = false },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"the route is about to change": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.ask(new(20)) },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"a tag host points at it": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Tagged, s.Route.Tags = true, []Number{2, 1} },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"a surplus tag host points at it": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.Tags = []Number{2} },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"tag hosts are about to change": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Tagged = true },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"the tag hosts are up to date": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Tagged, s.Route.Tags = true, []Number{1, 3} },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"the gateway has not answered for a tag host": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Desired.Tagged, s.Route.Tags, s.Route.TagsAccepted = true, []Number{1, 3}, false
			},
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: AwaitRoute},
		},
		"the gateway refuses a tag host": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Desired.Tagged, s.Route.Tags, s.Route.TagsAccepted, s.Route.TagsRefused = true, []Number{1, 3}, false, true
			},
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"the Gateway API is not installed any more": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) {
				s.Route = Route{NoRouteAPI: true}
				s.Reported = Reported{Stable: 1, Target: 3, Split: canarySplit(3, 10, 1)}
			},
			want: WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"it is the target again": {
			workload: running, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Hash = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1},
		},
		"it is the target again while its pods stop": {
			workload: Workload{Pods: 1}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Hash = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1, ScaledUpAt: testNow},
		},
		"it is the target again without pods": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Desired.Hash = hashOf(2) },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1},
		},
		"it is the previous: the history is enough": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.State.Previous = 2 },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: Delete, IdleSince: idle(time.Hour)},
		},
		"it is the previous, and not in the history": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Route.State.Previous, s.Revisions[1].InHistory = 2, false },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: ScaleDown, IdleSince: idle(time.Hour)},
		},
		"it is not needed, and not in the history": {
			workload: Workload{}, idleFor: time.Hour,
			change: func(s *Snapshot) { s.Revisions[1].InHistory = false },
			want:   WorkloadPlan{Revision: 2, Component: Predictor, Action: Delete, IdleSince: idle(time.Hour)},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			revision := Revision{Number: 2, Hash: hashOf(2), InHistory: true, Workloads: Workloads{Predictor: &test.workload}}
			if test.idleFor > 0 {
				revision.predictor().IdleSince = idle(test.idleFor)
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

// TestRetireBeforeTheFirstRoute: without a route there is nothing to wait for.
func TestRetireBeforeTheFirstRoute(t *testing.T) {
	decision := Decide(newSnapshot(nil, 2, nil, down(1), withoutWorkload(2)), testPolicy, testNow)
	want := []WorkloadPlan{
		{Revision: 1, Component: Predictor, Action: ScaleDown, IdleSince: testNow},
		{Revision: 2, Component: Predictor, Action: Run, MinReplicas: 1},
	}
	if diff := cmp.Diff(want, decision.Workloads); diff != "" || decision.State != nil {
		t.Errorf("workloads (-want +got), with rollout state %v:\n%s", decision.State, diff)
	}
}

// TestServedWithRefusedTagHost: a refused tag host does not change the served split.
func TestServedWithRefusedTagHost(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(10), up(1), up(2))
	observed.Desired.Tagged, observed.Route.Tags = true, []Number{1, 2}
	observed.Route.State.ServedBefore = All(1)
	observed.Route.TagsAccepted, observed.Route.TagsRefused = false, true
	decision := Decide(observed, testPolicy, testNow)
	if !decision.Served.Equal(canarySplit(2, 10, 1)) || decision.Programmed {
		t.Errorf("served is %s, and programmed is %t", decision.Served, decision.Programmed)
	}
}

// TestServedStaysServed: a split that was reported as served stays served, even if the gateway no
// longer confirms it.
func TestServedStaysServed(t *testing.T) {
	for name, test := range map[string]struct {
		reported, want Split
	}{
		"reported":                  {canarySplit(2, 10, 1), canarySplit(2, 10, 1)},
		"not reported yet":          {All(1), All(1)},
		"nothing reported":          {Split{}, All(1)},
		"another split is reported": {All(2), All(1)},
	} {
		t.Run(name, func(t *testing.T) {
			observed := newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(30), up(1), up(2))
			observed.Route.State.ServedBefore, observed.Route.Accepted = All(1), false
			observed.Reported = Reported{Stable: 1, Target: 2, Split: test.reported}
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.Served; !got.Equal(test.want) {
				t.Errorf("served is %s, want %s", got, test.want)
			}
			if got := decision.State; !got.ServedBefore.Equal(test.want) || !got.Split.Equal(canarySplit(2, 30, 1)) {
				t.Errorf("Before is %s for the split %s, want %s", got.ServedBefore, got.Split, test.want)
			}
		})
	}
}

// TestStopWithoutRoutes: without the Gateway API, no route points at a workload.
func TestStopWithoutRoutes(t *testing.T) {
	observed := newSnapshot(nil, 1, nil, up(1))
	observed.Desired.Stopped, observed.Route.NoRouteAPI = true, true
	observed.Reported = Reported{Stable: 1, Target: 1, Split: All(1)}
	if got := planOf(Decide(observed, testPolicy, testNow.Add(testPolicy.DrainPeriod)), 1).Action; got != Drain {
		t.Errorf("the action is %s", got)
	}
}

// TestWakeAt: WakeAt is the earliest time at which the decision changes.
func TestWakeAt(t *testing.T) {
	state := rolloutState(3, 1, 3, nil, All(3))
	state.Held, state.ShiftedAt = heldBy(map[Number]int{3: 4}), testNow.Add(-time.Minute)
	running := Workload{Ready: 1, Replicas: 1, Pods: 1}
	observed := newSnapshot(state, 3, nil, retiring(1, running, 20*time.Second), retiring(2, running, 10*time.Second), upWith(3, 4))
	observed.Desired.Replicas = scaled
	for name, test := range map[string]struct {
		at   time.Duration
		want time.Duration
	}{
		"the first drains":     {0, 10 * time.Second},
		"the second drains":    {10 * time.Second, 20 * time.Second},
		"then the hold ends":   {20 * time.Second, 4 * time.Minute},
		"then nothing changes": {4 * time.Minute, 0},
		"long afterwards":      {time.Hour, 0},
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

// TestPrune: the newest revisions, and those in use, stay in the history.
func TestPrune(t *testing.T) {
	history := func(newest Number) []Revision {
		var revisions []Revision
		for n := newest; n >= 1; n-- { // In any order.
			revisions = append(revisions, withoutWorkload(n))
		}
		return revisions
	}
	replace := func(revisions []Revision, with Revision) []Revision {
		revisions[len(revisions)-int(with.Number)] = with
		return revisions
	}
	tests := map[string]struct {
		state     *State
		target    Number
		revisions []Revision
		limit     int
		want      []Number
	}{
		"the limit":                          {rolloutState(10, 9, 10, nil, All(10)), 10, history(10), 10, nil},
		"one above the limit":                {rolloutState(11, 10, 11, nil, All(11)), 11, history(11), 10, []Number{1}},
		"three above the limit":              {rolloutState(13, 12, 13, nil, All(13)), 13, history(13), 10, []Number{3, 2, 1}},
		"not the stable":                     {rolloutState(1, 0, 12, new(10), All(1)), 12, history(12), 10, []Number{2}},
		"not the previous":                   {rolloutState(12, 1, 12, nil, All(12)), 12, history(12), 10, []Number{2}},
		"not the target":                     {rolloutState(12, 11, 1, nil, All(12)), 1, history(12), 10, []Number{2}},
		"not a revision that runs":           {rolloutState(12, 11, 12, nil, All(12)), 12, replace(history(12), up(1)), 10, []Number{2}},
		"not a revision with a share":        {rolloutState(11, 0, 12, new(0), canarySplit(2, 50, 1)), 12, replace(history(12), up(2)), 10, nil},
		"all revisions not in use":           {rolloutState(4, 2, 4, nil, All(4)), 4, history(4), 0, []Number{3, 1}},
		"a workload without history":         {rolloutState(2, 0, 2, nil, All(2)), 2, replace(history(2), Revision{Number: 1, Workloads: Workloads{Predictor: {}}}), 0, nil},
		"before the first revision is ready": {nil, 2, history(2), 1, []Number{1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.state != nil {
				test.state.Highest = 20
			}
			observed := newSnapshot(test.state, test.target, nil, test.revisions...)
			if test.state != nil {
				observed.Desired.Intent = test.state.Asked
			}
			policy := testPolicy
			policy.HistoryLimit = test.limit
			if diff := cmp.Diff(test.want, Decide(observed, policy, testNow).Prune); diff != "" {
				t.Errorf("pruned (-want +got):\n%s", diff)
			}
		})
	}
}
