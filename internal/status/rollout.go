// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
)

// rolloutStatus returns the state of the rollout.
func (r *reporter) rolloutStatus() *v1beta1.RolloutStatus {
	stable, previous := r.rolledOut()
	status := &v1beta1.RolloutStatus{
		Target:   r.revision(r.Decision.Target),
		Stable:   r.revision(stable),
		Previous: r.revision(previous),
	}
	if waiting := r.Decision.Waiting; waiting != nil {
		status.Waiting = &v1beta1.WaitingShare{
			Revision:       r.revision(waiting.Revision),
			Share:          int32(waiting.Percent),
			ReadyReplicas:  int32(waiting.Ready),
			NeededReplicas: int32(waiting.Need),
			Overdue:        waiting.Overdue,
		}
	}
	if r.stopped() {
		return status
	}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(r.requiredRevisions()))) {
		if failure := r.revisionFailure(n); failure != nil {
			status.Failures = append(status.Failures, *failure)
		}
	}
	return status
}

// rolledOut returns the stable and the previous revision by the rollout state on the route. A
// promotion counts only once it has been written. Without a route, the reported revisions stay.
func (r *reporter) rolledOut() (stable, previous rollout.Number) {
	decided, observed, reported := r.Decision.State, r.Snapshot.Route.State, r.Snapshot.Reported
	switch {
	case decided == nil:
		return 0, 0
	case r.Outcome.Route:
		return decided.Stable, decided.Previous
	case observed != nil:
		return observed.Stable, observed.Previous
	default:
		return reported.Stable, reported.Previous
	}
}

// requiredRevisions lists the revisions that must be able to serve: the target, those with traffic,
// and the one that a share waits for.
func (r *reporter) requiredRevisions() []rollout.Number {
	var revisions []rollout.Number
	if r.Decision.Target != 0 {
		revisions = append(revisions, r.Decision.Target)
	}
	for _, share := range r.Decision.Served.Shares() {
		if share.Percent > 0 {
			revisions = append(revisions, share.Revision)
		}
	}
	if r.Decision.Waiting != nil {
		revisions = append(revisions, r.Decision.Waiting.Revision)
	}
	return revisions
}

// revisionFailure returns why a required revision fails, or its earlier failure if it has not been
// ready since. It returns nil for every other revision.
func (r *reporter) revisionFailure(n rollout.Number) *v1beta1.RevisionFailure {
	isTarget := n == r.Decision.Target
	isWaiting := r.Decision.Waiting != nil && r.Decision.Waiting.Revision == n
	ofPods := r.Observed.Details[n].Failure
	switch {
	case isTarget && r.replacement() == rollout.ReplacementFailed:
		return r.newFailure(n, ReasonReplacementFailed,
			fmt.Sprintf("did not become ready in the place of %s, and is not tried again until the spec changes", r.revision(r.Decision.State.Stable)))
	case ofPods != nil && (isWaiting || r.ready(n) == 0):
		return r.newFailure(n, ofPods.Reason, ofPods.Message)
	case r.isLost(n) && (isWaiting || !isTarget):
		return r.newFailure(n, ReasonRevisionLost, "its ControllerRevision and its workload were deleted")
	}
	earlier := r.reportedFailure(n)
	if earlier == nil || r.ready(n) > 0 || earlier.Reason == ReasonReplacementFailed || earlier.Reason == ReasonRevisionLost {
		return nil
	}
	earlier.Retrying = true
	return earlier
}

func (r *reporter) newFailure(n rollout.Number, reason, message string) *v1beta1.RevisionFailure {
	return &v1beta1.RevisionFailure{Revision: r.revision(n), Reason: validReason(reason), Message: truncate(message)}
}

// reportedFailure returns the failure of a revision that the last status reports, or nil.
func (r *reporter) reportedFailure(n rollout.Number) *v1beta1.RevisionFailure {
	reported := r.InferenceService.Status.Rollout
	if reported == nil {
		return nil
	}
	return findFailure(reported.Failures, r.revision(n)).DeepCopy()
}

// failing returns why a revision fails now, or nil.
func (r *reporter) failing(revision string) *v1beta1.RevisionFailure {
	if failure := findFailure(r.rollout.Failures, revision); failure != nil && !failure.Retrying {
		return failure
	}
	return nil
}

// failedBefore reports whether the last status reports the same failure of a revision.
func (r *reporter) failedBefore(n rollout.Number) bool {
	now, before := findFailure(r.rollout.Failures, r.revision(n)), r.reportedFailure(n)
	return now != nil && before != nil && SameCause(*now, *before)
}

func findFailure(failures []v1beta1.RevisionFailure, revision string) *v1beta1.RevisionFailure {
	i := slices.IndexFunc(failures, func(failure v1beta1.RevisionFailure) bool { return failure.Revision == revision })
	if i < 0 {
		return nil
	}
	return &failures[i]
}
