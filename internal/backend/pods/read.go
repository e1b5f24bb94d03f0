// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Read reads from the cache the pods of each revision that have not ended, sorted by name. The label says whose they are.
func Read(ctx context.Context, store *objects.Store, isvc *v1beta1.InferenceService, label string) (map[rollout.Number][]*corev1.Pod, error) {
	var list corev1.PodList
	if err := store.List(ctx, isvc, &list); err != nil {
		return nil, err
	}
	all := objects.Pointers(list.Items)
	objects.SortByName(all)
	found := map[rollout.Number][]*corev1.Pod{}
	for _, pod := range all {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if n := backend.RevisionNumber(isvc.Name, pod.Labels[label]); n != 0 && !ended {
			found[n] = append(found[n], pod)
		}
	}
	return found, nil
}

// CountReady counts the pods that are ready and to stay.
func CountReady(pods []*corev1.Pod) int {
	ready := 0
	for _, pod := range pods {
		if IsReady(pod) {
			ready++
		}
	}
	return ready
}
