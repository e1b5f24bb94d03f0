// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backend is what the two ways to run a predictor have in common: what they observe of it, and how its
// revisions are named. The ways themselves are in the packages below this one.
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

// FieldOwner owns, in server-side apply, every field that the operator writes.
const FieldOwner = "serinus"

// Observation is what one reconciliation has observed of an InferenceService at one moment. It says nothing of what the
// spec asks for; see package intent.
type Observation struct {
	// Revisions are those that have a history record, a workload, or both, in any order.
	Revisions []rollout.Revision
	// Route is what splits the traffic, and RouteStatus is what users want to know of it.
	Route       rollout.Route
	RouteStatus RouteStatus
	// TagHosts says that there are host names for tags.
	TagHosts bool
	// AskedReplicas is the number that an external autoscaler has set under the name that does not change with the
	// revision; nil if there is none.
	AskedReplicas *int
	// Recorded holds what is on record of each revision that can be brought back.
	Recorded map[rollout.Number]Recorded
	// Details holds what users want to know of each revision that runs something.
	Details map[rollout.Number]Revision
	// Entrance is what users want to know of the way to the InferenceService by its own host, where its predictor has
	// another one that does not need it; nil where there is none.
	Entrance *Entrance
	// Addresses are where clients find the predictor.
	Addresses Addresses
	// Mode is the mode in which the observed objects run, or are recorded to run; empty if there are none.
	Mode v1beta1.DeploymentMode
	// Current is a revision without a history record that runs what the spec asks for: KServe had created it before. It
	// is 0 if there is none.
	Current rollout.Number
	// WakeAt is when the observation changes with time alone; zero if it does not.
	WakeAt time.Time
	// Hosts are those that the routes have now.
	Hosts []string
}

// WithCurrent returns the observation with a record of the current revision.
func (o *Observation) WithCurrent(recorded Recorded) *Observation {
	with := *o
	with.Recorded = maps.Clone(o.Recorded)
	with.Recorded[o.Current] = recorded
	return &with
}

// Session is an observation of one InferenceService, on which one decision can be applied.
type Session interface {
	// Observation returns what was observed. The caller may keep it and must not change it.
	Observation() *Observation
	// Apply writes what was decided, and nothing that is so already. Its outcome is valid beside an error.
	Apply(ctx context.Context, change Change) (Outcome, error)
}

// Change is what is to be written.
type Change struct {
	Decision rollout.Decision
	// Revision is what the target runs, if the decision creates it. It is nil if the target cannot be rendered: the rest
	// of the decision is written all the same.
	Revision *NewRevision
	// Current is what is to be recorded of [Observation.Current]; nil if there is nothing.
	Current *CurrentRevision
	// Amended is what changes on record of a revision; nil if nothing does.
	Amended *Amended
	// Replicas bounds what each revision runs.
	Replicas rollout.Bounds
	// UnusableHosts are invalid, or belong to an older InferenceService: no route may be given one.
	UnusableHosts map[string]bool
}

// CurrentRevision is what a revision without a history record was created from.
type CurrentRevision struct {
	Inputs string
	Recorded
}

// Recorded is what is on record of a revision.
type Recorded struct {
	Identity predictor.Identity
	Runtime  predictor.RuntimeRef
	// Created is when the revision was made.
	Created time.Time
	// User is what the user wrote; nil where the first version has made the revision.
	User *predictor.UserSpec
	// Template is the revision's pods. It is shared: it must not be changed.
	Template *corev1.PodTemplateSpec
}

// Revision is what a revision's pods tell.
type Revision struct {
	// State is the state of the model, by the pod that is furthest.
	State v1beta1.ModelState
	// Pods counts pods in any state, FailedPods those that will not serve without help.
	Pods, FailedPods int
	// Failure is why the revision does not become ready; nil where it may yet.
	Failure *Failure
	// Stage says in words what a revision waits for that is being brought up; empty where there is nothing to say.
	Stage string
	// LoadDeadline is how long a pod may take to become ready once it is scheduled.
	LoadDeadline time.Duration
	// Pending are failures that have yet to count. See [Observation.Expire].
	Pending []Pending
}

