// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"encoding/json"

	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// AnnotationRejection holds the rejection of a revision on its ControllerRevision. The rollout state
// has it too, but can be lost.
const AnnotationRejection = objects.OwnPrefix + "rejection"

// Rejection returns the recorded rejection of a revision; nil if there is none.
func (h History) Rejection(n rollout.Number) *rollout.Rejection {
	stored := h.ControllerRevisions[n]
	if stored == nil {
		return nil
	}
	var rejection rollout.Rejection
	if err := json.Unmarshal([]byte(stored.Annotations[AnnotationRejection]), &rejection); err != nil || rejection.Attempt < 1 {
		return nil
	}
	return &rejection
}

// rejection returns the desired rejection of a revision: that of the rollout state, or the recorded
// one if there is no rollout state.
func (w Writer) rejection(n rollout.Number) *rollout.Rejection {
	if w.State == nil {
		return w.Rejection(n)
	}
	if rejection, rejected := w.State.Rejected[n]; rejected {
		return &rejection
	}
	return nil
}
