// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	canaryv1alpha1 "github.com/serinus-io/serinus/api/canary/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/analysis"
	"github.com/serinus-io/serinus/internal/evidence"
	"github.com/serinus-io/serinus/internal/metricsource"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/testkit"
)

// fakeGatherer keeps what it is asked to read, and has the verdict that a test gives it.
type fakeGatherer struct {
	tracked map[types.NamespacedName]metricsource.Trial
	verdict *evidence.Verdict
}

func (f *fakeGatherer) Track(object types.NamespacedName, trial metricsource.Trial) {
	f.tracked[object] = trial
}

func (f *fakeGatherer) Forget(object types.NamespacedName) { delete(f.tracked, object) }

func (f *fakeGatherer) Verdict(object types.NamespacedName, id string) (evidence.Verdict, bool) {
	if f.verdict == nil || f.tracked[object].ID != id {
		return evidence.Verdict{}, false
	}
	return *f.verdict, true
}

// shares returns the shares for which the evidence on the InferenceService is gathered.
func (f *fakeGatherer) trial() (id string, shares []evidence.Share) {
	trial := f.tracked[types.NamespacedName{Namespace: testkit.Namespace, Name: testkit.Name}]
	input, _ := trial.Input.(evidence.Input)
	return trial.ID, input.Shares
}

const hold = 5 * time.Minute

// newPolicy returns a policy with the steps 10 and 50.
func newPolicy(edits ...func(*canaryv1alpha1.CanaryPolicySpec)) *canaryv1alpha1.CanaryPolicy {
	created := &canaryv1alpha1.CanaryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: testkit.Namespace, Name: "standard"}}
	for _, percent := range []int32{10, 50} {
		created.Spec.Steps = append(created.Spec.Steps, canaryv1alpha1.Step{Percent: percent, Hold: "5m"})
	}
	for _, edit := range edits {
		edit(&created.Spec)
	}
	return created
}

func withAnalysis(spec *canaryv1alpha1.CanaryPolicySpec) { spec.Analysis = &canaryv1alpha1.Analysis{} }

func withBake(spec *canaryv1alpha1.CanaryPolicySpec) {
	spec.Bake = "1h"
}

func withApprovals(spec *canaryv1alpha1.CanaryPolicySpec) {
	spec.Steps[1].Approval = canaryv1alpha1.ApprovalRequired
	spec.Promotion = &canaryv1alpha1.Promotion{Approval: canaryv1alpha1.ApprovalRequired}
}

// automated is an operator of an InferenceService with a CanaryPolicy.
type automated struct {
	*operator
	gatherer *fakeGatherer
}

// newAutomated returns the operator after the first deployment.
func newAutomated(t *testing.T, applied *canaryv1alpha1.CanaryPolicy, edits ...testkit.Edit) automated {
	t.Helper()
	a := automated{newOperator(t, edits...), &fakeGatherer{tracked: map[types.NamespacedName]metricsource.Trial{}}}
	presets, err := metricsource.NewPresets()
	a.must(err)
	a.reconciler.Automation = Automation{
		Policies: a.server, Installed: func() bool { return true }, Presets: presets, Options: policyOptions(presets), Gatherer: a.gatherer,
	}
	if applied != nil {
		a.must(a.server.Create(t.Context(), applied))
	}
	a.settle()
	a.newEvents()
	return a
}

func policyOptions(presets metricsource.Presets) policy.Options {
	return policy.Options{Presets: presets.Names()}
}

var byAnnotation = testkit.Annotation(v1beta1.AnnotationCanaryPolicy, "standard")

// pass lets time pass and reconciles.
func (a automated) pass(d time.Duration) {
	a.t.Helper()
	a.clock.SetTime(a.clock.Now().Add(d))
	a.settle()
}

// say sets an annotation; an empty value removes it.
func (a automated) say(annotation, value string) {
	a.t.Helper()
	isvc := a.isvc()
	delete(isvc.Annotations, annotation)
	if value != "" {
		metav1.SetMetaDataAnnotation(&isvc.ObjectMeta, annotation, value)
	}
	a.must(a.server.Update(a.t.Context(), isvc))
	a.settle()
}

// want checks the share of revision 2 and the reason of RolloutCompleted.
func (a automated) want(share int, reason string) {
	a.t.Helper()
	if got := a.backend.state.Split.Percent(2); got != share {
		a.t.Errorf("the split is %v", a.backend.state.Split)
	}
	if got := a.condition(v1beta1.ConditionRolloutCompleted); got.Reason != reason {
		a.t.Errorf("RolloutCompleted is %s (%s): %s", got.Status, got.Reason, got.Message)
	}
}

