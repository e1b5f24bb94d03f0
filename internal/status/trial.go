// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Automation is what is known about the policy of an InferenceService and the evidence on its trial.
type Automation struct {
	// Applies is true if a policy applies, or should. Problem says why it cannot be used.
	Applies bool
	Problem *policy.Problem
	// Source is the preset whose metrics are compared, and Missing says why there is no evidence.
	Source, Missing string
	// Pending is true until the metrics of the trial are known, for example after a restart.
	Pending bool
	// Evidence is what each metric showed at a verdict that the status does not report yet.
	Evidence []v1beta1.MetricEvidence
}

// Reasons of the condition RolloutCompleted and of the conditions that follow it.
const (
	ReasonCompleted          = "Completed"
	ReasonHolding            = "Holding"
	ReasonAwaitingProof      = "AwaitingProof"
	ReasonAwaitingApproval   = "AwaitingApproval"
	ReasonPaused             = "Paused"
	ReasonNoTraffic          = "NoTraffic"
	ReasonNoSeries           = "NoSeries"
	ReasonMetricsUnavailable = "MetricsUnavailable"
	ReasonInconclusive       = "Inconclusive"
	ReasonQueued             = "Queued"
	ReasonBaking             = "Baking"
	ReasonRejected           = "Rejected"
	ReasonPolicyGone         = "PolicyGone"
	ReasonWaitingForStable   = "WaitingForStable"
	ReasonCanaryRejected     = "CanaryRejected"
	ReasonRolloutInProgress  = "RolloutInProgress"
)

var trialReasons = map[rollout.WaitingFor]string{
	rollout.WaitsForHold:     ReasonHolding,
	rollout.WaitsForProof:    ReasonAwaitingProof,
	rollout.WaitsForDecision: ReasonInconclusive,
	rollout.WaitsForApproval: ReasonAwaitingApproval,
	rollout.WaitsForCapacity: ReasonWaitingForReplicas,
	rollout.WaitsForQueue:    ReasonQueued,
	rollout.WaitsForTraffic:  ReasonNoTraffic,
	rollout.WaitsForMetrics:  ReasonMetricsUnavailable,
	rollout.WaitsForSeries:   ReasonNoSeries,
	rollout.WaitsForResume:   ReasonPaused,
	rollout.WaitsForPolicy:   ReasonPolicyGone,
	rollout.WaitsForStable:   ReasonWaitingForStable,
	rollout.WaitsForBake:     ReasonBaking,
}

// addTrial adds the trial of the target and the rejected revisions.
func (r *reporter) addTrial(status *v1beta1.RolloutStatus) {
	if trial := r.Decision.Trial; trial != nil {
		status.Trial, status.Policy, status.Source = trial.ID.String(), trial.Policy, r.Automation.Source
		status.Share, status.WaitingFor = new(int32(trial.Share)), v1beta1.TrialWait(trial.WaitingFor)
		reported := r.InferenceService.Status.Rollout
		if r.Automation.Pending && reported != nil && reported.Trial == status.Trial {
			status.Source = reported.Source
		}
		if r.reportedWait != nil {
			status.WaitingFor = reported.WaitingFor
		}
		if trial.Next > 0 {
			status.Next = new(int32(trial.Next))
		}
		if !trial.Since.IsZero() {
			status.Since = new(storedTime(trial.Since))
		}
	}
	if state := r.Decision.State; state != nil {
		for n, rejection := range state.Rejected {
			status.Rejected = append(status.Rejected, v1beta1.RejectedRevision{
				Revision: r.revision(n), Trial: rollout.TrialID{Revision: n, Attempt: rejection.Attempt}.String(),
				Reason: string(rejection.Reason), Time: storedTime(rejection.At),
			})
		}
		slices.SortFunc(status.Rejected, func(a, b v1beta1.RejectedRevision) int { return cmp.Compare(a.Revision, b.Revision) })
	}
	status.Evidence = r.evidence(status)
}

// evidence returns the evidence at the last verdict on the target: a step, the promotion or a
// rejection. What the metrics show in between is not reported, because it changes with every request.
func (r *reporter) evidence(status *v1beta1.RolloutStatus) []v1beta1.MetricEvidence {
	reported := r.InferenceService.Status.Rollout
	switch {
	case len(r.Automation.Evidence) > 0:
		evidence := slices.Clone(r.Automation.Evidence)
		for i := range evidence {
			evidence[i].Message = truncate(evidence[i].Message)
		}
		return evidence
	case reported == nil || reported.Target != status.Target || status.Trial != "" && status.Trial != reported.Trial:
		return nil
	}
	return reported.Evidence
}