// Pending is a failure that counts from a time on, unless what it is about is ready by then.
type Pending struct {
	From    time.Time
	Failure Failure
}

// Failure is why a revision cannot serve.
type Failure struct {
	// Reason is a word for a condition, such as ImagePullFailed.
	Reason string
	// Message says what happened and, where we know, what mends it. It is the same for the same cause: no times, no
	// names of pods.
	Message string
	// Detail is what the container itself said last. It may differ from one crash to the next.
	Detail string
	// Pod is where it happened, ExitCode how the container ended, and Time when.
	Pod      string
	ExitCode int32
	Time     time.Time
}

// RouteStatus is how far the gateway is with a route.
type RouteStatus struct {
	// Exists says that there is a route.
	Exists bool
	// Refused says that the gateway does not serve its current generation, and Reason and Message why. A route that is
	// neither refused nor taken over (see rollout.Route) is on its way; Message then says which object must report.
	Refused bool
	Reason  string
	Message string
	// BehindSince is when a Gateway was changed that has accepted the route and has yet to report on that change; zero
	// where there is none.
	BehindSince time.Time
	// Remarks are what else users must know of a route that is served.
	Remarks []Remark
}

// Remark is something that users must know and that keeps nothing from being served.
type Remark struct {
	// Reason is a word for a condition; empty where the message alone is enough.
	Reason  string
	Message string
}

// AddRemark adds a remark, unless the same was made about another route.
func (r *RouteStatus) AddRemark(remark Remark) {
	if !slices.Contains(r.Remarks, remark) {
		r.Remarks = append(r.Remarks, remark)
	}
}

// Entrance is the way to an InferenceService by a host of its own, beside that of its predictor.
type Entrance struct {
	// URL is that of the InferenceService, once the gateway serves it.
	URL string
	// Open says that the gateway serves it. One that is neither open nor refused is on its way.
	Open bool
	// Route is how far the gateway is with it.
	Route RouteStatus
}

// Addresses are where clients find a predictor.
type Addresses struct {
	// URL is that of the InferenceService, and Predictor that of its predictor.
	URL, Predictor string
	// Tag makes the URL of a tag.
	Tag func(tag string) string
	// Local is the URL inside the cluster; empty where there is none.
	Local string
}

// Expire returns the observation with the pending failures counted whose time has come, and when the next one counts;
// zero for never.
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
		if len(detail.Pending) == 0 || detail.Failure == nil || revision.Workload == nil {
			continue
		}
		if detail.State != v1beta1.Loaded && detail.State != v1beta1.Standby {
			detail.State = v1beta1.FailedToLoad
		}
		workload := *revision.Workload
		workload.Failed = true
		revision.Workload, with.Details[revision.Number] = &workload, detail
	}
	return &with, next
}

// Amended names a recorded revision and the amendment that is to be stored beside its data.
type Amended struct {
	Revision rollout.Number
	Amendment
}

// Amendment is what may change of a revision after it was made. It must stay readable: fields are added, never renamed.
type Amendment struct {
	// Download is how the revision gets its model. Only that of a revision that has never been ready changes: its
	// credentials have come, or have been corrected, since it was made.
	Download *predictor.Download `json:"download,omitempty"`
	// User is what the user wrote. It is added to revisions of the first version, which did not keep it, and follows a
	// spec that comes to name, or no longer names, the serving runtime that it has.
	User *predictor.UserSpec `json:"user,omitempty"`
}

// Outcome is what has been written of a change, also if the rest of it failed.
type Outcome struct {
	// Target says that the target was made.
	Target bool
	// Route says that the route has the split and the record.
	Route bool
	// RouteChanged says that the spec of a route was changed just now, so that no gateway can have accepted it yet.
	RouteChanged bool
	// Findings are what users must know of it.
	Findings []Finding
	// Contests are the objects that another writer keeps changing.
	Contests []Contest
}

