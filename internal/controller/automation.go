// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/evidence"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// Automation is what the reconciler needs to follow CanaryPolicies. The zero value follows none.
type Automation struct {
	// Policies reads the policies once Installed returns true. It is nil if there are none.
	Policies  client.Reader
	Installed func() bool
	Options   policy.Options
	Presets   metricsource.Presets
	// Gatherer is nil if no Prometheus is configured.
	Gatherer Gatherer
}

// Gatherer gathers the evidence on trials. See [metricsource.Gatherer].
type Gatherer interface {
	Track(isvc types.NamespacedName, trial metricsource.Trial)
	Forget(isvc types.NamespacedName)
	Verdict(isvc types.NamespacedName, id string) (verdict evidence.Verdict, found bool)
}

// readPolicy finds the policy of the InferenceService. A policy with a problem stops increases only.
func (s *scope) readPolicy(ctx context.Context) error {
	policies, err := s.policies(ctx)
	if err != nil {
		return err
	}
	s.selection = policy.Find(s.isvc, policies)
	problem := s.selection.Problem
	if problem == nil && s.selection.Spec != nil {
		s.plan, problem = policy.Parse(s.selection.Ref, s.selection.Spec, s.Automation.Options)
	}
	s.automation = status.Automation{Applies: s.selection != (policy.Selection{}), Problem: problem}
	return nil
}

