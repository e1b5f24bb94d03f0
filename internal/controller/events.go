// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
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
func (p *pass) announce(ctx context.Context, written backend.Written) {
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
		if transition.Kind == rollout.NothingToUndo {
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
	default:
		return eventTrafficShifted, fmt.Sprintf("Shifted traffic from %s to %s", p.words(transition.From), p.words(transition.To))
	}
}

func (p *pass) words(split rollout.Split) string {
	if split.IsEmpty() {
		return "nobody"
	}
	return status.Words(p.isvc.Name, split)
}

// measure counts a shift, and times the first traffic of a revision.
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
	// One that is brought back was made for an earlier spec.
	newest := p.decision.Record.Highest == target
	if created := p.observed.Recorded[target].Created; newest && has > 0 && !transition.From.Has(target) && !created.IsZero() {
		p.Metrics.FirstTraffic(p.Clock.Now().Sub(created))
	}
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
		case rollout.Created, rollout.Shifted, rollout.NothingToUndo:
		}
	}
	before := p.observed.Rollout.Route.Record
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
	after := p.isvc.Status
	turned := func(condition string) (from, to metav1.ConditionStatus, now *metav1.Condition) {
		now = apimeta.FindStatusCondition(after.Conditions, condition)
		if old := apimeta.FindStatusCondition(before.Conditions, condition); old != nil {
			from = old.Status
		}
		return from, now.Status, now
	}
	from, to, latest := turned(v1beta1.ConditionLatestDeploymentReady)
	if from != to && p.problem == nil && p.decision.Phase != rollout.Stopped {
		switch {
		case to == metav1.ConditionFalse:
			p.event(corev1.EventTypeWarning, eventRevisionFailed, actionObserve, latest.Message)
			p.Metrics.RevisionFailed(latest.Reason)
		case from == metav1.ConditionFalse && p.recovered(before):
			p.event(corev1.EventTypeNormal, eventRevisionRecovered, actionObserve, p.name(p.decision.Target)+" does not fail any more")
		}
	}
	from, to, ready := turned(v1beta1.ConditionReady)
	switch {
	case from != to && to == metav1.ConditionTrue:
		p.event(corev1.EventTypeNormal, eventReady, actionObserve, ready.Message)
	case p.problem != nil && !hadProblem(before, *ready):
		p.event(corev1.EventTypeWarning, p.problem.Reason, actionObserve, p.problem.Message)
	}
}

// recovered tells whether the target failed before and its model is loaded now. It asks the pods: they become endpoints
// a moment later, so that LatestDeploymentReady hardly ever turns from False to True at once.
func (p *pass) recovered(before v1beta1.InferenceServiceStatus) bool {
	if before.ModelStatus == nil || before.ModelStatus.LastFailureInfo == nil || p.observed == nil {
		return false
	}
	target := p.decision.Target
	return before.ModelStatus.LastFailureInfo.ModelRevisionName == p.name(target) &&
		p.observed.Revisions[target].State == v1beta1.Loaded
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
