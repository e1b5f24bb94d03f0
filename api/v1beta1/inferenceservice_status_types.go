// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// InferenceServiceStatus is what is served now.
type InferenceServiceStatus struct {
	// The generation of the InferenceService that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready, and what it is made of: PredictorReady, LatestDeploymentReady (the
	// revision that the spec asks for is ready), RoutesReady (the split that is wanted
	// is the one that is served), IngressReady, and Stopped.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// A short word for where the release stands, such as Canary or RolledBack. For
	// people; programs read the conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// URL that spreads requests over the revisions in the shares of
	// components.predictor.traffic.
	// +optional
	URL string `json:"url,omitempty"`

	// Address inside the cluster.
	// +optional
	Address *Address `json:"address,omitempty"`

	// Revisions, traffic and URLs of each component. There is one: predictor.
	// +optional
	Components map[ComponentType]ComponentStatusSpec `json:"components,omitempty"`

	// State of the rollout, as data. The conditions describe it in words.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`

	// State of the model that is served and of the one that is being loaded.
	// +optional
	ModelStatus *ModelStatus `json:"modelStatus,omitempty"`

	// How the predictor is run: Standard or Knative.
	// +optional
	DeploymentMode string `json:"deploymentMode,omitempty"`

	// The ServingRuntime of the revision that the spec asks for.
	// +optional
	ServingRuntimeName string `json:"servingRuntimeName,omitempty"`

	// The ClusterServingRuntime of the revision that the spec asks for.
	// +optional
	ClusterServingRuntimeName string `json:"clusterServingRuntimeName,omitempty"`
}

// Address is where an InferenceService can be reached.
type Address struct {
	// URL to send requests to.
	// +optional
	URL string `json:"url,omitempty"`
}

// ComponentType names a component of an InferenceService in its status.
type ComponentType string

// The components of an InferenceService.
const (
	// PredictorComponent: the one that serves the model.
	PredictorComponent ComponentType = "predictor"
)

// ComponentStatusSpec is the state of one component.
type ComponentStatusSpec struct {
	// Newest ready revision among those that serve or are offered traffic.
	// +optional
	LatestReadyRevision string `json:"latestReadyRevision,omitempty"`

	// Revision that the current spec asks for.
	// +optional
	LatestCreatedRevision string `json:"latestCreatedRevision,omitempty"`

	// Revision that was promoted before latestRolledoutRevision, kept so that the
	// promotion can be undone.
	// +optional
	PreviousRolledoutRevision string `json:"previousRolledoutRevision,omitempty"`

	// Revision that was last promoted.
	// +optional
	LatestRolledoutRevision string `json:"latestRolledoutRevision,omitempty"`

	// Which revision gets what share of the requests. Empty before the first revision
	// is ready; otherwise the shares sum to 100.
	// +optional
	// +listType=atomic
	Traffic []TrafficTarget `json:"traffic,omitempty"`

	// URL of the component.
	// +optional
	URL string `json:"url,omitempty"`

	// URL of the component for REST, if it speaks that.
	// +optional
	RestURL string `json:"restUrl,omitempty"`

	// URL of the component for gRPC, if it speaks that.
	// +optional
	GrpcURL string `json:"grpcUrl,omitempty"`

	// Address of the component inside the cluster.
	// +optional
	Address *Address `json:"address,omitempty"`
}

// TrafficTarget is the share of the requests that one revision gets. Its JSON is that of Knative's type of the same name.
type TrafficTarget struct {
	// Tag of the revision, latest or prev. With tag routing the tag begins a host name of its own.
	// +optional
	Tag string `json:"tag,omitempty"`

	// Name of the revision.
	// +optional
	RevisionName string `json:"revisionName,omitempty"`

	// Whether this is the newest revision that gets requests.
	// +optional
	LatestRevision *bool `json:"latestRevision,omitempty"`

	// Share of the requests, in percent.
	// +optional
	Percent *int64 `json:"percent,omitempty"`

	// URL of the revision, where it has a host name of its own.
	// +optional
	URL string `json:"url,omitempty"`
}

// RolloutStatus is the state of a rollout.
type RolloutStatus struct {
	// Revision that the spec asks for, even if it could not be created yet.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Target string `json:"target,omitempty"`

	// Revision that was last promoted.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Stable string `json:"stable,omitempty"`

	// Revision that was promoted before the stable one, and that a rollback returns to.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Previous string `json:"previous,omitempty"`

	// Share that waits until a revision has the replicas for it. Absent while no share
	// waits.
	// +optional
	Waiting *WaitingShare `json:"waiting,omitempty"`

	// Revisions that should serve and fail, in the order of their numbers.
	// +optional
	// +listType=map
	// +listMapKey=revision
	// +kubebuilder:validation:MaxItems=128
	Failures []RevisionFailure `json:"failures,omitempty"`
}

// WaitingShare is a share of the requests that waits until a revision has the replicas
// for it.
type WaitingShare struct {
	// Revision that is to get the share.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision"`

	// Share of the requests, in percent.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Share int32 `json:"share"`

	// Ready replicas that count for the share.
	// +required
	ReadyReplicas int32 `json:"readyReplicas"`

	// Ready replicas that the share needs.
	// +required
	NeededReplicas int32 `json:"neededReplicas"`

	// Whether the replicas did not become ready within the progress deadline.
	// +optional
	Overdue bool `json:"overdue,omitempty"`
}

// RevisionFailure is why a revision cannot serve, or does not get the replicas that it
// needs.
type RevisionFailure struct {
	// Revision that fails.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision"`

	// Reason of the failure, as in the conditions.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`

	// What happened and, if known, what to do about it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// Whether the revision is starting again: it does not fail now, but has not been
	// ready since it failed.
	// +optional
	Retrying bool `json:"retrying,omitempty"`
}

