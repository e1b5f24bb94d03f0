// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

const startMark = "start"

// Request is a request and its outcome.
type Request struct {
	Target string
	// Due is when the request was scheduled, relative to the prober's start. Windows go by it.
	Due time.Duration
	// Late is how much later the prober sent it. More than a few milliseconds indicate an
	// overloaded machine.
	Late time.Duration
	// Latency is the time from Due to the end of the response or to the error.
	Latency time.Duration
	// New reports whether the request opened a new connection.
	New bool
	// Revision is the revision that answered. It is empty if Error is set.
	Revision string
	Error    Kind
}

// Done returns when the request was answered or had failed.
func (r Request) Done() time.Duration { return r.Due + r.Latency }

// Results holds all requests that were due before End.
type Results struct {
	Started  time.Time
	End      time.Duration
	Limit    string
	Targets  []string
	Marks    []Mark
	Requests []Request // By Due.
	Failures []Failure // Examples of errors, by Due.
}

func (r *Results) sort() {
	slices.SortStableFunc(r.Requests, func(a, b Request) int { return cmp.Compare(a.Due, b.Due) })
	slices.SortStableFunc(r.Failures, func(a, b Failure) int { return cmp.Compare(a.Due, b.Due) })
}

// Of returns the results of one target.
func (r Results) Of(target string) Results {
	r.Targets = []string{target}
	r.Requests = filter(r.Requests, func(request Request) bool { return request.Target == target })
	r.Failures = filter(r.Failures, func(failure Failure) bool { return failure.Target == target })
	return r
}

func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, item := range all {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// Window holds the requests that were due from From until before To.
type Window struct {
	Name     string
	From, To time.Duration
	Requests []Request // By Due.
	Failures []Failure
}

// Window returns the requests that were due from one time until before another.
func (r Results) Window(name string, from, to time.Duration) Window {
	return Window{To: r.End, Requests: r.Requests, Failures: r.Failures}.cut(name, from, to)
}

func (w Window) cut(name string, from, to time.Duration) Window {
	to = max(from, min(to, w.To))
	index := func(at time.Duration) int {
		return sort.Search(len(w.Requests), func(i int) bool { return w.Requests[i].Due >= at })
	}
	return Window{
		Name: name, From: from, To: to, Requests: w.Requests[index(from):index(to)],
		Failures: filter(w.Failures, func(f Failure) bool { return f.Due >= from && f.Due < to }),
	}
}

// All returns one window with all requests.
func (r Results) All() Window { return r.Window("all", 0, r.End) }

// Since returns the window from a mark to the end.
func (r Results) Since(mark Mark) Window { return r.Window(mark.Name, mark.At, r.End) }

// Between returns the window from one mark to another.
func (r Results) Between(from, to Mark) Window { return r.Window(from.Name, from.At, to.At) }

// Windows returns the windows between marks, each with the name of the mark at its beginning.
func (r Results) Windows() []Window {
	marks := r.Marks
	if len(marks) == 0 || marks[0].At > 0 {
		marks = append([]Mark{{Name: startMark}}, marks...)
	}
	windows := make([]Window, 0, len(marks))
	for i, mark := range marks {
		end := r.End
		if i+1 < len(marks) {
			end = marks[i+1].At
		}
		windows = append(windows, r.Window(mark.Name, mark.At, end))
	}
	return windows
}

// Buckets returns windows of equal width from the start on.
func (r Results) Buckets(width time.Duration) []Window { return r.All().Buckets(width) }

// Buckets splits the window into windows of equal width. A remainder of at least half the width is
// a bucket of its own. A smaller one is added to the last bucket.
func (w Window) Buckets(width time.Duration) []Window {
	var buckets []Window
	for from := w.From; from < w.To; {
		to := from + width
		if to+width/2 > w.To {
			to = w.To
		}
		buckets = append(buckets, w.cut(seconds(from), from, to))
		from = to
	}
	return buckets
}

// Answers returns the number of requests that each revision answered.
func (w Window) Answers() map[string]int {
	answers := map[string]int{}
	for i := range w.Requests {
		if w.Requests[i].Error == "" {
			answers[w.Requests[i].Revision]++
		}
	}
	return answers
}

// Errors returns the number of errors of each kind.
func (w Window) Errors() map[Kind]int {
	errors := map[Kind]int{}
	for i := range w.Requests {
		if kind := w.Requests[i].Error; kind != "" {
			errors[kind]++
		}
	}
	return errors
}

// Latency returns the quantile, from 0 to 1, of the latencies of the answers. Errors do not count.
func (w Window) Latency(q float64) time.Duration {
	return quantile(w.latencies(), q)
}

func (w Window) latencies() []time.Duration {
	var all []time.Duration
	for i := range w.Requests {
		if w.Requests[i].Error == "" {
			all = append(all, w.Requests[i].Latency)
		}
	}
	slices.Sort(all)
	return all
}

// quantile uses the nearest-rank method: its result is always a measured value.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// UntilFirst returns the time from the window's beginning until a revision's first answer in the
// window, and whether there is one. For a window that begins with a decision it is the time until
// the revision gets traffic.
func (w Window) UntilFirst(revision string) (time.Duration, bool) {
	first, found := time.Duration(math.MaxInt64), false
	for i := range w.Requests {
		if w.Requests[i].Revision == revision {
			first, found = min(first, w.Requests[i].Done()-w.From), true
		}
	}
	if !found {
		return 0, false
	}
	return first, true
}

// UntilLast returns the time from the window's beginning until the last request to a revision was
// due, and whether there is one. For a window that begins with a decision it is the time until the
// revision gets no more traffic. It counts the requests that RequestsTo returns.
func (w Window) UntilLast(revision string) (time.Duration, bool) {
	all := RequestsTo(w, revision)
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)-1].Due - w.From, true
}

