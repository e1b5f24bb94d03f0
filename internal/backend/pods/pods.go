// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pods reads the state of a revision from its pods: how far the model has loaded, and why
// it does not progress.
package pods

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
)

// Condition reasons of failures. The owner of the pods reports the last three.
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

// Reasons lists the failure reasons of revisions.
func Reasons() []string {
	return []string{
		ReasonImagePull, ReasonDownload, ReasonOutOfMemory, ReasonCrash, ReasonContainerConfig, ReasonUnschedulable,
		ReasonPodsRefused, ReasonDeadline,
	}
}

// DeadlineMessage returns the message for a revision that missed its deadline.
func DeadlineMessage(deadline string) string {
	return fmt.Sprintf("no pod became ready within %s; if the model takes longer to load, raise the deadline with the annotation %s",
		cmp.Or(deadline, "the time that Knative gives it"), v1beta1.AnnotationProgressDeadline)
}

// Detail summarises what the pods of a revision report. The deadline is how long a scheduled pod
// may take to become ready. Failures that the owner of the pods reports count only if the pods
// report none. The pods are sorted by name, so that the same one of several failures is always
// reported.
func Detail(pods []*corev1.Pod, deadline time.Duration, owner ...backend.Pending) backend.RevisionStatus {
	detail := backend.RevisionStatus{State: v1beta1.Pending, Pods: len(pods), LoadDeadline: deadline}
	ready := CountReady(pods)
	var current progress
	for _, pod := range pods {
		state, failure := stateOf(pod)
		if failure != nil {
			detail.FailedPods++
			if detail.Failure == nil {
				detail.Failure = failure
			}
		}
		detail.State = further(detail.State, state)
		if state == v1beta1.Loaded || pod.DeletionTimestamp != nil || failure != nil {
			continue
		}
		found := progressOf(pod)
		detail.Pending = append(detail.Pending, found.pending(deadline, ready)...)
		// One ready pod is enough to serve, so before that the furthest pod counts. After that, the
		// slowest pod is waited for.
		if current.stage == noStage || ready == 0 && found.stage > current.stage || ready > 0 && found.stage < current.stage {
			current = found
		}
	}
	detail.Stage = current.message
	for _, pending := range owner {
		switch {
		case !pending.From.IsZero():
			detail.Pending = append(detail.Pending, pending)
			if detail.Stage == "" {
				detail.Stage = pending.Failure.Message
			}
		case detail.Failure == nil:
			detail.Failure = &pending.Failure
		}
	}
	if detail.State != v1beta1.Loaded && detail.Failure != nil {
		detail.State = v1beta1.FailedToLoad
	}
	return detail
}

// further returns the more advanced state: one loaded pod makes the model loaded.
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

// IsReady reports whether a pod takes requests and is not terminating.
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

// AreCold reports whether a revision with these pods is scaled to zero, or scaling to or from zero:
// none of the pods that stay has been ready yet, and none has failed.
func AreCold(pods []*corev1.Pod) bool {
	return !slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
		return pod.DeletionTimestamp == nil && (IsReady(pod) || podFailure(pod) != nil || hasRun(pod))
	})
}

func hasRun(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(status corev1.ContainerStatus) bool {
		return status.RestartCount > 0 || wasReady(pod, status)
	})
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
	return nil
}

// fatalExits is how many exits of a container make the revision fail. A first crash may be due to a
// store, a database or an accelerator that was not available yet.
const fatalExits = 3

// containerFailure returns why a container cannot run without help. A restarted container counts as
// failing until it is ready. Between two crashes it looks healthy, so the status would otherwise
// flap.
func containerFailure(pod *corev1.Pod, status corev1.ContainerStatus, initContainer bool) *backend.Failure {
	if waiting := status.State.Waiting; waiting != nil {
		if failure, lasting := waitingFailure(status, *waiting); lasting {
			failure.Pod = pod.Name
			return failure
		}
	}
	ended := lastExit(pod, status, initContainer)
	if ended == nil {
		return nil
	}
	failure := endedFailure(status.Name, *ended)
	failure.Pod = pod.Name
	if exits(status) >= fatalExits || failure.Reason == ReasonContainerConfig || failure.Reason == ReasonDownload && isPermanentDownload(failure) {
		return failure
	}
	return nil
}

// lastExit returns the last exit of a container that has not been ready since; nil if it has not
// exited or has completed successfully.
func lastExit(pod *corev1.Pod, status corev1.ContainerStatus, initContainer bool) *corev1.ContainerStateTerminated {
	ended := status.State.Terminated
	if ended == nil && !status.Ready && !wasReady(pod, status) {
		ended = status.LastTerminationState.Terminated
	}
	if ended == nil || initContainer && ended.ExitCode == 0 {
		return nil
	}
	return ended
}

func exits(status corev1.ContainerStatus) int32 {
	if status.State.Running != nil {
		return status.RestartCount
	}
	return status.RestartCount + 1
}

// wasReady reports whether the pod was ready during the current run of the container, so that
// earlier exits no longer count.
func wasReady(pod *corev1.Pod, status corev1.ContainerStatus) bool {
	running := status.State.Running
	for _, condition := range pod.Status.Conditions {
		if running != nil && condition.Type == corev1.PodReady {
			return condition.LastTransitionTime.After(running.StartedAt.Time)
		}
	}
	return false
}

// waitingFailure returns why a container does not start, and whether that lasts until a user
// intervenes; nil if nothing is wrong.
func waitingFailure(status corev1.ContainerStatus, waiting corev1.ContainerStateWaiting) (failure *backend.Failure, lasting bool) {
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed":
		cause := pullCause(waiting.Message)
		return &backend.Failure{
			Reason:  ReasonImagePull,
			Message: fmt.Sprintf("cannot pull the image %q of container %q; check its name and the imagePullSecrets", status.Image, status.Name),
			Detail:  cause,
		}, waiting.Reason == "InvalidImageName" || isPermanent(cause) || omitsCause(waiting, cause)
	case "CreateContainerConfigError":
		return &backend.Failure{
			Reason:  ReasonContainerConfig,
			Message: fmt.Sprintf("container %q cannot be created: %s", status.Name, backend.StableMessage(waiting.Message)),
		}, !IsTransient(waiting.Message)
	case "CreateContainerError", "RunContainerError":
		return startFailure(status.Name, waiting.Message), !IsTransient(waiting.Message)
	}
	return nil, false
}

// omitsCause reports whether the kubelet omits the cause of an image pull back-off, as before
// Kubernetes 1.32. The cause was in the previous message, when the pull failed. The usual cause is
// assumed, so that the status does not flap.
func omitsCause(waiting corev1.ContainerStateWaiting, cause string) bool {
	return waiting.Reason == "ImagePullBackOff" && cause == ""
}

// startFailure returns the failure of a container that the runtime cannot create or start, mostly
// because of a missing command. The kubelet alternates between two reports of the same cause: the
// runtime's error, and the exit of a container that never ran. So the message omits the runtime's
// words, which are in the detail, and the made-up exit code.
func startFailure(container, cause string) *backend.Failure {
	return &backend.Failure{
		Reason:  ReasonContainerConfig,
		Message: fmt.Sprintf("container %q cannot be started; check its command, args and volumeMounts", container),
		Detail:  backend.StableMessage(cause),
	}
}

// pullCause extracts the registry's error from the kubelet's message, which has two alternating
// forms.
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
	if ended.Reason == "StartError" || ended.Reason == "ContainerCannotRun" { // The reasons of containerd and of Docker.
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

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
