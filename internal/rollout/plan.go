// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"time"
)

// Plan is how a policy moves the share of a target by itself.
type Plan struct {
	// Policy is the name of the policy. It is stored with the trial.
	Policy string
	// Invalid is true if the policy cannot be used. No share goes up then.
	Invalid bool
	// Steps are the shares before the promotion, in ascending order.
	Steps []Step
	// ApprovePromotion is true if the promotion must be approved.
	ApprovePromotion bool
	// Evidence is what a share above 0 must show before the next one, or nil if time and readiness
	// are enough.
	Evidence *EvidenceRule
	// Bake is how long the previous revision stays loaded after the promotion.
	Bake time.Duration
	// Keep is how long a rejected target stays loaded.
	Keep time.Duration
	// LoadDeadline is how long a scheduled pod of the target may take to become ready before the
	// target is rejected. 0 means no limit.
	LoadDeadline time.Duration
}

// Step is a share of the target.
type Step struct {
	Percent int
	// Hold is the minimum time at the share while the gateway serves it.
	Hold time.Duration
	// Approve is true if the share must be approved before it is given.
	Approve bool
}

// EvidenceRule says which evidence a share needs.
type EvidenceRule struct {
	// Proof is true if the target must be proven to be no worse than allowed. Otherwise enough
	// requests without harm are sufficient.
	Proof bool
	// Timeout limits how long a share waits for its evidence. Evidence that comes later does not
	// count: a person must decide. 0 means no limit.
	Timeout time.Duration
	// ProceedWithoutTraffic is true if a share that gets no requests needs no evidence.
	ProceedWithoutTraffic bool
}

// TrialID names one attempt to promote a revision.
type TrialID struct {
	Revision Number
	Attempt  int
}

// String formats the ID as in «2.1».
func (t TrialID) String() string { return fmt.Sprintf("%d.%d", t.Revision, t.Attempt) }

// Commands are what people have told a trial. A command for any other trial has no effect.
type Commands struct {
	Approve Approval
	Pause   TrialID
	Abort   TrialID
	Promote TrialID
	Retry   TrialID
}

// Approval allows a share. 100 is the promotion.
type Approval struct {
	Trial TrialID
	Share int
}

// Evidence is the observed evidence on a trial.
type Evidence struct {
	Trial TrialID
	// Harm is true if the target is proven to be worse than allowed.
	Harm bool
	// Share is the share to which the other fields belong.
	Share int
	// ProvenAt is when the target was proven to be no worse than allowed, and EnoughAt when it had
	// had enough requests. Zero means not yet.
	ProvenAt, EnoughAt time.Time
	// Missing says why there is no evidence, or is empty.
	Missing WaitingFor
}

// Trial is the part of the rollout state about the trial of the target.
type Trial struct {
	Attempt int    `json:"attempt"`
	Policy  string `json:"policy"`
	// Began is when the trial began. Evidence counts from then.
	Began time.Time `json:"began"`
	// Given is true once the first step has been given.
	Given bool `json:"given,omitempty"`
	// Baking is true after the promotion, while the previous revision stays loaded.
	Baking bool `json:"baking,omitempty"`
}

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
	Harmful RejectionReason = "Harm"
	Aborted RejectionReason = "Aborted"
	TooSlow RejectionReason = "LoadDeadlineExceeded"
)

// WaitingFor is what a trial waits for.
type WaitingFor string

// What a trial waits for.
const (
	WaitsForHold     WaitingFor = "Hold"
	WaitsForProof    WaitingFor = "Proof"
	WaitsForPerson   WaitingFor = "Decision" // The evidence came too late or not at all.
	WaitsForApproval WaitingFor = "Approval"
	WaitsForCapacity WaitingFor = "Capacity"
	WaitsForQueue    WaitingFor = "Queue" // No node takes the pods.
	WaitsForTraffic  WaitingFor = "Traffic"
	WaitsForMetrics  WaitingFor = "Metrics"
	WaitsForSeries   WaitingFor = "Series" // The source of the metrics does not know the stable.
	WaitsForResume   WaitingFor = "Resume"
	WaitsForPolicy   WaitingFor = "Policy"
	WaitsForStable   WaitingFor = "Stable" // A rejected target keeps its share until the stable can serve.
	WaitsForBake     WaitingFor = "Bake"
)

