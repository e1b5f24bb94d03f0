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
		if transition.Kind == rollout.NothingToUndo || transition.Kind == rollout.ReplaceFailed {
			kind = corev1.EventTypeWarning
		}
		s.event(kind, reason, actionRollout, note)
		log.Info("Rollout progressed", "reason", reason, "note", note)
		s.updateMetrics(transition)
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
	default:
		return eventTrafficShifted, s.describeShift(transition.From, transition.To)
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
		case rollout.Created, rollout.Shifted, rollout.NothingToUndo, rollout.Replaces, rollout.ReplaceFailed:
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
