// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"maps"
	"time"
)

// Trial is the part of the rollout state about the trial of the target.
type Trial struct {
	Attempt int `json:"attempt"`
	// Policy is the name of the policy that the trial follows. It is empty while none could be used
	// yet.
	Policy string `json:"policy"`
	// Share is the share that the trial has reached. It stays while the target has lost its pods.
	Share int `json:"share"`
	// Began is when the trial reached its first share. It is zero before. Evidence counts from then.
	Began time.Time `json:"began,omitzero"`
	// Analysis is that of the plan with which the trial began.
	Analysis json.RawMessage `json:"analysis,omitempty"`
	// Bake is how long the previous revision stays loaded after the promotion if the policy cannot
	// be used. It is 0 before the promotion.
	Bake time.Duration `json:"bake,omitempty"`
}

func (t *Trial) started() bool { return !t.Began.IsZero() }

func (t *Trial) bakes() bool { return t != nil && t.Bake > 0 }

// Rejection says that a revision may get no share before a person asks for it.
type Rejection struct {
	Attempt int             `json:"attempt"`
	Reason  RejectionReason `json:"reason"`
	At      time.Time       `json:"at"`
}

// RejectionReason is why a revision was rejected.
type RejectionReason string

// The reasons of a rejection.
const (
	Harmful     RejectionReason = "Harm"
	Aborted     RejectionReason = "Aborted"
	TooSlow     RejectionReason = "LoadDeadlineExceeded"
	Unscheduled RejectionReason = "QueueDeadlineExceeded"
)

// defaultKeep is how long a rejected revision stays loaded if its policy cannot be used.
const defaultKeep = 10 * time.Minute

// TrialReport is what users are told about the trial of the target.
type TrialReport struct {
	ID     TrialID
	Policy string
	// Share is the share of the target now, and Next the one that comes after it. 100 is the
	// promotion. Next is 0 if there is none or it is unknown.
	Share, Next int
	// Since is since when the target has Share, or zero before the first share. Evidence on Share
	// counts from then.
	Since time.Time
	// WaitingFor is what the next share, or the end of the trial, waits for. Until is when the hold
	// or the bake ends, and otherwise zero.
	WaitingFor WaitingFor
	Until      time.Time
	// Began is when the trial reached its first share, and Baking is true after the promotion.
	Began  time.Time
	Baking bool
}

// followPlan replaces the intent by what the policy asks of the target's share now. A spec that
// cannot be resolved changes nothing, and its policy cannot be used.
func (d *decider) followPlan() {
	if d.target != d.before.Target {
		d.leaveTrial()
	}
	switch {
	case d.isManual():
		d.after.Trial = nil
		if d.intent.Share > 0 {
			d.after.clearRejection(d.target)
		}
		d.keptOut = d.after.Stable == 0 && d.isRejected()
	case d.isRejected() && !d.isRetried():
		d.stayRejected()
	case d.after.Stable == 0: // The first revision gets 100 % at once.
		d.after.clearRejection(d.target)
	case d.target == d.after.Stable:
		d.bake()
	case d.after.Trial == nil && (d.Desired.Plan == nil || !d.Desired.resolved()):
	case d.after.Trial == nil && d.before.Split.Percent(d.target) == 100 && !d.isRejected() && !d.Desired.Stopped:
		// The percent of a rollback goes away before the traffic moves: nothing is on trial.
	default:
		d.advance()
	}
}

func (d *decider) isManual() bool { return d.Desired.Manual && d.Desired.resolved() }

// leaveTrial ends the trial of the last target. In the bake, a spec that returns to the previous
// revision undoes the promotion.
func (d *decider) leaveTrial() {
	if d.before.Trial.bakes() && d.target == d.before.Previous && !d.isManual() {
		d.after.Stable, d.after.Previous = d.target, 0
	}
	d.after.Trial = nil
}

