// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"time"
)

// intent is a decision that is to be carried out, with the versions of what it was taken on.
type intent struct {
	sighting
	decided
}

// decide looks at the world as it is and decides.
func (w *world) decide() intent {
	seen := w.look()
	d := decided{seen.Snapshot, w.policy, w.now, Decide(seen.Snapshot, w.policy, w.now)}
	w.witness.decided(d)
	return intent{seen, d}
}

// pass is one reconciliation. It gives the number of writes, one more where the operator died in it, and when to come
// back.
func (w *world) pass() (wrote int, wakeAt time.Time) {
	mortal := w.life
	todo := w.decide()
	wrote = w.carryOut(todo, w.life)
	if died := mortal != forEver && w.life == forEver; died && w.successor == atOnce {
		return w.pass()
	}
	return wrote, todo.decision.WakeAt
}

// succession says when an operator that has died is followed by the next.
type succession string

const (
	later  succession = "later"
	atOnce succession = "at once"
)

// write is one write of the operator. It knows whether it would change anything, as a server-side apply does.
type write struct {
	what   func() string
	needed func() bool
	// do is false when the write is refused, because what it was decided on has changed since.
	do func() bool
}

// forEver is the life of an operator that nobody ends.
const forEver = -1

// carryOut makes the writes of a decision in their order. The operator gives up at the first write that is refused,
// and dies before the one that its life is too short for; then it is replaced by another.
func (w *world) carryOut(todo intent, life int) (wrote int) {
	for _, write := range w.writes(todo) {
		if !write.needed() {
			continue
		}
		what := write.what()
		if life == 0 {
			w.life = forEver
			w.tell("operator", "dies before it %s", what)
			return wrote + 1
		}
		if !write.do() {
			w.tell("operator", "is refused: %s", what)
			return wrote
		}
		wrote++
		if life > 0 {
			life--
			w.life = life
		}
		w.tell("operator", "%s", what)
	}
	w.announced = append(w.announced, todo.decision.Transitions...)
	return wrote
}

// writes lists the writes of a decision in the order that Decision documents.
func (w *world) writes(todo intent) []write {
	var writes []write
	if todo.decision.Create {
		writes = append(writes, w.writeRecord(todo))
	}
	for _, n := range numbers(w.deployments) {
		writes = append(writes, w.mendRecord(n))
	}
	for _, plan := range todo.decision.Workloads {
		if plan.Action == Run {
			writes = append(writes, w.writeRun(todo, plan))
		}
	}
	if todo.decision.Record != nil {
		writes = append(writes, w.writeRoute(todo))
	}
	writes = append(writes, w.writeHosts(todo))
	for _, plan := range todo.decision.Workloads {
		if plan.Action == Drain || plan.Action == ScaleDown || plan.Action == Delete {
			writes = append(writes, w.writeRetire(todo, plan))
		}
	}
	for _, n := range todo.decision.Forget {
		writes = append(writes, write{
			what:   func() string { return fmt.Sprintf("forgets %d", n) },
			needed: func() bool { return w.records[n] != "" },
			do:     func() bool { delete(w.records, n); return true },
		})
	}
	return append(writes, w.writeReport(todo))
}

func (w *world) writeRecord(todo intent) write {
	n, inputs := todo.decision.Target, todo.seen.Wanted.Inputs
	return write{
		what:   func() string { return fmt.Sprintf("records %d, which runs %s", n, inputs) },
		needed: func() bool { return w.records[n] != inputs },
		do: func() bool {
			if w.records[n] != "" {
				return false
			}
			w.witness.numbered(w, n, inputs)
			w.records[n] = inputs
			return true
		},
	}
}

// mendRecord makes the record of a revision anew that a meddler has deleted, from what runs.
func (w *world) mendRecord(n Number) write {
	return write{
		what:   func() string { return fmt.Sprintf("records %d again, which runs %s", n, w.deployments[n].inputs) },
		needed: func() bool { return w.deployments[n] != nil && w.records[n] == "" },
		do:     func() bool { w.records[n] = w.deployments[n].inputs; return true },
	}
}

