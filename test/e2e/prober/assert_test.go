// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func window(requests ...Request) Window {
	return Window{Name: "10 %", From: 10 * time.Second, To: 20 * time.Second, Requests: requests}
}

func at(due, latency time.Duration, revision string) Request {
	return Request{Target: "iris", Due: 10*time.Second + due, Latency: latency, Revision: revision}
}

func answers(ones, twos int) Window {
	var requests []Request
	for i := range ones + twos {
		revision := first
		if i >= ones {
			revision = second
		}
		requests = append(requests, at(time.Duration(i)*10*time.Second/time.Duration(ones+twos), ms, revision))
	}
	return window(requests...)
}

func TestAssertions(t *testing.T) {
	failed := at(20*ms, 10*time.Second, "")
	failed.Error = TimedOut
	refused := at(30*ms, ms, "")
	refused.Error = Refused
	withErrors := window(at(0, ms, first), failed, refused, refused)
	withErrors.Failures = []Failure{
		{Target: "iris", Due: failed.Due, After: failed.Latency, Kind: TimedOut, Text: "context deadline exceeded"},
		{Target: "iris", Due: refused.Due, After: refused.Latency, Kind: Refused, Text: "connect: connection refused", New: true},
	}
	half := map[string]int{first: 50, second: 50}

	for name, test := range map[string]struct {
		err  error
		want string // Part of the error, or empty.
	}{
		"no errors":                    {NoErrors(window(at(0, ms, first), at(10*ms, ms, second))), ""},
		"no errors in an empty window": {NoErrors(window()), `"10 %" (10.000 s to 20.000 s): no requests to check`},
		"errors, with examples": {NoErrors(withErrors), "\"10 %\" (10.000 s to 20.000 s): 3 of 4 requests failed (2 refused, 1 timeout), want none\n" +
			"  timeout to iris at 10.020 s, after 10000.0 ms, on a kept-alive connection: context deadline exceeded\n" +
			"  refused to iris at 10.030 s, after 1.0 ms, on a new connection: connect: connection refused"},

		"no requests to a revision":      {NoRequestsTo(window(at(0, ms, first)), second), ""},
		"no requests in an empty window": {NoRequestsTo(window(), second), "no requests to check"},
		"a request at the mark":          {NoRequestsTo(window(at(0, ms, second), at(1500*ms, ms, first)), second), `"10 %" (10.000 s to 20.000 s): ` + second + " got 1 of 2 requests, want none: the first 0.0 ms after the beginning, the last 0.0 ms"},
		"answered just before the end":   {NoRequestsTo(window(at(9990*ms, 10*ms, second)), second), second + " got 1 of 1 requests"},
		"in flight at the end":           {NoRequestsTo(window(at(9990*ms, 10*ms+1, second)), second), ""},
		"before and at the end":          {NoRequestsTo(window(at(500*ms, ms, second), at(9990*ms, 20*ms, second)), second), second + " got 1 of 2 requests, want none: the first 500.0 ms after the beginning, the last 500.0 ms (and 1 more that were in flight at the end, which do not count)"},
		"errors have no revision":        {NoRequestsTo(withErrors, second), ""},

		"shares as wanted":               {SharesWithin(answers(500, 500), half, 5, 1000), ""},
		"shares exactly 5 points off":    {SharesWithin(answers(550, 450), half, 5, 1000), ""},
		"shares just over 5 points off":  {SharesWithin(answers(551, 449), half, 5, 1000), `"10 %" (10.000 s to 20.000 s): of 1000 answers, ` + first + " has 55.1 %, want 50 % ± 5; " + second + " has 44.9 %, want 50 % ± 5"},
		"one answer too few":             {SharesWithin(answers(500, 499), half, 5, 1000), "999 answers are too few to compare shares, want 1000"},
		"errors do not count as answers": {SharesWithin(withErrors, half, 5, 2), "1 answers are too few"},
		"a revision that was to get 0 %": {SharesWithin(answers(999, 1), map[string]int{first: 100, second: 0}, 5, 1000), second + " answered 1, want none"},
		"an unexpected revision":         {SharesWithin(answers(999, 1), map[string]int{first: 100}, 5, 1000), second + " answered 1, want none"},
		"one that did not answer":        {SharesWithin(answers(1000, 0), map[string]int{first: 90, second: 10}, 5, 1000), first + " has 100.0 %, want 90 % ± 5; " + second + " has 0.0 %, want 10 % ± 5"},
		"no expected share":              {SharesWithin(answers(1000, 0), nil, 5, 1000), first + " answered 1000, want none"},

		"shares that rise":             {ShareRises([]Window{answers(900, 100), answers(500, 500), answers(0, 1000)}, second), ""},
		"shares that vary by chance":   {ShareRises([]Window{answers(890, 110), answers(910, 90), answers(500, 500)}, second), ""},
		"a share that fell":            {ShareRises([]Window{answers(900, 100), answers(500, 500), answers(620, 380)}, second), "the share of " + second + " fell to 38.0 % (380 of 1000), from 50.0 % (500 of 1000)"},
		"a share that fell to nothing": {ShareRises([]Window{answers(900, 100), answers(1000, 0)}, second), "the share of " + second + " fell to 0.0 % (0 of 1000), from 10.0 % (100 of 1000)"},
		"a fall over several windows":  {ShareRises([]Window{answers(500, 500), answers(530, 470), answers(620, 380)}, second), "from 50.0 % (500 of 1000)"},
		"a fall of few requests":       {ShareRises([]Window{answers(0, 4), answers(4, 0)}, second), ""},
		"a fall of a few more":         {ShareRises([]Window{answers(0, 9), answers(9, 0)}, second), "the probability by chance is 2e-05"},
		"one window":                   {ShareRises([]Window{answers(1, 1)}, second), "1 windows, want at least 2 to compare"},
		"a window without answers":     {ShareRises([]Window{answers(1, 1), window(failed)}, second), "no answers"},
	} {
		t.Run(name, func(t *testing.T) {
			switch {
			case test.want == "" && test.err != nil:
				t.Errorf("%v, want no error", test.err)
			case test.want != "" && (test.err == nil || !strings.Contains(test.err.Error(), test.want)):
				t.Errorf("%v, want an error that contains\n%s", test.err, test.want)
			}
		})
	}
}

