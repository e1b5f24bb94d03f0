// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backend contains what the two deployment modes have in common: what they observe and
// write, and the names of revisions. Its subpackages implement the modes.
package backend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// FieldOwner is the field manager of the operator's writes.
const FieldOwner = "serinus"

// Observation is what one reconciliation has observed of an InferenceService. It does not include
// what the spec asks for; see package intent.
type Observation struct {
	// Revisions are those that have a ControllerRevision, a workload, or both, in any order.
	Revisions []rollout.Revision
	// Route is the object that splits the traffic, and RouteStatus its status for users.
	Route       rollout.Route
	RouteStatus RouteStatus
	// TagHosts reports whether there are host names for tags.
	TagHosts bool
	// ScaleTargetReplicas is the number that an external autoscaler has set on the ScaleTarget, whose
	// name does not change with the revision; nil if there is none.
	ScaleTargetReplicas *int
	// History holds the revision history: each revision that can be brought back.
	History map[rollout.Number]HistoryEntry
	// Details holds, for users, the details of each revision that runs.
	Details map[rollout.Number]RevisionStatus
	// HostRoute is the host route of an InferenceService whose predictor has a host of its own that
	// works without it; nil if there is none.
	HostRoute *HostRoute
	Addresses Addresses
	// Mode is the mode of the observed objects or of the revision history; empty if there are none.
	Mode v1beta1.DeploymentMode
	// Current is a revision without a ControllerRevision that runs what the spec asks for, because
	// KServe created it. It is 0 if there is none.
	Current rollout.Number
	// WakeAt is when the observation changes without an event; zero if it does not.
	WakeAt time.Time
	// Hosts are the hosts of the current routes.
	Hosts []string
}

// WithCurrent returns the observation with the current revision added to its history.
func (o *Observation) WithCurrent(recorded HistoryEntry) *Observation {
	with := *o
	with.History = maps.Clone(o.History)
	with.History[o.Current] = recorded
	return &with
}

// Session is an observation of one InferenceService, to which one decision can be applied.
type Session interface {
	// Observation returns what was observed. The caller may keep it and must not change it.
	Observation() *Observation
	// Apply writes a change and skips what is up to date.
	Apply(ctx context.Context, change Change) Outcome
}

// Change is what a reconciliation writes.
type Change struct {
	Decision rollout.Decision
	// Revision is the target's content, if the decision creates the target. It is nil if the target
	// cannot be rendered; the rest of the decision is still written.
	Revision *RenderedRevision
	// Current is added to the revision history for [Observation.Current]; nil if there is nothing
	// to add.
	Current *CurrentRevision
	// Amended is the change of a recorded revision; nil if there is none.
	Amended *Amended
	// Replicas bounds the replicas of each revision.
	Replicas rollout.Bounds
	// UnusableHosts are invalid or belong to an older InferenceService. No route may use them.
	UnusableHosts map[string]bool
}

// CurrentRevision is what a revision without a ControllerRevision was created from.
type CurrentRevision struct {
	Hash string
	HistoryEntry
}

// HistoryEntry is an entry of the revision history.
type HistoryEntry struct {
	Identity predictor.Identity
	Runtime  predictor.RuntimeRef
	// Created is when the revision was created.
	Created time.Time
	// User is the user's own spec; nil if the first version of the operator created the revision.
	User *predictor.UserSpec
	// Template is the revision's pod template. It is shared and must not be changed.
	Template *corev1.PodTemplateSpec
}

// RevisionStatus is what the pods of a revision report.
type RevisionStatus struct {
	// State is the state of the model, taken from the pod that has progressed furthest.
	State v1beta1.ModelState
	// Pods counts pods in any state. FailedPods counts those that will not serve without help.
	Pods, FailedPods int
	// Failure is why the revision does not become ready; nil if it may still become ready.
	Failure *Failure
	// Stage describes what a starting revision is waiting for; it may be empty.
	Stage string
	// LoadDeadline is how long a scheduled pod may take to become ready.
	LoadDeadline time.Duration
	// Pending are failures that do not count yet. See [Observation.Expire].
	Pending []Pending
}

// Pending is a failure that counts from a given time, unless its subject is ready by then.
type Pending struct {
	From    time.Time
	Failure Failure
}

