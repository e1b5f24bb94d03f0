// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// SaveState stores the rollout state while no object splits the traffic. It returns false if the write
// has to wait because another writer keeps undoing it.
func (w Writer) SaveState(ctx context.Context, state rollout.State) (saved bool, err error) {
	revision := &appsv1.ControllerRevision{
		ObjectMeta: objects.Meta(w.InferenceService, backend.PredictorName(w.InferenceService.Name), 0),
		Data:       runtime.RawExtension{Raw: []byte("{}")},
	}
	revision.Annotations = map[string]string{objects.AnnotationState: state.Encode()}
	err = w.Apply(ctx, revision, objects.OrNil(w.SavedState), objects.SharedLists)
	return err == nil && !w.Held(revision), err
}
