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
func (s *story) verdict(name string, results prober.Results) (report.Story, []error) {
	all := results.All()
	line := report.Play(name, all)
	faults := []error{s.errorsAreExcused(results)}
	for _, e := range s.excuses {
		if prober.NoErrors(results.Window(e.why, e.from, e.to)) != nil {
			line.Excused = e.why
		}
	}
	line.Phases = together(s.phases, results)
	for _, p := range s.phases {
		faults = append(faults, prober.SharesWithin(p.window(results), p.want.of(p.target), points, p.enough))
	}
	for _, target := range s.targets {
		decisions, err := s.decisions(target.Name, results)
		faults = append(faults, err)
		faults = append(faults, weigh(&line, target.Name, decisions)...)
	}
	return line, faults
}

// together tells the phases, with the answers of services that went through one at the same time added up by revision.
func together(phases []phase, results prober.Results) []report.Phase {
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
func (s *story) errorsAreExcused(results prober.Results) error {
	var from time.Duration
	for _, e := range s.excuses {
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
	whole, settled prober.Window
}

// decisions are those that were taken about an InferenceService under traffic.
func (s *story) decisions(isvc string, results prober.Results) ([]decision, error) {
	var all []decision
	var last rollout.Split
	own, reports := results.Of(isvc), s.reportsOfGateway(results)
	begins, takenOver := time.Duration(0), time.Duration(-1)
	endAt := func(end time.Duration) {
		if len(all) == 0 {
			return
		}
		d := &all[len(all)-1]
		d.whole = own.Window(d.after.String(), begins, end)
		if takenOver >= 0 {
			d.settled = own.Window(d.after.String(), endOfPass(reports, takenOver)+gatewayLag, end)
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
			begins, takenOver, last = at, -1, split
		}
		if takenOver < 0 && journal.TakenOver(entry.Object) {
			takenOver = at
		}
	}
	endAt(results.End)
	return all, nil
}

// reportsOfGateway are the moments when a route, of whatever service, was first said to be taken over as it is.
func (s *story) reportsOfGateway(results prober.Results) []time.Duration {
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
func endOfPass(reports []time.Duration, last time.Duration) time.Duration {
	for _, at := range reports {
		if at > last && at <= last+gatewayLag {
			last = at
		}
	}
	return last
}

// weigh adds to a story what came of its decisions, and finds fault with requests to revisions that had no share.
func weigh(line *report.Story, isvc string, decisions []decision) []error {
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
			if d.after.Percent(n) == 0 && len(d.settled.Requests) > 0 {
				line.Reject(d.settled, revision)
				faults = append(faults, prober.NoRequestsTo(d.settled, revision))
			}
			if took, moved := d.took(n, revision); moved {
				line.Decide(took)
			}
		}
	}
	return faults
}

// took is how long it was until the traffic of a revision followed a decision that gives it its first share or takes
// its last.
func (d decision) took(n rollout.Number, revision string) (time.Duration, bool) {
	before, after := d.before.Percent(n), d.after.Percent(n)
	switch {
	case d.whole.From == 0 || len(d.whole.Requests) == 0:
		return 0, false // It was decided before there were requests.
	case before == 0 && after > 0:
		return d.whole.UntilFirst(revision)
	case before > 0 && after == 0:
		return d.whole.UntilLast(revision)
	}
	return 0, false
}

// draw makes the picture of a story that has one.
func (s *story) draw() {
	if s.picture == "" {
		return
	}
	results := s.prober.Results()
	note := fmt.Sprintf("%d requests a second, half of them on new connections", rate)
	svg, err := timeline.Of(s.title, note, results, time.Second).SVG()
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(place("images", s.picture+".svg"), []byte(svg), 0o644)).To(Succeed())
}
