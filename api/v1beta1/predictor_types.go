// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// PredictorSpec says what serves the predictions: model, containers or one of
// the framework fields (sklearn, xgboost, …). Beside a model, containers are more
// containers of its pods. An update may add model to a framework field, as it may in
// KServe: the fields of model then win.
//
// +kubebuilder:validation:XValidation:rule="[has(self.model), has(self.sklearn), has(self.xgboost), has(self.tensorflow), has(self.pytorch), has(self.triton), has(self.onnx), has(self.huggingface), has(self.pmml), has(self.lightgbm), has(self.paddle), has(self.containers) && self.containers.size() > 0].exists(set, set)",message="nothing to serve: set model (modelFormat and storageUri), containers (a model server of your own) or one framework field (sklearn, xgboost, tensorflow, pytorch, triton, onnx, huggingface, pmml, lightgbm, paddle)"
// +kubebuilder:validation:XValidation:rule="[has(self.model), has(self.sklearn), has(self.xgboost), has(self.tensorflow), has(self.pytorch), has(self.triton), has(self.onnx), has(self.huggingface), has(self.pmml), has(self.lightgbm), has(self.paddle)].filter(set, set).size() <= 1 || oldSelf.hasValue() && [!has(self.sklearn) || has(oldSelf.value().sklearn) && (!has(oldSelf.value().model) || self.sklearn == oldSelf.value().sklearn), !has(self.xgboost) || has(oldSelf.value().xgboost) && (!has(oldSelf.value().model) || self.xgboost == oldSelf.value().xgboost), !has(self.tensorflow) || has(oldSelf.value().tensorflow) && (!has(oldSelf.value().model) || self.tensorflow == oldSelf.value().tensorflow), !has(self.pytorch) || has(oldSelf.value().pytorch) && (!has(oldSelf.value().model) || self.pytorch == oldSelf.value().pytorch), !has(self.triton) || has(oldSelf.value().triton) && (!has(oldSelf.value().model) || self.triton == oldSelf.value().triton), !has(self.onnx) || has(oldSelf.value().onnx) && (!has(oldSelf.value().model) || self.onnx == oldSelf.value().onnx), !has(self.huggingface) || has(oldSelf.value().huggingface) && (!has(oldSelf.value().model) || self.huggingface == oldSelf.value().huggingface), !has(self.pmml) || has(oldSelf.value().pmml) && (!has(oldSelf.value().model) || self.pmml == oldSelf.value().pmml), !has(self.lightgbm) || has(oldSelf.value().lightgbm) && (!has(oldSelf.value().model) || self.lightgbm == oldSelf.value().lightgbm), !has(self.paddle) || has(oldSelf.value().paddle) && (!has(oldSelf.value().model) || self.paddle == oldSelf.value().paddle)].all(kept, kept)",optionalOldSelf=true,message="several models are set: keep one of model, sklearn, xgboost, tensorflow, pytorch, triton, onnx, huggingface, pmml, lightgbm and paddle"
// +kubebuilder:validation:XValidation:rule="!has(self.containers) || !self.containers.exists(c, c.name == 'kserve-container') || ![has(self.model), has(self.sklearn), has(self.xgboost), has(self.tensorflow), has(self.pytorch), has(self.triton), has(self.onnx), has(self.huggingface), has(self.pmml), has(self.lightgbm), has(self.paddle)].exists(set, set)",fieldPath=".containers",message="containers and a model both say what kserve-container runs: remove that container to have the model served by a ServingRuntime, or remove the model; a container beside the model server, such as transformer-container, needs a name of its own"
// +kubebuilder:validation:XValidation:rule="!has(self.containers) || self.containers.size() <= 1 || self.containers.exists(c, c.name == 'kserve-container') || [has(self.model), has(self.sklearn), has(self.xgboost), has(self.tensorflow), has(self.pytorch), has(self.triton), has(self.onnx), has(self.huggingface), has(self.pmml), has(self.lightgbm), has(self.paddle)].exists(set, set)",fieldPath=".containers",message="of several containers, one is called kserve-container: the one that serves the predictions"
type PredictorSpec struct {
	// The model to serve, by its format and its place in storage. The operator
	// picks a ServingRuntime that serves the format, unless model.runtime names one.
	// +optional
	Model *ModelSpec `json:"model,omitempty"`

	// KServe's older way to write model with modelFormat sklearn.
	// +optional
	SKLearn *PredictorExtensionSpec `json:"sklearn,omitempty"`

	// KServe's older way to write model with modelFormat xgboost.
	// +optional
	XGBoost *PredictorExtensionSpec `json:"xgboost,omitempty"`

	// KServe's older way to write model with modelFormat tensorflow.
	// +optional
	Tensorflow *PredictorExtensionSpec `json:"tensorflow,omitempty"`

	// KServe's older way to write model with modelFormat pytorch.
	// +optional
	PyTorch *PredictorExtensionSpec `json:"pytorch,omitempty"`

	// KServe's older way to write model with modelFormat triton, which speaks
	// protocol v2 unless protocolVersion says otherwise.
	// +optional
	Triton *PredictorExtensionSpec `json:"triton,omitempty"`

	// KServe's older way to write model with modelFormat onnx, which speaks
	// protocol v2 unless protocolVersion says otherwise.
	// +optional
	ONNX *PredictorExtensionSpec `json:"onnx,omitempty"`

	// KServe's older way to write model with modelFormat huggingface, which speaks
	// protocol v2 unless protocolVersion says otherwise.
	// +optional
	HuggingFace *PredictorExtensionSpec `json:"huggingface,omitempty"`

	// KServe's older way to write model with modelFormat pmml.
	// +optional
	PMML *PredictorExtensionSpec `json:"pmml,omitempty"`

	// KServe's older way to write model with modelFormat lightgbm.
	// +optional
	LightGBM *PredictorExtensionSpec `json:"lightgbm,omitempty"`

	// KServe's older way to write model with modelFormat paddle.
	// +optional
	Paddle *PredictorExtensionSpec `json:"paddle,omitempty"`

	PodSpec                `json:",inline"`
	ComponentExtensionSpec `json:",inline"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="workerSpec (one model on several nodes) is not supported: use a serving runtime that needs one node"
	WorkerSpec *Unsupported `json:"workerSpec,omitempty"`

	// Not supported: refused by the API server. Use model.storageUri.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="storageUris is not supported: set model.storageUri"
	StorageUris []Unsupported `json:"storageUris,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="storageContainerName is not supported: the image that fetches models is set in the configuration of the operator"
	StorageContainerName *string `json:"storageContainerName,omitempty"`

	// Not supported: refused by the API server. Revisions are named by the operator.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="name is not supported: the operator names the revisions"
	Name string `json:"name,omitempty"`
}

