// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The objects of the pinned version can run on a node without a registry.
func TestKnativeObjects(t *testing.T) {
	objects, err := knativeObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var kinds, images []string
	for _, object := range objects {
		kinds = append(kinds, object.GetKind())
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range containers {
			image := one.(map[string]any)["image"].(string)
			images = append(images, strings.TrimSuffix(strings.TrimPrefix(image, "dev.local/"), ":1"))
		}
		if text := fmt.Sprint(object.Object); strings.Contains(text, "ko://") {
			t.Errorf("%s %s has an image that is not built", object.GetKind(), object.GetName())
		}
		if data, found, _ := unstructured.NestedStringMap(object.Object, "data"); found && object.GetName() == "config-network" && data["ingress-class"] == "" {
			t.Errorf("config-network has no ingress class: %v", data)
		}
	}
	images = append(images, "knative-queue") // A ConfigMap refers to it.
	slices.Sort(images)
	if want := slices.Sorted(slices.Values(knativeImages)); !slices.Equal(images, want) {
		t.Errorf("the images are %v, want %v", images, want)
	}
	if crds := count(kinds, "CustomResourceDefinition"); crds != 12 {
		t.Errorf("got %d CRDs, want 12", crds)
	}
	if hooks, first := slices.Index(kinds, "ValidatingWebhookConfiguration"), slices.Index(kinds, "Deployment"); hooks < 0 || first < hooks || count(kinds[first:], "Deployment") != len(kinds)-first {
		t.Errorf("Deployments are not last: %v", kinds)
	}
	for _, kind := range []string{"HorizontalPodAutoscaler", "PodDisruptionBudget"} {
		if slices.Contains(kinds, kind) {
			t.Errorf("there is a %s", kind)
		}
	}
}

func count(kinds []string, kind string) int {
	n := 0
	for _, one := range kinds {
		if one == kind {
			n++
		}
	}
	return n
}

func TestPrepareObjectsRejectsUnknownManifests(t *testing.T) {
	deployment := func(image string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"kind": "Deployment", "metadata": map[string]any{"name": "controller"},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"image": image}}}}},
		}}
	}
	for want, object := range map[string]*unstructured.Unstructured{
		`Deployment controller: the image "example.org/other:1"`: deployment("example.org/other:1"),
		"0 of 6 ConfigMaps": deployment("ko://knative.dev/serving/cmd/controller"),
	} {
		if _, err := prepareObjects([]*unstructured.Unstructured{object}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
