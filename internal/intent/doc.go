// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package intent turns an InferenceService into the desired side of a rollout. It is the only package that reads
// canaryTrafficPercent, the replica bounds and the annotations that control a rollout. A backend observes, this package
// says what is asked for, and package rollout decides. It reads nothing from a cluster.
package intent
