// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Failing are the revisions that fail by what a status says, each with the condition that says so. One that failed and
// has not been ready since is among them without a condition.
//
// A status is what survives the operator, so that two of them tell which failure has begun in between, and which is over.
func Failing(isvc string, said v1beta1.InferenceServiceStatus) map[rollout.Number]*metav1.Condition {
	failing := map[rollout.Number]*metav1.Condition{}
	if model := said.ModelStatus; model != nil && model.LastFailureInfo != nil {
		if n := backend.RevisionNumber(isvc, model.LastFailureInfo.ModelRevisionName); n != 0 {
			failing[n] = nil
		}
	}
	for _, kind := range []string{v1beta1.ConditionLatestDeploymentReady, v1beta1.ConditionPredictorReady, v1beta1.ConditionRoutesReady} {
		condition := apimeta.FindStatusCondition(said.Conditions, kind)
		if condition == nil || condition.Status != metav1.ConditionFalse {
			continue
		}
		if n := subject(isvc, condition.Message); n != 0 && failing[n] == nil {
			failing[n] = condition
		}
	}
	return failing
}

// subject is the revision that a message is about, which begins with its name; 0 where it is about something else.
func subject(isvc, message string) rollout.Number {
	name, _, _ := strings.Cut(message, " ")
	return backend.RevisionNumber(isvc, strings.TrimRight(name, ",:"))
}
