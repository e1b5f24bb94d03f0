// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayapply "sigs.k8s.io/gateway-api/applyconfiguration"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/knative/knativetest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

const (
	isvcName    = "sklearn-iris"
	serviceName = "sklearn-iris-predictor"
	namespace   = "kserve-test"
)

var start = time.Date(2026, time.November, 23, 8, 0, 0, 0, time.UTC)

type write struct{ verb, kind, name string }

func (w write) String() string { return w.verb + " " + w.kind + " " + w.name }

// lag is how far a PodAutoscaler lags behind its revision.
type lag int

const (
	// unheard does not know yet whether a route names the revision.
	unheard lag = iota + 1
	// undone knows it, but has not acted on it: it still reports the previous state.
	undone
)

// cluster is a fake API server with one InferenceService, and a fake of Knative's controllers.
type cluster struct {
	amended *backend.Amended
	t       *testing.T
	scheme  *runtime.Scheme
	server  client.WithWatch
	backend *Backend
	writes  []write
	// intercept is called for each write of the backend. It may return its own result.
	intercept func(w write, do func() error) error
	broken    map[rollout.Number]bool
	// maxReady limits how many pods of a revision become ready.
	maxReady map[rollout.Number]int
	failed   map[rollout.Number]bool
	// unresolved are the revisions whose image Knative cannot resolve, with the registry's error.
	unresolved map[rollout.Number]string
	// givenUp are the revisions that Knative has given up: failed, and scaled to zero.
	givenUp map[rollout.Number]bool
	// lag is the lag of the revisions' PodAutoscalers.
	lag map[rollout.Number]lag
	// refuseTemplates is the error of Knative's webhook for any changed template; nil if it accepts
	// all.
	refuseTemplates error
	unresponsive    bool
	// gateway is the fake Gateway API; nil if it is not installed.
	gateway *fakeGateway
	now     time.Time
	uids    int
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	kubernetes, gatewayAPI := runtime.NewScheme(), runtime.NewScheme()
	for _, add := range []error{
		clientgoscheme.AddToScheme(kubernetes), clientgoscheme.AddToScheme(scheme), v1beta1.AddToScheme(scheme), servingv1.AddToScheme(scheme),
		autoscalingv1alpha1.AddToScheme(scheme), gatewayv1.Install(scheme), gatewayv1.Install(gatewayAPI),
	} {
		if add != nil {
			t.Fatal(add)
		}
	}
	c := &cluster{t: t, scheme: scheme, broken: map[rollout.Number]bool{}, maxReady: map[rollout.Number]int{}, failed: map[rollout.Number]bool{}, unresolved: map[rollout.Number]string{}, givenUp: map[rollout.Number]bool{}, lag: map[rollout.Number]lag{}, now: start}
	builder := fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(&v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: isvcName, UID: "5e7a0b6e-0000-4000-8000-000000000001", Generation: 1,
		}}).
		WithGlobalResourceVersionCounter().
		WithStatusSubresource(&v1beta1.InferenceService{}, &servingv1.Service{}, &servingv1.Revision{}, &gatewayv1.HTTPRoute{}).
		WithTypeConverters(
			gatewayapply.NewTypeConverter(gatewayAPI), clientgoapply.NewTypeConverter(kubernetes), managedfields.NewDeducedTypeConverter(),
		)
	for _, kind := range slices.Concat(Children(), Kinds(), []client.Object{&corev1.Pod{}, &gatewayv1.HTTPRoute{}}) {
		builder = builder.WithIndex(kind, objects.IndexByInferenceService, objects.InferenceServiceOf)
	}
	c.server = builder.Build()
	c.backend = &Backend{
		Store:     objects.Store{Client: interceptor.NewClient(c.server, c.funcs()), APIReader: c.server, Scheme: scheme},
		Config:    config.Default(),
		Clock:     clusterClock{c},
		Installed: func() bool { return true },

		RoutesInstalled: func() bool { return c.gateway != nil },
	}
	return c
}

type clusterClock struct{ *cluster }

func (c clusterClock) Now() time.Time                  { return c.now }
func (c clusterClock) Since(t time.Time) time.Duration { return c.now.Sub(t) }

