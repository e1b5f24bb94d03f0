// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// witness remembers what the rules need to know of the past of a world, and every breach that it saw.
type witness struct {
	// watched are the rules that each decision is held against, by number; none means all.
	watched  []int
	breaches []breach

	// met is what decisions came to: phases, transitions, steps of workloads.
	met map[string]bool

	// last is the last record that was written, and lost says that nobody can tell it any more: neither the route nor
	// the status.
	last *Record
	lost bool
	// issued are the inputs that each number was ever given to.
	issued map[Number]string
	// rejected are the canaries that were superseded and not asked for since.
	rejected map[Number]bool
	// accepts are the splits that the gateway ever said it serves.
	accepts []Split
	// blamed are the revisions that lost their pods by no fault of the operator, or that the operator had to send
	// traffic to because nobody could serve; until they are ready again.
	blamed map[Number]bool
	// forced are the revisions that a meddler has ever sent traffic to, and those that were there when all history was lost.
	forced map[Number]bool
	// servedAt is when a request was last sent to a revision, as far as one knows who listens to the gateway.
	servedAt map[Number]time.Time
}

// breach is a rule that was broken, and how.
type breach struct {
	rule int
	how  string
}

func newWitness() witness {
	return witness{
		issued: map[Number]string{}, rejected: map[Number]bool{}, blamed: map[Number]bool{}, forced: map[Number]bool{},
		servedAt: map[Number]time.Time{},
	}
}

func (s *witness) breach(rule int, format string, args ...any) {
	s.breaches = append(s.breaches, breach{rule, fmt.Sprintf(format, args...)})
}

// broken gives the breaches of one rule; of all for 0.
func (s *witness) broken(rule int) []breach {
	return slices.DeleteFunc(slices.Clone(s.breaches), func(b breach) bool { return rule != 0 && b.rule != rule })
}

// decided holds a decision against the rules for decisions.
func (s *witness) decided(d decided) {
	s.meet(d)
	for rule, check := range rules {
		if check == nil || s.watched != nil && !slices.Contains(s.watched, rule) {
			continue
		}
		if err := check(d); err != nil {
			s.breach(rule, "%v\n%v", err, d)
		}
	}
}

// meet notes what a decision comes to.
func (s *witness) meet(d decided) {
	if s.met == nil {
		return
	}
	note := func(what string, met bool) {
		if met {
			s.met[what] = true
		}
	}
	note(string(d.decision.Phase), true)
	for _, transition := range d.decision.Transitions {
		note(string(transition.Kind), true)
	}
	for _, plan := range d.decision.Workloads {
		note(string(plan.Action), true)
	}
	note("waits", d.decision.Waiting != nil)
	note("forgets", len(d.decision.Forget) > 0)
	note("holds floors", d.decision.Record != nil && len(d.decision.Record.Floors) > 0)
	note("recovers", s.last != nil && d.seen.Route.Record == nil)
}

// verify is called after every write and every event. It asks what a request would meet now.
func (w *world) verify() {
	s := &w.witness
	serves := w.gateway.main.serves
	if rebuilt, err := NewSplit(serves.Shares()...); err != nil || !rebuilt.Equal(serves) {
		s.breach(1, "the gateway serves %s", serves)
	}
	for n := range w.deployments {
		if w.readyPods(n) > 0 {
			delete(s.blamed, n)
		}
	}
	for _, share := range serves.Shares() {
		n := share.Revision
		if share.Percent == 0 {
			continue
		}
		s.servedAt[n] = w.now
		if w.route != nil && w.readyPods(n) == 0 && !s.blamed[n] && !s.forced[n] {
			s.breach(2, "requests are sent to revision %d, which has no ready pod, by no fault of its pods", n)
		}
	}
	if w.hosts != nil { // Nobody says when a host that was deleted has gone; it has the time to drain.
		for _, n := range w.gateway.hosts.serves.revisions() {
			s.servedAt[n] = w.now
		}
	}
}

// blame notes that a revision lost pods by no fault of the operator.
func (s *witness) blame(w *world, n Number) {
	if w.readyPods(n) == 0 {
		s.blamed[n] = true
	}
}

// forgotten is called when a source of the history was lost. The history is lost once the route has no record that can
// be read and the status does not say the same.
func (s *witness) forgotten(w *world) {
	if w.route != nil {
		if _, err := DecodeRecord(w.route.record); err == nil {
			return
		}
	}
	s.forgetNumbers(w)
	if s.last == nil || w.reported.Stable != s.last.Stable || w.reported.Previous != s.last.Previous || w.reported.Target != s.last.Target {
		s.lost = true
		// A gateway that is behind may serve any of them later, and nobody can know that it ever had a route.
		for n := range s.issued {
			s.forced[n] = true
		}
	}
}

// forgetNumbers drops the numbers that nothing tells of any more: they can be given out again.
func (s *witness) forgetNumbers(w *world) {
	highest := max(w.reported.Stable, w.reported.Previous, w.reported.Target, w.reported.Split.highest())
	if w.route != nil {
		highest = max(highest, w.route.says.highest())
	}
	for _, n := range slices.Concat(numbers(w.records), numbers(w.deployments)) {
		highest = max(highest, n)
	}
	maps.DeleteFunc(s.issued, func(n Number, _ string) bool { return n > highest })
}

