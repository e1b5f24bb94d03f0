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
	"k8s.io/apimachinery/pkg/api/equality"
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

// Actions of events: what the operator did when it had something to tell.
const (
	actionRollout = "Rollout"
	actionObserve = "Observe"
)

// noteLimit is how long the API server lets the note of an event be, in bytes.
const noteLimit = 1024

// announce tells what the decision has changed, once that is written, and whatever has become of the rest: the next
// decision begins where this one got to. An operator that dies in between stays silent about it; the other way round it
// could announce what never came about.
func (p *pass) announce(ctx context.Context, written backend.Outcome) {
	log := logf.FromContext(ctx)
	for _, transition := range p.decision.Transitions {
		cameAbout := written.Route
		if transition.Kind == rollout.Created {
			cameAbout = written.Target
		}
		if !cameAbout {
			continue
		}
		reason, note := p.describe(transition)
		kind := corev1.EventTypeNormal
		if transition.Kind == rollout.NothingToUndo || transition.Kind == rollout.ReplaceFailed {
			kind = corev1.EventTypeWarning
		}
		p.event(kind, reason, actionRollout, note)
		log.Info("Rollout moved on", "reason", reason, "note", note)
		p.measure(transition)
	}
}

func (p *pass) name(n rollout.Number) string {
	if n == 0 {
		return ""
	}
	return backend.RevisionName(p.isvc.Name, n)
}

func (p *pass) describe(transition rollout.Transition) (reason, note string) {
	revision, other := p.name(transition.Revision), p.name(transition.Other)
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
		return eventTrafficShifted, p.shift(transition.From, transition.To)
	}
}

// shift tells of a shift in words.
func (p *pass) shift(from, to rollout.Split) string {
	before, after := status.Words(p.isvc.Name, from), status.Words(p.isvc.Name, to)
	switch {
	case to.IsEmpty():
		return "Took all traffic away, which was " + before
	case !from.IsEmpty():
		return fmt.Sprintf("Shifted traffic from %s to %s", before, after)
	case p.served():
		return "Traffic again: " + after
	default:
		return "First traffic: " + after
	}
}

// served tells whether a revision has been given traffic before, as far as anybody remembers.
func (p *pass) served() bool {
	route := p.snapshot.Route.Record
	return p.snapshot.Reported.Stable != 0 || route != nil && route.Stable != 0
}

// measure counts a shift, and times the first traffic of a revision: from its record to the write of the route that has
// just been made.
func (p *pass) measure(transition rollout.Transition) {
	if transition.Kind != rollout.Shifted {
		return
	}
	target := p.decision.Target
	had, has := transition.From.Percent(target), transition.To.Percent(target)
	direction := metrics.Down
	if has > had {
		direction = metrics.Up
	}
	p.Metrics.TrafficShifted(direction, p.shiftReason())
	created := p.observed.Recorded[target].Created
	if first := has > 0 && !transition.From.Has(target) && !p.broughtBack(target); first && !created.IsZero() {
		p.Metrics.FirstTraffic(p.Clock.Now().Sub(created))
	}
}

// broughtBack tells whether a revision was made for an earlier spec: it is not the newest, or was in the traffic before
// the last shift, which was an abort or a stop.
func (p *pass) broughtBack(n rollout.Number) bool {
	last := p.snapshot.Route.Record
	return p.decision.Record.Highest != n || last != nil && last.Before.Has(n)
}

