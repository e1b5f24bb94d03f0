// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func at(seconds int) metav1.Time {
	return metav1.NewTime(testkit.Start.Add(time.Duration(seconds) * time.Second))
}

func ofServer(state corev1.ContainerState) *corev1.Pod {
	pod := newPod(2, "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z", false)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: v1beta1.ServingContainerName, State: state}}
	return pod
}

func TestRevisionDetail(t *testing.T) {
	condition := func(kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) appsv1.DeploymentCondition {
		return appsv1.DeploymentCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: at(7)}
	}
	quota := condition(appsv1.DeploymentReplicaFailure, corev1.ConditionTrue, "FailedCreate",
		`pods "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z" is forbidden: exceeded quota: small, requested: limits.cpu=1, used: limits.cpu=4, limited: limits.cpu=4`)
	overdue := condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded",
		`ReplicaSet "sklearn-iris-predictor-00002-deployment-5d4b9c6f7" has timed out progressing.`)
	fine := condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable", "")
	refused := &backend.Failure{
		Reason: "PodsRefused", Time: at(7).Time,
		Message: `the cluster refuses the pods: pods "…" is forbidden: exceeded quota: small, requested: limits.cpu=1, limited: limits.cpu=4`,
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(4)}}
	withNode := func(pod *corev1.Pod, status corev1.ConditionStatus, since int) *corev1.Pod {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: status, Reason: corev1.PodReasonUnschedulable, LastTransitionTime: at(since),
		})
		return pod
	}
	missed := &backend.Failure{
		Reason:  "ProgressDeadlineExceeded",
		Message: "no pod became ready within 10m0s; if the model takes longer to load, raise the deadline with the annotation serving.knative.dev/progress-deadline",
	}
	for name, test := range map[string]struct {
		conditions []appsv1.DeploymentCondition
		pods       []*corev1.Pod
		// after is the time since the start of the test.
		after time.Duration
		want  *backend.Failure
		// stage is what the pod is waiting for if there is no failure.
		stage string
	}{
		"nothing":                        {},
		"progress":                       {conditions: []appsv1.DeploymentCondition{fine}},
		"a quota":                        {conditions: []appsv1.DeploymentCondition{fine, quota}, after: 10 * time.Minute, stage: refused.Message},
		"a quota, until the deadline":    {conditions: []appsv1.DeploymentCondition{fine, quota}, after: 10*time.Minute + 7*time.Second, want: refused},
		"a quota, after the Deployment":  {conditions: []appsv1.DeploymentCondition{overdue, quota}, want: refused},
		"a quota, before the Deployment": {conditions: []appsv1.DeploymentCondition{quota, overdue}, want: refused},
		"the deadline, without pods":     {conditions: []appsv1.DeploymentCondition{overdue}, want: missed},
		"the deadline, while a pod waits for a node": {
			conditions: []appsv1.DeploymentCondition{overdue}, after: 24 * time.Hour, stage: "waiting for a node",
			pods: []*corev1.Pod{withNode(newPod(2, "x", false), corev1.ConditionFalse, 1)},
		},
		"the deadline, with a node since a minute": {
			conditions: []appsv1.DeploymentCondition{overdue}, after: 20 * time.Minute, stage: `starting: container "kserve-container" is not ready yet`,
			pods: []*corev1.Pod{withNode(ofServer(running), corev1.ConditionTrue, 19*60)},
		},
		"a pod that had a node for the whole time": {
			conditions: []appsv1.DeploymentCondition{fine}, after: 29 * time.Minute, want: missed,
			pods: []*corev1.Pod{withNode(ofServer(running), corev1.ConditionTrue, 19*60)},
		},
		"a quota that is no longer used up": {conditions: []appsv1.DeploymentCondition{
			condition(appsv1.DeploymentReplicaFailure, corev1.ConditionFalse, "", ""),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			deployment := &appsv1.Deployment{}
			deployment.Spec.ProgressDeadlineSeconds = new(int32(600))
			deployment.Status.Conditions = test.conditions
			observed := &backend.Observation{
				Revisions: []rollout.Revision{{Number: 2, Workloads: rollout.WorkloadsOf(&rollout.Workload{})}},
				Details:   map[rollout.Number]backend.RevisionStatus{2: revisionDetail(deployment, test.pods)},
			}
			observed, _ = observed.Expire(testkit.Start.Add(test.after))
			got := observed.Details[2]
			if diff := cmp.Diff(test.want, got.Failure, cmpopts.IgnoreFields(backend.Failure{}, "Time")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got.Failure == nil && got.Stage != test.stage {
				t.Errorf("its stage is %q, want %q", got.Stage, test.stage)
			}
		})
	}

	t.Run("a quota that others use too", func(t *testing.T) {
		reads := func(message string) string {
			deployment := &appsv1.Deployment{}
			deployment.Status.Conditions = []appsv1.DeploymentCondition{condition(appsv1.DeploymentReplicaFailure, corev1.ConditionTrue, "FailedCreate", message)}
			return revisionDetail(deployment, nil).Stage
		}
		now := reads(quota.Message)
		if later := reads(strings.Replace(quota.Message, "used: limits.cpu=4", "used: limits.cpu=3500m", 1)); later != now {
			t.Errorf("it read %q and reads %q", now, later)
		}
	})

	t.Run("its pods know better", func(t *testing.T) {
		deployment := &appsv1.Deployment{}
		deployment.Status.Conditions = []appsv1.DeploymentCondition{overdue}
		pod := ofServer(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", FinishedAt: at(10)}})
		pod.Status.ContainerStatuses[0].RestartCount = 2
		got := revisionDetail(deployment, []*corev1.Pod{pod})
		if got.Failure == nil || got.Failure.Reason != "ContainerCrashed" {
			t.Errorf("failure is %+v", got.Failure)
		}
	})
}
