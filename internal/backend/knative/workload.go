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

// workload is what a revision runs; nil where it runs nothing. A revision that the traffic names runs, even with no
// replicas: it comes up with a request.
func (c *children) workload(isvc *v1beta1.InferenceService, n rollout.Number) *rollout.Workload {
	made := c.made[n]
	if made == nil {
		if c.casts(isvc, n) {
			return &rollout.Workload{Failed: c.castingFailure() != nil}
		}
		return nil
	}
	workload := &rollout.Workload{
		Ready:     c.capacity(isvc, n),
		Leaving:   c.isLeaving(isvc, n),
		Replicas:  desiredReplicas(made, len(c.pods[n])),
		Pods:      len(c.pods[n]),
		IdleSince: c.idleSince(isvc, n),
		Failed:    c.detail(n).Failure != nil,

		ReadySince: pods.ReadySince(c.pods[n]),
	}
	if made.IsReady() && !c.isNamed(isvc, n) && workload.Pods == 0 && workload.Replicas == 0 {
		return nil
	}
	return workload
}

// desiredReplicas is what the autoscaler asks for. Until it has looked, what is there is what is wanted.
func desiredReplicas(made *servingv1.Revision, found int) int {
	if desired := made.Status.DesiredReplicas; desired != nil {
		return int(*desired)
	}
	return found
}

// isScaledByHPA reports whether a HorizontalPodAutoscaler scales a revision.
func (c *children) isScaledByHPA(n rollout.Number) bool {
	made := c.made[n]
	if made == nil {
		return false
	}
	_, class, _ := autoscaling.ClassAnnotation.Get(made.Annotations)
	return class == autoscaling.HPA
}

// isGivenUp reports whether Knative has failed to bring a revision up and has scaled it to zero. An image that it cannot
// resolve it asks the registry for again by itself, with growing pauses.
func (c *children) isGivenUp(n rollout.Number) bool {
	made := c.made[n]
	if made == nil || made.DeletionTimestamp != nil || !made.IsFailed() || len(c.pods[n]) > 0 {
		return false
	}
	desired := made.Status.DesiredReplicas
	return desired != nil && *desired == 0 && !isUnresolved(made)
}

// isUnresolved reports whether Knative cannot find out which image a revision runs. Nothing of it runs then.
func isUnresolved(made *servingv1.Revision) bool {
	condition := made.Status.GetCondition(servingv1.RevisionConditionContainerHealthy)
	return condition.IsFalse() && condition.Reason == servingv1.ReasonContainerMissing
}

// casts tells whether the template of the Knative Service asks for this revision.
func (c *children) casts(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	return c.service != nil && c.service.Spec.Template.Name == backend.RevisionName(isvc.Name, n)
}

// isReady tells whether Knative lets a Route name the revision.
func (c *children) isReady(n rollout.Number) bool { return c.made[n] != nil && c.made[n].IsReady() }

// isNamed tells whether a request could be sent to a revision: the Knative Service names it, or is not yet seen not to.
func (c *children) isNamed(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	name := backend.RevisionName(isvc.Name, n)
	return slices.ContainsFunc(slices.Concat(c.service.Spec.Traffic, c.service.Status.Traffic), func(target servingv1.TrafficTarget) bool {
		return target.RevisionName == name
	})
}

// capacity is how many replicas of a revision can serve. One that has requests keeps them as long as any replica is
// ready. One that is to get some must be what its autoscaler calls active, with its least replicas ready: Knative itself
// would send requests to one below its initial scale. Where the least is none, a revision that could come up, or is coming
// up, can serve: to start cold is what the user asked for, and Knative keeps the requests until then.
func (c *children) capacity(isvc *v1beta1.InferenceService, n rollout.Number) int {
	made, ready := c.made[n], pods.CountReady(c.pods[n])
	least := leastReplicas(made)
	switch {
	case !made.IsReady():
		return 0
	case least == 0 && ready == 0 && c.isCold(n):
		return 1
	case c.serves(isvc, n):
		return ready
	case ready < least, !c.isActive(n):
		return 0
	}
	return ready
}

// isCold reports whether a revision is scaled to zero, or on its way there or back, and is not overdue.
func (c *children) isCold(n rollout.Number) bool {
	detail := c.detail(n)
	overdue := slices.ContainsFunc(detail.Pending, func(pending backend.Pending) bool { return !c.now.Before(pending.From) })
	return pods.AreCold(c.pods[n]) && detail.Failure == nil && !overdue
}

