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

// Reasons of conditions. Those of failed revisions come from the backend, and those of refused routes from the gateway.
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

// verdict is what one condition says.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, message string, args ...any) verdict {
	return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(message, args...)}
}

func no(reason, message string, args ...any) verdict {
	return verdict{metav1.ConditionFalse, reason, fmt.Sprintf(message, args...)}
}

func notYet(reason, message string, args ...any) verdict {
	return verdict{metav1.ConditionUnknown, reason, fmt.Sprintf(message, args...)}
}

// conditions computes all conditions. Ready sums the others up, but for SettingsIgnored, which is there only where needed.
func (r *reporter) conditions() []metav1.Condition {
	latest := r.verdict(v1beta1.ConditionLatestDeploymentReady, r.latestDeploymentReady)
	if r.Problem == nil {
		latest.message += r.rescaled()
	}
	predictorReady := r.verdict(v1beta1.ConditionPredictorReady, func() verdict { return r.predictorReady(latest) })
	routes := r.verdict(v1beta1.ConditionRoutesReady, r.routesReady)
	ingress := r.verdict(v1beta1.ConditionIngressReady, r.ingressReady)
	predictorReady = r.contested(predictorReady, false)
	routes = r.contested(routes, true)
	conditions := []metav1.Condition{
		r.condition(v1beta1.ConditionPredictorReady, predictorReady),
		r.condition(v1beta1.ConditionLatestDeploymentReady, latest),
		r.condition(v1beta1.ConditionRoutesReady, routes),
		r.condition(v1beta1.ConditionIngressReady, ingress),
		r.condition(v1beta1.ConditionStopped, r.stoppedCondition()),
		r.condition(v1beta1.ConditionReady, r.readyVerdict(predictorReady, routes, ingress)),
	}
	if len(r.Ignored) > 0 {
		conditions = append(conditions, r.condition(v1beta1.ConditionSettingsIgnored, yes(ReasonNoEffect, "%s", listIgnored(r.Ignored))))
	}
	return conditions
}

// listIgnored names each setting that has no effect, as far as the message has room.
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

func (r *reporter) condition(kind string, v verdict) metav1.Condition {
	for _, notice := range r.Notices {
		if notice.Condition == kind && v.status == metav1.ConditionTrue {
			v.reason, v.message = notice.Reason, v.message+"; "+notice.Message
		}
	}
	return metav1.Condition{
		Type: kind, Status: v.status, Reason: validReason(v.reason), Message: shortened(v.message),
		ObservedGeneration: r.InferenceService.Generation,
	}
}

// verdict puts a problem before what would be said otherwise. Without an observation there is nothing else to say.
func (r *reporter) verdict(kind string, otherwise func() verdict) verdict {
	if r.Problem != nil && r.Problem.Condition == kind {
		return no(r.Problem.Reason, "%s", r.Problem.Message)
	}
	if r.Observed == nil {
		return notYet(ReasonNotObserved, "see the other conditions")
	}
	if r.stopped() {
		return no(ReasonStopped, "stopped by the annotation %s; remove it to start again", v1beta1.AnnotationStop)
	}
	return otherwise()
}

// contested names the writers that keep changing what the operator writes: to what splits the traffic, or to other objects.
// A split that is not served because of that is not on its way.
func (r *reporter) contested(v verdict, ofRoutes bool) verdict {
	if r.Observed == nil || v.status == metav1.ConditionFalse {
		return v
	}
	var found []string
	for _, contest := range r.Outcome.Contests {
		if kind, _, _ := strings.Cut(contest.Kind, "."); (kind == "HTTPRoute" || kind != contest.Kind && kind == "Service") == ofRoutes {
			found = append(found, contestWords(contest))
		}
	}
	if len(found) == 0 {
		return v
	}
	slices.Sort(found)
	if ofRoutes && v.status == metav1.ConditionUnknown {
		v.status = metav1.ConditionFalse
	}
	return verdict{v.status, ReasonChangedByOthers, v.message + "; " + strings.Join(slices.Compact(found), "; ")}
}

