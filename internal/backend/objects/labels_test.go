// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestUserLabels(t *testing.T) {
	own := map[string]string{v1beta1.LabelInferenceService: "iris", v1beta1.LabelManagedBy: v1beta1.ManagedBySerinus}
	meta := WithUserLabels(metav1.ObjectMeta{Labels: own}, map[string]string{"team": "a", v1beta1.LabelManagedBy: "helm"})
	want := map[string]string{"team": "a", v1beta1.LabelInferenceService: "iris", v1beta1.LabelManagedBy: v1beta1.ManagedBySerinus}
	if diff := cmp.Diff(want, meta.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}

	// An existing object must not be written only for these labels.
	intent := &unstructured.Unstructured{Object: map[string]any{}}
	intent.SetLabels(meta.Labels)
	if diff := cmp.Diff(own, withoutUserLabels(intent).GetLabels()); diff != "" {
		t.Errorf("labels that are compared (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, intent.GetLabels()); diff != "" {
		t.Errorf("labels that are written (-want +got):\n%s", diff)
	}
}