// TrialReport is what users are told about the trial.
type TrialReport struct {
	ID     TrialID
	Policy string
	// Share is the share that the trial has reached, and Next the one that comes after it. 100 is
	// the promotion.
	Share, Next int
	// Since is since when the trial is at Share.
	Since time.Time
	// WaitingFor is what the next share waits for. Until is when the hold or the bake ends.
	WaitingFor WaitingFor
	Until      time.Time
	// Began is when evidence begins to count, and Baking is true after the promotion.
	Began  time.Time
	Baking bool
}

// followPlan replaces the intent by what the policy asks of the target's share now.
func (d *decider) followPlan() {
	state := &d.after
	if d.target != d.before.Target {
		d.leaveTrial()
	}
	switch {
	case d.Desired.Manual:
		state.Trial = nil
		if d.intent.Share > 0 {
			state.forgive(d.target)
		}
	case !d.Desired.resolved(), d.after.Stable == 0:
	case d.isRejected() && !d.retry():
		d.intent = Intent{}
		d.dropped = !d.keepsRejected()
	case d.target == d.after.Stable:
		d.bake()
	case d.Desired.Plan != nil:
		d.advance()
	case state.Trial != nil:
		d.hold(WaitsForPolicy) // Deleting a policy must not promote an unproven target.
	}
}

// advance asks for the share that the trial has reached, or for the next one.
func (d *decider) advance() {
	if d.after.Trial == nil {
		d.beginTrial()
	}
	trial, id := d.after.Trial, d.trialID()
	switch {
	case d.Desired.Commands.Abort == id:
		d.reject(Aborted)
		return
	case d.Evidence.Trial == id && d.Evidence.Harm:
		d.reject(Harmful)
		return
	case d.loadedTooSlowly():
		d.reject(TooSlow)
		return
	}
	share := d.reached()
	next := d.Desired.Plan.next(share, trial.Given)
	waits, until := d.waitsFor(share, next)
	if d.Desired.Commands.Promote == id {
		next, waits = 100, ""
	}
	if waits != "" {
		d.hold(waits)
		d.trial.Next, d.trial.Until = next, until
		d.scheduleWake(until)
		return
	}
	trial.Given = true
	d.intent = Intent{Share: next, Promote: next == 100}
	d.note(next)
}

// reached returns the share that the trial has reached.
func (d *decider) reached() int {
	if d.before.Trial == nil {
		return d.before.Split.Percent(d.target)
	}
	return d.before.Asked.Share
}

// next returns the first step above a share, or 100. A trial that has been given no share yet
// begins with the first step.
func (p *Plan) next(share int, given bool) int {
	for _, step := range p.Steps {
		if step.Percent > share || !given && step.Percent == share {
			return step.Percent
		}
	}
	return 100
}

// step returns the step of a share, or the one below it. It returns false if there is none.
func (p *Plan) step(share int) (step Step, found bool) {
	for _, candidate := range p.Steps {
		if candidate.Percent <= share {
			step, found = candidate, true
		}
	}
	return step, found
}

func (p *Plan) needsApproval(share int) bool {
	if share == 100 {
		return p.ApprovePromotion
	}
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Percent == share && s.Approve })
}

// waitsFor returns what the next share waits for, or "" if it may be given now. A share that has
// not been given yet needs neither a hold nor evidence.
func (d *decider) waitsFor(share, next int) (waits WaitingFor, until time.Time) {
	plan, id := d.Desired.Plan, d.trialID()
	if plan.Invalid {
		return WaitsForPolicy, time.Time{}
	}
	if d.after.Trial.Given {
		if d.before.Split.Percent(d.target) != share || !d.before.Split.Has(d.target) {
			return d.waitsForCapacity(), time.Time{}
		}
		step, _ := plan.step(share)
		if end := d.since().Add(step.Hold); d.now.Before(end) || !d.Route.Accepted {
			return WaitsForHold, end
		}
		if waits := d.waitsForEvidence(share); waits != "" {
			return waits, time.Time{}
		}
	}
	switch {
	case d.Desired.Commands.Pause == id:
		return WaitsForResume, time.Time{}
	case plan.needsApproval(next) && d.Desired.Commands.Approve != (Approval{id, next}):
		return WaitsForApproval, time.Time{}
	}
	return "", time.Time{}
}

