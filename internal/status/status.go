// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status computes the status of an InferenceService from the observed state and the
// decision.
//
// It computes the status anew each time: first the rollout as data, and from that the conditions. It
// keeps from the last status the transition times of the conditions, and the first failure of a
// crash loop until the revision is ready. What could not be observed stays as it was reported.
// Messages contain no times and no generated names, so that a problem that repeats itself causes no
// write.
package status

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Report is the input from which a status is computed.
type Report struct {
	// InferenceService is the object with its current status.
	InferenceService *v1beta1.InferenceService
	Mode             v1beta1.DeploymentMode
	// Observed is nil if this reconciliation could not observe the service. The reported revisions
	// and traffic then stay.
	Observed *backend.Observation
	Snapshot rollout.Snapshot
	Decision rollout.Decision
	// Outcome is what has been written of the decision.
	Outcome backend.Outcome
	// Problem blocks the rollout and cannot be resolved by the operator.
	Problem *Problem
	// Notices do not block the rollout. Each is added to its condition while that is True.
	Notices []backend.Finding
	// HostProblem affects only the InferenceService's own host name. The predictor's URL still works.
	HostProblem *Problem
	// Automation is what a policy adds. It is the zero value if no policy applies.
	Automation Automation
	// Ignored are the settings of the InferenceService that have no effect.
	Ignored []predictor.Problem
}

// Problem describes something that neither the pods nor the routes show.
type Problem struct {
	// Condition is the type of the condition to which the problem belongs.
	Condition       string
	Reason, Message string
	// Failure is KServe's failure reason. It is empty if the spec itself is valid.
	Failure v1beta1.FailureReason
}

// For returns the status.
func For(report Report) v1beta1.InferenceServiceStatus {
	r := newReporter(report)
	status := *report.InferenceService.Status.DeepCopy()
	status.ObservedGeneration = report.InferenceService.Generation
	status.DeploymentMode = string(report.Mode)
	conditions := r.conditions()
	if report.Observed != nil {
		status.Rollout = r.rollout
		status.Phase = r.phase(conditions)
		status.URL = r.url(r.addresses().URL)
		status.Address = r.address()
		status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: r.component()}
		status.ServingRuntimeName, status.ClusterServingRuntimeName = r.runtime()
	} else if report.Problem != nil {
		status.Phase = v1beta1.PhaseBlocked
	}
	status.ModelStatus = r.modelStatus(report.InferenceService.Status.ModelStatus)
	status.Conditions = withTransitionTimes(report.InferenceService.Status.Conditions, conditions)
	return status
}

// withTransitionTimes keeps the transition time of each condition whose status has not changed. It
// drops conditions that another operator has set.
func withTransitionTimes(before, conditions []metav1.Condition) []metav1.Condition {
	var dated []metav1.Condition
	for _, condition := range conditions {
		if old := apimeta.FindStatusCondition(before, condition.Type); old != nil && old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		apimeta.SetStatusCondition(&dated, condition)
	}
	return dated
}

type reporter struct {
	Report
	name string
	// rollout is nil if the service could not be observed.
	rollout *v1beta1.RolloutStatus
	// reportedWait is the reported condition RolloutCompleted if it stays until the metrics are known
	// again, and otherwise nil.
	reportedWait *metav1.Condition
}

func newReporter(report Report) *reporter {
	r := &reporter{Report: report, name: report.InferenceService.Name}
	r.reportedWait = r.findReportedWait()
	if report.Observed != nil {
		r.rollout = r.rolloutStatus()
	}
	return r
}

func (r *reporter) revision(n rollout.Number) string {
	if n == 0 {
		return ""
	}
	return backend.RevisionName(r.name, n)
}

func (r *reporter) nothingToUndo() bool {
	return r.Decision.State != nil && r.Decision.State.NothingToUndo
}

// stopped reports whether the user has stopped the service, even if pods still run.
func (r *reporter) stopped() bool {
	return r.Decision.Phase == rollout.Stopped || r.Decision.Phase == rollout.Stopping
}

// ready returns the number of replicas of a revision that can serve.
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

// phase returns the phase of the API. Because alerts use it, it is Blocked while there is a
// problem, or while Ready is False and the service is not stopped.
func (r *reporter) phase(conditions []metav1.Condition) v1beta1.Phase {
	if r.Problem == nil && r.isRejected() {
		return v1beta1.PhaseRejected
	}
	if r.Problem != nil || !r.stopped() && apimeta.IsStatusConditionFalse(conditions, v1beta1.ConditionReady) {
		return v1beta1.PhaseBlocked
	}
	if r.reportedWait != nil {
		return r.InferenceService.Status.Phase
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
	case rollout.AwaitingApproval:
		return v1beta1.PhaseAwaitingApproval
	case rollout.Baking:
		return v1beta1.PhaseBaking
	case rollout.RejectedCanary:
		return v1beta1.PhaseRejected
	}
	return ""
}

