// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	corev1 "k8s.io/api/core/v1"
)

// Revision is what a revision runs. It is stored in the revision's record and
// must stay readable: fields are added, never renamed.
type Revision struct {
	Identity Identity   `json:"identity,omitzero"`
	Runtime  RuntimeRef `json:"runtime,omitzero"`

	// Template is the pods. It knows nothing of the revision's name.
	Template corev1.PodTemplateSpec `json:"template"`
	// Port is the port of the pods that serves predictions.
	Port int32 `json:"port"`
	// AppProtocol is what a Service has to say of Port: kubernetes.io/h2c for gRPC,
	// and nothing for HTTP/1.1.
	AppProtocol string `json:"appProtocol,omitempty"`
	// AdditionalPorts are what a Service has to say of the other ports of the container that serves. A revision that was
	// made before they were recorded has none.
	AdditionalPorts []corev1.ServicePort `json:"additionalPorts,omitempty"`
	// TimeoutSeconds and ContainerConcurrency are those of the predictor.
	TimeoutSeconds       *int64 `json:"timeoutSeconds,omitempty"`
	ContainerConcurrency *int64 `json:"containerConcurrency,omitempty"`
}
