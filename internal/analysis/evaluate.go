// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"slices"
)

// Settings say what is worse than allowed, and how sure a verdict must be.
type Settings struct {
	// Confidence is the probability that a canary that is never worse than allowed is not rejected,
	// such as 0.95.
	Confidence float64
	// MinRequests is how many requests the canary must have served at its present share.
	MinRequests float64
	// WarmUp is how long after each change of the share proof and latency ignore what was served,
	// in milliseconds.
	WarmUp int64
	// Bake says that the canary is watched after the promotion. Each of both phases then gets half
	// of the permitted probability of a false rejection.
	Bake    bool
	Metrics []Metric
}

// Metric is one kind of bad response.
type Metric struct {
	Name  string
	Harm  HarmLimits
	Proof ProofLimits
	// Phi is the result of [Phi]. It must not change during a trial.
	Phi float64
	// SkipWarmUp leaves the warm-up out of harm too, as for latency.
	SkipWarmUp bool
	// DryRun reports the metric, but neither rejects nor requires anything.
	DryRun bool
}

// HarmLimits reject a canary whose rate of bad responses is above MaxRatio times the stable's and
// above Floor, or above Max. A limit of 0 is not set.
type HarmLimits struct {
	MaxRatio, Floor, Max float64
}

// ProofLimits require that a canary's rate of bad responses is proven to be below MaxRatio times the
// stable's or below Floor. A MaxRatio of 0 requires no proof.
type ProofLimits struct {
	MaxRatio, Floor float64
}

// Trial is what happened to a canary since its beginning. All times are in milliseconds.
type Trial struct {
	Grid Grid
	// Shares are the times at which the canary got its successive shares.
	Shares []int64
	// Promoted is the time of the promotion, or 0 before it.
	Promoted int64
	// Counts holds for each metric of the settings what was served in each interval of the grid.
	Counts [][]Interval
	// Previous holds for each metric what the stable served in the last hour in which it had
	// traffic. It is needed after the promotion only.
	Previous []Counts
}

// Verdict is what a trial shows.
type Verdict struct {
	// Harm reports whether the canary is worse than allowed.
	Harm bool
	// Proven reports whether every metric that requires it is proven at the present share. It is
	// false if none does.
	Proven bool
	// Enough reports whether the canary served the least number of requests at its present share.
	Enough bool
	// ProvenAfter and EnoughAfter are the numbers of intervals after which Proven and Enough became
	// true, or 0.
	ProvenAfter, EnoughAfter int
	Metrics                  []Evidence
}

// Evidence is what a trial shows about one metric.
type Evidence struct {
	Name string
	// Canary and Stable are all responses that were compared. After the promotion, they are those of
	// the canary since then and those of the stable before it.
	Canary, Stable Counts
	Phi            float64
	// Ratio is the canary's rate of bad responses divided by the stable's. It is infinite if only
	// the canary had any, and NaN if neither had.
	Ratio float64
	// Lower and Upper are the bounds of Ratio when harm or proof was reached, at the confidence of
	// that verdict. Without it, and where only Max or Floor decided, they are 0 and infinite.
	Lower, Upper float64
	// Harm, Ceiling and Proof are the highest e-values of HarmLimits without Max, of Max, and of
	// ProofLimits. Harm is proven when Harm or Ceiling reaches HarmNeeded, and proof when Proof
	// reaches ProofNeeded. No e-value goes on after that.
	Harm, Ceiling, Proof    float64
	HarmNeeded, ProofNeeded float64
	Harmful, Proven, DryRun bool
	// ProvenAfter is the number of intervals after which Proven became true, or 0.
	ProvenAfter int
}

// Evaluate returns the verdict on a trial. It computes all intervals again, and depends on nothing
// else. Harm that was proven stays proven, and so does proof until the share changes.
func Evaluate(s Settings, t Trial) Verdict {
	alpha := 1 - s.Confidence
	harmAlpha := alpha / s.phases() / s.actingMetrics()
	verdict := Verdict{Proven: len(t.Shares) > 0}
	required := 0
	for i, m := range s.Metrics {
		c := t.counts(i, m, s.WarmUp)
		e := Evidence{Name: m.Name, Phi: c.phi, DryRun: m.DryRun}
		e.addHarm(m.Harm, c, harmAlpha)
		e.addProof(m.Proof, c, alpha)
		if !m.DryRun {
			verdict.Harm = verdict.Harm || e.Harmful
			if m.Proof.MaxRatio > 0 {
				required++
				verdict.Proven = verdict.Proven && e.Proven
				verdict.ProvenAfter = max(verdict.ProvenAfter, e.ProvenAfter)
			}
		}
		if after := c.enoughAfter(s.MinRequests); after > 0 && (!verdict.Enough || after < verdict.EnoughAfter) {
			verdict.Enough, verdict.EnoughAfter = true, after
		}
		verdict.Metrics = append(verdict.Metrics, e)
	}
	if verdict.Proven = verdict.Proven && required > 0; !verdict.Proven {
		verdict.ProvenAfter = 0
	}
	return verdict
}

func (s Settings) phases() float64 {
	if s.Bake {
		return 2
	}
	return 1
}

// actingMetrics returns the number of metrics that share the permitted probability of a false
// rejection.
func (s Settings) actingMetrics() float64 {
	n := 0
	for _, m := range s.Metrics {
		if !m.DryRun && m.Harm != (HarmLimits{}) {
			n++
		}
	}
	return float64(max(1, n))
}

// counts is what the trial served for one metric, divided by phi.
type counts struct {
	trial, share, bake []Interval
	promoted           bool
	previous           Counts
	phi                float64
	served             []Interval // at the present share with its warm-up, not divided
	all                int        // the number of intervals
}

