// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

// Annotations that a user may put on an InferenceService.
const (
	// AnnotationDeploymentMode chooses how the predictor is run. It cannot change on a
	// live object. See [DeploymentMode].
	AnnotationDeploymentMode = "serving.kserve.io/deploymentMode"
	// AnnotationEnableTagRouting, "true", gives each revision that is in the traffic a
	// URL of its own.
	AnnotationEnableTagRouting = "serving.kserve.io/enable-tag-routing"
	// AnnotationStop, "true", scales everything away and forgets nothing.
	AnnotationStop = "serving.kserve.io/stop"
	// AnnotationDisableAutoUpdate, "true", keeps an InferenceService as it is when its
	// serving runtime changes.
	AnnotationDisableAutoUpdate = "serving.kserve.io/disable-auto-update"
	// AnnotationAutoscalerClass chooses who scales the predictor. See [AutoscalerClass].
	AnnotationAutoscalerClass = "serving.kserve.io/autoscalerClass"
	// AnnotationMetrics is KServe's older way to write scaleMetric.
	AnnotationMetrics = "serving.kserve.io/metrics"
	// AnnotationTargetUtilizationPercentage is KServe's older way to write scaleTarget.
	AnnotationTargetUtilizationPercentage = "serving.kserve.io/targetUtilizationPercentage"
	// AnnotationEnablePrometheusScraping, "true", marks the pods for Prometheus to
	// scrape.
	AnnotationEnablePrometheusScraping = "serving.kserve.io/enable-prometheus-scraping"
	// AnnotationProgressDeadline, Knative's own, is how long a revision may take to become
	// ready before it counts as failed, such as "20m".
	AnnotationProgressDeadline = "serving.knative.dev/progress-deadline"
	// AnnotationStorageSecretName names the secret with the credentials for storage.key,
	// instead of storage-config.
	AnnotationStorageSecretName = "serving.kserve.io/storageSecretName"
	// AnnotationCredentials, in the annotations of the predictor, makes a revision with
	// the present credentials for storage whenever its value changes.
	AnnotationCredentials = "serinus.io/credentials"
	// AnnotationCanaryPolicy names the CanaryPolicy or ClusterCanaryPolicy that releases new
	// revisions. [CanaryPolicyNone] means that no policy does, whatever their selectors match.
	AnnotationCanaryPolicy = "serinus.io/canary-policy"
	// AnnotationApprove approves a share of a trial, such as 2.1/50. A trial is a revision and the
	// number of the attempt at it, such as 2.1.
	AnnotationApprove = "serinus.io/approve"
	// AnnotationPause keeps the share of a trial from going up for as long as it is there.
	AnnotationPause = "serinus.io/pause"
	// AnnotationAbort rejects the canary of a trial.
	AnnotationAbort = "serinus.io/abort"
	// AnnotationPromote promotes the canary of a trial without waiting for holds, proof or approvals.
	AnnotationPromote = "serinus.io/promote"
	// AnnotationRetry begins another trial of a rejected revision.
	AnnotationRetry = "serinus.io/retry"
	// AnnotationStorageReadonly, "false", mounts the model writable.
	AnnotationStorageReadonly = "storage.kserve.io/readonly"
)

// CanaryPolicyNone is the value of AnnotationCanaryPolicy for no policy.
const CanaryPolicyNone = "none"

// Labels that a user may put on an InferenceService.
const (
	// LabelNetworkVisibility with the value [VisibilityClusterLocal] keeps an
	// InferenceService off the outer gateway, in both modes.
	LabelNetworkVisibility = "networking.kserve.io/visibility"
	// LabelKnativeNetworkVisibility is Knative's label with the same effect, in both
	// modes.
	LabelKnativeNetworkVisibility = "networking.knative.dev/visibility"
	// VisibilityClusterLocal is the value of both.
	VisibilityClusterLocal = "cluster-local"
)

// Labels that the operator puts on what it makes.
const (
	// LabelInferenceService is on every child and names its InferenceService.
	LabelInferenceService = "serving.kserve.io/inferenceservice"
	// LabelRevision is on every child of a revision and names it.
	LabelRevision = "serving.kserve.io/revision"
	// LabelComponent is on every child and names its component.
	LabelComponent = "component"
	// LabelManagedBy is on every child.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBySerinus is the value of LabelManagedBy.
	ManagedBySerinus = "serinus"
)

// DeploymentMode is a way to run a predictor.
type DeploymentMode string

// The values of AnnotationDeploymentMode.
const (
	// DeploymentModeStandard runs Deployments behind a Gateway API HTTPRoute.
	DeploymentModeStandard DeploymentMode = "Standard"
	// DeploymentModeKnative runs a Knative Service, whose revisions Knative makes and scales.
	DeploymentModeKnative DeploymentMode = "Knative"
	// DeploymentModeRawDeployment is KServe's old name of Standard.
	DeploymentModeRawDeployment DeploymentMode = "RawDeployment"
	// DeploymentModeServerless is KServe's old name of Knative.
	DeploymentModeServerless DeploymentMode = "Serverless"
)

// AutoscalerClass is who scales a predictor.
type AutoscalerClass string

// The values of AnnotationAutoscalerClass.
const (
	// AutoscalerClassHPA is Kubernetes' HorizontalPodAutoscaler, made by the operator.
	AutoscalerClassHPA AutoscalerClass = "hpa"
	// AutoscalerClassExternal is an autoscaler of the user's own.
	AutoscalerClassExternal AutoscalerClass = "external"
	// AutoscalerClassNone keeps minReplicas.
	AutoscalerClassNone AutoscalerClass = "none"
)

// ServingContainerName is the name of the container that serves the predictions.
const ServingContainerName = "kserve-container"

// Tags of the traffic entries and, with tag routing, of their host names.
const (
	// TagPrevious is the tag of the entry of the revision that was last promoted.
	TagPrevious = "prev"
	// TagLatest is the tag of the entry of the revision that the spec asks for, with tag
	// routing.
	TagLatest = "latest"
)
