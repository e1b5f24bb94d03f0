// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/storage/exitcode"
)

// stage is how far a pod that loads a model has progressed. The constants are in order.
type stage int

const (
	noStage stage = iota
	stageScheduling
	stageVolumes
	stageImage
	stageInit
	stageStarting
)

type progress struct {
	stage   stage
	message string
	// scheduled is since when the pod has had a node without being ready; zero without a node.
	scheduled time.Time
	// failure is how the pod fails once its deadline has passed; nil if it is only slow.
	failure *backend.Failure
}

func progressOf(pod *corev1.Pod) progress {
	found := progress{scheduled: loadingSince(pod)}
	if reason, scheduled := unscheduled(pod); !scheduled {
		found.stage, found.message = stageScheduling, "waiting for a node"+reason
		return found
	}
	for _, status := range pod.Status.InitContainerStatuses {
		if !initialized(status) {
			found.stage, found.message, found.failure = containerStage(pod, status, true)
			return found
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Ready {
			continue
		}
		at, message, failure := containerStage(pod, status, false)
		if found.stage == noStage || at < found.stage || found.failure == nil && failure != nil {
			found.stage, found.message, found.failure = at, message, failure
		}
	}
	if found.stage == noStage {
		found.stage, found.message = stageVolumes, waitsForSandbox
	}
	return found
}

const waitsForSandbox = "preparing its volumes and its network"

// pending returns the failure of the pod with the time at which it counts; none while the pod has
// no node.
func (p progress) pending(deadline time.Duration, ready int) []backend.Pending {
	if p.scheduled.IsZero() || deadline == 0 {
		return nil
	}
	from := p.scheduled.Add(deadline)
	failure := backend.Failure{Reason: ReasonDeadline, Message: DeadlineMessage(deadline.String()), Time: from}
	switch {
	case p.failure != nil:
		failure = *p.failure
	case ready > 0:
		failure.Message = strings.Replace(failure.Message, "no pod became ready", "a pod did not become ready", 1)
	}
	return []backend.Pending{{From: from, Failure: failure}}
}

// TrackDeadlines reports whether the pods themselves show when their deadline has passed: one is
// ready, is unschedulable, or has a scheduling time. The deadline of their owner is then ignored.
// It counts from the owner's creation, and is still reported for a moment after a pod has become
// ready.
func TrackDeadlines(pods []*corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
		if pod.DeletionTimestamp != nil {
			return false
		}
		if IsReady(pod) {
			return true
		}
		waits := slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
			return condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse
		})
		return waits || !loadingSince(pod).IsZero()
	})
}

func unscheduled(pod *corev1.Pod) (reason string, scheduled bool) {
	for _, condition := range pod.Status.Conditions {
		switch {
		case condition.Type != corev1.PodScheduled:
		case condition.Status == corev1.ConditionTrue:
			return "", true
		case condition.Reason == corev1.PodReasonSchedulingGated:
			return ": the pod has scheduling gates", false
		case condition.Message != "":
			return ": " + unschedulableReasons(condition.Message), false
		default:
			return "", false
		}
	}
	return "", len(pod.Status.InitContainerStatuses)+len(pod.Status.ContainerStatuses) > 0
}

// loadingSince returns since when a pod has had a node without being ready: since it was scheduled
// or has lost its readiness; zero if it has no node.
func loadingSince(pod *corev1.Pod) time.Time {
	if _, scheduled := unscheduled(pod); !scheduled {
		return time.Time{}
	}
	var since time.Time
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled || condition.Type == corev1.PodReady {
			if at := condition.LastTransitionTime.Time; at.After(since) {
				since = at
			}
		}
	}
	if since.IsZero() {
		return pod.CreationTimestamp.Time
	}
	return since
}

// initialized reports whether an init container has completed, or is a running sidecar.
func initialized(status corev1.ContainerStatus) bool {
	ended := status.State.Terminated
	return ended != nil && ended.ExitCode == 0 || status.State.Running != nil && status.Started != nil && *status.Started
}

