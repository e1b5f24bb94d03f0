// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
)

// announceIgnored sends an event for each annotation that has no effect. It does so once for each
// value, and again after a restart of the operator.
func (s *scope) announceIgnored() {
	if s.decision.State == nil || !s.outcome.Route {
		return
	}
	key := client.ObjectKeyFromObject(s.isvc)
	known, _ := s.ignoredIntents.Load(key)
	before, _ := known.(map[string]bool)
	now := map[string]bool{}
	var messages []string
	for _, ignored := range s.ignored() {
		now[ignored.annotation] = true
		if !before[ignored.annotation] {
			messages = append(messages, ignored.message)
		}
	}
	s.ignoredIntents.Store(key, now)
	if len(messages) > 0 {
		s.event(corev1.EventTypeWarning, eventIntentIgnored, actionRollout, strings.Join(messages, "; "))
	}
}

// ignoredIntent is an annotation, with its value, that has no effect.
type ignoredIntent struct{ annotation, message string }

// ignored says which annotations have no effect, and why.
func (s *scope) ignored() []ignoredIntent {
	intents, malformed := policy.ParseIntents(s.isvc.Annotations)
	var ignored []ignoredIntent
	for _, intent := range malformed {
		ignored = append(ignored, ignoredIntent{intent.Message, intent.Message})
	}
	current := s.trialOf(s.decision.Target)
	for _, intent := range intents {
		why := ""
		switch {
		case !intent.Names(current) && current.Attempt == 0:
			why = s.revisionName(s.decision.Target) + " has been on no trial"
		case !intent.Names(current):
			why = fmt.Sprintf("the last trial is %s", current)
		case intent.Verb == policy.Approve && !s.isStep(intent.Share):
			why = fmt.Sprintf("%d %% is no step of %s", intent.Share, s.selection.Ref)
		}
		if why != "" {
			annotation := fmt.Sprintf("metadata.annotations[%s]: %q", intent.Annotation(), intent.Value())
			ignored = append(ignored, ignoredIntent{annotation, annotation + " has no effect: " + why})
		}
	}
	return ignored
}

// isStep reports whether the policy gives the share. It is true if the policy cannot be used.
func (s *scope) isStep(share int) bool {
	return share == 100 || s.plan == nil || slices.ContainsFunc(s.plan.Steps, func(step rollout.Step) bool { return step.Percent == share })
}
