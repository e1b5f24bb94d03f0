// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	internalcontroller "github.com/serinus-io/serinus/internal/controller"
)

// peerConcurrency is how many objects of a kind the peers work on at a time.
const peerConcurrency = 16

// peers do what a cluster does with the objects of the operator, in as few writes as can be: for a Deployment one pod
// for each replica with a status, one EndpointSlice and one status; for an HTTPRoute one status at each generation.
// Every pod is ready at once. Nothing is ever taken away.
type peers struct{ client client.Client }

// startPeers returns once the peers have seen what there is.
func startPeers(ctx context.Context, config *rest.Config) (*peers, error) {
	scheme, err := internalcontroller.NewScheme()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, manager.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		return nil, err
	}
	p := &peers{client: mgr.GetClient()}
	concurrently := controller.Options{MaxConcurrentReconciles: peerConcurrency}
	err = ctrl.NewControllerManagedBy(mgr).For(&appsv1.Deployment{}).WithOptions(concurrently).
		Complete(reconcile.AsReconciler(mgr.GetClient(), reconcile.ObjectReconciler[*appsv1.Deployment](workloads{p})))
	if err != nil {
		return nil, err
	}
	err = ctrl.NewControllerManagedBy(mgr).For(&gatewayv1.HTTPRoute{}).WithOptions(concurrently).
		Complete(reconcile.AsReconciler(mgr.GetClient(), reconcile.ObjectReconciler[*gatewayv1.HTTPRoute](gateway{p})))
	if err != nil {
		return nil, err
	}
	go func() { _ = mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, context.Cause(ctx)
	}
	return p, nil
}

// settled tells whether the peers are done with so many Deployments and routes of a namespace.
func (p *peers) settled(ctx context.Context, namespace string, deployments, routes int) (bool, error) {
	var runs appsv1.DeploymentList
	var routed gatewayv1.HTTPRouteList
	for _, list := range []client.ObjectList{&runs, &routed} {
		if err := p.client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return false, err
		}
	}
	for i := range runs.Items {
		if runs.Items[i].Status.ObservedGeneration != runs.Items[i].Generation {
			return false, nil
		}
	}
	for i := range routed.Items {
		if !takenOver(&routed.Items[i]) {
			return false, nil
		}
	}
	return len(runs.Items) == deployments && len(routed.Items) == routes, nil
}

// workloads runs Deployments.
type workloads struct{ *peers }

func (w workloads) Reconcile(ctx context.Context, deployment *appsv1.Deployment) (ctrl.Result, error) {
	if deployment.Status.ObservedGeneration == deployment.Generation || deployment.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	replicas := *deployment.Spec.Replicas
	for i := range replicas {
		if err := w.run(ctx, podOf(deployment, i)); err != nil {
			return ctrl.Result{}, fmt.Errorf("running a pod: %w", err)
		}
	}
	slice := endpointsOf(deployment)
	err := w.client.Create(ctx, slice)
	if apierrors.IsAlreadyExists(err) {
		err = w.client.Update(ctx, slice)
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("publishing endpoints: %w", err)
	}
	before := deployment.DeepCopy()
	deployment.Status = appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation,
		Replicas:           replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable", LastUpdateTime: metav1.Now()},
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable", LastUpdateTime: metav1.Now()},
		},
	}
	return ctrl.Result{}, client.IgnoreNotFound(w.client.Status().Patch(ctx, deployment, client.MergeFrom(before)))
}

// run makes a pod and has it be ready, in two writes as a kubelet's.
func (w workloads) run(ctx context.Context, pod *corev1.Pod) error {
	status := pod.Status
	if err := w.client.Create(ctx, pod); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	pod.Status = status
	return w.client.Status().Update(ctx, pod)
}

func podOf(deployment *appsv1.Deployment, i int32) *corev1.Pod {
	now := metav1.Now()
	template := deployment.Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            fmt.Sprintf("%s-%d", deployment.Name, i),
			Namespace:       deployment.Namespace,
			Labels:          template.Labels,
			Annotations:     template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: *template.Spec.DeepCopy(),
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: podAddress, PodIPs: []corev1.PodIP{{IP: podAddress}}, StartTime: &now,
		},
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now,
		})
	}
	for _, container := range pod.Spec.InitContainers {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: true,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				Reason: "Completed", StartedAt: now, FinishedAt: now,
			}},
		})
	}
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: true, Started: new(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return pod
}

// podAddress is the address of every pod: nobody connects.
const podAddress = "10.0.0.1"

func endpointsOf(deployment *appsv1.Deployment) *discoveryv1.EndpointSlice {
	service := deployment.Labels[v1beta1.LabelRevision]
	labels := map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "bench"}
	maps.Copy(labels, deployment.Labels) // The Service has the same, and a Service's go on to its slices.
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service, Namespace: deployment.Namespace, Labels: labels},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
	}
	for i := range *deployment.Spec.Replicas {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{podAddress},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: deployment.Namespace, Name: fmt.Sprintf("%s-%d", deployment.Name, i),
			},
		})
	}
	return slice
}

// gateway takes routes over.
type gateway struct{ *peers }

func (g gateway) Reconcile(ctx context.Context, route *gatewayv1.HTTPRoute) (ctrl.Result, error) {
	if takenOver(route) || route.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	before := route.DeepCopy()
	parents := make([]gatewayv1.RouteParentStatus, len(route.Spec.ParentRefs))
	for i, ref := range route.Spec.ParentRefs {
		parents[i] = gatewayv1.RouteParentStatus{ParentRef: ref, ControllerName: "serinus.io/bench"}
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			apimeta.SetStatusCondition(&parents[i].Conditions, metav1.Condition{
				Type: string(kind), Status: metav1.ConditionTrue, Reason: string(kind), ObservedGeneration: route.Generation,
			})
		}
	}
	route.Status.Parents = parents
	return ctrl.Result{}, client.IgnoreNotFound(g.client.Status().Patch(ctx, route, client.MergeFrom(before)))
}

func takenOver(route *gatewayv1.HTTPRoute) bool {
	for _, parent := range route.Status.Parents {
		for _, condition := range parent.Conditions {
			if condition.ObservedGeneration != route.Generation {
				return false
			}
		}
	}
	return len(route.Status.Parents) > 0
}