// url returns the URL, or "" if there is no route.
func (r *reporter) url(url string) string {
	impossible := r.Observed.RouteStatus.Refused && !r.Observed.RouteStatus.Exists
	if r.Decision.State == nil || impossible {
		return ""
	}
	return url
}

// addresses returns the current addresses once the gateway serves them, and the reported ones
// before.
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

func (r *reporter) address() *v1beta1.Address {
	local := r.url(r.addresses().Local)
	if local == "" {
		return nil
	}
	return &v1beta1.Address{URL: local}
}

func (r *reporter) component() v1beta1.ComponentStatusSpec {
	served := r.Decision.Served
	return v1beta1.ComponentStatusSpec{
		LatestReadyRevision:       r.revision(rollout.Latest(served, r.Decision.Target)),
		LatestCreatedRevision:     r.revision(r.created()),
		LatestRolledoutRevision:   r.rollout.Stable,
		PreviousRolledoutRevision: r.rollout.Previous,
		Traffic:                   r.traffic(served),
		URL:                       r.url(r.addresses().Predictor),
		Address:                   r.address(),
	}
}

// created returns the target once it has been created. If a target that could not be created were
// reported, the next reconciliation would take it for a lost revision and assign another number.
func (r *reporter) created() rollout.Number {
	if r.Decision.Create && !r.Outcome.Target {
		return 0
	}
	return r.Decision.Target
}

// traffic returns the served split, latest revision first. KServe's clients find its entries by
// latestRevision and by the tag prev.
func (r *reporter) traffic(served rollout.Split) []v1beta1.TrafficTarget {
	var targets []v1beta1.TrafficTarget
	tagged := r.Snapshot.Desired.Tagged
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

func (r *reporter) runtime() (namespaced, cluster string) {
	switch runtime := r.Observed.History[r.Decision.Target].Runtime; runtime.Kind {
	case predictor.ServingRuntimeKind:
		return runtime.Name, ""
	case predictor.ClusterServingRuntimeKind:
		return "", runtime.Name
	}
	return "", ""
}

// modelStatus returns KServe's status of the model.
func (r *reporter) modelStatus(before *v1beta1.ModelStatus) *v1beta1.ModelStatus {
	if r.Observed == nil || r.invalid() {
		status := before.DeepCopy()
		if status == nil {
			status = &v1beta1.ModelStatus{TransitionStatus: v1beta1.InProgress}
		}
		if r.invalid() {
			status.TransitionStatus = v1beta1.InvalidSpec
			status.ModelRevisionStates = r.invalidStates(before)
			status.LastFailureInfo = &v1beta1.FailureInfo{Reason: r.Problem.Failure, Message: truncate(r.Problem.Message)}
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
	case r.isRejected():
		status.TransitionStatus, status.LastFailureInfo = v1beta1.BlockedByFailedLoad, r.rejectionInfo()
	case r.ready(target) > 0:
		status.TransitionStatus = v1beta1.UpToDate
	case r.failure(target) != nil:
		status.TransitionStatus = v1beta1.BlockedByFailedLoad
	}
	return status
}

// invalidStates returns the model states while the spec is invalid. As in KServe, its model counts
// as failed to load.
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

// activeState returns Loaded if every revision with traffic can serve, and otherwise the state of
// the first revision that cannot.
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

// state returns Loaded only for a revision with a ready endpoint, whatever the pods say.
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

// lastFailure returns why a required revision cannot serve. It stays until the revision is ready,
// because between two restarts a crash loop looks as if the revision was starting.
func (r *reporter) lastFailure(before *v1beta1.ModelStatus) *v1beta1.FailureInfo {
	for _, n := range r.requiredRevisions() {
		if failure := r.failure(n); failure != nil {
			return r.failureInfo(before, n, *failure)
		}
	}
	if before == nil || before.LastFailureInfo == nil {
		return nil
	}
	for _, n := range r.requiredRevisions() {
		if r.ready(n) == 0 && before.LastFailureInfo.ModelRevisionName == r.revision(n) {
			return before.LastFailureInfo.DeepCopy()
		}
	}
	return nil
}

// failureInfo keeps the reported failure if the new one differs only in its time, pod and last log
// line, as each crash of a crash loop does. Otherwise every restart would cause a write.
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
		info.Time = new(storedTime(failure.Time))
	}
	info.Message = truncate(info.Message)
	if before == nil || before.LastFailureInfo == nil {
		return &info
	}
	first := before.LastFailureInfo
	if first.Reason == info.Reason && first.ModelRevisionName == info.ModelRevisionName && first.ExitCode == info.ExitCode && r.failedBefore(n) {
		return first.DeepCopy()
	}
	return &info
}
