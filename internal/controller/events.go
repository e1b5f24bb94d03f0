// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/metrics"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// Reasons of events.
const (
	eventRevisionCreated   = "RevisionCreated"
	eventTrafficShifted    = "TrafficShifted"
	eventPromoted          = "Promoted"
	eventRolledBack        = "RolledBack"
	eventSuperseded        = "Superseded"
	eventNothingToUndo     = "NothingToRollBackTo"
	eventReplacing         = "Replacing"
	eventReplacementFailed = "ReplacementFailed"
	eventReady             = "Ready"
	eventRevisionFailed    = "RevisionFailed"
	eventRevisionRecovered = "RevisionRecovered"
	eventRolloutStarted    = "RolloutStarted"
	eventCanaryRejected    = "CanaryRejected"
	eventBakeStarted       = "BakeStarted"
	eventBakeCompleted     = "BakeCompleted"
	eventBakeEnded         = "BakeEnded"

	eventApprovalRequired   = "ApprovalRequired"
	eventProofReached       = "ProofReached"
	eventMetricsUnavailable = "MetricsUnavailable"
	eventMetricsBack        = "MetricsBack"
	eventInconclusive       = "Inconclusive"
	eventIntentIgnored      = "IntentIgnored"
)

// Actions of events.
const (
	actionRollout = "Rollout"
	actionObserve = "Observe"
)

// noteLimit is the API server's limit for the note of an event, in bytes.
const noteLimit = 1024

// announce sends the events of transitions that were written. It runs after the writes: an operator
// that dies in between sends no event, but never announces a change that was not made.
func (s *scope) announce(ctx context.Context, written backend.Outcome) {
	log := logf.FromContext(ctx)
	for _, transition := range s.decision.Transitions {
		done := written.Route
		if transition.Kind == rollout.Created {
			done = written.Target
		}
		if !done {
			continue
		}
		reason, note := s.describeTransition(transition)
		kind := corev1.EventTypeNormal
		switch transition.Kind {
		case rollout.NothingToUndo, rollout.ReplaceFailed, rollout.Rejected:
			kind = corev1.EventTypeWarning
		default:
		}
		s.event(kind, reason, actionRollout, note)
		log.Info("Rollout progressed", "reason", reason, "note", note)
		s.updateMetrics(transition)
	}
	if written.Route {
		s.countTrial()
	}
}

// countTrial counts the trial that has ended with this decision.
func (s *scope) countTrial() {
	before, after := s.snapshot.Route.State, s.decision.State
	for _, transition := range s.decision.Transitions {
		if transition.Kind == rollout.Rejected {
			s.Metrics.TrialEnded(outcomeOf(after.Rejected[transition.Revision].Reason))
			return
		}
	}
	switch {
	case before == nil || before.Trial == nil:
	case after.Trial != nil && after.Target == before.Target && after.Trial.Attempt == before.Trial.Attempt:
	case after.Stable == before.Target:
		s.Metrics.TrialEnded(metrics.TrialPromoted)
	default:
		s.Metrics.TrialEnded(metrics.TrialLeft)
	}
}

func outcomeOf(reason rollout.RejectionReason) metrics.TrialOutcome {
	switch reason {
	case rollout.Aborted:
		return metrics.TrialAborted
	case rollout.TooSlow, rollout.Unscheduled:
		return metrics.TrialOverdue
	default:
		return metrics.TrialHarmful
	}
}

func (s *scope) revisionName(n rollout.Number) string {
	if n == 0 {
		return ""
	}
	return backend.RevisionName(s.isvc.Name, n)
}

