// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file checks the rules about plans on a single decision. Like checks_test.go, it is written
// from the contract, without the helpers of Decide.

func (d evaluation) isManual() bool {
	return d.observed.Desired.Manual && d.observed.Desired.valid()
}

// isAutomatic reports whether a trial or a rejection decides about the share of the target.
func (d evaluation) isAutomatic() bool {
	state := d.decision.State
	return !d.isManual() && state != nil && (state.Trial != nil || state.isRejected(state.Target))
}

func (d evaluation) bakes() bool {
	state := d.decision.State
	return state != nil && state.Trial != nil && state.Trial.Bake > 0
}

// dropped reports whether the target was rejected and need not stay loaded.
func (d evaluation) dropped() bool {
	rejection, rejected := d.rejection(d.decision.Target)
	if !rejected || d.isManual() {
		return false
	}
	keep := 10 * time.Minute
	if plan := d.observed.Desired.Plan; plan != nil && !plan.Invalid {
		keep = plan.Keep
	}
	return !d.now.Before(rejection.At.Add(keep))
}

// rejection returns the rejection of a revision after the decision.
func (d evaluation) rejection(n Number) (Rejection, bool) {
	if d.decision.State != nil {
		rejection, rejected := d.decision.State.Rejected[n]
		return rejection, rejected
	}
	if revision := d.revision(n); revision != nil && revision.Rejection != nil && !d.isManual() {
		return *revision.Rejection, true
	}
	return Rejection{}, false
}

// canReturn reports whether a revision exists and can be brought back.
func (d evaluation) canReturn(n Number) bool {
	revision := d.revision(n)
	return revision != nil && (revision.InHistory || revision.predictor() != nil)
}

func checkPlan(d evaluation) error {
	return errors.Join(checkManual(d), checkSteps(d), checkRejected(d), checkHarm(d), checkOtherEvidence(d))
}

// checkManual checks that with a percent, a policy has no influence.
func checkManual(d evaluation) error {
	if !d.isManual() {
		return nil
	}
	without := d.observed
	without.Desired.Plan, without.Desired.Commands, without.Evidence = nil, Commands{}, Evidence{}
	if diff := diff(Decide(without, d.policy, d.now), d.decision); diff != "" {
		return fmt.Errorf("with a percent, the policy changes the decision (-without +with):\n%s", diff)
	}
	return nil
}

// checkSteps checks that the share that is asked for goes up by one step, and only with what the
// step needs.
func checkSteps(d evaluation) error {
	before, after := d.observed.Route.State, d.decision.State
	target := d.decision.Target
	if after == nil || d.isManual() || target == 0 || before != nil && before.Stable == target || after.isRejected(target) {
		return nil
	}
	if d.observed.Desired.Plan == nil && (before == nil || before.Trial == nil || before.Target != target) {
		return nil // No policy has applied to this target.
	}
	if before != nil && before.Trial.bakes() && before.Previous == target {
		return nil // The spec returns to the previous in the bake.
	}
	promoted := slices.ContainsFunc(d.decision.Transitions, func(t Transition) bool { return t.Kind == Promoted })
	if before == nil && after.Stable == target && !promoted || d.formerStable() == 0 {
		return nil // The first revision, or the stable.
	}
	if before != nil && before.Trial == nil && !before.isRejected(target) && d.last().Percent(target) == 100 {
		return nil // A rollback is cancelled.
	}
	reached, started, continues := d.last().Percent(target), d.last().Percent(target) > 0, false
	switch {
	case before != nil && before.Trial != nil && before.Target == target:
		reached, started, continues = before.Trial.Share, !before.Trial.Began.IsZero(), true
	case before != nil && d.observed.Desired.Stopped:
		reached, started = 0, false // A stopped service begins anew.
	case before != nil && before.isRejected(target) || before == nil && d.revision(target) != nil && d.revision(target).Rejection != nil:
		reached, started = 0, false // A retry.
	}
	share := d.split().Percent(target)
	if share > max(d.last().Percent(target), after.Asked.Share) {
		return fmt.Errorf("the share grows from %d to %d, and %d is asked for", d.last().Percent(target), share, after.Asked.Share)
	}
	if !d.observed.Desired.valid() && !continues {
		return nil // Rule 10 applies.
	}
	if asked := after.Asked; asked.Share < reached || asked.Share == reached && (started && !asked.Promote || asked.Share == 0) {
		return nil
	}
	return d.checkStep(before, reached, started, continues)
}