func (c *cluster) funcs() interceptor.Funcs {
	writing := func(verb string, object client.Object, do func() error) error {
		kind := object.GetObjectKind().GroupVersionKind().Kind
		if gvks, _, err := c.scheme.ObjectKinds(object); kind == "" && err == nil {
			kind = gvks[0].Kind
		}
		w := write{verb, kind, object.GetName()}
		c.writes = append(c.writes, w)
		if c.intercept != nil {
			return c.intercept(w, do)
		}
		return do()
	}
	return interceptor.Funcs{
		Create: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return writing("create", object, func() error {
				object.SetUID(c.uid())
				object.SetGeneration(1)
				object.SetCreationTimestamp(metav1.NewTime(c.now))
				return server.Create(ctx, object, options...)
			})
		},
		Patch: func(ctx context.Context, _ client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return writing("patch", object, func() error { return c.patch(ctx, object, patch, options) })
		},
		Apply: func(ctx context.Context, server client.WithWatch, applied runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			object, ok := applied.(client.Object)
			if !ok {
				c.t.Fatalf("applying a %T", applied)
			}
			return writing("apply", object, func() error {
				return c.apply(ctx, object, func() error { return server.Apply(ctx, applied, options...) })
			})
		},
		Delete: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return writing("delete", object, func() error { return server.Delete(ctx, object, options...) })
		},
	}
}

func (c *cluster) uid() types.UID {
	c.uids++
	return types.UID(fmt.Sprintf("uid-%d", c.uids))
}

func (c *cluster) apply(ctx context.Context, object client.Object, do func() error) error {
	read := func() *unstructured.Unstructured {
		found := &unstructured.Unstructured{}
		found.SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
		if err := c.server.Get(ctx, client.ObjectKeyFromObject(object), found); err != nil {
			return nil
		}
		return found
	}
	before := read()
	if err := do(); err != nil {
		return err
	}
	after := read()
	switch {
	case before == nil:
		after.SetUID(c.uid())
		after.SetGeneration(1)
	case !equality.Semantic.DeepEqual(before.Object["spec"], after.Object["spec"]):
		after.SetGeneration(before.GetGeneration() + 1)
	default:
		return nil
	}
	return c.server.Update(ctx, after)
}

func (c *cluster) patch(ctx context.Context, object client.Object, patch client.Patch, options []client.PatchOption) error {
	data, err := patch.Data(object)
	c.must(err)
	if c.refuseTemplates != nil && strings.Contains(string(data), `"/spec/template"`) {
		return c.refuseTemplates
	}
	before := &servingv1.Service{}
	isService := c.server.Get(ctx, client.ObjectKeyFromObject(object), before) == nil
	if err := c.server.Patch(ctx, object, patch, options...); err != nil {
		return err
	}
	after, ok := object.(*servingv1.Service)
	if !ok || !isService || equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil
	}
	after.Generation = before.Generation + 1
	return c.server.Update(ctx, after)
}

func (c *cluster) isvc() *v1beta1.InferenceService {
	c.t.Helper()
	isvc := &v1beta1.InferenceService{}
	c.get(isvcName, isvc)
	return isvc
}

// knative reacts to the writes as Knative and the gateway do. It reports whether anything changed.
func (c *cluster) knative() bool {
	c.t.Helper()
	moved := c.acceptRoutes()
	moved = c.collectGarbage() || moved
	service := &servingv1.Service{}
	if !c.has(serviceName, service) || c.unresponsive {
		return moved
	}
	moved = c.createRevision(service) || moved
	for _, revision := range c.revisions() {
		moved = c.run(revision) || moved
	}
	moved = c.route(service) || moved
	moved = c.updatePlaceholder(service) || moved
	return c.label(service) || moved
}

func (c *cluster) collectGarbage() bool {
	c.t.Helper()
	moved := false
	service := &servingv1.Service{}
	exists := c.has(serviceName, service)
	revisions := map[string]bool{}
	for _, revision := range c.revisions() {
		if revision.Labels[serving.ServiceLabelKey] == serviceName && (!exists || !belongs(revision, service)) {
			c.must(c.server.Delete(c.t.Context(), revision))
			moved = true
			continue
		}
		revisions[revision.Name] = true
		scaler := &autoscalingv1alpha1.PodAutoscaler{}
		if c.has(revision.Name, scaler) && !metav1.IsControlledBy(scaler, revision) {
			c.must(c.server.Delete(c.t.Context(), scaler))
			moved = true
		}
	}
	if !exists && c.placeholder() != nil {
		c.must(c.server.Delete(c.t.Context(), c.placeholder()))
		moved = true
	}
	for _, pod := range c.driver().Pods() {
		if !revisions[pod.Labels[serving.RevisionLabelKey]] {
			c.must(c.server.Delete(c.t.Context(), pod))
			moved = true
		}
	}
	return moved
}

