// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// The API server refuses the whole status for one invalid condition.
func TestConditionsAreValidForAnyReason(t *testing.T) {
	long := strings.Repeat("ä 漢字 ", 20_000)
	for _, reason := range []string{
		"", "Fine", "with spaces", "9lives", "_", "ends_with_:", "a.b/c-d", "ünïcödé", "…", strings.Repeat("x", 5000), "line\nbreak", "\xff",
	} {
		for _, message := range []string{"", "short", long, "broken \xff text"} {
			failure := backend.Failure{Reason: reason, Message: message, Detail: long, Pod: "x"}
			reports := map[string]status.Report{
				"failure": scenario{target: 1, ready: map[rollout.Number]int{1: 0}, failing: map[rollout.Number]backend.Failure{1: failure}}.report(),
				"route":   scenario{target: 1, ready: map[rollout.Number]int{1: 1}, refused: &backend.RouteStatus{Refused: true, Reason: reason, Message: message}}.report(),
				"problem": scenario{target: 1, ready: map[rollout.Number]int{1: 1}}.report(),
			}
			problem := reports["problem"]
			problem.Problem = &status.Problem{Condition: v1beta1.ConditionPredictorReady, Reason: reason, Message: message, Failure: v1beta1.InvalidPredictorSpec}
			reports["problem"] = problem
			for name, report := range reports {
				got := status.For(report)
				for _, mistake := range metav1validation.ValidateConditions(got.Conditions, field.NewPath("status", "conditions")) {
					t.Errorf("%s: for the reason %.20q and a message of %d bytes: %.200s", name, reason, len(message), mistake)
				}
				var messages []string
				for _, condition := range got.Conditions {
					messages = append(messages, condition.Message)
				}
				if info := got.ModelStatus.LastFailureInfo; info != nil {
					messages = append(messages, info.Message)
				}
				for _, failure := range got.Rollout.Failures {
					messages = append(messages, failure.Message)
					if failure.Reason == "" || utf8.RuneCountInString(failure.Reason) > 1024 {
						t.Errorf("%s: the reason of the failure is %q", name, failure.Reason)
					}
				}
				for _, text := range messages {
					if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 1024 {
						t.Errorf("%s: a message has %d characters, valid: %t", name, utf8.RuneCountInString(text), utf8.ValidString(text))
					}
				}
				report.InferenceService = report.InferenceService.DeepCopy()
				report.InferenceService.Status = got
				if again := status.For(report); again.ModelStatus.LastFailureInfo != nil && again.ModelStatus.LastFailureInfo.Message != got.ModelStatus.LastFailureInfo.Message {
					t.Errorf("%s: the second status differs", name)
				}
			}
		}
	}
}

func TestLongMessageIsTruncated(t *testing.T) {
	failure := backend.Failure{Reason: "Broken", Message: strings.Repeat("漢", 3000)}
	got := status.For(scenario{target: 1, ready: map[rollout.Number]int{1: 0}, failing: map[rollout.Number]backend.Failure{1: failure}}.report())
	for _, condition := range got.Conditions {
		if condition.Type == v1beta1.ConditionReady && (utf8.RuneCountInString(condition.Message) != 1024 || !strings.HasSuffix(condition.Message, "漢…")) {
			t.Errorf("the message has %d characters and ends in %q", utf8.RuneCountInString(condition.Message), condition.Message[len(condition.Message)-10:])
		}
	}
}