// Summary holds the figures of a window.
type Summary struct {
	Name     string         `json:"name"`
	From     time.Duration  `json:"from"`
	To       time.Duration  `json:"to"`
	Requests int            `json:"requests"`
	Errors   map[Kind]int   `json:"errors,omitempty"`
	Answers  map[string]int `json:"answers"` // By revision.
	P50      time.Duration  `json:"p50"`
	P90      time.Duration  `json:"p90"`
	P99      time.Duration  `json:"p99"`
	Max      time.Duration  `json:"max"`
	// Late is the maximum of the requests' Late.
	Late time.Duration `json:"late"`
}

// Summary returns the figures of the window.
func (w Window) Summary() Summary {
	latencies := w.latencies()
	s := Summary{
		Name: w.Name, From: w.From, To: w.To, Requests: len(w.Requests), Errors: w.Errors(), Answers: w.Answers(),
		P50: quantile(latencies, 0.5), P90: quantile(latencies, 0.9), P99: quantile(latencies, 0.99), Max: quantile(latencies, 1),
	}
	for i := range w.Requests {
		s.Late = max(s.Late, w.Requests[i].Late)
	}
	return s
}

// Failed returns the number of errors.
func (s Summary) Failed() int { return sum(s.Errors) }

// Share returns a revision's share of the answers, from 0 to 1.
func (s Summary) Share(revision string) float64 {
	if all := sum(s.Answers); all > 0 {
		return float64(s.Answers[revision]) / float64(all)
	}
	return 0
}

// Revisions returns the revisions that answered, sorted by name.
func (s Summary) Revisions() []string { return slices.Sorted(maps.Keys(s.Answers)) }

func sum[K comparable](counts map[K]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// String returns the summary on one line.
func (s Summary) String() string {
	return fmt.Sprintf("%q from %s to %s: %d requests, %d errors%s; %s; latency p50 %s, p90 %s, p99 %s, max %s",
		s.Name, seconds(s.From), seconds(s.To), s.Requests, s.Failed(), kinds(s.Errors), s.shares(),
		milliseconds(s.P50), milliseconds(s.P90), milliseconds(s.P99), milliseconds(s.Max))
}

func (s Summary) shares() string {
	if len(s.Answers) == 0 {
		return "no answers"
	}
	var shares []string
	for _, revision := range s.Revisions() {
		shares = append(shares, fmt.Sprintf("%s %.1f %% (%d)", revision, 100*s.Share(revision), s.Answers[revision]))
	}
	return strings.Join(shares, ", ")
}

func kinds(errors map[Kind]int) string {
	if len(errors) == 0 {
		return ""
	}
	var counts []string
	for _, kind := range slices.Sorted(maps.Keys(errors)) {
		counts = append(counts, fmt.Sprintf("%d %s", errors[kind], kind))
	}
	return " (" + strings.Join(counts, ", ") + ")"
}
