// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1beta1 is the API that users of Serinus write: the InferenceService
// of KServe's group serving.kserve.io, with KServe's field names, annotations
// and status, so that its manifests and its clients work unchanged.
//
// Two rules hold for the whole package. A field of KServe's that Serinus does
// not act on is declared as [Unsupported] and refused by the CRD with a message
// that says what to do; it is never dropped in silence. And absence has a
// meaning: no field of the rollout is ever defaulted, because an absent
// canaryTrafficPercent is the order to promote.
//
// +kubebuilder:object:generate=true
// +groupName=serving.kserve.io
package v1beta1
