// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// checker checks the rules after every decision, write and event, and collects violations.
type checker struct {
	// checkedRules are the numbers of the rules to check on each decision. nil means all.
	checkedRules []int
	violations   []violation

	// coverage holds the phases, transitions and actions of all decisions.
	coverage map[string]bool

	// last is the last rollout state that was written. historyLost is true if neither the route nor
	// the status contains it any more.
	last        *State
	historyLost bool
	// assigned holds the hash that each number was assigned to.
	assigned map[Number]string
	// rejected are the canaries that were superseded and that the spec has not asked for since.
	rejected       map[Number]bool
	acceptedSplits []Split
	// trialRejected are the revisions that a trial has rejected, until a retry or a percent above 0.
	trialRejected map[Number]bool
	// excused are the revisions without ready pods that may get traffic until they are ready again:
	// they lost their pods by an injected fault, or no other revision could serve.
	excused map[Number]bool
	// externallyRouted are the revisions that an external editor has routed traffic to, and those that
	// existed when the history was lost.
	externallyRouted map[Number]bool
	// servedAt is when the gateway last sent a request to a revision.
	servedAt map[Number]time.Time
}

type violation struct {
	rule int
	how  string
}

func newInvariantChecker() checker {
	return checker{
		assigned: map[Number]string{}, rejected: map[Number]bool{}, trialRejected: map[Number]bool{}, excused: map[Number]bool{}, externallyRouted: map[Number]bool{},
		servedAt: map[Number]time.Time{},
	}
}

func (c *checker) addViolation(rule int, format string, args ...any) {
	c.violations = append(c.violations, violation{rule, fmt.Sprintf(format, args...)})
}

// violationsOf returns the violations of one rule, or of all rules for 0.
func (c *checker) violationsOf(rule int) []violation {
	return slices.DeleteFunc(slices.Clone(c.violations), func(b violation) bool { return rule != 0 && b.rule != rule })
}

func (c *checker) checkDecision(d evaluation) {
	c.recordCoverage(d)
	for rule, check := range rules {
		if check == nil || c.checkedRules != nil && !slices.Contains(c.checkedRules, rule) {
			continue
		}
		if err := check(d); err != nil {
			c.addViolation(rule, "%v\n%v", err, d)
		}
	}
}

func (c *checker) recordCoverage(d evaluation) {
	if c.coverage == nil {
		return
	}
	note := func(what string, covered bool) {
		if covered {
			c.coverage[what] = true
		}
	}
	note(string(d.decision.Phase), true)
	for _, transition := range d.decision.Transitions {
		note(string(transition.Kind), true)
	}
	for _, plan := range d.decision.Workloads {
		note(string(plan.Action), true)
	}
	if report := d.decision.Trial; report != nil {
		note("waits for "+string(report.WaitingFor), true)
	}
	note("waits", d.decision.Waiting != nil)
	note("prunes", len(d.decision.Prune) > 0)
	note("holds replicas", d.decision.State != nil && len(d.decision.State.Held) > 0)
	note("recovers", c.last != nil && d.observed.Route.State == nil)
}

// verify checks what a request would get now. It is called after every write and event.
func (sim *simulation) verify() {
	c := &sim.checker
	serves := sim.gateway.main.serves
	if rebuilt, err := NewSplit(serves.Shares()...); err != nil || !rebuilt.Equal(serves) {
		c.addViolation(1, "the gateway serves %s", serves)
	}
	for n := range sim.deployments {
		if sim.readyPods(n) > 0 {
			delete(c.excused, n)
		}
	}
	for _, share := range serves.Shares() {
		n := share.Revision
		if share.Percent == 0 {
			continue
		}
		c.servedAt[n] = sim.now
		if sim.route != nil && sim.readyPods(n) == 0 && !c.excused[n] && !c.externallyRouted[n] {
			c.addViolation(2, "requests are sent to revision %d, which has no ready pod, without an injected fault", n)
		}
	}
	if sim.hosts != nil { // A deleted host is gone after the drain period.
		for _, n := range sim.gateway.hosts.serves.revisions() {
			c.servedAt[n] = sim.now
		}
	}
}

