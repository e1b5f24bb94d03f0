// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ScaleTarget is what an external autoscaler scales: the revision of an InferenceService with the largest share of the
// traffic, under a name that does not change with the revision. On a tie it is the stable revision.
//
// The operator creates one for each InferenceService in Standard mode with the annotation
// serving.kserve.io/autoscalerClass: external. Its name is that of the InferenceService with "-predictor" appended. Name it
// in the scaleTargetRef of a HorizontalPodAutoscaler or of KEDA's ScaledObject, or scale it by hand:
// kubectl scale scaletarget sklearn-iris-predictor --replicas=4.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=scaletargets,singular=scaletarget,scope=Namespaced
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Desired",type="integer",JSONPath=".spec.replicas"
// +kubebuilder:printcolumn:name="Current",type="integer",JSONPath=".status.replicas"
// +kubebuilder:printcolumn:name="Revision",type="string",JSONPath=".status.revisionName"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ScaleTarget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// How many replicas to run.
	// +required
	Spec ScaleTargetSpec `json:"spec"`

	// The revision that is scaled now, and its replicas.
	// +optional
	Status ScaleTargetStatus `json:"status,omitempty"`
}

// ScaleTargetSpec is what an autoscaler writes.
type ScaleTargetSpec struct {
	// The number of replicas of the revision with the largest share. Until it is set by an autoscaler or a person, it
	// follows that revision's Deployment. From then on the Deployment follows it, also to 0. While traffic shifts, the
	// Deployment may have more replicas than this.
	// +kubebuilder:validation:Minimum=0
	// +required
	Replicas int32 `json:"replicas"`
}

// ScaleTargetStatus is what an autoscaler reads.
type ScaleTargetStatus struct {
	// The number of pods of the revision.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// The label selector of these pods, as text.
	// +optional
	Selector string `json:"selector,omitempty"`
	// The name of the revision with the largest share of the traffic.
	// +optional
	RevisionName string `json:"revisionName,omitempty"`
}

// ScaleTargetList is a list of ScaleTargets.
//
// +kubebuilder:object:root=true
type ScaleTargetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ScaleTarget `json:"items"`
}
