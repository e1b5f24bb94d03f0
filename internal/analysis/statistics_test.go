// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	repetitions = flag.Int("repetitions", 200, "how often to simulate each case")
	update      = flag.Bool("update", false, "write the tables of docs/statistics.md")
)

// simulate runs the repetitions of a case, each with its own seed, and calls record in their order.
func simulate[T any](seed uint64, run func(*rand.Rand) T, record func(T)) {
	results := make([]T, *repetitions)
	var workers sync.WaitGroup
	for worker := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := worker; i < len(results); i += runtime.GOMAXPROCS(0) {
				results[i] = run(rand.New(rand.NewPCG(seed, uint64(i))))
			}
		})
	}
	workers.Wait()
	for _, result := range results {
		record(result)
	}
}

// percent returns a share of the repetitions.
func percent(n int) float64 { return 100 * float64(n) / float64(*repetitions) }

// atMost fails if more than limit percent of the repetitions can only be chance with a probability
// below one in a thousand.
func atMost(t *testing.T, what string, n int, limit float64) {
	t.Helper()
	slack := 3 * math.Sqrt(limit*(100-limit)/float64(*repetitions))
	if percent(n) > limit+slack {
		t.Errorf("%s: %.1f %%, want at most %v %%", what, percent(n), limit)
	}
}

// TestStatistics compares the decisions on simulated canaries with what the documentation promises.
// The fast default has few repetitions, and `make statistics` has 5,000.
func TestStatistics(t *testing.T) {
	var report strings.Builder
	fmt.Fprintf(&report, "%d repetitions of each case.\n", *repetitions)
	t.Run("false rejections", func(t *testing.T) { falseRejections(t, &report) })
	t.Run("bursts", func(t *testing.T) { burstRejections(t, &report) })
	t.Run("delays", func(t *testing.T) { delays(t, &report) })
	t.Run("whole rollouts", func(t *testing.T) { wholeRollouts(t, &report) })
	t.Log("\n" + report.String())
	if *update && !t.Failed() {
		writeReport(t, report.String())
	}
}

func falseRejections(t *testing.T, report *strings.Builder) {
	outage := func(look int) float64 {
		if look >= 360 && look < 380 {
			return 100
		}
		return 1
	}
	cases := []struct {
		name string
		load load
	}{
		{"1 rps, 1 % bad", load{1, 0.01, 0.01, nil}},
		{"10 rps, 0.5 %", load{10, 0.005, 0.005, nil}},
		{"100 rps, 0.5 %", load{100, 0.005, 0.005, nil}},
		{"100 rps, 1 %", load{100, 0.01, 0.01, nil}},
		{"outage of both", load{100, 0.005, 0.005, outage}},
	}
	rules := []string{
		"no difference allowed, no cap (confidence 95 %)",
		"the defaults (confidence 95 %)",
		"Argo Rollouts: success rate of 5 minutes ≥ 99 % each minute, `failureLimit: 0`",
		"Flagger: `request-success-rate` of 1 minute ≥ 99 %, `threshold: 5`",
	}
	rows := make([]string, len(rules))
	var header strings.Builder
	header.WriteString("| good canary that is rejected within 4 hours, % |")
	for c, tc := range cases {
		var rejected [4]int
		simulate(uint64(c), func(random *rand.Rand) [4]bool { return rejections(random, tc.load) }, func(r [4]bool) {
			for rule, isRejected := range r {
				if isRejected {
					rejected[rule]++
				}
			}
		})
		atMost(t, tc.name+", "+rules[0], rejected[0], 5)
		atMost(t, tc.name+", "+rules[1], rejected[1], 0.5)
		header.WriteString(" " + tc.name + " |")
		for rule, n := range rejected {
			rows[rule] += fmt.Sprintf(" %.1f |", percent(n))
		}
	}
	fmt.Fprintf(report, "\n### Good canaries that are rejected\n\n%s\n|---|%s\n", header.String(), strings.Repeat("---:|", len(cases)))
	for rule, row := range rows {
		fmt.Fprintf(report, "| %s |%s\n", rules[rule], row)
	}
	report.WriteString(`
Shares: 10 % for an hour, 25 % for an hour, 50 % for two hours, a look each 15 seconds. One metric,
independent responses. In the outage, half of all responses of both revisions are bad for five
minutes.
`)
}

func burstRejections(t *testing.T, report *strings.Builder) {
	report.WriteString(`
### Good canaries whose failures come in bursts

| traffic | bad responses in one burst, mean | rejected without phi, % | rejected with phi, % | phi, median |
|---|---:|---:|---:|---:|
`)
	for c, tc := range []struct {
		name string
		load load
		size float64
	}{
		{"10 rps, 2 % bad", load{perSecond: 10, stable: 0.02}, 3},
		{"100 rps, 0.5 %", load{perSecond: 100, stable: 0.005}, 10},
		{"100 rps, 2 %", load{perSecond: 100, stable: 0.02}, 30},
		{"10 rps, 0.5 %: a burst each 200 s", load{perSecond: 10, stable: 0.005}, 10},
	} {
		var without, with int
		var phis []float64
		simulate(100+uint64(c), func(random *rand.Rand) burstOutcome { return bursts(random, tc.load, tc.size) }, func(o burstOutcome) {
			phis = append(phis, o.phi)
			if o.without {
				without++
			}
			if o.with {
				with++
			}
		})
		fmt.Fprintf(report, "| %s | %v | %.1f | %.1f | %.1f |\n", tc.name, tc.size, percent(without), percent(with), quantile(phis, 0.5))
		atMost(t, tc.name, with, 5)
	}
	report.WriteString(`
As above, with the defaults. Each burst has a random size and hits one revision. Phi comes from the
hour before.
`)
}