// advance asks for the share that the trial has reached, or for the next one.
func (d *decider) advance() {
	if d.after.Trial == nil {
		share := d.before.Split.Percent(d.target) // A share that is there stays.
		if d.isRejected() || d.Desired.Stopped {
			d.after.clearRejection(d.target)
			share = 0 // A retry begins with the first step, and so does a trial of a stopped service.
		}
		d.after.beginTrial(share, d.now)
	}
	trial, plan := d.after.Trial, d.plan()
	if reason := d.reasonToReject(plan); reason != "" {
		d.reject(reason)
		return
	}
	if plan == nil {
		d.hold(0, WaitsForPolicy, time.Time{})
		return
	}
	trial.Policy = plan.Policy
	if !trial.started() || trial.Analysis == nil {
		trial.Analysis = plan.Analysis
	}
	next := plan.next(trial)
	if d.Desired.Commands.Promote == d.trialID() {
		next = 100
	}
	if waits, until := d.waitsFor(plan, next); waits != "" {
		d.hold(next, waits, until)
		return
	}
	d.grants = true
	d.intent = Intent{Share: next, Promote: next == 100}
	d.next, d.waits = next, d.capacityOrQueue()
}

// plan returns the plan of the trial. It is nil if no policy may move the share up.
func (d *decider) plan() *Plan {
	plan, policy := d.Desired.Plan, d.after.Trial.Policy
	if plan == nil || plan.Invalid || len(plan.Steps) == 0 || !d.Desired.resolved() || policy != "" && policy != plan.Policy {
		return nil
	}
	return plan
}

// reasonToReject returns why the target must be rejected, or "".
func (d *decider) reasonToReject(plan *Plan) RejectionReason {
	id := d.trialID()
	switch {
	case d.Desired.Commands.Abort == id:
		return Aborted
	case d.Evidence.Trial == id && d.Evidence.Harm:
		return Harmful
	case plan == nil || d.target == d.after.Stable:
		return ""
	}
	workload := d.find(d.target).predictor()
	switch {
	case workload == nil || d.ready(d.target) > 0:
	case d.isOver(workload.LoadingSince, plan.LoadDeadline):
		return TooSlow
	case d.isOver(workload.UnschedulableSince, plan.QueueDeadline):
		return Unscheduled
	}
	return ""
}

// isOver reports whether a deadline has passed. A limit of 0 means that there is none.
func (d *decider) isOver(since time.Time, limit time.Duration) bool {
	if since.IsZero() || limit == 0 {
		return false
	}
	end := since.Add(limit)
	d.scheduleWake(end)
	return !d.now.Before(end)
}

// waitsFor returns what the next share waits for, or "" if it may be given now. The first share
// needs neither a hold nor evidence. A share that has been asked for, and waits for replicas, needs
// none again.
func (d *decider) waitsFor(plan *Plan, next int) (WaitingFor, time.Time) {
	trial, id := d.after.Trial, d.trialID()
	switch {
	case d.Desired.Commands.Pause == id:
		return WaitsForResume, time.Time{}
	case d.Desired.Commands.Promote == id:
		return "", time.Time{}
	}
	if trial.started() && !d.hasShare() {
		return d.capacityOrQueue(), time.Time{}
	}
	if trial.started() && !d.isAsked(next) {
		if end := d.since().Add(plan.hold(trial.Share)); d.now.Before(end) || !d.Route.Accepted {
			return WaitsForHold, end
		}
		if waits := d.waitsForEvidence(plan.Evidence); waits != "" {
			return waits, time.Time{}
		}
	}
	if plan.needsApproval(next) && d.Desired.Commands.Approve != (Approval{id, next}) {
		return WaitsForApproval, time.Time{}
	}
	return "", time.Time{}
}

// isAsked reports whether the last decision asked for the next share already.
func (d *decider) isAsked(next int) bool {
	return d.before.Trial != nil && d.before.Asked.Share == next && next > d.after.Trial.Share
}

// hasShare reports whether the target has the share that the trial has reached, and can serve it.
func (d *decider) hasShare() bool {
	return d.ready(d.target) > 0 && !d.Desired.Stopped && d.before.Split.Has(d.target) && d.before.Split.Percent(d.target) == d.after.Trial.Share
}

func (d *decider) capacityOrQueue() WaitingFor {
	if workload := d.find(d.target).predictor(); workload != nil && !workload.UnschedulableSince.IsZero() {
		return WaitsForQueue
	}
	return WaitsForCapacity
}