func (c *cluster) createRevision(service *servingv1.Service) bool {
	c.t.Helper()
	template := service.Spec.Template
	if template.Name == "" || c.has(template.Name, &servingv1.Revision{}) {
		return false
	}
	revision := &servingv1.Revision{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	revision.Namespace, revision.UID, revision.Generation = namespace, c.uid(), 1
	revision.CreationTimestamp = metav1.NewTime(c.now)
	maps.Copy(revision.Labels, map[string]string{
		serving.ServiceLabelKey: serviceName, serving.ServiceUIDLabelKey: string(service.UID), serving.ConfigurationLabelKey: serviceName,
	})
	revision.SetRoutingState(servingv1.RoutingStatePending, c.now)
	c.must(c.server.Create(c.t.Context(), revision))
	return true
}

// run creates the desired pods of a revision and sets its status.
func (c *cluster) run(revision *servingv1.Revision) bool {
	c.t.Helper()
	n := backend.RevisionNumber(isvcName, revision.Name)
	if cause, unresolved := c.unresolved[n]; unresolved {
		return c.leaveUnresolved(revision, cause)
	}
	desired, minimum := 1, minReplicas(revision)
	switch {
	case c.givenUp[n]:
		desired = 0
	case revision.Annotations[autoscaling.ClassAnnotationKey] == autoscaling.HPA:
	case revision.GetRoutingState() == servingv1.RoutingStateReserve, minimum == 0 && revision.IsReady():
		desired = 0
	case minimum > 0:
		desired = minimum
	}
	ready := desired
	if most, maxReady := c.maxReady[n]; maxReady {
		ready = min(ready, most)
	}
	if c.broken[n] || c.failed[n] {
		ready = 0
	}
	moved := c.setPods(revision, desired, ready)
	status := *revision.Status.DeepCopy()
	status.ObservedGeneration = revision.Generation
	status.DesiredReplicas = new(int32(desired))
	set := func(kind apis.ConditionType, value corev1.ConditionStatus) {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c apis.Condition) bool { return c.Type == kind })
		status.Conditions = append(status.Conditions, apis.Condition{Type: kind, Status: value})
	}
	switch {
	case c.failed[n], c.givenUp[n]:
		set(servingv1.RevisionConditionReady, corev1.ConditionFalse)
		set(servingv1.RevisionConditionActive, corev1.ConditionUnknown)
	case ready > 0:
		set(servingv1.RevisionConditionReady, corev1.ConditionTrue)
		set(servingv1.RevisionConditionActive, corev1.ConditionTrue)
		if ready < minimum {
			set(servingv1.RevisionConditionActive, corev1.ConditionUnknown)
		}
	case desired == 0:
		set(servingv1.RevisionConditionActive, corev1.ConditionFalse)
	default:
		set(servingv1.RevisionConditionActive, corev1.ConditionUnknown)
		if !revision.IsReady() {
			set(servingv1.RevisionConditionReady, corev1.ConditionUnknown)
		}
	}
	slices.SortFunc(status.Conditions, func(a, b apis.Condition) int { return len(a.Type) - len(b.Type) })
	moved = c.autoscale(revision, status.GetCondition(servingv1.RevisionConditionActive)) || moved
	if equality.Semantic.DeepEqual(status, revision.Status) {
		return moved
	}
	revision.Status = status
	c.must(c.server.Status().Update(c.t.Context(), revision))
	return true
}

// leaveUnresolved sets the status of a revision whose image cannot be resolved. It creates nothing
// else.
func (c *cluster) leaveUnresolved(revision *servingv1.Revision, cause string) bool {
	c.t.Helper()
	before := revision.Status.DeepCopy()
	revision.Status.ObservedGeneration = revision.Generation
	revision.Status.MarkContainerHealthyFalse(servingv1.ReasonContainerMissing, cause)
	for i := range revision.Status.Conditions {
		revision.Status.Conditions[i].LastTransitionTime = apis.VolatileTime{}
	}
	if equality.Semantic.DeepEqual(*before, revision.Status) {
		return false
	}
	c.must(c.server.Status().Update(c.t.Context(), revision))
	return true
}

