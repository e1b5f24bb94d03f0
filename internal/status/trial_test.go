// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

const standardPolicy = `CanaryPolicy "standard"`

// trial21 is the ID of the trial of these tests.
var trial21 = rollout.TrialID{Revision: 2, Attempt: 1}

func plan(edits ...func(*rollout.Plan)) *rollout.Plan {
	plan := &rollout.Plan{
		Policy: standardPolicy, Keep: 10 * time.Minute,
		Steps:    []rollout.Step{{Percent: 10, Hold: 5 * time.Minute}, {Percent: 50, Hold: 5 * time.Minute}},
		Evidence: &rollout.EvidenceRule{Proof: true, Timeout: 4 * time.Hour},
	}
	for _, edit := range edits {
		edit(plan)
	}
	return plan
}

// onTrial is a canary that has had 10 % for an hour.
func onTrial(edits ...func(*scenario)) scenario {
	s := scenario{
		target: 2, ready: replicas{1: 1, 2: 1}, state: rolloutState(1, 0, 2, nil, split(2, 10, 1, 90)), plan: plan(),
		evidence:   rollout.Evidence{Trial: trial21, Share: 10},
		automation: status.Automation{Applies: true, Source: "traefik"},
	}
	s.state.Asked = rollout.Intent{Share: 10}
	s.state.Trial = &rollout.Trial{Attempt: 1, Policy: standardPolicy, Share: 10, Began: now.Add(-time.Hour)}
	s.state.Attempts = map[rollout.Number]int{2: 1}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

func missing(what rollout.WaitingFor, message string) func(*scenario) {
	return func(s *scenario) { s.evidence.Missing, s.automation.Missing = what, message }
}

func proven(s *scenario) {
	s.evidence.EnoughAt, s.evidence.ProvenAt = now.Add(-30*time.Minute), now.Add(-30*time.Minute)
}

// problem makes the policy unusable.
func problem(reason policy.Reason, message string) func(*scenario) {
	return func(s *scenario) {
		s.plan = &rollout.Plan{Invalid: true}
		s.automation = status.Automation{Applies: true, Problem: &policy.Problem{Reason: reason, Message: message}}
	}
}

func baking(s *scenario) {
	proven(s)
	s.plan.Bake = 2 * time.Hour
	s.state.Stable, s.state.Previous, s.state.Split, s.state.ServedBefore = 2, 1, rollout.All(2), rollout.All(2)
	s.state.Asked = rollout.Intent{Share: 100, Promote: true}
	s.state.Trial.Share, s.state.Trial.Bake = 100, 2*time.Hour
}

func completed(s *scenario) {
	baking(s)
	s.plan.Bake = 0
	s.ready, s.inHistory = replicas{2: 1}, []rollout.Number{1}
	s.state.Trial, s.evidence = nil, rollout.Evidence{}
}

// rejected is a canary that was rejected a moment ago, and still is in the split.
func rejected(reason rollout.RejectionReason) func(*scenario) {
	return func(s *scenario) {
		s.state.Trial, s.state.Tried, s.state.Asked, s.evidence = nil, true, rollout.Intent{}, rollout.Evidence{}
		s.state.Split, s.state.ServedBefore = split(2, 0, 1, 100), split(2, 0, 1, 100)
		s.state.Rejected = map[rollout.Number]rollout.Rejection{2: {Attempt: 1, Reason: reason, At: now.Add(-time.Minute + 123*time.Millisecond)}}
	}
}

// gone is a rejected canary whose pods are no longer kept.
func gone(s *scenario) {
	rejected(rollout.Harmful)(s)
	s.state.Split, s.state.ServedBefore = rollout.All(1), rollout.All(1)
	s.ready, s.inHistory = replicas{1: 1}, []rollout.Number{2}
	s.state.Rejected[2] = rollout.Rejection{Attempt: 1, Reason: rollout.Harmful, At: now.Add(-time.Hour)}
}

func trials() map[string]scenario {
	notFound := `the annotation serinus.io/canary-policy is "fast", but there is no CanaryPolicy of this name in namespace kserve-test and no ClusterCanaryPolicy`
	return map[string]scenario{
		"holding": onTrial(func(s *scenario) {
			s.state.ShiftedAt, s.state.Trial.Began = now.Add(-time.Minute), now.Add(-time.Minute)
		}),
		"awaiting-proof": onTrial(),
		"awaiting-approval": onTrial(proven, func(s *scenario) {
			s.plan.Steps[1].Approve = true
		}),
		"awaiting-approval-of-the-promotion": onTrial(proven, func(s *scenario) {
			s.plan.Steps, s.plan.ApprovePromotion = s.plan.Steps[:1], true
		}),
		"awaiting-approval-of-the-first-share": onTrial(func(s *scenario) {
			s.plan.Steps[0].Approve = true
			s.state.Split, s.state.ServedBefore, s.state.Asked = rollout.All(1), rollout.All(1), rollout.Intent{}
			s.state.Trial.Share, s.state.Trial.Began = 0, time.Time{}
		}),
		"paused":              onTrial(proven, func(s *scenario) { s.commands.Pause = trial21 }),
		"no-traffic":          onTrial(missing(rollout.WaitsForTraffic, "")),
		"no-series":           onTrial(missing(rollout.WaitsForSeries, `errors: Prometheus has no series of traefik_service_requests_total{service=~"a"}`)),
		"metrics-unavailable": onTrial(missing(rollout.WaitsForMetrics, "errors: Prometheus does not respond: connection refused")),
		"inconclusive":        onTrial(func(s *scenario) { s.plan.Evidence.Timeout = 30 * time.Minute }),
		"waiting-for-replicas": onTrial(proven, func(s *scenario) {
			s.maxReplicas, s.ready = 4, replicas{1: 4, 2: 1}
			s.state.Asked, s.state.WaitingSince = rollout.Intent{Share: 50}, now.Add(-time.Minute)
		}),
		"queued": onTrial(proven, func(s *scenario) {
			s.maxReplicas, s.ready, s.unschedulable = 4, replicas{1: 4, 2: 1}, map[rollout.Number]bool{2: true}
			s.state.Asked, s.state.WaitingSince = rollout.Intent{Share: 50}, now.Add(-time.Minute)
		}),
		"lost-its-pods": onTrial(func(s *scenario) {
			s.ready = replicas{1: 1, 2: 0}
			s.state.Split, s.state.ServedBefore = split(2, 0, 1, 100), split(2, 0, 1, 100)
		}),
		"baking":           onTrial(baking),
		"completed":        onTrial(completed),
		"rejected":         onTrial(rejected(rollout.Harmful)),
		"rejected-aborted": onTrial(rejected(rollout.Aborted)),
		"rejected-gone":    onTrial(gone),
		"rejected-without-a-policy": onTrial(rejected(rollout.Harmful), func(s *scenario) {
			s.plan, s.automation = nil, status.Automation{}
		}),
		"rejected-while-the-stable-is-dead": onTrial(rejected(rollout.Harmful), func(s *scenario) {
			s.ready, s.failing = replicas{1: 0, 2: 1}, failures{1: crash()}
			s.state.Split, s.state.ServedBefore = split(2, 100), split(2, 100)
		}),
		"policy-not-found": onTrial(problem(policy.PolicyNotFound, notFound)),
		"policy-invalid":   onTrial(problem(policy.PolicyInvalid, standardPolicy+`: spec.analysis.source: there is no preset "trafik"`)),
		"policy-conflict":  onTrial(problem(policy.PolicyConflict, `the selectors of several objects of kind CanaryPolicy match: "a", "b"`)),
		"policy-gone": onTrial(func(s *scenario) {
			s.plan, s.automation = nil, status.Automation{}
		}),
		"another-policy": onTrial(func(s *scenario) { s.plan.Policy = `CanaryPolicy "fast"` }),
		"unresolved":     onTrial(func(s *scenario) { s.target = 0 }),
	}
}

// TestTrials compares the status of each stage of a trial with testdata/trials. The settled ones
// write nothing.
func TestTrials(t *testing.T) {
	for name, want := range map[string]struct {
		completed metav1.ConditionStatus
		reason    string
		ready     metav1.ConditionStatus
		phase     v1beta1.Phase
	}{
		"holding":                              {"Unknown", "Holding", "Unknown", "Canary"},
		"awaiting-proof":                       {"Unknown", "AwaitingProof", "Unknown", "Canary"},
		"awaiting-approval":                    {"Unknown", "AwaitingApproval", "Unknown", "AwaitingApproval"},
		"awaiting-approval-of-the-promotion":   {"Unknown", "AwaitingApproval", "Unknown", "AwaitingApproval"},
		"awaiting-approval-of-the-first-share": {"Unknown", "AwaitingApproval", "Unknown", "AwaitingApproval"},
		"paused":                               {"Unknown", "Paused", "Unknown", "Canary"},
		"no-traffic":                           {"Unknown", "NoTraffic", "Unknown", "Canary"},
		"no-series":                            {"Unknown", "NoSeries", "Unknown", "Canary"},
		"metrics-unavailable":                  {"Unknown", "MetricsUnavailable", "Unknown", "Canary"},
		"inconclusive":                         {"Unknown", "Inconclusive", "Unknown", "Canary"},
		"waiting-for-replicas":                 {"Unknown", "WaitingForReplicas", "Unknown", "Progressing"},
		"queued":                               {"Unknown", "Queued", "Unknown", "Progressing"},
		"lost-its-pods":                        {"Unknown", "WaitingForReplicas", "Unknown", "Progressing"},
		"baking":                               {"Unknown", "Baking", "True", "Baking"},
		"completed":                            {"True", "Completed", "True", "Stable"},
		"rejected":                             {"False", "Rejected", "False", "Rejected"},
		"rejected-aborted":                     {"False", "Rejected", "False", "Rejected"},
		"rejected-gone":                        {"False", "Rejected", "False", "Rejected"},
		"rejected-without-a-policy":            {"False", "Rejected", "False", "Rejected"},
		"rejected-while-the-stable-is-dead":    {"False", "Rejected", "False", "Rejected"},
		"policy-not-found":                     {"False", "PolicyNotFound", "Unknown", "Canary"},
		"policy-invalid":                       {"False", "PolicyInvalid", "Unknown", "Canary"},
		"policy-conflict":                      {"False", "PolicyConflict", "Unknown", "Canary"},
		"policy-gone":                          {"False", "PolicyGone", "Unknown", "Canary"},
		"another-policy":                       {"False", "PolicyGone", "Unknown", "Canary"},
		"unresolved":                           {"Unknown", "Paused", "Unknown", "Canary"},
	} {
		t.Run(name, func(t *testing.T) {
			report := trials()[name].report()
			if d := report.Decision; len(d.Transitions) > 0 {
				t.Fatalf("the trial has not settled: %+v", d)
			}
			got := status.For(report)
			completed := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionRolloutCompleted)
			if completed == nil || completed.Status != want.completed || completed.Reason != want.reason {
				t.Errorf("RolloutCompleted is %+v", completed)
			}
			if ready := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady); ready.Status != want.ready {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			if got.Phase != want.phase {
				t.Errorf("phase is %s", got.Phase)
			}
			compareWithGolden(t, "trials/"+name, got)

			stored := asStored(t, got)
			report.InferenceService.Status = *stored.DeepCopy()
			if again := status.For(report); !equality.Semantic.DeepEqual(stored, again) {
				t.Errorf("the status would be written again (-first +second):\n%s", cmp.Diff(stored, again))
			}
		})
	}
}

