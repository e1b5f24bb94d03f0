// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Reasons of conditions. The backend provides the reasons for failed revisions, and the gateway
// those for refused routes.
const (
	ReasonReady               = "Ready"
	ReasonStopped             = "Stopped"
	ReasonRunning             = "Running"
	ReasonLoading             = "Loading"
	ReasonNoRevisionReady     = "NoRevisionReady"
	ReasonWaitingForReplicas  = "WaitingForReplicas"
	ReasonWaitingForGateway   = "WaitingForGateway"
	ReasonNothingToRollBackTo = "NothingToRollBackTo"
	ReasonRevisionLost        = "RevisionLost"
	ReasonNotObserved         = "NotObserved"
	ReasonStopping            = "Stopping"
	ReasonReplicasOverdue     = "ReplicasOverdue"
	ReasonReplacing           = "Replacing"
	ReasonReplacementFailed   = "ReplacementFailed"
	ReasonHeldBack            = "ExternalAutoscalerHoldsBack"
	ReasonChangedByOthers     = "ChangedByAnotherWriter"
	ReasonNoEffect            = "NoEffect"
)

// condition is a condition without its type, generation and transition time.
type condition struct {
	status          metav1.ConditionStatus
	reason, message string
}

func conditionTrue(reason, message string, args ...any) condition {
	return condition{metav1.ConditionTrue, reason, fmt.Sprintf(message, args...)}
}

func conditionFalse(reason, message string, args ...any) condition {
	return condition{metav1.ConditionFalse, reason, fmt.Sprintf(message, args...)}
}

func conditionUnknown(reason, message string, args ...any) condition {
	return condition{metav1.ConditionUnknown, reason, fmt.Sprintf(message, args...)}
}

// conditions computes all conditions. SettingsIgnored exists only if a setting has no effect.
func (r *reporter) conditions() []metav1.Condition {
	latest := r.problemOr(v1beta1.ConditionLatestDeploymentReady, r.latestDeploymentReady)
	if r.Problem == nil {
		latest.message += r.scalingNote()
	}
	predictorReady := r.problemOr(v1beta1.ConditionPredictorReady, func() condition { return r.predictorReady(latest) })
	routes := r.problemOr(v1beta1.ConditionRoutesReady, r.routesReady)
	ingress := r.problemOr(v1beta1.ConditionIngressReady, r.ingressReady)
	predictorReady = r.withContests(predictorReady, false)
	routes = r.withContests(routes, true)
	conditions := []metav1.Condition{
		r.newCondition(v1beta1.ConditionPredictorReady, predictorReady),
		r.newCondition(v1beta1.ConditionLatestDeploymentReady, latest),
		r.newCondition(v1beta1.ConditionRoutesReady, routes),
		r.newCondition(v1beta1.ConditionIngressReady, ingress),
		r.newCondition(v1beta1.ConditionStopped, r.stoppedCondition()),
		r.newCondition(v1beta1.ConditionReady, r.readyCondition(predictorReady, routes, ingress)),
	}
	if len(r.Ignored) > 0 {
		conditions = append(conditions, r.newCondition(v1beta1.ConditionSettingsIgnored, conditionTrue(ReasonNoEffect, "%s", listIgnored(r.Ignored))))
	}
	return conditions
}

// listIgnored names as many settings without effect as fit into a message.
func listIgnored(ignored []predictor.Problem) string {
	message := ""
	for i, problem := range ignored {
		item := problem.String()
		if i > 0 {
			item = "; " + item
		}
		rest := ""
		if more := len(ignored) - i; more > 0 {
			rest = fmt.Sprintf("; and %d more", more)
		}
		if len(message)+len(item)+len(rest) > messageLimit {
			return strings.TrimPrefix(message+rest, "; ")
		}
		message += item
	}
	return message
}

func (r *reporter) newCondition(kind string, c condition) metav1.Condition {
	for _, notice := range r.Notices {
		if notice.Condition == kind && c.status == metav1.ConditionTrue {
			c.reason, c.message = notice.Reason, c.message+"; "+notice.Message
		}
	}
	return metav1.Condition{
		Type: kind, Status: c.status, Reason: validReason(c.reason), Message: truncate(c.message),
		ObservedGeneration: r.InferenceService.Generation,
	}
}

// problemOr returns a condition for the problem of this type, if there is one. It calls otherwise
// only for a service that has been observed and is not stopped.
func (r *reporter) problemOr(kind string, otherwise func() condition) condition {
	if r.Problem != nil && r.Problem.Condition == kind {
		return conditionFalse(r.Problem.Reason, "%s", r.Problem.Message)
	}
	if r.Observed == nil {
		return conditionUnknown(ReasonNotObserved, "see the other conditions")
	}
	if r.stopped() {
		return conditionFalse(ReasonStopped, "stopped by the annotation %s; remove it to start again", v1beta1.AnnotationStop)
	}
	return otherwise()
}

