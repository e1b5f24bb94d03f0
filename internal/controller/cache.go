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

// CacheOptions keep the cache small: of what a cluster has it holds only what belongs to an InferenceService, of that
// only what is read, and what many objects have in common only once.
//
// The kinds that are cached whole are named, and not those that are not: a cache refuses to begin with a kind that the
// cluster does not know, and HTTPRoutes may come later.
func CacheOptions(cfg *config.Config) cache.Options {
	trimmer := &trimmer{lists: map[string]corev1.ResourceList{}}
	options := cache.Options{
		SyncPeriod:                  &cfg.Controller.ResyncPeriod.Duration,
		DefaultTransform:            trimmer.trim,
		DefaultLabelSelector:        labels.NewSelector().Add(ourLabel()),
		ReaderFailOnMissingInformer: true,
		ByObject:                    map[client.Object]cache.ByObject{},
	}
	for _, kind := range []client.Object{&v1beta1.InferenceService{}, &v1alpha1.ServingRuntime{}, &v1alpha1.ClusterServingRuntime{}} {
		options.ByObject[kind] = cache.ByObject{Label: labels.Everything()}
	}
	return options
}

func ourLabel() labels.Requirement {
	requirement, err := labels.NewRequirement(v1beta1.LabelInferenceService, selection.Exists, nil)
	if err != nil {
		panic(err) // The key is a constant.
	}
	return *requirement
}

// trimmer makes objects small before they get into the cache. Once they are there, nobody changes them: whoever reads
// the cache gets a copy, so that objects can share what is equal.
type trimmer struct {
	mu sync.Mutex
	// lists are resource lists by what is in them.
	lists map[string]corev1.ResourceList
}

// maxLists bounds what is kept for sharing. There are seldom more than a few.
const maxLists = 1024

// trim takes off what nobody here reads.
func (t *trimmer) trim(object any) (any, error) {
	if object, ok := object.(metav1.Object); ok {
		object.SetManagedFields(nil)
		object.SetLabels(sharing(object.GetLabels()))
		object.SetAnnotations(sharing(withoutLastApplied(object.GetAnnotations())))
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
			selector.MatchLabels = sharing(selector.MatchLabels)
		}
		t.shareTemplate(&object.Spec.Template)
	}
	return object, nil
}

// trimMeta leaves a name, a version, an age and some labels.
func trimMeta(meta *metav1.ObjectMeta, keys ...string) {
	*meta = metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp,
		Labels: meta.Labels,
	}
	maps.DeleteFunc(meta.Labels, func(key, _ string) bool { return !slices.Contains(keys, key) })
}

// trimConditions leaves what says whether a pod can serve, and how far it is.
func trimConditions(conditions []corev1.PodCondition) []corev1.PodCondition {
	var trimmed []corev1.PodCondition
	for _, condition := range conditions {
		switch condition.Type {
		case corev1.PodReady, corev1.PodScheduled, corev1.PodReadyToStartContainers:
			trimmed = append(trimmed, condition)
		default: // Nobody reads the others.
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

// withoutLastApplied takes off a second copy of the whole object, which kubectl keeps for itself.
func withoutLastApplied(annotations map[string]string) map[string]string {
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	return annotations
}

// vocabulary are the strings that are in the metadata of nearly every object, by what they say.
var vocabulary = func() map[string]string {
	all := map[string]string{}
	for _, text := range append(standard.Vocabulary(), discoveryv1.LabelServiceName) {
		all[text] = text
	}
	return all
}()

// sharing returns the same labels, or annotations, in which what is in the vocabulary is not a copy of its own.
func sharing(pairs map[string]string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	shared := make(map[string]string, len(pairs))
	for key, value := range pairs {
		shared[word(key)] = word(value)
	}
	return shared
}

func word(text string) string {
	if known, found := vocabulary[text]; found {
		return known
	}
	return text
}

// shareTemplate shares what most pod templates have in common: the default resources of a serving runtime and of the
// storage initializer take more room than all the rest of a template.
func (t *trimmer) shareTemplate(template *corev1.PodTemplateSpec) {
	template.Labels, template.Annotations = sharing(template.Labels), sharing(template.Annotations)
	for _, containers := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range containers {
			resources := &containers[i].Resources
			resources.Limits, resources.Requests = t.shared(resources.Limits), t.shared(resources.Requests)
		}
	}
}

// shared returns an equal list, the same one for all that are equal.
func (t *trimmer) shared(list corev1.ResourceList) corev1.ResourceList {
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
	if known, found := t.lists[key.String()]; found {
		return known
	}
	if len(t.lists) >= maxLists {
		clear(t.lists) // Those that are shared already stay so.
	}
	t.lists[key.String()] = list
	return list
}