func (d *decider) waitsForCapacity() WaitingFor {
	if workload := d.find(d.target).predictor(); workload != nil && !workload.UnschedulableSince.IsZero() {
		return WaitsForQueue
	}
	return WaitsForCapacity
}

func (d *decider) waitsForEvidence(share int) WaitingFor {
	rule, evidence := d.Desired.Plan.Evidence, d.Evidence
	if rule == nil || share == 0 {
		return ""
	}
	if evidence.Trial != d.trialID() || evidence.Share != share {
		evidence = Evidence{Missing: evidence.Missing}
	}
	at := evidence.EnoughAt
	if rule.Proof {
		at = evidence.ProvenAt
	}
	deadline := d.since().Add(rule.Timeout)
	switch {
	case !at.IsZero() && (rule.Timeout == 0 || !at.After(deadline)):
		return ""
	case evidence.Missing == WaitsForTraffic && rule.ProceedWithoutTraffic:
		return ""
	case rule.Timeout > 0 && !d.now.Before(deadline):
		return WaitsForPerson
	case evidence.Missing != "":
		d.scheduleTimeout(deadline, rule)
		return evidence.Missing
	}
	d.scheduleTimeout(deadline, rule)
	return WaitsForProof
}

func (d *decider) scheduleTimeout(deadline time.Time, rule *EvidenceRule) {
	if rule.Timeout > 0 {
		d.scheduleWake(deadline)
	}
}

// since returns since when the trial is at its share.
func (d *decider) since() time.Time {
	return slices.MaxFunc([]time.Time{d.before.AskedAt, d.before.ShiftedAt, d.after.Trial.Began}, time.Time.Compare)
}

func (d *decider) trialID() TrialID {
	if d.after.Trial == nil {
		return TrialID{}
	}
	return TrialID{d.target, d.after.Trial.Attempt}
}

// beginTrial begins a trial of the target. A target that has a share keeps it.
func (d *decider) beginTrial() {
	attempt := d.before.Attempts[d.target] + 1
	if d.after.Attempts == nil {
		d.after.Attempts = map[Number]int{}
	}
	d.after.Attempts[d.target] = attempt
	d.after.Trial = &Trial{Attempt: attempt, Policy: d.Desired.Plan.Policy, Began: d.now, Given: d.before.Split.Percent(d.target) > 0}
	d.announce(TrialStarted)
}

// hold keeps the share that the trial has reached.
func (d *decider) hold(waits WaitingFor) {
	d.intent = Intent{Share: d.reached()}
	d.note(d.intent.Share)
	d.trial.WaitingFor = waits
}

// note reports the trial at a share.
func (d *decider) note(share int) {
	trial := d.after.Trial
	d.trial = &TrialReport{ID: d.trialID(), Policy: trial.Policy, Share: share, Since: d.since(), Began: trial.Began, Baking: trial.Baking}
	if share != d.reached() {
		d.trial.Since = d.now
	}
}

// loadedTooSlowly reports whether the target has not become ready by the load deadline.
func (d *decider) loadedTooSlowly() bool {
	workload, deadline := d.find(d.target).predictor(), d.Desired.Plan.LoadDeadline
	if workload == nil || workload.LoadingSince.IsZero() || workload.capacity() > 0 || deadline == 0 {
		return false
	}
	end := workload.LoadingSince.Add(deadline)
	d.scheduleWake(end)
	return !d.now.Before(end)
}

// reject takes the target's share back for good.
func (d *decider) reject(reason RejectionReason) {
	if d.after.Rejected == nil {
		d.after.Rejected = map[Number]Rejection{}
	}
	d.after.Rejected[d.target] = Rejection{Attempt: d.after.Trial.Attempt, Reason: reason, At: d.now}
	d.after.Trial = nil
	d.intent = Intent{}
	d.announce(Rejected)
}

