// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// near reports whether two numbers agree up to rounding.
func near(a, b float64) bool {
	return a == b || math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b))
}

// binomial returns the probability of bad responses.
func binomial(requests, bad int, rate float64) float64 {
	p := 1.0
	for i := range bad {
		p *= float64(requests-i) / float64(i+1) * rate
	}
	return p * math.Pow(1-rate, float64(requests-bad))
}

// expected returns the expectation of f over all responses of a number of intervals with the same
// requests.
func expected(intervals, canary, stable int, canaryRate, stableRate float64, f func([]Interval) float64) float64 {
	var walk func(done []Interval, probability float64) float64
	walk = func(done []Interval, probability float64) float64 {
		if len(done) == intervals {
			return probability * f(done)
		}
		total := 0.0
		for c := range canary + 1 {
			for s := range stable + 1 {
				p := binomial(canary, c, canaryRate) * binomial(stable, s, stableRate)
				next := Interval{Counts{float64(canary), float64(c)}, Counts{float64(stable), float64(s)}}
				total += walk(append(slices.Clip(done), next), probability*p)
			}
		}
		return total
	}
	return walk(nil, 1)
}

// last returns the e-value after all intervals, of processes that are combined as in t.
func last(t *test, intervals []Interval) float64 {
	e := 0.0
	for _, i := range intervals {
		e = t.add(i)
	}
	return math.Exp(e)
}

func TestExpectationIsAtMostOne(t *testing.T) {
	const precision = 1e-9
	rates := []float64{0, 0.001, 0.05, 0.3, 0.5, 0.8, 0.99, 1}
	for _, stableRate := range rates {
		for _, ratio := range []float64{0.5, 1, 1.5, 3} {
			// The canary is exactly as bad as the limit, the worst case of either question.
			canaryRate := ratio * stableRate
			if canaryRate > 1 {
				continue
			}
			for _, n := range []struct{ intervals, canary, stable int }{{1, 1, 1}, {1, 6, 2}, {1, 3, 12}, {2, 2, 4}, {3, 1, 2}} {
				harm := func(intervals []Interval) float64 {
					return last(harmTest(0.05, ratioOf(ratio)), intervals)
				}
				proof := func(intervals []Interval) float64 { return last(proofTest(ratioOf(ratio)), intervals) }
				if e := expected(n.intervals, n.canary, n.stable, canaryRate, stableRate, harm); e > 1+precision {
					t.Errorf("harm, ratio %v, stable %v, %+v: expectation %v", ratio, stableRate, n, e)
				}
				if e := expected(n.intervals, n.canary, n.stable, canaryRate, stableRate, proof); e > 1+precision {
					t.Errorf("proof, ratio %v, stable %v, %+v: expectation %v", ratio, stableRate, n, e)
				}
				harm = func(intervals []Interval) float64 {
					return last(harmTest(0.05, ratioOf(ratio), limitedTo(0.3)), intervals)
				}
				allowed := max(canaryRate, 0.3)
				if e := expected(n.intervals, n.canary, n.stable, allowed, stableRate, harm); e > 1+precision {
					t.Errorf("harm with a floor, ratio %v, stable %v, %+v: expectation %v", ratio, stableRate, n, e)
				}
				proof = func(intervals []Interval) float64 {
					return last(proofTest(ratioOf(ratio), limitedTo(0.3)), intervals)
				}
				if e := expected(n.intervals, n.canary, n.stable, allowed, stableRate, proof); e > 1+precision {
					t.Errorf("proof with a floor, ratio %v, stable %v, %+v: expectation %v", ratio, stableRate, n, e)
				}
			}
		}
	}
}

// Without a cap, the bet on a limit is fair, not merely favorable to the house.
func TestExpectationAtTheLimitIsOne(t *testing.T) {
	for _, limit := range []float64{0.001, 0.1, 0.7} {
		e := expected(2, 3, 0, limit, 0, func(i []Interval) float64 { return last(proofTest(limitedTo(limit)), i) })
		if !near(e, 1) {
			t.Errorf("limit %v: expectation %v", limit, e)
		}
	}
}

func drawInterval(t *rapid.T) Interval {
	draw := func(label string) Counts {
		requests := rapid.IntRange(0, 200).Draw(t, label)
		return Counts{float64(requests), float64(rapid.IntRange(0, requests).Draw(t, label+" bad"))}
	}
	return Interval{draw("canary"), draw("stable")}
}

func TestIntervalsWithoutInformation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i, ratio := drawInterval(t), rapid.Float64Range(0.01, 10).Draw(t, "ratio")
		r := rapid.Float64Range(0.05, 200).Draw(t, "odds")
		without := []struct {
			name string
			bet  bet
		}{
			{"the canary's requests, ratio", ratioOf(ratio)(Interval{Stable: i.Stable})},
			{"the canary's requests, limit", limitedTo(0.01)(Interval{Stable: i.Stable})},
			{"the stable's requests", ratioOf(ratio)(Interval{Canary: i.Canary})},
			{"bad responses", ratioOf(ratio)(Interval{Counts{i.Canary.Requests, 0}, Counts{i.Stable.Requests, 0}})},
		}
		for _, w := range without {
			if gain := w.bet.logGain(r); gain != 0 {
				t.Errorf("without %s, ln e is %v", w.name, gain)
			}
		}
	})
}

