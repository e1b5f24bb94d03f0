// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import "math"

// Counts are requests, and those of them that had a bad response.
type Counts struct {
	Requests, Bad float64
}

func (c Counts) plus(other Counts) Counts {
	return Counts{c.Requests + other.Requests, c.Bad + other.Bad}
}

func (c Counts) times(factor float64) Counts {
	return Counts{c.Requests * factor, c.Bad * factor}
}

// rate returns the share of bad responses.
func (c Counts) rate() float64 { return c.Bad / c.Requests }

// Interval is what both revisions served in one interval of the grid.
type Interval struct {
	Canary, Stable Counts
}

// bet is what one interval says about one hypothesis: of the trials, successes have a property whose
// probability is at most p0.
type bet struct {
	successes, trials, p0 float64
}

// hypothesis turns an interval into a bet against it.
type hypothesis func(Interval) bet

// limitedTo is the hypothesis that the canary's rate of bad responses is at most the limit.
func limitedTo(limit float64) hypothesis {
	return func(i Interval) bet { return bet{i.Canary.Bad, i.Canary.Requests, limit} }
}

// ratioOf is the hypothesis that the canary's rate of bad responses is at most ratio times the
// stable's. An interval in which either had no requests says nothing about it.
func ratioOf(ratio float64) hypothesis {
	return func(i Interval) bet {
		if i.Canary.Requests == 0 || i.Stable.Requests == 0 {
			return bet{}
		}
		weight := ratio * i.Canary.Requests
		return bet{i.Canary.Bad, i.Canary.Bad + i.Stable.Bad, weight / (weight + i.Stable.Requests)}
	}
}

// logGain returns the logarithm of the gain if the bet is that the odds are r times as high.
func (b bet) logGain(r float64) float64 {
	if b.trials == 0 {
		return 0
	}
	return b.successes*math.Log(r) - b.trials*math.Log1p((r-1)*b.p0)
}

// process is the capital of a sequence of bets on several alternatives. It holds logarithms, because
// the capital can exceed any float64.
type process struct {
	odds    []float64 // the alternatives
	capital []float64 // what each alternative gained or lost so far
	maxGain float64   // of one interval
	mixture bool      // stakes some capital at every interval, instead of all of it at the first
	k       int       // the number of intervals so far
}

var (
	harmOdds  = []float64{1.25, 1.5, 2, 3, 5, 10, 30, 100}
	proofOdds = []float64{0.8, 0.67, 0.5, 0.33, 0.2, 0.1}

	nothing = math.Inf(-1) // the logarithm of 0
)

// newHarm returns a process that gains while the canary is worse than the hypothesis. No single
// interval gains enough to reach 1/alpha.
func newHarm(alpha float64) *process {
	p := newProcess(harmOdds)
	p.maxGain, p.mixture = math.Log(2/alpha)/2, true
	return p
}

// newProof returns a process that gains while the canary is better than the hypothesis.
func newProof() *process { return newProcess(proofOdds) }

func newProcess(odds []float64) *process {
	p := &process{odds: odds, capital: make([]float64, len(odds)), maxGain: math.Inf(1)}
	for j := range p.capital {
		p.capital[j] = nothing
	}
	return p
}

// add plays the next interval and returns the logarithm of the e-value, which is the mean capital of
// the alternatives and what has not been staked yet.
func (p *process) add(b bet) float64 {
	p.k++
	stake, rest := p.stake()
	highest := nothing
	for j, r := range p.odds {
		p.capital[j] = logAdd(p.capital[j], stake) + min(b.logGain(r), p.maxGain)
		highest = max(highest, p.capital[j])
	}
	sum := 0.0
	for _, capital := range p.capital {
		sum += math.Exp(capital - highest)
	}
	return logAdd(highest+math.Log(sum/float64(len(p.odds))), rest)
}

// evenStakes is the number of intervals over which a quarter of the capital is staked evenly.
const evenStakes = 480

// stake returns the logarithms of what is staked at interval k and of what is left after it. Of a
// mixture, half is staked at the first interval, a quarter evenly over the next evenStakes, and a
// quarter as 1/(i(i+1)), which never ends.
func (p *process) stake() (stake, rest float64) {
	if !p.mixture {
		if p.k == 1 {
			return 0, nothing
		}
		return nothing, nothing
	}
	i := float64(p.k - 1)
	rest = 0.25/(i+1) + 0.25*max(0, 1-i/evenStakes)
	if p.k == 1 {
		return math.Log(0.5), math.Log(rest)
	}
	stake = 0.25 / (i * (i + 1))
	if i <= evenStakes {
		stake += 0.25 / evenStakes
	}
	return math.Log(stake), math.Log(rest)
}

// logAdd returns the logarithm of a sum of which it gets the logarithms.
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if b == nothing {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// test follows one process for each hypothesis.
type test struct {
	hypotheses []hypothesis
	processes  []*process
	mean       bool // combines the e-values by their mean, instead of their minimum
	// best is the logarithm of the highest e-value so far.
	best float64
}

// harmTest asks whether the canary is worse than every hypothesis allows.
func harmTest(alpha float64, hypotheses ...hypothesis) *test {
	return newTest(hypotheses, false, func() *process { return newHarm(alpha) })
}

// proofTest asks whether the canary is better than one of the hypotheses.
func proofTest(hypotheses ...hypothesis) *test {
	return newTest(hypotheses, true, newProof)
}

func newTest(hypotheses []hypothesis, mean bool, newProcess func() *process) *test {
	t := &test{hypotheses: hypotheses, mean: mean}
	for range hypotheses {
		t.processes = append(t.processes, newProcess())
	}
	return t
}

// add returns the logarithm of the e-value after the next interval.
func (t *test) add(i Interval) float64 {
	all := 0.0
	for j, p := range t.processes {
		e := p.add(t.hypotheses[j](i))
		switch {
		case j == 0:
			all = e
		case t.mean:
			all = logAdd(all, e)
		default:
			all = min(all, e)
		}
	}
	if t.mean {
		all -= math.Log(float64(len(t.processes)))
	}
	t.best = max(t.best, all)
	return all
}

// reached reports whether the e-value ever reached 1/alpha.
func (t *test) reached(alpha float64) bool { return t.best >= math.Log(1/alpha) }

// addUntil adds the intervals up to the one at which the e-value reaches 1/alpha, and returns them.
func (t *test) addUntil(alpha float64, intervals []Interval) []Interval {
	for k, i := range intervals {
		t.add(i)
		if t.reached(alpha) {
			return intervals[:k+1]
		}
	}
	return intervals
}
