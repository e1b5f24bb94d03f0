// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status tells users where a rollout stands: a pure function from what was observed and decided to the status
// of an InferenceService.
//
// The status is computed anew each time. Of the one before it keeps only what is about time: since when a condition
// holds, and which crash of a crash loop was reported first, for as long as the revision has not been ready since.
// Messages are functions of the state, without times or generated names, so that a problem which repeats itself writes
// nothing.
package status

import (
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Report is what a status is computed from.
type Report struct {
	// InferenceService is the object, with the status that it has now.
	InferenceService *v1beta1.InferenceService
	// Mode is how the predictor is run.
	Mode v1beta1.DeploymentMode
	// Observed and Decision are those of this pass; Observed is nil where nothing could be observed, and then what is
	// reported of revisions and traffic stays as it is.
	Observed *backend.Observation
	Snapshot rollout.Snapshot
	Decision rollout.Decision
	// Written is what has become of the decision.
	Outcome backend.Outcome
	// Problem is what only somebody else can mend; nil where there is none.
	Problem *Problem
	// Notices are what users must know and what keeps nothing from being served. Each is added to its condition while that
	// is True.
	Notices []backend.Finding
	// Detour is why the InferenceService could not be given its own host, while its predictor is reached by another; nil
	// where nothing kept it from that.
	Detour *Problem
	// Ignored is what the InferenceService has without effect.
	Ignored []predictor.Problem
}

// Problem is something that keeps the spec from being realised and that shows in neither pods nor routes.
type Problem struct {
	// Condition is the one that it makes False.
	Condition string
	// Reason is a word for the condition, Message says what is wrong and what to do.
	Reason, Message string
	// Failure is KServe's word for it; empty where the spec itself is sound.
	Failure v1beta1.FailureReason
}

// For computes the status.
func For(report Report) v1beta1.InferenceServiceStatus {
	r := reporter{Report: report, name: report.InferenceService.Name}
	if report.Observed != nil {
		r.Decision.Served = r.served()
	}
	status := *report.InferenceService.Status.DeepCopy()
	status.ObservedGeneration = report.InferenceService.Generation
	status.DeploymentMode = string(report.Mode)
	conditions := r.conditions()
	if report.Observed != nil {
		status.Phase = r.phase(conditions)
		status.URL = r.url(r.addresses().URL)
		status.Address = r.address()
		status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: r.component()}
		status.ServingRuntimeName, status.ClusterServingRuntimeName = r.runtime()
	} else if report.Problem != nil {
		status.Phase = v1beta1.PhaseBlocked
	}
	status.ModelStatus = r.modelStatus(report.InferenceService.Status.ModelStatus)
	status.Conditions = since(report.InferenceService.Status.Conditions, conditions)
	return status
}

// since gives each condition the time from which it has its status, which is all that is taken over from the conditions
// before. Those of another operator go.
func since(before, conditions []metav1.Condition) []metav1.Condition {
	var dated []metav1.Condition
	for _, condition := range conditions {
		if old := apimeta.FindStatusCondition(before, condition.Type); old != nil && old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		apimeta.SetStatusCondition(&dated, condition)
	}
	return dated
}

// reporter computes the parts of one status.
type reporter struct {
	Report
	name string
}

func (r *reporter) revision(n rollout.Number) string {
	if n == 0 {
		return ""
	}
	return backend.RevisionName(r.name, n)
}

// served is the split that clients get. One that was reported as served is served until the gateway takes another one
// over: a gateway that withdraws its word, or a tag's host that has yet to be taken over, sends no request elsewhere.
func (r *reporter) served() rollout.Split {
	route, reported := r.Snapshot.Route, r.Snapshot.Reported.Split
	if route.Record != nil && !reported.IsEmpty() && reported.Equal(route.Record.Split) {
		return reported
	}
	return r.Decision.Served
}

// nothingToUndo tells whether the spec asks for a rollback, and there is nothing to go back to.
func (r *reporter) nothingToUndo() bool {
	return r.Decision.Record != nil && r.Decision.Record.NothingToUndo
}

// stopped reports whether nothing is to run, whether or not the last pod has gone.
func (r *reporter) stopped() bool {
	return r.Decision.Phase == rollout.Stopped || r.Decision.Phase == rollout.Stopping
}

