// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Plan is how a policy moves the share of a target by itself.
type Plan struct {
	// Policy is the name of the policy. A trial follows only the policy with which it began.
	Policy string
	// Invalid is true if a policy applies and cannot be used: it does not exist, is invalid, or is
	// one of several. No share goes up then, and the other fields may be empty.
	Invalid bool
	// Steps are the shares before the promotion, in ascending order. There is at least one.
	Steps []Step
	// ApprovePromotion is true if the promotion must be approved.
	ApprovePromotion bool
	// Evidence is what a share above 0 must show before the next one, or nil if time and readiness
	// are enough.
	Evidence *EvidenceRule
	// Analysis is what the policy measures, in a form that only the caller reads.
	Analysis json.RawMessage
	// Bake is how long the previous revision stays loaded after the promotion.
	Bake time.Duration
	// Keep is how long a rejected target stays loaded.
	Keep time.Duration
	// LoadDeadline is how long a scheduled pod may take to become ready, and QueueDeadline how long a
	// pod may be unschedulable, before a target without a ready pod is rejected. 0 means no limit.
	LoadDeadline, QueueDeadline time.Duration
}

// Step is a share of the target.
type Step struct {
	Percent int
	// Hold is the minimum time at the share. It ends only while the gateway serves the share.
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

// Next returns the next attempt at the same revision.
func (t TrialID) Next() TrialID { return TrialID{t.Revision, t.Attempt + 1} }

// String formats the ID as in «2.1».
func (t TrialID) String() string { return fmt.Sprintf("%d.%d", t.Revision, t.Attempt) }

// Commands are what people have told a trial. A command for any other trial has no effect.
type Commands struct {
	// Approve allows one share. Its hold and evidence still count.
	Approve Approval
	// Pause keeps the share from going up while it is there.
	Pause TrialID
	// Abort rejects the target.
	Abort TrialID
	// Promote asks for the promotion without holds, evidence and approval, and ends or skips the bake.
	Promote TrialID
	// Retry begins the named trial of a rejected target.
	Retry TrialID
}

// Approval allows a share. 100 is the promotion.
type Approval struct {
	Trial TrialID
	Share int
}

// Evidence is the observed evidence on a trial.
type Evidence struct {
	Trial TrialID
	// Harm is true if the target is proven to be worse than allowed, at whatever share.
	Harm bool
	// Share is the share to which the other fields belong.
	Share int
	// ProvenAt is when the target was proven to be no worse than allowed at Share, and EnoughAt when
	// it had had enough requests there. Zero means not yet.
	ProvenAt, EnoughAt time.Time
	// Missing says why there is no evidence, or is empty.
	Missing WaitingFor
}

// meets returns when the evidence on a share became what the rule asks for, or zero if it is not.
func (e Evidence) meets(rule *EvidenceRule) time.Time {
	switch {
	case !rule.Proof || e.EnoughAt.IsZero():
		return e.EnoughAt
	case e.ProvenAt.IsZero() || e.ProvenAt.After(e.EnoughAt):
		return e.ProvenAt
	}
	return e.EnoughAt
}

// WaitingFor is what a trial waits for.
type WaitingFor string

// What a trial waits for.
const (
	WaitsForHold     WaitingFor = "Hold"
	WaitsForProof    WaitingFor = "Proof"
	WaitsForDecision WaitingFor = "Decision" // There was no evidence before the timeout.
	WaitsForApproval WaitingFor = "Approval"
	WaitsForCapacity WaitingFor = "Capacity"
	WaitsForQueue    WaitingFor = "Queue" // No node takes a pod.
	WaitsForTraffic  WaitingFor = "Traffic"
	WaitsForMetrics  WaitingFor = "Metrics"
	WaitsForSeries   WaitingFor = "Series" // The source of the metrics does not know the stable.
	WaitsForResume   WaitingFor = "Resume"
	WaitsForPolicy   WaitingFor = "Policy"
	WaitsForStable   WaitingFor = "Stable" // A rejected target keeps a share until the stable can serve.
	WaitsForBake     WaitingFor = "Bake"
)

// next returns the share that comes after the one that a trial has reached. 100 is the promotion.
func (p *Plan) next(trial *Trial) int {
	for _, step := range p.Steps {
		if step.Percent > trial.Share || !trial.started() {
			return step.Percent
		}
	}
	return 100
}

// hold returns the hold of a share. A share between two steps has the hold of the lower one.
func (p *Plan) hold(share int) time.Duration {
	hold := p.Steps[0].Hold
	for _, step := range p.Steps {
		if step.Percent <= share {
			hold = step.Hold
		}
	}
	return hold
}

func (p *Plan) needsApproval(share int) bool {
	if share == 100 {
		return p.ApprovePromotion
	}
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Percent == share && s.Approve })
}
