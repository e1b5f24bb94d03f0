// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// ServingRuntime is a model server for the InferenceServices of its namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=servingruntimes,singular=servingruntime,scope=Namespaced
// +kubebuilder:printcolumn:name="Disabled",type="boolean",JSONPath=".spec.disabled"
// +kubebuilder:printcolumn:name="ModelType",type="string",JSONPath=".spec.supportedModelFormats[*].name"
// +kubebuilder:printcolumn:name="Containers",type="string",JSONPath=".spec.containers[*].name"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ServingRuntime struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The model formats that it serves, and its pod.
	// +required
	Spec ServingRuntimeSpec `json:"spec"`

	// +optional
	Status ServingRuntimeStatus `json:"status,omitempty"`
}

// ServingRuntimeList is a list of ServingRuntimes.
//
// +kubebuilder:object:root=true
type ServingRuntimeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServingRuntime `json:"items"`
}

// ClusterServingRuntime is a model server for the InferenceServices of every
// namespace. A ServingRuntime of their own namespace comes first.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=clusterservingruntimes,singular=clusterservingruntime,scope=Cluster
// +kubebuilder:printcolumn:name="Disabled",type="boolean",JSONPath=".spec.disabled"
// +kubebuilder:printcolumn:name="ModelType",type="string",JSONPath=".spec.supportedModelFormats[*].name"
// +kubebuilder:printcolumn:name="Containers",type="string",JSONPath=".spec.containers[*].name"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ClusterServingRuntime struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The model formats that it serves, and its pod.
	// +required
	Spec ServingRuntimeSpec `json:"spec"`

	// +optional
	Status ServingRuntimeStatus `json:"status,omitempty"`
}

// ClusterServingRuntimeList is a list of ClusterServingRuntimes.
//
// +kubebuilder:object:root=true
type ClusterServingRuntimeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ClusterServingRuntime `json:"items"`
}

// ServingRuntimeStatus is empty: a serving runtime is only read.
type ServingRuntimeStatus struct{}

// ServingRuntimeSpec is a model server: what it serves and how it is run.
//
// +kubebuilder:validation:XValidation:rule="!has(self.grpcEndpoint) || !has(self.multiModel) || !self.multiModel",fieldPath=".grpcEndpoint",reason="FieldValueForbidden",message="grpcEndpoint is for ModelMesh and not supported: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.grpcDataEndpoint) || !has(self.multiModel) || !self.multiModel",fieldPath=".grpcDataEndpoint",reason="FieldValueForbidden",message="grpcDataEndpoint is for ModelMesh and not supported: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.httpDataEndpoint) || !has(self.multiModel) || !self.multiModel",fieldPath=".httpDataEndpoint",reason="FieldValueForbidden",message="httpDataEndpoint is for ModelMesh and not supported: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || !has(self.multiModel) || !self.multiModel",fieldPath=".replicas",reason="FieldValueForbidden",message="replicas is for ModelMesh and not supported: remove it; InferenceServices set minReplicas and maxReplicas"
// +kubebuilder:validation:XValidation:rule="!has(self.storageHelper) || !has(self.multiModel) || !self.multiModel",fieldPath=".storageHelper",reason="FieldValueForbidden",message="storageHelper is for ModelMesh and not supported: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.builtInAdapter) || !has(self.multiModel) || !self.multiModel",fieldPath=".builtInAdapter",reason="FieldValueForbidden",message="builtInAdapter is for ModelMesh and not supported: remove it"
type ServingRuntimeSpec struct {
	// The model formats that this runtime serves.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name && (has(a.version) ? [a.version] : []) == (has(b.version) ? [b.version] : [])))",message="the same name and version is listed twice: keep one of them"
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.all(b, a.name != b.name || !(has(a.autoSelect) && a.autoSelect && has(b.autoSelect) && b.autoSelect && has(a.priority) && has(b.priority)) || a.priority == b.priority))",message="versions of one format have different priorities: give every entry of the same name with autoSelect the same priority"
	SupportedModelFormats []SupportedModelFormat `json:"supportedModelFormats,omitempty"`

	// Whether this runtime is out of use. InferenceServices that run with it keep
	// running; new revisions do not get it.
	// +optional
	Disabled *bool `json:"disabled,omitempty"`

	// The protocols that this runtime speaks. Absent: any.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ProtocolVersions []v1beta1.ProtocolVersion `json:"protocolVersions,omitempty"`

	ServingRuntimePodSpec `json:",inline"`

	// false, which is also what absence means. true belongs to ModelMesh and is refused
	// by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self",reason="FieldValueForbidden",message="multiModel: true is for ModelMesh and not supported: set false, or remove the field"
	MultiModel *bool `json:"multiModel,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="workerSpec (one model on several nodes) is not supported: use a runtime that needs one node"
	WorkerSpec *v1beta1.Unsupported `json:"workerSpec,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	GrpcMultiModelManagementEndpoint *string `json:"grpcEndpoint,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	GrpcDataEndpoint *string `json:"grpcDataEndpoint,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	HTTPDataEndpoint *string `json:"httpDataEndpoint,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	StorageHelper *runtime.RawExtension `json:"storageHelper,omitempty"`

	// For ModelMesh only: no effect, and refused together with multiModel: true.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	BuiltInAdapter *runtime.RawExtension `json:"builtInAdapter,omitempty"`
}

// SupportedModelFormat is a model format that a runtime serves.
type SupportedModelFormat struct {
	// Name of the format, such as sklearn.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Version of the format, such as "1" or "2.6".
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Version *string `json:"version,omitempty"`

	// Whether the operator may pick this runtime for the format by itself. Absent: only
	// an InferenceService that names the runtime gets it.
	// +optional
	AutoSelect *bool `json:"autoSelect,omitempty"`

	// Where several runtimes may be picked for the format, the highest priority wins.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Priority *int32 `json:"priority,omitempty"`
}

// ServingRuntimePodSpec holds the fields of a pod that a runtime may set.
type ServingRuntimePodSpec struct {
	// The containers of the pod. The one that serves is called kserve-container; fields
	// of an InferenceService's model are merged over it, and its args come after those
	// that are given here. {{.Name}}, {{.Namespace}}, {{.Labels.x}} and
	// {{.Annotations.x}} stand for those of the InferenceService.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.exists(c, c.name == 'kserve-container')",message="no container is called kserve-container: give that name to the one that serves the predictions"
	Containers []corev1.Container `json:"containers"`

	// Volumes that the containers may mount.
	// +optional
	// +listType=map
	// +listMapKey=name
	Volumes []corev1.Volume `json:"volumes,omitempty"`

	// Labels that a node must have to run the pods.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Nodes and other pods that the pods should run near to, or far from.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// Taints of nodes that the pods tolerate.
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Labels for the pods.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations for the pods.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// Secrets of the InferenceService's namespace with which images are pulled.
	// +optional
	// +listType=map
	// +listMapKey=name
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// Use the node's shared memory and other means of communication.
	// +optional
	HostIPC bool `json:"hostIPC,omitempty"`

	// Scheduler that places the pods.
	// +optional
	SchedulerName string `json:"schedulerName,omitempty"`

	// Devices that must be allocated before the pods start.
	// +optional
	// +listType=map
	// +listMapKey=name
	ResourceClaims []corev1.PodResourceClaim `json:"resourceClaims,omitempty"`
}
