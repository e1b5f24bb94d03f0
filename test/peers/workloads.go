// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// indexByDeployment indexes pods by the Deployment that controls them.
const indexByDeployment = "deployment"

// retryPeriod is when to try again after somebody else was faster to write.
const retryPeriod = 10 * time.Millisecond

// Workloads makes pods out of Deployments, without ReplicaSets in between, and runs them.
//
// Like the real thing it replaces the pods when the pod template changes, so that a test can tell by the pods' UIDs
// that they were left alone.
type Workloads struct {
	client client.Client
	nudges chan event.GenericEvent

	mu      sync.Mutex
	scripts map[types.NamespacedName]Script
	seen    map[types.UID]time.Time
}

func newWorkloads(mgr manager.Manager) *Workloads {
	return &Workloads{
		client:  mgr.GetClient(),
		nudges:  make(chan event.GenericEvent, 1024),
		scripts: map[types.NamespacedName]Script{},
		seen:    map[types.UID]time.Time{},
	}
}

// Play sets what becomes of the pods of a Deployment, whether it is there yet or not. An empty name stands for every
// Deployment of the namespace that has no script of its own.
func (w *Workloads) Play(deployment types.NamespacedName, script Script) {
	w.mu.Lock()
	w.scripts[deployment] = script
	w.mu.Unlock()
	w.nudges <- event.GenericEvent{Object: &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: deployment.Namespace, Name: deployment.Name,
	}}}
}

func (w *Workloads) script(deployment types.NamespacedName) Script {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range []types.NamespacedName{deployment, {Namespace: deployment.Namespace}} {
		if script, ok := w.scripts[key]; ok {
			return script
		}
	}
	return Ready()
}

func (w *Workloads) setup(ctx context.Context, mgr manager.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, indexByDeployment, func(object client.Object) []string {
		if owner := metav1.GetControllerOf(object); owner != nil && owner.Kind == "Deployment" {
			return []string{owner.Name}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing pods: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("peer-workloads").
		For(&appsv1.Deployment{}).
		Owns(&corev1.Pod{}).
		WatchesRawSource(source.Channel(w.nudges, handler.EnqueueRequestsFromMapFunc(w.nudged))).
		Complete(reconcile.Func(w.reconcile))
	if err != nil {
		return fmt.Errorf("setting up the workloads: %w", err)
	}
	return nil
}

func (w *Workloads) nudged(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetName() != "" {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(object)}}
	}
	return requestsFor(ctx, w.client, &appsv1.DeploymentList{}, client.InNamespace(object.GetNamespace()))
}

func (w *Workloads) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	wait, err := w.play(ctx, request.NamespacedName)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	return reconcile.Result{RequeueAfter: wait}, err
}