// wantEvents checks the reasons of the events since the last call.
func (a automated) wantEvents(want ...string) []string {
	a.t.Helper()
	all := a.newEvents()
	var reasons []string
	for _, event := range all {
		reasons = append(reasons, strings.Fields(event)[1])
	}
	if diff := cmp.Diff(want, reasons, cmpopts.EquateEmpty()); diff != "" {
		a.t.Errorf("events (-want +got):\n%s\n%s", diff, strings.Join(all, "\n"))
	}
	return all
}

// proven returns a verdict that the canary is not worse than allowed at the share.
func (a automated) proven(share int) *evidence.Verdict {
	state := a.backend.state
	return &evidence.Verdict{
		Source: "traefik", Share: evidence.Share{Percent: share, Since: state.ShiftedAt},
		ProvenAt: state.ShiftedAt.Add(time.Minute), EnoughAt: state.ShiftedAt.Add(time.Minute),
		Metrics: []evidence.Metric{errorsMetric(analysis.Evidence{Name: "errors", Proven: true, Canary: analysis.Counts{Requests: 1000, Bad: 1}, Stable: analysis.Counts{Requests: 9000, Bad: 9}, Ratio: 1})},
	}
}

func errorsMetric(of analysis.Evidence) evidence.Metric {
	return evidence.Metric{Metric: policy.Metric{
		Name: "errors", Kind: policy.Errors, Harm: policy.HarmLimits{MaxRatio: 1.5, Floor: 0.001}, Proof: policy.ProofLimits{MaxRatio: 3, Floor: 0.01},
	}, Evidence: of}
}

func harmful(share int) *evidence.Verdict {
	return &evidence.Verdict{
		Source: "traefik", Share: evidence.Share{Percent: share}, Harm: true,
		Metrics: []evidence.Metric{errorsMetric(analysis.Evidence{
			Name: "errors", Harmful: true, Canary: analysis.Counts{Requests: 1259, Bad: 14}, Stable: analysis.Counts{Requests: 11302, Bad: 9}, Ratio: 14, Lower: 4.1,
		})},
	}
}

// TestPolicyMovesTheShare: a policy takes a new model to 100 % without a percent. Holds cost no
// writes.
func TestPolicyMovesTheShare(t *testing.T) {
	for name, test := range map[string]struct {
		policy *canaryv1alpha1.CanaryPolicy
		edit   testkit.Edit
	}{
		"by annotation": {newPolicy(), byAnnotation},
		"by selector": {
			newPolicy(func(spec *canaryv1alpha1.CanaryPolicySpec) {
				spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "iris"}}
			}),
			testkit.Label("team", "iris"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAutomated(t, test.policy, test.edit)
			if got := a.condition(v1beta1.ConditionRolloutCompleted); got.Status != metav1.ConditionTrue {
				t.Errorf("after the first deployment, RolloutCompleted is %s (%s)", got.Status, got.Reason)
			}
			a.rollOut("v2", nil)
			a.want(10, "Holding")
			want := []string{
				"Normal RevisionCreated Created revision " + r2,
				"Normal RolloutStarted Trial 2.1 of " + r2 + ` began by CanaryPolicy "standard"`,
				"Normal TrafficShifted Shifted traffic from 100 % on " + r1 + " to 10 % on " + r2 + ", 90 % on " + r1 + ", step 1 of 3",
			}
			if diff := cmp.Diff(want, a.newEvents()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			writes, state := a.statusWrites, a.backend.state.Encode()
			for range 4 {
				a.pass(time.Minute)
			}
			if a.statusWrites != writes || a.backend.state.Encode() != state {
				t.Errorf("in a hold, the status was written %d times, and the rollout state is %s", a.statusWrites-writes, a.backend.state.Encode())
			}
			if after := a.reconcile().RequeueAfter; after <= 0 || after > time.Minute+time.Second {
				t.Errorf("a minute before the end of the hold, RequeueAfter is %v", after)
			}
			a.pass(time.Minute)
			a.want(50, "Holding")
			a.pass(hold)
			a.want(100, "Completed")
			want = []string{
				"Normal TrafficShifted Shifted traffic from 10 % on " + r2 + ", 90 % on " + r1 + " to 50 % on " + r2 + ", 50 % on " + r1 + ", step 2 of 3",
				"Normal Promoted Promoted " + r2 + " over " + r1,
				"Normal TrafficShifted Shifted traffic from 50 % on " + r2 + ", 50 % on " + r1 + " to 100 % on " + r2 + ", step 3 of 3",
				"Normal Ready 100 % on " + r2,
			}
			if diff := cmp.Diff(want, a.newEvents()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if a.statusWrites != writes+2 {
				t.Errorf("two steps cost %d writes of the status", a.statusWrites-writes)
			}
			if got := a.trialCounts(); got != "Promoted 1" {
				t.Errorf("the trials are counted as %q", got)
			}
		})
	}
}

