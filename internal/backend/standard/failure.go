// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"cmp"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/pods"
)

// revisionDetail tells what the pods of a revision, and its Deployment where there are no pods, say of it.
func revisionDetail(deployment *appsv1.Deployment, found []*corev1.Pod) backend.Revision {
	return pods.Detail(found, deploymentFailure(deployment))
}

// deploymentFailure is what keeps pods from being made at all, or else the deadline that has passed without one being
// ready. The conditions are in the order in which they changed last, which says nothing.
func deploymentFailure(deployment *appsv1.Deployment) *backend.Failure {
	if deployment == nil {
		return nil
	}
	var refused, overdue *backend.Failure
	for _, condition := range deployment.Status.Conditions {
		switch {
		case condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue:
			refused = &backend.Failure{
				Reason:  pods.ReasonPodsRefused,
				Message: "the cluster refuses the pods: " + backend.StableMessage(condition.Message),
				Time:    condition.LastTransitionTime.Time,
			}
		case condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded":
			overdue = &backend.Failure{
				Reason:  pods.ReasonDeadline,
				Message: pods.Overdue(deadlineOf(deployment).String()),
				Time:    condition.LastTransitionTime.Time,
			}
		}
	}
	return cmp.Or(refused, overdue)
}

func deadlineOf(deployment *appsv1.Deployment) time.Duration {
	if seconds := deployment.Spec.ProgressDeadlineSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return 0
}
