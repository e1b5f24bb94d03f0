// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// FuzzDecide takes decisions on any snapshot and holds every rule against each.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		d := randomDecision(&dice{bytes})
		for rule, check := range rules {
			if check == nil {
				continue
			}
			if err := check(d); err != nil {
				t.Errorf("rule %d: %v", rule, err)
			}
		}
		if t.Failed() {
			t.Log(d)
		}
	})
}

// FuzzRollout plays any history.
func FuzzRollout(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		reportBreaches(t, playHistory(bytes, nil), 0, bytes)
	})
}
