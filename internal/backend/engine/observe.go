// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Workloads are the observed workloads of a backend. W is the kind of the objects that run them.
type Workloads[W client.Object] struct {
	// Objects are the existing objects by the numbers of their revisions.
	Objects map[rollout.Number]W
	// Observe returns the workload of a revision; nil if it runs nothing. Status returns what its pods
	// report.
	Observe func(n rollout.Number) *rollout.Workload
	Status  func(n rollout.Number) backend.RevisionStatus
}

// NewObservation returns an observation of the revisions that are in the history, run, or both.
func NewObservation[W client.Object](recorded history.History, workloads Workloads[W]) *backend.Observation {
	observation := &backend.Observation{History: recorded.Entries(), Details: map[rollout.Number]backend.RevisionStatus{}}
	numbers := slices.AppendSeq(slices.Collect(maps.Keys(recorded.ControllerRevisions)), maps.Keys(workloads.Objects))
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		revision := rollout.Revision{Number: n, Workloads: rollout.WorkloadsOf(workloads.Observe(n))}
		if known, found := recorded.Revisions[n]; found {
			revision.Hash, revision.InHistory = known.Hash, true
		} else if object, runs := workloads.Objects[n]; runs {
			revision.Hash = object.GetAnnotations()[objects.AnnotationHash]
		}
		if revision.Workloads[rollout.Predictor] != nil {
			observation.Details[n] = workloads.Status(n)
		}
		observation.Revisions = append(observation.Revisions, revision)
	}
	return observation
}

// HasRevisionsOf reports whether the revisions of a rollout state exist. If the state does not match
// the split of the route and names unknown revisions, it was not written by the operator.
func HasRevisionsOf(revisions []rollout.Revision, state rollout.State) bool {
	for _, share := range append(state.Split.Shares(), rollout.Share{Revision: state.Stable}) {
		if !slices.ContainsFunc(revisions, func(r rollout.Revision) bool { return r.Number == share.Revision }) {
			return false
		}
	}
	return true
}
