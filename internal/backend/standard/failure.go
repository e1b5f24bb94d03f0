// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/pods"
)

// revisionDetail summarises what the pods of a revision report. Without pods, its Deployment's
// conditions count.
func revisionDetail(deployment *appsv1.Deployment, found []*corev1.Pod) backend.RevisionStatus {
	return pods.Detail(found, deadlineOf(deployment), deploymentFailures(deployment, pods.TrackDeadlines(found))...)
}

// deploymentFailures returns why pods cannot be created, and whether the Deployment has exceeded
// its deadline. The deadline counts from the last change of the Deployment, even while its pods
// wait for a node. So it is ignored if the pods themselves carry the times.
func deploymentFailures(deployment *appsv1.Deployment, podsKeepTime bool) []backend.Pending {
	if deployment == nil {
		return nil
	}
	var refused, overdue []backend.Pending
	for _, condition := range deployment.Status.Conditions {
		switch {
		case condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue:
			refused = []backend.Pending{{From: condition.LastTransitionTime.Add(deadlineOf(deployment)), Failure: backend.Failure{
				Reason:  pods.ReasonPodsRefused,
				Message: "the cluster refuses the pods: " + backend.StableMessage(condition.Message),
				Time:    condition.LastTransitionTime.Time,
			}}}
		case condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded" && !podsKeepTime:
			overdue = []backend.Pending{{Failure: backend.Failure{
				Reason:  pods.ReasonDeadline,
				Message: pods.DeadlineMessage(deadlineOf(deployment).String()),
				Time:    condition.LastTransitionTime.Time,
			}}}
		}
	}
	if len(refused) > 0 && len(overdue) > 0 {
		refused[0].From = time.Time{}
		return refused
	}
	return append(refused, overdue...)
}

func deadlineOf(deployment *appsv1.Deployment) time.Duration {
	if deployment == nil {
		return 0
	}
	if seconds := deployment.Spec.ProgressDeadlineSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return 0
}
