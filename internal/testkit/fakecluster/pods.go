// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podState returns the status that a kubelet or a scheduler gives a pod. The time is that of
// changed conditions only, so that the same status is written only once.
type podState func(pod *corev1.Pod, now time.Time) corev1.PodStatus

func running(pod *corev1.Pod, now time.Time) corev1.PodStatus {
	return onNode(pod, now, corev1.PodRunning, initContainerStatuses(pod), containerStatuses(pod, true, runningState))
}

func loading(pod *corev1.Pod, now time.Time) corev1.PodStatus {
	return onNode(pod, now, corev1.PodRunning, initContainerStatuses(pod), containerStatuses(pod, false, runningState))
}

func pending(pod *corev1.Pod, _ time.Time) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, QOSClass: pod.Status.QOSClass}
}

func loadingForTooLong(pod *corev1.Pod, now time.Time) corev1.PodStatus {
	status := loading(pod, now)
	for i := range status.Conditions {
		status.Conditions[i].LastTransitionTime = metav1.Unix(1_000_000_000, 0)
	}
	return status
}

func crashing(exitCode int32, reason, log string) podState {
	return func(pod *corev1.Pod, now time.Time) corev1.PodStatus {
		return onNode(pod, now, corev1.PodRunning, initContainerStatuses(pod), inBackOff(containerStatuses(pod, false, nil), exitCode, reason, log))
	}
}

func crashingInit(exitCode int32, log string) podState {
	return func(pod *corev1.Pod, now time.Time) corev1.PodStatus {
		if len(pod.Spec.InitContainers) == 0 {
			return loading(pod, now)
		}
		statuses := initContainerStatuses(pod)
		inBackOff(statuses[:1], exitCode, "Error", log)
		return onNode(pod, now, corev1.PodPending, statuses, containerStatuses(pod, false, waiting("PodInitializing", "")))
	}
}

func pulling(cause string) podState {
	return func(pod *corev1.Pod, now time.Time) corev1.PodStatus {
		statuses := containerStatuses(pod, false, nil)
		for i := range statuses {
			message := fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", statuses[i].Image, cause)
			statuses[i].State = waiting("ImagePullBackOff", message)(pod)
		}
		return onNode(pod, now, corev1.PodPending, initContainerStatuses(pod), statuses)
	}
}

func unschedulable(message string, duration time.Duration) podState {
	return func(pod *corev1.Pod, _ time.Time) corev1.PodStatus {
		return corev1.PodStatus{
			Phase:    corev1.PodPending,
			QOSClass: pod.Status.QOSClass,
			Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
				LastTransitionTime: metav1.NewTime(pod.CreationTimestamp.Add(-duration)),
				Reason:             corev1.PodReasonUnschedulable, Message: message,
			}},
		}
	}
}

func onNode(pod *corev1.Pod, now time.Time, phase corev1.PodPhase, initContainers, containers []corev1.ContainerStatus) corev1.PodStatus {
	initialized, ready := phase == corev1.PodRunning, true
	for _, status := range containers {
		ready = ready && status.Ready
	}
	status := corev1.PodStatus{
		Phase:                 phase,
		QOSClass:              pod.Status.QOSClass,
		PodIP:                 addressOf(pod),
		PodIPs:                []corev1.PodIP{{IP: addressOf(pod)}},
		InitContainerStatuses: initContainers,
		ContainerStatuses:     containers,
		StartTime:             &pod.CreationTimestamp,
	}
	for _, condition := range []struct {
		conditionType corev1.PodConditionType
		isTrue        bool
	}{
		{corev1.PodScheduled, true}, {corev1.PodInitialized, initialized}, {corev1.ContainersReady, ready}, {corev1.PodReady, ready},
	} {
		value := corev1.ConditionFalse
		if condition.isTrue {
			value = corev1.ConditionTrue
		}
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: condition.conditionType, Status: value, LastTransitionTime: transitionTime(pod, condition.conditionType, value, now),
		})
	}
	return status
}

// transitionTime returns since when a condition has the value: if it is new, since the pod's
// creation.
func transitionTime(pod *corev1.Pod, conditionType corev1.PodConditionType, value corev1.ConditionStatus, now time.Time) metav1.Time {
	for _, condition := range pod.Status.Conditions {
		switch {
		case condition.Type != conditionType:
		case condition.Status == value:
			return condition.LastTransitionTime
		default:
			return metav1.NewTime(now)
		}
	}
	return pod.CreationTimestamp
}

type containerState func(*corev1.Pod) corev1.ContainerState

func runningState(pod *corev1.Pod) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: pod.CreationTimestamp}}
}

func waiting(reason, message string) containerState {
	return func(*corev1.Pod) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
}

func containerStatuses(pod *corev1.Pod, ready bool, state containerState) []corev1.ContainerStatus {
	statuses := make([]corev1.ContainerStatus, len(pod.Spec.Containers))
	for i, container := range pod.Spec.Containers {
		statuses[i] = corev1.ContainerStatus{Name: container.Name, Image: container.Image, Ready: ready, Started: new(ready)}
		if state != nil {
			statuses[i].State = state(pod)
		}
	}
	return statuses
}

func initContainerStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, container := range pod.Spec.InitContainers {
		statuses = append(statuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, Started: new(false),
			State: corev1.ContainerState{Terminated: terminated(pod.CreationTimestamp, 0, "Completed", "")},
		})
	}
	return statuses
}

// inBackOff makes containers wait for a restart after a crash.
func inBackOff(statuses []corev1.ContainerStatus, exitCode int32, reason, log string) []corev1.ContainerStatus {
	for i := range statuses {
		statuses[i].Ready = false
		statuses[i].RestartCount = 3
		statuses[i].State = waiting("CrashLoopBackOff", "back-off 40s restarting failed container")(nil)
		statuses[i].LastTerminationState.Terminated = terminated(metav1.Unix(1_000_000_000, 0), exitCode, reason, log)
	}
	return statuses
}

func terminated(at metav1.Time, exitCode int32, reason, log string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: exitCode, Reason: reason, Message: log, StartedAt: at, FinishedAt: at}
}

// addressOf returns a unique address. Nothing connects to it.
func addressOf(pod *corev1.Pod) string {
	sum := digest(string(pod.UID))
	return fmt.Sprintf("10.%d.%d.%d", byte(sum>>16), byte(sum>>8), byte(sum))
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func digest(parts ...string) uint32 {
	sum := fnv.New32a()
	for _, part := range parts {
		sum.Write([]byte(part))
		sum.Write([]byte{0})
	}
	return sum.Sum32()
}
