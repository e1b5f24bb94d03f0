// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"maps"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/backend/standard"
	"github.com/serinus-io/serinus/internal/config"
)

// CacheOptions returns options that keep the cache small. It holds only objects that belong to
// InferenceServices and only the fields that are read, and equal values share memory.
//
// ByObject lists the kinds that are cached without a label selector. It must not list kinds that
// the cluster may lack, such as HTTPRoute: a cache does not start if the cluster lacks one of its
// kinds.
func CacheOptions(cfg *config.Config) cache.Options {
	trimmer := &trimmer{resourceLists: map[string]corev1.ResourceList{}}
	options := cache.Options{
		SyncPeriod:                  &cfg.Controller.ResyncPeriod.Duration,
		DefaultTransform:            trimmer.trim,
		DefaultLabelSelector:        labels.NewSelector().Add(hasInferenceServiceLabel()),
		ReaderFailOnMissingInformer: true,
		ByObject:                    map[client.Object]cache.ByObject{},
	}
	for _, kind := range []client.Object{&v1beta1.InferenceService{}, &v1alpha1.ServingRuntime{}, &v1alpha1.ClusterServingRuntime{}} {
		options.ByObject[kind] = cache.ByObject{Label: labels.Everything()}
	}
	return options
}

func hasInferenceServiceLabel() labels.Requirement {
	requirement, err := labels.NewRequirement(v1beta1.LabelInferenceService, selection.Exists, nil)
	if err != nil {
		panic(err) // The key is a constant.
	}
	return *requirement
}

// trimmer reduces objects before they enter the cache. Cached objects are not modified, because
// readers get copies, so equal values can be shared.
type trimmer struct {
	mu sync.Mutex
	// resourceLists holds one copy of each resource list, by its content.
	resourceLists map[string]corev1.ResourceList
}

// maxResourceLists bounds resourceLists. A cluster seldom has more than a few distinct lists.
const maxResourceLists = 1024

// trim removes the fields that the operator does not read.
func (t *trimmer) trim(object any) (any, error) {
	if object, ok := object.(metav1.Object); ok {
		object.SetManagedFields(nil)
		object.SetLabels(internPairs(object.GetLabels()))
		object.SetAnnotations(internPairs(withoutLastApplied(object.GetAnnotations())))
	}
	switch object := object.(type) {
	case *corev1.Pod:
		trimMeta(&object.ObjectMeta, v1beta1.LabelInferenceService, v1beta1.LabelRevision, knative.RevisionLabel)
		object.Spec = corev1.PodSpec{}
		object.Status = corev1.PodStatus{
			Phase:                 object.Status.Phase,
			Conditions:            trimConditions(object.Status.Conditions),
			InitContainerStatuses: trimContainers(object.Status.InitContainerStatuses),
			ContainerStatuses:     trimContainers(object.Status.ContainerStatuses),
		}
	case *discoveryv1.EndpointSlice:
		trimMeta(&object.ObjectMeta, v1beta1.LabelInferenceService, discoveryv1.LabelServiceName)
		object.Ports = nil
		for i := range object.Endpoints {
			object.Endpoints[i] = discoveryv1.Endpoint{Conditions: object.Endpoints[i].Conditions}
		}
	case *autoscalingv2.HorizontalPodAutoscaler:
		object.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
	case *appsv1.Deployment:
		if selector := object.Spec.Selector; selector != nil {
			selector.MatchLabels = internPairs(selector.MatchLabels)
		}
		t.internTemplate(&object.Spec.Template)
	}
	return object, nil
}

// trimMeta keeps the identity, the timestamps and the labels with these keys.
func trimMeta(meta *metav1.ObjectMeta, keys ...string) {
	*meta = metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp,
		Labels: meta.Labels,
	}
	maps.DeleteFunc(meta.Labels, func(key, _ string) bool { return !slices.Contains(keys, key) })
}

func trimConditions(conditions []corev1.PodCondition) []corev1.PodCondition {
	var trimmed []corev1.PodCondition
	for _, condition := range conditions {
		switch condition.Type {
		case corev1.PodReady, corev1.PodScheduled, corev1.PodReadyToStartContainers:
			trimmed = append(trimmed, condition)
		default: // The operator does not read the others.
		}
	}
	return trimmed
}

func trimContainers(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	trimmed := make([]corev1.ContainerStatus, len(statuses))
	for i, status := range statuses {
		trimmed[i] = corev1.ContainerStatus{
			Name: status.Name, Image: status.Image, Ready: status.Ready, RestartCount: status.RestartCount, Started: status.Started,
			State: status.State, LastTerminationState: status.LastTerminationState,
		}
	}
	return trimmed
}

// withoutLastApplied removes kubectl's copy of the whole object.
func withoutLastApplied(annotations map[string]string) map[string]string {
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	return annotations
}

// internedStrings are the strings that occur in the metadata of nearly every object.
var internedStrings = func() map[string]string {
	all := map[string]string{}
	for _, text := range append(standard.Vocabulary(), discoveryv1.LabelServiceName) {
		all[text] = text
	}
	return all
}()

func internPairs(pairs map[string]string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	shared := make(map[string]string, len(pairs))
	for key, value := range pairs {
		shared[intern(key)] = intern(value)
	}
	return shared
}

func intern(text string) string {
	if known, found := internedStrings[text]; found {
		return known
	}
	return text
}

// internTemplate interns the resource lists. The default resources of a serving runtime and of the
// storage initializer take more memory than the rest of a template.
func (t *trimmer) internTemplate(template *corev1.PodTemplateSpec) {
	template.Labels, template.Annotations = internPairs(template.Labels), internPairs(template.Annotations)
	for _, containers := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range containers {
			resources := &containers[i].Resources
			resources.Limits, resources.Requests = t.internResources(resources.Limits), t.internResources(resources.Requests)
		}
	}
}

func (t *trimmer) internResources(list corev1.ResourceList) corev1.ResourceList {
	if len(list) == 0 {
		return list
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(list)) {
		quantity := list[name]
		key.WriteString(string(name) + "=" + quantity.String() + ",")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, found := t.resourceLists[key.String()]; found {
		return known
	}
	if len(t.resourceLists) >= maxResourceLists {
		clear(t.resourceLists) // Lists that are shared already stay shared.
	}
	t.resourceLists[key.String()] = list
	return list
}
