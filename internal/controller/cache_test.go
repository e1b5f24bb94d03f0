// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/config"
)

// trimmed returns the object as it is cached.
func trimmed[T any](t *testing.T, trim func(any) (any, error), object T) T {
	t.Helper()
	result, err := trim(object)
	if err != nil {
		t.Fatal(err)
	}
	kept, ok := result.(T)
	if !ok {
		t.Fatalf("got a %T, want a %T", result, object)
	}
	return kept
}

func newTrim() func(any) (any, error) { return CacheOptions(config.Default()).DefaultTransform }

func TestTrimPods(t *testing.T) {
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "no model"}}
	age := metav1.NewTime(time.Unix(1_700_000_000, 0))
	container := corev1.ContainerStatus{
		Name: "kserve-container", Image: "server:1", RestartCount: 3, State: waiting, LastTerminationState: ended,
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pod", Namespace: "models", UID: "1", ResourceVersion: "2", CreationTimestamp: age, DeletionTimestamp: &age,
			Labels: map[string]string{
				v1beta1.LabelInferenceService: "iris", v1beta1.LabelRevision: "iris-predictor-00001", "pod-template-hash": "x",
			},
			Annotations:     map[string]string{"a": "b"},
			OwnerReferences: []metav1.OwnerReference{{Name: "set"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{NodeName: "node"},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1",
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady"},
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "storage-initializer", ImageID: "sha256:1"}},
			ContainerStatuses:     []corev1.ContainerStatus{container},
		},
	}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pod", Namespace: "models", UID: "1", ResourceVersion: "2", CreationTimestamp: age, DeletionTimestamp: &age,
			Labels: map[string]string{v1beta1.LabelInferenceService: "iris", v1beta1.LabelRevision: "iris-predictor-00001"},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady"},
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "storage-initializer"}},
			ContainerStatuses:     []corev1.ContainerStatus{container},
		},
	}
	if diff := cmp.Diff(want, trimmed(t, newTrim(), pod)); diff != "" {
		t.Errorf("unexpected pod (-want +got):\n%s", diff)
	}
}

func TestTrimEndpointSlices(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "slice", Namespace: "models",
			Labels: map[string]string{
				v1beta1.LabelInferenceService: "iris", discoveryv1.LabelServiceName: "iris-predictor-00001", discoveryv1.LabelManagedBy: "x",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: new(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}, NodeName: new("node")},
		},
	}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "slice", Namespace: "models",
			Labels: map[string]string{v1beta1.LabelInferenceService: "iris", discoveryv1.LabelServiceName: "iris-predictor-00001"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}
	if diff := cmp.Diff(want, trimmed(t, newTrim(), slice)); diff != "" {
		t.Errorf("unexpected EndpointSlice (-want +got):\n%s", diff)
	}
}

func TestTrimRemovesManagedFieldsAndLastApplied(t *testing.T) {
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
		Name:          "iris",
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "{}", v1beta1.AnnotationStop: "true"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	want := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
		Name: "iris", Annotations: map[string]string{v1beta1.AnnotationStop: "true"},
	}}
	if diff := cmp.Diff(want, trimmed(t, newTrim(), isvc)); diff != "" {
		t.Errorf("unexpected InferenceService (-want +got):\n%s", diff)
	}
}

// deploymentOf returns a Deployment that shares no memory with other Deployments.
func deploymentOf(n int) *appsv1.Deployment {
	list := func() corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("2Gi")}
	}
	copied := func(text string) string { return string([]byte(text)) }
	own := fmt.Sprintf("iris-%d", n)
	named := func() map[string]string {
		return map[string]string{copied(v1beta1.LabelInferenceService): own, copied(v1beta1.LabelManagedBy): copied(v1beta1.ManagedBySerinus)}
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: own, Labels: named()},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: named()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: named()},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: list()}}},
					Containers:     []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: list(), Requests: list()}}},
				},
			},
		},
	}
}