func (w *world) writeRun(todo intent, plan WorkloadPlan) write {
	n, bounds := plan.Revision, todo.seen.Wanted.Replicas
	autoscaled := !bounds.Elastic && bounds.Max > max(1, bounds.Min)
	replicas := max(1, plan.Floor)
	return write{
		what: func() string { return fmt.Sprintf("runs %d with %d or more", n, replicas) },
		needed: func() bool {
			d := w.deployments[n]
			return d == nil || d.floor != replicas || d.autoscaled != autoscaled || !d.idleSince.IsZero() ||
				d.replicas < replicas || !autoscaled && d.replicas > replicas
		},
		do: func() bool {
			d := w.deployments[n]
			if d == nil {
				if w.records[n] == "" {
					return false // Nobody knows what it ran.
				}
				d = &deployment{id: w.nextVersion(), inputs: w.records[n]}
				w.deployments[n] = d
			}
			d.version, d.floor, d.autoscaled, d.idleSince = w.nextVersion(), replicas, autoscaled, time.Time{}
			if autoscaled {
				replicas = max(replicas, d.replicas)
			}
			d.replicas = replicas
			return true
		},
	}
}

// writeRoute writes the weights and the record at once, and only over the version that the decision was taken on.
func (w *world) writeRoute(todo intent) write {
	record := *todo.decision.Record
	text := record.Encode()
	return write{
		what: func() string {
			return fmt.Sprintf("routes %s (stable %d, previous %d, target %d, percent %s)",
				record.Split, record.Stable, record.Previous, record.Target, percentText(record.Percent))
		},
		needed: func() bool { return w.route == nil || w.route.record != text || !w.route.says.Equal(record.Split) },
		do: func() bool {
			if w.route.versionOrNone() != todo.route {
				return false
			}
			w.witness.routed(w, todo.decided)
			w.route = w.route.written(w, record.Split, !w.route.exists() || !w.route.says.Equal(record.Split))
			w.route.record = text
			return true
		},
	}
}

func (w *world) writeHosts(todo intent) write {
	tags := todo.decision.Tags
	return write{
		what:   func() string { return fmt.Sprintf("points latest at %d and prev at %d", tags.Latest, tags.Prev) },
		needed: func() bool { return w.hosts.exists() && w.hosts.says != tags || !w.hosts.exists() && tags != Tags{} },
		do: func() bool {
			if w.hosts.versionOrNone() != todo.hosts {
				return false
			}
			if tags == (Tags{}) {
				w.hosts = nil
				return true
			}
			w.hosts = w.hosts.written(w, tags, true)
			return true
		},
	}
}

func (r *httpRoute[T]) exists() bool { return r != nil }

func (r *httpRoute[T]) versionOrNone() int {
	if r == nil {
		return 0
	}
	return r.version
}

// written is the route after a write; what routes say is in their generation, what is noted on them is not.
func (r *httpRoute[T]) written(w *world, says T, generates bool) *httpRoute[T] {
	if r == nil {
		r = &httpRoute[T]{id: w.nextVersion()}
	}
	r.version, r.says = w.nextVersion(), says
	if generates {
		r.generation++
	}
	return r
}

// writeRetire takes one step down, and only on the version that the decision was taken on: a revision that was asked
// for again in the meantime runs.
func (w *world) writeRetire(todo intent, plan WorkloadPlan) write {
	n := plan.Revision
	return write{
		what: func() string { return fmt.Sprintf("retires %d: %s", n, plan.Action) },
		needed: func() bool {
			d := w.deployments[n]
			return d != nil && (d.idleSince.IsZero() || plan.Action == ScaleDown && d.replicas > 0 || plan.Action == Delete)
		},
		do: func() bool {
			d := w.deployments[n]
			if d.version != todo.deployments[n] {
				return false
			}
			w.witness.retired(w, plan)
			d.version, d.idleSince = w.nextVersion(), plan.IdleSince
			switch plan.Action {
			case ScaleDown:
				d.replicas = 0
			case Delete:
				delete(w.deployments, n)
			case Run, Keep, Drain:
			}
			return true
		},
	}
}

// writeReport is the one write of the status, when all else is done.
func (w *world) writeReport(todo intent) write {
	report := Reported{Target: todo.decision.Target, Split: todo.decision.Served, Tried: todo.decision.Phase == RolledBack}
	if record := todo.decision.Record; record != nil {
		report.Stable, report.Previous = record.Stable, record.Previous
	}
	return write{
		what:   func() string { return fmt.Sprintf("reports %s, %s", report.Split, todo.decision.Phase) },
		needed: func() bool { return !w.reported.equal(report) },
		do: func() bool {
			if w.reportedVersion != todo.reported {
				return false
			}
			w.witness.reports(w, report)
			w.reported, w.reportedVersion = report, w.nextVersion()
			return true
		},
	}
}

func (r Reported) equal(other Reported) bool {
	return r.Stable == other.Stable && r.Previous == other.Previous && r.Target == other.Target && r.Tried == other.Tried && r.Split.Equal(other.Split)
}

func percentText(percent *int) string {
	if percent == nil {
		return "-"
	}
	return fmt.Sprint(*percent)
}