// autoscale updates the PodAutoscaler of a revision and its status.
func (c *cluster) autoscale(revision *servingv1.Revision, active *apis.Condition) bool {
	c.t.Helper()
	reachability, scaler := fakecluster.Reachability(revision), &autoscalingv1alpha1.PodAutoscaler{}
	if !c.has(revision.Name, scaler) {
		c.must(c.server.Create(c.t.Context(), &autoscalingv1alpha1.PodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: revision.Name, Generation: 1, Labels: map[string]string{v1beta1.LabelInferenceService: isvcName},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(revision, revision.GetGroupVersionKind())},
			},
			Spec: autoscalingv1alpha1.PodAutoscalerSpec{Reachability: reachability},
		}))
		return true
	}
	behind, before := c.lag[backend.RevisionNumber(isvcName, revision.Name)], scaler.DeepCopy()
	if scaler.Spec.Reachability != reachability && behind != unheard {
		scaler.Spec.Reachability = reachability
		scaler.Generation++
	}
	if behind != undone {
		scaler.Status.ObservedGeneration = scaler.Generation
		scaler.Status.Conditions = duckv1.Conditions{{Type: autoscalingv1alpha1.PodAutoscalerConditionActive, Status: active.Status}}
	}
	if equality.Semantic.DeepEqual(before, scaler) {
		return false
	}
	c.must(c.server.Update(c.t.Context(), scaler))
	return true
}

func (c *cluster) setPods(revision *servingv1.Revision, count, ready int) bool {
	c.t.Helper()
	moved := false
	existing := map[string]*corev1.Pod{}
	for _, pod := range c.driver().Pods() {
		if pod.Labels[serving.RevisionLabelKey] == revision.Name {
			existing[pod.Name] = pod
		}
	}
	for i := range count {
		name := revision.Name + "-deployment-" + strconv.Itoa(i)
		pod := existing[name]
		delete(existing, name)
		status := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}}
		if i < ready {
			status.Conditions[0].Status = corev1.ConditionTrue
		}
		switch {
		case pod == nil:
			c.must(c.server.Create(c.t.Context(), &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: c.uid(), Labels: map[string]string{
					v1beta1.LabelInferenceService: isvcName, serving.RevisionLabelKey: revision.Name,
				}},
				Status: status,
			}))
			moved = true
		case pods.IsReady(pod) != (i < ready):
			pod.Status = status
			c.must(c.server.Status().Update(c.t.Context(), pod))
			moved = true
		}
	}
	for _, pod := range existing {
		c.must(c.server.Delete(c.t.Context(), pod))
		moved = true
	}
	return moved
}

func (c *cluster) route(service *servingv1.Service) bool {
	c.t.Helper()
	status := *service.Status.DeepCopy()
	status.ObservedGeneration = service.Generation
	ready := apis.Condition{Type: servingv1.ServiceConditionRoutesReady, Status: corev1.ConditionTrue}
	for _, target := range service.Spec.Traffic {
		revision := &servingv1.Revision{}
		if !c.has(target.RevisionName, revision) || !revision.IsReady() {
			ready.Status, ready.Reason = corev1.ConditionUnknown, "RevisionMissing"
		}
	}
	if ready.IsTrue() {
		status.URL = apis.HTTP(serviceName + "." + namespace + ".example.com")
		if service.Labels[v1beta1.LabelKnativeNetworkVisibility] == v1beta1.VisibilityClusterLocal {
			status.URL = apis.HTTP(serviceName + "." + namespace + ".svc.cluster.local")
		}
		status.Address = &duckv1.Addressable{URL: apis.HTTP(serviceName + "." + namespace + ".svc.cluster.local")}
		status.Traffic = nil
		for _, target := range service.Spec.Traffic {
			if target.Tag != "" {
				target.URL = apis.HTTP(target.Tag + "-" + serviceName + "." + namespace + ".example.com")
			}
			status.Traffic = append(status.Traffic, target)
		}
	}
	status.Conditions = duckv1.Conditions{ready}
	if equality.Semantic.DeepEqual(status, service.Status) {
		return false
	}
	service.Status = status
	c.must(c.server.Status().Update(c.t.Context(), service))
	return true
}

