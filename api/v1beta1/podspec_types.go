// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
)

// PodSpec holds the fields of a pod that a predictor may set, under Kubernetes'
// own names. It is a type of its own because containers is optional here: with
// model, the containers come from the serving runtime.
type PodSpec struct {
	// A model server of your own, instead of model. The container that serves is
	// called kserve-container; that is also the name of a container that has none.
	// Beside a model: more containers of its pods. One that is called
	// transformer-container takes the requests, and asks the model server.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Containers []corev1.Container `json:"containers,omitempty"`

	// Containers that run to their end, in this order, before the predictor starts.
	// +optional
	// +listType=map
	// +listMapKey=name
	InitContainers []corev1.Container `json:"initContainers,omitempty"`

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

	// How the pods spread over zones, nodes or other parts of the cluster.
	// +optional
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// Service account of the pods. Its secrets are also the credentials for the
	// storage that the model is fetched from.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Old name of serviceAccountName.
	// +optional
	DeprecatedServiceAccount string `json:"serviceAccount,omitempty"`

	// Whether the service account's token is mounted into the pods.
	// +optional
	AutomountServiceAccountToken *bool `json:"automountServiceAccountToken,omitempty"`

	// Secrets of this namespace with which images are pulled.
	// +optional
	// +listType=map
	// +listMapKey=name
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// Security settings of the whole pod, such as user, group and seccomp profile.
	// +optional
	SecurityContext *corev1.PodSecurityContext `json:"securityContext,omitempty"`

	// Priority class of the pods.
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// Priority of the pods; must be that of their priority class.
	// +optional
	Priority *int32 `json:"priority,omitempty"`

	// Whether the pods may displace others of lower priority.
	// +optional
	PreemptionPolicy *corev1.PreemptionPolicy `json:"preemptionPolicy,omitempty"`

	// Runtime class of the pods, such as one for sandboxed containers.
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`

	// Scheduler that places the pods.
	// +optional
	SchedulerName string `json:"schedulerName,omitempty"`

	// Gates that hold back the scheduling of the pods.
	// +optional
	// +listType=map
	// +listMapKey=name
	SchedulingGates []corev1.PodSchedulingGate `json:"schedulingGates,omitempty"`

	// Devices that must be allocated before the pods start.
	// +optional
	// +listType=map
	// +listMapKey=name
	ResourceClaims []corev1.PodResourceClaim `json:"resourceClaims,omitempty"`

	// Requests and limits of the whole pod.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// Seconds that the containers get to end after they were asked to.
	// +optional
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`

	// Conditions of the pod that must be True before it counts as ready.
	// +optional
	// +listType=atomic
	ReadinessGates []corev1.PodReadinessGate `json:"readinessGates,omitempty"`

	// Only Always is possible.
	// +optional
	// +kubebuilder:validation:Enum=Always
	RestartPolicy corev1.RestartPolicy `json:"restartPolicy,omitempty"`

	// How the pods resolve names.
	// +optional
	DNSPolicy corev1.DNSPolicy `json:"dnsPolicy,omitempty"`

	// Name servers, search domains and options of the pods' resolver.
	// +optional
	DNSConfig *corev1.PodDNSConfig `json:"dnsConfig,omitempty"`

	// Entries of the pods' hosts file.
	// +optional
	// +listType=map
	// +listMapKey=ip
	HostAliases []corev1.HostAlias `json:"hostAliases,omitempty"`

	// Host name of the pods.
	// +optional
	Hostname string `json:"hostname,omitempty"`

	// Subdomain of the pods' full host name.
	// +optional
	Subdomain string `json:"subdomain,omitempty"`

	// Host name that the pods see, in place of all other rules.
	// +optional
	HostnameOverride *string `json:"hostnameOverride,omitempty"`

	// Whether the pods' host name is their full name.
	// +optional
	SetHostnameAsFQDN *bool `json:"setHostnameAsFQDN,omitempty"`

	// Whether the Services of the namespace are in the containers' environment.
	// +optional
	EnableServiceLinks *bool `json:"enableServiceLinks,omitempty"`

	// Node to run on, past the scheduler.
	// +optional
	NodeName string `json:"nodeName,omitempty"`

	// Use the node's network.
	// +optional
	HostNetwork bool `json:"hostNetwork,omitempty"`

	// Use the node's process ids.
	// +optional
	HostPID bool `json:"hostPID,omitempty"`

	// Use the node's shared memory and other means of communication.
	// +optional
	HostIPC bool `json:"hostIPC,omitempty"`

	// Whether the pods use the node's user ids.
	// +optional
	HostUsers *bool `json:"hostUsers,omitempty"`

	// Whether the containers of a pod see each other's processes.
	// +optional
	ShareProcessNamespace *bool `json:"shareProcessNamespace,omitempty"`

	// Resources that the pod needs beside its containers; must be those of its runtime
	// class.
	// +optional
	Overhead corev1.ResourceList `json:"overhead,omitempty"`

	// Operating system of the pods.
	// +optional
	OS *corev1.PodOS `json:"os,omitempty"`

	// Not supported: refused by the API server. A predictor runs until it is replaced.
	// +optional
	// +kubebuilder:validation:XValidation:rule="false",reason="FieldValueForbidden",message="activeDeadlineSeconds is not supported: a predictor runs until it is replaced"
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// Not supported: refused by the API server. Use kubectl debug on a running pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="ephemeralContainers is not supported: use kubectl debug on a running pod"
	EphemeralContainers []Unsupported `json:"ephemeralContainers,omitempty"`
}
