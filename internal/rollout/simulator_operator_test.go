// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"time"
)

// pendingDecision is a decision to carry out, with the resource versions that it is based on.
type pendingDecision struct {
	observation
	evaluation
}

func (sim *simulation) decide() pendingDecision {
	observed := sim.observe()
	d := evaluation{observed.Snapshot, sim.policy, sim.now, Decide(observed.Snapshot, sim.policy, sim.now)}
	sim.checker.checkDecision(d)
	return pendingDecision{observed, d}
}

// reconcile runs one reconciliation. It returns the number of writes, plus one if the operator
// crashed, and when to reconcile again.
func (sim *simulation) reconcile() (wrote int, wakeAt time.Time) {
	before := sim.writesLeft
	pending := sim.decide()
	wrote = sim.apply(pending, sim.writesLeft)
	if crashed := before != unlimited && sim.writesLeft == unlimited; crashed && sim.restart == atOnce {
		return sim.reconcile()
	}
	return wrote, pending.decision.WakeAt
}

// restartTime is when the operator restarts after a crash.
type restartTime string

const (
	later  restartTime = "later"
	atOnce restartTime = "at once"
)

// write is one write of the operator.
type write struct {
	what func() string
	// needed returns false if the write would change nothing.
	needed func() bool
	// do returns false if the write is refused because of a conflict.
	do func() bool
}

// unlimited is the number of writes of an operator that does not crash.
const unlimited = -1

// apply makes the writes of a decision in order. It stops at the first write that is refused, and
// crashes when no writes are left.
func (sim *simulation) apply(pending pendingDecision, writesLeft int) (wrote int) {
	for _, write := range sim.writes(pending) {
		if !write.needed() {
			continue
		}
		what := write.what()
		if writesLeft == 0 {
			sim.writesLeft = unlimited
			sim.log("operator", "crashes before it %s", what)
			return wrote + 1
		}
		if !write.do() {
			sim.log("operator", "is refused: %s", what)
			return wrote
		}
		wrote++
		if writesLeft > 0 {
			writesLeft--
			sim.writesLeft = writesLeft
		}
		sim.log("operator", "%s", what)
	}
	sim.announced = append(sim.announced, pending.decision.Transitions...)
	return wrote
}

// writes lists the writes of a decision in the order that [Decision] documents.
func (sim *simulation) writes(pending pendingDecision) []write {
	var writes []write
	if pending.decision.Create {
		writes = append(writes, sim.writeHistory(pending))
	}
	for _, n := range numbers(sim.deployments) {
		writes = append(writes, sim.repairHistory(n))
	}
	if pending.decision.State != nil {
		for _, n := range numbers(sim.history) {
			writes = append(writes, sim.writeRejection(pending, n))
		}
	}
	for _, plan := range pending.decision.Workloads {
		if plan.Action == Run {
			writes = append(writes, sim.writeRun(pending, plan))
		}
	}
	if pending.decision.State != nil {
		writes = append(writes, sim.writeRoute(pending))
	}
	writes = append(writes, sim.writeHosts(pending))
	for _, plan := range pending.decision.Workloads {
		if plan.Action == Drain || plan.Action == ScaleDown || plan.Action == Delete {
			writes = append(writes, sim.writeRetire(pending, plan))
		}
	}
	for _, n := range pending.decision.Prune {
		writes = append(writes, write{
			what:   func() string { return fmt.Sprintf("prunes %d", n) },
			needed: func() bool { return sim.history[n] != "" },
			do:     func() bool { sim.forgetRevision(n); return true },
		})
	}
	return append(writes, sim.writeStatus(pending))
}

// forgetRevision removes a revision from the history, and its rejection with it.
func (sim *simulation) forgetRevision(n Number) {
	delete(sim.history, n)
	delete(sim.rejections, n)
	delete(sim.checker.trialRejected, n)
}