// Failure is why a revision cannot serve.
type Failure struct {
	// Reason is a condition reason, such as ImagePullFailed.
	Reason string
	// Message says what happened and, if known, how to fix it. The same cause has the same message:
	// it contains no times and no pod names.
	Message string
	// Detail is the last output of the container. It may differ between crashes.
	Detail string
	// Pod is where the failure happened, ExitCode the container's exit code, and Time when it
	// happened.
	Pod      string
	ExitCode int32
	Time     time.Time
}

// RouteStatus is the status of a route for users.
type RouteStatus struct {
	// Exists reports whether there is a route.
	Exists bool
	// Refused reports whether the gateway does not serve the current generation, for the Reason and
	// Message. A route that is neither refused nor accepted is pending; Message then says which
	// object must report.
	Refused bool
	Reason  string
	Message string
	// BehindSince is when a Gateway that has accepted the route was changed without reporting on
	// that change yet; zero if there is none.
	BehindSince time.Time
	// Remarks are what else users must know of a route that is served.
	Remarks []Remark
}

// Remark is information for users about a route that is served all the same.
type Remark struct {
	// Reason is a condition reason; empty if the message alone is enough.
	Reason  string
	Message string
}

// AddRemark adds a remark, unless it was already made about another route.
func (r *RouteStatus) AddRemark(remark Remark) {
	if !slices.Contains(r.Remarks, remark) {
		r.Remarks = append(r.Remarks, remark)
	}
}

// HostRoute is the host route of an InferenceService, beside its predictor's.
type HostRoute struct {
	// URL is the InferenceService's URL, once the gateway serves it.
	URL string
	// Open reports whether the gateway serves the route. A route that is neither open nor refused
	// is pending.
	Open  bool
	Route RouteStatus
}

// Addresses are the URLs of a predictor.
type Addresses struct {
	// URL is the InferenceService's, Predictor its predictor's.
	URL, Predictor string
	// Tag returns the URL of a tag.
	Tag func(tag string) string
	// Local is the URL inside the cluster; empty if there is none.
	Local string
}

// Expire returns the observation with the pending failures that are due by now. It also returns
// when the next one is due; zero if there is none.
func (o *Observation) Expire(now time.Time) (expired *Observation, next time.Time) {
	with := *o
	with.Revisions, with.Details = slices.Clone(o.Revisions), maps.Clone(o.Details)
	for i := range with.Revisions {
		revision := &with.Revisions[i]
		detail := with.Details[revision.Number]
		for _, pending := range detail.Pending {
			switch {
			case now.Before(pending.From):
				if next.IsZero() || pending.From.Before(next) {
					next = pending.From
				}
				continue
			case pending.Failure.Pod != "":
				detail.FailedPods++
			}
			if detail.Failure == nil {
				detail.Failure = &pending.Failure
			}
		}
		if len(detail.Pending) == 0 || detail.Failure == nil || revision.Workloads[rollout.Predictor] == nil {
			continue
		}
		if detail.State != v1beta1.Loaded && detail.State != v1beta1.Standby {
			detail.State = v1beta1.FailedToLoad
		}
		workload := *revision.Workloads[rollout.Predictor]
		workload.Failed = true
		revision.Workloads, with.Details[revision.Number] = maps.Clone(revision.Workloads), detail
		revision.Workloads[rollout.Predictor] = &workload
	}
	return &with, next
}

// Amended is an amendment of a recorded revision.
type Amended struct {
	Revision rollout.Number
	Amendment
}

// Amendment is what may change of a revision after its creation. It is stored: fields may be added,
// but never renamed.
type Amendment struct {
	// Download is how the revision downloads its model. It changes only if the revision has never
	// been ready and its credentials were added or corrected after its creation.
	Download *predictor.Download `json:"download,omitempty"`
	// User is the user's own spec. It is added to revisions of the first version of the operator,
	// which did not store it. It also follows a spec that starts or stops naming the serving
	// runtime that the revision already has.
	User *predictor.UserSpec `json:"user,omitempty"`
}

// Outcome is what has been written of a change, even if the rest has failed.
type Outcome struct {
	// Target reports whether the target was created.
	Target bool
	// Route reports whether the route has the desired split and rollout state.
	Route bool
	// RouteChanged reports whether this change has written the spec of a route, so that no gateway
	// can have accepted it yet.
	RouteChanged bool
	// Findings are what users must know about the change.
	Findings []Finding
	// Contests are the objects that another writer keeps changing.
	Contests []Contest
	// Errors are those of the failed writes.
	Errors []WriteError
}