func (c *checker) excuse(sim *simulation, n Number) {
	if sim.readyPods(n) == 0 {
		c.excused[n] = true
	}
}

// onHistoryLost is called when a source of the history was lost. The history is lost if the route
// has no valid rollout state and the status differs from the last one.
func (c *checker) onHistoryLost(sim *simulation) {
	if sim.route != nil {
		if _, err := DecodeState(sim.route.state); err == nil {
			return
		}
	}
	c.dropUnknownNumbers(sim)
	if c.last == nil || sim.reported.Stable != c.last.Stable || sim.reported.Previous != c.last.Previous || sim.reported.Target != c.last.Target {
		c.historyLost = true
		// A gateway that is behind may still serve any of them.
		for n := range c.assigned {
			c.externallyRouted[n] = true
		}
	}
}

// dropUnknownNumbers drops the numbers that are not known any more. They can be assigned again.
func (c *checker) dropUnknownNumbers(sim *simulation) {
	highest := max(sim.reported.Stable, sim.reported.Previous, sim.reported.Target, sim.reported.Split.highest())
	if sim.route != nil {
		highest = max(highest, sim.route.desired.highest())
	}
	for _, n := range slices.Concat(numbers(sim.history), numbers(sim.deployments)) {
		highest = max(highest, n)
	}
	maps.DeleteFunc(c.assigned, func(n Number, _ string) bool { return n > highest })
}

func (c *checker) edited(sim *simulation) {
	for n, hash := range c.assigned {
		if hash == sim.spec.Hash && !sim.spec.invalid {
			delete(c.rejected, n)
		}
	}
}

func (c *checker) accepted(split Split) { c.acceptedSplits = append(c.acceptedSplits, split) }

func (c *checker) numberAssigned(sim *simulation, n Number, hash string) {
	if c.last == nil {
		c.dropUnknownNumbers(sim) // Before the first promotion there is no rollout state.
	}
	if before, given := c.assigned[n]; given && before != hash {
		c.addViolation(7, "number %d was assigned to %s, and now to %s", n, before, hash)
	}
	c.assigned[n] = hash
	delete(c.trialRejected, n)
}

func (c *checker) routed(sim *simulation, d evaluation) {
	state := *d.decision.State
	for _, share := range state.Split.Shares() {
		n := share.Revision
		if share.Percent == 0 || sim.readyPods(n) > 0 || c.excused[n] {
			continue
		}
		if d.ready(n) > 0 {
			c.addViolation(2, "%s is written; revision %d was ready in the observation and was scaled down since", state.Split, n)
		}
		c.excused[n] = true // checkReadyOnly checks whether this is allowed.
	}
	if sim.route != nil && !c.last.Split.IsEmpty() && state.Split.IsEmpty() && !d.observed.Desired.Stopped {
		c.addViolation(2, "the route loses its split %s, but the service is not stopped", c.last.Split)
	}
	c.checkTrialRejected(sim, d)
	c.succeeded(sim, d)
	c.last, c.historyLost = &state, false
}

// checkTrialRejected checks that a rejection survives everything but a retry and a percent above 0.
func (c *checker) checkTrialRejected(sim *simulation, d evaluation) {
	state, desired := *d.decision.State, d.observed.Desired
	if desired.Manual && desired.Intent.Share > 0 || desired.Commands.Retry == (TrialID{state.Target, state.Attempts[state.Target]}) {
		delete(c.trialRejected, state.Target)
	}
	for n := range c.trialRejected {
		if !state.isRejected(n) {
			c.addViolation(planRule, "the rejection of revision %d is lost", n)
		}
		if c.last != nil && state.Split.Percent(n) > max(c.last.Split.Percent(n), d.last().Percent(n)) {
			c.addViolation(planRule, "revision %d was rejected, and gets a share: %s", n, state.Split)
		}
	}
	for n := range state.Rejected {
		if sim.history[n] != "" { // It goes with its entry in the history.
			c.trialRejected[n] = true
		}
	}
}