func (d *decider) isRejected() bool {
	_, rejected := d.after.Rejected[d.target]
	return rejected
}

// retry begins another trial of a rejected target if a person has asked for it.
func (d *decider) retry() bool {
	if d.Desired.Plan == nil || d.Desired.Commands.Retry != (TrialID{d.target, d.after.Attempts[d.target] + 1}) {
		return false
	}
	d.after.forgive(d.target)
	return true
}

// keepsRejected reports whether a rejected revision stays loaded.
func (d *decider) keepsRejected() bool {
	keep := defaultKeep
	if d.Desired.Plan != nil {
		keep = d.Desired.Plan.Keep
	}
	end := d.after.Rejected[d.target].At.Add(keep)
	d.scheduleWake(end)
	return d.now.Before(end)
}

// defaultKeep is how long a rejected revision stays loaded when its policy is gone.
const defaultKeep = 10 * time.Minute

// bake keeps the previous revision loaded after a promotion by the plan, and undoes the promotion on
// harm.
func (d *decider) bake() {
	trial := d.after.Trial
	if trial == nil || !trial.Baking {
		d.after.Trial = nil
		return
	}
	id := d.trialID()
	if d.Desired.Plan == nil || d.Desired.Commands.Promote == id || !d.canRun(d.before.Previous) {
		d.endBake()
		return
	}
	switch {
	case d.Desired.Commands.Abort == id:
		d.undoBake(Aborted)
		return
	case d.Evidence.Trial == id && d.Evidence.Harm:
		d.undoBake(Harmful)
		return
	}
	end := d.before.ShiftedAt.Add(d.Desired.Plan.Bake)
	if !d.now.Before(end) && d.Route.Accepted {
		d.after.Trial = nil
		d.announce(BakeCompleted)
		return
	}
	d.note(100)
	d.trial.Next, d.trial.Since, d.trial.WaitingFor, d.trial.Until = 100, d.before.ShiftedAt, WaitsForBake, end
	d.scheduleWake(end)
}

// leaveTrial ends the trial of the last target. In the bake, a spec that returns to the previous
// revision undoes the promotion.
func (d *decider) leaveTrial() {
	if trial := d.before.Trial; trial != nil && trial.Baking && d.target == d.before.Previous {
		d.after.Stable, d.after.Previous = d.target, 0
		d.announced = append(d.announced, Transition{Kind: WasRolledBack, Revision: d.before.Target, Other: d.target})
	}
	d.endBake()
	d.after.Trial = nil
}

// beginBake ends the trial with the promotion, or keeps it until the end of the bake.
func (d *decider) beginBake() {
	trial := d.after.Trial
	if trial == nil {
		return
	}
	if d.Desired.Plan == nil || d.Desired.Plan.Bake == 0 || d.after.Previous == 0 {
		d.after.Trial = nil
		return
	}
	trial.Baking = true
	d.announce(BakeStarted)
}

func (d *decider) announce(kind TransitionKind) {
	d.announced = append(d.announced, Transition{Kind: kind, Revision: d.target, Other: d.before.Stable})
}

// endBake ends a bake because something else was asked for.
func (d *decider) endBake() {
	if trial := d.before.Trial; trial != nil && trial.Baking {
		d.after.Trial = nil
		d.announce(BakeEnded)
	}
}

// undoBake rejects the promoted target and makes the previous revision the stable again.
func (d *decider) undoBake(reason RejectionReason) {
	d.reject(reason)
	d.after.Stable, d.after.Previous = d.before.Previous, 0
}

// isBaking reports whether a revision stays loaded because the promotion of another may be undone.
func (d *decider) isBaking(n Number) bool {
	return d.after.Trial != nil && d.after.Trial.Baking && n == d.after.Previous
}

// forgive removes the rejection of a revision.
func (s *State) forgive(n Number) {
	delete(s.Rejected, n)
	if len(s.Rejected) == 0 {
		s.Rejected = nil
	}
}
