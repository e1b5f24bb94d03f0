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

// Failing returns the revisions that fail according to a status, each with the condition that says
// so. The condition is nil for a revision that failed earlier and has not been ready since.
//
// The status survives a restart of the operator. A comparison of two statuses therefore shows which
// failures have begun and which are over.
func Failing(isvc string, status v1beta1.InferenceServiceStatus) map[rollout.Number]*metav1.Condition {
	failing := map[rollout.Number]*metav1.Condition{}
	if model := status.ModelStatus; model != nil && model.LastFailureInfo != nil {
		if n := backend.RevisionNumber(isvc, model.LastFailureInfo.ModelRevisionName); n != 0 {
			failing[n] = nil
		}
	}
	for _, kind := range []string{v1beta1.ConditionLatestDeploymentReady, v1beta1.ConditionPredictorReady, v1beta1.ConditionRoutesReady} {
		condition := apimeta.FindStatusCondition(status.Conditions, kind)
		if condition == nil || condition.Status != metav1.ConditionFalse {
			continue
		}
		if n := revisionInMessage(isvc, condition.Message); n != 0 && failing[n] == nil {
			failing[n] = condition
		}
	}
	return failing
}

// revisionInMessage returns the revision whose name a message begins with, or 0.
func revisionInMessage(isvc, message string) rollout.Number {
	name, _, _ := strings.Cut(message, " ")
	return backend.RevisionNumber(isvc, strings.TrimRight(name, ",:"))
}