// withContests adds the writers that keep changing what the operator writes: to the routes, or to
// the other objects. A split that is not served while its route is contested makes RoutesReady
// False, because that does not resolve itself.
func (r *reporter) withContests(c condition, ofRoutes bool) condition {
	if r.Observed == nil || c.status == metav1.ConditionFalse {
		return c
	}
	var contests []string
	for _, contest := range r.Outcome.Contests {
		if kind, _, _ := strings.Cut(contest.Kind, "."); (kind == "HTTPRoute" || kind != contest.Kind && kind == "Service") == ofRoutes {
			contests = append(contests, describeContest(contest))
		}
	}
	if len(contests) == 0 {
		return c
	}
	slices.Sort(contests)
	if ofRoutes && c.status == metav1.ConditionUnknown {
		c.status = metav1.ConditionFalse
	}
	return condition{c.status, ReasonChangedByOthers, c.message + "; " + strings.Join(slices.Compact(contests), "; ")}
}

func describeContest(contest backend.Contest) string {
	if contest.Field == "" {
		return fmt.Sprintf("%s %q does not stay as the operator writes it: %s", contest.Kind, contest.Name, contest.Writer)
	}
	return fmt.Sprintf("%s of %s %q is changed each time by %s; the operator writes it again after growing pauses",
		contest.Field, contest.Kind, contest.Name, contest.Writer)
}

// latestDeploymentReady reports on the target.
func (r *reporter) latestDeploymentReady() condition {
	name, waiting := r.rollout.Target, r.rollout.Waiting
	if name == "" {
		return conditionUnknown(ReasonLoading, "there is no revision yet")
	}
	switch failure := r.failing(name); {
	case failure != nil && failure.Reason == ReasonReplacementFailed:
		return conditionFalse(failure.Reason, "%s %s", name, failure.Message)
	case waiting != nil && waiting.Revision == name && waiting.ReadyReplicas > 0:
		needs := fmt.Sprintf("%s needs %s", name, readyReplicas(waiting.NeededReplicas))
		switch {
		case failure != nil:
			return conditionFalse(failure.Reason, "%s: %s", needs, failure.Message)
		case waiting.Overdue:
			return conditionFalse(ReasonReplicasOverdue, "%s, which did not become ready within the progress deadline", needs)
		}
		return conditionUnknown(ReasonWaitingForReplicas, "%s%s", needs, r.stage(r.Decision.Target))
	case r.ready(r.Decision.Target) > 0:
		return conditionTrue(ReasonReady, "%s is ready", name)
	case failure != nil:
		return conditionFalse(failure.Reason, "%s: %s", name, failure.Message)
	}
	return conditionUnknown(ReasonLoading, "%s is being brought up%s", name, r.stage(r.Decision.Target))
}

// stage says what a starting revision waits for, and its deadline.
func (r *reporter) stage(n rollout.Number) string {
	detail := r.Observed.Details[n]
	switch {
	case detail.Stage == "":
		return ""
	case detail.LoadDeadline == 0:
		return ": " + detail.Stage
	}
	return fmt.Sprintf(": %s; it has to become ready within %s of being scheduled", detail.Stage, detail.LoadDeadline)
}

// predictorReady reports on the target and on every other revision with traffic.
func (r *reporter) predictorReady(latest condition) condition {
	var all []condition
	for _, share := range r.Decision.Served.Shares() {
		if share.Percent > 0 && r.ready(share.Revision) == 0 && share.Revision != r.Decision.Target {
			all = append(all, r.unreadyCondition(share))
		}
	}
	return mostSevere(append(all, latest)...)
}

// unreadyCondition reports on a revision other than the target that has traffic and cannot serve.
func (r *reporter) unreadyCondition(share rollout.Share) condition {
	name := r.revision(share.Revision)
	switch failure := r.failing(name); {
	case failure == nil:
		return conditionUnknown(ReasonLoading, "%s, which has %d %% of the traffic, has no ready replica%s", name, share.Percent, r.stage(share.Revision))
	case failure.Reason == ReasonRevisionLost:
		return conditionFalse(failure.Reason,
			"%s, which has %d %% of the traffic, is lost: its ControllerRevision and its Deployment were deleted; remove canaryTrafficPercent to promote %s",
			name, share.Percent, r.rollout.Target)
	default:
		return conditionFalse(failure.Reason, "%s, which has %d %% of the traffic, has no ready replica: %s", name, share.Percent, failure.Message)
	}
}