// An interval without requests of the canary leaves the e-value where it is, although it uses up a
// starting time of the mixture.
func TestIdleIntervalsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		harm, proof := defaultHarm(0.05), proofTest(ratioOf(3), limitedTo(0.01))
		h, p := 0.0, 0.0
		for _, i := range rapid.SliceOfN(rapid.Custom(drawInterval), 1, 20).Draw(t, "intervals") {
			h, p = harm.add(i), proof.add(i)
		}
		for range rapid.IntRange(1, 1000).Draw(t, "idle") {
			idle := Interval{Stable: Counts{500, 3}}
			if e := harm.add(idle); !near(e, h) {
				t.Fatalf("ln of harm changed from %v to %v", h, e)
			}
			if e := proof.add(idle); !near(e, p) {
				t.Fatalf("ln of proof changed from %v to %v", p, e)
			}
		}
	})
}

func TestPhiDividesTheGain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i, phi := drawInterval(t), rapid.Float64Range(1, 30).Draw(t, "phi")
		r := rapid.SampledFrom(append(harmOdds, proofOdds...)).Draw(t, "odds")
		scaled := Interval{i.Canary.times(1 / phi), i.Stable.times(1 / phi)}
		for name, h := range map[string]hypothesis{"ratio": ratioOf(1.5), "limit": limitedTo(0.02)} {
			if want, got := h(i).logGain(r)/phi, h(scaled).logGain(r); !near(got, want) {
				t.Errorf("%s: ln e is %v, want %v", name, got, want)
			}
		}
	})
}

// The e-values of harm fall when more is allowed, and those of proof rise.
func TestMonotonousInTheRatio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		intervals := rapid.SliceOfN(rapid.Custom(drawInterval), 1, 20).Draw(t, "intervals")
		low := rapid.Float64Range(0.01, 10).Draw(t, "low")
		high := low * rapid.Float64Range(1, 10).Draw(t, "factor")
		if a, b := last(harmTest(0.05, ratioOf(low)), intervals), last(harmTest(0.05, ratioOf(high)), intervals); b > a && !near(a, b) {
			t.Errorf("harm at %v is %v, at %v %v", low, a, high, b)
		}
		if a, b := last(proofTest(ratioOf(low)), intervals), last(proofTest(ratioOf(high)), intervals); b < a && !near(a, b) {
			t.Errorf("proof at %v is %v, at %v %v", low, a, high, b)
		}
	})
}

// The process equals the formula as it is written, wherever that does not overflow.
func TestMixtureOfStartingTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		intervals := rapid.SliceOfN(rapid.Custom(drawInterval), 1, 600).Draw(t, "intervals")
		hypothesis, limit := ratioOf(1.5), math.Log(2/0.05)/2
		process, m, rest := newHarm(0.05), make([]float64, len(harmOdds)), 1.0
		for k, i := range intervals {
			w := 0.5
			if k > 0 {
				w = 0.25 / float64(k*(k+1))
				if k <= 480 {
					w += 0.25 / 480
				}
			}
			rest -= w
			mean := 0.0
			for j, r := range harmOdds {
				m[j] = (m[j] + w) * math.Exp(min(hypothesis(i).logGain(r), limit))
				mean += m[j] / float64(len(harmOdds))
			}
			got, want := math.Exp(process.add(hypothesis(i))), mean+rest
			if math.IsInf(want, 1) {
				return
			}
			if math.Abs(got-want) > 1e-6*want+1e-9 {
				t.Fatalf("interval %d: E is %v, want %v", k+1, got, want)
			}
		}
	})
}

func TestOneIntervalNeverRejects(t *testing.T) {
	for _, alpha := range []float64{0.2, 0.05, 0.025, 0.001} {
		harm := harmTest(alpha, ratioOf(1.5), limitedTo(0.001))
		allBad := Interval{Counts{1e6, 1e6}, Counts{1e7, 0}}
		if harm.add(allBad); harm.reached(alpha) {
			t.Errorf("alpha %v: one interval is enough", alpha)
		}
		if harm.add(allBad); !harm.reached(alpha) {
			t.Errorf("alpha %v: two intervals are not enough", alpha)
		}
	}
}

func TestLongTrialsAreStable(t *testing.T) {
	const n = 100_000
	for name, i := range map[string]Interval{
		"all bad":  {Counts{100, 100}, Counts{900, 0}},
		"all good": {Counts{100, 0}, Counts{900, 900}},
		"as bad":   {Counts{100, 1}, Counts{900, 9}},
	} {
		harm, proof := defaultHarm(0.05), proofTest(ratioOf(3), limitedTo(0.01))
		for range n {
			h, p := harm.add(i), proof.add(i)
			if math.IsNaN(h) || math.IsInf(h, 0) || math.IsNaN(p) || math.IsInf(p, 0) {
				t.Fatalf("%s: ln of harm is %v, of proof %v", name, h, p)
			}
		}
	}

	// A regression after 100,000 good intervals is still found.
	harm := defaultHarm(0.05)
	for range n {
		harm.add(Interval{Counts{100, 1}, Counts{900, 9}})
	}
	looks := 0
	for ; !harm.reached(0.05) && looks < 100; looks++ {
		harm.add(Interval{Counts{100, 100}, Counts{900, 9}})
	}
	if looks > 15 {
		t.Errorf("a regression is found after %d looks", looks)
	}
}
