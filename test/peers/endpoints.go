// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// indexBySelector indexes Services by each label of their selector, as key=value.
const indexBySelector = "selector"

type endpoints struct{ client client.Client }

func (e *endpoints) setup(ctx context.Context, mgr manager.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Service{}, indexBySelector, func(object client.Object) []string {
		service, ok := object.(*corev1.Service)
		if !ok {
			return nil
		}
		var keys []string
		for key, value := range service.Spec.Selector {
			keys = append(keys, key+"="+value)
		}
		return keys
	})
	if err != nil {
		return fmt.Errorf("indexing Services: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("peer-endpoints").
		For(&corev1.Service{}).
		Owns(&discoveryv1.EndpointSlice{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(e.servicesFor)).
		Complete(reconcile.Func(e.reconcile))
	if err != nil {
		return fmt.Errorf("setting up the fake EndpointSlice controller: %w", err)
	}
	return nil
}

func (e *endpoints) servicesFor(ctx context.Context, pod client.Object) []reconcile.Request {
	requests := map[reconcile.Request]bool{}
	for key, value := range pod.GetLabels() {
		var list corev1.ServiceList
		err := e.client.List(ctx, &list, client.InNamespace(pod.GetNamespace()), client.MatchingFields{indexBySelector: key + "=" + value})
		if err != nil {
			return nil // The manager is stopping.
		}
		for i := range list.Items {
			requests[reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])}] = true
		}
	}
	return slices.Collect(maps.Keys(requests))
}

func (e *endpoints) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	err := e.sync(ctx, request)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPeriod}, nil
	}
	return reconcile.Result{}, err
}

func (e *endpoints) sync(ctx context.Context, request reconcile.Request) error {
	var slice discoveryv1.EndpointSlice
	key := client.ObjectKey{Namespace: request.Namespace, Name: sliceName(request.Name)}
	err := e.client.Get(ctx, key, &slice)
	exists := err == nil
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	var service corev1.Service
	if err := e.client.Get(ctx, request.NamespacedName, &service); err != nil {
		if apierrors.IsNotFound(err) && exists {
			return client.IgnoreNotFound(e.client.Delete(ctx, &slice))
		}
		return client.IgnoreNotFound(err)
	}
	if len(service.Spec.Selector) == 0 {
		return nil
	}
	var pods corev1.PodList
	err = e.client.List(ctx, &pods, client.InNamespace(service.Namespace), client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(service.Spec.Selector)})
	if err != nil {
		return err
	}
	desired := newSlice(&service, pods.Items)
	if !exists {
		return e.client.Create(ctx, desired)
	}
	if equality.Semantic.DeepEqual(slice.Labels, desired.Labels) && equality.Semantic.DeepEqual(slice.Endpoints, desired.Endpoints) &&
		equality.Semantic.DeepEqual(slice.Ports, desired.Ports) && metav1.IsControlledBy(&slice, &service) {
		return nil
	}
	slice.Labels, slice.OwnerReferences = desired.Labels, desired.OwnerReferences
	slice.Endpoints, slice.Ports = desired.Endpoints, desired.Ports
	return e.client.Update(ctx, &slice)
}

// newSlice returns the EndpointSlice of a Service. Like the real controller, it copies the
// Service's labels.
func newSlice(service *corev1.Service, pods []corev1.Pod) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      sliceName(service.Name),
			Labels:    map[string]string{},
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	maps.Copy(slice.Labels, service.Labels)
	slice.Labels[discoveryv1.LabelServiceName] = service.Name
	slice.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	for _, port := range service.Spec.Ports {
		target := port.TargetPort.IntVal
		if target == 0 {
			target = port.Port
		}
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: &port.Name, Protocol: &port.Protocol, Port: &target, AppProtocol: port.AppProtocol,
		})
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" {
			continue
		}
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: new(isReady(pod)), Serving: new(isReady(pod)), Terminating: new(pod.DeletionTimestamp != nil)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	return slice
}

func sliceName(service string) string {
	return service + "-" + rand.SafeEncodeString(fmt.Sprintf("%05d", digest(service)%100_000))
}