func (s *scope) describeTransition(transition rollout.Transition) (reason, note string) {
	revision, other := s.revisionName(transition.Revision), s.revisionName(transition.Other)
	switch transition.Kind {
	case rollout.Created:
		return eventRevisionCreated, fmt.Sprintf("Created revision %s", revision)
	case rollout.Promoted:
		return eventPromoted, fmt.Sprintf("Promoted %s over %s", revision, other)
	case rollout.WasRolledBack:
		return eventRolledBack, fmt.Sprintf("Rolled %s back to %s", revision, other)
	case rollout.Superseded:
		return eventSuperseded, fmt.Sprintf("Took %s out of the traffic: the spec asks for %s", revision, other)
	case rollout.NothingToUndo:
		return eventNothingToUndo, fmt.Sprintf("canaryTrafficPercent asks to undo the promotion of %s, but no earlier revision is left", revision)
	case rollout.Replaces:
		return eventReplacing, fmt.Sprintf("Taking %s down so that %s can have its node: the deploymentStrategy allows it", other, revision)
	case rollout.ReplaceFailed:
		return eventReplacementFailed, fmt.Sprintf("%s did not become ready in the place of %s, which is brought back; change the spec to try again", revision, other)
	case rollout.TrialStarted:
		return eventRolloutStarted, s.describeStart(s.trialOf(transition.Revision), revision)
	case rollout.Rejected:
		return eventCanaryRejected, s.describeRejection(transition.Revision)
	case rollout.BakeStarted:
		return eventBakeStarted, fmt.Sprintf("%s is promoted, and %s stays loaded until the bake ends", revision, other)
	case rollout.BakeCompleted:
		return eventBakeCompleted, fmt.Sprintf("%s has proven itself, and %s is no longer kept loaded", revision, other)
	case rollout.BakeEnded:
		return eventBakeEnded, fmt.Sprintf("The bake of %s ended early, because something else was asked for", revision)
	default:
		return eventTrafficShifted, s.describeShift(transition.From, transition.To) + s.step(transition.From, transition.To)
	}
}

func (s *scope) describeStart(trial rollout.TrialID, revision string) string {
	if problem := s.automation.Problem; problem != nil {
		return fmt.Sprintf("Trial %s of %s began, and gets no traffic: %s", trial, revision, problem.Message)
	}
	return fmt.Sprintf("Trial %s of %s began by %s", trial, revision, s.selection.Ref)
}

// step says which step of the policy raises the share of the target, such as «, step 2 of 3». The
// promotion is the last one.
func (s *scope) step(from, to rollout.Split) string {
	target, before := s.decision.Target, s.snapshot.Route.State
	onTrial := s.decision.Trial != nil || before != nil && before.Trial != nil && before.Target == target
	share := to.Percent(target)
	if !onTrial || s.plan == nil || share <= from.Percent(target) && to.Has(target) == from.Has(target) {
		return ""
	}
	last := len(s.plan.Steps) + 1
	if share == 100 {
		return fmt.Sprintf(", step %d of %d", last, last)
	}
	for i, step := range s.plan.Steps {
		if step.Percent == share {
			return fmt.Sprintf(", step %d of %d", i+1, last)
		}
	}
	return ""
}

// trialOf returns the last trial of a revision.
func (s *scope) trialOf(n rollout.Number) rollout.TrialID {
	return rollout.TrialID{Revision: n, Attempt: s.decision.State.Attempts[n]}
}

// describeRejection says why a revision was rejected, with the evidence.
func (s *scope) describeRejection(n rollout.Number) string {
	rejection := s.decision.State.Rejected[n]
	id := rollout.TrialID{Revision: n, Attempt: rejection.Attempt}
	switch why := fmt.Sprintf("Rejected %s in trial %s", s.revisionName(n), id); {
	case rejection.Reason == rollout.Harmful && s.verdict != nil:
		return fmt.Sprintf("%s; trial %s at %d %%", s.verdict.Sentence(), id, s.snapshot.Route.State.Split.Percent(n))
	case rejection.Reason == rollout.Aborted:
		return why + ": it was aborted"
	case rejection.Reason == rollout.TooSlow:
		return why + ": it did not become ready within the load deadline of the policy"
	case rejection.Reason == rollout.Unscheduled:
		return why + ": no node took its pods within the queue deadline of the policy"
	default:
		return why
	}
}

func (s *scope) describeShift(from, to rollout.Split) string {
	before, after := status.Words(s.isvc.Name, from), status.Words(s.isvc.Name, to)
	switch {
	case to.IsEmpty():
		return "Took all traffic away, which was " + before
	case !from.IsEmpty():
		return fmt.Sprintf("Shifted traffic from %s to %s", before, after)
	case s.hadTraffic():
		return "Traffic again: " + after
	default:
		return "First traffic: " + after
	}
}

// hadTraffic reports whether a revision has had traffic before, by the rollout state or the status.
func (s *scope) hadTraffic() bool {
	state := s.snapshot.Route.State
	return s.snapshot.Reported.Stable != 0 || state != nil && state.Stable != 0
}