func contestWords(contest backend.Contest) string {
	if contest.Field == "" {
		return fmt.Sprintf("%s %q does not stay as the operator writes it: %s", contest.Kind, contest.Name, contest.Writer)
	}
	return fmt.Sprintf("%s of %s %q is changed each time by %s; the operator writes it again after growing pauses",
		contest.Field, contest.Kind, contest.Name, contest.Writer)
}

// latestDeploymentReady says whether the target can serve.
func (r *reporter) latestDeploymentReady() verdict {
	target := r.Decision.Target
	name := r.revision(target)
	if target == 0 {
		return notYet(ReasonLoading, "there is no revision yet")
	}
	if r.replacement() == rollout.ReplacementFailed {
		return no(ReasonReplacementFailed, "%s did not become ready in the place of %s, and is not tried again until the spec changes",
			name, r.revision(r.Decision.Record.Stable))
	}
	if waiting := r.Decision.Waiting; waiting != nil && waiting.Revision == target && waiting.Ready > 0 {
		if failure := r.obstacle(target); failure != nil {
			return no(failure.Reason, "%s needs %s: %s", name, readyReplicas(waiting.Need), failure.Message)
		}
		if waiting.Overdue {
			return no(ReasonReplicasOverdue, "%s needs %s, which did not become ready within the progress deadline", name, readyReplicas(waiting.Need))
		}
		return notYet(ReasonWaitingForReplicas, "%s needs %s%s", name, readyReplicas(waiting.Need), r.stage(target))
	}
	if r.ready(target) > 0 {
		return yes(ReasonReady, "%s is ready", name)
	}
	if failure := r.failure(target); failure != nil {
		return no(failure.Reason, "%s: %s", name, failure.Message)
	}
	return notYet(ReasonLoading, "%s is being brought up%s", name, r.stage(target))
}

// stage says what a revision waits for that is being brought up, and how long that may take.
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

// predictorReady says whether the target can serve, and everything that is in the traffic.
func (r *reporter) predictorReady(latest verdict) verdict {
	var all []verdict
	for _, share := range r.Decision.Served.Shares() {
		if share.Percent > 0 && r.ready(share.Revision) == 0 && share.Revision != r.Decision.Target {
			all = append(all, r.unreadyVerdict(share))
		}
	}
	return worst(append(all, latest)...)
}

// unreadyVerdict is about a revision that has traffic, is not the target and cannot serve.
func (r *reporter) unreadyVerdict(share rollout.Share) verdict {
	name := r.revision(share.Revision)
	if failure := r.failure(share.Revision); failure != nil {
		return no(failure.Reason, "%s, which has %d %% of the traffic, has no ready replica: %s", name, share.Percent, failure.Message)
	}
	if r.lost(share.Revision) {
		return no(ReasonRevisionLost,
			"%s, which has %d %% of the traffic, is lost: its ControllerRevision and its Deployment were deleted; remove canaryTrafficPercent to promote %s",
			name, share.Percent, r.revision(r.Decision.Target))
	}
	return notYet(ReasonLoading, "%s, which has %d %% of the traffic, has no ready replica%s", name, share.Percent, r.stage(share.Revision))
}

// lost tells whether nothing is left that a revision could be brought back from.
func (r *reporter) lost(n rollout.Number) bool {
	return !slices.ContainsFunc(r.Snapshot.Revisions, func(revision rollout.Revision) bool {
		return revision.Number == n && (revision.Recorded || revision.Workload != nil)
	})
}