// shiftReason is why traffic moved, by what else moved with it.
func (p *pass) shiftReason() metrics.ShiftReason {
	for _, transition := range p.decision.Transitions {
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
	before := p.snapshot.Route.Record
	if before != nil && before.Split.Has(p.decision.Target) && samePercent(before.Percent, p.decision.Record.Percent) {
		return metrics.Readiness
	}
	return metrics.Canary
}

func samePercent(a, b *int) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// announceStatus tells what has changed in the status, once that is written.
func (p *pass) announceStatus(before v1beta1.InferenceServiceStatus) {
	if p.observed != nil {
		p.announceFailures(before)
	}
	p.announceContests(before)
	from, ready := metav1.ConditionUnknown, apimeta.FindStatusCondition(p.isvc.Status.Conditions, v1beta1.ConditionReady)
	if old := apimeta.FindStatusCondition(before.Conditions, v1beta1.ConditionReady); old != nil {
		from = old.Status
	}
	switch {
	case from != ready.Status && ready.Status == metav1.ConditionTrue:
		p.event(corev1.EventTypeNormal, eventReady, actionObserve, ready.Message)
	case p.problem != nil && !hadProblem(before, *ready):
		p.event(corev1.EventTypeWarning, p.problem.Reason, actionObserve, p.problem.Message)
	}
}

// announceContests names the writers that have begun to undo what the operator writes.
func (p *pass) announceContests(before v1beta1.InferenceServiceStatus) {
	for _, kind := range []string{v1beta1.ConditionPredictorReady, v1beta1.ConditionRoutesReady} {
		now := apimeta.FindStatusCondition(p.isvc.Status.Conditions, kind)
		if old := apimeta.FindStatusCondition(before.Conditions, kind); now.Reason == status.ReasonChangedByOthers && (old == nil || old.Reason != now.Reason) {
			p.event(corev1.EventTypeWarning, now.Reason, actionObserve, now.Message)
		}
	}
}

// announceDetour tells what keeps the InferenceService from being served under its own host, once the status says so.
func (p *pass) announceDetour(before v1beta1.InferenceServiceStatus, detour *status.Problem) {
	now := apimeta.FindStatusCondition(p.isvc.Status.Conditions, v1beta1.ConditionIngressReady)
	if detour != nil && now.Status == metav1.ConditionTrue && !hadProblem(before, *now) {
		p.event(corev1.EventTypeWarning, detour.Reason, actionObserve, now.Message)
	}
}

// announceFailures tells which revisions have begun to fail and which are over it, by what the status said and says. What
// fails at once is one event: of two that have the same reason and tell of the same state, the recorder keeps the first
// and counts the other.
func (p *pass) announceFailures(before v1beta1.InferenceServiceStatus) {
	was, is := status.Failing(p.isvc.Name, before), status.Failing(p.isvc.Name, p.isvc.Status)
	var failed, recovered []string
	for _, n := range slices.Sorted(maps.Keys(is)) {
		if now := is[n]; now != nil && was[n] == nil && !p.failedSo(before, n) {
			failed = append(failed, p.withDetail(n, now.Message))
			p.Metrics.RevisionFailed(now.Reason)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(was)) {
		if _, fails := is[n]; !fails && p.serves(n) {
			recovered = append(recovered, p.name(n)+" does not fail any more")
		}
	}
	if len(failed) > 0 {
		p.event(corev1.EventTypeWarning, eventRevisionFailed, actionObserve, strings.Join(failed, "; "))
	}
	if len(recovered) > 0 {
		p.event(corev1.EventTypeNormal, eventRevisionRecovered, actionObserve, strings.Join(recovered, "; "))
	}
}

// failedSo tells whether a revision failed before for the same cause, and has not been ready since.
func (p *pass) failedSo(before v1beta1.InferenceServiceStatus, n rollout.Number) bool {
	if before.ModelStatus == nil || before.ModelStatus.LastFailureInfo == nil {
		return false
	}
	info := before.ModelStatus.LastFailureInfo
	return info.ModelRevisionName == p.name(n) && equality.Semantic.DeepEqual(info, p.isvc.Status.ModelStatus.LastFailureInfo)
}

// withDetail adds what a container said last, which conditions leave out because it changes.
func (p *pass) withDetail(n rollout.Number, message string) string {
	failure := p.observed.Details[n].Failure
	if failure == nil || failure.Detail == "" || !strings.HasSuffix(message, failure.Message) {
		return message
	}
	return message + ": " + failure.Detail
}

// serves tells whether a revision is wanted or has traffic, and can serve.
func (p *pass) serves(n rollout.Number) bool {
	record := p.decision.Record
	if n != p.decision.Target && (record == nil || !record.Split.Has(n)) {
		return false
	}
	return slices.ContainsFunc(p.snapshot.Revisions, func(revision rollout.Revision) bool {
		return revision.Number == n && revision.Capacity() > 0
	})
}

// hadProblem tells whether the status has said the same before.
func hadProblem(before v1beta1.InferenceServiceStatus, now metav1.Condition) bool {
	old := apimeta.FindStatusCondition(before.Conditions, now.Type)
	return old != nil && old.Reason == now.Reason && old.Message == now.Message
}

func (p *pass) event(kind, reason, action, note string) {
	if len(note) > noteLimit {
		note = strings.ToValidUTF8(note[:noteLimit-len("…")], "") + "…"
	}
	p.Recorder.Eventf(p.isvc, nil, kind, reason, action, "%s", note)
}
