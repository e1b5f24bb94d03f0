// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/status"
)

func TestSettingsIgnored(t *testing.T) {
	conditionFor := func(ignored ...predictor.Problem) *metav1.Condition {
		reported := status.For(status.Report{InferenceService: &v1beta1.InferenceService{}, Ignored: ignored})
		return apimeta.FindStatusCondition(reported.Conditions, v1beta1.ConditionSettingsIgnored)
	}
	if got := conditionFor(); got != nil {
		t.Errorf("without ignored settings, the condition is %+v", got)
	}

	two := conditionFor(predictor.Problem{Field: "a", Message: "has no effect"}, predictor.Problem{Field: "b", Message: "has none either"})
	if two == nil || two.Status != metav1.ConditionTrue || two.Message != "a: has no effect; b: has none either" {
		t.Errorf("with two ignored settings, the condition is %+v", two)
	}

	var many []predictor.Problem
	for i := range 40 {
		many = append(many, predictor.Problem{Field: fmt.Sprintf("metadata.annotations[example.com/%d]", i), Message: "has no effect"})
	}
	long := conditionFor(many...).Message
	if n := utf8.RuneCountInString(long); n > 1024 {
		t.Errorf("the message has %d characters", n)
	}
	named := strings.Count(long, "has no effect")
	if want := fmt.Sprintf("; and %d more", len(many)-named); !strings.HasSuffix(long, want) {
		t.Errorf("the message names %d and ends with %q, want %q", named, long[len(long)-20:], want)
	}
}