// ModelStatus is the state of the model, in KServe's words.
type ModelStatus struct {
	// Whether what is served is what the spec asks for.
	// +required
	TransitionStatus TransitionStatus `json:"transitionStatus"`

	// State of the model that is served and of the one that the spec asks for.
	// +optional
	ModelRevisionStates *ModelRevisionStates `json:"states,omitempty"`

	// Why the model that the spec asks for, or else one that serves, cannot be loaded.
	// Absent once it can.
	// +optional
	LastFailureInfo *FailureInfo `json:"lastFailureInfo,omitempty"`

	// Copies of the model that the spec asks for.
	// +optional
	ModelCopies *ModelCopies `json:"copies,omitempty"`
}

// ModelRevisionStates is the state of two models.
type ModelRevisionStates struct {
	// State of the model that is served.
	// +required
	ActiveModelState ModelState `json:"activeModelState"`

	// State of the model that the spec asks for.
	// +optional
	TargetModelState ModelState `json:"targetModelState,omitempty"`
}

// ModelCopies counts the copies of a model.
type ModelCopies struct {
	// Copies that failed to load.
	// +required
	FailedCopies int32 `json:"failedCopies"`

	// Copies in any state.
	// +optional
	TotalCopies int32 `json:"totalCopies,omitempty"`
}

// TransitionStatus says whether what is served is what the spec asks for.
//
// +kubebuilder:validation:Enum="";UpToDate;InProgress;BlockedByFailedLoad;InvalidSpec
type TransitionStatus string

// The values of TransitionStatus.
const (
	// UpToDate: what the spec asks for is loaded.
	UpToDate TransitionStatus = "UpToDate"
	// InProgress: what the spec asks for is being loaded.
	InProgress TransitionStatus = "InProgress"
	// BlockedByFailedLoad: what the spec asks for failed to load.
	BlockedByFailedLoad TransitionStatus = "BlockedByFailedLoad"
	// InvalidSpec: what the spec asks for cannot be run.
	InvalidSpec TransitionStatus = "InvalidSpec"
)

// ModelState is the state of one model.
//
// +kubebuilder:validation:Enum="";Pending;Standby;Loading;Loaded;FailedToLoad
type ModelState string

// The values of ModelState.
const (
	// Pending: no pod of the model has started yet.
	Pending ModelState = "Pending"
	// Standby: the model is scaled to nothing and loads when it is asked.
	Standby ModelState = "Standby"
	// Loading: the model is being fetched or read.
	Loading ModelState = "Loading"
	// Loaded: at least one copy of the model serves.
	Loaded ModelState = "Loaded"
	// FailedToLoad: every copy of the model failed.
	FailedToLoad ModelState = "FailedToLoad"
)

// FailureInfo is why a model could not be loaded.
type FailureInfo struct {
	// Where it failed, usually a pod.
	// +optional
	Location string `json:"location,omitempty"`

	// The class of failure.
	// +optional
	Reason FailureReason `json:"reason,omitempty"`

	// What happened, in the words of whoever reported it.
	// +optional
	Message string `json:"message,omitempty"`

	// The revision that failed.
	// +optional
	ModelRevisionName string `json:"modelRevisionName,omitempty"`

	// When it failed.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`

	// Exit code of the container that failed.
	// +optional
	ExitCode int32 `json:"exitCode,omitempty"`
}

// FailureReason is the class of a failure.
//
// +kubebuilder:validation:Enum=ModelLoadFailed;RuntimeUnhealthy;RuntimeDisabled;NoSupportingRuntime;RuntimeNotRecognized;InvalidPredictorSpec
type FailureReason string

// The values of FailureReason.
const (
	// ModelLoadFailed: a pod failed. The message says how.
	ModelLoadFailed FailureReason = "ModelLoadFailed"
	// RuntimeUnhealthy: no pod says why: the cluster refuses the pods, or none became
	// ready in time.
	RuntimeUnhealthy FailureReason = "RuntimeUnhealthy"
	// RuntimeDisabled: the serving runtime that the spec names is disabled.
	RuntimeDisabled FailureReason = "RuntimeDisabled"
	// NoSupportingRuntime: no serving runtime serves this format and protocol.
	NoSupportingRuntime FailureReason = "NoSupportingRuntime"
	// RuntimeNotRecognized: there is no serving runtime of the name that the spec
	// gives.
	RuntimeNotRecognized FailureReason = "RuntimeNotRecognized"
	// InvalidPredictorSpec: the predictor's spec is invalid or not supported.
	InvalidPredictorSpec FailureReason = "InvalidPredictorSpec"
)

// Phase is a short word for where a release stands.
type Phase string

// The phases of a release.
const (
	// PhasePending: nothing serves yet; the first revision is being brought up.
	PhasePending Phase = "Pending"
	// PhaseProgressing: a revision serves while the next one is being brought up, or
	// while traffic moves.
	PhaseProgressing Phase = "Progressing"
	// PhaseCanary: the revision that the spec asks for has its share, and the stable one
	// the rest.
	PhaseCanary Phase = "Canary"
	// PhaseRolledBack: the revision that the spec asks for is up and gets nothing, as its
	// percent of 0 says.
	PhaseRolledBack Phase = "RolledBack"
	// PhasePreview: the revision that the spec asks for is up and gets nothing, as its
	// percent is 0. It has had no traffic yet: nothing was rolled back.
	PhasePreview Phase = "Preview"
	// PhaseStable: one revision has everything and nothing is left to do.
	PhaseStable Phase = "Stable"
	// PhaseBlocked: the spec cannot be realised without help.
	PhaseBlocked Phase = "Blocked"
	// PhaseStopped: the user stopped the InferenceService.
	PhaseStopped Phase = "Stopped"
)
