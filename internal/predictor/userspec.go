// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
)

// AnnotationChangeCause holds the reason for a change, as on a Deployment.
const AnnotationChangeCause = "kubernetes.io/change-cause"

// UserSpec is the part of an InferenceService that created a revision. It is stored with the
// revision so that users can inspect the revision history, compare two revisions, or return to one.
// Later versions must be able to read it: fields may be added but never renamed.
type UserSpec struct {
	// Predictor is spec.predictor without canaryTrafficPercent. It is raw JSON so that a change of
	// the Go types cannot make it unreadable.
	Predictor        json.RawMessage `json:"predictor,omitempty"`
	RequestedRuntime string          `json:"requestedRuntime,omitempty"`
	// Labels and Annotations are those of the InferenceService that propagate to the pods.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// ModelURI is the location of the model. It is empty if the image contains the model.
	ModelURI    string `json:"modelURI,omitempty"`
	ChangeCause string `json:"changeCause,omitempty"`
}

// UserSpec returns the user's spec for the revision with the given pod template.
func (r *Resolved) UserSpec(template *corev1.PodTemplateSpec) (*UserSpec, error) {
	spec := r.original
	spec.CanaryTrafficPercent = nil
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return &UserSpec{
		Predictor:        text,
		RequestedRuntime: r.Identity.RequestedRuntime,
		Labels:           r.metadata.labels.inherited,
		Annotations:      r.metadata.annotations.inherited,
		ModelURI:         r.modelURI(template),
		ChangeCause:      r.changeCause,
	}, nil
}

// modelURI returns the URI in the user's spec. For a storage spec, which has no URI, it returns the
// argument of the storage initializer.
func (r *Resolved) modelURI(template *corev1.PodTemplateSpec) string {
	if r.spec.Model != nil && r.spec.Model.StorageURI != nil {
		return *r.spec.Model.StorageURI
	}
	if r.spec.Model == nil {
		return envValue(r.spec.Containers[0].Env, envCustomStorageURI)
	}
	if download := DownloadOf(template); download != nil && len(download.Args) > 0 {
		return download.Args[0]
	}
	return ""
}
