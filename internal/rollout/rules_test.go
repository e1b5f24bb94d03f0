// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// These tests check rules 1 to 10 of the contract on decisions for random snapshots, and on random
// rollouts after every write and event.

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
func TestPlanRules(t *testing.T)                  { testRule(t, planRule) }

func testRule(t *testing.T, rule int) {
	t.Run("snapshots", func(t *testing.T) {
		check(t, 20, 0, 200, func(t *rapid.T, bytes []byte) {
			d := randomDecision(&choices{bytes})
			if err := rules[rule](d); err != nil {
				t.Fatalf("%v\n%v", err, d)
			}
		})
	})
	t.Run("plans", func(t *testing.T) {
		check(t, 40, 100, 250, func(t *rapid.T, bytes []byte) {
			d := randomPlanDecision(&choices{bytes})
			if err := rules[rule](d); err != nil {
				t.Fatalf("%v\n%v", err, d)
			}
		})
	})
	t.Run("rollouts", func(t *testing.T) {
		t.Parallel()
		check(t, 3, 100, 500, func(t *rapid.T, bytes []byte) {
			reportViolations(t, playRandomRollout(bytes, nil, rule), rule, bytes)
		})
	})
}

// reportViolations fails a test for the violations of a rule, or of any rule for 0, with a trace.
func reportViolations(t rapid.TB, sim *simulation, rule int, bytes []byte) {
	t.Helper()
	violations := sim.checker.violationsOf(rule)
	if len(violations) == 0 {
		return
	}
	for _, b := range violations {
		t.Errorf("rule %d: %s", b.rule, b.how)
	}
	trace := &trace{}
	playRandomRollout(bytes, trace)
	t.Errorf("trace:\n%s", trace)
}

// Random rollouts prove nothing about a state that they never reach.
func TestRandomRolloutsReachEveryState(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const rollouts = 200
	coverage := map[string]int{}
	for range rollouts {
		for what := range playRandomRollout(randomBytes(random, 900), &trace{}, 1).checker.coverage {
			coverage[what]++
		}
	}
	everything := []string{
		string(Run), string(AwaitRoute), string(Drain), string(ScaleDown), string(Delete),
		string(Created), string(Shifted), string(Promoted), string(WasRolledBack), string(Superseded), string(NothingToUndo),
		string(TrialStarted), string(Rejected), string(BakeStarted), string(BakeCompleted), string(BakeEnded),
		"waits", "prunes", "holds replicas", "recovers",
	}
	for _, waits := range []WaitingFor{
		WaitsForHold, WaitsForProof, WaitsForApproval, WaitsForCapacity, WaitsForResume, WaitsForPolicy, WaitsForBake,
	} {
		everything = append(everything, "waits for "+string(waits))
	}
	for _, phase := range Phases() {
		everything = append(everything, string(phase))
	}
	for _, what := range everything {
		if coverage[what] < rollouts/20 {
			t.Errorf("only %d of %d random rollouts reach %q", coverage[what], rollouts, what)
		}
	}
}
