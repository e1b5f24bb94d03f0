// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
)

const (
	podName   = "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z"
	imageName = "registry.example.com/iris:v2"
)

var start = time.Date(2026, time.November, 23, 8, 0, 0, 0, time.UTC)

func at(seconds int) metav1.Time {
	return metav1.NewTime(start.Add(time.Duration(seconds) * time.Second))
}

func waitsFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func runsSince(seconds int) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(seconds)}}
}

func endedAt(seconds int, exitCode int32, reason, log string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: exitCode, Reason: reason, Message: log, FinishedAt: at(seconds),
	}}
}

func server(now corev1.ContainerState, before ...corev1.ContainerState) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: v1beta1.ServingContainerName, Image: imageName, State: now, RestartCount: int32(len(before))}
	for _, state := range before {
		status.LastTerminationState = state
	}
	return status
}

func often(status corev1.ContainerStatus) corev1.ContainerStatus {
	status.RestartCount = 2
	return status
}

func initializer(now corev1.ContainerState, before ...corev1.ContainerState) corev1.ContainerStatus {
	status := server(now, before...)
	status.Name, status.Image = predictor.InitializerName, "kserve/storage-initializer:v0.20.0"
	return status
}

func podOf(statuses ...corev1.ContainerStatus) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: podName}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: at(-60)}}
	for _, status := range statuses {
		if status.Name == predictor.InitializerName {
			pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, status)
		} else {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
		}
	}
	return pod
}

func unready(d *corev1.Pod, since int) *corev1.Pod {
	d.Status.Conditions[0].LastTransitionTime = at(since)
	return d
}

func readyPod(pod *corev1.Pod) *corev1.Pod {
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	return pod
}

func unschedulable(message string) *corev1.Pod {
	pod := podOf()
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		LastTransitionTime: at(5),
	}}
	return pod
}

