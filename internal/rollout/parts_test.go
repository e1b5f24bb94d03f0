// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// undone returns a snapshot of a rollback of 2 to 1, for traffic that needs eight replicas.
func undone(state *State, percent, ready int) Snapshot {
	back := upWith(1, 8)
	back.predictor().Ready = ready
	observed := newSnapshot(state, 2, new(percent), back, upWith(2, 8))
	observed.Desired.Replicas = scaled
	return observed
}

// TestRollbackInParts: the share of the previous revision grows with its ready replicas.
func TestRollbackInParts(t *testing.T) {
	type step struct {
		after time.Duration
		ready int
		want  string
	}
	tests := map[string]struct {
		percent int
		steps   []step
	}{
		"it grows with the ready replicas": {0, []step{
			{0, 0, "2:100"}, {time.Minute, 1, "2:88 1:12"}, {time.Minute, 3, "2:63 1:37"}, {time.Minute, 8, "2:0 1:100"},
		}},
		"one replica is missing": {0, []step{{0, 0, "2:100"}, {time.Minute, 7, "2:13 1:87"}, {24 * time.Hour, 7, "2:13 1:87"}}},
		"not before ten seconds have passed": {0, []step{
			{0, 2, "2:75 1:25"},
			{9 * time.Second, 4, "2:75 1:25"},
			{time.Second, 4, "2:50 1:50"},
			{time.Second, 8, "2:50 1:50"},
			{9 * time.Second, 8, "2:0 1:100"},
		}},
		"a lost replica takes nothing back": {0, []step{{0, 4, "2:50 1:50"}, {time.Minute, 2, "2:50 1:50"}}},
		"never more than the desired share": {60, []step{{0, 2, "2:75 1:25"}, {time.Minute, 3, "2:63 1:37"}, {time.Minute, 4, "2:60 1:40"}}},
		"the last part may be small":        {10, []step{{0, 7, "2:13 1:87"}, {time.Minute, 8, "2:10 1:90"}}},
		"at once where all replicas are ready": {
			0, []step{{0, 8, "2:0 1:100"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state, now := rolloutState(2, 1, 2, nil, All(2)), testNow
			for i, step := range test.steps {
				now = now.Add(step.after)
				decision := Decide(undone(state, test.percent, step.ready), testPolicy, now)
				if got := decision.State.Split.String(); got != step.want {
					t.Fatalf("step %d: the split is %s, want %s", i, got, step.want)
				}
				if decision.State.Stable != 1 {
					t.Errorf("step %d: the stable is %d", i, decision.State.Stable)
				}
				state = decision.State
			}
		})
	}
}

// TestPartsIgnoreMinReplicas: one of the two replicas that all traffic needs gets half of it.
func TestPartsIgnoreMinReplicas(t *testing.T) {
	back := upWith(1, 8)
	back.predictor().Ready = 1
	observed := newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, new(0), back, upWith(2, 2))
	observed.Desired.Replicas = Bounds{Min: 8, Max: 10}
	if got := Decide(observed, testPolicy, testNow).State.Split.String(); got != "2:50 1:50" {
		t.Errorf("the split is %s", got)
	}
}

// TestEditDuringRollbackInParts: while the stable gets its share in parts, an edit of the spec does
// not give it the rest without the replicas.
func TestEditDuringRollbackInParts(t *testing.T) {
	part := Decide(undone(rolloutState(2, 1, 2, nil, All(2)), 0, 2), testPolicy, testNow).State
	later := testNow.Add(time.Minute)
	for name, test := range map[string]struct {
		change func(*Snapshot)
		want   string
	}{
		"another percent":                 {func(s *Snapshot) { s.ask(new(50)) }, "2:75 1:25"},
		"another model":                   {func(s *Snapshot) { s.Desired.Hash = hashOf(3) }, "2:75 1:25"},
		"the model of the stable":         {func(s *Snapshot) { s.Desired.Hash = hashOf(1) }, "2:75 1:25"},
		"no percent: promotion":           {func(s *Snapshot) { s.ask(nil) }, "2:100"},
		"the target cannot serve":         {func(s *Snapshot) { s.Revisions[1].predictor().Ready = 0 }, "2:0 1:100"},
		"the stable has no ready replica": {func(s *Snapshot) { s.Revisions[0].predictor().Ready = 0 }, "2:75 1:25"},
		"stopped":                         {func(s *Snapshot) { s.Desired.Stopped = true }, "none"},
		"a spec that is not resolved":     {func(s *Snapshot) { s.Desired.Hash = "" }, "2:75 1:25"},
	} {
		t.Run(name, func(t *testing.T) {
			observed := undone(part, 0, 2)
			test.change(&observed)
			if got := Decide(observed, testPolicy, later).State.Split.String(); got != test.want {
				t.Errorf("the split is %s, want %s", got, test.want)
			}
		})
	}
}

// TestRollbackIsAnnouncedWhenTrafficMoves: the transition belongs to the last part.
func TestRollbackIsAnnouncedWhenTrafficMoves(t *testing.T) {
	announced := func(d Decision) (announced bool) {
		for _, transition := range d.Transitions {
			announced = announced || transition.Kind == WasRolledBack
		}
		return announced
	}
	state, now := rolloutState(2, 1, 2, nil, All(2)), testNow
	for _, step := range []struct {
		ready int
		want  bool
	}{{0, false}, {4, false}, {8, true}, {8, false}} {
		decision := Decide(undone(state, 0, step.ready), testPolicy, now)
		if got := announced(decision); got != step.want {
			t.Errorf("with %d ready replicas of 8 at %s: announced %t, want %t", step.ready, decision.State.Split, got, step.want)
		}
		state, now = decision.State, now.Add(time.Minute)
	}
}