// trialCounts lists the outcomes of trials with their counts.
func (a automated) trialCounts() string {
	a.t.Helper()
	families, err := a.registry.Gather()
	a.must(err)
	var counted []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if count := metric.GetCounter().GetValue(); family.GetName() == "serinus_rollout_trials_total" && count > 0 {
				counted = append(counted, fmt.Sprintf("%s %g", metric.GetLabel()[0].GetValue(), count))
			}
		}
	}
	return strings.Join(counted, ", ")
}

func TestIntents(t *testing.T) {
	a := newAutomated(t, newPolicy(withApprovals), byAnnotation)
	a.rollOut("v2", nil)
	a.wantEvents("RevisionCreated", "RolloutStarted", "TrafficShifted")

	a.say(v1beta1.AnnotationPause, "2.1")
	a.want(10, "Paused")
	a.say(v1beta1.AnnotationPause, "")
	a.want(10, "Holding")
	a.wantEvents()

	a.pass(hold)
	a.want(10, "AwaitingApproval")
	got := a.wantEvents("ApprovalRequired")
	if command := "kubectl annotate isvc -n kserve-test sklearn-iris --overwrite serinus.io/approve=2.1/50"; len(got) == 1 && !strings.HasSuffix(got[0], command) {
		t.Errorf("the event is %q", got[0])
	}
	a.pass(time.Hour)
	a.wantEvents()

	a.say(v1beta1.AnnotationApprove, "2.1/50")
	a.want(50, "Holding")
	a.wantEvents("TrafficShifted")
	a.pass(hold)
	a.want(50, "AwaitingApproval")
	a.wantEvents("ApprovalRequired")
	a.say(v1beta1.AnnotationApprove, "2.1/100")
	a.want(100, "Completed")
	a.wantEvents("Promoted", "TrafficShifted", "Ready")
}

