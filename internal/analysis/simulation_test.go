// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
)

// The simulation draws the responses of one look at a time, which is an interval of 15 seconds.
const (
	lookSeconds   = 15
	looksPerHour  = 3600 / lookSeconds
	looksPerMin   = 60 / lookSeconds
	windowOfArgo  = 5 * looksPerMin
	windowOfFlux  = looksPerMin
	flaggerLimit  = 5
	successTarget = 0.99
)

// load is the traffic of a service and the rates of bad responses of its revisions.
type load struct {
	perSecond, stable, canary float64
	// factor, if set, returns the factor by which a shared cause raises both rates at a look.
	factor func(look int) float64
}

func (l load) look(random *rand.Rand, look int, share float64) Interval {
	stable, canary := l.stable, l.canary
	if l.factor != nil {
		stable, canary = min(1, stable*l.factor(look)), min(1, canary*l.factor(look))
	}
	requests := l.perSecond * lookSeconds
	return Interval{
		Canary: drawCounts(random, requests*share, canary),
		Stable: drawCounts(random, requests*(1-share), stable),
	}
}

func drawCounts(random *rand.Rand, requests, rate float64) Counts {
	bad := poisson(random, requests*rate)
	return Counts{poisson(random, requests*(1-rate)) + bad, bad}
}

// poisson draws from a Poisson distribution: small means by inversion, others by W. Hörmann's
// transformed rejection, "The transformed rejection method for generating Poisson random variables",
// 1993.
func poisson(random *rand.Rand, mean float64) float64 {
	if mean < 10 {
		n, product := 0.0, random.Float64()
		for limit := math.Exp(-mean); product > limit; n++ {
			product *= random.Float64()
		}
		return n
	}
	b := 0.931 + 2.53*math.Sqrt(mean)
	a := -0.059 + 0.02483*b
	inverseAlpha := 1.1239 + 1.1328/(b-3.4)
	v := 0.9277 - 3.6224/(b-2)
	for {
		u, w := random.Float64()-0.5, random.Float64()
		us := 0.5 - math.Abs(u)
		n := math.Floor((2*a/us+b)*u + mean + 0.43)
		if us >= 0.07 && w <= v {
			return n
		}
		if n < 0 || us < 0.013 && w > us {
			continue
		}
		logFactorial, _ := math.Lgamma(n + 1)
		if math.Log(w*inverseAlpha/(a/(us*us)+b)) <= n*math.Log(mean)-mean-logFactorial {
			return n
		}
	}
}

// window sums the canary's counts of the last looks.
type window struct {
	looks []Counts
	size  int
}

func (w *window) add(c Counts) {
	w.looks = append(w.looks, c)
	if len(w.looks) > w.size {
		w.looks = w.looks[1:]
	}
}

// succeeds reports whether the success rate reaches the target. Without requests it is no number,
// which is no success for either peer.
func (w *window) succeeds(target float64) bool {
	return 1-sum(w.looks).rate() >= target
}

// argo is an AnalysisRun of Argo Rollouts with a successCondition on the success rate. It measures at
// once and then at each interval, and fails with more than failureLimit failed measurements.
type argo struct {
	window       window
	target       float64
	interval     int // in looks
	delay        int // in looks, before the first measurement
	failureLimit int
	failures     int
}

func (a *argo) look(look int, c Counts) (failed bool) {
	a.window.add(c)
	if since := look + 1 - a.delay; since >= 0 && since%a.interval == 0 && !a.window.succeeds(a.target) {
		a.failures++
	}
	return a.failures > a.failureLimit
}

// flagger is an analysis of Flagger that checks the request-success-rate of the last minute each
// minute. It fails when the threshold of failed checks is reached. Checks that succeed do not reset
// their number.
type flagger struct {
	window   window
	failures int
}

// look also reports whether this look was a check that succeeded, upon which the weight goes up.
func (f *flagger) look(look int, c Counts) (failed, advances bool) {
	f.window.add(c)
	if (look+1)%looksPerMin != 0 {
		return false, false
	}
	advances = f.window.succeeds(successTarget)
	if !advances {
		f.failures++
	}
	return f.failures >= flaggerLimit, advances
}

// defaultHarm returns the test of the default limits of errors.
func defaultHarm(alpha float64) *test { return harmTest(alpha, ratioOf(1.5), limitedTo(0.001)) }

// harshestHarm allows no difference at all, and has no cap.
func harshestHarm(alpha float64) *test {
	t := harmTest(alpha, ratioOf(1))
	t.processes[0].maxGain = math.Inf(1)
	return t
}

// shareAt returns the share of the canary in the simulations of four hours.
func shareAt(look int) float64 {
	switch {
	case look < looksPerHour:
		return 0.1
	case look < 2*looksPerHour:
		return 0.25
	}
	return 0.5
}

// rejections plays four hours of a good canary, and reports which rules reject it: one that allows
// no difference, the defaults, Argo Rollouts and Flagger.
func rejections(random *rand.Rand, l load) (rejected [4]bool) {
	strict, usual := harshestHarm(0.05), defaultHarm(0.05)
	a := argo{window: window{size: windowOfArgo}, target: successTarget, interval: looksPerMin, delay: looksPerMin}
	f := flagger{window: window{size: windowOfFlux}}
	for look := range 4 * looksPerHour {
		i := l.look(random, look, shareAt(look))
		if !strict.reached(0.05) {
			strict.add(i)
		}
		if !usual.reached(0.05) {
			usual.add(i)
		}
		argoFailed := a.look(look, i.Canary)
		flaggerFailed, _ := f.look(look, i.Canary)
		rejected[2] = rejected[2] || argoFailed
		rejected[3] = rejected[3] || flaggerFailed
	}
	rejected[0], rejected[1] = strict.reached(0.05), usual.reached(0.05)
	return rejected
}

