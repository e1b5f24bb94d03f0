// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/rollout"
)

// workload returns what a revision runs; nil if it runs nothing. A revision that the traffic names
// counts as running even with no replicas, because a request starts it.
func (c *children) workload(isvc *v1beta1.InferenceService, n rollout.Number) *rollout.Workload {
	revision := c.knativeRevisions[n]
	if revision == nil {
		if c.templateNames(isvc, n) {
			return &rollout.Workload{Failed: c.creationFailure() != nil}
		}
		return nil
	}
	workload := &rollout.Workload{
		Ready:       c.capacity(isvc, n),
		Terminating: c.isTerminating(isvc, n),
		Replicas:    desiredReplicas(revision, len(c.pods[n])),
		Pods:        len(c.pods[n]),
		IdleSince:   c.idleSince(isvc, n),
		Failed:      c.detail(n).Failure != nil,

		ReadySince:         pods.ReadySince(c.pods[n]),
		LoadingSince:       pods.LoadingSince(c.pods[n]),
		UnschedulableSince: pods.UnschedulableSince(c.pods[n]),
	}
	if revision.IsReady() && !c.mayReceiveRequests(isvc, n) && workload.Pods == 0 && workload.Replicas == 0 {
		return nil
	}
	return workload
}

// desiredReplicas returns the autoscaler's desired replicas. Before the autoscaler has reported,
// the existing pods are the desired ones.
func desiredReplicas(revision *servingv1.Revision, found int) int {
	if desired := revision.Status.DesiredReplicas; desired != nil {
		return int(*desired)
	}
	return found
}

func (c *children) isScaledByHPA(n rollout.Number) bool {
	revision := c.knativeRevisions[n]
	if revision == nil {
		return false
	}
	_, class, _ := autoscaling.ClassAnnotation.Get(revision.Annotations)
	return class == autoscaling.HPA
}

// isGivenUp reports whether Knative has failed to start a revision and has scaled it to zero. An
// unresolved image does not count: Knative retries the registry by itself, with growing pauses.
func (c *children) isGivenUp(n rollout.Number) bool {
	revision := c.knativeRevisions[n]
	if revision == nil || revision.DeletionTimestamp != nil || !revision.IsFailed() || len(c.pods[n]) > 0 {
		return false
	}
	desired := revision.Status.DesiredReplicas
	return desired != nil && *desired == 0 && !isUnresolved(revision)
}

// isUnresolved reports whether Knative cannot resolve the image of a revision. No pod is created
// then.
func isUnresolved(revision *servingv1.Revision) bool {
	condition := revision.Status.GetCondition(servingv1.RevisionConditionContainerHealthy)
	return condition.IsFalse() && condition.Reason == servingv1.ReasonContainerMissing
}

// templateNames reports whether the template of the Knative Service names this revision.
func (c *children) templateNames(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	return c.service != nil && c.service.Spec.Template.Name == backend.RevisionName(isvc.Name, n)
}

func (c *children) isReady(n rollout.Number) bool {
	return c.knativeRevisions[n] != nil && c.knativeRevisions[n].IsReady()
}

// mayReceiveRequests reports whether a revision may receive requests: the spec or the status of the
// Knative Service names it.
func (c *children) mayReceiveRequests(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	name := backend.RevisionName(isvc.Name, n)
	return slices.ContainsFunc(slices.Concat(c.service.Spec.Traffic, c.service.Status.Traffic), func(target servingv1.TrafficTarget) bool {
		return target.RevisionName == name
	})
}

// capacity returns how many replicas of a revision can serve.
//
//   - A revision that receives requests keeps them while any replica is ready.
//   - A revision that is about to receive requests must be active by its PodAutoscaler and have its
//     minimum scale ready. Knative itself would route to a revision below its initial scale.
//   - With a minimum scale of 0, a revision that is scaled to zero or starting can serve: the user
//     has chosen cold starts, and Knative holds the requests until a replica is ready.
func (c *children) capacity(isvc *v1beta1.InferenceService, n rollout.Number) int {
	revision, ready := c.knativeRevisions[n], pods.CountReady(c.pods[n])
	minimum := minReplicas(revision)
	switch {
	case !revision.IsReady():
		return 0
	case minimum == 0 && ready == 0 && c.isCold(n):
		return 1
	case c.serves(isvc, n):
		return ready
	case ready < minimum, !c.isActive(n):
		return 0
	}
	return ready
}

// isCold reports whether a revision is scaled to zero, or scaling to or from zero, within its
// deadline.
func (c *children) isCold(n rollout.Number) bool {
	detail := c.detail(n)
	overdue := slices.ContainsFunc(detail.Pending, func(pending backend.Pending) bool { return !c.now.Before(pending.From) })
	return pods.AreCold(c.pods[n]) && detail.Failure == nil && !overdue
}