func TestAbortAndRetry(t *testing.T) {
	a := newAutomated(t, newPolicy(), byAnnotation)
	a.rollOut("v2", nil)
	a.newEvents()
	a.say(v1beta1.AnnotationAbort, "2.1")
	a.want(0, "Rejected")
	want := []string{
		"Warning CanaryRejected Rejected " + r2 + " in trial 2.1: it was aborted",
		"Normal TrafficShifted Shifted traffic from 10 % on " + r2 + ", 90 % on " + r1 + " to 0 % on " + r2 + ", 100 % on " + r1,
	}
	if diff := cmp.Diff(want, a.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if ready := a.condition(v1beta1.ConditionReady); ready.Reason != "CanaryRejected" {
		t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
	}
	a.pass(time.Hour) // The pods are no longer kept.
	a.want(0, "Rejected")
	if a.backend.state.Split.Has(2) {
		t.Errorf("the split is %v", a.backend.state.Split)
	}
	a.newEvents()

	a.say(v1beta1.AnnotationRetry, "2.2")
	a.want(10, "Holding")
	a.wantEvents("RolloutStarted", "TrafficShifted", "IntentIgnored") // The abort names the first trial.
	a.say(v1beta1.AnnotationPromote, "2.2")
	a.want(100, "Completed")
	a.wantEvents("Promoted", "TrafficShifted", "Ready")
	if got := a.trialCounts(); got != "Aborted 1, Promoted 1" {
		t.Errorf("the trials are counted as %q", got)
	}
}

// TestIgnoredIntents: an annotation without effect is reported once.
func TestIgnoredIntents(t *testing.T) {
	a := newAutomated(t, newPolicy(withApprovals), byAnnotation)
	a.rollOut("v2", nil)
	a.newEvents()
	ignored := func(what string) []string { return []string{"Warning IntentIgnored metadata.annotations[" + what} }
	for _, test := range []struct {
		annotation, value string
		want              []string
	}{
		{v1beta1.AnnotationApprove, "2.1/50", nil},
		{v1beta1.AnnotationApprove, "2.1/60", ignored(`serinus.io/approve]: "2.1/60" has no effect: 60 % is no step of CanaryPolicy "standard"`)},
		{v1beta1.AnnotationApprove, "1.1/50", ignored(`serinus.io/approve]: "1.1/50" has no effect: the last trial is 2.1`)},
		{v1beta1.AnnotationApprove, "50", ignored(`serinus.io/approve]: "50" is not a trial and a share: write the revision, the attempt and the percentage, such as 2.1/50, or 2.1/100 for the promotion`)},
		{v1beta1.AnnotationApprove, "", nil},
		{v1beta1.AnnotationAbort, "3.1", ignored(`serinus.io/abort]: "3.1" has no effect: the last trial is 2.1`)},
		{v1beta1.AnnotationPause, "yes", ignored(`serinus.io/pause]: "yes" is not a trial: write the revision and the attempt, such as 2.1`)},
	} {
		a.say(test.annotation, test.value)
		a.pass(time.Second)
		if diff := cmp.Diff(test.want, a.newEvents()); diff != "" {
			t.Errorf("%s=%s (-want +got):\n%s", test.annotation, test.value, diff)
		}
		a.want(10, "Holding")
	}
}

func TestIntentsOnASettledService(t *testing.T) {
	a := newAutomated(t, nil)
	a.say(v1beta1.AnnotationAbort, "1.1")
	want := []string{`Warning IntentIgnored metadata.annotations[serinus.io/abort]: "1.1" has no effect: ` + r1 + " has been on no trial"}
	if diff := cmp.Diff(want, a.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestHarm: the event and the status state the evidence, and the traffic goes in one write.
func TestHarm(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
	a.rollOut("v2", nil)
	a.newEvents()
	if id, shares := a.gatherer.trial(); id != "2.1" || len(shares) != 1 || shares[0].Percent != 10 {
		t.Errorf("evidence on trial %s is gathered, at %v", id, shares)
	}
	a.gatherer.verdict = harmful(10)
	a.settle()
	a.want(0, "Rejected")
	const sentence = "errors: 14 of 1,259 (1.1 %) against 9 of 11,302 (0.08 %): 14 times the stable's rate, at least 4.1 times; allowed 1.5 times"
	want := []string{
		"Warning CanaryRejected " + sentence + "; trial 2.1 at 10 %",
		"Normal TrafficShifted Shifted traffic from 10 % on " + r2 + ", 90 % on " + r1 + " to 0 % on " + r2 + ", 100 % on " + r1,
	}
	if diff := cmp.Diff(want, a.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]v1beta1.MetricEvidence{{Metric: "errors", Message: sentence}}, a.isvc().Status.Rollout.Evidence); diff != "" {
		t.Errorf("reported evidence (-want +got):\n%s", diff)
	}
	if id, _ := a.gatherer.trial(); id != "" {
		t.Errorf("evidence on trial %s is still gathered", id)
	}
	if got := a.trialCounts(); got != "Harm 1" {
		t.Errorf("the trials are counted as %q", got)
	}
	writes := a.statusWrites
	a.pass(time.Minute)
	if a.statusWrites != writes {
		t.Error("the status is written again")
	}
}

// TestProof: a share goes up on proof, and the status has the evidence. Looks cost no writes.
func TestProof(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
	a.rollOut("v2", nil)
	a.gatherer.verdict = &evidence.Verdict{Source: "traefik", Share: evidence.Share{Percent: 10}}
	a.pass(hold)
	a.want(10, "AwaitingProof")
	a.newEvents()
	writes := a.statusWrites
	for i := range 5 {
		a.gatherer.verdict.Metrics = []evidence.Metric{errorsMetric(analysis.Evidence{Name: "errors", Canary: analysis.Counts{Requests: float64(i)}})}
		a.pass(15 * time.Second)
	}
	if a.statusWrites != writes {
		t.Errorf("five looks cost %d writes", a.statusWrites-writes)
	}
	a.gatherer.verdict = a.proven(10)
	a.gatherer.verdict.ProvenAt = a.clock.Now()
	a.settle()
	a.want(50, "Holding")
	got := a.wantEvents("TrafficShifted", "ProofReached")
	if sentence := a.gatherer.verdict.Sentence(); len(got) == 2 && got[1] != "Normal ProofReached "+sentence+"; at 10 %" {
		t.Errorf("the event is %q", got[1])
	}
	if reported := a.isvc().Status.Rollout; len(reported.Evidence) != 1 || reported.Source != "traefik" {
		t.Errorf("the status is %+v", reported)
	}
	if _, shares := a.gatherer.trial(); len(shares) != 1 || shares[0].Percent != 50 {
		t.Errorf("evidence is gathered at %v", shares)
	}
	a.pass(hold)
	a.want(50, "AwaitingProof") // The proof at 10 % is none at 50 %.
}

// TestMissingMetrics: an outage is announced once, and its end.
func TestMissingMetrics(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis, withApprovals), byAnnotation)
	a.rollOut("v2", nil)
	a.newEvents()
	a.gatherer.verdict = &evidence.Verdict{Source: "traefik", Share: evidence.Share{Percent: 10}}
	fails := func(reason evidence.Reason, message string) {
		a.gatherer.verdict.Missing = evidence.Missing{Reason: reason, Message: message}
	}
	fails(evidence.Unavailable, "errors: connection refused")
	a.settle()
	a.want(10, "Holding")
	a.wantEvents()
	a.pass(hold)
	a.want(10, "MetricsUnavailable")
	a.wantEvents("MetricsUnavailable")
	fails(evidence.NoSeries, "errors: no series")
	a.settle()
	a.want(10, "NoSeries")
	a.wantEvents("MetricsUnavailable")
	fails("", "")
	a.settle()
	a.want(10, "AwaitingProof")
	a.wantEvents("MetricsBack")
	a.gatherer.verdict = a.proven(10)
	a.settle()
	a.want(10, "AwaitingApproval")
	a.wantEvents("ProofReached", "ApprovalRequired")

	a.say(v1beta1.AnnotationApprove, "2.1/50")
	a.want(50, "Holding")
	a.wantEvents("TrafficShifted")
	a.pass(5 * time.Hour)
	a.want(50, "Inconclusive")
	a.wantEvents("Inconclusive")
	a.say(v1beta1.AnnotationPromote, "2.1")
	a.want(100, "Completed")
}