// findReportedWait returns the reported condition RolloutCompleted while it is not known whether the
// trial still waits for the same. Otherwise a restart would change the status twice.
func (r *reporter) findReportedWait() *metav1.Condition {
	trial, reported := r.Decision.Trial, r.InferenceService.Status.Rollout
	if !r.Automation.Pending || trial == nil || trial.WaitingFor != rollout.WaitsForProof || reported == nil ||
		reported.Trial != trial.ID.String() || reported.Share == nil || *reported.Share != int32(trial.Share) {
		return nil
	}
	condition := apimeta.FindStatusCondition(r.InferenceService.Status.Conditions, v1beta1.ConditionRolloutCompleted)
	if condition == nil || condition.Status != metav1.ConditionUnknown || condition.Reason == ReasonHolding {
		return nil
	}
	return condition
}

// isRejected reports whether the target is rejected and no percent has given it a share since.
func (r *reporter) isRejected() bool { return r.Decision.Phase == rollout.RejectedCanary }

// rolloutCompleted reports where the rollout of a policy stands. It returns false if no policy
// applies to a rollout.
func (r *reporter) rolloutCompleted() (condition, bool) {
	trial := r.Decision.Trial
	switch {
	case r.Observed == nil || r.stopped():
		return condition{}, false
	case r.isRejected():
		return conditionFalse(ReasonRejected, "%s", r.describeRejection()), true
	case trial == nil && r.Automation.Applies && !r.Snapshot.Desired.Manual && r.rollout.Stable != "" && r.rollout.Stable == r.rollout.Target:
		return conditionTrue(ReasonCompleted, "%s is promoted", r.rollout.Target), true
	case trial == nil:
		return condition{}, false
	}
	return r.trialCondition(), true
}

// trialCondition reports what the trial waits for.
func (r *reporter) trialCondition() condition {
	trial, target := r.Decision.Trial, r.rollout.Target
	switch waitsForPolicy := trial.WaitingFor == rollout.WaitsForPolicy; {
	case r.Snapshot.Desired.Hash == "" && !trial.Baking:
		return conditionUnknown(ReasonPaused, "trial %s of %s is at %d %%, and does not go on before the spec is valid", trial.ID, target, trial.Share)
	case waitsForPolicy && r.Automation.Problem != nil:
		return conditionFalse(string(r.Automation.Problem.Reason), "%s; until then %s stays at %d %%; %s",
			r.Automation.Problem.Message, target, trial.Share, r.waysOut())
	case waitsForPolicy:
		return conditionFalse(ReasonPolicyGone, "the policy with which trial %s began no longer applies, so %s stays at %d %%; %s",
			trial.ID, target, trial.Share, r.waysOut())
	case r.reportedWait != nil:
		return conditionUnknown(r.reportedWait.Reason, "%s", r.reportedWait.Message)
	default:
		return conditionUnknown(trialReasons[trial.WaitingFor], "%s", r.describeTrial())
	}
}