// edited is called when the user has changed the spec.
func (s *witness) edited(w *world) {
	for n, inputs := range s.issued {
		if inputs == w.spec.Inputs && !w.spec.invalid {
			delete(s.rejected, n)
		}
	}
}

// accepted is called when the gateway has said that it serves a split.
func (s *witness) accepted(split Split) { s.accepts = append(s.accepts, split) }

// numbered is called when a number is given out.
func (s *witness) numbered(w *world, n Number, inputs string) {
	if s.last == nil {
		s.forgetNumbers(w) // Before the first promotion there is no record to remember them.
	}
	if before, given := s.issued[n]; given && before != inputs {
		s.breach(7, "number %d was given to %s, and now to %s", n, before, inputs)
	}
	s.issued[n] = inputs
}

// routed is called when the operator writes the route.
func (s *witness) routed(w *world, d decided) {
	record := *d.decision.Record
	for _, share := range record.Split.Shares() {
		n := share.Revision
		if share.Percent == 0 || w.readyPods(n) > 0 || s.blamed[n] {
			continue
		}
		if d.ready(n) > 0 {
			s.breach(2, "%s is written; revision %d was ready when that was decided, and was taken down since", record.Split, n)
		}
		s.blamed[n] = true // The rules for decisions say when it may be.
	}
	if w.route != nil && !s.last.Split.IsEmpty() && record.Split.IsEmpty() && !d.seen.Wanted.Stopped {
		s.breach(2, "the route is emptied of %s, though nobody has asked to stop", s.last.Split)
	}
	s.succeeded(w, d)
	s.last, s.lost = &record, false
}

// succeeded holds a record against the one before, whether the decision knew that or had to recover it.
func (s *witness) succeeded(w *world, d decided) {
	record := *d.decision.Record
	if s.last == nil || s.lost {
		clear(s.rejected)
		return
	}
	last := *s.last
	if n := last.Previous; w.records[n] == "" && w.deployments[n] == nil && record.Previous != n {
		last.Previous = 0 // It cannot be recovered.
	}
	if err := d.checkSuccession(last); err != nil {
		s.breach(6, "%v", err)
	}
	if last.Target != record.Target && last.Target != last.Stable {
		s.rejected[last.Target] = true
	}
	delete(s.rejected, record.Target)
	if record.Stable == last.Previous { // The user has undone a promotion, and so asked for what was before.
		delete(s.rejected, record.Stable)
	}
	if s.rejected[record.Stable] {
		s.breach(6, "revision %d was rejected and is the stable", record.Stable)
	}
	for n := range s.rejected {
		had := max(last.Split.Percent(n), d.last().Percent(n)) // The latter is what clients got, where the former was lost.
		if record.Split.Percent(n) > had {
			s.breach(6, "revision %d was rejected and goes up from %d to %d", n, had, record.Split.Percent(n))
		}
	}
}

// retired is called when the operator takes a workload a step down.
func (s *witness) retired(w *world, plan WorkloadPlan) {
	n := plan.Revision
	if plan.Action == Drain || s.forced[n] {
		return // To drain is but a mark, which the next decision takes away where it was made late.
	}
	if s.last != nil && !s.lost && !s.last.Split.IsEmpty() && (n == s.last.Target || n == s.last.Stable) {
		s.breach(5, "revision %d is retired (%s), and is the target or the stable", n, plan.Action)
	}
	main, hosts := &w.gateway.main, &w.gateway.hosts
	switch {
	case w.route == nil: // It never was, or a meddler has taken it away.
	case s.lost && w.route.says.IsEmpty(): // It says nothing any more.
	case w.route.says.Percent(n) > 0:
		s.breach(4, "revision %d is taken down (%s) while the route says %s", n, plan.Action, w.route.says)
	case w.hosts != nil && slices.Contains(w.hosts.says.revisions(), n):
		s.breach(4, "revision %d is taken down (%s) while a tag host points at it", n, plan.Action)
	case main.serves.Percent(n) > 0 && !main.lags():
		s.breach(4, "revision %d is taken down (%s) while the gateway sends requests to it: %s", n, plan.Action, main.serves)
	case main.picked != nil && main.picked.says.Percent(n) > 0:
		s.breach(4, "revision %d is taken down (%s) while the gateway is about to send requests to it: %s", n, plan.Action, main.picked.says)
	case w.hosts != nil && slices.Contains(hosts.serves.revisions(), n) && !hosts.lags():
		s.breach(4, "revision %d is taken down (%s) while the gateway serves a tag host from it", n, plan.Action)
	case w.readyPods(n) > 0 && w.now.Sub(s.servedAt[n]) < w.policy.DrainPeriod-proxyLag:
		s.breach(4, "revision %d is taken down (%s) %s after its last request", n, plan.Action, w.now.Sub(s.servedAt[n]))
	}
}

// reports is called when the operator writes the status.
func (s *witness) reports(_ *world, report Reported) {
	if s.last == nil || s.lost || report.Split.IsEmpty() {
		return
	}
	if !slices.ContainsFunc(s.accepts, report.Split.Equal) {
		s.breach(4, "%s is reported, which the gateway has never said that it serves", report.Split)
	}
}
