// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Target says which revision the spec asks for.
type Target struct {
	// Hash is the hash of the target. It is empty if the spec cannot be resolved.
	Hash string

	// equal holds the revisions with the spec's inputs. sameModel holds those that differ from it
	// in labels and annotations at most.
	equal, sameModel map[rollout.Number]bool
}

// FindTarget returns the target. resolved is nil, or has no hash, if the spec cannot be resolved.
//
// Revisions are compared by identity, not by the hash that they were created with. If an
// administrator changes which labels or annotations propagate to pods, the hash of the same
// inputs changes.
//
// With automatic updates disabled, the revision that the same spec created stays the target, even
// if its serving runtime has changed or is gone.
//
// A spec that lacks only its serving runtime asks for the revision that it created, because that
// revision no longer needs the runtime. If the runtime exists but does not serve the model, this
// holds for a percent of 0 only.
func FindTarget(isvc *v1beta1.InferenceService, observed *backend.Observation, resolved *predictor.Resolved) Target {
	if resolved == nil {
		return Target{}
	}
	known := history{isvc: isvc, observed: observed}
	keepsRuntime := isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] == "true"
	if target := known.last().Target; keepsRuntime && known.exists(target) && madeFrom(observed.History[target], resolved.Identity) {
		return known.existing(target)
	}
	if resolved.Hash == "" {
		percent := isvc.Spec.Predictor.CanaryTrafficPercent
		if resolved.RuntimeMissing || percent != nil && *percent == 0 {
			return known.existing(known.first(func(r backend.HistoryEntry) bool { return madeFrom(r, resolved.Identity) }))
		}
		return Target{}
	}
	return Target{
		Hash:      resolved.Hash,
		equal:     known.matching(func(i predictor.Identity) bool { return i.Equal(resolved.Identity) }),
		sameModel: known.withModel(resolved.Identity),
	}
}

// revisions returns the observed revisions with Hash and SameModel set as they compare with the
// target.
func (t Target) revisions(observed []rollout.Revision) []rollout.Revision {
	revisions := slices.Clone(observed)
	for i, revision := range revisions {
		revisions[i].SameModel = t.sameModel[revision.Number]
		if t.equal[revision.Number] {
			revisions[i].Hash = t.Hash
		}
	}
	return revisions
}

// Exists reports whether an observed revision is the target.
func (t Target) Exists(observed []rollout.Revision) bool {
	return t.Hash != "" && slices.ContainsFunc(t.revisions(observed), func(r rollout.Revision) bool { return r.Hash == t.Hash })
}

// RuntimeToKeep returns the serving runtime of a revision that the same spec created, or of one
// that differs in labels, annotations and scaling only. A runtime that was added later must not
// change the runtime of a model.
func RuntimeToKeep(isvc *v1beta1.InferenceService, observed *backend.Observation, resolved *predictor.Resolved) (ref predictor.RuntimeRef, found bool) {
	known := history{isvc: isvc, observed: observed}
	n := known.first(func(r backend.HistoryEntry) bool { return madeFrom(r, resolved.Identity) })
	if n == 0 {
		n = known.first(func(r backend.HistoryEntry) bool { return hasModel(r, resolved.Identity) })
	}
	ref = observed.History[n].Runtime
	return ref, ref.Name != ""
}

// madeFrom reports whether the spec created the revision. Its serving runtime may have changed
// since.
func madeFrom(r backend.HistoryEntry, spec predictor.Identity) bool {
	return r.Identity.EqualSpec(asRequested(r, spec))
}

// hasModel reports whether the spec differs from the revision in labels, annotations and scaling at
// most.
func hasModel(r backend.HistoryEntry, spec predictor.Identity) bool {
	return r.Identity.Predictor == spec.Predictor && r.Identity.RequestedRuntime == asRequested(r, spec).RequestedRuntime
}

// asRequested returns the identity of the spec. Naming the revision's serving runtime explicitly
// makes no difference to it.
func asRequested(r backend.HistoryEntry, spec predictor.Identity) predictor.Identity {
	if spec.RequestedRuntime == r.Runtime.Name {
		spec.RequestedRuntime = r.Identity.RequestedRuntime
	}
	return spec
}

// history looks up existing revisions.
type history struct {
	isvc     *v1beta1.InferenceService
	observed *backend.Observation
}

// last returns the target, stable and previous revision of the rollout state, or of the status if
// there is no rollout state.
func (h history) last() rollout.Reported {
	if state := h.observed.Route.State; state != nil {
		return rollout.Reported{Target: state.Target, Stable: state.Stable, Previous: state.Previous}
	}
	return Reported(h.isvc)
}

// first returns the first recorded revision that fits, or 0. The order is the last target, the
// stable, the previous, then from the newest to the oldest.
func (h history) first(fits func(backend.HistoryEntry) bool) rollout.Number {
	last := h.last()
	newest := slices.Sorted(maps.Keys(h.observed.History))
	slices.Reverse(newest)
	for _, n := range append([]rollout.Number{last.Target, last.Stable, last.Previous}, newest...) {
		if recorded, found := h.observed.History[n]; found && h.exists(n) && fits(recorded) {
			return n
		}
	}
	return 0
}

// existing returns that revision as the target, even if the spec has another hash.
func (h history) existing(n rollout.Number) Target {
	return Target{Hash: h.hash(n), sameModel: h.withModel(h.observed.History[n].Identity)}
}

// withModel returns the revisions that run the same model as the identity.
func (h history) withModel(spec predictor.Identity) map[rollout.Number]bool {
	return h.matching(func(i predictor.Identity) bool { return spec.Predictor != "" && i.EqualModel(spec) })
}

// matching returns the recorded revisions whose identity matches.
func (h history) matching(matches func(predictor.Identity) bool) map[rollout.Number]bool {
	found := map[rollout.Number]bool{}
	for n, recorded := range h.observed.History {
		found[n] = matches(recorded.Identity)
	}
	return found
}

func (h history) exists(n rollout.Number) bool { return h.index(n) >= 0 }

func (h history) hash(n rollout.Number) string {
	if i := h.index(n); i >= 0 {
		return h.observed.Revisions[i].Hash
	}
	return ""
}

func (h history) index(n rollout.Number) int {
	return slices.IndexFunc(h.observed.Revisions, func(r rollout.Revision) bool { return r.Number == n })
}
