// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Read reads the pods of each revision that have not ended from the cache, sorted by name. The
// label names their revision.
func Read(ctx context.Context, store *objects.Store, isvc *v1beta1.InferenceService, label string) (map[rollout.Number][]*corev1.Pod, error) {
	var list corev1.PodList
	if err := store.List(ctx, isvc, &list); err != nil {
		return nil, err
	}
	all := objects.Pointers(list.Items)
	objects.SortByName(all)
	byRevision := map[rollout.Number][]*corev1.Pod{}
	for _, pod := range all {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if n := backend.RevisionNumber(isvc.Name, pod.Labels[label]); n != 0 && !ended {
			byRevision[n] = append(byRevision[n], pod)
		}
	}
	return byRevision, nil
}

// CountReady counts the ready pods that are not terminating.
func CountReady(pods []*corev1.Pod) int {
	ready := 0
	for _, pod := range pods {
		if IsReady(pod) {
			ready++
		}
	}
	return ready
}

// CountReadyBefore counts the ready pods that were created before a time.
func CountReadyBefore(pods []*corev1.Pod, at time.Time) int {
	ready := 0
	for _, pod := range pods {
		if IsReady(pod) && pod.CreationTimestamp.Time.Before(at.Truncate(time.Second)) {
			ready++
		}
	}
	return ready
}

// ReadySince returns since when at least one of the pods has been ready; the zero time if none is.
func ReadySince(pods []*corev1.Pod) time.Time {
	var since time.Time
	for _, pod := range pods {
		if !IsReady(pod) {
			continue
		}
		if at := lastTransition(pod, corev1.PodReady); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since
}

// LoadingSince returns since when the pod that was scheduled first has been starting; the zero time
// if a pod is ready or none is scheduled.
func LoadingSince(pods []*corev1.Pod) time.Time {
	var since time.Time
	for _, pod := range pods {
		if IsReady(pod) {
			return time.Time{}
		}
		for _, condition := range pod.Status.Conditions {
			scheduled := condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
			if at := condition.LastTransitionTime.Time; scheduled && (since.IsZero() || at.Before(since)) {
				since = at
			}
		}
	}
	return since
}

// UnschedulableSince returns since when one of the pods has been unschedulable; the zero time if
// every pod has a node.
func UnschedulableSince(pods []*corev1.Pod) time.Time {
	var since time.Time
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			unschedulable := condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse &&
				condition.Reason == corev1.PodReasonUnschedulable && pod.DeletionTimestamp == nil
			if at := condition.LastTransitionTime.Time; unschedulable && (since.IsZero() || at.Before(since)) {
				since = at
			}
		}
	}
	return since
}

func lastTransition(pod *corev1.Pod, kind corev1.PodConditionType) time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			return condition.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