// play brings a Deployment a step on, and tells when the next one is due; 0 when something else has to happen first.
func (w *Workloads) play(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	var found corev1.PodList
	if err := w.client.List(ctx, &found, client.InNamespace(key.Namespace), client.MatchingFields{indexByDeployment: key.Name}); err != nil {
		return 0, err
	}
	var deployment appsv1.Deployment
	if err := w.client.Get(ctx, key, &deployment); err != nil {
		if apierrors.IsNotFound(err) {
			return 0, w.deletePods(ctx, found.Items, nil)
		}
		return 0, err
	}
	script := w.script(key)
	wanted := wantedPods(&deployment)
	if err := w.deletePods(ctx, found.Items, wanted); err != nil {
		return 0, err
	}
	var there []*corev1.Pod
	for i := range found.Items {
		if pod := &found.Items[i]; wanted[pod.Name] != nil && pod.DeletionTimestamp == nil {
			there = append(there, pod)
			delete(wanted, pod.Name)
		}
	}
	if script.refusal == "" {
		for _, pod := range wanted {
			if err := w.client.Create(ctx, pod); err != nil {
				return 0, err
			}
		}
	}
	wait, err := w.run(ctx, there, script)
	if err != nil {
		return 0, err
	}
	return wait, w.report(ctx, &deployment, there, script)
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

// run has the pods do what the script says.
func (w *Workloads) run(ctx context.Context, pods []*corev1.Pod, script Script) (time.Duration, error) {
	var next time.Duration
	// A pod that is ready stays so as long as it may.
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(rank(a), rank(b)) })
	for i, pod := range pods {
		state, wait := script.otherwise, w.age(pod, script.delay)
		if i < script.ready {
			state = running
		}
		if wait > 0 {
			state, next = loading, max(wait, next)
		}
		wanted := state(pod)
		wanted.ObservedGeneration = pod.Status.ObservedGeneration
		if equality.Semantic.DeepEqual(pod.Status, wanted) {
			continue
		}
		pod.Status = wanted
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

// age is how long it takes until a pod is as old as that.
func (w *Workloads) age(pod *corev1.Pod, delay time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.seen[pod.UID]; !ok {
		w.seen[pod.UID] = time.Now()
	}
	return delay - time.Since(w.seen[pod.UID])
}

// report writes the status of the Deployment.
func (w *Workloads) report(ctx context.Context, deployment *appsv1.Deployment, pods []*corev1.Pod, script Script) error {
	ready := 0
	for _, pod := range pods {
		if isReady(pod) {
			ready++
		}
	}
	wanted := replicasOf(deployment)
	status := appsv1.DeploymentStatus{
		ObservedGeneration:  deployment.Generation,
		Replicas:            int32(len(pods)),
		UpdatedReplicas:     int32(len(pods)),
		ReadyReplicas:       int32(ready),
		AvailableReplicas:   int32(ready),
		UnavailableReplicas: int32(max(0, wanted-ready)),
		Conditions:          deploymentConditions(deployment, ready >= wanted, script),
	}
	if equality.Semantic.DeepEqual(deployment.Status, status) {
		return nil
	}
	deployment.Status = status
	return w.client.Status().Update(ctx, deployment)
}

func deploymentConditions(deployment *appsv1.Deployment, available bool, script Script) []appsv1.DeploymentCondition {
	condition := func(kind appsv1.DeploymentConditionType, holds bool, reason, message string) appsv1.DeploymentCondition {
		made := appsv1.DeploymentCondition{
			Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message,
			LastUpdateTime: deployment.CreationTimestamp, LastTransitionTime: deployment.CreationTimestamp,
		}
		if holds {
			made.Status = corev1.ConditionTrue
		}
		return made
	}
	conditions := []appsv1.DeploymentCondition{condition(appsv1.DeploymentAvailable, available, "MinimumReplicas", "")}
	switch {
	case script.overdue:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, false, "ProgressDeadlineExceeded", "has timed out progressing"))
	case available:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, true, "NewReplicaSetAvailable", ""))
	default:
		conditions = append(conditions, condition(appsv1.DeploymentProgressing, true, "ReplicaSetUpdated", ""))
	}
	if script.refusal != "" {
		conditions = append(conditions, condition(appsv1.DeploymentReplicaFailure, true, "FailedCreate", script.refusal))
	}
	return conditions
}

// wantedPods are the pods that a Deployment should have, by name. The names look generated and are not: to make one
// that is there already, and not in the cache yet, fails.
func wantedPods(deployment *appsv1.Deployment) map[string]*corev1.Pod {
	wanted := map[string]*corev1.Pod{}
	template, err := json.Marshal(deployment.Spec.Template)
	if err != nil {
		panic(fmt.Sprintf("encoding a pod template that the API server has sent: %v", err))
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
		wanted[pod.Name] = pod
	}
	return wanted
}

func replicasOf(deployment *appsv1.Deployment) int {
	if deployment.Spec.Replicas == nil {
		return 1
	}
	return int(*deployment.Spec.Replicas)
}