// checkStep checks that the share that is asked for may follow the one that the trial has reached.
func (d evaluation) checkStep(before *State, reached int, started, continues bool) error {
	plan, asked := d.observed.Desired.Plan, d.decision.State.Asked.Share
	id := TrialID{d.decision.Target, d.decision.State.Attempts[d.decision.Target]}
	commands, evidence := d.observed.Desired.Commands, d.observed.Evidence
	if plan == nil || plan.Invalid || !d.observed.Desired.valid() || continues && before.Trial.Policy != "" && before.Trial.Policy != plan.Policy {
		return fmt.Errorf("%d is asked for without a policy", asked)
	}
	next, hold, gate := 100, plan.Steps[0].Hold, plan.ApprovePromotion
	for _, step := range slices.Backward(plan.Steps) {
		if step.Percent > reached || !started {
			next, gate = step.Percent, step.Approve
		}
	}
	for _, step := range plan.Steps {
		if step.Percent <= reached {
			hold = step.Hold
		}
	}
	switch {
	case commands.Pause == id:
		return fmt.Errorf("%d is asked for in a pause", asked)
	case commands.Promote == id && asked == 100:
		return nil
	case asked != next:
		return fmt.Errorf("%d is asked for after %d; the next step is %d", asked, reached, next)
	case gate && commands.Approve != (Approval{id, next}):
		return fmt.Errorf("%d is asked for without an approval", asked)
	case !started, continues && before.Asked.Share == asked && asked > reached:
		return nil
	}
	if before == nil || !continues {
		return fmt.Errorf("%d is asked for by a trial that has just begun at %d", asked, reached)
	}
	since := before.ShiftedAt
	if before.Trial.Began.After(since) {
		since = before.Trial.Began
	}
	switch rule := plan.Evidence; {
	case !d.observed.Route.Accepted || before.Split.Percent(id.Revision) != reached:
		return fmt.Errorf("%d is asked for, but %d is not served", asked, reached)
	case d.now.Sub(since) < hold:
		return fmt.Errorf("%d is asked for after %s", asked, d.now.Sub(since))
	case rule == nil || reached == 0:
		return nil
	case evidence.Trial != id || evidence.Share != reached:
		return fmt.Errorf("%d is asked for with evidence of %s at %d", asked, evidence.Trial, evidence.Share)
	case rule.ProceedWithoutTraffic && evidence.Missing == WaitsForTraffic:
		return nil
	case evidence.EnoughAt.IsZero() || rule.Proof && evidence.ProvenAt.IsZero():
		return fmt.Errorf("%d is asked for without evidence", asked)
	}
	return nil
}

// checkRejected checks that a rejected target gets no share before a retry, or a percent above 0.
func checkRejected(d evaluation) error {
	target, before := d.decision.Target, d.observed.Route.State
	var rejection Rejection
	var rejected bool
	if before != nil {
		rejection, rejected = before.Rejected[target]
	} else if revision := d.revision(target); revision != nil && revision.Rejection != nil {
		rejection, rejected = *revision.Rejection, true
	}
	commands, attempts := d.observed.Desired.Commands, rejection.Attempt
	if before != nil {
		attempts = before.Attempts[target]
	} else if reported := d.observed.Reported.Trial; reported.Revision == target {
		attempts = max(attempts, reported.Attempt)
	}
	switch {
	case !rejected, before != nil && before.Stable == target:
		return nil
	case d.isManual() && d.observed.Desired.Intent.Share > 0:
		if d.decision.State != nil && d.decision.State.isRejected(target) {
			return errors.New("a percent does not end the rejection")
		}
		return nil
	case d.observed.Desired.Plan != nil && commands.Retry == TrialID{target, attempts + 1}:
		return nil
	case d.split().Percent(target) > d.last().Percent(target):
		return fmt.Errorf("rejected revision %d gets a share: %s", target, d.split())
	case d.decision.State != nil && !d.decision.State.isRejected(target):
		return fmt.Errorf("revision %d is not rejected any more", target)
	}
	return nil
}

// checkHarm checks that harm rejects the target in the same decision, and takes its share unless
// the stable cannot serve, or returns in parts.
func checkHarm(d evaluation) error {
	before, target := d.observed.Route.State, d.decision.Target
	if before == nil || before.Trial == nil || before.Target != target || d.isManual() || !d.observed.Evidence.Harm ||
		d.observed.Evidence.Trial != (TrialID{target, before.Trial.Attempt}) {
		return nil
	}
	bakes := before.Trial.Bake > 0
	if bakes && !d.canReturn(before.Previous) || !bakes && before.Stable == target {
		return nil
	}
	state := d.decision.State
	undone := d.split().Percent(target) == 0 || d.ready(state.Stable) == 0 || state.Returning || bakes || d.returning()
	switch {
	case !state.isRejected(target):
		return errors.New("harm does not reject the target")
	case state.Trial != nil || state.Asked.Share > 0 || bakes && state.Stable != before.Previous:
		return fmt.Errorf("harm leaves the trial %+v, asks for %d and has the stable %d", state.Trial, state.Asked.Share, state.Stable)
	case !undone:
		return fmt.Errorf("harm gives %s", d.split())
	}
	return nil
}

// checkOtherEvidence checks that evidence of another trial has no influence.
func checkOtherEvidence(d evaluation) error {
	if d.decision.State == nil {
		return nil
	}
	target := d.decision.Target
	if d.observed.Evidence.Trial == (TrialID{target, d.decision.State.Attempts[target]}) {
		return nil
	}
	without := d.observed
	without.Evidence = Evidence{}
	if diff := diff(Decide(without, d.policy, d.now), d.decision); diff != "" {
		return fmt.Errorf("evidence of %s changes the decision (-without +with):\n%s", d.observed.Evidence.Trial, diff)
	}
	return nil
}
