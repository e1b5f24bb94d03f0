// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
)

// AnnotationChangeCause says, as on a Deployment, why a revision was made.
const AnnotationChangeCause = "kubernetes.io/change-cause"

// UserSpec is what a user wrote to get a revision. It is kept with the revision
// for people who read the history, compare two revisions or go back to one. It
// must stay readable: fields are added, never renamed.
type UserSpec struct {
	// Predictor is spec.predictor without canaryTrafficPercent. It is kept as
	// text, so that a later version reads it whatever becomes of the types.
	Predictor json.RawMessage `json:"predictor,omitempty"`
	// RequestedRuntime is the serving runtime that it names.
	RequestedRuntime string `json:"requestedRuntime,omitempty"`
	// Labels and Annotations are those of the InferenceService that reach the pods.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// ModelURI is where the model comes from; empty where the image holds it.
	ModelURI string `json:"modelURI,omitempty"`
	// ChangeCause is the annotation of that name.
	ChangeCause string `json:"changeCause,omitempty"`
}

// UserSpec returns what the user wrote to get the revision with these pods.
func (r *Resolved) UserSpec(template *corev1.PodTemplateSpec) (*UserSpec, error) {
	written := r.written
	written.CanaryTrafficPercent = nil
	text, err := json.Marshal(written)
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

// modelURI returns the URI that the user wrote. A storage spec has none; then the
// download has it.
func (r *Resolved) modelURI(template *corev1.PodTemplateSpec) string {
	if r.spec.Model != nil && r.spec.Model.StorageURI != nil {
		return *r.spec.Model.StorageURI
	}
	if r.spec.Model == nil {
		return valueOf(r.spec.Containers[0].Env, envCustomStorageURI)
	}
	if download := DownloadOf(template); download != nil && len(download.Args) > 0 {
		return download.Args[0]
	}
	return ""
}
