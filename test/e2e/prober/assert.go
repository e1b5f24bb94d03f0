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
	"time"
)

// Each assertion returns nil, or an error that tells the figures. None holds of a
// window without requests: where nothing was asked, nothing is shown.

// NoErrors holds if every request was answered as it should be.
func NoErrors(w Window) error {
	if err := notEmpty(w); err != nil {
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
			fmt.Fprintf(&examples, "\n  and %d more kept", len(w.Failures)-shown)
			break
		}
		fmt.Fprintf(&examples, "\n  %s", failure)
	}
	return fmt.Errorf("%s: %d of %d requests failed%s, want none%s", w.title(), sum(failed), len(w.Requests), kinds(failed), examples.String())
}

// RequestsTo are the requests of a window that must be held against a revision
// that was to get none.
//
// A request that was due, and so sent, after the window began must not reach the
// revision: no tolerance there, whatever was under way at the time. A request that
// was still under way when the window ended may have been routed after that, and
// proves nothing.
func RequestsTo(w Window, revision string) []Request {
	return filter(w.Requests, func(r Request) bool { return r.Revision == revision && r.Done() <= w.To })
}

// NoRequestsTo holds if a revision got none of the requests that RequestsTo tells of.
func NoRequestsTo(w Window, revision string) error {
	if err := notEmpty(w); err != nil {
		return err
	}
	reached := RequestsTo(w, revision)
	if len(reached) == 0 {
		return nil
	}
	first, last := reached[0].Due-w.From, reached[len(reached)-1].Due-w.From
	message := fmt.Sprintf("%s: %s got %d of %d requests, want none: the first %s after the beginning, the last %s",
		w.title(), revision, len(reached), len(w.Requests), milliseconds(first), milliseconds(last))
	if underWay := w.Answers()[revision] - len(reached); underWay > 0 {
		message += fmt.Sprintf(" (and %d more that were under way at the end, which do not count)", underWay)
	}
	return errors.New(message)
}

// SharesWithin holds if at least so many requests were answered and each
// revision's share of them is within so many points of the percent that is wanted.
// A revision of which 0 % is wanted, or nothing said, must have answered none.
//
// Five points over 1,000 answers are 3.2 standard deviations for a gateway that
// draws at random at 50 %, and more for other percents: one run in 600 would fail
// there without a fault, and none for a gateway that takes turns.
func SharesWithin(w Window, want map[string]int, points float64, atLeast int) error {
	if err := notEmpty(w); err != nil {
		return err
	}
	s := w.Summary()
	if answered := sum(s.Answers); answered < atLeast {
		return fmt.Errorf("%s: %d answers are too few to tell shares, want %d", w.title(), answered, atLeast)
	}
	var faults []string
	for _, revision := range slices.Sorted(maps.Keys(union(want, s.Answers))) {
		percent := 100 * s.Share(revision)
		switch {
		case want[revision] == 0 && s.Answers[revision] > 0:
			faults = append(faults, fmt.Sprintf("%s answered %d, want none", revision, s.Answers[revision]))
		case math.Abs(percent-float64(want[revision])) > points+1e-9: // A share of exactly so many points off is within.
			faults = append(faults, fmt.Sprintf("%s has %.1f %%, want %d %% ± %g", revision, percent, want[revision], points))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s: of %d answers, %s", w.title(), sum(s.Answers), strings.Join(faults, "; "))
}

func union(a, b map[string]int) map[string]int {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]int{}
	}
	maps.Copy(both, b)
	return both
}

// falseAlarm is how probable it is at most that ShareRises fails where no share fell.
const falseAlarm = 1e-4

// ShareRises holds if there is no evidence that a revision's share fell from one
// of the windows to a later one.
//
// A gateway that draws at random at a constant percent gives shares that go up
// and down. So for every two windows the question is (Fisher's exact test): given
// how many of the requests of both the revision answered, how probable is it that
// the earlier window has so many of them or more, if its share was no greater?
// Below 1 in 10,000, divided by the number of pairs, the share has fallen. Where a
// gateway takes turns rather than draws, the test is as sound, for such shares
// stray less. To show that a share of 50 % fell to 40 % takes about 800 requests in
// both windows, with a few pairs.
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
			if p < falseAlarm/float64(pairs) {
				return fmt.Errorf("%s: the share of %s fell to %.1f %% (%d of %d), from %.1f %% (%d of %d) in %s; by chance in %.1g of cases",
					windows[later].title(), revision, 100*float64(got[later])/float64(all[later]), got[later], all[later],
					100*float64(got[earlier])/float64(all[earlier]), got[earlier], all[earlier], windows[earlier].title(), p)
			}
		}
	}
	return nil
}

// fisher is how probable it is that, of the a+b hits among n+m draws, a or more
// are among the n: the tail of the hypergeometric distribution.
func fisher(a, n, b, m int) float64 {
	hits := a + b
	total := 0.0
	for k := a; k <= min(n, hits); k++ {
		total += math.Exp(logChoose(n, k) + logChoose(m, hits-k) - logChoose(n+m, hits))
	}
	return min(total, 1)
}

// logChoose is the logarithm of the number of ways to choose k of n.
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

// FirstWithin holds if a revision answered a request of the window no later than
// a limit after the window's beginning.
func FirstWithin(w Window, revision string, limit time.Duration) error {
	if err := notEmpty(w); err != nil {
		return err
	}
	first, found := w.UntilFirst(revision)
	switch {
	case !found:
		return fmt.Errorf("%s: none of %d requests was answered by %s, want the first within %s", w.title(), len(w.Requests), revision, limit)
	case first > limit:
		return fmt.Errorf("%s: the first answer by %s came after %s, want it within %s", w.title(), revision, seconds(first), limit)
	}
	return nil
}

// LastWithin holds if a revision got no request that was due later than a limit after the window's beginning.
func LastWithin(w Window, revision string, limit time.Duration) error {
	if err := notEmpty(w); err != nil {
		return err
	}
	if w.To-w.From < limit {
		return fmt.Errorf("%s: lasted for less than the limit of %s", w.title(), limit)
	}
	if last, found := w.UntilLast(revision); found && last > limit {
		return fmt.Errorf("%s: the last request to %s was sent after %s, want none after %s; it got %d of %d", w.title(), revision,
			seconds(last), limit, w.Answers()[revision], len(w.Requests))
	}
	return nil
}

// NoSilence holds if there was never a longer time without an answer.
func NoSilence(w Window, limit time.Duration) error {
	if err := notEmpty(w); err != nil {
		return err
	}
	if silence, since := w.Silence(); silence > limit {
		return fmt.Errorf("%s: no answer for %s from %s on, want no longer than %s", w.title(), seconds(silence), seconds(since), limit)
	}
	return nil
}

func notEmpty(w Window) error {
	if len(w.Requests) == 0 {
		return fmt.Errorf("%s: no requests, and so nothing is shown", w.title())
	}
	return nil
}

func (w Window) title() string {
	return fmt.Sprintf("%q (%s to %s)", w.Name, seconds(w.From), seconds(w.To))
}
