// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CanaryPolicy releases the new revisions of InferenceServices in its namespace step by step.
//
// It applies to an InferenceService that names it in the annotation serinus.io/canary-policy, or
// whose labels match its selector. If canaryTrafficPercent is absent there, the policy moves the
// share of the traffic. A percent that is set takes precedence.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=canarypolicies,singular=canarypolicy,shortName=canpol,scope=Namespaced
// +kubebuilder:printcolumn:name="Bake",type="string",JSONPath=".spec.bake"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'none' && self.metadata.name.size() <= 63",fieldPath=".metadata",message="write a name of at most 63 characters other than none, which in the annotation serinus.io/canary-policy means no policy"
type CanaryPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// How a new revision is released.
	// +required
	Spec CanaryPolicySpec `json:"spec"`
}

// CanaryPolicyList is a list of CanaryPolicies.
//
// +kubebuilder:object:root=true
type CanaryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []CanaryPolicy `json:"items"`
}

// ClusterCanaryPolicy releases the new revisions of InferenceServices in all namespaces step by
// step. A CanaryPolicy in the namespace of an InferenceService takes precedence.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=clustercanarypolicies,singular=clustercanarypolicy,shortName=ccanpol,scope=Cluster
// +kubebuilder:printcolumn:name="Bake",type="string",JSONPath=".spec.bake"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'none' && self.metadata.name.size() <= 63",fieldPath=".metadata",message="write a name of at most 63 characters other than none, which in the annotation serinus.io/canary-policy means no policy"
type ClusterCanaryPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// How a new revision is released.
	// +required
	Spec CanaryPolicySpec `json:"spec"`
}

// ClusterCanaryPolicyList is a list of ClusterCanaryPolicies.
//
// +kubebuilder:object:root=true
type ClusterCanaryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ClusterCanaryPolicy `json:"items"`
}

// CanaryPolicySpec describes how a new revision is released.
type CanaryPolicySpec struct {
	// The labels of the InferenceServices that the policy applies to, unless they name a policy
	// themselves. Absent or empty, it matches none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && e.values.size() > 0 : e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || e.values.size() == 0))",fieldPath=".matchExpressions",message="write the operator In or NotIn with values, or Exists or DoesNotExist without values"
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// The shares of the traffic that the canary gets before its promotion, in ascending order.
	// +required
	// +listType=map
	// +listMapKey=percent
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:XValidation:rule="self.map(s, s.percent).isSorted()",message="write the steps in ascending order of percent"
	Steps []Step `json:"steps"`

	// The step to 100 %, which follows the last of steps.
	// +optional
	Promotion *Promotion `json:"promotion,omitempty"`

	// What is measured before the share goes up, and what makes it go to 0. Absent: nothing is
	// measured, and the share depends on time, readiness and approvals only. An empty object ({})
	// compares the failed requests and the latency of the canary with those of the stable revision.
	// +optional
	Analysis *Analysis `json:"analysis,omitempty"`

	// How long the previous revision stays loaded after the promotion. Harm in this time undoes the
	// promotion. The previous revision gets no requests then, so the canary is compared with what
	// was measured before; a step of 95 is the stronger test. 0s to 168h, default 0s.
	// +optional
	Bake Duration `json:"bake,omitempty"`

	// What happens to a rejected canary.
	// +optional
	Rejected *Rejected `json:"rejected,omitempty"`

	// How long a canary may take to become ready.
	// +optional
	Deadlines *Deadlines `json:"deadlines,omitempty"`
}

// Duration is a duration such as 30s, 5m or 1h30m. An empty one counts as absent.
//
// +kubebuilder:validation:MaxLength=20
// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(h|m|s|ms))+$') && duration(self) <= duration('168h')",message="write a duration from 0s to 168h, such as 5m or 1h30m"
type Duration string

// Ratio is a decimal number as text, such as "1.5".
//
// +kubebuilder:validation:MaxLength=10
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,3}([.][0-9]{1,6})?$') && double(self) >= 1.0 && double(self) <= 100.0",message="write a ratio from 1 to 100 in quotes, such as \"1.5\""
type Ratio string

// Percentage is a percentage as text, such as 0.1% or 95%.
//
// +kubebuilder:validation:MaxLength=10
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,2}([.][0-9]{1,6})?%$')",message="write a percentage from 0% to below 100%, such as 0.1%"
type Percentage string

// Approval says whether a person must approve.
//
// +kubebuilder:validation:Enum=Automatic;Required
type Approval string

// The values of Approval.
const (
	// ApprovalAutomatic needs no approval.
	ApprovalAutomatic Approval = "Automatic"
	// ApprovalRequired waits for the annotation serinus.io/approve.
	ApprovalRequired Approval = "Required"
)

// Step is a share of the traffic for the canary.
type Step struct {
	// The share, 0 to 99. At 0 the canary is loaded and can be reached by its tag, and no evidence
	// is asked for.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=99
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 99",message="write a share from 0 to 99: the promotion to 100 follows the last step"
	Percent int32 `json:"percent"`

	// The minimum time at this share. It counts only while the gateway serves the share. 0s to
	// 168h, default 5m.
	// +optional
	Hold Duration `json:"hold,omitempty"`

	// Required: this share is given only after an approval, which is the annotation
	// serinus.io/approve with the trial and the share, such as 2.1/50. Default Automatic.
	// +optional
	Approval Approval `json:"approval,omitempty"`
}

// Promotion is the step to 100 %.
type Promotion struct {
	// Required: the canary is promoted only after an approval, which is the annotation
	// serinus.io/approve with the trial and 100, such as 2.1/100. Default Automatic.
	// +optional
	Approval Approval `json:"approval,omitempty"`
}

// Rejected describes what happens to a rejected canary.
type Rejected struct {
	// How long the pods of a rejected canary stay, so that their logs can be read. They get no
	// requests. 0s to 168h, default 10m.
	// +optional
	Keep Duration `json:"keep,omitempty"`
}

// Deadlines limit how long a canary may take to become ready.
type Deadlines struct {
	// How long pods may wait for a node or for quota. The stable revision serves in the meantime.
	// 0s to 168h, default 0s, which is without limit.
	// +optional
	Queue Duration `json:"queue,omitempty"`

	// How long a scheduled pod may take to become ready. After that, the canary is rejected. 1s to
	// 168h. Absent or empty: rollout.progressDeadline of the operator's configuration.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(h|m|s|ms))+$') || duration(self) >= duration('1s')",message="write a duration of 1s or more, such as 20m, or leave it out"
	Load Duration `json:"load,omitempty"`
}