func (d *decider) waitsForEvidence(rule *EvidenceRule) WaitingFor {
	trial, evidence := d.after.Trial, d.Evidence
	if rule == nil || trial.Share == 0 {
		return ""
	}
	if evidence.Trial != d.trialID() || evidence.Share != trial.Share {
		evidence = Evidence{}
	}
	since := d.since()
	met := evidence.meets(rule)
	inTime := rule.Timeout == 0 || !met.After(since.Add(rule.Timeout))
	switch {
	case !met.Before(since) && inTime: // Earlier evidence is from before a loss of the share.
		return ""
	case evidence.Missing == WaitsForTraffic && rule.ProceedWithoutTraffic:
		return ""
	case d.isOver(since, rule.Timeout):
		return WaitsForDecision
	case evidence.Missing != "":
		return evidence.Missing
	}
	return WaitsForProof
}

// since returns since when the target has had the share that the trial has reached.
func (d *decider) since() time.Time { return d.after.since() }

func (s State) since() time.Time {
	if s.Trial.Began.After(s.ShiftedAt) {
		return s.Trial.Began
	}
	return s.ShiftedAt
}

func (d *decider) trialID() TrialID { return TrialID{d.target, d.after.Trial.Attempt} }

// hold keeps the share that the trial has reached. Before the first share, the target stays out of
// the split.
func (d *decider) hold(next int, waits WaitingFor, until time.Time) {
	trial := d.after.Trial
	if trial.started() && !d.hasShare() {
		next = trial.Share
	}
	d.intent, d.keptOut = Intent{Share: trial.Share}, !trial.started()
	d.next, d.waits, d.until = next, waits, until
	d.scheduleWake(until)
}

// reach notes in the trial that the target gets the next share, or gets its share back after a
// loss. The hold begins.
func (d *decider) reach(split Split) {
	trial := d.after.Trial
	if trial == nil || trial.bakes() || d.ready(d.target) == 0 || !split.Has(d.target) || split.Percent(d.target) != d.intent.Share {
		return
	}
	plan, returns := d.plan(), trial.started() && !d.hasShare()
	if plan == nil || !d.grants && !returns {
		return
	}
	if !trial.started() {
		trial.Began = d.now
	}
	trial.Share = d.intent.Share
	d.next = plan.next(trial)
	if d.waits == WaitsForCapacity || d.waits == WaitsForQueue {
		d.waits, d.until = WaitsForHold, d.now.Add(plan.hold(trial.Share))
		d.scheduleWake(d.until)
	}
}

// reject takes the target's share back for good.
func (d *decider) reject(reason RejectionReason) {
	if d.after.Rejected == nil {
		d.after.Rejected = map[Number]Rejection{}
	}
	d.after.Rejected[d.target] = Rejection{Attempt: d.after.Trial.Attempt, Reason: reason, At: d.now}
	d.stayRejected()
}

// stayRejected asks for no share. The target stays loaded for some time.
func (d *decider) stayRejected() {
	keep := defaultKeep
	if plan := d.Desired.Plan; plan != nil && !plan.Invalid {
		keep = plan.Keep
	}
	end := d.after.Rejected[d.target].At.Add(keep)
	d.scheduleWake(end)
	d.after.Trial, d.intent = nil, Intent{}
	d.keptOut, d.dropped = true, !d.now.Before(end)
}

func (d *decider) isRejected() bool { return d.after.isRejected(d.target) }

// isRetried reports whether a person asks for another trial of a rejected target.
func (d *decider) isRetried() bool {
	return d.Desired.Plan != nil && d.Desired.resolved() &&
		d.Desired.Commands.Retry == TrialID{d.target, d.after.Attempts[d.target] + 1}
}

// bake keeps the previous revision loaded after a promotion by the plan, and undoes the promotion
// on harm.
func (d *decider) bake() {
	trial := d.after.Trial
	if !trial.bakes() || !d.canRun(d.after.Previous) {
		d.after.Trial = nil
		return
	}
	plan, bake := d.plan(), trial.Bake
	if plan != nil {
		bake = plan.Bake
	}
	end := d.since().Add(bake)
	served := d.Route.Accepted && d.before.Split.Percent(d.target) == 100
	if reason := d.reasonToReject(plan); reason != "" {
		d.reject(reason)
		d.after.Stable, d.after.Previous = d.after.Previous, 0
		return
	}
	switch {
	case d.Desired.Commands.Promote == d.trialID():
		d.after.Trial = nil
	case served && !d.now.Before(end):
		d.after.Trial, d.bakeCompleted = nil, true
	default:
		d.waits, d.until = WaitsForBake, end
		d.scheduleWake(end)
	}
}

