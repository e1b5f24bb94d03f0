// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Encode returns the ControllerRevision of a revision. Its data is immutable, so an upgrade of the
// operator changes the rendering of new revisions only.
func Encode(isvc *v1beta1.InferenceService, n rollout.Number, revision backend.RenderedRevision) (*appsv1.ControllerRevision, error) {
	data, err := canonical(revision)
	if err != nil {
		return nil, fmt.Errorf("encoding revision %s: %w", backend.RevisionName(isvc.Name, n), err)
	}
	stored := &appsv1.ControllerRevision{
		ObjectMeta: objects.Meta(isvc, backend.RevisionName(isvc.Name, n), n),
		Data:       runtime.RawExtension{Raw: data},
		Revision:   int64(n),
	}
	stored.Annotations = map[string]string{objects.AnnotationHash: revision.Hash}
	if revision.User != nil && revision.User.ChangeCause != "" {
		stored.Annotations[predictor.AnnotationChangeCause] = revision.User.ChangeCause
	}
	return stored, nil
}

// canonical encodes with sorted keys, as the API server does on a patch or apply. Otherwise the API
// server would take a change of the labels for a change of the immutable data.
func canonical(revision backend.RenderedRevision) ([]byte, error) {
	data, err := json.Marshal(revision)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	if err := utiljson.Unmarshal(data, &plain); err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// Decode returns the revision that a ControllerRevision stores.
func Decode(stored *appsv1.ControllerRevision) (backend.RenderedRevision, error) {
	var revision backend.RenderedRevision
	if err := json.Unmarshal(stored.Data.Raw, &revision); err != nil {
		return backend.RenderedRevision{}, fmt.Errorf("decoding ControllerRevision %q: %w", stored.Name, err)
	}
	if revision.Hash == "" || revision.Runs.Port == 0 || len(revision.Runs.Template.Spec.Containers) == 0 {
		return backend.RenderedRevision{}, fmt.Errorf("decoding ControllerRevision %q: it does not say what the revision runs", stored.Name)
	}
	var amendment backend.Amendment
	if err := json.Unmarshal([]byte(stored.Annotations[objects.AnnotationAmended]), &amendment); err == nil {
		revision.Amend(amendment)
	}
	return revision, nil
}