// routesReady says whether clients get the split that is wanted.
func (r *reporter) routesReady() verdict {
	record, waiting := r.Decision.Record, r.Decision.Waiting
	switch {
	case record == nil:
		return notYet(ReasonNoRevisionReady, "no revision has been ready yet")
	case r.nothingToUndo():
		return no(ReasonNothingToRollBackTo,
			"canaryTrafficPercent asks to undo the promotion of %s, but no earlier revision is left; %s. Remove canaryTrafficPercent, or apply the earlier model again",
			r.revision(record.Stable), r.whoServes())
	case r.replacement() == rollout.Replacing:
		return notYet(ReasonReplacing, "%s is down so that %s can have its node: the deploymentStrategy allows it",
			r.revision(record.Stable), r.revision(r.Decision.Target))
	case r.replacement() == rollout.ReplacementFailed:
		return no(ReasonReplacementFailed, "%s did not become ready in the place of %s; %s. Change the spec to try again",
			r.revision(r.Decision.Target), r.revision(record.Stable), r.whoServes())
	case r.Decision.HeldBack != nil:
		return r.heldBack(*r.Decision.HeldBack)
	case waiting != nil:
		return r.waitingVerdict(*waiting)
	case r.Decision.Programmed:
		return yes(ReasonReady, "%s%s", r.whoServes(), r.previewNote(*record))
	case r.Observed.RouteStatus.Refused:
		return no(r.Observed.RouteStatus.Reason, "%s", r.Observed.RouteStatus.Message)
	default:
		return notYet(ReasonWaitingForGateway, "waiting for the gateway to serve %s", r.words(record.Split))
	}
}

// replacement is how far the target has taken the place of the stable.
func (r *reporter) replacement() rollout.Replacement {
	if r.Decision.Record == nil {
		return ""
	}
	return r.Decision.Record.Replacement
}

// heldBack says which object an external autoscaler keeps too small.
func (r *reporter) heldBack(held rollout.HeldBack) verdict {
	return no(ReasonHeldBack, "Deployment %s-deployment needs %s, and an external autoscaler has lowered them three times; let the autoscaler keep at least %d; until then %s",
		r.revision(held.Revision), replicas(held.Replicas), held.Replicas, r.whoServes())
}

// previewNote says how to undo the promotion of the stable, which a preview of another model does not do.
func (r *reporter) previewNote(record rollout.Record) string {
	if r.Decision.Phase != rollout.Preview || record.Previous == 0 {
		return ""
	}
	stable, previous := r.revision(record.Stable), r.revision(record.Previous)
	if record.Previous == r.Decision.Target {
		return fmt.Sprintf(": a preview of %s, and no rollback; to undo the promotion of %s, remove canaryTrafficPercent", previous, stable)
	}
	return fmt.Sprintf(": a preview of %s, and no rollback; to undo the promotion of %s, apply the spec of %s without canaryTrafficPercent",
		r.revision(r.Decision.Target), stable, previous)
}

