// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package standard runs predictors on plain Kubernetes, without Knative and without a service mesh.
//
// A ControllerRevision stores the pod template of a revision and never changes. While a revision is
// needed, it has a Deployment, a Service and, if it scales, a HorizontalPodAutoscaler. All of them
// can be created again from the ControllerRevision. One HTTPRoute of the Gateway API splits the
// traffic among the Services with weights. It carries the rollout state as an annotation, so that
// both change in one write. Each tag host has an HTTPRoute of its own.
//
// Observe reads all objects from the cache. Apply writes a decision in an order that allows the
// operator to stop after any write; see session.Apply.
package standard
