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
	"github.com/serinus-io/serinus/test/e2e/prober"
	"github.com/serinus-io/serinus/test/e2e/report"
	"github.com/serinus-io/serinus/test/e2e/timeline"
	"github.com/serinus-io/serinus/test/journal"
)

// verdict holds a whole story against what is wanted of every story.
func (s *scenario) evaluate(name string, results prober.Results) (report.Scenario, []error) {
	all := results.All()
	line := report.NewScenario(name, all)
	faults := []error{s.checkErrors(results)}
	for _, e := range s.outages {
		if prober.NoErrors(results.Window(e.why, e.from, e.to)) != nil {
			line.Outage = e.why
		}
	}
	line.Phases = mergePhases(s.phases, results)
	for _, p := range s.phases {
		faults = append(faults, prober.SharesWithin(p.window(results), p.want.of(p.target), tolerance, p.minRequests))
	}
	for _, target := range s.targets {
		decisions, err := s.decisions(target.Name, results)
		faults = append(faults, err)
		faults = append(faults, addDecisions(&line, target.Name, decisions)...)
	}
	return line, faults
}

// together tells the phases, with the answers of services that went through one at the same time added up by revision.
func mergePhases(phases []phase, results prober.Results) []report.Phase {
	var told []report.Phase
	from := time.Duration(-1)
	for _, p := range phases {
		if p.from != from {
			told = append(told, report.Phase{Name: p.name, Want: p.want.of(anyService), Answers: map[string]int{}})
			from = p.from
		}
		for revision, answers := range p.window(results).Answers() {
			told[len(told)-1].Answers[anyService+strings.TrimPrefix(revision, p.target)] += answers
		}
	}
	return told
}

// anyService stands for the name of a service.
const anyService = "service"

// errorsAreExcused holds if every request that failed was due when it may.
func (s *scenario) checkErrors(results prober.Results) error {
	var from time.Duration
	for _, e := range s.outages {
		if w := results.Window("before: "+e.why, from, e.from); len(w.Requests) > 0 {
			if err := prober.NoErrors(w); err != nil {
				return err
			}
		}
		from = e.to
	}
	return prober.NoErrors(results.Window("all that remains", from, results.End))
}

// decision is a split that was written, with the requests that were due until the next one was.
type decision struct {
	before, after rollout.Split
	// whole begins with the write, and settled once the gateway must serve it: it is empty if it never said that it does.
	window, settledWindow prober.Window
}

// decisions are those that were taken about an InferenceService under traffic.
func (s *scenario) decisions(isvc string, results prober.Results) ([]decision, error) {
	var all []decision
	var last rollout.Split
	own, reports := results.Of(isvc), s.acceptanceTimes(results)
	begins, accepted := time.Duration(0), time.Duration(-1)
	endAt := func(end time.Duration) {
		if len(all) == 0 {
			return
		}
		d := &all[len(all)-1]
		d.window = own.Window(d.after.String(), begins, end)
		if accepted >= 0 {
			d.settledWindow = own.Window(d.after.String(), lastOfBatch(reports, accepted)+gatewayLag, end)
		}
	}
	for _, entry := range s.journal.Entries() {
		if entry.Deleted || !journal.IsRoute(isvc, entry.Object) {
			continue
		}
		if _, err := journal.RecordOf(entry.Object); err != nil {
			continue // It is not ours yet.
		}
		split, err := journal.SplitOf(isvc, entry.Object)
		if err != nil {
			return nil, err
		}
		at := max(entry.At.Sub(results.Started), 0)
		if split.String() != last.String() {
			endAt(at)
			all = append(all, decision{before: last, after: split})
			begins, accepted, last = at, -1, split
		}
		if accepted < 0 && journal.TakenOver(entry.Object) {
			accepted = at
		}
	}
	endAt(results.End)
	return all, nil
}

// reportsOfGateway are the moments when a route, of whatever service, was first said to be taken over as it is.
func (s *scenario) acceptanceTimes(results prober.Results) []time.Duration {
	var reports []time.Duration
	taken := map[types.UID]bool{}
	for _, entry := range s.journal.Entries() {
		now := !entry.Deleted && journal.TakenOver(entry.Object)
		if now && !taken[entry.Object.GetUID()] {
			reports = append(reports, entry.At.Sub(results.Started))
		}
		taken[entry.Object.GetUID()] = now
	}
	return reports
}

// endOfPass is the last report of a gateway's pass. Traefik goes through all routes and says of one after the other that
// it has taken it over, a few a second where there are many, before it puts anything in place.
func lastOfBatch(reports []time.Duration, last time.Duration) time.Duration {
	for _, at := range reports {
		if at > last && at <= last+gatewayLag {
			last = at
		}
	}
	return last
}

// weigh adds to a story what came of its decisions, and finds fault with requests to revisions that had no share.
func addDecisions(line *report.Scenario, isvc string, decisions []decision) []error {
	var faults []error
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
				faults = append(faults, prober.NoRequestsTo(d.settledWindow, revision))
			}
			if took, moved := d.gap(n, revision); moved {
				line.AddGap(took)
			}
		}
	}
	return faults
}

// took is how long it was until the traffic of a revision followed a decision that gives it its first share or takes
// its last.
func (d decision) gap(n rollout.Number, revision string) (time.Duration, bool) {
	before, after := d.before.Percent(n), d.after.Percent(n)
	switch {
	case d.window.From == 0 || len(d.window.Requests) == 0:
		return 0, false // It was decided before there were requests.
	case before == 0 && after > 0:
		return d.window.UntilFirst(revision)
	case before > 0 && after == 0:
		return d.window.UntilLast(revision)
	}
	return 0, false
}

// draw makes the picture of a story that has one.
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