// ModelSpec is a model in storage and how to serve it. Fields of a container
// (args, env, resources, …) are merged over the container kserve-container of
// the serving runtime.
type ModelSpec struct {
	// The format of the model.
	// +required
	ModelFormat ModelFormat `json:"modelFormat"`

	// Name of the ServingRuntime or, if the namespace has none of that name, the
	// ClusterServingRuntime to use. Absent: the operator picks one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Runtime *string `json:"runtime,omitempty"`

	PredictorExtensionSpec `json:",inline"`
}

// ModelFormat names a format that serving runtimes list as supported.
type ModelFormat struct {
	// Name of the format, such as sklearn, xgboost or huggingface.
	// +required
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Version of the format, as the serving runtime lists it, such as "1" or "2.6".
	// +optional
	Version *string `json:"version,omitempty"`
}

// PredictorExtensionSpec is where a model is and what its server speaks, with
// the fields of the container that serves it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.name) || self.name.size() == 0 || self.name == 'kserve-container'",fieldPath=".name",reason="FieldValueForbidden",message="name is not allowed here: the container that serves a model is always called kserve-container"
// +kubebuilder:validation:XValidation:rule="!(has(self.storageUri) && has(self.storage) && has(self.storage.path))",fieldPath=".storage.path",message="storageUri and storage.path both say where the model is: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || has(self.storageUri) || has(self.storage.path)",fieldPath=".storage",message="storage does not say which model to fetch: set storage.path, or storageUri beside storage"
type PredictorExtensionSpec struct {
	// Where the model is: gs://, s3://, hf://, pvc://claim/path, oci://image (also
	// oci+native://), https:// (Azure Blob Storage too), http://, hdfs://, webhdfs://,
	// file:// or a local path.
	// +optional
	// +kubebuilder:validation:MinLength=1
	StorageURI *string `json:"storageUri,omitempty"`

	// Tag of the serving runtime's image to use instead of the tag that it names. An
	// image that is pinned by a digest has none: a condition refuses it then.
	// +optional
	// +kubebuilder:validation:MinLength=1
	RuntimeVersion *string `json:"runtimeVersion,omitempty"`

	// Protocol that clients speak to this model. Absent means v1, and v2 for what
	// KServe gives v2: the formats triton and vLLM, and the fields triton, onnx and
	// huggingface.
	// +optional
	ProtocolVersion *ProtocolVersion `json:"protocolVersion,omitempty"`

	// Where the model is and with which credentials, by a key of the secret
	// storage-config.
	// +optional
	Storage *StorageSpec `json:"storage,omitempty"`

	corev1.Container `json:",inline"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="confidential is not supported: set runtimeClassName of the predictor to a confidential runtime, and decrypt the model in the model server"
	Confidential *Unsupported `json:"confidential,omitempty"`
}

// ProtocolVersion is a protocol that clients use to ask for predictions.
//
// +kubebuilder:validation:Enum=v1;v2;grpc-v1;grpc-v2
type ProtocolVersion string

// The protocols that a predictor and a serving runtime can name.
const (
	// ProtocolV1: KServe's own REST protocol, /v1/models/<name>:predict.
	ProtocolV1 ProtocolVersion = "v1"
	// ProtocolV2: the Open Inference Protocol over REST, /v2/models/<name>/infer.
	ProtocolV2 ProtocolVersion = "v2"
	// ProtocolGRPCV1: the gRPC protocol of TensorFlow Serving.
	ProtocolGRPCV1 ProtocolVersion = "grpc-v1"
	// ProtocolGRPCV2: the Open Inference Protocol over gRPC.
	ProtocolGRPCV2 ProtocolVersion = "grpc-v2"
)

// StorageSpec is a place in an object store together with its credentials.
type StorageSpec struct {
	// Path of the model in the bucket that the key or the parameters name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Path *string `json:"path,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="schemaPath is not supported: KServe does not read it either; remove it"
	SchemaPath *string `json:"schemaPath,omitempty"`

	// Settings that override those of the key, such as type, bucket or endpoint_url.
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`

	// Key in the secret storage-config of the namespace.
	// +optional
	StorageKey *string `json:"key,omitempty"`
}

// ScaleMetric is what the number of replicas follows.
//
// +kubebuilder:validation:Enum=cpu;memory;concurrency;rps
type ScaleMetric string

// The metrics that a predictor can scale by.
const (
	// MetricCPU: processor time, in percent of the request.
	MetricCPU ScaleMetric = "cpu"
	// MetricMemory: memory, in percent of the request.
	MetricMemory ScaleMetric = "memory"
	// MetricConcurrency: requests in flight for each replica; not possible in Standard
	// mode.
	MetricConcurrency ScaleMetric = "concurrency"
	// MetricRPS: requests per second for each replica; not possible in Standard mode.
	MetricRPS ScaleMetric = "rps"
)

// ComponentExtensionSpec says how the predictor scales and how its revisions are
// released.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || !has(self.maxReplicas) || self.maxReplicas == 0 || self.minReplicas <= self.maxReplicas",fieldPath=".minReplicas",message="minReplicas is above maxReplicas: lower minReplicas or raise maxReplicas"
type ComponentExtensionSpec struct {
	// Fewest replicas of each revision that serves. Absent means 1, and so does 0: in
	// Standard mode, nothing could start a replica when a request comes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// Most replicas of each revision that serves. Absent or 0: as many as minReplicas.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxReplicas int32 `json:"maxReplicas,omitempty"`

	// Value of scaleMetric that scaling aims at, in percent of the request for cpu and
	// memory.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ScaleTarget *int32 `json:"scaleTarget,omitempty"`

	// What the number of replicas follows: cpu or memory, and in Knative mode concurrency
	// or rps. In Standard mode nothing counts requests, and a condition blocks those two.
	// +optional
	ScaleMetric *ScaleMetric `json:"scaleMetric,omitempty"`

	// Most requests that one replica handles at the same time. Absent or 0: no limit. In
	// Standard mode nothing counts requests, and a condition blocks any other value.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ContainerConcurrency *int64 `json:"containerConcurrency,omitempty"`

	// Seconds after which a request that got no answer is ended. Absent or 0: the
	// default of the gateway.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TimeoutSeconds *int64 `json:"timeout,omitempty"`

	// Share of the traffic, 0 to 100, that the revision that the spec asks for gets once
	// it is ready; the rest stays with the revision that was last promoted. Absent, and
	// 100 too, promotes the revision that the spec asks for. 0 keeps it out of the
	// traffic; after a promotion, a share below 100 goes back to the revision before it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 100",message="write the share of the newest revision as 0 to 100: 0 keeps it out of the traffic, and removing the field promotes it"
	CanaryTrafficPercent *int64 `json:"canaryTrafficPercent,omitempty"`

	// Labels for the pods, over those of the InferenceService and the serving runtime.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations for the pods, over those of the InferenceService and the serving
	// runtime.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// How the pods of one revision are replaced when the operator has to change them.
	// Standard mode only.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type in ['', 'RollingUpdate', 'Recreate']",fieldPath=".type",message="write RollingUpdate or Recreate"
	// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Recreate' || !has(self.rollingUpdate)",fieldPath=".rollingUpdate",reason="FieldValueForbidden",message="rollingUpdate does not go with type Recreate: remove one of them"
	// +kubebuilder:validation:XValidation:rule="!has(self.rollingUpdate) || !has(self.rollingUpdate.maxSurge) || (type(self.rollingUpdate.maxSurge) == int ? self.rollingUpdate.maxSurge >= 0 : self.rollingUpdate.maxSurge.matches('^[0-9]+%$'))",fieldPath=".rollingUpdate.maxSurge",message="write a whole number without quotes, such as 0 or 1, or a percentage, such as 25%"
	// +kubebuilder:validation:XValidation:rule="!has(self.rollingUpdate) || !has(self.rollingUpdate.maxUnavailable) || (type(self.rollingUpdate.maxUnavailable) == int ? self.rollingUpdate.maxUnavailable >= 0 : self.rollingUpdate.maxUnavailable.matches('^0*(100|[0-9]{1,2})%$'))",fieldPath=".rollingUpdate.maxUnavailable",message="write a whole number without quotes, such as 0 or 1, or a percentage up to 100%, such as 25%"
	// +kubebuilder:validation:XValidation:rule="!has(self.rollingUpdate) || !has(self.rollingUpdate.maxSurge) || !has(self.rollingUpdate.maxUnavailable) || ![self.rollingUpdate.maxSurge, self.rollingUpdate.maxUnavailable].all(most, type(most) == int ? most == 0 : most.matches('^0+%$'))",fieldPath=".rollingUpdate",message="maxSurge and maxUnavailable are both 0, so that no pod could be replaced: raise one of them"
	DeploymentStrategy *appsv1.DeploymentStrategy `json:"deploymentStrategy,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="scaleMetricType is not supported: scaleTarget is a percent of the request for cpu and memory, and a number for each replica for concurrency and rps"
	ScaleMetricType *string `json:"scaleMetricType,omitempty"`

	// Not supported: refused by the API server. Use minReplicas, maxReplicas,
	// scaleMetric and scaleTarget.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="autoScaling is not supported: set minReplicas, maxReplicas, scaleMetric and scaleTarget, or bring your own autoscaler and set the annotation serving.kserve.io/autoscalerClass to external"
	AutoScaling *Unsupported `json:"autoScaling,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="logger is not supported: log requests in the model server or at the gateway"
	Logger *Unsupported `json:"logger,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="batcher is not supported: use a model server that batches requests itself"
	Batcher *Unsupported `json:"batcher,omitempty"`
}