// ready counts the replicas of a revision that can serve.
func (r *reporter) ready(n rollout.Number) int {
	if n == r.Decision.Unsettled {
		return 0
	}
	for _, revision := range r.Snapshot.Revisions {
		if revision.Number == n {
			return revision.Capacity()
		}
	}
	return 0
}

func (r *reporter) failure(n rollout.Number) *backend.Failure {
	if r.ready(n) > 0 {
		return nil
	}
	return r.Observed.Details[n].Failure
}

// obstacle is what keeps a revision from having more replicas, though some of its pods may serve.
func (r *reporter) obstacle(n rollout.Number) *backend.Failure {
	return r.Observed.Details[n].Failure
}

// phase is the phase in the words of the API. It is Blocked while Ready is False, whoever fails: that is what alerts look
// at.
func (r *reporter) phase(conditions []metav1.Condition) v1beta1.Phase {
	if r.Problem != nil || !r.stopped() && apimeta.IsStatusConditionFalse(conditions, v1beta1.ConditionReady) {
		return v1beta1.PhaseBlocked
	}
	switch r.Decision.Phase {
	case rollout.Stopped:
		return v1beta1.PhaseStopped
	case rollout.Stopping:
		return v1beta1.PhaseProgressing
	case rollout.Failed:
		return v1beta1.PhaseBlocked
	case rollout.Loading, rollout.Shifting:
		if r.Decision.Served.IsEmpty() {
			return v1beta1.PhasePending
		}
		return v1beta1.PhaseProgressing
	case rollout.Canary:
		return v1beta1.PhaseCanary
	case rollout.RolledBack:
		return v1beta1.PhaseRolledBack
	case rollout.Preview:
		return v1beta1.PhasePreview
	case rollout.Stable:
		return v1beta1.PhaseStable
	}
	return ""
}

// url is empty until there is a route that answers.
func (r *reporter) url(url string) string {
	impossible := r.Observed.RouteStatus.Refused && !r.Observed.RouteStatus.Exists
	if r.Decision.Record == nil || impossible {
		return ""
	}
	return url
}

// addresses are the present ones once the gateway serves them, and until then those that were reported.
func (r *reporter) addresses() backend.Addresses {
	reported := r.InferenceService.Status
	if r.Decision.Programmed || reported.URL == "" && !r.Decision.Served.IsEmpty() {
		return r.Observed.Addresses
	}
	component := reported.Components[v1beta1.PredictorComponent]
	addresses := backend.Addresses{URL: reported.URL, Predictor: component.URL, Tag: func(tag string) string {
		for _, target := range component.Traffic {
			if target.Tag == tag {
				return target.URL
			}
		}
		return ""
	}}
	if reported.Address != nil {
		addresses.Local = reported.Address.URL
	}
	return addresses
}

// IsSettled reports whether the split and the URL that are wanted are those that were reported as served.
func IsSettled(isvc *v1beta1.InferenceService, observed *backend.Observation, decision rollout.Decision) bool {
	if decision.Record == nil || !decision.Record.Split.Equal(intent.Reported(isvc).Split) || isvc.Status.URL != observed.Addresses.URL {
		return false
	}
	return apimeta.IsStatusConditionTrue(isvc.Status.Conditions, v1beta1.ConditionRoutesReady) &&
		apimeta.IsStatusConditionTrue(isvc.Status.Conditions, v1beta1.ConditionIngressReady)
}

func (r *reporter) address() *v1beta1.Address {
	local := r.url(r.addresses().Local)
	if local == "" {
		return nil
	}
	return &v1beta1.Address{URL: local}
}

func (r *reporter) component() v1beta1.ComponentStatusSpec {
	served := r.Decision.Served
	component := v1beta1.ComponentStatusSpec{
		LatestReadyRevision:   r.revision(rollout.Latest(served, r.Decision.Target)),
		LatestCreatedRevision: r.revision(r.created()),
		Traffic:               r.traffic(served),
		URL:                   r.url(r.addresses().Predictor),
		Address:               r.address(),
	}
	stable, previous := r.rolledOut()
	component.LatestRolledoutRevision, component.PreviousRolledoutRevision = r.revision(stable), r.revision(previous)
	return component
}

