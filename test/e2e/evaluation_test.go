// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/watchrecorder"
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/e2e/report"
	"github.com/serinus-io/serinus/test/e2e/timeline"
)

// evaluate applies the checks that are common to all scenarios. It returns the line of the report
// and the failures.
func (s *scenario) evaluate(name string, results prober.Results) (report.Scenario, []error) {
	all := results.All()
	line := report.NewScenario(name, all)
	failures := []error{s.checkErrors(results)}
	for _, o := range s.outages {
		if prober.NoErrors(results.Window(o.why, o.from, o.to)) != nil {
			line.Outage = o.why
		}
	}
	line.Phases = mergePhases(s.phases, results)
	for _, p := range s.phases {
		failures = append(failures, prober.SharesWithin(p.window(results), p.want.of(p.target), tolerance, p.minRequests))
	}
	for _, target := range s.targets {
		decisions, err := s.decisions(target.Name, results)
		failures = append(failures, err)
		failures = append(failures, addDecisions(&line, target.Name, decisions)...)
	}
	return line, failures
}

// mergePhases returns the phases for the report. Phases of different services that began at the
// same time become one phase with the sum of their answers.
func mergePhases(phases []phase, results prober.Results) []report.Phase {
	var merged []report.Phase
	from := time.Duration(-1)
	for _, p := range phases {
		if p.from != from {
			merged = append(merged, report.Phase{Name: p.name, Want: p.want.of(anyService), Answers: map[string]int{}})
			from = p.from
		}
		for revision, answers := range p.window(results).Answers() {
			merged[len(merged)-1].Answers[anyService+strings.TrimPrefix(revision, p.target)] += answers
		}
	}
	return merged
}

const anyService = "service"

func (s *scenario) checkErrors(results prober.Results) error {
	var from time.Duration
	for _, o := range s.outages {
		if w := results.Window("before: "+o.why, from, o.from); len(w.Requests) > 0 {
			if err := prober.NoErrors(w); err != nil {
				return err
			}
		}
		from = o.to
	}
	return prober.NoErrors(results.Window("after the last outage", from, results.End))
}

// decision is a split that the operator wrote, and the requests that were due until it wrote the
// next one.
type decision struct {
	before, after rollout.Split
	// window begins with the write. settledWindow begins when the gateway must serve the split, and
	// is empty if the gateway never accepted it.
	window, settledWindow prober.Window
}

func (s *scenario) decisions(isvc string, results prober.Results) ([]decision, error) {
	var all []decision
	var last rollout.Split
	own, acceptances := results.Of(isvc), s.acceptanceTimes(results)
	begin, accepted := time.Duration(0), time.Duration(-1)
	endAt := func(end time.Duration) {
		if len(all) == 0 {
			return
		}
		d := &all[len(all)-1]
		d.window = own.Window(d.after.String(), begin, end)
		if accepted >= 0 {
			d.settledWindow = own.Window(d.after.String(), lastOfBatch(acceptances, accepted)+gatewayLag, end)
		}
	}
	for _, entry := range s.recorder.Entries() {
		if entry.Deleted || !watchrecorder.IsRoute(isvc, entry.Object) {
			continue
		}
		if _, err := watchrecorder.StateOf(entry.Object); err != nil {
			continue // The operator has not adopted the route yet.
		}
		split, err := watchrecorder.SplitOf(isvc, entry.Object)
		if err != nil {
			return nil, err
		}
		at := max(entry.At.Sub(results.Started), 0)
		if split.String() != last.String() {
			endAt(at)
			all = append(all, decision{before: last, after: split})
			begin, accepted, last = at, -1, split
		}
		if accepted < 0 && testkit.IsAccepted(entry.Object) {
			accepted = at
		}
	}
	endAt(results.End)
	return all, nil
}

func (s *scenario) acceptanceTimes(results prober.Results) []time.Duration {
	var times []time.Duration
	accepted := map[types.UID]bool{}
	for _, entry := range s.recorder.Entries() {
		now := !entry.Deleted && testkit.IsAccepted(entry.Object)
		if now && !accepted[entry.Object.GetUID()] {
			times = append(times, entry.At.Sub(results.Started))
		}
		accepted[entry.Object.GetUID()] = now
	}
	return times
}

// lastOfBatch returns the last acceptance in the batch that includes the given one. Traefik reports
// the routes of a batch one after the other, a few per second if there are many, before it loads
// any of them.
func lastOfBatch(acceptances []time.Duration, last time.Duration) time.Duration {
	for _, at := range acceptances {
		if at > last && at <= last+gatewayLag {
			last = at
		}
	}
	return last
}

// addDecisions adds the effects of the decisions to the report. It fails on requests to revisions
// that had no share.
func addDecisions(line *report.Scenario, isvc string, decisions []decision) []error {
	var failures []error
	everServed := map[rollout.Number]bool{}
	for _, d := range decisions {
		for _, share := range d.after.Shares() {
			everServed[share.Revision] = true
		}
	}
	for _, d := range decisions {
		for n := range everServed {
			revision := revisionOf(isvc, int(n))
			if d.after.Percent(n) == 0 && len(d.settledWindow.Requests) > 0 {
				line.AddRejected(d.settledWindow, revision)
				failures = append(failures, prober.NoRequestsTo(d.settledWindow, revision))
			}
			if gap, moved := d.gap(n, revision); moved {
				line.AddGap(gap)
			}
		}
	}
	return failures
}

// gap returns the time until the traffic followed a decision that gives the revision its first
// share or takes its last.
func (d decision) gap(n rollout.Number, revision string) (time.Duration, bool) {
	before, after := d.before.Percent(n), d.after.Percent(n)
	switch {
	case d.window.From == 0 || len(d.window.Requests) == 0:
		return 0, false // The decision precedes the first request.
	case before == 0 && after > 0:
		return d.window.UntilFirst(revision)
	case before > 0 && after == 0:
		return d.window.UntilLast(revision)
	}
	return 0, false
}

func (s *scenario) drawTimeline() {
	if s.picture == "" {
		return
	}
	results := s.prober.Results()
	note := fmt.Sprintf("%d requests a second, half of them on new connections", rate)
	svg, err := timeline.Of(s.title, note, results, time.Second).SVG()
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(reportPath("images", s.picture+".svg"), []byte(svg), 0o644)).To(Succeed())
}
