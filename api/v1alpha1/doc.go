// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds KServe's ServingRuntime and ClusterServingRuntime: the
// model servers that an InferenceService's model can be served with.
//
// +kubebuilder:object:generate=true
// +groupName=serving.kserve.io
package v1alpha1