// rolledOut is the history as the route remembers it now. A promotion that could not be written has not come about; and
// where there is no route, what was reported is the only memory that there is.
func (r *reporter) rolledOut() (stable, previous rollout.Number) {
	decided, seen, reported := r.Decision.Record, r.Snapshot.Route.Record, r.Snapshot.Reported
	switch {
	case decided == nil:
		return 0, 0
	case r.Outcome.Route:
		return decided.Stable, decided.Previous
	case seen != nil:
		return seen.Stable, seen.Previous
	default:
		return reported.Stable, reported.Previous
	}
}

// created is the target, once it is made. To report one that could not be made would use its number up: the next pass
// would take it for a revision that was lost, and number the target anew, for ever.
func (r *reporter) created() rollout.Number {
	if r.Decision.Create && !r.Outcome.Target {
		return 0
	}
	return r.Decision.Target
}

// traffic lists the split that clients get, the latest revision first. KServe's clients find the two by latestRevision
// and by the tag prev; a tag has a URL where there is a host for it.
func (r *reporter) traffic(served rollout.Split) []v1beta1.TrafficTarget {
	var targets []v1beta1.TrafficTarget
	tagged := r.Snapshot.Wanted.Tagged
	add := func(n rollout.Number, latest bool, tag string) {
		target := v1beta1.TrafficTarget{
			RevisionName:   r.revision(n),
			LatestRevision: new(latest),
			Percent:        new(int64(served.Percent(n))),
			Tag:            tag,
		}
		if tagged {
			target.URL = r.addresses().Tag(tag)
		}
		targets = append(targets, target)
	}
	tags := rollout.TagsOf(served, r.Decision.Target)
	if tags.Latest != 0 {
		tag := ""
		if tagged {
			tag = v1beta1.TagLatest
		}
		add(tags.Latest, true, tag)
	}
	if tags.Prev != 0 {
		add(tags.Prev, false, v1beta1.TagPrevious)
	}
	return targets
}

// runtime names the serving runtime that the target uses, by its kind.
func (r *reporter) runtime() (namespaced, cluster string) {
	switch runtime := r.Observed.Recorded[r.Decision.Target].Runtime; runtime.Kind {
	case predictor.ServingRuntimeKind:
		return runtime.Name, ""
	case predictor.ClusterServingRuntimeKind:
		return "", runtime.Name
	}
	return "", ""
}

// modelStatus is the state of the model in KServe's words.
func (r *reporter) modelStatus(before *v1beta1.ModelStatus) *v1beta1.ModelStatus {
	if r.Observed == nil || r.invalid() {
		status := before.DeepCopy()
		if status == nil {
			status = &v1beta1.ModelStatus{TransitionStatus: v1beta1.InProgress}
		}
		if r.invalid() {
			status.TransitionStatus = v1beta1.InvalidSpec
			status.ModelRevisionStates = r.invalidStates(before)
			status.LastFailureInfo = keepFirst(before, v1beta1.FailureInfo{Reason: r.Problem.Failure, Message: r.Problem.Message}, r.Problem.Message)
		}
		return status
	}
	if r.stopped() {
		return nil
	}
	target := r.Decision.Target
	detail := r.Observed.Details[target]
	status := &v1beta1.ModelStatus{
		TransitionStatus:    v1beta1.InProgress,
		ModelRevisionStates: &v1beta1.ModelRevisionStates{ActiveModelState: r.activeState(), TargetModelState: r.state(target)},
		ModelCopies:         &v1beta1.ModelCopies{FailedCopies: int32(detail.FailedPods), TotalCopies: int32(detail.Pods)},
		LastFailureInfo:     r.lastFailure(before),
	}
	switch {
	case r.ready(target) > 0:
		status.TransitionStatus = v1beta1.UpToDate
	case r.failure(target) != nil:
		status.TransitionStatus = v1beta1.BlockedByFailedLoad
	}
	return status
}

