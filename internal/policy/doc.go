// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policy determines which CanaryPolicy applies to an InferenceService, resolves it into a
// plan, and reads the annotations by which users control a rollout. It does not access the cluster.
package policy