func TestTrimSharesEqualValues(t *testing.T) {
	trim := newTrim()
	first, second := trimmed(t, trim, deploymentOf(1)), trimmed(t, trim, deploymentOf(2))
	for n, got := range map[int]*appsv1.Deployment{1: first, 2: second} {
		if diff := cmp.Diff(deploymentOf(n), got); diff != "" {
			t.Errorf("Deployment %d was changed (-want +got):\n%s", n, diff)
		}
	}
	limits := func(d *appsv1.Deployment) corev1.ResourceList {
		return d.Spec.Template.Spec.Containers[0].Resources.Limits
	}
	// A write to one list shows whether the other list is the same.
	limits(first)["shared"] = resource.MustParse("1")
	if _, shared := limits(second)["shared"]; !shared {
		t.Error("equal resource lists are not shared")
	}
	for key := range second.Labels {
		if unsafe.StringData(key) != unsafe.StringData(intern(key)) {
			t.Errorf("label key %q is not interned", key)
		}
	}
}

func TestTrimDoesNotMixResources(t *testing.T) {
	trim := newTrim()
	for n := range 2 * maxResourceLists {
		deployment := deploymentOf(n)
		deployment.Spec.Template.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = *resource.NewQuantity(int64(n+1), resource.DecimalSI)
		want := deployment.DeepCopy()
		if diff := cmp.Diff(want, trimmed(t, trim, deployment)); diff != "" {
			t.Fatalf("Deployment %d was changed (-want +got):\n%s", n, diff)
		}
	}
}

func TestTrimIsIdempotent(t *testing.T) {
	trim := newTrim()
	once := trimmed(t, trim, deploymentOf(1))
	want := once.DeepCopy()
	if diff := cmp.Diff(want, trimmed(t, trim, once)); diff != "" {
		t.Errorf("unexpected change (-want +got):\n%s", diff)
	}
}

func TestIgnoreHPAStatus(t *testing.T) {
	before := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "iris", ResourceVersion: "1"}}
	for name, test := range map[string]struct {
		change func(*autoscalingv2.HorizontalPodAutoscaler)
		want   bool
	}{
		"the load":                 {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Status.CurrentReplicas = 3 }, false},
		"the bounds":               {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MaxReplicas = 3 }, true},
		"a label":                  {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Labels = map[string]string{"a": "b"} }, true},
		"an owner":                 {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.OwnerReferences = []metav1.OwnerReference{{}} }, true},
		"a resync":                 {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.ResourceVersion = "1" }, true},
		"a deletion":               {func(h *autoscalingv2.HorizontalPodAutoscaler) { h.DeletionTimestamp = new(metav1.Now()) }, true},
		"nothing that is compared": {func(*autoscalingv2.HorizontalPodAutoscaler) {}, false},
	} {
		after := before.DeepCopy()
		after.ResourceVersion = "2"
		test.change(after)
		if got := ignoreHPAStatus.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !ignoreHPAStatus.Update(event.UpdateEvent{ObjectOld: &corev1.Pod{}, ObjectNew: &corev1.Pod{}}) {
		t.Error("a change of a pod is dropped")
	}
}

// TestCacheNamesNoOptionalKind: a cache does not start if the cluster lacks a kind of ByObject.
func TestCacheNamesNoOptionalKind(t *testing.T) {
	options := CacheOptions(config.Default())
	for kind, by := range options.ByObject {
		if _, route := kind.(*gatewayv1.HTTPRoute); route {
			t.Error("ByObject has HTTPRoutes")
		}
		if by.Label == nil || !by.Label.Empty() {
			t.Errorf("not all objects of %T are cached", kind)
		}
	}
	if options.DefaultLabelSelector.Matches(labels.Set{}) || !options.DefaultLabelSelector.Matches(labels.Set{v1beta1.LabelInferenceService: "iris"}) {
		t.Errorf("the default label selector is %s", options.DefaultLabelSelector)
	}
}
