// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// randomRollout is a simulation in which random choices decide what happens next. After the last
// choice the faults end, and the rollout must come to rest in the state that the spec asks for.
type randomRollout struct {
	*simulation
	choices *choices
	// delayed is a decision that a slow operator has not carried out yet.
	delayed *pendingDecision
}

// playRandomRollout plays a random rollout and checks its decisions against the given rules, or
// against all rules if none is given. The trace can be nil.
func playRandomRollout(bytes []byte, trace *trace, checkedRules ...int) *simulation {
	h := &randomRollout{simulation: newSimulation(), choices: &choices{bytes}}
	h.checker.checkedRules = checkedRules
	h.failingHash, h.trace = hashOf(5), trace
	if trace != nil {
		h.checker.coverage = map[string]bool{}
	}
	h.spec.Replicas = h.someBounds()
	h.policy.HistoryLimit = pick(h.choices, 10, 2)
	for !h.choices.exhausted() && len(h.checker.violations) == 0 {
		h.step()
	}
	if len(h.checker.violations) == 0 {
		h.endFaults()
		h.settle()
		h.checkIdle()
	}
	return h.simulation
}

func (h *randomRollout) step() {
	switch h.choices.intn(22) {
	case 0, 1, 2:
		h.reconcile()
	case 3:
		h.runAll()
	case 4:
		h.writesLeft = h.choices.intn(8)
		h.reconcile()
	case 5:
		h.applyLate()
	case 6, 7, 8:
		h.pods()
	case 9:
		h.podsFail()
	case 10, 11:
		h.stepGateway()
	case 12:
		h.load = pick(h.choices, 1, 5, 12, 3)
		h.autoscaleAll()
	case 13:
		h.editSpec()
	case 14:
		h.editExternally()
	case 15:
		h.advance(pick(h.choices, time.Second, proxyLag, h.policy.DrainPeriod, h.policy.CapacityHold))
		h.log("time", "passes")
	case 16, 17:
		h.automate()
	case 18:
		h.observeTrial()
	case 19, 20, 21:
		h.progress()
	}
}

// progress lets a trial reach its next shares, so that short rollouts reach the promotion too.
func (h *randomRollout) progress() {
	for range 1 + h.choices.intn(4) {
		h.runAll()
		if !h.choices.oneIn(4) {
			h.observeMetrics("prove that the trial is no worse", func(e *Evidence) { e.prove(h.now) })
		}
		h.advance(pick(h.choices, 5*time.Minute, time.Minute, 10*time.Minute))
		h.log("time", "passes")
		h.runAll()
		if state, _ := h.state(); state.Trial.bakes() && h.choices.oneIn(2) {
			h.editSpec()
		}
	}
}

// automate has the user change the policy, or tell the trial something.
func (h *randomRollout) automate() {
	state, id := h.state()
	action := h.choices.intn(10)
	if state.Trial == nil && action < 9 {
		action = 0
	}
	switch action {
	case 0, 1, 2, 3:
		plan := randomPlan(h.choices)
		h.edit("applies a policy and removes the percent", func(s *spec) { s.Plan, s.percent = &plan, nil })
		h.runAll()
	case 4:
		h.edit("deletes the policy", func(s *spec) { s.Plan = nil })
	case 5:
		share := pick(h.choices, 10, 50, 100, 25, 0)
		h.edit(fmt.Sprintf("approves %d of %s", share, id), func(s *spec) { s.Commands.Approve = Approval{id, share} })
	case 6:
		h.edit(fmt.Sprintf("pauses %s", id), func(s *spec) { s.Commands.Pause = pick(h.choices, id, TrialID{}) })
	case 7:
		h.edit(fmt.Sprintf("aborts %s", id), func(s *spec) { s.Commands.Abort = id })
	case 8:
		h.edit(fmt.Sprintf("promotes %s", id), func(s *spec) { s.Commands.Promote = id })
	case 9:
		n := h.target()
		retry := TrialID{n, h.rejections[n].Attempt + 1}
		h.edit(fmt.Sprintf("retries %s", retry), func(s *spec) { s.Commands.Retry = retry })
	}
}

func (h *randomRollout) observeTrial() {
	switch h.choices.intn(6) {
	case 0, 1, 2:
		h.observeMetrics("prove that the trial is no worse", func(e *Evidence) { e.prove(h.now) })
	case 3:
		h.observeMetrics("prove harm", func(e *Evidence) { e.Harm = true })
	case 4:
		missing := pick(h.choices, WaitsForMetrics, WaitsForTraffic, WaitsForSeries)
		h.observeMetrics("are missing: "+string(missing), func(e *Evidence) { e.Missing = missing })
	case 5:
		h.observeMetrics("prove harm of another trial", func(e *Evidence) { e.Trial.Attempt, e.Harm = e.Trial.Attempt+1, true })
	}
}

// runAll runs the operator and the fake controllers once, so that short rollouts make progress too.
func (h *randomRollout) runAll() {
	h.reconcile()
	h.runControllers()
}