// TestEstimateDuringLossOfReplicas: the estimate does not fall below the held replicas.
func TestEstimateDuringLossOfReplicas(t *testing.T) {
	for name, percent := range map[string]*int{"promotion": nil, "a larger share": new(50)} {
		t.Run(name, func(t *testing.T) {
			state := rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1))
			state.Held = heldBy(map[Number]int{1: 8})
			stable := upWith(1, 8)
			stable.predictor().Ready = 1 // A node pool is being upgraded.
			observed := newSnapshot(state, 2, percent, stable, upWith(2, 1))
			observed.Desired.Replicas = scaled
			decision := Decide(observed, testPolicy, testNow)
			if !decision.State.Split.Equal(state.Split) {
				t.Errorf("with one replica, the split is %s", decision.State.Split)
			}
			want := ceilDiv(8*decision.Waiting.Percent, 100)
			if decision.Waiting.Need != want || planOf(decision, 2).MinReplicas != want {
				t.Errorf("it waits for %+v and runs at least %d replicas, want %d", decision.Waiting, planOf(decision, 2).MinReplicas, want)
			}
		})
	}
}

// TestReplicasAfterScaleFromZero: ready replicas count once the change has been observed and no
// leftover pod can be deleted any more.
func TestReplicasAfterScaleFromZero(t *testing.T) {
	tests := map[string]struct {
		workload Workload
		want     string
		wantWake time.Duration
	}{
		"the change has not been observed": {Workload{Ready: 1, Replicas: 1, Pods: 1, Unobserved: true}, "2:100", 0},
		"only a leftover pod": {
			Workload{Ready: 1, Replicas: 1, Pods: 1, Leftover: 1, ScaledUpAt: testNow.Add(-time.Second)}, "2:100", 9 * time.Second,
		},
		"a leftover pod that has stayed": {Workload{Ready: 1, Replicas: 1, Pods: 1, Leftover: 1, ScaledUpAt: testNow.Add(-10 * time.Second)}, "2:0 1:100", 0},
		"a new pod":                      {Workload{Ready: 1, Replicas: 1, Pods: 1, ScaledUpAt: testNow}, "2:0 1:100", 0},
		"a new pod and a leftover pod":   {Workload{Ready: 2, Replicas: 1, Pods: 2, Leftover: 1, ScaledUpAt: testNow}, "2:0 1:100", 0},
		"a clock that was ahead":         {Workload{Ready: 1, Replicas: 1, Pods: 1, Leftover: 1, ScaledUpAt: testNow.Add(time.Hour)}, "2:0 1:100", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			back := upWith(1, 1)
			back.Workloads = Workloads{Predictor: &test.workload}
			decision := Decide(newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, new(0), back, up(2)), testPolicy, testNow)
			if got := decision.State.Split.String(); got != test.want {
				t.Errorf("the split is %s, want %s", got, test.want)
			}
			if wake := testNow.Add(test.wantWake); test.wantWake > 0 && !decision.WakeAt.Equal(wake) {
				t.Errorf("it wakes at %s, want %s", decision.WakeAt, wake)
			}
		})
	}
}

// TestOverdueWait: the progress deadline of a share starts when the spec asks for it, or when the
// first replica becomes ready.
func TestOverdueWait(t *testing.T) {
	policy := testPolicy
	policy.ProgressDeadline = 10 * time.Minute
	tests := map[string]struct {
		askedAt, readySince time.Duration // Before now; 0 means unknown.
		want                bool
		wantWake            time.Duration
	}{
		"asked for a minute ago":                    {askedAt: time.Minute, wantWake: 9 * time.Minute},
		"asked for an hour ago":                     {askedAt: time.Hour, want: true},
		"asked for an hour ago, ready for a minute": {askedAt: time.Hour, readySince: time.Minute, wantWake: 9 * time.Minute},
		"ready for longer than asked for":           {askedAt: time.Minute, readySince: time.Hour, wantWake: 9 * time.Minute},
		"a kubelet whose clock is ahead":            {askedAt: time.Hour, readySince: -time.Hour, want: true},
		"a state of the first release":              {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := rolloutState(1, 0, 2, new(50), canarySplit(2, 10, 1))
			state.Held = heldBy(map[Number]int{1: 8})
			if test.askedAt != 0 {
				state.AskedAt = testNow.Add(-test.askedAt)
			}
			canary := upWith(2, 1)
			if test.readySince != 0 {
				canary.predictor().ReadySince = testNow.Add(-test.readySince)
			}
			observed := newSnapshot(state, 2, new(50), upWith(1, 8), canary)
			observed.Desired.Replicas = scaled
			decision := Decide(observed, policy, testNow)
			want := &Waiting{Revision: 2, Percent: 50, Ready: 1, Need: 4, Overdue: test.want}
			if diff := cmp.Diff(want, decision.Waiting); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			if wake := testNow.Add(test.wantWake); test.wantWake > 0 && !decision.WakeAt.Equal(wake) {
				t.Errorf("it wakes at %s, want %s", decision.WakeAt, wake)
			}
		})
	}
}
