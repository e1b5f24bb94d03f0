// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package knative runs predictors in Knative mode: a revision is a Knative Revision, and the Knative Service of the
// predictor splits the traffic among them.
//
// # What is written
//
//   - A ControllerRevision for each revision: what it runs, for as long as it can be brought back. Knative's own
//     Revision of the same name may be collected, or deleted by hand; it is made again from this.
//   - The Knative Service <isvc>-predictor. Its traffic names revisions, never the latest one, and the rollout record
//     is an annotation of it: one write changes both. Knative makes all else out of it.
//   - Where the cluster has the Gateway API, an HTTPRoute of the InferenceService's name, which leads its own host to
//     Knative's ingress. It names no revisions.
//   - While an InferenceService is stopped, one more ControllerRevision, <isvc>-predictor, which keeps the record: a
//     Knative Service cannot give its traffic to nobody, so there is none then.
//
// # How Knative is used
//
// The template of the Knative Service is changed to make a revision, with the name that the revision is to have, and
// before a revision that it asks for is deleted. To return to a revision that exists is a change of the traffic alone,
// which is quick, and which nothing can refuse. So an update of Knative's defaults, under which an old template would not be the same
// any more, cannot get between a user and a rollback. The Knative Service is patched, not applied: its webhook fills in
// the template, and refuses any other under the same name.
//
// A Knative Route does not move until every revision that it names is ready. So one that is not ready is named only
// where it must be: as the one and only of a first deployment, and with a share that it has.
//
// Knative takes a revision down, whatever its least replicas, once no Route names it. So one that is to be brought back
// is named, with no traffic, until its replicas are there.
package knative