func TestDetail(t *testing.T) {
	const starting = `starting: container "kserve-container" is not ready yet`
	loaded := initializer(endedAt(3, 0, "Completed", ""))
	crashed := func(n int) corev1.ContainerState {
		return endedAt(10*n, 1, "Error", fmt.Sprintf("start %d\nno such model\n", n))
	}
	for name, test := range map[string]struct {
		pods []*corev1.Pod
		want backend.RevisionStatus
	}{
		"there are none":       {want: backend.RevisionStatus{State: v1beta1.Pending}},
		"one waits for a node": {pods: []*corev1.Pod{podOf()}, want: backend.RevisionStatus{State: v1beta1.Pending, Pods: 1, Stage: "waiting for a node"}},
		"one fetches its image": {
			pods: []*corev1.Pod{podOf(server(waitsFor("ContainerCreating", "")))},
			want: backend.RevisionStatus{State: v1beta1.Loading, Pods: 1, Stage: `pulling the image "registry.example.com/iris:v2" of container "kserve-container"`},
		},
		"one downloads its model": {
			pods: []*corev1.Pod{podOf(initializer(runsSince(1)), server(waitsFor("PodInitializing", "")))},
			want: backend.RevisionStatus{State: v1beta1.Loading, Pods: 1, Stage: "downloading the model"},
		},
		"one loads":  {pods: []*corev1.Pod{podOf(loaded, server(runsSince(4)))}, want: backend.RevisionStatus{State: v1beta1.Loading, Pods: 1, Stage: starting}},
		"one serves": {pods: []*corev1.Pod{readyPod(podOf(loaded, server(runsSince(4))))}, want: backend.RevisionStatus{State: v1beta1.Loaded, Pods: 1}},
		"one serves and was restarted before": {
			pods: []*corev1.Pod{readyPod(podOf(loaded, server(runsSince(14), crashed(1))))},
			want: backend.RevisionStatus{State: v1beta1.Loaded, Pods: 1},
		},
		"one crashes": {
			pods: []*corev1.Pod{podOf(loaded, often(server(crashed(1))))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ContainerCrashed", Message: `container "kserve-container" ends with exit code 1`,
				Detail: "no such model", Pod: podName, ExitCode: 1, Time: at(10).Time,
			}},
		},
		"one ends well, which a server must not": {
			pods: []*corev1.Pod{podOf(loaded, often(server(endedAt(10, 0, "Completed", ""))))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ContainerCrashed", Message: `container "kserve-container" ends with exit code 0`, Pod: podName, Time: at(10).Time,
			}},
		},
		"one needs more memory": {
			pods: []*corev1.Pod{podOf(loaded, often(server(endedAt(10, 137, "OOMKilled", "Killed"))))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "OutOfMemory", Message: `container "kserve-container" needs more memory than its limit; raise resources.limits.memory`,
				Detail: "Killed", Pod: podName, ExitCode: 137, Time: at(10).Time,
			}},
		},
		"one cannot download its model": {
			pods: []*corev1.Pod{podOf(
				initializer(waitsFor("CrashLoopBackOff", "back-off 20s"), endedAt(10, 1, "Error", "Traceback\n  403 Forbidden: gs://models/iris\n\n")),
				server(waitsFor("PodInitializing", "")),
			)},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ModelDownloadFailed", Message: "the model cannot be downloaded; check storageUri and the credentials of the service account",
				Detail: "403 Forbidden: gs://models/iris", Pod: podName, ExitCode: 1, Time: at(10).Time,
			}},
		},
		"the download needs more memory": {
			pods: []*corev1.Pod{podOf(often(initializer(endedAt(10, 137, "OOMKilled", ""))))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "OutOfMemory", Message: "the download of the model needs more memory than its limit; have the administrator raise storageInitializer.resources.limits.memory in the operator's configuration, which holds for new revisions",
				Pod: podName, ExitCode: 137, Time: at(10).Time,
			}},
		},
		"one has no such image": {
			pods: []*corev1.Pod{podOf(server(waitsFor("ErrImagePull", "manifest unknown")))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason:  "ImagePullFailed",
				Message: `cannot pull the image "registry.example.com/iris:v2" of container "kserve-container"; check its name and the imagePullSecrets`,
				Detail:  "manifest unknown", Pod: podName,
			}},
		},
		"one has no such command": {
			pods: []*corev1.Pod{podOf(loaded, server(endedAt(10, 128, "StartError", `exec: "serve": executable file not found in $PATH: unknown`)))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ContainerConfigError", Message: `container "kserve-container" cannot be started; check its command, args and volumeMounts`,
				Detail: `exec: "serve": executable file not found in $PATH: unknown`, Pod: podName, Time: at(10).Time,
			}},
		},
		"one lacks a secret": {
			pods: []*corev1.Pod{podOf(server(waitsFor("CreateContainerConfigError", `secret "s3" not found`)))},
			want: backend.RevisionStatus{State: v1beta1.FailedToLoad, Pods: 1, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ContainerConfigError", Message: `container "kserve-container" cannot be created: secret "s3" not found`, Pod: podName,
			}},
		},
		"one has no node": {
			pods: []*corev1.Pod{unschedulable("0/3 nodes are available: 2 Insufficient cpu, 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.")},
			want: backend.RevisionStatus{State: v1beta1.Pending, Pods: 1, Stage: "waiting for a node: Insufficient cpu, Insufficient nvidia.com/gpu"},
		},
		"one of two crashes": {
			pods: []*corev1.Pod{podOf(often(server(crashed(1)))), readyPod(podOf(server(runsSince(4))))},
			want: backend.RevisionStatus{State: v1beta1.Loaded, Pods: 2, FailedPods: 1, Failure: &backend.Failure{
				Reason: "ContainerCrashed", Message: `container "kserve-container" ends with exit code 1`,
				Detail: "no such model", Pod: podName, ExitCode: 1, Time: at(10).Time,
			}},
		},
		"one is being deleted": {
			pods: []*corev1.Pod{terminating(readyPod(podOf(server(runsSince(4)))))},
			want: backend.RevisionStatus{State: v1beta1.Pending, Pods: 1},
		},
		"one crashes while it is deleted": {
			pods: []*corev1.Pod{terminating(podOf(server(endedAt(10, 143, "Error", ""))))},
			want: backend.RevisionStatus{State: v1beta1.Pending, Pods: 1},
		},
		"one was ready in this run and lost its readiness, long after a crash": {
			pods: []*corev1.Pod{unready(podOf(loaded, server(runsSince(14), crashed(1))), 5000)},
			want: backend.RevisionStatus{State: v1beta1.Loading, Pods: 1, Stage: starting},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Detail(test.pods, 0)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got.Failure != nil && !slices.Contains(Reasons(), got.Failure.Reason) {
				t.Errorf("%s is not among the reasons that are counted", got.Failure.Reason)
			}
		})
	}
}

