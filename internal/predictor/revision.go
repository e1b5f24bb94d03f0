// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	corev1 "k8s.io/api/core/v1"
)

// Revision describes the pods of a revision. It is stored in the revision history. Later versions
// must be able to read it: fields may be added but never renamed.
type Revision struct {
	Identity Identity   `json:"identity,omitzero"`
	Runtime  RuntimeRef `json:"runtime,omitzero"`

	// Template does not contain the revision's name.
	Template corev1.PodTemplateSpec `json:"template"`
	// Port is the container port that serves predictions.
	Port int32 `json:"port"`
	// AppProtocol is kubernetes.io/h2c for gRPC and empty for HTTP/1.1.
	AppProtocol string `json:"appProtocol,omitempty"`
	// AdditionalPorts are the Service ports for the container's other ports. Revisions that were
	// created before this field existed have none.
	AdditionalPorts []corev1.ServicePort `json:"additionalPorts,omitempty"`

	TimeoutSeconds       *int64 `json:"timeoutSeconds,omitempty"`
	ContainerConcurrency *int64 `json:"containerConcurrency,omitempty"`
}
