// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A history is a rollout in a world where dice say who does what next. It ends when the dice are spent. Then the
// faults end too, everybody does what is left to do, and all must come to rest where the spec wants it.

// history plays a history.
type history struct {
	*world
	dice *dice
	// delayed is what a slow operator has decided and not yet done.
	delayed *intent
}

// playHistory plays a history, holding its decisions against the given rules; all for none. It tells its story where
// somebody wants to read it.
func playHistory(bytes []byte, told *story, watched ...int) *world {
	h := &history{world: newWorld(), dice: &dice{bytes}}
	h.witness.watched = watched
	h.broken, h.story = inputs(5), told
	if told != nil {
		h.witness.met = map[string]bool{}
	}
	h.spec.Replicas = h.someBounds()
	h.policy.HistoryLimit = pick(h.dice, 10, 2)
	for !h.dice.spent() && len(h.witness.breaches) == 0 {
		h.step()
	}
	if len(h.witness.breaches) == 0 {
		h.calm()
		h.settle()
		h.disturb()
	}
	return h.world
}

func (h *history) step() {
	switch h.dice.roll(16) {
	case 0, 1, 2:
		h.pass()
	case 3:
		h.everybody()
	case 4:
		h.life = h.dice.roll(8)
		h.pass()
	case 5:
		h.procrastinate()
	case 6, 7, 8:
		h.pods()
	case 9:
		h.podsFail()
	case 10, 11:
		h.gatewayMoves()
	case 12:
		h.load = pick(h.dice, 1, 5, 12, 3)
		h.autoscaleAll()
	case 13:
		h.user()
	case 14:
		h.meddler()
	case 15:
		h.advance(pick(h.dice, time.Second, proxyLag, h.policy.DrainPeriod, h.policy.CapacityHold))
		h.tell("time", "passes")
	}
}

// everybody does a round of what there is to do, so that short histories get far too.
func (h *history) everybody() {
	h.pass()
	h.peers()
}

// procrastinate lets an operator act late on what it decided earlier, which the locks of its writes must make safe. It
// is never later than the proxies are, or than a lease lasts: a process that stops for longer has lost its leadership.
func (h *history) procrastinate() {
	if h.delayed == nil {
		todo := h.decide()
		h.delayed = &todo
		return
	}
	if h.now.Sub(h.delayed.at) <= proxyLag {
		h.carryOut(*h.delayed, forEver)
	}
	h.delayed = nil
}

// any gives one of the revisions that run something, or 0.
func (h *history) any() Number {
	running := numbers(h.deployments)
	if len(running) == 0 {
		return 0
	}
	return running[len(running)-1-h.dice.roll(len(running))]
}

func (h *history) pods() {
	n := h.any()
	h.deploy(n)
	for range 1 + h.dice.roll(3) {
		h.start(n)
	}
	h.stop(n)
}

func (h *history) podsFail() {
	n := h.any()
	switch h.dice.roll(3) {
	case 0:
		h.crash(n)
	case 1:
		h.lose(n)
	case 2:
		h.giveUp(n)
	}
}

func (h *history) gatewayMoves() {
	h.pickUp()
	switch h.dice.roll(6) {
	case 0:
		h.serve()
		h.say()
	case 1:
		h.serve()
	case 2:
		h.say()
	case 3:
		h.gateway.down = !h.gateway.down
		h.tell("gateway", "is down: %t", h.gateway.down)
	case 4:
		h.gateway.refuses = !h.gateway.refuses
		h.tell("gateway", "refuses: %t", h.gateway.refuses)
	}
}

func (h *history) autoscaleAll() {
	for _, n := range numbers(h.deployments) {
		h.autoscale(n)
	}
}

func (h *history) someBounds() Bounds {
	return pick(h.dice, Bounds{Min: 1, Max: 1}, Bounds{Min: 1, Max: 10}, Bounds{Min: 2, Max: 2}, Bounds{Max: 4}, Bounds{Elastic: true})
}

func (h *history) user() {
	switch h.dice.roll(8) {
	case 0, 1, 2:
		model := inputs(Number(1 + h.dice.roll(6)))
		if h.dice.once(4) {
			model = h.spec.Inputs + "+label"
			if sameModel(h.spec.Inputs, inputs(1)) {
				model = inputs(1)
			}
			if plain, labelled := strings.CutSuffix(h.spec.Inputs, "+label"); labelled {
				model = plain
			}
		}
		percent := pick(h.dice, new(10), nil, h.spec.Percent, new(0), new(50), new(100))
		h.edit(fmt.Sprintf("asks for %s, percent %s", model, percentText(percent)), func(s *spec) {
			s.Inputs, s.Percent, s.invalid = model, percent, false
		})
	case 3, 4:
		percent := pick(h.dice, nil, new(0), new(50), new(10), new(100))
		h.edit("sets the percent to "+percentText(percent), func(s *spec) { s.Percent = percent })
	case 5:
		h.edit("stops or resumes", func(s *spec) { s.Stopped = !s.Stopped })
	case 6:
		h.edit("turns tags on or off", func(s *spec) { s.Tagged = !s.Tagged })
	case 7:
		if h.dice.once(2) {
			bounds := h.someBounds()
			h.edit(fmt.Sprintf("sets the replicas to %+v", bounds), func(s *spec) { s.Replicas = bounds })
			return
		}
		percent := pick(h.dice, new(-1), new(0), nil)
		h.edit("writes what cannot be resolved", func(s *spec) { s.invalid, s.Percent = true, percent })
	}
}