func (sim *simulation) writeHistory(pending pendingDecision) write {
	n, hash := pending.decision.Target, pending.observed.Desired.Hash
	return write{
		what:   func() string { return fmt.Sprintf("records %d, which runs %s", n, hash) },
		needed: func() bool { return sim.history[n] != hash },
		do: func() bool {
			if sim.history[n] != "" {
				return false
			}
			sim.checker.numberAssigned(sim, n, hash)
			sim.history[n] = hash
			return true
		},
	}
}

// repairHistory recreates a revision in the history from its workload, after an external deletion.
func (sim *simulation) repairHistory(n Number) write {
	return write{
		what:   func() string { return fmt.Sprintf("records %d again, which runs %s", n, sim.deployments[n].hash) },
		needed: func() bool { return sim.deployments[n] != nil && sim.history[n] == "" },
		do:     func() bool { sim.history[n] = sim.deployments[n].hash; return true },
	}
}

// writeRejection keeps the rejection of a revision in the history, under an optimistic lock. It
// precedes the write of the route, so that the history is never older than the rollout state.
func (sim *simulation) writeRejection(pending pendingDecision, n Number) write {
	want, rejected := pending.decision.State.Rejected[n]
	observed := pending.rejected(n)
	return write{
		what: func() string {
			if !rejected {
				return fmt.Sprintf("removes the rejection of %d", n)
			}
			return fmt.Sprintf("records that %s is rejected: %s", TrialID{n, want.Attempt}, want.Reason)
		},
		needed: func() bool { return sim.history[n] != "" && sim.rejections[n] != want },
		do: func() bool {
			if sim.rejections[n] != observed {
				return false
			}
			if sim.rejections[n] = want; !rejected {
				delete(sim.rejections, n)
			}
			return true
		},
	}
}

func (o observation) rejected(n Number) Rejection {
	if rejection := o.find(n).Rejection; rejection != nil {
		return *rejection
	}
	return Rejection{}
}

func (sim *simulation) writeRun(pending pendingDecision, plan WorkloadPlan) write {
	n, bounds := plan.Revision, pending.observed.Desired.Replicas
	autoscaled := !bounds.ScaledByKnative && bounds.Max > max(1, bounds.Min)
	replicas := max(1, plan.MinReplicas)
	return write{
		what: func() string { return fmt.Sprintf("runs %d with %d or more", n, replicas) },
		needed: func() bool {
			d := sim.deployments[n]
			return d == nil || d.minReplicas != replicas || d.autoscaled != autoscaled || !d.idleSince.IsZero() ||
				d.replicas < replicas || !autoscaled && d.replicas > replicas
		},
		do: func() bool {
			d := sim.deployments[n]
			if d == nil {
				if sim.history[n] == "" {
					return false // Nothing knows what the revision ran.
				}
				d = &deployment{id: sim.nextVersion(), hash: sim.history[n]}
				sim.deployments[n] = d
			}
			d.version, d.minReplicas, d.autoscaled, d.idleSince = sim.nextVersion(), replicas, autoscaled, time.Time{}
			if autoscaled {
				replicas = max(replicas, d.replicas)
			}
			d.replicas = replicas
			return true
		},
	}
}

// writeRoute writes the weights and the rollout state at once, under an optimistic lock.
func (sim *simulation) writeRoute(pending pendingDecision) write {
	state := *pending.decision.State
	text := state.Encode()
	return write{
		what: func() string {
			return fmt.Sprintf("routes %s (stable %d, previous %d, target %d, %s)",
				state.Split, state.Stable, state.Previous, state.Target, askedText(state))
		},
		needed: func() bool {
			return sim.route == nil || sim.route.state != text || !sim.route.desired.Equal(state.Split)
		},
		do: func() bool {
			if sim.route.versionOrNone() != pending.route {
				return false
			}
			sim.checker.routed(sim, pending.evaluation)
			sim.route = sim.route.written(sim, state.Split, !sim.route.exists() || !sim.route.desired.Equal(state.Split))
			sim.route.state = text
			return true
		},
	}
}

