// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package knative runs predictors in Knative mode: a revision is a Knative Revision, and the
// predictor's Knative Service splits the traffic among the revisions.
//
// # What is written
//
//   - A ControllerRevision for each revision. It stores what the revision runs for as long as it
//     can be brought back. If Knative's Revision of the same name is collected or deleted by hand,
//     it is created again from this data.
//   - The Knative Service <isvc>-predictor. Its traffic names revisions, never the latest one. The
//     rollout state is an annotation on it, so one write changes both. Knative creates all other
//     objects from it.
//   - With the Gateway API, an HTTPRoute with the name of the InferenceService. It routes the
//     InferenceService's own host to Knative's ingress and names no revisions.
//   - While an InferenceService is stopped, a ControllerRevision <isvc>-predictor, which keeps the
//     rollout state. A Knative Service cannot send its traffic nowhere, so there is none then.
//
// # How Knative is used
//
// We change the Knative Service's template only to create a new revision, and before a revision
// that it names is deleted. Returning to an existing revision changes spec.traffic only. That is
// quick, and no webhook can refuse it, not even when Knative's defaults have changed since. The
// Knative Service is patched, not applied: Knative's webhook fills in defaults in the template, and
// refuses another template under the same name.
//
// A Knative Route does not change until every revision that it names is ready. So the traffic names
// an unready revision only if it must: as the only revision of a first deployment, or with a share
// that it already has.
//
// Knative scales a revision down, regardless of its minimum scale, once no Route names it. So a
// revision that is brought back is named with a share of 0 until its replicas are ready.
package knative
