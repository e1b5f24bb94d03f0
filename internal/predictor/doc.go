// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package predictor turns the predictor of an InferenceService into what a
// revision of it runs, and says which predictors are the same.
//
// It is pure: no client, no clock, no logging. [Resolve] takes the
// InferenceService, the serving runtimes that it could use and the operator's
// settings, and answers with the identity of the revision that they ask for.
// [Resolved.Render] builds that revision's pods. It is called once for each
// revision, when it is made; the result is kept in the revision's record, so
// that what a revision runs never depends on a later version of this package.
//
// # Identity
//
// A revision is identified by its inputs, never by the pods that came out of
// them:
//
//   - the predictor's spec, without the fields that scale and release it
//     (canaryTrafficPercent, minReplicas, maxReplicas, scaleTarget, scaleMetric,
//     deploymentStrategy). The framework fields (sklearn, xgboost, …) count as
//     the model that they stand for;
//   - the part of the chosen serving runtime that reaches the pods: its name,
//     its server type and its pod fields. Which formats it lists, its priority
//     and whether it is disabled decide only whether it is chosen;
//   - the labels and annotations that reach the pods, from the metadata of the
//     InferenceService and from its predictor.
//
// The settings are no input, and neither is this package's own code: an upgrade
// of the operator or a change of its configuration leaves running models alone.
// How the inputs are written does not matter: order of keys, nil or empty,
// "1000m" or "1". A field that a later version of the API adds leaves the
// identity of everything that does not use it as it was.
//
// Some metadata never propagates, and so never makes a revision: what tools of
// deployment write for themselves (kubectl, Helm, Argo CD, Flux and their
// kind), what tells the operator how to scale, release or stop, and what the
// administrator lists. The label app.kubernetes.io/instance is among them,
// because Argo CD tracks by it: on a pod it would claim that pod for the
// application, and adoption by Argo CD would load every model again. What is
// needed on the pods all the same belongs into spec.predictor.labels.
package predictor