// label sets the routing state of each revision.
func (c *cluster) label(service *servingv1.Service) bool {
	c.t.Helper()
	moved := false
	for _, revision := range c.revisions() {
		named := slices.ContainsFunc(slices.Concat(service.Spec.Traffic, service.Status.Traffic), func(t servingv1.TrafficTarget) bool {
			return t.RevisionName == revision.Name
		})
		state := revision.GetRoutingState()
		switch {
		case named:
			state = servingv1.RoutingStateActive
		case state == servingv1.RoutingStateActive:
			state = servingv1.RoutingStateReserve
		}
		if state != revision.GetRoutingState() {
			revision.SetRoutingState(state, c.now)
			c.must(c.server.Update(c.t.Context(), revision))
			moved = true
		}
	}
	return moved
}

func (c *cluster) revisions() []*servingv1.Revision {
	c.t.Helper()
	var list servingv1.RevisionList
	c.must(c.server.List(c.t.Context(), &list, client.InNamespace(namespace)))
	return objects.Pointers(list.Items)
}

func (c *cluster) service() *servingv1.Service {
	c.t.Helper()
	service := &servingv1.Service{}
	c.get(serviceName, service)
	return service
}

func (c *cluster) get(name string, into client.Object) {
	c.t.Helper()
	c.must(c.server.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into))
}

func (c *cluster) has(name string, into client.Object) bool {
	c.t.Helper()
	err := c.server.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into)
	c.must(client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

func (c *cluster) driver() knativetest.Hands {
	return knativetest.Hands{T: c.t, Server: c.server, Namespace: namespace, Name: isvcName}
}

func (c *cluster) remove(name string, object client.Object) {
	c.t.Helper()
	c.get(name, object)
	c.must(c.server.Delete(c.t.Context(), object))
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// kserve creates a Knative Service as KServe does: without our labels, and with traffic that
// follows the latest revision. The models are keyed by revision numbers.
func (c *cluster) kserve(models map[rollout.Number]string, traffic []servingv1.TrafficTarget, reported v1beta1.ComponentStatusSpec) {
	c.t.Helper()
	isvc := c.isvc()
	labels := map[string]string{v1beta1.LabelInferenceService: isvcName, v1beta1.LabelComponent: "predictor"}
	service := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: serviceName, UID: c.uid(), Generation: 1, Labels: labels,
		Annotations:     map[string]string{"serving.knative.dev/creator": "system:serviceaccount:kserve:kserve-controller-manager"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind("InferenceService"))},
	}}
	var newest rollout.Number
	for n, model := range models {
		newest = max(newest, n)
		template := servingv1.RevisionTemplateSpec{ObjectMeta: metav1.ObjectMeta{
			Name: backend.RevisionName(isvcName, n), Labels: maps.Clone(labels), Annotations: map[string]string{autoscaling.MinScaleAnnotationKey: "1"},
		}}
		template.Spec.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/" + model}}
		c.createRevision(&servingv1.Service{ObjectMeta: service.ObjectMeta, Spec: servingv1.ServiceSpec{ConfigurationSpec: servingv1.ConfigurationSpec{Template: template}}})
		template.Name = ""
		if n == newest {
			service.Spec.Template = template
		}
	}
	service.Spec.Traffic = traffic
	c.must(c.server.Create(c.t.Context(), service))
	for _, revision := range c.revisions() {
		c.run(revision)
		revision.SetRoutingState(servingv1.RoutingStateActive, c.now)
		c.must(c.server.Update(c.t.Context(), revision))
	}
	service.Status.ObservedGeneration, service.Status.LatestCreatedRevisionName = 1, backend.RevisionName(isvcName, newest)
	for _, target := range traffic {
		if target.RevisionName == "" {
			target.RevisionName = backend.RevisionName(isvcName, newest)
		}
		service.Status.Traffic = append(service.Status.Traffic, target)
	}
	c.must(c.server.Status().Update(c.t.Context(), service))
	isvc.Status.DeploymentMode = "Serverless"
	isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: reported}
	for _, target := range service.Status.Traffic {
		reported.Traffic = append(reported.Traffic, v1beta1.TrafficTarget{
			RevisionName: target.RevisionName, LatestRevision: target.LatestRevision, Percent: target.Percent, Tag: target.Tag,
		})
	}
	isvc.Status.Components[v1beta1.PredictorComponent] = reported
	c.must(c.server.Status().Update(c.t.Context(), isvc))
}
