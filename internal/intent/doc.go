// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package intent reads from an InferenceService what its rollout should be. It is the only package
// that reads canaryTrafficPercent, the replica bounds and the annotations that control a rollout. A
// backend observes the cluster, and package rollout decides on both. Package intent does not access
// the cluster.
package intent