// invalidStates are the states of the models while the spec is invalid: as in KServe, what it asks for has failed to load.
func (r *reporter) invalidStates(before *v1beta1.ModelStatus) *v1beta1.ModelRevisionStates {
	states := &v1beta1.ModelRevisionStates{TargetModelState: v1beta1.FailedToLoad}
	switch {
	case r.Observed != nil && !r.stopped():
		states.ActiveModelState = r.activeState()
	case r.Observed == nil && before != nil && before.ModelRevisionStates != nil:
		states.ActiveModelState = before.ModelRevisionStates.ActiveModelState
	}
	return states
}

func (r *reporter) invalid() bool { return r.Problem != nil && r.Problem.Failure != "" }

// activeState is Loaded while everything that has traffic can serve, and else the state of what cannot.
func (r *reporter) activeState() v1beta1.ModelState {
	var active v1beta1.ModelState
	for _, share := range r.Decision.Served.Shares() {
		if share.Percent == 0 {
			continue
		}
		if active = r.state(share.Revision); active != v1beta1.Loaded {
			return active
		}
	}
	return active
}

// state trusts the endpoints over the pods: what cannot be reached is not loaded.
func (r *reporter) state(n rollout.Number) v1beta1.ModelState {
	state := r.Observed.Details[n].State
	switch {
	case r.ready(n) > 0:
		return v1beta1.Loaded
	case state == v1beta1.Loaded:
		return v1beta1.Loading
	case state == "":
		return v1beta1.Pending
	}
	return state
}

// lastFailure is why a revision cannot serve: the target, or else another one that is needed. It stays until that one is
// ready. Between two tries it may look as if it came up, and whoever asks whether it has recovered finds here that it
// has not.
func (r *reporter) lastFailure(before *v1beta1.ModelStatus) *v1beta1.FailureInfo {
	for _, n := range r.needed() {
		if failure := r.failure(n); failure != nil {
			return r.failureInfo(before, n, *failure)
		}
	}
	if before == nil || before.LastFailureInfo == nil {
		return nil
	}
	for _, n := range r.needed() {
		if r.ready(n) == 0 && before.LastFailureInfo.ModelRevisionName == r.revision(n) {
			return before.LastFailureInfo.DeepCopy()
		}
	}
	return nil
}

// needed are the revisions that must be able to serve: the target, those that have traffic, and the one that is to get
// some.
func (r *reporter) needed() []rollout.Number {
	var needed []rollout.Number
	if r.Decision.Target != 0 {
		needed = append(needed, r.Decision.Target)
	}
	for _, share := range r.Decision.Served.Shares() {
		if share.Percent > 0 {
			needed = append(needed, share.Revision)
		}
	}
	if r.Decision.Waiting != nil {
		needed = append(needed, r.Decision.Waiting.Revision)
	}
	return needed
}

func (r *reporter) failureInfo(before *v1beta1.ModelStatus, n rollout.Number, failure backend.Failure) *v1beta1.FailureInfo {
	info := v1beta1.FailureInfo{
		Location:          failure.Pod,
		Reason:            v1beta1.ModelLoadFailed,
		Message:           failure.Message,
		ModelRevisionName: r.revision(n),
		ExitCode:          failure.ExitCode,
	}
	if failure.Pod == "" {
		info.Reason = v1beta1.RuntimeUnhealthy
	}
	if failure.Detail != "" {
		info.Message += ": " + failure.Detail
	}
	if !failure.Time.IsZero() {
		info.Time = new(metav1.NewTime(failure.Time))
	}
	return keepFirst(before, info, failure.Message)
}

// keepFirst keeps what was reported of the first crash of a crash loop, told by the part of the message that is the
// same for each. Every crash has its own time and last line, and a status that followed them would be written at every
// restart, for ever.
func keepFirst(before *v1beta1.ModelStatus, info v1beta1.FailureInfo, stable string) *v1beta1.FailureInfo {
	info.Message, stable = shortened(info.Message), strings.TrimSuffix(shortened(stable), "…")
	if before == nil || before.LastFailureInfo == nil {
		return &info
	}
	first := before.LastFailureInfo
	if first.Reason == info.Reason && first.ModelRevisionName == info.ModelRevisionName &&
		first.ExitCode == info.ExitCode && strings.HasPrefix(first.Message, stable) {
		return first.DeepCopy()
	}
	return &info
}