// isLost reports whether a revision has neither an entry in the revision history nor a workload.
func (r *reporter) isLost(n rollout.Number) bool {
	return !slices.ContainsFunc(r.Snapshot.Revisions, func(revision rollout.Revision) bool {
		return revision.Number == n && (revision.InHistory || revision.Workloads[rollout.Predictor] != nil)
	})
}

// routesReady reports whether clients get the desired split.
func (r *reporter) routesReady() condition {
	state, waiting := r.Decision.State, r.rollout.Waiting
	switch {
	case state == nil:
		return conditionUnknown(ReasonNoRevisionReady, "no revision has been ready yet")
	case r.nothingToUndo():
		return conditionFalse(ReasonNothingToRollBackTo,
			"canaryTrafficPercent asks to undo the promotion of %s, but no earlier revision is left; %s. Remove canaryTrafficPercent, or apply the earlier model again",
			r.revision(state.Stable), r.describeServed())
	case r.replacement() == rollout.Replacing:
		return conditionUnknown(ReasonReplacing, "%s is down so that %s can have its node: the deploymentStrategy allows it",
			r.revision(state.Stable), r.revision(r.Decision.Target))
	case r.replacement() == rollout.ReplacementFailed:
		return conditionFalse(ReasonReplacementFailed, "%s did not become ready in the place of %s; %s. Change the spec to try again",
			r.revision(r.Decision.Target), r.revision(state.Stable), r.describeServed())
	case r.Decision.HeldBack != nil:
		return r.heldBack(*r.Decision.HeldBack)
	case waiting != nil:
		return r.waitingCondition(*waiting)
	case r.Decision.Programmed:
		return conditionTrue(ReasonReady, "%s%s", r.describeServed(), r.previewNote(*state))
	case r.Observed.RouteStatus.Refused:
		return conditionFalse(r.Observed.RouteStatus.Reason, "%s", r.Observed.RouteStatus.Message)
	default:
		return conditionUnknown(ReasonWaitingForGateway, "waiting for the gateway to serve %s", r.describe(state.Split))
	}
}

func (r *reporter) replacement() rollout.Replacement {
	if r.Decision.State == nil {
		return ""
	}
	return r.Decision.State.Replacement
}

func (r *reporter) heldBack(held rollout.HeldBack) condition {
	return conditionFalse(ReasonHeldBack, "Deployment %s-deployment needs %s, and an external autoscaler has lowered them three times; let the autoscaler keep at least %d; until then %s",
		r.revision(held.Revision), replicas(held.Replicas), held.Replicas, r.describeServed())
}

// previewNote says how to undo the promotion of the stable. A percent of 0 together with another
// model does not do that: it is a preview.
func (r *reporter) previewNote(state rollout.State) string {
	if r.Decision.Phase != rollout.Preview || state.Previous == 0 {
		return ""
	}
	stable, previous := r.revision(state.Stable), r.revision(state.Previous)
	if state.Previous == r.Decision.Target {
		return fmt.Sprintf(": a preview of %s, and no rollback; to undo the promotion of %s, remove canaryTrafficPercent", previous, stable)
	}
	return fmt.Sprintf(": a preview of %s, and no rollback; to undo the promotion of %s, apply the spec of %s without canaryTrafficPercent",
		r.revision(r.Decision.Target), stable, previous)
}