// isActive reports whether the PodAutoscaler of a revision has its desired replicas. The Revision
// reports the same, but seconds later if Knative is busy. A revision that was given traffic in that
// time was being scaled to zero, and requests waited for it to start. The observed generation does
// not matter: a PodAutoscaler that has just become reachable wants no fewer replicas.
func (c *children) isActive(n rollout.Number) bool {
	scaler := c.scalers[n]
	return scaler != nil && scaler.Status.IsActive()
}

// isTerminating reports whether Knative is scaling a revision down. Its pods still look ready for a
// moment.
func (c *children) isTerminating(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	return len(c.pods[n]) > 0 && !c.serves(isvc, n) && !c.isKept(isvc, n)
}

// serves reports whether a revision has a share in both the desired and the observed traffic.
func (c *children) serves(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	served := slices.ContainsFunc(c.service.Status.Traffic, func(target servingv1.TrafficTarget) bool {
		return target.RevisionName == backend.RevisionName(isvc.Name, n) && percentOf(target) > 0
	})
	return served && readTraffic(isvc, c.service).percent(n) > 0
}

// isKept reports whether Knative keeps the pods of a revision: a Route names it, or no Route has
// named it yet and its PodAutoscaler treats it as reachable.
func (c *children) isKept(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	if scaler := c.scalers[n]; scaler == nil || scaler.Spec.Reachability == autoscalingv1alpha1.ReachabilityUnreachable {
		return false
	}
	switch c.knativeRevisions[n].GetRoutingState() {
	case servingv1.RoutingStateReserve:
		return false
	case servingv1.RoutingStateActive:
		return readTraffic(isvc, c.service).names(n)
	default:
		return true
	}
}

func minReplicas(revision *servingv1.Revision) int {
	_, value, _ := autoscaling.MinScaleAnnotation.Get(revision.Annotations)
	minimum := 0
	if _, err := fmt.Sscan(value, &minimum); err != nil {
		return 0
	}
	return minimum
}

// idleSince returns since when no Route has named a revision, which Knative stores on the revision.
// A revision that was never routed is idle since its creation.
func (c *children) idleSince(isvc *v1beta1.InferenceService, n rollout.Number) time.Time {
	revision := c.knativeRevisions[n]
	if c.mayReceiveRequests(isvc, n) {
		return time.Time{}
	}
	switch revision.GetRoutingState() {
	case servingv1.RoutingStateReserve:
		return revision.GetRoutingStateModified()
	case servingv1.RoutingStatePending:
		return revision.CreationTimestamp.Time
	default:
		return time.Time{}
	}
}

// detail returns what the pods of a revision report. If they report no failure, Knative's
// conditions count.
func (c *children) detail(n rollout.Number) backend.RevisionStatus {
	revision := c.knativeRevisions[n]
	if revision == nil {
		detail := backend.RevisionStatus{State: v1beta1.Pending, Failure: c.creationFailure()}
		if detail.Failure != nil {
			detail.State = v1beta1.FailedToLoad
		}
		return detail
	}
	detail := pods.Detail(c.pods[n], loadDeadline(revision), c.revisionFailures(n)...)
	if revision.IsReady() && minReplicas(revision) == 0 && len(c.pods[n]) == 0 {
		detail.State = v1beta1.Standby
	}
	return detail
}

// creationFailure returns why Knative cannot create the revision that the template names.
func (c *children) creationFailure() *backend.Failure {
	condition := c.service.Status.GetCondition(servingv1.ServiceConditionConfigurationsReady)
	if c.service.Status.ObservedGeneration != c.service.Generation || !condition.IsFalse() {
		return nil
	}
	return &backend.Failure{
		Reason:  reasonNotCreated,
		Message: fmt.Sprintf("Knative cannot make the revision: %s", backend.StableMessage(condition.Message)),
		Time:    condition.LastTransitionTime.Inner.Time,
	}
}

// Condition reasons for failures that Knative reports.
const (
	reasonNotCreated = "RevisionNotMade"
	reasonFailed     = "RevisionFailed"
)

// FailureReasons lists the failure reasons of revisions, beside those of their pods.
func FailureReasons() []string { return []string{reasonNotCreated, reasonFailed} }

// loadDeadline returns how long Knative gives a pod of a revision to become ready; 0 if it is not
// set.
func loadDeadline(revision *servingv1.Revision) time.Duration {
	deadline, err := time.ParseDuration(revision.Annotations[serving.ProgressDeadlineAnnotationKey])
	if err != nil {
		return 0
	}
	return deadline
}