// applyLate carries out an old decision, which the optimistic locks must make safe. The delay is at
// most proxyLag, because a process that stops for longer has lost its leader election lease.
func (h *randomRollout) applyLate() {
	if h.delayed == nil {
		pending := h.decide()
		h.delayed = &pending
		return
	}
	if h.now.Sub(h.delayed.at) <= proxyLag {
		h.apply(*h.delayed, unlimited)
	}
	h.delayed = nil
}

// anyRunning returns a revision with a workload, or 0.
func (h *randomRollout) anyRunning() Number {
	running := numbers(h.deployments)
	if len(running) == 0 {
		return 0
	}
	return running[len(running)-1-h.choices.intn(len(running))]
}

func (h *randomRollout) pods() {
	n := h.anyRunning()
	h.deploy(n)
	for range 1 + h.choices.intn(3) {
		h.start(n)
	}
	h.stop(n)
}

func (h *randomRollout) podsFail() {
	n := h.anyRunning()
	switch h.choices.intn(3) {
	case 0:
		h.crash(n)
	case 1:
		h.lose(n)
	case 2:
		h.exceedDeadline(n)
	}
}

func (h *randomRollout) stepGateway() {
	h.pickUp()
	switch h.choices.intn(6) {
	case 0:
		h.serve()
		h.accept()
	case 1:
		h.serve()
	case 2:
		h.accept()
	case 3:
		h.gateway.down = !h.gateway.down
		h.log("gateway", "is down: %t", h.gateway.down)
	case 4:
		h.gateway.refuses = !h.gateway.refuses
		h.log("gateway", "refuses: %t", h.gateway.refuses)
	}
}

func (h *randomRollout) autoscaleAll() {
	for _, n := range numbers(h.deployments) {
		h.autoscale(n)
	}
}

func (h *randomRollout) someBounds() Bounds {
	return pick(h.choices, Bounds{Min: 1, Max: 1}, Bounds{Min: 1, Max: 10}, Bounds{Min: 2, Max: 2}, Bounds{Max: 4}, Bounds{ScaledByKnative: true})
}

func (h *randomRollout) editSpec() {
	switch h.choices.intn(8) {
	case 0, 1, 2:
		model := hashOf(Number(1 + h.choices.intn(6)))
		if h.choices.oneIn(4) {
			model = h.spec.Hash + "+label"
			if sameModel(h.spec.Hash, hashOf(1)) {
				model = hashOf(1)
			}
			if plain, labelled := strings.CutSuffix(h.spec.Hash, "+label"); labelled {
				model = plain
			}
		}
		percent := pick(h.choices, new(10), nil, h.spec.percent, new(0), new(50), new(100))
		h.edit(fmt.Sprintf("asks for %s, percent %s", model, percentText(percent)), func(s *spec) {
			s.Hash, s.percent, s.invalid = model, percent, false
		})
	case 3, 4:
		percent := pick(h.choices, nil, new(0), new(50), new(10), new(100))
		h.edit("sets the percent to "+percentText(percent), func(s *spec) { s.percent = percent })
	case 5:
		h.edit("stops or resumes", func(s *spec) { s.Stopped = !s.Stopped })
	case 6:
		h.edit("turns tags on or off", func(s *spec) { s.Tagged = !s.Tagged })
	case 7:
		if h.choices.oneIn(2) {
			bounds := h.someBounds()
			h.edit(fmt.Sprintf("sets the replicas to %+v", bounds), func(s *spec) { s.Replicas = bounds })
			return
		}
		percent := pick(h.choices, new(-1), new(0), nil)
		h.edit("writes what cannot be resolved", func(s *spec) { s.invalid, s.percent = true, percent })
	}
}

func (h *randomRollout) editExternally() {
	n := h.anyRunning()
	h.delayed = nil // A late write cannot detect that an object was deleted and created again.
	switch h.choices.intn(8) {
	case 0:
		h.wipeStatus()
	case 1:
		h.deleteRoute()
	case 2:
		h.overwriteState(pick(h.choices, "", "{", `{"stable":1}`))
	case 3:
		if h.readyPods(n) > 0 {
			h.reroute(All(n))
		}
	case 4:
		h.deleteHosts()
	case 5:
		if n != 0 {
			h.deleteFromHistory(n)
		}
	case 6:
		if n != 0 && h.history[n] != "" {
			h.deleteDeployment(n)
		}
	case 7:
		h.scale(n, h.choices.intn(2))
	}
}

// runControllers runs every fake controller until it has nothing left to do.
func (sim *simulation) runControllers() (moved bool) {
	for _, n := range numbers(sim.deployments) {
		moved = sim.deploy(n) || moved
		for sim.start(n) || sim.stop(n) {
			moved = true
		}
		if sim.deployments[n].count(ready) == 0 {
			moved = sim.exceedDeadline(n) || moved
		}
	}
	for sim.pickUp() || sim.serve() || sim.accept() {
		moved = true
	}
	for _, n := range numbers(sim.deployments) {
		moved = sim.autoscale(n) || moved
	}
	return moved
}