// beginBake ends the trial with the promotion, or keeps it until the end of the bake. A promotion
// that a person asked for has no bake. Nor has one that changes only labels or annotations, because
// the previous revision is then an earlier one, which is not loaded.
func (d *decider) beginBake() {
	trial := d.after.Trial
	if trial == nil {
		return
	}
	bake := d.Desired.Plan.Bake
	if bake == 0 || d.after.Previous != d.before.Stable || d.Desired.Commands.Promote == d.trialID() {
		d.after.Trial = nil
		return
	}
	trial.Bake = bake
	if d.before.Split.Percent(d.target) == 100 {
		trial.Began = d.now // A lost trial began again at 100 %, so the split does not change now.
	}
	d.next, d.waits, d.until = 0, WaitsForBake, d.now.Add(bake)
	d.scheduleWake(d.until)
}

// isBaking reports whether a revision stays loaded because the promotion of another may be undone.
func (d *decider) isBaking(n Number) bool { return d.after.Trial.bakes() && n == d.after.Previous }

// report returns what users are told about the trial, or nil if there is none.
func (d *decider) report() *TrialReport {
	share := d.after.Split.Percent(d.target)
	trial := d.after.Trial
	switch {
	case trial != nil:
		report := &TrialReport{
			ID: d.trialID(), Policy: trial.Policy, Share: share, Next: d.next,
			WaitingFor: d.waits, Until: d.until, Began: trial.Began, Baking: trial.bakes(),
		}
		if trial.started() {
			report.Since = d.after.since()
		}
		return report
	case d.isRejected() && !d.isManual() && share > 0:
		id := TrialID{d.target, d.after.Rejected[d.target].Attempt}
		return &TrialReport{ID: id, Share: share, Since: d.after.ShiftedAt, WaitingFor: WaitsForStable}
	}
	return nil
}

// trialTransitions returns the changes of the trial.
func (d *decider) trialTransitions() []Transition {
	var transitions []Transition
	before, after := d.before.Trial, d.after.Trial
	add := func(happened bool, kind TransitionKind, revision, other Number) {
		if happened {
			transitions = append(transitions, Transition{Kind: kind, Revision: revision, Other: other})
		}
	}
	ended := before.bakes() && !after.bakes() && d.after.Stable == d.before.Stable
	add(ended && !d.bakeCompleted, BakeEnded, d.before.Stable, d.before.Previous)
	add(ended && d.bakeCompleted, BakeCompleted, d.before.Stable, d.before.Previous)
	add(d.after.Attempts[d.target] > d.before.Attempts[d.target], TrialStarted, d.target, d.after.Stable)
	add(d.after.Rejected[d.target].Attempt > d.before.Rejected[d.target].Attempt, Rejected, d.target, d.after.Stable)
	add(after.bakes() && !before.bakes(), BakeStarted, d.target, d.after.Previous)
	return transitions
}

// beginTrial begins another trial of the target, which may have a share already.
func (s *State) beginTrial(share int, now time.Time) {
	if s.Attempts == nil {
		s.Attempts = map[Number]int{}
	}
	s.Attempts[s.Target]++
	s.Trial = &Trial{Attempt: s.Attempts[s.Target], Share: share}
	if share > 0 {
		s.Trial.Began = now
	}
}

func (s State) isRejected(n Number) bool {
	_, rejected := s.Rejected[n]
	return rejected
}

// clearRejection removes the rejection of a revision.
func (s *State) clearRejection(n Number) {
	delete(s.Rejected, n)
	if len(s.Rejected) == 0 {
		s.Rejected = nil
	}
}

// pruneTrials removes the trials of revisions that no longer exist.
func (s *State) pruneTrials(gone func(Number) bool) {
	maps.DeleteFunc(s.Attempts, func(n Number, _ int) bool { return gone(n) })
	maps.DeleteFunc(s.Rejected, func(n Number, _ Rejection) bool { return gone(n) })
	if len(s.Rejected) == 0 {
		s.Rejected = nil
	}
	if len(s.Attempts) == 0 {
		s.Attempts = nil
	}
}