// policies lists the policies that can apply to the InferenceService.
func (s *scope) policies(ctx context.Context) (policy.Policies, error) {
	if s.Automation.Policies == nil || !s.Automation.Installed() {
		return policy.Policies{NotInstalled: true}, nil
	}
	var namespaced canaryv1alpha1.CanaryPolicyList
	var cluster canaryv1alpha1.ClusterCanaryPolicyList
	if err := s.Automation.Policies.List(ctx, &namespaced, client.InNamespace(s.isvc.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return policy.Policies{}, fmt.Errorf("listing CanaryPolicies: %w", err)
	}
	if err := s.Automation.Policies.List(ctx, &cluster, client.UnsafeDisableDeepCopy); err != nil {
		return policy.Policies{}, fmt.Errorf("listing ClusterCanaryPolicies: %w", err)
	}
	return policy.Policies{Namespaced: namespaced.Items, Cluster: cluster.Items}, nil
}

// readAutomation returns what moves the share of an InferenceService without a percent.
func (s *scope) readAutomation() intent.Automation {
	plan := intent.PlanOf(s.selection, s.plan, s.Config.Rollout.ProgressDeadline.Duration)
	if plan != nil {
		plan.Analysis = evidence.BegunWith(s.plan).Encode()
	}
	return intent.Automation{
		Plan: plan, Commands: intent.CommandsOf(s.isvc),
		Evidence: s.evidence(),
	}
}

// evidence returns the evidence on the trial in the rollout state. It never waits for Prometheus.
// What is known of the trial counts even if its policy is gone.
func (s *scope) evidence() rollout.Evidence {
	state, gatherer := s.observed.Route.State, s.Automation.Gatherer
	if state == nil || state.Trial == nil {
		return rollout.Evidence{}
	}
	id := rollout.TrialID{Revision: state.Target, Attempt: state.Trial.Attempt}
	if gatherer != nil {
		if verdict, found := gatherer.Verdict(client.ObjectKeyFromObject(s.isvc), id.String()); found {
			s.verdict = &verdict
			s.automation.Source, s.automation.Missing = verdict.Source, verdict.Missing.Message
			return rollout.Evidence{
				Trial: id, Harm: verdict.Harm, Share: verdict.Share.Percent,
				ProvenAt: verdict.ProvenAt, EnoughAt: verdict.EnoughAt, Missing: missing[verdict.Missing.Reason],
			}
		}
	}
	unknown := rollout.Evidence{Trial: id, Share: state.Trial.Share}
	switch {
	case evidence.DecodeBegun(state.Trial.Analysis) == nil:
	case gatherer == nil:
		s.automation.Missing = "the operator has no address of a Prometheus: set analysis.prometheus.address in its configuration"
		unknown.Missing = rollout.WaitsForMetrics
	default:
		s.automation.Pending = true
	}
	return unknown
}

var missing = map[evidence.Reason]rollout.WaitingFor{
	evidence.NoTraffic:   rollout.WaitsForTraffic,
	evidence.NoSeries:    rollout.WaitsForSeries,
	evidence.Unavailable: rollout.WaitsForMetrics,
	evidence.Invalid:     rollout.WaitsForMetrics,
}

// followTrial makes the gatherer read the metrics of the trial as it is after the decision, also if
// the policy cannot be used or is not that of the trial: harm still counts.
func (s *scope) followTrial() {
	if !s.outcome.Route || s.decision.State == nil {
		return
	}
	s.keepVerdict()
	gatherer, key := s.Automation.Gatherer, client.ObjectKeyFromObject(s.isvc)
	if gatherer == nil {
		return
	}
	trial, state := s.decision.Trial, s.decision.State
	if state.Trial == nil {
		gatherer.Forget(key)
		return
	}
	if trial.Began.IsZero() {
		return
	}
	begun := evidence.DecodeBegun(state.Trial.Analysis)
	if begun == nil {
		return
	}
	input := evidence.Input{Analysis: begun.Analysis, Bake: begun.Bake, Shares: []evidence.Share{{Percent: trial.Share, Since: trial.Since}}}
	if s.plan != nil && s.plan.Analysis != nil && trial.Policy == s.selection.Ref.String() {
		input.Analysis = evidence.Continue(begun.Analysis, *s.plan.Analysis)
	}
	stable := state.Stable
	if trial.Baking {
		stable, input.Promoted = state.Previous, trial.Since
		input.Shares = nil
	}
	run := evidence.Rollout{
		ID: trial.ID.String(), Began: trial.Began, Knative: s.mode() == v1beta1.DeploymentModeKnative,
		Revisions: metricsource.Revisions{
			Namespace: s.isvc.Namespace, Stable: s.revisionName(stable), Canary: s.revisionName(trial.ID.Revision),
		},
		Controllers: s.observed.GatewayControllers,
		Runtime:     s.observed.History[trial.ID.Revision].Runtime.Name,
	}
	gatherer.Track(key, evidence.TrialFor(run, input, s.Automation.Presets))
}

// keepVerdict keeps the verdict on which this decision has moved the trial until the status reports
// it.
func (s *scope) keepVerdict() {
	moved := slices.ContainsFunc(s.decision.Transitions, func(t rollout.Transition) bool {
		return t.Kind == rollout.Shifted || t.Kind == rollout.Rejected || t.Kind == rollout.BakeCompleted
	})
	if moved && s.verdict != nil {
		s.verdicts.Store(client.ObjectKeyFromObject(s.isvc), *s.verdict)
	}
}

// verdicts are the verdicts that no status reports yet.
type verdicts struct{ sync.Map }

func (v *verdicts) get(isvc *v1beta1.InferenceService) (evidence.Verdict, bool) {
	kept, _ := v.Load(client.ObjectKeyFromObject(isvc))
	verdict, found := kept.(evidence.Verdict)
	return verdict, found
}

// metricEvidence returns the evidence of a verdict for the status.
func metricEvidence(verdict evidence.Verdict) []v1beta1.MetricEvidence {
	var all []v1beta1.MetricEvidence
	for _, metric := range verdict.Metrics {
		if metric.Name != "" && !metric.LeftOut {
			all = append(all, v1beta1.MetricEvidence{Metric: metric.Name, Message: metric.Sentence()})
		}
	}
	return all
}

// forgetTrial ends what is kept in memory for an InferenceService that is gone.
func (r *Reconciler) forgetTrial(key client.ObjectKey) {
	if r.Automation.Gatherer != nil {
		r.Automation.Gatherer.Forget(key)
	}
	r.verdicts.Delete(key)
	r.ignoredIntents.Delete(key)
}
