// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pods reads what the pods of a revision tell: how far the model is, and why it does not get further.
package pods

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
)

// Reasons of failures, in the conditions. The last two are those of whoever makes the pods.
const (
	ReasonImagePull       = "ImagePullFailed"
	ReasonDownload        = "ModelDownloadFailed"
	ReasonOutOfMemory     = "OutOfMemory"
	ReasonCrash           = "ContainerCrashed"
	ReasonContainerConfig = "ContainerConfigError"
	ReasonUnschedulable   = "Unschedulable"
	ReasonPodsRefused     = "PodsRefused"
	ReasonDeadline        = "ProgressDeadlineExceeded"
)

// Reasons lists the reasons for which a revision can fail.
func Reasons() []string {
	return []string{
		ReasonImagePull, ReasonDownload, ReasonOutOfMemory, ReasonCrash, ReasonContainerConfig, ReasonUnschedulable,
		ReasonPodsRefused, ReasonDeadline,
	}
}

// Overdue tells what to do about a revision that did not make its deadline; an empty one is Knative's own.
func Overdue(deadline string) string {
	return fmt.Sprintf("no pod became ready within %s; if the model takes longer to load, raise the deadline with the annotation %s",
		cmp.Or(deadline, "the time that Knative gives it"), v1beta1.AnnotationProgressDeadline)
}

// Detail tells what the pods of a revision say of it. Where they say nothing of a failure, that of their makers counts,
// which may be nil. The pods are sorted by name, so that of several that fail the same one is reported.
func Detail(pods []*corev1.Pod, ofMakers *backend.Failure) backend.Revision {
	detail := backend.Revision{State: v1beta1.Pending, Pods: len(pods)}
	for _, pod := range pods {
		state, failure := stateOf(pod)
		if failure != nil {
			detail.FailedPods++
			if detail.Failure == nil {
				detail.Failure = failure
			}
		}
		detail.State = further(detail.State, state)
	}
	if detail.Failure == nil {
		detail.Failure = ofMakers
	}
	if detail.State != v1beta1.Loaded && detail.Failure != nil {
		detail.State = v1beta1.FailedToLoad
	}
	return detail
}