func delays(t *testing.T, report *strings.Builder) {
	report.WriteString(`
### Bad canaries at share 10 %, 100 requests per second

| bad responses: stable → canary | until the rejection, s: median (p95) | requests of the canary, median | bad responses, median |
|---|---:|---:|---:|
`)
	for c, tc := range []struct {
		name          string
		load          load
		seconds, slow float64
	}{
		{"0.1 → 1 %", load{perSecond: 100, stable: 0.001, canary: 0.01}, 90, 180},
		{"0.5 → 5 %", load{perSecond: 100, stable: 0.005, canary: 0.05}, 45, 60},
		{"0.1 → 100 %", load{perSecond: 100, stable: 0.001, canary: 1}, 30, 30},
	} {
		var seconds, requests, bad []float64
		simulate(200+uint64(c), func(random *rand.Rand) delayOutcome { return delay(random, tc.load) }, func(o delayOutcome) {
			seconds = append(seconds, float64(o.looks*lookSeconds))
			requests = append(requests, o.served.Requests)
			bad = append(bad, o.served.Bad)
		})
		median, slow := quantile(seconds, 0.5), quantile(seconds, 0.95)
		if median > tc.seconds || slow > tc.slow+lookSeconds {
			t.Errorf("%s: median %v s, p95 %v s, want %v s and %v s", tc.name, median, slow, tc.seconds, tc.slow)
		}
		fmt.Fprintf(report, "| %s | %v (%v) | %v | %v |\n", tc.name, median, slow, quantile(requests, 0.5), quantile(bad, 0.5))
	}
	report.WriteString("\nWith the defaults and one metric.\n")
}

func wholeRollouts(t *testing.T, report *strings.Builder) {
	report.WriteString(`
### Whole rollouts

Promoted % / minutes, median / bad responses of the canary, mean.

| bad responses: stable → canary | a policy with the defaults | Flagger's tutorial | Argo Rollouts' documentation |
|---|---|---|---|
`)
	for c, tc := range []struct {
		name      string
		load      load
		low, high float64 // promoted by us, in percent
	}{
		{"100 rps, 0.1 → 1 %", load{perSecond: 100, stable: 0.001, canary: 0.01}, 0, 0},
		{"100 rps, 0.5 → 5 %", load{perSecond: 100, stable: 0.005, canary: 0.05}, 0, 0},
		{"1 rps, 0.5 → 5 %", load{perSecond: 1, stable: 0.005, canary: 0.05}, 0, 0.5},
		{"100 rps, 1 → 1 % (good)", load{perSecond: 100, stable: 0.01, canary: 0.01}, 99, 100},
		{"100 rps, 1 → 2 %", load{perSecond: 100, stable: 0.01, canary: 0.02}, 0, 12},
	} {
		fmt.Fprintf(report, "| %s |", tc.name)
		for r, rule := range []func(*rand.Rand, load) outcome{ours, flaggersTutorial, argosDocumentation} {
			promoted, bad := 0, 0.0
			var minutes []float64
			simulate(300+10*uint64(c)+uint64(r), func(random *rand.Rand) outcome { return rule(random, tc.load) }, func(o outcome) {
				if o.promoted {
					promoted++
				}
				minutes = append(minutes, float64(o.looks)/looksPerMin)
				bad += o.bad
			})
			if r == 0 {
				atMost(t, tc.name+", promoted", promoted, tc.high)
				atMost(t, tc.name+", not promoted", *repetitions-promoted, 100-tc.low)
			}
			fmt.Fprintf(report, " %.0f / %.3g / %.0f |", percent(promoted), quantile(minutes, 0.5), bad/float64(*repetitions))
		}
		report.WriteString("\n")
	}
	report.WriteString(`
- A policy with the defaults: 10 % for at least five minutes, 50 % for at least ten, then the
  promotion. Errors and latency are analysed, and 5 % of the responses of both revisions are slow.
- Flagger's tutorial for Istio: a check each minute, 10 % more after each success, the promotion
  after the success at 50 %.
- The background analysis in Argo Rollouts' documentation: 20, 40, 60 and 80 % for ten minutes each.
  From 40 % on, a success rate of at least 95 %, measured each five minutes with ` + "`irate`" + `, which takes
  the last two samples, with ` + "`failureLimit: 3`" + `.
`)
}

const (
	reportPath = "../../docs/statistics.md"
	begin, end = "<!-- begin generated -->\n", "<!-- end generated -->\n"
)

func writeReport(t *testing.T, report string) {
	page, err := os.ReadFile(reportPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(page), begin)
	_, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s has no markers for the tables", reportPath)
	}
	page = []byte(before + begin + "\n" + report + "\n" + end + after)
	if err := os.WriteFile(reportPath, page, 0o644); err != nil {
		t.Fatal(err)
	}
}
