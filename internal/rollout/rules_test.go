// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// The ten rules of the contract, each on decisions about any snapshot, and on whole histories with peers that fail,
// where it is checked after every write and event. checks_test.go and simulator_rules_test.go hold what each says.

func TestRule1Sum(t *testing.T)                   { testRule(t, 1) }
func TestRule2ReadyOnly(t *testing.T)             { testRule(t, 2) }
func TestRule3CapacityFirst(t *testing.T)         { testRule(t, 3) }
func TestRule4Order(t *testing.T)                 { testRule(t, 4) }
func TestRule5NoSecondLoad(t *testing.T)          { testRule(t, 5) }
func TestRule6RejectedStaysRejected(t *testing.T) { testRule(t, 6) }
func TestRule7StatusIsDerived(t *testing.T)       { testRule(t, 7) }
func TestRule8Silence(t *testing.T)               { testRule(t, 8) }
func TestRule9OwnGeneration(t *testing.T)         { testRule(t, 9) }
func TestRule10BadInputMovesNothing(t *testing.T) { testRule(t, 10) }

func testRule(t *testing.T, rule int) {
	t.Run("snapshots", func(t *testing.T) {
		check(t, 20, 0, 200, func(t *rapid.T, bytes []byte) {
			d := randomDecision(&dice{bytes})
			if err := rules[rule](d); err != nil {
				t.Fatalf("%v\n%v", err, d)
			}
		})
	})
	t.Run("histories", func(t *testing.T) {
		t.Parallel()
		check(t, 3, 100, 500, func(t *rapid.T, bytes []byte) {
			reportBreaches(t, playHistory(bytes, nil, rule), rule, bytes)
		})
	})
}

// reportBreaches fails a test over the breaches of a rule, or of any for 0, and tells how it came to them.
func reportBreaches(t rapid.TB, w *world, rule int, bytes []byte) {
	t.Helper()
	broken := w.witness.broken(rule)
	if len(broken) == 0 {
		return
	}
	for _, b := range broken {
		t.Errorf("rule %d: %s", b.rule, b.how)
	}
	told := &story{}
	playHistory(bytes, told)
	t.Errorf("this is how it came about:\n%s", told)
}

// TestHistoriesGoEverywhere keeps the dice honest: histories that never get to a state prove nothing about it.
func TestHistoriesGoEverywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const histories = 200
	met := map[string]int{}
	for range histories {
		for what := range playHistory(randomBytes(random, 300), &story{}, 1).witness.met {
			met[what]++
		}
	}
	everything := []string{
		string(Run), string(Keep), string(Drain), string(ScaleDown), string(Delete),
		string(Created), string(Shifted), string(Promoted), string(WasRolledBack), string(Superseded), string(NothingToUndo),
		"waits", "forgets", "holds floors", "recovers",
	}
	for _, phase := range Phases() {
		everything = append(everything, string(phase))
	}
	for _, what := range everything {
		if met[what] < histories/20 {
			t.Errorf("%d of %d histories come to %q; that is too few to learn of it", met[what], histories, what)
		}
	}
}
