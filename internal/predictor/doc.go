// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package predictor computes which revision an InferenceService asks for and renders its pods.
//
// The package is pure: it has no client, no clock and no logging. [Resolve] takes an
// InferenceService, the available serving runtimes and the operator's settings, and returns the
// identity of the desired revision. [Resolved.Render] builds the revision's pods. It is called once
// per revision, when the revision is created. The result is stored in the revision history, so a
// later version of this package does not change the pods of an existing revision.
//
// # Identity
//
// A revision is identified by a hash of its inputs, not of its rendered pods. The inputs are:
//
//   - The predictor's spec without the fields that scale or release it (canaryTrafficPercent,
//     minReplicas, maxReplicas, scaleTarget, scaleMetric, deploymentStrategy). A framework field
//     (sklearn, xgboost, …) counts as the model that it is short for.
//   - The name, the server type and the pod fields of the selected serving runtime. Its formats,
//     priority and disabled field only affect the selection.
//   - The labels and annotations that propagate to the pods, from the InferenceService's metadata
//     and from its predictor.
//
// The operator's settings and this package's code are not inputs: an upgrade or a configuration
// change does not restart running models. Equivalent values, such as nil and empty or "1000m"
// and "1", have the same hash. A field that is added to the API later does not change the hash of
// an object that does not set it.
//
// Some metadata never propagates and therefore never creates a revision: the bookkeeping of
// deployment tools (kubectl, Helm, Argo CD, Flux), the operator's own control keys, and the keys
// that the administrator excludes. The label app.kubernetes.io/instance is one of them: Argo CD
// tracks resources by it, so on a pod it would assign the pod to the application, and adopting an
// InferenceService into Argo CD would reload its model. Users who need such a label on the pods can
// set it in spec.predictor.labels.
package predictor
