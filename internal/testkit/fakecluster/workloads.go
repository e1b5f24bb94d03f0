// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Workloads creates and runs the pods of Deployments, without ReplicaSets.
//
// Like the real controllers, it replaces the pods when the pod template changes. Unchanged UIDs
// therefore show that pods were kept.
type Workloads struct {
	client  client.Client
	clock   clock.PassiveClock
	changes changes

	behaviors behaviors[PodBehavior, types.UID]
}

func newWorkloads(c client.Client, passive clock.PassiveClock) *Workloads {
	return &Workloads{client: c, clock: passive}
}

// SetBehavior sets what happens to the pods of a Deployment, also if it does not exist yet. An
// empty name applies to every Deployment of the namespace without a behavior of its own.
func (w *Workloads) SetBehavior(deployment types.NamespacedName, behavior PodBehavior) {
	w.behaviors.set(deployment, behavior)
	w.changes.notify(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: deployment.Namespace, Name: deployment.Name}})
}

func (w *Workloads) controller() controller {
	return controller{
		name: "workloads", client: w.client, kind: &appsv1.Deployment{}, sync: w.sync, changes: &w.changes,
		watches: []watch{{&corev1.Pod{}, func(_ context.Context, pod client.Object) []reconcile.Request {
			if name := deploymentOf(pod); name != "" {
				return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
			}
			return nil
		}}},
	}
}

// deploymentOf returns the name of the Deployment that controls a pod, or "".
func deploymentOf(pod client.Object) string {
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Deployment" {
		return owner.Name
	}
	return ""
}

// podsOf returns the pods of a Deployment.
func podsOf(ctx context.Context, c client.Client, deployment types.NamespacedName) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(deployment.Namespace))
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return deploymentOf(&pod) != deployment.Name }), err
}

// sync reconciles one Deployment. It returns when to requeue, or 0 to wait for a change.
func (w *Workloads) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pods, err := podsOf(ctx, w.client, key)
	if err != nil {
		return 0, err
	}
	var deployment appsv1.Deployment
	if err := w.client.Get(ctx, key, &deployment); err != nil {
		if apierrors.IsNotFound(err) {
			return 0, w.deletePods(ctx, pods, nil)
		}
		return 0, err
	}
	behavior := w.behaviors.of(key, Ready())
	desired := desiredPods(&deployment)
	if err := w.deletePods(ctx, pods, desired); err != nil {
		return 0, err
	}
	var current []*corev1.Pod
	for i := range pods {
		if pod := &pods[i]; desired[pod.Name] != nil && pod.DeletionTimestamp == nil {
			current = append(current, pod)
			delete(desired, pod.Name)
		}
	}
	if behavior.createError == "" {
		for _, name := range slices.Sorted(maps.Keys(desired)) {
			if err := w.client.Create(ctx, desired[name]); err != nil {
				return 0, err
			}
			current = append(current, desired[name])
		}
	}
	wait, err := w.updatePods(ctx, current, behavior)
	if err != nil {
		return 0, err
	}
	return wait, w.updateStatus(ctx, &deployment, current, behavior)
}