// describeTrial says what the trial waits for and which command ends the wait.
func (r *reporter) describeTrial() string {
	trial := r.Decision.Trial
	at := fmt.Sprintf("trial %s of %s is at %d %%", trial.ID, r.rollout.Target, trial.Share)
	next := fmt.Sprintf("%d %%", trial.Next)
	if trial.Next == 100 {
		next = "the promotion"
	}
	switch trial.WaitingFor {
	case rollout.WaitsForApproval:
		return fmt.Sprintf("%s, and %s must be approved: %s", at, next, r.command(policy.Approve, trial.ID, trial.Next))
	case rollout.WaitsForResume:
		return fmt.Sprintf("%s, and is paused; to resume: kubectl annotate isvc -n %s %s %s-", at,
			r.InferenceService.Namespace, r.name, v1beta1.AnnotationPause)
	case rollout.WaitsForHold:
		return fmt.Sprintf("%s until its hold ends; then comes %s; to reject it: %s", at, next, r.command(policy.Abort, trial.ID, 0))
	case rollout.WaitsForProof:
		return fmt.Sprintf("%s; %s waits for the proof that it is not worse than allowed; to promote it without: %s", at, next, r.command(policy.Promote, trial.ID, 0))
	case rollout.WaitsForDecision:
		return fmt.Sprintf("%s, and there was no proof within the timeout of the analysis; to promote it: %s; to reject it: %s", at,
			r.command(policy.Promote, trial.ID, 0), r.command(policy.Abort, trial.ID, 0))
	case rollout.WaitsForTraffic:
		return fmt.Sprintf("%s, and gets no requests, which proves nothing; to promote it without proof: %s", at, r.command(policy.Promote, trial.ID, 0))
	case rollout.WaitsForMetrics, rollout.WaitsForSeries:
		return fmt.Sprintf("%s, and its metrics cannot be read: %s", at, cmp.Or(r.Automation.Missing, "the first query has not been answered yet"))
	case rollout.WaitsForQueue:
		return fmt.Sprintf("%s; no node takes its pods yet", at)
	case rollout.WaitsForStable:
		return fmt.Sprintf("%s, and keeps it until %s can serve", at, r.rollout.Stable)
	case rollout.WaitsForBake:
		return fmt.Sprintf("%s is promoted, and %s stays loaded until the bake ends; to end it now: %s; to undo the promotion: %s",
			r.rollout.Target, r.rollout.Previous, r.command(policy.Promote, trial.ID, 0), r.command(policy.Abort, trial.ID, 0))
	default:
		return fmt.Sprintf("%s; %s waits for replicas", at, next)
	}
}

// rejection returns the rejection of the target.
func (r *reporter) rejection() rollout.Rejection {
	if state := r.Decision.State; state != nil {
		return state.Rejected[r.Decision.Target]
	}
	for _, revision := range r.Snapshot.Revisions { // There is no rollout state before any revision is ready.
		if revision.Number == r.Decision.Target && revision.Rejection != nil {
			return *revision.Rejection
		}
	}
	return rollout.Rejection{}
}

// describeRejection says why the target gets no traffic, who serves, and how to try it again.
func (r *reporter) describeRejection() string {
	rejection := r.rejection()
	why, known := map[rollout.RejectionReason]string{
		rollout.Harmful:     "is worse than the policy allows",
		rollout.Aborted:     "was aborted",
		rollout.TooSlow:     "did not become ready within the load deadline of the policy",
		rollout.Unscheduled: "got no node within the queue deadline of the policy",
	}[rejection.Reason]
	if !known { // A later version has rejected it.
		why = "was rejected"
	}
	again := "to try it again"
	if !r.Automation.Applies {
		again += ", set canaryTrafficPercent, because no policy applies; or name a policy, and"
	}
	retry := r.command(policy.Retry, rollout.TrialID{Revision: r.Decision.Target, Attempt: rejection.Attempt + 1}, 0)
	return fmt.Sprintf("%s %s, so it gets no traffic; %s; %s: %s", r.rollout.Target, why, r.describeServed(), again, retry)
}

// rejectionInfo returns the rejection in KServe's form, which other tools show as a failure.
func (r *reporter) rejectionInfo() *v1beta1.FailureInfo {
	info := &v1beta1.FailureInfo{Reason: v1beta1.ModelLoadFailed, ModelRevisionName: r.rollout.Target, Message: truncate(r.describeRejection())}
	if at := r.rejection().At; !at.IsZero() {
		info.Time = new(storedTime(at))
	}
	return info
}

// waysOut says how to end a trial whose policy cannot be used.
func (r *reporter) waysOut() string {
	return "to promote it, set canaryTrafficPercent to 100; to reject it: " + r.command(policy.Abort, r.Decision.Trial.ID, 0)
}

func (r *reporter) command(verb policy.Verb, id rollout.TrialID, share int) string {
	said := policy.Intent{Verb: verb, Trial: id, Share: share}
	return said.Command(r.InferenceService.Namespace, r.name)
}

// trialReady returns Ready as the trial of the target makes it, if all else is ready: it is Unknown
// before the promotion. A rejected target is not ready anyway.
func (r *reporter) trialReady(ready condition) condition {
	if trial := r.Decision.Trial; ready.status == metav1.ConditionTrue && trial != nil && !trial.Baking {
		return conditionUnknown(ReasonRolloutInProgress, "%s", r.trialCondition().message)
	}
	return ready
}
