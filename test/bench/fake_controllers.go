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
	"github.com/serinus-io/serinus/internal/testkit"
)

const controllerConcurrency = 16

// fakeControllers act on the operator's objects with as few writes as possible. For a Deployment
// they create one ready pod for each replica and one EndpointSlice, and update the status once. For
// an HTTPRoute they update the status once for each generation. They never delete objects.
type fakeControllers struct{ client client.Client }

func startFakeControllers(ctx context.Context, config *rest.Config) (*fakeControllers, error) {
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
	c := &fakeControllers{client: mgr.GetClient()}
	concurrently := controller.Options{MaxConcurrentReconciles: controllerConcurrency}
	err = ctrl.NewControllerManagedBy(mgr).For(&appsv1.Deployment{}).WithOptions(concurrently).
		Complete(reconcile.AsReconciler(mgr.GetClient(), reconcile.ObjectReconciler[*appsv1.Deployment](deploymentController{c})))
	if err != nil {
		return nil, err
	}
	err = ctrl.NewControllerManagedBy(mgr).For(&gatewayv1.HTTPRoute{}).WithOptions(concurrently).
		Complete(reconcile.AsReconciler(mgr.GetClient(), reconcile.ObjectReconciler[*gatewayv1.HTTPRoute](routeController{c})))
	if err != nil {
		return nil, err
	}
	go func() { _ = mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, context.Cause(ctx)
	}
	return c, nil
}

// settled reports whether a namespace has these numbers of Deployments and HTTPRoutes, all up to
// date.
func (c *fakeControllers) settled(ctx context.Context, namespace string, deployments, routes int) (bool, error) {
	var runs appsv1.DeploymentList
	var routed gatewayv1.HTTPRouteList
	for _, list := range []client.ObjectList{&runs, &routed} {
		if err := c.client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return false, err
		}
	}
	for i := range runs.Items {
		if runs.Items[i].Status.ObservedGeneration != runs.Items[i].Generation {
			return false, nil
		}
	}
	for i := range routed.Items {
		if !testkit.IsAccepted(&routed.Items[i]) {
			return false, nil
		}
	}
	return len(runs.Items) == deployments && len(routed.Items) == routes, nil
}

type deploymentController struct{ *fakeControllers }

func (c deploymentController) Reconcile(ctx context.Context, deployment *appsv1.Deployment) (ctrl.Result, error) {
	if deployment.Status.ObservedGeneration == deployment.Generation || deployment.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	replicas := *deployment.Spec.Replicas
	for i := range replicas {
		if err := c.createPod(ctx, podOf(deployment, i)); err != nil {
			return ctrl.Result{}, fmt.Errorf("creating a pod: %w", err)
		}
	}
	slice := endpointsOf(deployment)
	err := c.client.Create(ctx, slice)
	if apierrors.IsAlreadyExists(err) {
		err = c.client.Update(ctx, slice)
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
	return ctrl.Result{}, client.IgnoreNotFound(c.client.Status().Patch(ctx, deployment, client.MergeFrom(before)))
}

// createPod creates a pod and updates its status, which takes two writes as in a real cluster.
func (c deploymentController) createPod(ctx context.Context, pod *corev1.Pod) error {
	status := pod.Status
	if err := c.client.Create(ctx, pod); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	pod.Status = status
	return c.client.Status().Update(ctx, pod)
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

const podAddress = "10.0.0.1"

func endpointsOf(deployment *appsv1.Deployment) *discoveryv1.EndpointSlice {
	service := deployment.Labels[v1beta1.LabelRevision]
	labels := map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "bench"}
	maps.Copy(labels, deployment.Labels) // The Service has these labels, and slices inherit the labels of their Service.
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

type routeController struct{ *fakeControllers }

func (c routeController) Reconcile(ctx context.Context, route *gatewayv1.HTTPRoute) (ctrl.Result, error) {
	if testkit.IsAccepted(route) || route.DeletionTimestamp != nil {
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
	return ctrl.Result{}, client.IgnoreNotFound(c.client.Status().Patch(ctx, route, client.MergeFrom(before)))
}