func terminating(pod *corev1.Pod) *corev1.Pod {
	pod.DeletionTimestamp = new(at(20))
	return pod
}

// TestFailureIsConstantForOneCause replays the kubelet's reports of a container over time. The
// failure must be the same at any time.
func TestFailureIsConstantForOneCause(t *testing.T) {
	const (
		pulling = `failed to pull and unpack image "registry.example.com/iris:v2": not found`
		backOff = `Back-off pulling image "registry.example.com/iris:v2"`
	)
	crash := func(n int) corev1.ContainerState {
		return endedAt(60*n, 1, "Error", fmt.Sprintf("run %d: no such model", n))
	}
	waits := waitsFor("CrashLoopBackOff", "back-off 5m0s restarting failed container")
	notThere := func(prefix string) string {
		return prefix + `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "serve": executable file not found in $PATH: unknown`
	}
	cannotStart := func(n int) corev1.ContainerState { return endedAt(60*n, 128, "StartError", notThere("")) }
	restarted := func(now corev1.ContainerState, n int) *corev1.Pod {
		status := server(now, crash(n))
		status.RestartCount = int32(n)
		return podOf(status)
	}
	failing := func(wrap func(corev1.ContainerState) *corev1.Pod) []*corev1.Pod {
		var phases []*corev1.Pod
		for n := 1; n <= 4; n++ {
			phases = append(phases, wrap(crash(n)))
		}
		return phases
	}
	for name, phases := range map[string][]*corev1.Pod{
		"a crash loop": {
			restarted(crash(3), 2),
			restarted(waits, 2),
			restarted(runsSince(300), 3),
			restarted(crash(4), 3),
			restarted(waits, 3),
		},
		"a crash of a server that was ready": {
			unready(restarted(crash(3), 2), 181),
			unready(restarted(waits, 2), 181),
			unready(restarted(runsSince(300), 3), 181),
		},
		"the log changes": failing(func(state corev1.ContainerState) *corev1.Pod { return podOf(often(server(state))) }),
		"a download that fails": {
			podOf(initializer(crash(1))),
			podOf(initializer(waits, crash(1))),
			podOf(initializer(runsSince(100), crash(1))),
			podOf(initializer(crash(2), crash(1))),
		},
		"an image that cannot be pulled": {
			podOf(server(waitsFor("ErrImagePull", pulling))),
			podOf(server(waitsFor("ImagePullBackOff", backOff))),
			podOf(server(waitsFor("ErrImagePull", pulling))),
			podOf(server(waitsFor("ImagePullBackOff", backOff+": ErrImagePull: "+pulling))),
		},
		"a command that is not there": {
			podOf(server(waitsFor("RunContainerError", notThere("")))),
			podOf(server(waitsFor("RunContainerError", notThere("failed to start container \"4be9f3\": ")), cannotStart(1))),
			podOf(server(cannotStart(2))),
			podOf(server(waits, cannotStart(2))),
			podOf(server(waitsFor("RunContainerError", notThere("")), cannotStart(2))),
			podOf(server(waits, cannotStart(3))),
		},
		"a command that is not there, with another runtime": {
			podOf(server(waitsFor("CreateContainerError", `container create failed: time="2026-11-23T08:00:01Z" level=error msg="runc create failed: exec: \"serve\": executable file not found in $PATH"`))),
			podOf(server(waitsFor("CreateContainerError", `container create failed: time="2026-11-23T08:00:31Z" level=error msg="runc create failed: exec: \"serve\": executable file not found in $PATH"`))),
			podOf(server(waitsFor("CreateContainerError", `the container name "k8s_kserve-container" is already in use by `+strings.Repeat("a1", 32)))),
		},
		"a storage initializer that cannot be started": {
			podOf(initializer(waitsFor("RunContainerError", notThere("")))),
			podOf(initializer(waits, cannotStart(1))),
		},
		"a container that must not run as root": {
			podOf(server(waitsFor("CreateContainerConfigError", `container has runAsNonRoot and image will run as root (pod: "`+podName+`_kserve-test(0b1f9a3c-52ab-4a07-8f0e-6a5d4ac3a1c2)", container: kserve-container)`))),
			podOf(server(waitsFor("CreateContainerConfigError", `container has runAsNonRoot and image will run as root (pod: "`+podName+`9_kserve-test(9c2f9a3c-52ab-4a07-8f0e-6a5d4ac3a1c3)", container: kserve-container)`))),
		},
	} {
		t.Run(name, func(t *testing.T) {
			ignored := cmpopts.IgnoreFields(backend.Failure{}, "Time", "Detail")
			first := Detail(phases[:1], 0)
			if first.Failure == nil {
				t.Fatal("it does not count as failed")
			}
			for i, pod := range phases {
				got := Detail([]*corev1.Pod{pod}, 0)
				if diff := cmp.Diff(first, got, ignored); diff != "" {
					t.Errorf("in phase %d it reads otherwise (-first +now):\n%s", i, diff)
				}
			}
		})
	}
}