// succeeded checks a rollout state against the last one, whether the decision observed that or had
// to recover it.
func (c *checker) succeeded(sim *simulation, d evaluation) {
	state := *d.decision.State
	if c.last == nil || c.historyLost {
		clear(c.rejected)
		return
	}
	last := *c.last
	if n := last.Previous; sim.history[n] == "" && sim.deployments[n] == nil && state.Previous != n {
		last.Previous = 0 // It cannot be recovered.
	}
	if err := d.checkSuccession(last); err != nil {
		c.addViolation(6, "%v", err)
	}
	if last.Target != state.Target && last.Target != last.Stable {
		c.rejected[last.Target] = true
	}
	delete(c.rejected, state.Target)
	if state.Stable == last.Previous { // The promotion was undone.
		delete(c.rejected, state.Stable)
	}
	if c.rejected[state.Stable] {
		c.addViolation(6, "revision %d was rejected and is the stable", state.Stable)
	}
	for n := range c.rejected {
		had := max(last.Split.Percent(n), d.last().Percent(n))
		if state.Split.Percent(n) > had {
			c.addViolation(6, "revision %d was rejected and its share grows from %d to %d", n, had, state.Split.Percent(n))
		}
	}
}

func (c *checker) retired(sim *simulation, plan WorkloadPlan) {
	n := plan.Revision
	if plan.Action == Drain || c.externallyRouted[n] {
		return // Drain only sets an annotation.
	}
	if c.last != nil && !c.historyLost && !c.last.Split.IsEmpty() && (n == c.last.Target && !c.last.isRejected(n) || n == c.last.Stable) {
		c.addViolation(5, "revision %d is retired (%s), and is the target or the stable", n, plan.Action)
	}
	main, hosts := &sim.gateway.main, &sim.gateway.hosts
	switch {
	case sim.route == nil: // It never existed, or an external editor has deleted it.
	case c.historyLost && sim.route.desired.IsEmpty():
	case sim.route.desired.Percent(n) > 0:
		c.addViolation(4, "revision %d is scaled down (%s) while the route says %s", n, plan.Action, sim.route.desired)
	case sim.hosts != nil && slices.Contains(sim.hosts.desired.revisions(), n):
		c.addViolation(4, "revision %d is scaled down (%s) while a tag host points at it", n, plan.Action)
	case main.serves.Percent(n) > 0 && !main.lags():
		c.addViolation(4, "revision %d is scaled down (%s) while the gateway sends requests to it: %s", n, plan.Action, main.serves)
	case main.picked != nil && main.picked.desired.Percent(n) > 0:
		c.addViolation(4, "revision %d is scaled down (%s) while the gateway is about to send requests to it: %s", n, plan.Action, main.picked.desired)
	case sim.hosts != nil && slices.Contains(hosts.serves.revisions(), n) && !hosts.lags():
		c.addViolation(4, "revision %d is scaled down (%s) while the gateway serves a tag host from it", n, plan.Action)
	case sim.readyPods(n) > 0 && sim.now.Sub(c.servedAt[n]) < sim.policy.DrainPeriod-proxyLag:
		c.addViolation(4, "revision %d is scaled down (%s) %s after its last request", n, plan.Action, sim.now.Sub(c.servedAt[n]))
	}
}

func (c *checker) reports(_ *simulation, report Reported) {
	if c.last == nil || c.historyLost || report.Split.IsEmpty() {
		return
	}
	if !slices.ContainsFunc(c.acceptedSplits, report.Split.Equal) {
		c.addViolation(4, "%s is reported, but the gateway has never accepted it", report.Split)
	}
}
