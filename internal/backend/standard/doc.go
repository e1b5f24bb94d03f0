// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package standard runs predictors on plain Kubernetes: no Knative, no mesh.
//
// A revision is recorded in a ControllerRevision, which holds what its pods are and never changes. While the revision
// is needed it has a Deployment, a Service and, where it scales, a HorizontalPodAutoscaler; all of them can be made
// again from the record. One HTTPRoute of the Gateway API splits the traffic by naming the Services with weights, and
// carries the rollout record as an annotation, so that weights and memory change in one write. Each tag host has an
// HTTPRoute of its own.
//
// Observe reads all of it from the cache. Apply writes what was decided, in an order in which the writer may die after
// any write; see [Backend.Apply].
package standard
