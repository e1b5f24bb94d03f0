// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type endpoints struct{ client client.Client }

func (e endpoints) controller() controller {
	service := func(_ context.Context, slice client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{
			Namespace: slice.GetNamespace(), Name: slice.GetLabels()[discoveryv1.LabelServiceName],
		}}}
	}
	return controller{
		name: "endpoints", client: e.client, kind: &corev1.Service{}, sync: e.sync,
		watches: []watch{{&corev1.Pod{}, e.servicesFor}, {&discoveryv1.EndpointSlice{}, service}},
	}
}

func (e endpoints) servicesFor(ctx context.Context, pod client.Object) []reconcile.Request {
	return requestsFor(ctx, e.client, &corev1.Service{}, pod.GetNamespace(), func(object client.Object) bool {
		service, ok := object.(*corev1.Service)
		return ok && len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.GetLabels()))
	})
}

func (e endpoints) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	var slice discoveryv1.EndpointSlice
	err := e.client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: EndpointSliceName(key.Name)}, &slice)
	exists := err == nil
	if client.IgnoreNotFound(err) != nil {
		return 0, err
	}
	var service corev1.Service
	if err := e.client.Get(ctx, key, &service); err != nil {
		if apierrors.IsNotFound(err) && exists {
			return 0, client.IgnoreNotFound(e.client.Delete(ctx, &slice))
		}
		return 0, client.IgnoreNotFound(err)
	}
	if len(service.Spec.Selector) == 0 {
		return 0, nil
	}
	var pods corev1.PodList
	err = e.client.List(ctx, &pods, client.InNamespace(service.Namespace), client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(service.Spec.Selector)})
	if err != nil {
		return 0, err
	}
	desired := newSlice(&service, pods.Items)
	if !exists {
		return 0, e.client.Create(ctx, desired)
	}
	if equality.Semantic.DeepEqual(slice.Labels, desired.Labels) && equality.Semantic.DeepEqual(slice.Endpoints, desired.Endpoints) &&
		equality.Semantic.DeepEqual(slice.Ports, desired.Ports) && metav1.IsControlledBy(&slice, &service) {
		return 0, nil
	}
	slice.Labels, slice.OwnerReferences = desired.Labels, desired.OwnerReferences
	slice.Endpoints, slice.Ports = desired.Endpoints, desired.Ports
	return 0, e.client.Update(ctx, &slice)
}

// newSlice returns the EndpointSlice of a Service. Like the real controller, it copies the
// Service's labels.
func newSlice(service *corev1.Service, pods []corev1.Pod) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      EndpointSliceName(service.Name),
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

// EndpointSliceName returns the name of the EndpointSlice of a Service.
func EndpointSliceName(service string) string {
	return service + "-" + rand.SafeEncodeString(fmt.Sprintf("%05d", digest(service)%100_000))
}
