// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 contains CanaryPolicy and ClusterCanaryPolicy, which describe how the new
// revisions of InferenceServices are released without anybody setting canaryTrafficPercent.
//
// The schema has no defaults. Package internal/policy resolves them, and the fields' descriptions
// name them. See docs/adr/0022-policy-defaults-in-code.md.
//
// +kubebuilder:object:generate=true
// +groupName=canary.serinus.io
package v1alpha1