func (s *scope) updateMetrics(transition rollout.Transition) {
	if transition.Kind != rollout.Shifted {
		return
	}
	target := s.decision.Target
	had, has := transition.From.Percent(target), transition.To.Percent(target)
	direction := metrics.Down
	if has > had {
		direction = metrics.Up
	}
	s.Metrics.TrafficShifted(direction, s.shiftReason())
	created := s.observed.History[target].Created
	if first := has > 0 && !transition.From.Has(target) && !s.isReactivated(target); first && !created.IsZero() {
		s.Metrics.FirstTraffic(s.Clock.Now().Sub(created))
	}
}

// isReactivated reports whether a revision was created for an earlier spec: it is not the newest,
// or the last split before this one had it.
func (s *scope) isReactivated(n rollout.Number) bool {
	previous := s.snapshot.Route.State
	return s.decision.State.Highest != n || previous != nil && previous.ServedBefore.Has(n)
}

// shiftReason returns why traffic moved, by the transitions that accompany the shift.
func (s *scope) shiftReason() metrics.ShiftReason {
	for _, transition := range s.decision.Transitions {
		switch transition.Kind {
		case rollout.Promoted:
			return metrics.Promotion
		case rollout.WasRolledBack:
			return metrics.Rollback
		case rollout.Superseded:
			return metrics.Superseded
		case rollout.Created, rollout.Shifted, rollout.NothingToUndo, rollout.Replaces, rollout.ReplaceFailed,
			rollout.TrialStarted, rollout.Rejected, rollout.BakeStarted, rollout.BakeCompleted, rollout.BakeEnded:
		}
	}
	before := s.snapshot.Route.State
	if before != nil && before.Split.Has(s.decision.Target) && before.Asked == s.decision.State.Asked {
		return metrics.Readiness
	}
	return metrics.Canary
}

// announceStatus sends the events of the differences between two statuses. It runs after the write
// of the status.
func (s *scope) announceStatus(report status.Report) {
	before := report.InferenceService.Status
	if s.observed != nil {
		s.announceFailures(report)
	}
	s.announceContests(before)
	s.announceTrial(before)
	from, ready := metav1.ConditionUnknown, apimeta.FindStatusCondition(s.isvc.Status.Conditions, v1beta1.ConditionReady)
	if old := apimeta.FindStatusCondition(before.Conditions, v1beta1.ConditionReady); old != nil {
		from = old.Status
	}
	switch {
	case from != ready.Status && ready.Status == metav1.ConditionTrue:
		s.event(corev1.EventTypeNormal, eventReady, actionObserve, ready.Message)
	case s.problem != nil && !hadProblem(before, *ready):
		s.event(corev1.EventTypeWarning, s.problem.Reason, actionObserve, s.problem.Message)
	}
}

// announceTrial sends the events of what the trial began to wait for.
func (s *scope) announceTrial(before v1beta1.InferenceServiceStatus) {
	var was metav1.Condition
	if old := apimeta.FindStatusCondition(before.Conditions, v1beta1.ConditionRolloutCompleted); old != nil {
		was = *old
	}
	now := apimeta.FindStatusCondition(s.isvc.Status.Conditions, v1beta1.ConditionRolloutCompleted)
	if now == nil {
		return
	}
	isBlind := func(reason string) bool {
		return reason == status.ReasonMetricsUnavailable || reason == status.ReasonNoSeries
	}
	changed := was.Reason != now.Reason
	if isBlind(was.Reason) && !isBlind(now.Reason) && now.Status == metav1.ConditionUnknown {
		s.event(corev1.EventTypeNormal, eventMetricsBack, actionObserve, "The metrics can be read again; "+now.Message)
	}
	if note := s.proof(before.Rollout, was.Reason, now.Reason); note != "" {
		s.event(corev1.EventTypeNormal, eventProofReached, actionObserve, note)
	}
	switch {
	case now.Reason == status.ReasonAwaitingApproval && (changed || was.Message != now.Message):
		s.event(corev1.EventTypeNormal, eventApprovalRequired, actionObserve, now.Message)
	case isBlind(now.Reason) && changed:
		s.event(corev1.EventTypeWarning, eventMetricsUnavailable, actionObserve, now.Message)
	case now.Reason == status.ReasonInconclusive && changed:
		s.event(corev1.EventTypeWarning, eventInconclusive, actionObserve, now.Message)
	}
}