func (r *reporter) waitingVerdict(waiting rollout.Waiting) verdict {
	name := r.revision(waiting.Revision)
	if r.lost(waiting.Revision) {
		return no(ReasonRevisionLost,
			"%s cannot get %d %% of the traffic: its ControllerRevision and its workload were deleted; until then %s. To promote %s: kubectl patch isvc -n %s %s --type=merge -p '{\"spec\":{\"predictor\":{\"canaryTrafficPercent\":null}}}'",
			name, waiting.Percent, r.whoServes(), r.revision(r.Decision.Target), r.InferenceService.Namespace, r.name)
	}
	if failure := r.obstacle(waiting.Revision); failure != nil && r.Snapshot.Wanted.Inputs != "" {
		return no(failure.Reason, "%s cannot get %d %% of the traffic: %s; until then %s", name, waiting.Percent, failure.Message, r.whoServes())
	}
	if waiting.Overdue {
		return no(ReasonReplicasOverdue, "%s gets %d %% of the traffic once it has %s, which did not become ready within the progress deadline; see its pods with: kubectl get pods -n %s -l %s=%s; until then %s",
			name, waiting.Percent, readyReplicas(waiting.Need), r.InferenceService.Namespace, v1beta1.LabelRevision, name, r.whoServes())
	}
	return notYet(ReasonWaitingForReplicas, "%s gets %d %% of the traffic once it has %s; until then %s",
		name, waiting.Percent, readyReplicas(waiting.Need), r.whoServes())
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

func readyReplicas(n int) string {
	if n == 1 {
		return "1 ready replica"
	}
	return fmt.Sprintf("%d ready replicas", n)
}

// whoServes is the split that clients get, in words.
func (r *reporter) whoServes() string {
	if r.Decision.Served.IsEmpty() {
		return "no revision serves"
	}
	return r.words(r.Decision.Served)
}

func (r *reporter) words(split rollout.Split) string { return Words(r.name, split) }

// Words is a split in words: «10 % on sklearn-iris-predictor-00002, 90 % on sklearn-iris-predictor-00001».
func Words(isvc string, split rollout.Split) string {
	var words []string
	for _, share := range split.Shares() {
		words = append(words, fmt.Sprintf("%d %% on %s", share.Percent, backend.RevisionName(isvc, share.Revision)))
	}
	return strings.Join(words, ", ")
}

// ingressReady says whether the gateway has the route.
func (r *reporter) ingressReady() verdict {
	switch route := r.Observed.RouteStatus; {
	case route.Refused:
		return no(route.Reason, "%s", route.Message)
	case r.Decision.Record == nil:
		return notYet(ReasonNoRevisionReady, "there is no route until a revision is ready")
	case r.Decision.Programmed:
		return r.reached()
	default:
		return notYet(ReasonWaitingForGateway, "%s", cmp.Or(r.Observed.RouteStatus.Message, "waiting for the gateway to accept the route"))
	}
}

// reached says by which URL clients reach the predictor. That it is not the InferenceService's own is no failure, and
// takes Ready from nobody; but users are told what is missing for it.
func (r *reporter) reached() verdict {
	url := r.Observed.Addresses.URL
	if detour := Detour(r.Report); detour != nil {
		return yes(detour.Reason, "the gateway serves %s, but not %s: %s", url, r.Observed.Entrance.URL, detour.Message)
	}
	reason, words, remarks := "", []string{fmt.Sprintf("the gateway serves %s", url)}, r.Observed.RouteStatus.Remarks
	if entrance := r.Observed.Entrance; entrance != nil {
		if !entrance.Open {
			return yes(ReasonReady, "the gateway serves %s, and has yet to accept the route of %s", url, entrance.URL)
		}
		remarks = entrance.Route.Remarks
		if entrance.Route.Message != "" {
			words = append(words, entrance.Route.Message)
		}
	}
	for _, remark := range remarks {
		reason = cmp.Or(reason, remark.Reason)
		words = append(words, remark.Message)
	}
	return yes(cmp.Or(reason, ReasonReady), "%s", strings.Join(words, "; "))
}

// Detour tells why clients reach a predictor by a URL of its own only; nil where they need not, or only for the moment.
func Detour(report Report) *Problem {
	if report.Observed == nil || report.Observed.Entrance == nil {
		return nil
	}
	if report.Detour != nil {
		return report.Detour
	}
	if route := report.Observed.Entrance.Route; route.Refused {
		return &Problem{Condition: v1beta1.ConditionIngressReady, Reason: route.Reason, Message: route.Message}
	}
	return nil
}

func (r *reporter) stoppedCondition() verdict {
	switch {
	case r.Observed == nil:
		return notYet(ReasonNotObserved, "see the other conditions")
	case r.Decision.Phase == rollout.Stopping && !r.Decision.Programmed && r.Decision.Record != nil:
		return notYet(ReasonStopping, "the pods go once the gateway sends no more requests")
	case r.Decision.Phase == rollout.Stopping:
		return notYet(ReasonStopping, "the pods finish their requests and go")
	case r.stopped():
		return yes(ReasonStopped, "stopped by the annotation %s", v1beta1.AnnotationStop)
	default:
		return no(ReasonRunning, "not stopped")
	}
}

// ready sums up.
func (r *reporter) readyVerdict(predictorReady, routes, ingress verdict) verdict {
	if r.Problem != nil && r.Problem.Condition == v1beta1.ConditionReady {
		return no(r.Problem.Reason, "%s", r.Problem.Message)
	}
	if sum := worst(predictorReady, routes, ingress); sum.status != metav1.ConditionTrue {
		return sum
	}
	return yes(ReasonReady, "%s", routes.message)
}

// worst picks the first of the worst: what is wrong comes before what is on its way. Of those that are well, it is the
// last.
func worst(all ...verdict) verdict {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, v := range all {
			if v.status == status {
				return v
			}
		}
	}
	return all[len(all)-1]
}
