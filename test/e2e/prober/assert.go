// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Each assertion returns nil or an error with the figures. A window without requests fails every
// assertion.

// NoErrors checks that every request was answered.
func NoErrors(w Window) error {
	if err := checkNotEmpty(w); err != nil {
		return err
	}
	failed := w.Errors()
	if len(failed) == 0 {
		return nil
	}
	const shown = 3
	var examples strings.Builder
	for i, failure := range w.Failures {
		if i == shown {
			fmt.Fprintf(&examples, "\n  and %d more", len(w.Failures)-shown)
			break
		}
		fmt.Fprintf(&examples, "\n  %s", failure)
	}
	return fmt.Errorf("%s: %d of %d requests failed%s, want none%s", w.title(), sum(failed), len(w.Requests), kinds(failed), examples.String())
}

// RequestsTo returns the requests of a window that a revision answered. If the revision must get
// none, these are the violations.
//
// Every request in the window was sent after the window began, so there is no tolerance at its
// beginning. Requests that were in flight when the window ended are left out: the gateway may have
// routed them later.
func RequestsTo(w Window, revision string) []Request {
	return filter(w.Requests, func(r Request) bool { return r.Revision == revision && r.Done() <= w.To })
}

// NoRequestsTo checks that RequestsTo returns no request.
func NoRequestsTo(w Window, revision string) error {
	if err := checkNotEmpty(w); err != nil {
		return err
	}
	reached := RequestsTo(w, revision)
	if len(reached) == 0 {
		return nil
	}
	first, last := reached[0].Due-w.From, reached[len(reached)-1].Due-w.From
	message := fmt.Sprintf("%s: %s got %d of %d requests, want none: the first %s after the beginning, the last %s",
		w.title(), revision, len(reached), len(w.Requests), milliseconds(first), milliseconds(last))
	if inFlight := w.Answers()[revision] - len(reached); inFlight > 0 {
		message += fmt.Sprintf(" (and %d more that were in flight at the end, which do not count)", inFlight)
	}
	return errors.New(message)
}

// SharesWithin checks that at least atLeast requests were answered, and that each revision's share
// of the answers is within the given percentage points of the wanted percent. A revision with a
// wanted percent of 0 or none must have answered no request.
//
// For a gateway that picks backends at random, 5 points over 1,000 answers are 3.2 standard
// deviations at 50 %, and more at other percents: one run in 600 fails by chance. A gateway that
// uses weighted round-robin does not fail by chance.
func SharesWithin(w Window, want map[string]int, points float64, atLeast int) error {
	if err := checkNotEmpty(w); err != nil {
		return err
	}
	s := w.Summary()
	if answered := sum(s.Answers); answered < atLeast {
		return fmt.Errorf("%s: %d answers are too few to compare shares, want %d", w.title(), answered, atLeast)
	}
	var failures []string
	for _, revision := range slices.Sorted(maps.Keys(union(want, s.Answers))) {
		percent := 100 * s.Share(revision)
		switch {
		case want[revision] == 0 && s.Answers[revision] > 0:
			failures = append(failures, fmt.Sprintf("%s answered %d, want none", revision, s.Answers[revision]))
		case math.Abs(percent-float64(want[revision])) > points+1e-9: // Tolerates rounding errors.
			failures = append(failures, fmt.Sprintf("%s has %.1f %%, want %d %% ± %g", revision, percent, want[revision], points))
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return fmt.Errorf("%s: of %d answers, %s", w.title(), sum(s.Answers), strings.Join(failures, "; "))
}

func union(a, b map[string]int) map[string]int {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]int{}
	}
	maps.Copy(both, b)
	return both
}

// falseAlarmRate is the maximum probability that ShareRises fails although no share fell.
const falseAlarmRate = 1e-4

// ShareRises checks that there is no evidence that a revision's share fell from one window to a
// later one.
//
// The observed shares of a gateway that picks backends at random vary. ShareRises therefore applies
// Fisher's exact test to every pair of windows: given the total number of the revision's answers in
// both, how probable is it that the earlier window has at least as many as observed, if its share
// was not greater? If the probability is below 1 in 10,000 divided by the number of pairs, the
// share has fallen. Shares of a gateway that uses weighted round-robin vary less, so the test holds
// for them too. With a few pairs, both windows need about 800 requests to detect a fall from 50 %
// to 40 %.
func ShareRises(windows []Window, revision string) error {
	if len(windows) < 2 {
		return fmt.Errorf("%s: %d windows, want at least 2 to compare", revision, len(windows))
	}
	got, all := make([]int, len(windows)), make([]int, len(windows))
	for i, w := range windows {
		answers := w.Answers()
		got[i], all[i] = answers[revision], sum(answers)
		if all[i] == 0 {
			return fmt.Errorf("%s: no answers", w.title())
		}
	}
	pairs := len(windows) * (len(windows) - 1) / 2
	for later := range windows {
		for earlier := range later {
			p := fisher(got[earlier], all[earlier], got[later], all[later])
			if p < falseAlarmRate/float64(pairs) {
				return fmt.Errorf("%s: the share of %s fell to %.1f %% (%d of %d), from %.1f %% (%d of %d) in %s; the probability by chance is %.1g",
					windows[later].title(), revision, 100*float64(got[later])/float64(all[later]), got[later], all[later],
					100*float64(got[earlier])/float64(all[earlier]), got[earlier], all[earlier], windows[earlier].title(), p)
			}
		}
	}
	return nil
}

// fisher returns the probability that of the a+b hits among n+m draws, a or more are among the
// first n. It is the tail of the hypergeometric distribution.
func fisher(a, n, b, m int) float64 {
	hits := a + b
	total := 0.0
	for k := a; k <= min(n, hits); k++ {
		total += math.Exp(logChoose(n, k) + logChoose(m, hits-k) - logChoose(n+m, hits))
	}
	return min(total, 1)
}

func logChoose(n, k int) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	factorial := func(i int) float64 {
		log, _ := math.Lgamma(float64(i) + 1)
		return log
	}
	return factorial(n) - factorial(k) - factorial(n-k)
}

func checkNotEmpty(w Window) error {
	if len(w.Requests) == 0 {
		return fmt.Errorf("%s: no requests to check", w.title())
	}
	return nil
}

func (w Window) title() string {
	return fmt.Sprintf("%q (%s to %s)", w.Name, seconds(w.From), seconds(w.To))
}
