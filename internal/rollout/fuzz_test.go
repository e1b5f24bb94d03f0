// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"testing"
)

// seeds adds long seeds, because snapshots and rollouts need many choices.
func seeds(f *testing.F, length int) {
	f.Add([]byte{})
	random := rand.New(rand.NewPCG(20260311, uint64(length)))
	for range 20 {
		f.Add(randomBytes(random, length))
	}
}

func randomBytes(random *rand.Rand, length int) []byte {
	bytes := make([]byte, length)
	for i := range bytes {
		bytes[i] = byte(random.Uint32())
	}
	return bytes
}

// FuzzDecide checks every rule on decisions for random snapshots.
func FuzzDecide(f *testing.F) {
	seeds(f, 120)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		d := randomDecision(&choices{bytes})
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

// FuzzPlan checks every rule on decisions for random rollouts with a plan.
func FuzzPlan(f *testing.F) {
	seeds(f, 120)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		d := randomPlanDecision(&choices{bytes})
		for rule, check := range rules {
			if check == nil {
				continue
			}
			if err := check(d); err != nil {
				t.Errorf("rule %d: %v\n%v", rule, err, d)
			}
		}
	})
}

// FuzzRollout plays random rollouts and checks every rule after every write and event.
func FuzzRollout(f *testing.F) {
	seeds(f, 300)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		reportViolations(t, playRandomRollout(bytes, nil), 0, bytes)
	})
}

// FuzzDecodeState decodes any annotation value. Decide accepts every decoded state, and it has one
// canonical encoding.
func FuzzDecodeState(f *testing.F) {
	for _, text := range []string{
		encoded, "", "null", "{}", "[]", `{"stable":1,"target":1,"highest":1}`,
		`{"stable":1,"target":2,"percent":0,"split":{"1":100,"2":0},"before":{},"shiftedAt":"2026-03-11T12:00:00+01:00","highest":2}`,
		`{"version":3,"stable":1,"target":1,"asked":{"share":100,"promote":true},"split":{"1":100},"servedBefore":{},"held":{"1":{"predictor":2}},"highest":1,"other":[1]}`,
		`{"stable":1,"target":1,"split":{"01":50,"1":50},"floors":{"-1":-1},"highest":2147483647}`,
		encodedTried, encodedBaked,
		`{"version":3,"stable":1,"target":2,"asked":{"share":0},"split":{"1":100,"2":0},"highest":2,"rejected":{"2":{"attempt":3,"reason":"","at":"0001-01-01T00:00:00Z"}},"attempts":{"2":3,"7":1}}`,
		`{"version":3,"stable":1,"previous":2,"target":2,"split":{},"highest":2,"trial":{"attempt":1,"bake":1},"rejected":{},"attempts":{"2":1}}`,
		`{"Stable":1,"TARGET":1,"split":null,"shiftedAt":"9999-12-31T23:59:59.999999999-23:59","highest":1}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		state, err := DecodeState(text)
		if err != nil {
			return
		}
		canonical := state.Encode()
		again, err := DecodeState(canonical)
		if err != nil {
			t.Fatalf("%s cannot be decoded: %v", canonical, err)
		}
		if twice := again.Encode(); twice != canonical {
			t.Errorf("%s is encoded as %s", canonical, twice)
		}
		observed := newSnapshot(&state, 2, new(10), upWith(1, 3), up(2), withoutWorkload(3))
		observed.Desired.Replicas, observed.Desired.Manual = scaled, true
		planned := observed
		planned.Desired.Manual, planned.Desired.Plan = false, &provenPlan
		for _, observed := range []Snapshot{observed, planned} {
			d := evaluation{observed, testPolicy, testNow, Decide(observed, testPolicy, testNow)}
			for _, check := range []func(evaluation) error{checkSum, checkReadyOnly, checkOrder, checkNoSecondLoad, checkStatusIsDerived} {
				if err := check(d); err != nil {
					t.Errorf("%v\n%v", err, d)
				}
			}
		}
	})
}