// burstOutcome says whether a good canary was rejected without and with the correction by phi.
type burstOutcome struct {
	without, with bool
	phi           float64
}

// bursts plays an hour of the stable alone and four hours of a good canary. Bad responses come in
// bursts with a geometric size.
func bursts(random *rand.Rand, l load, size float64) (o burstOutcome) {
	draw := func(share float64) Counts {
		requests, bad := l.perSecond*lookSeconds*share, 0.0
		for range int(poisson(random, requests*l.stable/size)) {
			for bad++; random.Float64() > 1/size; {
				bad++
			}
		}
		return Counts{max(bad, poisson(random, requests)), bad}
	}
	var history []Counts
	for range looksPerHour {
		history = append(history, draw(1))
	}
	o.phi = Phi(history, lookSeconds*1000)
	without, with := defaultHarm(0.05), defaultHarm(0.05)
	for look := range 4 * looksPerHour {
		i := Interval{draw(shareAt(look)), draw(1 - shareAt(look))}
		if !without.reached(0.05) {
			without.add(i)
		}
		if !with.reached(0.05) {
			with.add(Interval{i.Canary.times(1 / o.phi), i.Stable.times(1 / o.phi)})
		}
	}
	o.without, o.with = without.reached(0.05), with.reached(0.05)
	return o
}

// delayOutcome is after how many looks a bad canary is rejected, and what it served until then.
type delayOutcome struct {
	looks  int
	served Counts
}

// delay plays a bad canary at share 10 %.
func delay(random *rand.Rand, l load) (o delayOutcome) {
	harm := defaultHarm(0.05)
	for !harm.reached(0.05) && o.looks < 4*looksPerHour {
		i := l.look(random, o.looks, 0.1)
		harm.add(i)
		o.served = o.served.plus(i.Canary)
		o.looks++
	}
	return o
}

// outcome is the end of a whole rollout.
type outcome struct {
	promoted bool
	looks    int
	bad      float64
}

// ours rolls out with steps of 10 % for five minutes and 50 % for ten minutes, and the default
// metrics: errors, and latency where 5 % of the responses of both revisions are slower than the
// bound.
func ours(random *rand.Rand, l load) (o outcome) {
	const alpha, metrics, warmUp, timeout = 0.05, 2, 30 / lookSeconds, 4 * looksPerHour
	slow := load{perSecond: l.perSecond, stable: 0.05, canary: 0.05}
	errors, latency := defaultHarm(alpha/metrics), harmTest(alpha/metrics, ratioOf(1.5), limitedTo(0.02))
	for _, step := range []struct {
		share float64
		hold  int
	}{{0.1, 5 * looksPerMin}, {0.5, 10 * looksPerMin}} {
		errorsProof, latencyProof := proofTest(ratioOf(3), limitedTo(0.01)), proofTest(ratioOf(3), limitedTo(0.1))
		requests := 0.0
		for look := 0; ; look++ {
			if look >= step.hold && requests >= 100 && errorsProof.reached(alpha) && latencyProof.reached(alpha) {
				break
			}
			if look == timeout {
				return o
			}
			i, s := l.look(random, o.looks, step.share), slow.look(random, o.looks, step.share)
			o.looks++
			o.bad += i.Canary.Bad
			requests += i.Canary.Requests
			errors.add(i)
			if look >= warmUp {
				latency.add(s)
				errorsProof.add(i)
				latencyProof.add(s)
			}
			if errors.reached(alpha/metrics) || latency.reached(alpha/metrics) {
				return o
			}
		}
	}
	o.promoted = true
	return o
}

// flaggersTutorial rolls out as https://docs.flagger.app/tutorials/istio-progressive-delivery: each
// minute a check, by 10 % up to 50 %.
func flaggersTutorial(random *rand.Rand, l load) (o outcome) {
	f := flagger{window: window{size: windowOfFlux}}
	for share := 0.1; ; {
		i := l.look(random, o.looks, share)
		o.bad += i.Canary.Bad
		failed, advances := f.look(o.looks, i.Canary)
		o.looks++
		switch {
		case failed:
			return o
		case advances && share > 0.45:
			o.promoted = true
			return o
		case advances:
			share += 0.1
		}
	}
}

// argosDocumentation rolls out as the first example of
// https://argo-rollouts.readthedocs.io/en/stable/features/analysis: 20, 40, 60 and 80 % for ten
// minutes each, and from 40 % on a success rate of at least 95 %, measured every five minutes, with
// failureLimit 3. The example's query uses irate, which takes the last two samples: one look.
func argosDocumentation(random *rand.Rand, l load) (o outcome) {
	a := argo{window: window{size: 1}, target: 0.95, interval: 5 * looksPerMin, delay: 10 * looksPerMin, failureLimit: 3}
	for _, share := range []float64{0.2, 0.4, 0.6, 0.8} {
		for range 10 * looksPerMin {
			i := l.look(random, o.looks, share)
			o.bad += i.Canary.Bad
			failed := a.look(o.looks, i.Canary)
			o.looks++
			// The measurement at the end of the last pause is one of a rollout that is complete.
			if failed && o.looks < 40*looksPerMin {
				return o
			}
		}
	}
	o.promoted = true
	return o
}

// quantile returns a quantile of the values.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}