// TestRestart: the first reconciliations after a restart change nothing.
func TestRestart(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis, withApprovals), byAnnotation)
	a.rollOut("v2", nil)
	a.gatherer.verdict = a.proven(10)
	a.pass(hold)
	a.want(10, "AwaitingApproval")
	a.newEvents()
	writes, state, verdict := a.statusWrites, a.backend.state.Encode(), a.gatherer.verdict
	a.gatherer.verdict, a.gatherer.tracked = nil, map[types.NamespacedName]metricsource.Trial{}
	a.settle()
	a.gatherer.verdict = verdict
	a.settle()
	a.wantEvents()
	if a.statusWrites != writes || a.backend.state.Encode() != state {
		t.Errorf("%d writes of the status; the rollout state was %s and is %s", a.statusWrites-writes, state, a.backend.state.Encode())
	}
}

// TestPolicyGone: a policy that is deleted holds the share, but harm still counts.
func TestPolicyGone(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
	a.rollOut("v2", nil)
	a.gatherer.verdict = a.proven(10)
	a.must(a.server.Delete(t.Context(), newPolicy()))
	a.pass(time.Hour)
	a.want(10, "PolicyNotFound")
	a.say(v1beta1.AnnotationCanaryPolicy, "none")
	a.want(10, "PolicyGone")
	a.gatherer.verdict = harmful(10)
	a.settle()
	a.want(0, "Rejected")
}

// TestUnusablePolicy: nothing goes up before the policy is corrected.
func TestUnusablePolicy(t *testing.T) {
	a := newAutomated(t, nil, byAnnotation)
	a.rollOut("v2", nil)
	a.want(0, "PolicyNotFound")
	started := a.newEvents()[1]
	if !strings.HasPrefix(started, "Normal RolloutStarted Trial 2.1 of "+r2+" began, and gets no traffic: the annotation serinus.io/canary-policy is") {
		t.Errorf("the event is %q", started)
	}
	a.must(a.server.Create(t.Context(), newPolicy()))
	a.settle()
	a.want(10, "Holding")

	b := newAutomated(t, nil, byAnnotation)
	b.reconciler.Automation.Installed = func() bool { return false }
	b.rollOut("v2", nil)
	b.want(0, "PolicyNotFound")
}

// TestNoPrometheus: a policy with an analysis holds, and says what is missing.
func TestNoPrometheus(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
	a.reconciler.Automation.Gatherer = nil
	a.rollOut("v2", nil)
	a.pass(hold)
	a.want(10, "MetricsUnavailable")
	if got := a.condition(v1beta1.ConditionRolloutCompleted).Message; !strings.Contains(got, "set analysis.prometheus.address") {
		t.Errorf("the message is %q", got)
	}
}

