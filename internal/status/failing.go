// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Failing returns the revisions that fail according to a status, or that failed earlier and have not
// been ready since.
//
// The status survives a restart of the operator. A comparison of two statuses therefore shows which
// failures have begun and which are over.
//
// An earlier version of the operator did not report the rollout. Its status names at most one
// failing revision, so the event of every other one is repeated once after an upgrade.
func Failing(isvc string, status v1beta1.InferenceServiceStatus) map[rollout.Number]v1beta1.RevisionFailure {
	failing := map[rollout.Number]v1beta1.RevisionFailure{}
	add := func(failure v1beta1.RevisionFailure) {
		n := backend.RevisionNumber(isvc, failure.Revision)
		if _, found := failing[n]; n != 0 && !found {
			failing[n] = failure
		}
	}
	if status.Rollout == nil {
		if model := status.ModelStatus; model != nil && model.LastFailureInfo != nil {
			add(v1beta1.RevisionFailure{Revision: model.LastFailureInfo.ModelRevisionName, Reason: string(model.LastFailureInfo.Reason)})
		}
		return failing
	}
	for _, failure := range status.Rollout.Failures {
		add(failure)
	}
	if waiting := status.Rollout.Waiting; waiting != nil && waiting.Overdue {
		add(v1beta1.RevisionFailure{Revision: waiting.Revision, Reason: ReasonReplicasOverdue})
	}
	return failing
}

// SameCause reports whether two failures of a revision have the same cause.
func SameCause(a, b v1beta1.RevisionFailure) bool {
	return a.Reason == b.Reason && a.Message == b.Message
}

// DescribeFailure says why a revision fails, as the conditions do. It adds the last output of the
// container, which the conditions omit because it changes.
func DescribeFailure(report Report, n rollout.Number) string {
	r := newReporter(report)
	name, percent := r.revision(n), r.Decision.Served.Percent(n)
	failure, ofPods := r.failing(name), r.Observed.Details[n].Failure
	if failure != nil && ofPods != nil && ofPods.Detail != "" && SameCause(*failure, *r.newFailure(n, ofPods.Reason, ofPods.Message)) {
		failure.Message += ": " + ofPods.Detail
	}
	var about []condition
	switch {
	case n == r.Decision.Target:
		about = append(about, r.latestDeploymentReady())
	case percent > 0 && r.ready(n) == 0:
		about = append(about, r.unreadyCondition(rollout.Share{Revision: n, Percent: percent}))
	}
	if waiting := r.rollout.Waiting; waiting != nil && waiting.Revision == name {
		about = append(about, r.waitingCondition(*waiting))
	}
	return mostSevere(about...).message
}
