// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Parked reads what keeps the rollout record while nothing splits the traffic; nil where nothing does.
func Parked(ctx context.Context, store *objects.Store, isvc *v1beta1.InferenceService) (*appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := store.List(ctx, isvc, &list); err != nil {
		return nil, err
	}
	for _, record := range objects.Pointers(list.Items) {
		if record.Name != backend.PredictorName(isvc.Name) {
			continue
		}
		ours, err := objects.Belongs(isvc, record, "ControllerRevision")
		if err != nil {
			return nil, err
		}
		if ours {
			return record, nil
		}
	}
	return nil, nil //nolint:nilnil // There mostly is none.
}

// Park keeps the rollout record where nothing splits the traffic.
func (w Writer) Park(ctx context.Context, record rollout.Record, current *appsv1.ControllerRevision) error {
	parked := &appsv1.ControllerRevision{
		ObjectMeta: objects.Meta(w.InferenceService, backend.PredictorName(w.InferenceService.Name), 0),
		Data:       runtime.RawExtension{Raw: []byte("{}")},
	}
	parked.Annotations = map[string]string{objects.AnnotationRecord: record.Encode()}
	return w.Apply(ctx, parked, objects.OrNil(current), objects.SharedLists)
}
