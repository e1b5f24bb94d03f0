// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// InferenceService serves a machine learning model and releases its new
// versions step by step.
//
// Every change of what the predictor runs makes a numbered, immutable revision.
// spec.predictor.canaryTrafficPercent says how much of the traffic the revision
// that the spec asks for gets; the rest stays with the revision that was last
// promoted. To promote it, remove that field; to send all traffic back to the
// revision before it, set it to 0.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=inferenceservices,singular=inferenceservice,shortName=isvc,scope=Namespaced
// +kubebuilder:printcolumn:name="URL",type="string",JSONPath=".status.url"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Prev",type="integer",JSONPath=".status.components.predictor.traffic[?(@.tag=='prev')].percent"
// +kubebuilder:printcolumn:name="Latest",type="integer",JSONPath=".status.components.predictor.traffic[?(@.latestRevision==true)].percent"
// +kubebuilder:printcolumn:name="PrevRolledoutRevision",type="string",JSONPath=".status.components.predictor.traffic[?(@.tag=='prev')].revisionName"
// +kubebuilder:printcolumn:name="LatestReadyRevision",type="string",JSONPath=".status.components.predictor.traffic[?(@.latestRevision==true)].revisionName"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Phase",type="string",JSONPath=".status.phase",priority=1
// +kubebuilder:printcolumn:name="Reason",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason",priority=1
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",optionalOldSelf=true,fieldPath=".metadata",message="an InferenceService is named by lower case letters, digits and '-'; it begins with a letter and does not end with '-', such as sklearn-iris"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.metadata.name.size() <= 46",optionalOldSelf=true,fieldPath=".metadata",message="the name is longer than 46 characters: it is part of names of Services, labels and hosts, such as latest-<name>-predictor and <name>-predictor-100000, which end at 63"
type InferenceService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What to serve, and how much of the traffic this version of it gets.
	// +required
	Spec InferenceServiceSpec `json:"spec"`

	// What is served now. Written by the operator; deleting it loses nothing.
	// +optional
	Status InferenceServiceStatus `json:"status,omitempty"`
}

// InferenceServiceList is a list of InferenceServices.
//
// +kubebuilder:object:root=true
type InferenceServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []InferenceService `json:"items"`
}

// InferenceServiceSpec is what the user asks for.
type InferenceServiceSpec struct {
	// The model server: what it runs, how it scales and how its new revisions are
	// released.
	// +required
	Predictor PredictorSpec `json:"predictor"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="transformer is not supported: do the work before and after the prediction in the predictor itself, or in an InferenceService of its own, with containers, that calls this one"
	Transformer *Unsupported `json:"transformer,omitempty"`

	// Not supported: refused by the API server.
	// +optional
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue()",optionalOldSelf=true,reason="FieldValueForbidden",message="explainer is not supported: run it as an InferenceService of its own, with containers, that calls this one"
	Explainer *Unsupported `json:"explainer,omitempty"`

	// Not supported: refused by the API server. A canary is released with
	// predictor.canaryTrafficPercent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule="self.size() == 0",reason="FieldValueForbidden",message="canary is not supported: change predictor to the new version and set predictor.canaryTrafficPercent to its share"
	Canary []Unsupported `json:"canary,omitempty"`

	// Refused by the API server: the percent belongs in predictor.canaryTrafficPercent.
	// +optional
	// +kubebuilder:validation:XValidation:rule="false",reason="FieldValueForbidden",message="canaryTrafficPercent has no effect here: write it as spec.predictor.canaryTrafficPercent"
	CanaryTrafficPercent *intstr.IntOrString `json:"canaryTrafficPercent,omitempty"`
}

// Unsupported stands for a field that KServe has and Serinus does not act on.
// It exists so that the API server can refuse the field by name. An object that
// had the field before the CRD did may keep it: see UnsupportedFields.
//
// +kubebuilder:pruning:PreserveUnknownFields
type Unsupported struct{}