// isActive reports whether the autoscaler of a revision has the replicas that it wants. The Revision reports this, too,
// but seconds later where Knative is busy: a revision that was given traffic then was being scaled to zero, and requests
// waited for it to start. The generation that it reports on does not matter: an autoscaler that has just learned of a route
// wants no fewer replicas.
func (c *children) isActive(n rollout.Number) bool {
	scaler := c.scalers[n]
	return scaler != nil && scaler.Status.IsActive()
}

// isLeaving tells whether Knative takes the pods of a revision down, which look ready for a moment longer.
func (c *children) isLeaving(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	return len(c.pods[n]) > 0 && !c.serves(isvc, n) && !c.isKept(isvc, n)
}

// serves tells whether a revision is to get requests, and does.
func (c *children) serves(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	served := slices.ContainsFunc(c.service.Status.Traffic, func(target servingv1.TrafficTarget) bool {
		return target.RevisionName == backend.RevisionName(isvc.Name, n) && percentOf(target) > 0
	})
	return served && readTraffic(isvc, c.service).percent(n) > 0
}

// isKept tells whether Knative keeps the pods of a revision: a Route names it, or none has done so yet, and its
// autoscaler has heard of it.
func (c *children) isKept(isvc *v1beta1.InferenceService, n rollout.Number) bool {
	if scaler := c.scalers[n]; scaler == nil || scaler.Spec.Reachability == autoscalingv1alpha1.ReachabilityUnreachable {
		return false
	}
	switch c.made[n].GetRoutingState() {
	case servingv1.RoutingStateReserve:
		return false
	case servingv1.RoutingStateActive:
		return readTraffic(isvc, c.service).names(n)
	default:
		return true
	}
}

// leastReplicas are those that Knative keeps of a revision that can be reached; 0 where it may go down to none.
func leastReplicas(made *servingv1.Revision) int {
	_, value, _ := autoscaling.MinScaleAnnotation.Get(made.Annotations)
	least := 0
	if _, err := fmt.Sscan(value, &least); err != nil {
		return 0
	}
	return least
}

// idleSince is since when no Route names a revision, which Knative keeps on it. One that no Route has ever named is idle
// from the start.
func (c *children) idleSince(isvc *v1beta1.InferenceService, n rollout.Number) time.Time {
	made := c.made[n]
	if c.isNamed(isvc, n) {
		return time.Time{}
	}
	switch made.GetRoutingState() {
	case servingv1.RoutingStateReserve:
		return made.GetRoutingStateModified()
	case servingv1.RoutingStatePending:
		return made.CreationTimestamp.Time
	default:
		return time.Time{}
	}
}

// detail is what the pods of a revision say of it, and where they say nothing of a failure, what Knative says.
func (c *children) detail(n rollout.Number) backend.Revision {
	made := c.made[n]
	if made == nil {
		detail := backend.Revision{State: v1beta1.Pending, Failure: c.castingFailure()}
		if detail.Failure != nil {
			detail.State = v1beta1.FailedToLoad
		}
		return detail
	}
	detail := pods.Detail(c.pods[n], loadDeadline(made), c.revisionFailures(n)...)
	if made.IsReady() && leastReplicas(made) == 0 && len(c.pods[n]) == 0 {
		detail.State = v1beta1.Standby
	}
	return detail
}

// castingFailure is why Knative does not make the revision that the template asks for.
func (c *children) castingFailure() *backend.Failure {
	condition := c.service.Status.GetCondition(servingv1.ServiceConditionConfigurationsReady)
	if c.service.Status.ObservedGeneration != c.service.Generation || !condition.IsFalse() {
		return nil
	}
	return &backend.Failure{
		Reason:  reasonNotMade,
		Message: fmt.Sprintf("Knative cannot make the revision: %s", backend.StableMessage(condition.Message)),
		Time:    condition.LastTransitionTime.Inner.Time,
	}
}

// Reasons of failures that are Knative's own, in the conditions.
const (
	reasonNotMade = "RevisionNotMade"
	reasonGivenUp = "RevisionFailed"
)

// FailureReasons lists the reasons for which a revision can fail, beside those of its pods.
func FailureReasons() []string { return []string{reasonNotMade, reasonGivenUp} }

// loadDeadline is how long Knative gives a pod of a revision to become ready; 0 where it does not say.
func loadDeadline(made *servingv1.Revision) time.Duration {
	deadline, err := time.ParseDuration(made.Annotations[serving.ProgressDeadlineAnnotationKey])
	if err != nil {
		return 0
	}
	return deadline
}