// TestRejectedCanary: every tool shows that the canary was rejected, and RoutesReady who serves.
func TestRejectedCanary(t *testing.T) {
	for _, name := range []string{"rejected", "rejected-aborted", "rejected-gone", "rejected-without-a-policy"} {
		got := status.For(trials()[name].report())
		message := apimeta.FindStatusCondition(got.Conditions, v1beta1.ConditionReady).Message
		for kind, want := range map[string]metav1.Condition{
			v1beta1.ConditionReady:                 {Status: metav1.ConditionFalse, Reason: "CanaryRejected"},
			v1beta1.ConditionLatestDeploymentReady: {Status: metav1.ConditionFalse, Reason: "CanaryRejected"},
			v1beta1.ConditionRoutesReady:           {Status: metav1.ConditionTrue, Reason: "Ready"},
		} {
			condition := apimeta.FindStatusCondition(got.Conditions, kind)
			if condition.Status != want.Status || condition.Reason != want.Reason || !strings.Contains(condition.Message, "100 % on sklearn-iris-predictor-00001") {
				t.Errorf("%s: %s is %s (%s): %s", name, kind, condition.Status, condition.Reason, condition.Message)
			}
		}
		model := got.ModelStatus
		if model.TransitionStatus != v1beta1.BlockedByFailedLoad || model.LastFailureInfo == nil || model.LastFailureInfo.Message != message {
			t.Errorf("%s: the model status is %+v with %+v", name, model, model.LastFailureInfo)
		}
	}
}

