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

// SaveState stores the rollout state while no object splits the traffic.
func (w Writer) SaveState(ctx context.Context, state rollout.State) error {
	saved := &appsv1.ControllerRevision{
		ObjectMeta: objects.Meta(w.InferenceService, backend.PredictorName(w.InferenceService.Name), 0),
		Data:       runtime.RawExtension{Raw: []byte("{}")},
	}
	saved.Annotations = map[string]string{objects.AnnotationState: state.Encode()}
	return w.Apply(ctx, saved, objects.OrNil(w.SavedState), objects.SharedLists)
}