// proof returns the evidence on which the next share was given, or waits for an approval. It is empty
// if there is no proof, or if it was announced already.
func (s *scope) proof(before *v1beta1.RolloutStatus, was, now string) string {
	verdict := s.verdict
	switch decided, found := s.verdicts.get(s.isvc); {
	case was == status.ReasonAwaitingApproval:
		return ""
	case now == status.ReasonAwaitingApproval:
	case !found || now != status.ReasonCompleted && now != status.ReasonBaking && shareOf(s.isvc.Status.Rollout) <= shareOf(before):
		return ""
	default:
		verdict = &decided
	}
	if verdict == nil || verdict.Harm || verdict.ProvenAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s; at %d %%", verdict.Sentence(), verdict.Share.Percent)
}

func shareOf(reported *v1beta1.RolloutStatus) int32 {
	if reported == nil || reported.Share == nil {
		return 0
	}
	return *reported.Share
}

// announceContests sends an event for each condition that began to report another writer.
func (s *scope) announceContests(before v1beta1.InferenceServiceStatus) {
	for _, kind := range []string{v1beta1.ConditionPredictorReady, v1beta1.ConditionRoutesReady} {
		now := apimeta.FindStatusCondition(s.isvc.Status.Conditions, kind)
		if old := apimeta.FindStatusCondition(before.Conditions, kind); now.Reason == status.ReasonChangedByOthers && (old == nil || old.Reason != now.Reason) {
			s.event(corev1.EventTypeWarning, now.Reason, actionObserve, now.Message)
		}
	}
}

func (s *scope) announceHostProblem(before v1beta1.InferenceServiceStatus, problem *status.Problem) {
	now := apimeta.FindStatusCondition(s.isvc.Status.Conditions, v1beta1.ConditionIngressReady)
	if problem != nil && now.Status == metav1.ConditionTrue && !hadProblem(before, *now) {
		s.event(corev1.EventTypeWarning, problem.Reason, actionObserve, now.Message)
	}
}

// announceFailures sends the events of revisions that began to fail or recovered. Failures of one
// reconciliation are one event, because the recorder merges events with the same reason and keeps
// only the first note.
func (s *scope) announceFailures(report status.Report) {
	was, is := status.Failing(s.isvc.Name, report.InferenceService.Status), status.Failing(s.isvc.Name, s.isvc.Status)
	var failed, recovered []string
	for _, n := range slices.Sorted(maps.Keys(is)) {
		now := is[n]
		before, failedBefore := was[n]
		known := failedBefore && (!before.Retrying || status.SameCause(before, now))
		if now.Retrying || known {
			continue
		}
		failed = append(failed, status.DescribeFailure(report, n))
		s.Metrics.RevisionFailed(now.Reason)
	}
	for _, n := range slices.Sorted(maps.Keys(was)) {
		if _, fails := is[n]; !fails && s.isServing(n) {
			recovered = append(recovered, s.revisionName(n)+" does not fail any more")
		}
	}
	if len(failed) > 0 {
		s.event(corev1.EventTypeWarning, eventRevisionFailed, actionObserve, strings.Join(failed, "; "))
	}
	if len(recovered) > 0 {
		s.event(corev1.EventTypeNormal, eventRevisionRecovered, actionObserve, strings.Join(recovered, "; "))
	}
}

func (s *scope) isServing(n rollout.Number) bool {
	state := s.decision.State
	if n != s.decision.Target && (state == nil || !state.Split.Has(n)) {
		return false
	}
	return slices.ContainsFunc(s.snapshot.Revisions, func(revision rollout.Revision) bool {
		return revision.Number == n && revision.Capacity() > 0
	})
}

// hadProblem reports whether the condition had the same reason and message before.
func hadProblem(before v1beta1.InferenceServiceStatus, now metav1.Condition) bool {
	old := apimeta.FindStatusCondition(before.Conditions, now.Type)
	return old != nil && old.Reason == now.Reason && old.Message == now.Message
}

func (s *scope) event(kind, reason, action, note string) {
	if len(note) > noteLimit {
		note = strings.ToValidUTF8(note[:noteLimit-len("…")], "") + "…"
	}
	s.Recorder.Eventf(s.isvc, nil, kind, reason, action, "%s", note)
}
