// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/storage/exitcode"
)

const deadline = 10 * time.Minute

func scheduledAt(seconds int, pod *corev1.Pod) *corev1.Pod {
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at(seconds),
	})
	return pod
}

// TestImmediateFailures: everything else is progress until its deadline.
func TestImmediateFailures(t *testing.T) {
	loaded := initializer(endedAt(3, 0, "Completed", ""))
	pulling := func(cause string) *corev1.Pod {
		return podOf(server(waitsFor("ImagePullBackOff", `Back-off pulling image "registry.example.com/iris:v404": ErrImagePull: `+cause)))
	}
	download := func(log string) *corev1.Pod { return podOf(initializer(endedAt(10, 1, "Error", log))) }
	for name, test := range map[string]struct {
		pod *corev1.Pod
		// fails is the reason of the failure; stage is what the pod is waiting for if there is
		// none.
		fails, stage string
	}{
		"an image name that is none":        {pod: podOf(server(waitsFor("InvalidImageName", "couldn't parse image name"))), fails: ReasonImagePull},
		"an image that is not there":        {pod: pulling("rpc error: code = NotFound desc = not found"), fails: ReasonImagePull},
		"an unknown manifest":               {pod: pulling(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`), fails: ReasonImagePull},
		"an image of another platform":      {pod: pulling("no match for platform in manifest: not found"), fails: ReasonImagePull},
		"a repository that is private":      {pod: pulling("pull access denied, repository does not exist or may require authorization"), fails: ReasonImagePull},
		"a registry with a login":           {pod: pulling("unexpected status from HEAD request to https://r.example.com/v2: 401 Unauthorized"), fails: ReasonImagePull},
		"a registry that says 404":          {pod: pulling("unexpected status code 404"), fails: ReasonImagePull},
		"a registry that says 503":          {pod: pulling("unexpected status code 503"), stage: "pulling the image"},
		"a registry that does not answer":   {pod: pulling("dial tcp 10.0.0.1:443: i/o timeout"), stage: "pulling the image"},
		"a registry that is overloaded":     {pod: pulling("toomanyrequests: You have reached your pull rate limit"), stage: "pulling the image"},
		"a registry without an address":     {pod: pulling("lookup r.example.com on 10.0.0.10:53: no such host"), stage: "no such host"},
		"a registry that breaks":            {pod: pulling("unexpected status code 503 Service Unavailable"), stage: "pulling the image"},
		"an image that cannot be checked":   {pod: podOf(server(waitsFor("RegistryUnavailable", "x"))), stage: "pulling the image"},
		"a model that is not there":         {pod: download("gs://models/iris: missing: there is no object of this name or below it; check storageUri"), fails: ReasonDownload},
		"a store that forbids":              {pod: download("s3://models/iris: forbidden: AccessDenied; check the credentials"), fails: ReasonDownload},
		"a token that is expired":           {pod: download("botocore.exceptions.ClientError: ExpiredToken when calling ListObjectsV2"), fails: ReasonDownload},
		"KServe's word for a missing model": {pod: download("RuntimeError: Failed to fetch model. No model found in s3://models/iris."), fails: ReasonDownload},
		"a store that does not answer":      {pod: download("s3://models/404/iris: unreachable: dial tcp: connection refused; check the endpoint; it is tried again"), stage: "downloading the model"},
		"an issuer of credentials that limits requests": {
			pod:   podOf(initializer(endedAt(10, exitcode.Retryable, "Error", "s3://models/iris: unavailable: the credentials cannot be obtained: the server returned 400 Bad Request (Throttling)"))),
			stage: "downloading the model, again after a failure: s3://models/iris: unavailable",
		},
		"a download that ended twice": {
			pod:   podOf(initializer(runsSince(30), endedAt(10, 1, "Error", "no space left on device"))),
			stage: "downloading the model, again after a failure: no space left on device",
		},
		"a download that ended three times": {pod: podOf(often(initializer(endedAt(10, 1, "Error", "no space left on device")))), fails: ReasonDownload},
		"a server that crashed once":        {pod: podOf(loaded, server(endedAt(10, 1, "Error", "no database"))), stage: "again after a failure: no database"},
		"a server that crashed twice":       {pod: podOf(loaded, server(waitsFor("CrashLoopBackOff", ""), endedAt(10, 1, "Error", ""))), stage: "exit code 1"},
		"a server that crashed three times": {pod: podOf(loaded, often(server(endedAt(10, 1, "Error", "no database")))), fails: ReasonCrash},
		"a secret that is missing":          {pod: podOf(server(waitsFor("CreateContainerConfigError", `secret "s3" not found`))), fails: ReasonContainerConfig},
		"a secret that is not synced yet":   {pod: podOf(server(waitsFor("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"))), stage: "creating container"},
		"a volume that is not there yet": {
			pod: func() *corev1.Pod {
				pod := podOf(server(waitsFor("ContainerCreating", "")))
				pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse})
				return pod
			}(),
			stage: "preparing its volumes and its network",
		},
		"a claim that is not bound": {pod: unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."), stage: "waiting for a node: pod has unbound immediate PersistentVolumeClaims"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Detail([]*corev1.Pod{test.pod}, deadline)
			reason := ""
			if got.Failure != nil {
				reason = got.Failure.Reason
			}
			if reason != test.fails {
				t.Errorf("it fails for %q, want %q", reason, test.fails)
			}
			if test.fails == "" && !strings.Contains(got.Stage, test.stage) {
				t.Errorf("its stage is %q, want %q", got.Stage, test.stage)
			}
		})
	}
}

// TestDeadlineCountsFromScheduling: the load deadline starts once the pod is scheduled.
func TestDeadlineCountsFromScheduling(t *testing.T) {
	running := func() *corev1.Pod { return podOf(server(runsSince(905))) }
	for name, test := range map[string]struct {
		pods []*corev1.Pod
		want []backend.Pending
	}{
		"no node yet": {pods: []*corev1.Pod{unschedulable("0/1 nodes are available: 1 Insufficient cpu.")}},
		"a node after a quarter of an hour": {
			pods: []*corev1.Pod{scheduledAt(900, running())},
			want: []backend.Pending{{From: at(900).Add(deadline), Failure: backend.Failure{Reason: ReasonDeadline, Message: DeadlineMessage("10m0s")}}},
		},
		"readiness was lost later": {
			pods: []*corev1.Pod{unready(scheduledAt(900, running()), 5000)},
			want: []backend.Pending{{From: at(5000).Add(deadline), Failure: backend.Failure{Reason: ReasonDeadline, Message: DeadlineMessage("10m0s")}}},
		},
		"an image that cannot be pulled": {
			pods: []*corev1.Pod{scheduledAt(900, podOf(server(waitsFor("ErrImagePull", "i/o timeout"))))},
			want: []backend.Pending{{From: at(900).Add(deadline), Failure: backend.Failure{Reason: ReasonImagePull, Message: `cannot pull the image "registry.example.com/iris:v2" of container "kserve-container"; check its name and the imagePullSecrets`}}},
		},
		"another pod is ready": {
			pods: []*corev1.Pod{readyPod(scheduledAt(900, running())), scheduledAt(900, running())},
			want: []backend.Pending{{From: at(900).Add(deadline), Failure: backend.Failure{Reason: ReasonDeadline, Message: strings.Replace(DeadlineMessage("10m0s"), "no pod became", "a pod did not become", 1)}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Detail(test.pods, deadline).Pending
			if len(got) != len(test.want) {
				t.Fatalf("it has %d deadlines: %+v", len(got), got)
			}
			for i, want := range test.want {
				if !got[i].From.Equal(want.From) || got[i].Failure.Reason != want.Failure.Reason || got[i].Failure.Message != want.Failure.Message {
					t.Errorf("it is %+v\nwant %+v", got[i], want)
				}
			}
		})
	}
}

// TestTrackDeadlines: the owner's deadline is ignored once the pods report their progress,
// especially once one is ready.
func TestTrackDeadlines(t *testing.T) {
	terminating := readyPod(podOf(server(runsSince(5))))
	terminating.DeletionTimestamp = new(at(900))
	for name, test := range map[string]struct {
		pods []*corev1.Pod
		want bool
	}{
		"none":               {},
		"created just now":   {pods: []*corev1.Pod{{}}},
		"waiting for a node": {pods: []*corev1.Pod{unschedulable("0/1 nodes are available: 1 Insufficient cpu.")}, want: true},
		"loading":            {pods: []*corev1.Pod{scheduledAt(900, podOf(server(runsSince(905))))}, want: true},
		"ready":              {pods: []*corev1.Pod{readyPod(podOf(server(runsSince(5))))}, want: true},
		"leaving":            {pods: []*corev1.Pod{terminating}},
	} {
		if got := TrackDeadlines(test.pods); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestStageOfSeveralPods: the furthest pod without a ready pod, the slowest beside one.
func TestStageOfSeveralPods(t *testing.T) {
	waits, runs := unschedulable("0/1 nodes are available: 1 Insufficient cpu."), podOf(server(runsSince(5)))
	if got := Detail([]*corev1.Pod{waits, runs}, deadline).Stage; !strings.HasPrefix(got, "starting") {
		t.Errorf("without a ready pod it is %q", got)
	}
	if got := Detail([]*corev1.Pod{readyPod(podOf(server(runsSince(5)))), runs, waits}, deadline).Stage; !strings.HasPrefix(got, "waiting for a node") {
		t.Errorf("beside a ready pod it is %q", got)
	}
}