// Finding is something that users must know and that keeps nothing from being served.
type Finding struct {
	// Condition is the one that the finding is added to, while that is True.
	Condition string
	// Reason is a word for the condition.
	Reason, Message string
}

// NoteContest notes that another writer keeps changing an object.
func (o *Outcome) NoteContest(contest Contest) { o.Contests = append(o.Contests, contest) }

// Contest says that another writer keeps changing what the operator writes to an object.
type Contest struct {
	Kind, Name string
	// Field is what is changed, and Writer by whom, as far as that is known.
	Field, Writer string
	// RetryAt is when to look again.
	RetryAt time.Time
}

// NewRevision is what a revision is made of, once.
type NewRevision struct {
	// Inputs is the digest that the revision is found by.
	Inputs string `json:"inputs"`
	// Mode is the mode that it was made for; empty for one that an earlier version made.
	Mode v1beta1.DeploymentMode `json:"mode,omitempty"`
	// Runs is what its pods are, and what it was made from.
	Runs predictor.Revision `json:"runs"`
	// User is what the user wrote; nil where the first version has made the revision.
	User *predictor.UserSpec `json:"user,omitempty"`
	// Amendment is what has changed since. It is kept beside the rest, which cannot be changed.
	Amendment Amendment `json:"-"`
}

// Amend changes the revision.
func (r *NewRevision) Amend(amendment Amendment) {
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

// DownloadDigest stands for how the revision gets its model, where that has changed since it was made; it is empty where
// it has not.
func (r *NewRevision) DownloadDigest() string {
	if r.Amendment.Download == nil {
		return ""
	}
	return r.Amendment.Download.Digest()
}

// ConflictError says that an object of a name that we need is somebody else's. It is never taken over.
type ConflictError struct {
	Kind, Namespace, Name string
	// Owner is who controls it, such as "Deployment web"; empty where nobody does.
	Owner string
}

// Error says whose the object is and what the user can do.
func (e *ConflictError) Error() string {
	owner := "is not controlled by this InferenceService"
	if e.Owner != "" {
		owner = "is controlled by " + e.Owner
	}
	return fmt.Sprintf("%s %q in namespace %q %s, so it is left alone; delete it (kubectl delete -n %s %s %s), or give the InferenceService another name",
		e.Kind, e.Name, e.Namespace, owner, e.Namespace, strings.ToLower(e.Kind), e.Name)
}

// ClusterLocalLabel is the label, Knative's or KServe's own, by which the user keeps an InferenceService off the outer
// gateway; empty where none does.
func ClusterLocalLabel(isvc *v1beta1.InferenceService) string {
	for _, label := range []string{v1beta1.LabelNetworkVisibility, v1beta1.LabelKnativeNetworkVisibility} {
		if isvc.Labels[label] == v1beta1.VisibilityClusterLocal {
			return label
		}
	}
	return ""
}

// TaggedRevision is a tag, and the revision that it leads to.
type TaggedRevision struct {
	Tag      string
	Revision rollout.Number
}

// TaggedRevisions lists the tags of a decision with the revisions behind them, in a fixed order.
func TaggedRevisions(wanted rollout.Tags) []TaggedRevision {
	all := []TaggedRevision{{v1beta1.TagLatest, wanted.Latest}, {v1beta1.TagPrevious, wanted.Prev}}
	return slices.DeleteFunc(all, func(t TaggedRevision) bool { return t.Revision == 0 })
}

// PredictorName is the name of the predictor of an InferenceService.
func PredictorName(isvc string) string { return isvc + "-predictor" }

// RevisionName is the name of a revision: sklearn-iris-predictor-00001.
func RevisionName(isvc string, n rollout.Number) string {
	return fmt.Sprintf("%s-%05d", PredictorName(isvc), n)
}

// RevisionNumber is the number in a name that RevisionName made; 0 for any other name.
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