// Fail adds errors of writes to the outcome; nil is ignored.
func (o *Outcome) Fail(errs ...error) {
	for _, err := range errs {
		if err != nil {
			o.Errors = append(o.Errors, WriteError{Err: err})
		}
	}
}

// Err returns the errors as one; see [JoinErrors].
func (o *Outcome) Err() error { return JoinErrors(o.Errors) }

// Finding is information for users that blocks nothing.
type Finding struct {
	// Condition is the condition that the finding is added to while it is True.
	Condition string
	// Reason is a condition reason.
	Reason, Message string
}

// NoteContest adds a contest to the outcome.
func (o *Outcome) NoteContest(contest Contest) { o.Contests = append(o.Contests, contest) }

// Contest describes another writer that keeps undoing the operator's writes to an object.
type Contest struct {
	Kind, Name string
	// Field is the field that is changed, and Writer who changes it, as far as that is known.
	Field, Writer string
	// RetryAt is when the operator writes again.
	RetryAt time.Time
}

// RenderedRevision is the immutable content of a revision.
type RenderedRevision struct {
	// Hash identifies the revision.
	Hash string `json:"inputs"`
	// Mode is the mode that the revision was created in; empty if an earlier version of the
	// operator created it.
	Mode v1beta1.DeploymentMode `json:"mode,omitempty"`
	// Runs holds the pod template and what it was rendered from.
	Runs predictor.Revision `json:"runs"`
	// User is the user's own spec; nil if the first version of the operator created the revision.
	User *predictor.UserSpec `json:"user,omitempty"`
	// Amendment is what has changed since. It is stored separately, because the rest is immutable.
	Amendment Amendment `json:"-"`
}

// Amend applies an amendment to the revision.
func (r *RenderedRevision) Amend(amendment Amendment) {
	if amendment.Download != nil {
		r.Amendment.Download = amendment.Download
		template := r.Runs.Template.DeepCopy()
		amendment.Download.ReplaceIn(template)
		r.Runs.Template = *template
	}
	if amendment.User != nil {
		r.User, r.Amendment.User = amendment.User, amendment.User
		r.Runs.Identity.RequestedRuntime = amendment.User.RequestedRuntime
	}
}

// DownloadHash returns the digest of an amended download; empty if the download is unchanged.
func (r *RenderedRevision) DownloadHash() string {
	if r.Amendment.Download == nil {
		return ""
	}
	return r.Amendment.Download.Hash()
}

// ClusterLocalLabel returns the label, Knative's or KServe's, with which the user keeps an
// InferenceService off the external gateway; empty if there is none.
func ClusterLocalLabel(isvc *v1beta1.InferenceService) string {
	for _, label := range []string{v1beta1.LabelNetworkVisibility, v1beta1.LabelKnativeNetworkVisibility} {
		if isvc.Labels[label] == v1beta1.VisibilityClusterLocal {
			return label
		}
	}
	return ""
}

// TaggedRevision is a tag and its revision.
type TaggedRevision struct {
	Tag      string
	Revision rollout.Number
}

// TaggedRevisions lists the tags of a decision with their revisions, in a fixed order.
func TaggedRevisions(tags rollout.Tags) []TaggedRevision {
	all := []TaggedRevision{{v1beta1.TagLatest, tags.Latest}, {v1beta1.TagPrevious, tags.Prev}}
	return slices.DeleteFunc(all, func(t TaggedRevision) bool { return t.Revision == 0 })
}

// PredictorName returns the name of an InferenceService's predictor.
func PredictorName(isvc string) string { return isvc + "-predictor" }

// RevisionName returns the name of a revision, such as sklearn-iris-predictor-00001.
func RevisionName(isvc string, n rollout.Number) string {
	return fmt.Sprintf("%s-%05d", PredictorName(isvc), n)
}

// RevisionNumber parses a name from RevisionName; it returns 0 for any other name.
func RevisionNumber(isvc, name string) rollout.Number {
	digits, ok := strings.CutPrefix(name, PredictorName(isvc)+"-")
	if !ok {
		return 0
	}
	number, err := strconv.Atoi(digits)
	if err != nil || number < 1 || RevisionName(isvc, rollout.Number(number)) != name {
		return 0
	}
	return rollout.Number(number)
}