func (h *history) meddler() {
	n := h.any()
	h.delayed = nil // What is made anew after it was deleted has no version that a late write could be refused for.
	switch h.dice.roll(8) {
	case 0:
		h.wipeReport()
	case 1:
		h.deleteRoute()
	case 2:
		h.garble(pick(h.dice, "", "{", `{"stable":1}`))
	case 3:
		if h.readyPods(n) > 0 {
			h.reroute(All(n))
		}
	case 4:
		h.deleteHosts()
	case 5:
		if n != 0 {
			h.deleteRecord(n)
		}
	case 6:
		if n != 0 && h.records[n] != "" {
			h.deleteDeployment(n)
		}
	case 7:
		h.scale(n, h.dice.roll(2))
	}
}

// peers lets every peer do all that it has to do now.
func (w *world) peers() (moved bool) {
	for _, n := range numbers(w.deployments) {
		moved = w.deploy(n) || moved
		for w.start(n) || w.stop(n) {
			moved = true
		}
		if w.deployments[n].count(ready) == 0 {
			moved = w.giveUp(n) || moved
		}
	}
	for w.pickUp() || w.serve() || w.say() {
		moved = true
	}
	for _, n := range numbers(w.deployments) {
		moved = w.autoscale(n) || moved
	}
	return moved
}

// calm ends all faults.
func (h *history) calm() {
	h.life = forEver
	h.gateway.down, h.gateway.refuses = false, false
	if h.spec.invalid || !isPercent(h.spec.Percent) {
		h.edit("mends the spec", func(s *spec) { s.invalid, s.Percent = false, nil })
	}
}

// manyRounds is more than any rollout takes to come to rest.
const manyRounds = 30

// settle plays on until all is at rest, and expects that it is, and where.
func (w *world) settle() {
	if w.rest() {
		for _, problem := range w.misplaced() {
			w.witness.breach(7, "at rest, %s", problem)
		}
	}
}

// rest plays on until all is at rest.
func (w *world) rest() bool {
	for range manyRounds {
		wrote, wakeAt := w.pass()
		moved := w.peers()
		switch {
		case len(w.witness.breaches) > 0:
			return false
		case wrote > 0 || moved:
		case wakeAt.IsZero():
			return true
		default:
			w.advance(wakeAt.Sub(w.now))
		}
	}
	w.witness.breach(8, "after %d rounds there is still something to do", manyRounds)
	return false
}

// disturb expects that nothing disturbs a world at rest: neither time, nor an operator that starts anew, nor one that
// has forgotten what it reported.
func (w *world) disturb() {
	w.advance(24 * time.Hour)
	if wrote, _ := w.pass(); wrote > 0 {
		w.witness.breach(8, "a day later there are %d writes", wrote)
	}
	w.wipeReport()
	if wrote, _ := w.pass(); wrote != 1 {
		w.witness.breach(7, "after the status was wiped there are %d writes, want the status alone", wrote)
	}
}

// misplaced lists what is not as the spec wants it, once all is at rest.
func (w *world) misplaced() []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	want, needed := w.restingSplit()
	if !w.gateway.main.serves.Equal(want) {
		problem("the gateway serves %s, want %s", w.gateway.main.serves, want)
	}
	if !w.reported.Split.Equal(want) {
		problem("the status reports %s, want %s", w.reported.Split, want)
	}
	for _, n := range numbers(w.deployments) {
		if !slices.Contains(needed, n) {
			problem("revision %d still runs", n)
		}
	}
	for _, n := range needed {
		if w.deployments[n] == nil {
			problem("revision %d does not run", n)
		}
	}
	tags := Tags{}
	if w.spec.Tagged {
		tags = TagsOf(want, w.target())
	}
	if w.hosts == nil && tags != (Tags{}) || w.hosts != nil && w.hosts.says != tags {
		problem("the tag hosts are %+v, want %+v", w.hosts, tags)
	}
	return problems
}

// target is the revision that runs what the spec asks for; the newest, should there be two.
func (w *world) target() Number {
	var target Number
	for n, inputs := range w.records {
		if inputs == w.spec.Inputs {
			target = max(target, n)
		}
	}
	for n, deployment := range w.deployments {
		if deployment.inputs == w.spec.Inputs {
			target = max(target, n)
		}
	}
	return target
}

// restingSplit is the split that a rollout comes to in the end, and the revisions that run then, by the table of
// states. Only who is the stable is taken from the record; how that changes has rules of its own.
func (w *world) restingSplit() (Split, []Number) {
	target := w.target()
	starts := !strings.Contains(w.broken, w.spec.Inputs)
	var record Record
	if w.route != nil {
		record, _ = DecodeRecord(w.route.record)
	}
	stable := record.Stable
	switch {
	case w.spec.Stopped:
		return Split{}, nil
	case stable == 0: // Row 1: the first deployment is not ready, or it would be the stable.
		return Split{}, []Number{target}
	case target == stable:
		return All(stable), []Number{stable}
	case !starts && !record.Split.Has(target):
		return All(stable), []Number{stable, target}
	case !starts:
		return canarySplit(target, 0, stable), []Number{stable, target}
	case requestsPromotion(w.spec.Percent):
		return All(target), []Number{target} // Not reached: it is the stable then.
	default:
		return canarySplit(target, *w.spec.Percent, stable), []Number{stable, target}
	}
}