func (sim *simulation) writeHosts(pending pendingDecision) write {
	tags := pending.decision.Tags
	return write{
		what: func() string { return fmt.Sprintf("points latest at %d and prev at %d", tags.Latest, tags.Prev) },
		needed: func() bool {
			return sim.hosts.exists() && sim.hosts.desired != tags || !sim.hosts.exists() && tags != Tags{}
		},
		do: func() bool {
			if sim.hosts.versionOrNone() != pending.hosts {
				return false
			}
			if tags == (Tags{}) {
				sim.hosts = nil
				return true
			}
			sim.hosts = sim.hosts.written(sim, tags, true)
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

// written returns the route after a write. A change of the spec increases the generation, a change
// of the annotations does not.
func (r *httpRoute[T]) written(sim *simulation, desired T, generates bool) *httpRoute[T] {
	if r == nil {
		r = &httpRoute[T]{id: sim.nextVersion()}
	}
	r.version, r.desired = sim.nextVersion(), desired
	if generates {
		r.generation++
	}
	return r
}

// writeRetire takes one step under an optimistic lock, because the revision may be needed again.
func (sim *simulation) writeRetire(pending pendingDecision, plan WorkloadPlan) write {
	n := plan.Revision
	return write{
		what: func() string { return fmt.Sprintf("retires %d: %s", n, plan.Action) },
		needed: func() bool {
			d := sim.deployments[n]
			return d != nil && (d.idleSince.IsZero() || plan.Action == ScaleDown && d.replicas > 0 || plan.Action == Delete)
		},
		do: func() bool {
			d := sim.deployments[n]
			if d.version != pending.deployments[n] {
				return false
			}
			sim.checker.retired(sim, plan)
			d.version, d.idleSince = sim.nextVersion(), plan.IdleSince
			switch plan.Action {
			case ScaleDown:
				d.replicas = 0
			case Delete:
				delete(sim.deployments, n)
			case Run, AwaitRoute, Drain:
			}
			return true
		},
	}
}

func (sim *simulation) writeStatus(pending pendingDecision) write {
	report := Reported{Target: pending.decision.Target, Split: pending.decision.Served, Tried: pending.decision.Phase == RolledBack}
	if state := pending.decision.State; state != nil {
		report.Stable, report.Previous = state.Stable, state.Previous
	}
	trial := ""
	if reported := pending.decision.Trial; reported != nil {
		report.Trial, report.Baking = reported.ID, reported.Baking
		trial = fmt.Sprintf(", %s waits for %s", reported.ID, reported.WaitingFor)
	}
	return write{
		what:   func() string { return fmt.Sprintf("reports %s, %s%s", report.Split, pending.decision.Phase, trial) },
		needed: func() bool { return !sim.reported.equal(report) || sim.reportedTrial != trial },
		do: func() bool {
			if sim.reportedVersion != pending.reported {
				return false
			}
			sim.checker.reports(sim, report)
			sim.reported, sim.reportedTrial, sim.reportedVersion = report, trial, sim.nextVersion()
			return true
		},
	}
}

func (r Reported) equal(other Reported) bool {
	return r.Stable == other.Stable && r.Previous == other.Previous && r.Target == other.Target && r.Tried == other.Tried && r.Split.Equal(other.Split) &&
		r.Trial == other.Trial && r.Baking == other.Baking
}

// askedText says what is asked of the target: by the percent, or by the trial.
func askedText(state State) string {
	switch trial := state.Trial; {
	case state.isRejected(state.Target):
		return fmt.Sprintf("rejected %s", TrialID{state.Target, state.Rejected[state.Target].Attempt})
	case trial.bakes():
		return fmt.Sprintf("baking %s", TrialID{state.Target, trial.Attempt})
	case trial != nil:
		return fmt.Sprintf("trial %s asks for %d", TrialID{state.Target, trial.Attempt}, state.Asked.Share)
	}
	return "percent " + percentText(percentOf(state.Asked))
}

func percentOf(asked Intent) *int {
	if asked.Promote {
		return nil
	}
	return &asked.Share
}

func percentText(percent *int) string {
	if percent == nil {
		return "-"
	}
	return fmt.Sprint(*percent)
}