// TestRejectedBeforeAnyRevisionWasReady: a rejection from the revision history needs no rollout
// state.
func TestRejectedBeforeAnyRevisionWasReady(t *testing.T) {
	report := scenario{target: 2, ready: replicas{2: 0}, plan: plan(), automation: status.Automation{Applies: true}}.report()
	report.Snapshot.Revisions[0].Rejection = &rollout.Rejection{Attempt: 1, Reason: "Unheard", At: now}
	report.Decision = rollout.Decide(report.Snapshot, rollout.Policy{HistoryLimit: 10}, now)
	ready := apimeta.FindStatusCondition(status.For(report).Conditions, v1beta1.ConditionReady)
	if want := "sklearn-iris-predictor-00002 was rejected, so it gets no traffic; no revision serves; to try it again: " +
		"kubectl annotate isvc -n kserve-test sklearn-iris --overwrite serinus.io/retry=2.2"; ready.Message != want {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
}

// TestNoConditionWithoutAPolicy: a percent, or no policy, leaves KServe's conditions alone.
func TestNoConditionWithoutAPolicy(t *testing.T) {
	for name, s := range map[string]scenario{
		"a percent":               onTrial(func(s *scenario) { s.percent = new(10) }),
		"a percent of 100":        onTrial(completed, func(s *scenario) { s.percent = new(100) }),
		"a percent of a rejected": onTrial(rejected(rollout.Harmful), func(s *scenario) { s.percent = new(0) }),
		"no policy":               served(),
		"stopped":                 onTrial(func(s *scenario) { s.stopped = true }),
	} {
		if got := apimeta.FindStatusCondition(status.For(s.report()).Conditions, v1beta1.ConditionRolloutCompleted); got != nil {
			t.Errorf("%s: it is %+v", name, got)
		}
	}
}

// TestConflictOfASettledService: a policy that begins to conflict changes nothing.
func TestConflictOfASettledService(t *testing.T) {
	before := status.For(onTrial(completed).report())
	report := onTrial(completed, problem(policy.PolicyConflict, "two policies")).report()
	report.InferenceService.Status = *before.DeepCopy()
	if diff := cmp.Diff(before, status.For(report)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

// TestTrialMessages: messages have no times and no generated names, and give the exact command.
func TestTrialMessages(t *testing.T) {
	generated := regexp.MustCompile(`\d\d:\d\d|-[0-9a-f]{8,10}-[0-9a-z]{5}`)
	for name, s := range trials() {
		for _, condition := range status.For(s.report()).Conditions {
			if generated.MatchString(condition.Message) || utf8.RuneCountInString(condition.Message) > 1024 {
				t.Errorf("%s: the message of %s is %q", name, condition.Type, condition.Message)
			}
		}
	}
	const annotate = "kubectl annotate isvc -n kserve-test sklearn-iris --overwrite serinus.io/"
	for name, command := range map[string]string{
		"awaiting-approval":                    annotate + "approve=2.1/50",
		"awaiting-approval-of-the-promotion":   annotate + "approve=2.1/100",
		"awaiting-approval-of-the-first-share": annotate + "approve=2.1/10",
		"paused":                               "kubectl annotate isvc -n kserve-test sklearn-iris serinus.io/pause-",
		"awaiting-proof":                       annotate + "promote=2.1",
		"no-traffic":                           annotate + "promote=2.1",
		"inconclusive":                         annotate + "abort=2.1",
		"baking":                               annotate + "abort=2.1",
		"rejected":                             annotate + "retry=2.2",
		"policy-gone":                          annotate + "abort=2.1",
	} {
		completed := apimeta.FindStatusCondition(status.For(trials()[name].report()).Conditions, v1beta1.ConditionRolloutCompleted)
		if !strings.Contains(completed.Message, command) {
			t.Errorf("%s: %q does not contain %q", name, completed.Message, command)
		}
	}
	long := onTrial(missing(rollout.WaitsForSeries, strings.Repeat("x", 5000))).report()
	if got := apimeta.FindStatusCondition(status.For(long).Conditions, v1beta1.ConditionRolloutCompleted).Message; utf8.RuneCountInString(got) != 1024 {
		t.Errorf("a long message has %d characters", utf8.RuneCountInString(got))
	}
}

// TestEvidenceIsReportedWithVerdicts: between verdicts, and after the trial, the evidence stays.
func TestEvidenceIsReportedWithVerdicts(t *testing.T) {
	evidence := []v1beta1.MetricEvidence{{Metric: "errors", Message: "errors: 3 of 1,200 (0.25 %)"}}
	report := onTrial().report()
	if got := status.For(report).Rollout.Evidence; got != nil {
		t.Errorf("before a verdict, it is %v", got)
	}
	report.Automation.Evidence = evidence
	report.InferenceService.Status = status.For(report)
	report.Automation.Evidence = nil
	for name, test := range map[string]struct {
		scenario scenario
		want     []v1beta1.MetricEvidence
	}{
		"the same trial":     {onTrial(), evidence},
		"rejected":           {onTrial(rejected(rollout.Harmful)), evidence},
		"completed":          {onTrial(completed), evidence},
		"another trial":      {onTrial(func(s *scenario) { s.state.Trial.Attempt, s.state.Attempts[2], s.evidence.Trial.Attempt = 2, 2, 2 }), nil},
		"another target":     {served(), nil},
		"a share by percent": {onTrial(func(s *scenario) { s.percent = new(10) }), evidence},
	} {
		next := test.scenario.report()
		next.InferenceService.Status = report.InferenceService.Status
		if diff := cmp.Diff(test.want, status.For(next).Rollout.Evidence); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestLongEvidenceIsTruncated: the API server would refuse the whole status.
func TestLongEvidenceIsTruncated(t *testing.T) {
	report := onTrial().report()
	report.Automation.Evidence = []v1beta1.MetricEvidence{{Metric: "errors", Message: strings.Repeat("x", 5000)}}
	if got := status.For(report).Rollout.Evidence[0].Message; utf8.RuneCountInString(got) != 1024 {
		t.Errorf("it has %d characters", utf8.RuneCountInString(got))
	}
}

// TestRestartInAWait: until the metrics have been read again, the trial is reported as it was.
func TestRestartInAWait(t *testing.T) {
	for _, name := range []string{
		"holding", "awaiting-proof", "awaiting-approval", "no-traffic", "no-series", "metrics-unavailable", "inconclusive", "baking", "completed", "rejected",
	} {
		before := status.For(trials()[name].report())
		restarted := trials()[name]
		restarted.evidence = rollout.Evidence{Trial: restarted.evidence.Trial, Share: restarted.evidence.Share}
		restarted.automation.Pending, restarted.automation.Missing, restarted.automation.Source = true, "", ""
		report := restarted.report()
		report.InferenceService.Status = *before.DeepCopy()
		if diff := cmp.Diff(before, status.For(report)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
	}
}

// asStored returns a status as the API server returns it: times are in seconds.
func asStored(t *testing.T, given v1beta1.InferenceServiceStatus) v1beta1.InferenceServiceStatus {
	t.Helper()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	var stored v1beta1.InferenceServiceStatus
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	return stored
}