// revisionFailures returns why Knative calls a revision failed. Knative does so as soon as a pod has to wait for a node or
// has ended once, and by a deadline that counts from when the revision was created. So what it says of pods is void where
// the pods keep the time themselves, and what may resolve by itself counts only after the deadline.
func (c *children) revisionFailures(n rollout.Number) []backend.Pending {
	made := c.made[n]
	failure := c.revisionFailure(n)
	if failure == nil || pods.KeepTime(c.pods[n]) && failure.Reason != reasonGivenUp {
		return nil
	}
	pending := backend.Pending{Failure: *failure}
	switch {
	case isUnresolved(made):
	case failure.Reason == pods.ReasonUnschedulable && !c.isGivenUp(n), failure.Reason == pods.ReasonPodsRefused,
		failure.Reason == pods.ReasonImagePull && pods.IsTransient(failure.Message):
		pending.From = made.CreationTimestamp.Add(loadDeadline(made))
		pending.Failure.Message = strings.Replace(strings.TrimSuffix(failure.Message, triedAgain(made)), "Knative has given up", "Knative reports", 1)
	}
	return []backend.Pending{pending}
}

// revisionFailure is why Knative calls a revision failed; nil where it does not, or may yet bring it up by itself.
func (c *children) revisionFailure(n rollout.Number) *backend.Failure {
	made := c.made[n]
	if !made.IsFailed() {
		return nil
	}
	for _, kind := range []apis.ConditionType{servingv1.RevisionConditionContainerHealthy, servingv1.RevisionConditionResourcesAvailable} {
		condition := made.Status.GetCondition(kind)
		if !condition.IsFalse() {
			continue
		}
		if c.mayComeUp(n, condition) {
			return nil
		}
		failure := &backend.Failure{Reason: reasonOf(condition.Reason), Time: condition.LastTransitionTime.Inner.Time}
		what, next := "Knative has given up", triedAgain(made)
		if isUnresolved(made) {
			what, next = "Knative cannot find the image", "; Knative tries again by itself, with growing pauses"+atOnce(made)
		}
		cause := backend.StableMessage(condition.Message)
		switch {
		case failure.Reason == pods.ReasonDeadline:
			cause = pods.Overdue(made.Annotations[serving.ProgressDeadlineAnnotationKey])
		case condition.Message == "":
			cause = condition.Reason
		}
		failure.Message = fmt.Sprintf("%s: %s%s", what, strings.TrimSuffix(cause, "."), next)
		return failure
	}
	return nil
}

func triedAgain(made *servingv1.Revision) string {
	return "; it is tried again, after a pause that grows with each failure" + atOnce(made)
}

func atOnce(made *servingv1.Revision) string {
	return fmt.Sprintf(", and at once with: kubectl delete revisions.serving.knative.dev -n %s %s", made.Namespace, made.Name)
}

// passing matches what a registry that cannot be reached, or has too much to do, is reported with.
var passing = regexp.MustCompile(`(?i)timeout|deadline exceeded|connection refused|connection reset|no such host|EOF|TOOMANYREQUESTS|status code (429|5\d\d)`)

// mayComeUp reports whether Knative calls a revision failed because a registry does not answer, which has no deadline of
// Knative's: it may end by itself until the revision's deadline.
func (c *children) mayComeUp(n rollout.Number, condition *apis.Condition) bool {
	made := c.made[n]
	return isUnresolved(made) && passing.MatchString(condition.Message) && c.now.Before(resolveDeadline(made))
}

// resolveDeadline is when an image must have been found.
func resolveDeadline(made *servingv1.Revision) time.Time {
	_, value, _ := serving.ProgressDeadlineAnnotation.Get(made.Annotations)
	deadline, err := time.ParseDuration(value)
	if err != nil {
		deadline = knativeDeadline
	}
	return made.CreationTimestamp.Add(deadline)
}

// knativeDeadline is Knative's progress-deadline by default.
const knativeDeadline = 10 * time.Minute

// wakeAt is the next moment at which a revision is treated differently with time alone.
func (c *children) wakeAt() time.Time {
	var wake time.Time
	for n, made := range c.made {
		at := time.Time{}
		switch {
		case c.isGivenUp(n):
			at = c.Retry(n).NotBefore
		case made.IsFailed() && isUnresolved(made):
			at = resolveDeadline(made)
		}
		if at.After(c.now) && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	return wake
}

// reasonOf is our word for a reason of Knative's.
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
	return reasonGivenUp
}