// containerStage returns what a container is waiting for, and its failure if the wait does not end.
func containerStage(pod *corev1.Pod, status corev1.ContainerStatus, initContainer bool) (stage, string, *backend.Failure) {
	if waiting := status.State.Waiting; waiting != nil {
		failure, _ := waitingFailure(status, *waiting)
		switch {
		case failure != nil && failure.Reason == ReasonImagePull:
			failure.Pod = pod.Name
			return stageImage, withCause(fmt.Sprintf("pulling the image %q of container %q", status.Image, status.Name), failure.Detail), failure
		case failure != nil:
			failure.Pod = pod.Name
			return stageImage, withCause(fmt.Sprintf("creating container %q", status.Name), waiting.Message), failure
		}
	}
	ended := lastExit(pod, status, initContainer)
	at, message := startStage(pod, status, initContainer)
	if ended == nil {
		return at, message, nil
	}
	failure := endedFailure(status.Name, *ended)
	failure.Pod = pod.Name
	cause := cmp.Or(failure.Detail, fmt.Sprintf("exit code %d", ended.ExitCode))
	if initContainer {
		at = stageInit
	} else {
		at = stageStarting
	}
	return at, withCause(runs(status, initContainer)+", again after a failure", cause), failure
}

func startStage(pod *corev1.Pod, status corev1.ContainerStatus, initContainer bool) (stage, string) {
	switch {
	case status.State.Running != nil && initContainer:
		return stageInit, runs(status, true)
	case status.State.Running != nil:
		return stageStarting, runs(status, false)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReadyToStartContainers && condition.Status == corev1.ConditionFalse {
			return stageVolumes, waitsForSandbox
		}
	}
	return stageImage, fmt.Sprintf("pulling the image %q of container %q", status.Image, status.Name)
}

func runs(status corev1.ContainerStatus, initContainer bool) string {
	switch {
	case status.Name == predictor.InitializerName:
		return "downloading the model"
	case initContainer:
		return fmt.Sprintf("running init container %q", status.Name)
	}
	return fmt.Sprintf("starting: container %q is not ready yet", status.Name)
}

func withCause(message, cause string) string {
	if cause = backend.StableMessage(cause); cause != "" {
		message += ": " + cause
	}
	return message
}

var (
	// permanent matches errors of registries and stores about names or credentials that they do not
	// accept.
	permanent = regexp.MustCompile(`(?i)not[ _]?found|no model found|no such (image|key|bucket|file|object|model|repository|revision)|nosuch(key|bucket)|` +
		`(name|manifest|repository|revision)[ _]unknown|does( not|n.t) exist|\bmissing: |no (match for platform|matching manifest)|` +
		`unauthori[sz]ed|forbidden|denied|credential|permission|insufficient_scope|authentication required|requires? authentication|no basic auth|` +
		`gated repo|expired ?token|token.{0,20}expired|invalidaccesskeyid|signaturedoesnotmatch|invalid reference format|\b40[134]\b`)
	// transient matches errors that may resolve by themselves. It takes precedence over permanent.
	transient = regexp.MustCompile(`(?i)time(d )?[ -]?out|deadline exceeded|connection (refused|reset)|no such host|temporary failure|network is unreachable|` +
		`server misbehaving|name or service not known|\bunreachable: |too ?many ?requests|rate ?limit|slow ?down|\b(429|50[0234])\b|service unavailable|unexpected EOF|failed to sync`)
)

// names matches URLs and image names in an error: a tag can look like an HTTP status.
var names = regexp.MustCompile(`"[^"\s]*[/:][^"\s]*"|\S+://\S+`)

func isPermanent(cause string) bool {
	return permanent.MatchString(names.ReplaceAllString(cause, "")) && !IsTransient(cause)
}

// isPermanentDownload reports whether a failed download cannot succeed without help. The storage
// initializer's message decides, unless its exit code says that another attempt may succeed. KServe's
// storage initializer has no such exit code.
func isPermanentDownload(failure *backend.Failure) bool {
	return failure.ExitCode != exitcode.Retryable && isPermanent(failure.Detail)
}

// IsTransient reports whether another attempt may succeed after an error.
func IsTransient(cause string) bool { return transient.MatchString(names.ReplaceAllString(cause, "")) }

// unschedulableReasons extracts the reasons from the scheduler's message without the node counts:
// as nodes come and go, the same causes must have the same message.
func unschedulableReasons(message string) string {
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