// revisionFailures returns why Knative reports a revision as failed. Knative does so as soon as a
// pod is unschedulable or has exited once, and after a deadline that counts from the creation of
// the revision. So its reports about pods are ignored if the pods themselves carry the times, and a
// failure that may resolve by itself counts only after the deadline.
func (c *children) revisionFailures(n rollout.Number) []backend.Pending {
	revision := c.knativeRevisions[n]
	failure := c.revisionFailure(n)
	if failure == nil || pods.TrackDeadlines(c.pods[n]) && failure.Reason != reasonFailed {
		return nil
	}
	pending := backend.Pending{Failure: *failure}
	switch {
	case isUnresolved(revision):
	case failure.Reason == pods.ReasonUnschedulable && !c.isGivenUp(n), failure.Reason == pods.ReasonPodsRefused,
		failure.Reason == pods.ReasonImagePull && pods.IsTransient(failure.Message):
		pending.From = revision.CreationTimestamp.Add(loadDeadline(revision))
		pending.Failure.Message = strings.Replace(strings.TrimSuffix(failure.Message, retryHint(revision)), "Knative has given up", "Knative reports", 1)
	}
	return []backend.Pending{pending}
}

// revisionFailure returns why Knative reports a revision as failed; nil if it does not, or if the
// revision may still come up by itself.
func (c *children) revisionFailure(n rollout.Number) *backend.Failure {
	revision := c.knativeRevisions[n]
	if !revision.IsFailed() {
		return nil
	}
	for _, kind := range []apis.ConditionType{servingv1.RevisionConditionContainerHealthy, servingv1.RevisionConditionResourcesAvailable} {
		condition := revision.Status.GetCondition(kind)
		if !condition.IsFalse() {
			continue
		}
		if c.mayComeUp(n, condition) {
			return nil
		}
		failure := &backend.Failure{Reason: reasonOf(condition.Reason), Time: condition.LastTransitionTime.Inner.Time}
		what, next := "Knative has given up", retryHint(revision)
		if isUnresolved(revision) {
			what, next = "Knative cannot find the image", "; Knative tries again by itself, with growing pauses"+retryCommand(revision)
		}
		cause := backend.StableMessage(condition.Message)
		switch {
		case failure.Reason == pods.ReasonDeadline:
			cause = pods.DeadlineMessage(revision.Annotations[serving.ProgressDeadlineAnnotationKey])
		case condition.Message == "":
			cause = condition.Reason
		}
		failure.Message = fmt.Sprintf("%s: %s%s", what, strings.TrimSuffix(cause, "."), next)
		return failure
	}
	return nil
}

func retryHint(revision *servingv1.Revision) string {
	return "; it is tried again, after a pause that grows with each failure" + retryCommand(revision)
}

func retryCommand(revision *servingv1.Revision) string {
	return fmt.Sprintf(", and at once with: kubectl delete revisions.serving.knative.dev -n %s %s", revision.Namespace, revision.Name)
}

// registryUnavailable matches the errors of a registry that is unreachable or overloaded.
var registryUnavailable = regexp.MustCompile(`(?i)timeout|deadline exceeded|connection refused|connection reset|no such host|EOF|TOOMANYREQUESTS|status code (429|5\d\d)`)

// mayComeUp reports whether a revision failed only because a registry does not respond. Knative
// sets no deadline for this, so the revision's own progress deadline applies.
func (c *children) mayComeUp(n rollout.Number, condition *apis.Condition) bool {
	revision := c.knativeRevisions[n]
	return isUnresolved(revision) && registryUnavailable.MatchString(condition.Message) && c.now.Before(resolveDeadline(revision))
}

func resolveDeadline(revision *servingv1.Revision) time.Time {
	_, value, _ := serving.ProgressDeadlineAnnotation.Get(revision.Annotations)
	deadline, err := time.ParseDuration(value)
	if err != nil {
		deadline = knativeDeadline
	}
	return revision.CreationTimestamp.Add(deadline)
}

// knativeDeadline is Knative's default progress deadline.
const knativeDeadline = 10 * time.Minute

// wakeAt returns the next time at which the observation changes without an event; zero if there is
// none.
func (c *children) wakeAt() time.Time {
	var wake time.Time
	for n, revision := range c.knativeRevisions {
		at := time.Time{}
		switch {
		case c.isGivenUp(n):
			at = c.Retry(n).NotBefore
		case revision.IsFailed() && isUnresolved(revision):
			at = resolveDeadline(revision)
		}
		if at.After(c.now) && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	return wake
}

func reasonOf(reason string) string {
	switch {
	case reason == servingv1.ReasonContainerMissing, reason == "ErrImagePull", reason == "ImagePullBackOff":
		return pods.ReasonImagePull
	case strings.HasPrefix(reason, "ExitCode"), reason == "CrashLoopBackOff":
		return pods.ReasonCrash
	case reason == servingv1.ReasonProgressDeadlineExceeded:
		return pods.ReasonDeadline
	case reason == corev1.PodReasonUnschedulable:
		return pods.ReasonUnschedulable
	case reason == "FailedCreate":
		return pods.ReasonPodsRefused
	}
	return reasonFailed
}