func (r *reporter) waitingCondition(waiting v1beta1.WaitingShare) condition {
	name, needed := waiting.Revision, readyReplicas(waiting.NeededReplicas)
	switch failure := r.failing(name); {
	case failure != nil && failure.Reason == ReasonRevisionLost:
		return conditionFalse(failure.Reason,
			"%s cannot get %d %% of the traffic: %s; until then %s. To promote %s: kubectl patch isvc -n %s %s --type=merge -p '{\"spec\":{\"predictor\":{\"canaryTrafficPercent\":null}}}'",
			name, waiting.Share, failure.Message, r.describeServed(), r.rollout.Target, r.InferenceService.Namespace, r.name)
	case failure != nil && r.Snapshot.Desired.Hash != "":
		return conditionFalse(failure.Reason, "%s cannot get %d %% of the traffic: %s; until then %s", name, waiting.Share, failure.Message, r.describeServed())
	case waiting.Overdue:
		return conditionFalse(ReasonReplicasOverdue, "%s gets %d %% of the traffic once it has %s, which did not become ready within the progress deadline; see its pods with: kubectl get pods -n %s -l %s=%s; until then %s",
			name, waiting.Share, needed, r.InferenceService.Namespace, v1beta1.LabelRevision, name, r.describeServed())
	}
	return conditionUnknown(ReasonWaitingForReplicas, "%s gets %d %% of the traffic once it has %s; until then %s", name, waiting.Share, needed, r.describeServed())
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

func readyReplicas(n int32) string {
	if n == 1 {
		return "1 ready replica"
	}
	return fmt.Sprintf("%d ready replicas", n)
}

func (r *reporter) describeServed() string {
	if r.Decision.Served.IsEmpty() {
		return "no revision serves"
	}
	return r.describe(r.Decision.Served)
}

func (r *reporter) describe(split rollout.Split) string { return Words(r.name, split) }

// Words describes a split: «10 % on sklearn-iris-predictor-00002, 90 % on
// sklearn-iris-predictor-00001».
func Words(isvc string, split rollout.Split) string {
	var words []string
	for _, share := range split.Shares() {
		words = append(words, fmt.Sprintf("%d %% on %s", share.Percent, backend.RevisionName(isvc, share.Revision)))
	}
	return strings.Join(words, ", ")
}

// ingressReady reports whether the gateway has accepted the route.
func (r *reporter) ingressReady() condition {
	switch route := r.Observed.RouteStatus; {
	case route.Refused:
		return conditionFalse(route.Reason, "%s", route.Message)
	case r.Decision.State == nil:
		return conditionUnknown(ReasonNoRevisionReady, "there is no route until a revision is ready")
	case r.Decision.Programmed:
		return r.hostCondition()
	default:
		return conditionUnknown(ReasonWaitingForGateway, "%s", cmp.Or(r.Observed.RouteStatus.Message, "waiting for the gateway to accept the route"))
	}
}

// hostCondition says by which URL clients reach the predictor. A problem with the
// InferenceService's own host is reported, but IngressReady stays True.
func (r *reporter) hostCondition() condition {
	url := r.Observed.Addresses.URL
	if hostProblem := HostProblem(r.Report); hostProblem != nil {
		return conditionTrue(hostProblem.Reason, "the gateway serves %s, but not %s: %s", url, r.Observed.HostRoute.URL, hostProblem.Message)
	}
	reason, messages, remarks := "", []string{fmt.Sprintf("the gateway serves %s", url)}, r.Observed.RouteStatus.Remarks
	if hostRoute := r.Observed.HostRoute; hostRoute != nil {
		if !hostRoute.Open {
			return conditionTrue(ReasonReady, "the gateway serves %s, and has yet to accept the route of %s", url, hostRoute.URL)
		}
		remarks = hostRoute.Route.Remarks
		if hostRoute.Route.Message != "" {
			messages = append(messages, hostRoute.Route.Message)
		}
	}
	for _, remark := range remarks {
		reason = cmp.Or(reason, remark.Reason)
		messages = append(messages, remark.Message)
	}
	return conditionTrue(cmp.Or(reason, ReasonReady), "%s", strings.Join(messages, "; "))
}

// HostProblem returns why the gateway does not serve the InferenceService's own host, while the
// predictor's URL works. It is nil if there is no problem, or if the host route is only pending.
func HostProblem(report Report) *Problem {
	if report.Observed == nil || report.Observed.HostRoute == nil {
		return nil
	}
	if report.HostProblem != nil {
		return report.HostProblem
	}
	if route := report.Observed.HostRoute.Route; route.Refused {
		return &Problem{Condition: v1beta1.ConditionIngressReady, Reason: route.Reason, Message: route.Message}
	}
	return nil
}

func (r *reporter) stoppedCondition() condition {
	switch {
	case r.Observed == nil:
		return conditionUnknown(ReasonNotObserved, "see the other conditions")
	case r.Decision.Phase == rollout.Stopping && !r.Decision.Programmed && r.Decision.State != nil:
		return conditionUnknown(ReasonStopping, "the pods go once the gateway sends no more requests")
	case r.Decision.Phase == rollout.Stopping:
		return conditionUnknown(ReasonStopping, "the pods finish their requests and go")
	case r.stopped():
		return conditionTrue(ReasonStopped, "stopped by the annotation %s", v1beta1.AnnotationStop)
	default:
		return conditionFalse(ReasonRunning, "not stopped")
	}
}

// readyCondition summarizes the other conditions.
func (r *reporter) readyCondition(predictorReady, routes, ingress condition) condition {
	if r.Problem != nil && r.Problem.Condition == v1beta1.ConditionReady {
		return conditionFalse(r.Problem.Reason, "%s", r.Problem.Message)
	}
	if severe := mostSevere(predictorReady, routes, ingress); severe.status != metav1.ConditionTrue {
		return severe
	}
	return conditionTrue(ReasonReady, "%s", routes.message)
}

// mostSevere returns the first condition that is False, else the first that is Unknown, else the
// last.
func mostSevere(all ...condition) condition {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, c := range all {
			if c.status == status {
				return c
			}
		}
	}
	return all[len(all)-1]
}