func TestFisher(t *testing.T) {
	choose := func(n, k int) float64 {
		ways := 1.0
		for i := range k {
			ways = ways * float64(n-i) / float64(i+1)
		}
		return ways
	}
	for n := 1; n <= 12; n++ {
		for m := 1; m <= 12; m++ {
			for a := 0; a <= n; a++ {
				for b := 0; b <= m; b++ {
					ways := 0.0
					for k := a; k <= min(n, a+b); k++ {
						if a+b-k <= m {
							ways += choose(n, k) * choose(m, a+b-k)
						}
					}
					if have, want := fisher(a, n, b, m), ways/choose(n+m, a+b); math.Abs(have-want) > 1e-9 {
						t.Fatalf("%d of %d, then %d of %d: %g, want %g", a, n, b, m, have, want)
					}
				}
			}
		}
	}
}

// TestShareRisesAgainstChance simulates a gateway that picks backends at random. Constant and
// rising shares must pass, and a fall by ten points must be detected.
func TestShareRisesAgainstChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(percent, n int) Window {
		twos := 0
		for range n {
			if random.IntN(100) < percent {
				twos++
			}
		}
		return answers(n-twos, twos)
	}
	const runs = 400
	alarms := func(n int, percents ...int) int {
		alarms := 0
		for range runs {
			var windows []Window
			for _, percent := range percents {
				windows = append(windows, draw(percent, n))
			}
			if ShareRises(windows, second) != nil {
				alarms++
			}
		}
		return alarms
	}
	for _, percents := range [][]int{{1, 1, 1, 1}, {10, 10, 10, 50}, {50, 50, 50, 50, 50}, {10, 20, 50, 90, 100}} {
		if n := alarms(200, percents...); n > 1 {
			t.Errorf("%v: %d false alarms in %d runs", percents, n, runs)
		}
	}
	if n := alarms(1500, 10, 50, 40); n < runs*9/10 {
		t.Errorf("a fall from 50 to 40 %% was detected in %d of %d runs", n, runs)
	}
}

func TestSummary(t *testing.T) {
	var requests []Request
	for i := range 200 {
		request := at(time.Duration(i)*50*ms, time.Duration(200-i)*ms, first)
		if i%4 == 3 {
			request.Revision = second
		}
		request.Late = time.Duration(i%7) * ms
		requests = append(requests, request)
	}
	slow := at(9999*ms, time.Minute, "")
	slow.Error = TimedOut // Its latency must not count.
	have := window(append(requests, slow)...).Summary()
	want := Summary{
		Name: "10 %", From: 10 * time.Second, To: 20 * time.Second, Requests: 201,
		Errors: map[Kind]int{TimedOut: 1}, Answers: map[string]int{first: 150, second: 50},
		P50: 100 * ms, P90: 180 * ms, P99: 198 * ms, Max: 200 * ms, Late: 6 * ms,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	line := `"10 %" from 10.000 s to 20.000 s: 201 requests, 1 errors (1 timeout); iris-predictor-00001 75.0 % (150), iris-predictor-00002 25.0 % (50); ` +
		`latency p50 100.0 ms, p90 180.0 ms, p99 198.0 ms, max 200.0 ms`
	if have.String() != line {
		t.Errorf("%s\nwant\n%s", have, line)
	}
}