func (w *Workloads) deletePods(ctx context.Context, pods []corev1.Pod, except map[string]*corev1.Pod) error {
	for i := range pods {
		if except[pods[i].Name] != nil {
			continue
		}
		if err := w.client.Delete(ctx, &pods[i], client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func (w *Workloads) updatePods(ctx context.Context, pods []*corev1.Pod, behavior PodBehavior) (time.Duration, error) {
	var next time.Duration
	// Ready pods stay ready as long as the behavior allows it.
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(rank(a), rank(b)) })
	for i, pod := range pods {
		state, wait := behavior.rest, w.behaviors.remaining(pod.UID, behavior.delay, w.clock)
		if i < behavior.maxReady {
			state = running
		}
		if wait > 0 {
			state, next = loading, max(wait, next)
		}
		desired := state(pod, w.clock.Now())
		desired.ObservedGeneration = pod.Status.ObservedGeneration
		if equality.Semantic.DeepEqual(pod.Status, desired) {
			continue
		}
		pod.Status = desired
		if err := w.client.Status().Update(ctx, pod); err != nil {
			return 0, err
		}
	}
	return next, nil
}

func rank(pod *corev1.Pod) int {
	if isReady(pod) {
		return 0
	}
	return 1
}

func (w *Workloads) updateStatus(ctx context.Context, deployment *appsv1.Deployment, pods []*corev1.Pod, behavior PodBehavior) error {
	ready := 0
	for _, pod := range pods {
		if isReady(pod) {
			ready++
		}
	}
	desired := replicasOf(deployment)
	status := appsv1.DeploymentStatus{
		ObservedGeneration:  deployment.Generation,
		Replicas:            int32(len(pods)),
		UpdatedReplicas:     int32(len(pods)),
		ReadyReplicas:       int32(ready),
		AvailableReplicas:   int32(ready),
		UnavailableReplicas: int32(max(0, desired-ready)),
		Conditions:          deploymentConditions(deployment, ready >= desired, behavior),
	}
	if equality.Semantic.DeepEqual(deployment.Status, status) {
		return nil
	}
	deployment.Status = status
	return w.client.Status().Update(ctx, deployment)
}

func deploymentConditions(deployment *appsv1.Deployment, available bool, behavior PodBehavior) []appsv1.DeploymentCondition {
	condition := func(conditionType appsv1.DeploymentConditionType, isTrue bool, reason, message string) appsv1.DeploymentCondition {
		c := appsv1.DeploymentCondition{
			Type: conditionType, Status: corev1.ConditionFalse, Reason: reason, Message: message,
			LastUpdateTime: deployment.CreationTimestamp, LastTransitionTime: deployment.CreationTimestamp,
		}
		if isTrue {
			c.Status = corev1.ConditionTrue
		}
		return c
	}
	conditions := []appsv1.DeploymentCondition{condition(appsv1.DeploymentAvailable, available, "MinimumReplicas", "")}
	switch {
	case behavior.deadlineExceeded:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, false, "ProgressDeadlineExceeded", "has timed out progressing"))
	case available:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, true, "NewReplicaSetAvailable", ""))
	default:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, true, "ReplicaSetUpdated", ""))
	}
	if behavior.createError != "" {
		conditions = append(conditions, condition(appsv1.DeploymentReplicaFailure, true, "FailedCreate", behavior.createError))
	}
	return conditions
}

// desiredPods returns the pods of a Deployment by name. The names are deterministic, so that
// creating a pod that is not in the cache yet fails.
func desiredPods(deployment *appsv1.Deployment) map[string]*corev1.Pod {
	desired := map[string]*corev1.Pod{}
	template, err := json.Marshal(deployment.Spec.Template)
	if err != nil {
		panic(fmt.Sprintf("marshaling a pod template of the API server: %v", err))
	}
	hash := rand.SafeEncodeString(strconv.FormatUint(uint64(digest(string(template))), 10))
	for i := range min(replicasOf(deployment), math.MaxInt16) {
		suffix := rand.SafeEncodeString(fmt.Sprintf("%05d", digest(string(deployment.UID), hash, strconv.Itoa(i))%100_000))
		pod := &corev1.Pod{
			ObjectMeta: *deployment.Spec.Template.ObjectMeta.DeepCopy(),
			Spec:       *deployment.Spec.Template.Spec.DeepCopy(),
		}
		pod.Namespace, pod.Name = deployment.Namespace, fmt.Sprintf("%s-%s-%s", deployment.Name, hash, suffix)
		pod.OwnerReferences = []metav1.OwnerReference{
			*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment")),
		}
		desired[pod.Name] = pod
	}
	return desired
}

func replicasOf(deployment *appsv1.Deployment) int {
	if deployment.Spec.Replicas == nil {
		return 1
	}
	return int(*deployment.Spec.Replicas)
}