// further picks the better news: one loaded pod makes a loaded model.
func further(a, b v1beta1.ModelState) v1beta1.ModelState {
	rank := map[v1beta1.ModelState]int{v1beta1.Pending: 0, v1beta1.FailedToLoad: 1, v1beta1.Loading: 2, v1beta1.Loaded: 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func stateOf(pod *corev1.Pod) (v1beta1.ModelState, *backend.Failure) {
	if IsReady(pod) {
		return v1beta1.Loaded, nil
	}
	if pod.DeletionTimestamp != nil {
		return v1beta1.Pending, nil
	}
	if failure := podFailure(pod); failure != nil {
		return v1beta1.FailedToLoad, failure
	}
	if len(pod.Status.InitContainerStatuses)+len(pod.Status.ContainerStatuses) > 0 {
		return v1beta1.Loading, nil
	}
	return v1beta1.Pending, nil
}

// IsReady tells whether a pod takes requests, and is to go on doing so.
func IsReady(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func podFailure(pod *corev1.Pod) *backend.Failure {
	for _, status := range pod.Status.InitContainerStatuses {
		if failure := containerFailure(pod, status, true); failure != nil {
			return failure
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if failure := containerFailure(pod, status, false); failure != nil {
			return failure
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return &backend.Failure{
				Reason:  ReasonUnschedulable,
				Message: "no node can run the pod: " + whyNoNode(condition.Message),
				Pod:     pod.Name,
				Time:    condition.LastTransitionTime.Time,
			}
		}
	}
	return nil
}

// containerFailure tells why a container cannot run. A container that crashed and was started again is failing until
// it is ready: between two crashes it looks as if it ran well, and a status that believed this would flap.
func containerFailure(pod *corev1.Pod, status corev1.ContainerStatus, initContainer bool) *backend.Failure {
	if waiting := status.State.Waiting; waiting != nil {
		if failure := waitingFailure(status, *waiting); failure != nil {
			failure.Pod = pod.Name
			return failure
		}
	}
	ended := status.State.Terminated
	if ended == nil && !status.Ready && !wasReady(pod, status) {
		ended = status.LastTerminationState.Terminated
	}
	if ended == nil || initContainer && ended.ExitCode == 0 {
		return nil
	}
	failure := endedFailure(status.Name, *ended)
	failure.Pod = pod.Name
	return failure
}

// wasReady tells whether the pod has lost its readiness since the container runs: whatever ended it before is over.
func wasReady(pod *corev1.Pod, status corev1.ContainerStatus) bool {
	running := status.State.Running
	for _, condition := range pod.Status.Conditions {
		if running != nil && condition.Type == corev1.PodReady {
			return condition.LastTransitionTime.After(running.StartedAt.Time)
		}
	}
	return false
}

func waitingFailure(status corev1.ContainerStatus, waiting corev1.ContainerStateWaiting) *backend.Failure {
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed":
		return &backend.Failure{
			Reason:  ReasonImagePull,
			Message: fmt.Sprintf("cannot pull the image %q of container %q; check its name and the imagePullSecrets", status.Image, status.Name),
			Detail:  pullCause(waiting.Message),
		}
	case "CreateContainerConfigError":
		return &backend.Failure{
			Reason:  ReasonContainerConfig,
			Message: fmt.Sprintf("container %q cannot be created: %s", status.Name, backend.StableMessage(waiting.Message)),
		}
	case "CreateContainerError", "RunContainerError":
		return startFailure(status.Name, waiting.Message)
	}
	return nil
}

// startFailure is that of a container that the runtime cannot create or start, which is mostly a command that is not
// there. The same cause is told in several ways in turn: as the runtime's error when it is tried, and as the end of a
// container that never ran while the kubelet waits to try again. So the message leaves the words of the runtime to the
// detail, and no exit code is reported: the runtime makes one up.
func startFailure(container, cause string) *backend.Failure {
	return &backend.Failure{
		Reason:  ReasonContainerConfig,
		Message: fmt.Sprintf("container %q cannot be started; check its command, args and volumeMounts", container),
		Detail:  backend.StableMessage(cause),
	}
}

// pullCause takes the registry's own words out of the kubelet's, which says the same thing in two ways in turn.
func pullCause(message string) string {
	if _, cause, found := strings.Cut(message, "ErrImagePull: "); found {
		return cause
	}
	if strings.HasPrefix(message, "Back-off ") {
		return ""
	}
	return message
}

func endedFailure(container string, ended corev1.ContainerStateTerminated) *backend.Failure {
	if ended.Reason == "StartError" || ended.Reason == "ContainerCannotRun" { // containerd's word, and Docker's.
		failure := startFailure(container, ended.Message)
		failure.Time = ended.FinishedAt.Time
		return failure
	}
	failure := &backend.Failure{
		Reason:   ReasonCrash,
		Message:  fmt.Sprintf("container %q ends with exit code %d", container, ended.ExitCode),
		Detail:   lastLine(ended.Message),
		ExitCode: ended.ExitCode,
		Time:     ended.FinishedAt.Time,
	}
	switch {
	case ended.Reason == "OOMKilled" && container == predictor.InitializerName:
		failure.Reason = ReasonOutOfMemory
		failure.Message = "the download of the model needs more memory than its limit; have the administrator raise " +
			"storageInitializer.resources.limits.memory in the operator's configuration, which holds for new revisions"
	case ended.Reason == "OOMKilled":
		failure.Reason = ReasonOutOfMemory
		failure.Message = fmt.Sprintf("container %q needs more memory than its limit; raise resources.limits.memory", container)
	case container == predictor.InitializerName:
		failure.Reason = ReasonDownload
		failure.Message = "the model cannot be downloaded; check storageUri and the credentials of the service account"
	}
	return failure
}

// lastLine is the last line of a log that says something.
func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// whyNoNode takes the reasons out of the scheduler's message, which counts the nodes for each: as nodes come and go, the
// same causes must read the same.
func whyNoNode(message string) string {
	_, reasons, found := strings.Cut(message, "nodes are available: ")
	if !found {
		return backend.StableMessage(message)
	}
	reasons, _, _ = strings.Cut(reasons, ". ")
	causes := strings.Split(strings.TrimSuffix(reasons, "."), ", ")
	for i, cause := range causes {
		causes[i] = strings.TrimLeft(cause, "0123456789 ")
	}
	slices.Sort(causes)
	return strings.Join(slices.Compact(causes), ", ")
}
