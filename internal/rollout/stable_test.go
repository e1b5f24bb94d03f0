// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// TestStableTakesBack: a stable with a share, even 1 %, takes everything back at once if it has a
// ready replica, or if no other revision can serve. A stable without a share gets it in parts, or
// at once if no revision can serve.
func TestStableTakesBack(t *testing.T) {
	tests := map[string]struct {
		split          Split
		stable, canary int // Ready replicas, of 4.
		percent        *int
		want           Split
	}{
		"from a canary of 10":                    {canarySplit(2, 10, 1), 4, 1, new(0), canarySplit(2, 0, 1)},
		"from a canary of 99":                    {canarySplit(2, 99, 1), 1, 4, new(0), canarySplit(2, 0, 1)},
		"from a canary of 99, unready":           {canarySplit(2, 99, 1), 0, 4, new(0), canarySplit(2, 99, 1)},
		"from a canary of 99, both unready":      {canarySplit(2, 99, 1), 0, 0, new(0), canarySplit(2, 0, 1)},
		"a part of it":                           {canarySplit(2, 99, 1), 1, 4, new(50), canarySplit(2, 50, 1)},
		"from a canary that has lost its pods":   {canarySplit(2, 99, 1), 1, 0, new(99), canarySplit(2, 0, 1)},
		"without a share, in part":               {All(2), 3, 4, new(0), canarySplit(2, 25, 1)},
		"without a share":                        {All(2), 4, 4, new(0), canarySplit(2, 0, 1)},
		"with a share of 0, in part":             {canarySplit(2, 100, 1), 3, 4, new(0), canarySplit(2, 25, 1)},
		"without a share, none ready":            {All(2), 0, 0, new(0), All(2)},
		"without a share, only the stable ready": {All(2), 1, 0, new(0), canarySplit(2, 0, 1)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stable, canary := upWith(1, 4), upWith(2, 4)
			stable.predictor().Ready, canary.predictor().Ready = test.stable, test.canary
			observed := newSnapshot(rolloutState(1, 0, 2, test.percent, test.split), 2, test.percent, stable, canary)
			observed.Desired.Replicas = scaled
			decision := Decide(observed, testPolicy, testNow)
			if got := decision.State.Split; !got.Equal(test.want) {
				t.Errorf("split is %s, want %s", got, test.want)
			}
			if decision.State.Stable != 1 || decision.State.Previous != 0 {
				t.Errorf("the stable is %d and the previous %d", decision.State.Stable, decision.State.Previous)
			}
		})
	}
}

// TestLostStableGainsNothing: a lost stable keeps its share and gains nothing. A promotion
// proceeds.
func TestLostStableGainsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		target  Number
		percent *int
		want    Split
	}{
		"the percent becomes 0": {2, new(0), canarySplit(2, 50, 1)},
		"the percent falls":     {2, new(10), canarySplit(2, 50, 1)},
		"another model loads":   {3, new(50), canarySplit(2, 50, 1)},
		"the percent is absent": {2, nil, All(2)},
		"the percent is 100":    {2, new(100), All(2)},
	} {
		t.Run(name, func(t *testing.T) {
			decision := Decide(newSnapshot(rolloutState(1, 0, 2, new(50), canarySplit(2, 50, 1)), test.target, test.percent, up(2), down(3)), testPolicy, testNow)
			if got := decision.State.Split; !got.Equal(test.want) {
				t.Errorf("the split is %s, want %s", got, test.want)
			}
			if waits := decision.Waiting != nil && decision.Waiting.Revision == 1; waits != test.want.Has(1) {
				t.Errorf("it waits for %+v", decision.Waiting)
			}
		})
	}
}