// TestBake: the gatherer compares with the previous revision, and harm undoes the promotion.
func TestBake(t *testing.T) {
	promoted := func(t *testing.T) automated {
		a := newAutomated(t, newPolicy(withBake, withAnalysis), byAnnotation)
		a.rollOut("v2", nil)
		for _, share := range []int{10, 50} {
			a.gatherer.verdict = a.proven(share)
			a.pass(hold)
		}
		a.want(100, "Baking")
		a.gatherer.verdict = &evidence.Verdict{Source: "traefik", Share: evidence.Share{Percent: 100, Since: a.backend.state.ShiftedAt}}
		a.newEvents()
		trial := a.gatherer.tracked[types.NamespacedName{Namespace: testkit.Namespace, Name: testkit.Name}]
		input, _ := trial.Input.(evidence.Input)
		if !input.Promoted.Equal(a.backend.state.ShiftedAt) || trial.Stable != r1 || trial.Canary != r2 {
			t.Errorf("the evidence of the bake is gathered for %+v with %+v", trial, input)
		}
		return a
	}
	t.Run("it completes", func(t *testing.T) {
		a := promoted(t)
		writes := a.statusWrites
		a.pass(59 * time.Minute)
		if a.statusWrites != writes {
			t.Error("the status is written in the bake")
		}
		a.pass(time.Minute)
		a.want(100, "Completed")
		a.wantEvents("BakeCompleted")
		if got := a.trialCounts(); got != "Promoted 1" {
			t.Errorf("the trials are counted as %q", got)
		}
	})
	t.Run("harm", func(t *testing.T) {
		a := promoted(t)
		a.gatherer.verdict = harmful(100)
		a.settle()
		a.want(0, "Rejected")
		a.wantEvents("CanaryRejected", "TrafficShifted")
		if got := a.trialCounts(); got != "Harm 1" {
			t.Errorf("the trials are counted as %q", got)
		}
	})
	t.Run("another model", func(t *testing.T) {
		a := promoted(t)
		a.rollOut("v3", nil)
		a.wantEvents("RevisionCreated", "BakeEnded", "RolloutStarted", "TrafficShifted")
		if id, _ := a.gatherer.trial(); id != "3.1" {
			t.Errorf("evidence on trial %s is gathered", id)
		}
		if got := a.trialCounts(); got != "Promoted 1" {
			t.Errorf("the trials are counted as %q", got)
		}
	})
}

// TestDeletedInferenceServiceIsForgotten: also if it is gone before it is reconciled.
func TestDeletedInferenceServiceIsForgotten(t *testing.T) {
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: testkit.Namespace, Name: testkit.Name}}
	for name, remove := range map[string]func(a automated){
		"gone": func(a automated) { a.must(a.server.Delete(t.Context(), a.isvc())) },
		"with a finalizer": func(a automated) {
			a.edit(func(isvc *v1beta1.InferenceService) { isvc.Finalizers = []string{"example.com/x"} })
			a.must(a.server.Delete(t.Context(), a.isvc()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
			a.rollOut("v2", nil)
			a.say(v1beta1.AnnotationPause, "x")
			remove(a)
			_, err := a.reconciler.reconcileRequest(t.Context(), request)
			a.must(err)
			if id, _ := a.gatherer.trial(); id != "" {
				t.Errorf("evidence on trial %s is still gathered", id)
			}
			if _, found := a.reconciler.ignoredIntents.Load(request.NamespacedName); found {
				t.Error("its intents are kept")
			}
		})
	}
}

// TestPercentEndsTheTrial: a percent is KServe's behaviour.
func TestPercentEndsTheTrial(t *testing.T) {
	a := newAutomated(t, newPolicy(withAnalysis), byAnnotation)
	a.rollOut("v2", nil)
	a.rollOut("v2", new(int64(30)))
	if a.backend.state.Split.Percent(2) != 30 || a.backend.state.Trial != nil {
		t.Errorf("the rollout state is %s", a.backend.state.Encode())
	}
	if slices.ContainsFunc(a.isvc().Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1beta1.ConditionRolloutCompleted }) {
		t.Error("RolloutCompleted is still reported")
	}
	if id, _ := a.gatherer.trial(); id != "" {
		t.Errorf("evidence on trial %s is still gathered", id)
	}
	if got := a.trialCounts(); got != "Left 1" {
		t.Errorf("the trials are counted as %q", got)
	}
	a.rollOut("v2", nil)
	a.want(30, "Holding")
}
