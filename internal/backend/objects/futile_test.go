// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestFutileWrites(t *testing.T) {
	current := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "a", ResourceVersion: "7"}}
	intent := func(port int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"port": port}}}
	}
	writeThatLeaves := func(intent *unstructured.Unstructured, version string) func() error {
		return func() error {
			intent.SetResourceVersion(version)
			return nil
		}
	}

	t.Run("a write that changes nothing is not repeated", func(t *testing.T) {
		var writes futileWrites
		tried := intent(80)
		if err := writes.note(tried, current, writeThatLeaves(tried, "7")); err != nil {
			t.Fatal(err)
		}
		if !writes.known(intent(80), current) {
			t.Error("it is tried again")
		}
		if writes.known(intent(81), current) {
			t.Error("another intent is not tried")
		}
		changed := current.DeepCopy()
		changed.ResourceVersion = "8"
		if writes.known(intent(80), changed) {
			t.Error("it is not tried again after the object has changed")
		}
	})

	t.Run("a write that changes something may be repeated", func(t *testing.T) {
		var writes futileWrites
		tried := intent(80)
		if err := writes.note(tried, current, writeThatLeaves(tried, "8")); err != nil {
			t.Fatal(err)
		}
		if writes.known(intent(80), current) {
			t.Error("it is not tried again")
		}
	})

	t.Run("a write that fails may be repeated, and its error is passed on", func(t *testing.T) {
		var writes futileWrites
		failure := errors.New("too many requests")
		if err := writes.note(intent(80), current, func() error { return failure }); !errors.Is(err, failure) {
			t.Errorf("error is %v", err)
		}
		if writes.known(intent(80), current) {
			t.Error("it is not tried again")
		}
	})
}
