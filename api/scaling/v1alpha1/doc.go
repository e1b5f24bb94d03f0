// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds ScaleTarget: the object that an external autoscaler scales instead of the Deployment of one
// revision.
//
// +kubebuilder:object:generate=true
// +groupName=scaling.serinus.io
package v1alpha1