// TestStageIsConstantForOneCause: the same wait has the same message.
func TestStageIsConstantForOneCause(t *testing.T) {
	for name, phases := range map[string][]*corev1.Pod{
		"no node, while nodes come and go": {
			unschedulable("0/3 nodes are available: 2 Insufficient cpu, 10 node(s) had untolerated taint {gpu: yes}."),
			unschedulable("0/12 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 9 Insufficient cpu."),
			unschedulable("0/4 nodes are available: 1 Insufficient cpu, 3 node(s) had untolerated taint {gpu: yes}. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."),
		},
		"a registry that does not answer": {
			podOf(server(waitsFor("ErrImagePull", "dial tcp 10.0.0.1:41234->10.0.0.2:443: i/o timeout"))),
			podOf(server(waitsFor("ImagePullBackOff", `Back-off pulling image "registry.example.com/iris:v2": ErrImagePull: dial tcp 10.0.0.1:51234->10.0.0.2:443: i/o timeout`))),
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := Detail(phases[:1], time.Minute)
			if first.Failure != nil || first.Stage == "" {
				t.Fatalf("failure is %+v, stage is %q", first.Failure, first.Stage)
			}
			for i, pod := range phases {
				if got := Detail([]*corev1.Pod{pod}, time.Minute); got.Stage != first.Stage || got.Failure != nil {
					t.Errorf("in phase %d it is %q (%+v), and was %q", i, got.Stage, got.Failure, first.Stage)
				}
			}
		})
	}
}

func TestPullCause(t *testing.T) {
	const cause = `failed to pull and unpack image "x:v2": not found`
	for message, want := range map[string]string{
		cause: cause,
		`Back-off pulling image "x:v2": ErrImagePull: ` + cause: cause,
		`Back-off pulling image "x:v2"`:                         "",
		"":                                                      "",
	} {
		if got := pullCause(message); got != want {
			t.Errorf("of %q it takes %q, want %q", message, got, want)
		}
	}
}

func TestLastLine(t *testing.T) {
	for log, want := range map[string]string{
		"":                               "",
		"one":                            "one",
		"one\ntwo\n\n  \n":               "two",
		"Traceback:\n  File x\nError: y": "Error: y",
	} {
		if got := lastLine(log); got != want {
			t.Errorf("of %q it is %q, want %q", log, got, want)
		}
	}
}

// TestLoadingSince: the load deadline of a policy counts from the first scheduled pod, and not while
// a pod is ready.
func TestLoadingSince(t *testing.T) {
	starting := func(seconds int) *corev1.Pod { return scheduledAt(seconds, podOf(server(runsSince(5)))) }
	terminating := starting(10)
	terminating.DeletionTimestamp = new(at(900))
	for name, test := range map[string]struct {
		pods []*corev1.Pod
		want time.Time
	}{
		"no pod":                      {},
		"no node":                     {[]*corev1.Pod{unschedulable("0/1 nodes are available")}, time.Time{}},
		"a pod":                       {[]*corev1.Pod{starting(20)}, at(20).Time},
		"two pods":                    {[]*corev1.Pod{starting(30), starting(20)}, at(20).Time},
		"one of two has a node":       {[]*corev1.Pod{unschedulable("0/1 nodes are available"), starting(20)}, at(20).Time},
		"one that goes":               {[]*corev1.Pod{terminating}, time.Time{}},
		"one that goes, and its heir": {[]*corev1.Pod{terminating, starting(40)}, at(40).Time},
		"one is ready":                {[]*corev1.Pod{starting(20), readyPod(starting(30))}, time.Time{}},
	} {
		if got := LoadingSince(test.pods); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