func (h *randomRollout) endFaults() {
	h.writesLeft = unlimited
	h.gateway.down, h.gateway.refuses = false, false
	if h.spec.invalid || !PercentIntent(h.spec.percent, nil).isValid() {
		h.edit("fixes the spec", func(s *spec) { s.invalid, s.percent = false, nil })
	}
}

// maxRounds is more rounds than any rollout takes to come to rest.
const maxRounds = 60

// settle runs until the rollout is at rest, and checks the resting state.
func (sim *simulation) settle() {
	if sim.runToRest() {
		for _, problem := range sim.restingProblems() {
			sim.checker.addViolation(7, "at rest, %s", problem)
		}
	}
}

func (sim *simulation) runToRest() bool {
	for range maxRounds {
		wrote, wakeAt := sim.reconcile()
		moved := sim.runControllers()
		switch {
		case len(sim.checker.violations) > 0:
			return false
		case wrote > 0 || moved:
		case wakeAt.IsZero():
			return true
		default:
			sim.advance(wakeAt.Sub(sim.now))
		}
	}
	sim.checker.addViolation(8, "the rollout is not at rest after %d rounds", maxRounds)
	return false
}

// checkIdle checks that neither time, nor a restart, nor the loss of the status changes a rollout
// at rest.
func (sim *simulation) checkIdle() {
	sim.advance(24 * time.Hour)
	if wrote, _ := sim.reconcile(); wrote > 0 {
		sim.checker.addViolation(8, "a day later there are %d writes", wrote)
	}
	sim.wipeStatus()
	if wrote, _ := sim.reconcile(); wrote != 1 {
		sim.checker.addViolation(7, "after the status was wiped there are %d writes, want only the status", wrote)
	}
}

// restingProblems lists the differences from the state that the spec asks for.
func (sim *simulation) restingProblems() []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	want, needed := sim.restingSplit()
	if !sim.gateway.main.serves.Equal(want) {
		problem("the gateway serves %s, want %s", sim.gateway.main.serves, want)
	}
	if !sim.reported.Split.Equal(want) {
		problem("the status reports %s, want %s", sim.reported.Split, want)
	}
	for _, n := range numbers(sim.deployments) {
		if !slices.Contains(needed, n) {
			problem("revision %d still runs", n)
		}
	}
	for _, n := range needed {
		if sim.deployments[n] == nil {
			problem("revision %d does not run", n)
		}
	}
	tags := Tags{}
	if sim.spec.Tagged {
		tags = TagsOf(want, sim.target())
	}
	if sim.hosts == nil && tags != (Tags{}) || sim.hosts != nil && sim.hosts.desired != tags {
		problem("the tag hosts are %+v, want %+v", sim.hosts, tags)
	}
	return problems
}

// target returns the newest revision with the hash of the spec.
func (sim *simulation) target() Number {
	var target Number
	for n, hash := range sim.history {
		if hash == sim.spec.Hash {
			target = max(target, n)
		}
	}
	for n, deployment := range sim.deployments {
		if deployment.hash == sim.spec.Hash {
			target = max(target, n)
		}
	}
	return target
}

// restingSplit returns the final split and the running revisions by the table of states. It takes
// the stable from the rollout state, because other rules check how the stable changes.
func (sim *simulation) restingSplit() (Split, []Number) {
	target := sim.target()
	starts := !strings.Contains(sim.failingHash, sim.spec.Hash)
	var state State
	if sim.route != nil {
		state, _ = DecodeState(sim.route.state)
	}
	stable := state.Stable
	switch {
	case sim.spec.Stopped:
		return Split{}, nil
	case stable == 0 && sim.rejections[target].Attempt > 0 && sim.spec.percent == nil:
		return Split{}, nil
	case stable == 0: // Row 1: the first revision is not ready.
		return Split{}, []Number{target}
	case target == stable:
		return All(stable), []Number{stable}
	case sim.spec.percent == nil && state.isRejected(target):
		return All(stable), []Number{stable}
	case sim.spec.percent == nil && state.Trial != nil && !state.Split.Has(target):
		return All(stable), []Number{stable, target}
	case sim.spec.percent == nil && state.Trial != nil && starts && state.Trial.Share == 100:
		return All(target), []Number{stable, target}
	case sim.spec.percent == nil && state.Trial != nil && starts:
		return canarySplit(target, state.Trial.Share, stable), []Number{stable, target}
	case !starts && !state.Split.Has(target):
		return All(stable), []Number{stable, target}
	case !starts:
		return canarySplit(target, 0, stable), []Number{stable, target}
	case PercentIntent(sim.spec.percent, nil).Promote:
		return All(target), []Number{target} // Not reached: the target is the stable then.
	default:
		return canarySplit(target, *sim.spec.percent, stable), []Number{stable, target}
	}
}