// enoughAfter returns the number of intervals after which the canary served the requests at its
// present share, or 0.
func (c counts) enoughAfter(requests float64) int {
	total := 0.0
	for k, i := range c.served {
		if total += i.Canary.Requests; total >= requests {
			return c.all - len(c.served) + k + 1
		}
	}
	return 0
}

func (t Trial) counts(metric int, m Metric, warmUp int64) counts {
	c := counts{phi: max(1, m.Phi), promoted: t.Promoted > 0, all: len(t.Counts[metric])}
	all := make([]Interval, len(t.Counts[metric]))
	for k, i := range t.Counts[metric] {
		all[k] = Interval{i.Canary.times(1 / c.phi), i.Stable.times(1 / c.phi)}
	}
	at := func(k int) int { return min(max(0, k), len(all)) }

	changes := slices.Clone(t.Shares)
	end := len(all)
	if c.promoted {
		changes = append(changes, t.Promoted)
		end = at(t.Grid.Next(t.Promoted))
		c.previous = t.Previous[metric].times(1 / c.phi)
	}
	if len(changes) > 0 {
		last := changes[len(changes)-1]
		c.share = all[at(t.Grid.Next(last+warmUp)):]
		c.served = t.Counts[metric][at(t.Grid.Next(last)):]
	}
	if m.SkipWarmUp {
		all = slices.Clone(all)
		for _, change := range changes {
			clear(all[at(t.Grid.index(change)):at(t.Grid.Next(change+warmUp))])
		}
	}
	c.trial, c.bake = all[:end], all[end:]
	return c
}

// phase is a part of a trial that is compared in one way.
type phase struct {
	intervals []Interval
	stable    Counts
	ratioOf   func(float64) hypothesis
}

// phases returns the part before the promotion, and the one after it. After the promotion the stable
// serves nothing, so what it served before gives a limit. The limit counts one more bad response,
// because a stable without any may be lucky.
func (c counts) phases() []phase {
	before := phase{c.trial, Counts{}, ratioOf}
	for _, i := range c.trial {
		before.stable = before.stable.plus(i.Stable)
	}
	if !c.promoted {
		return []phase{before}
	}
	rate := Counts{c.previous.Requests + 1, c.previous.Bad + 1}.rate()
	return []phase{before, {c.bake, c.previous, func(ratio float64) hypothesis { return limitedTo(ratio * rate) }}}
}

// addHarm adds the evidence of the last phase, or of the first one that shows harm.
func (e *Evidence) addHarm(limits HarmLimits, c counts, alpha float64) {
	for _, p := range c.phases() {
		var allowed, ceiling []hypothesis
		if limits.MaxRatio > 0 {
			allowed = append(allowed, p.ratioOf(limits.MaxRatio))
		}
		if limits.Floor > 0 {
			allowed = append(allowed, limitedTo(limits.Floor))
		}
		if limits.Max > 0 {
			ceiling = append(ceiling, limitedTo(limits.Max))
		}
		level := alpha
		if len(allowed) > 0 && len(ceiling) > 0 {
			level /= 2
		}
		harm, exceeded := harmTest(alpha, allowed...), harmTest(alpha, ceiling...)
		compared := harm.addUntil(level, p.intervals)
		exceeded.addUntil(level, p.intervals)
		e.Harm, e.Ceiling, e.HarmNeeded = harm.value(), exceeded.value(), 1/level
		e.setCounts(p, c.phi)
		e.Harmful = harm.reached(level) || exceeded.reached(level)
		if harm.reached(level) {
			e.Lower = bisect(func(ratio float64) bool {
				test := harmTest(alpha, p.ratioOf(ratio))
				test.addUntil(level, compared)
				return !test.reached(level)
			})
		}
		if e.Harmful {
			return
		}
	}
}

func (e *Evidence) setCounts(p phase, phi float64) {
	e.Canary, e.Stable = Counts{}, p.stable.times(phi)
	for _, i := range p.intervals {
		e.Canary = e.Canary.plus(i.Canary.times(phi))
	}
	e.Ratio = e.Canary.rate() / e.Stable.rate()
}

func (e *Evidence) addProof(limits ProofLimits, c counts, alpha float64) {
	e.ProofNeeded, e.Upper = 1/alpha, math.Inf(1)
	if limits.MaxRatio == 0 {
		return
	}
	hypotheses := []hypothesis{ratioOf(limits.MaxRatio)}
	if limits.Floor > 0 {
		hypotheses = append(hypotheses, limitedTo(limits.Floor))
	}
	proof := proofTest(hypotheses...)
	compared := proof.addUntil(alpha, c.share)
	e.Proof, e.Proven = proof.value(), proof.reached(alpha)
	if e.Proven {
		e.ProvenAfter = c.all - len(c.share) + len(compared)
		e.Upper = bisect(func(ratio float64) bool {
			test := proofTest(ratioOf(ratio))
			test.addUntil(alpha, compared)
			return test.reached(alpha)
		})
	}
}

// bisect returns the ratio from which on the condition holds, 0 if it holds for all, and infinity if
// it holds for none.
func bisect(holds func(ratio float64) bool) float64 {
	low, high := math.Log(1e-4), math.Log(1e4)
	switch {
	case holds(math.Exp(low)):
		return 0
	case !holds(math.Exp(high)):
		return math.Inf(1)
	}
	for range 30 {
		if middle := (low + high) / 2; holds(math.Exp(middle)) {
			high = middle
		} else {
			low = middle
		}
	}
	return math.Exp(low)
}

// value returns the highest e-value so far, or the highest float64.
func (t *test) value() float64 { return min(math.Exp(t.best), math.MaxFloat64) }
