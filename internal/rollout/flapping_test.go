// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"
)

// TestFlappingReadiness: a share is taken away at once, and given back after a stable interval.
func TestFlappingReadiness(t *testing.T) {
	tests := map[string]struct {
		lostAgo, readyFor time.Duration // readyFor is 0 if it is unknown.
		change            func(*Snapshot)
		want              string
		wantWake          time.Duration
	}{
		"ready again after a second":              {lostAgo: time.Second, want: "2:0 1:100", wantWake: 14 * time.Second},
		"ready for 15 seconds":                    {lostAgo: time.Minute, readyFor: 15 * time.Second, want: "2:10 1:90"},
		"ready for 5 seconds":                     {lostAgo: time.Minute, readyFor: 5 * time.Second, want: "2:0 1:100", wantWake: 10 * time.Second},
		"back after more than five minutes":       {lostAgo: 5 * time.Minute, readyFor: time.Second, want: "2:10 1:90"},
		"the loss is forgotten before the period": {lostAgo: 290 * time.Second, readyFor: time.Second, want: "2:0 1:100", wantWake: 10 * time.Second},
		"a kubelet whose clock is ahead":          {lostAgo: 15 * time.Second, readyFor: -time.Hour, want: "2:10 1:90"},
		"an operator whose clock was ahead":       {lostAgo: -time.Hour, want: "2:10 1:90"},
		"the stable cannot serve":                 {lostAgo: time.Second, change: func(s *Snapshot) { s.Revisions[0] = down(1) }, want: "2:10 1:90"},
		"it has never lost its readiness":         {want: "2:10 1:90"},
		"another revision is asked for":           {lostAgo: time.Second, change: func(s *Snapshot) { s.Route.State.Target = 3 }, want: "2:10 1:90"},
		"a percent of 0":                          {lostAgo: time.Second, change: func(s *Snapshot) { s.ask(new(0)) }, want: "2:0 1:100", wantWake: 14 * time.Second},
		"a promotion waits too":                   {lostAgo: time.Second, change: func(s *Snapshot) { s.ask(nil) }, want: "2:0 1:100", wantWake: 14 * time.Second},
		"the target is the stable":                {lostAgo: time.Second, change: func(s *Snapshot) { s.Desired.Hash = hashOf(1) }, want: "1:100"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := rolloutState(1, 0, 2, new(10), canarySplit(2, 0, 1))
			if test.lostAgo != 0 {
				state.LostAt = testNow.Add(-test.lostAgo)
			}
			canary := up(2)
			if test.readyFor != 0 {
				canary.predictor().ReadySince = testNow.Add(-test.readyFor)
			}
			observed := newSnapshot(state, 2, new(10), up(1), canary)
			if test.change != nil {
				test.change(&observed)
			}
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.State.Split.String(); got != test.want {
				t.Errorf("the split is %s, want %s", got, test.want)
			}
			if wake := testNow.Add(test.wantWake); test.wantWake > 0 && !decision.WakeAt.Equal(wake) {
				t.Errorf("it wakes at %s, want %s", decision.WakeAt, wake)
			}
			if unsettled := decision.Unsettled != 0; unsettled != (test.wantWake > 0) {
				t.Errorf("unsettled: %d", decision.Unsettled)
			}
		})
	}
}

// TestFlapsAreFewWrites: readiness that changes every second causes one write of the route.
func TestFlapsAreFewWrites(t *testing.T) {
	state := rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1))
	writes := 0
	for second := range 60 {
		canary := up(2)
		canary.predictor().Ready = second % 2
		canary.predictor().ReadySince = testNow.Add(time.Duration(second) * time.Second)
		decision := Decide(newSnapshot(state, 2, new(10), up(1), canary), testPolicy, testNow.Add(time.Duration(second)*time.Second))
		if decision.State.Encode() != state.Encode() {
			writes++
		}
		state = decision.State
	}
	if writes != 1 {
		t.Errorf("%d writes of the route in a minute, want 1", writes)
	}
}
