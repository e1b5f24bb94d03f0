// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayapply "sigs.k8s.io/gateway-api/applyconfiguration"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/gateway/gatewaytest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
)

type write struct{ verb, kind, name string }

func (w write) String() string { return w.verb + " " + w.kind + " " + w.name }

// cluster is a fake API server with one InferenceService, and fakes of the other controllers.
type cluster struct {
	t       *testing.T
	scheme  *runtime.Scheme
	server  client.WithWatch
	backend *Backend
	policy  rollout.Policy
	now     time.Time
	inputs  string
	writes  []write
	// intercept is called for each write of the backend. It may return its own result.
	intercept    func(w write, do func() error) error
	unready      map[rollout.Number]bool
	unresponsive bool
	uids         int
}

func newCluster(t *testing.T, changes ...change[v1beta1.InferenceService]) *cluster {
	t.Helper()
	c := &cluster{
		t:       t,
		scheme:  newScheme(t),
		policy:  rollout.Policy{DrainPeriod: 30 * time.Second, CapacityHold: 5 * time.Minute, HistoryLimit: 10},
		now:     start,
		inputs:  "a",
		unready: map[rollout.Number]bool{},
	}
	c.server = newServer(t, c.scheme, newInferenceService(changes...))
	c.backend = &Backend{
		Store:           objects.Store{Client: interceptor.NewClient(c.server, c.funcs()), APIReader: c.server, Scheme: c.scheme},
		Config:          newConfig(),
		RoutesInstalled: func() bool { return true },
	}
	return c
}

func newServer(t *testing.T, scheme *runtime.Scheme, found ...client.Object) client.WithWatch {
	t.Helper()
	kubernetes, gatewayAPI := runtime.NewScheme(), runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(kubernetes); err != nil {
		t.Fatal(err)
	}
	if err := gatewayv1.Install(gatewayAPI); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(found...).
		WithGlobalResourceVersionCounter().
		WithStatusSubresource(&v1beta1.InferenceService{}, &gatewayv1.HTTPRoute{}, ScaleTarget()).
		WithTypeConverters(
			gatewayapply.NewTypeConverter(gatewayAPI), clientgoapply.NewTypeConverter(kubernetes), managedfields.NewDeducedTypeConverter(),
		)
	for _, kind := range slices.Concat(Children(), Peers(), []client.Object{Route(), ScaleTarget()}) {
		builder = builder.WithIndex(kind, objects.IndexByInferenceService, objects.InferenceServiceOf)
	}
	return builder.Build()
}

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
				c.uids++
				object.SetUID(types.UID(fmt.Sprintf("uid-%d", c.uids)))
				return server.Create(ctx, object, options...)
			})
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
		SubResourcePatch: func(
			ctx context.Context, server client.Client, subresource string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption,
		) error {
			return writing("patch "+subresource, object, func() error {
				return server.SubResource(subresource).Patch(ctx, object, patch, options...)
			})
		},
		Delete: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return writing("delete", object, func() error { return server.Delete(ctx, object, options...) })
		},
	}
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
		c.uids++
		after.SetUID(types.UID(fmt.Sprintf("uid-%d", c.uids)))
		after.SetGeneration(1)
	case !equality.Semantic.DeepEqual(before.Object["spec"], after.Object["spec"]):
		after.SetGeneration(before.GetGeneration() + 1)
	default:
		return nil
	}
	return c.server.Update(ctx, after)
}

func (c *cluster) reconcile() (rollout.Decision, error) {
	c.t.Helper()
	observed, err := c.observe()
	if err != nil {
		return rollout.Decision{}, err
	}
	decision := c.decide(observed)
	return decision, c.applyDecision(observed, decision)
}

func (c *cluster) observe() (backendtest.Moment, error) {
	c.t.Helper()
	isvc := c.isvc()
	session, err := c.backend.Observe(c.t.Context(), isvc)
	if err != nil {
		return backendtest.Moment{}, err
	}
	return backendtest.At(session, isvc, v1beta1.DeploymentModeStandard, intent.Target{Hash: c.inputs}), nil
}

func (c *cluster) decide(observed backendtest.Moment) rollout.Decision {
	return rollout.Decide(observed.Snapshot, c.policy, c.now)
}

func (c *cluster) applyDecision(observed backendtest.Moment, decision rollout.Decision, edits ...func(*backend.Change)) error {
	c.t.Helper()
	_, err := c.carryOut(observed, decision, edits...)
	return err
}

// carryOut applies a decision, with edits to the change.
func (c *cluster) carryOut(observed backendtest.Moment, decision rollout.Decision, edits ...func(*backend.Change)) (backend.Outcome, error) {
	c.t.Helper()
	change := observed.Change(decision)
	if decision.Create {
		change.Revision = new(newRevision(func(r *backend.RenderedRevision) {
			r.Hash = c.inputs
			r.Runs.Template.Spec.Containers[0].Image = "server:" + c.inputs
		}))
	}
	for _, edit := range edits {
		edit(&change)
	}
	outcome := observed.Session.Apply(c.t.Context(), change)
	return outcome, outcome.Err()
}

// settle reconciles, and lets the other controllers catch up, until there are no more writes and
// nothing to wait for. It returns the writes.
func (c *cluster) settle() []write {
	c.t.Helper()
	before := len(c.writes)
	for range 50 {
		silent := len(c.writes)
		decision, err := c.reconcile()
		if err != nil {
			c.t.Fatalf("after %v: %v", c.writes[before:], err)
		}
		if moved := c.runControllers(); moved || len(c.writes) > silent {
			continue
		}
		if decision.WakeAt.IsZero() {
			return c.writes[before:]
		}
		c.now = decision.WakeAt
	}
	c.t.Fatalf("does not settle: %v", c.writes[before:])
	return nil
}

// rollOut sets the inputs and the percent of the spec, and settles; a negative percent stands for
// an absent one.
func (c *cluster) rollOut(inputs string, percent int64) []write {
	c.t.Helper()
	c.ask(inputs, percent)
	return c.settle()
}

func (c *cluster) ask(inputs string, percent int64) {
	c.t.Helper()
	c.inputs = inputs
	c.editSpec(func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.CanaryTrafficPercent = nil
		if percent >= 0 {
			isvc.Spec.Predictor.CanaryTrafficPercent = &percent
		}
	})
}

func (c *cluster) isvc() *v1beta1.InferenceService {
	c.t.Helper()
	isvc := &v1beta1.InferenceService{}
	c.get(isvcName, isvc)
	return isvc
}

func (c *cluster) editSpec(edit func(*v1beta1.InferenceService)) {
	c.t.Helper()
	isvc := c.isvc()
	before := isvc.DeepCopy()
	edit(isvc)
	if !equality.Semantic.DeepEqual(before.Spec, isvc.Spec) {
		isvc.Generation++
	}
	c.must(c.server.Update(c.t.Context(), isvc))
}

// runControllers runs the other controllers: pods and endpoints are updated, and the gateway
// accepts routes. It reports whether anything changed.
func (c *cluster) runControllers() bool {
	c.t.Helper()
	moved := c.garbageCollect()
	for _, n := range c.revisionNumbers() {
		moved = c.runPods(n) || moved
	}
	if !c.unresponsive {
		moved = c.acceptRoutes() || moved
	}
	return moved
}

func (c *cluster) revisionNumbers() []rollout.Number {
	c.t.Helper()
	found := map[rollout.Number]bool{}
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.PodList{}} {
		for _, object := range c.list(list) {
			if n := backend.RevisionNumber(isvcName, object.GetLabels()[v1beta1.LabelRevision]); n != 0 {
				found[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (c *cluster) garbageCollect() bool {
	c.t.Helper()
	moved := false
	for _, slice := range c.list(&discoveryv1.EndpointSliceList{}) {
		if !c.has(slice.GetLabels()[discoveryv1.LabelServiceName], &corev1.Service{}) {
			c.must(c.server.Delete(c.t.Context(), slice))
			moved = true
		}
	}
	return moved
}

func (c *cluster) runPods(n rollout.Number) bool {
	c.t.Helper()
	desired, observes := 0, false
	deployment := &appsv1.Deployment{}
	if c.has(deploymentName(isvcName, n), deployment) {
		desired = int(*deployment.Spec.Replicas)
		if deployment.Status.ObservedGeneration != deployment.Generation {
			deployment.Status.ObservedGeneration, observes = deployment.Generation, true
			deployment.Status.Replicas = int32(desired)
			c.must(c.server.Status().Update(c.t.Context(), deployment))
		}
	}
	ready := 0
	if !c.unready[n] {
		ready = desired
	}
	return c.setPods(n, desired, ready) || observes
}

func (c *cluster) setPods(n rollout.Number, count, ready int) bool {
	c.t.Helper()
	moved := false
	existing := map[string]*corev1.Pod{}
	for _, object := range c.list(&corev1.PodList{}) {
		if object.GetLabels()[v1beta1.LabelRevision] == backend.RevisionName(isvcName, n) {
			existing[object.GetName()] = object.(*corev1.Pod)
		}
	}
	for i := range count {
		desired := newPod(n, fmt.Sprintf("%s-%02d", deploymentName(isvcName, n), i), i < ready)
		pod := existing[desired.Name]
		delete(existing, desired.Name)
		if pod == nil {
			c.uids++
			desired.UID = types.UID(fmt.Sprintf("uid-%d", c.uids))
			c.must(c.server.Create(c.t.Context(), desired))
			moved = true
		} else if pods.IsReady(pod) != pods.IsReady(desired) {
			pod.Status = desired.Status
			c.must(c.server.Status().Update(c.t.Context(), pod))
			moved = true
		}
	}
	for _, pod := range existing {
		c.must(c.server.Delete(c.t.Context(), pod))
		moved = true
	}
	return c.setEndpoints(n, ready) || moved
}

func newPod(n rollout.Number, name string, ready bool) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels: map[string]string{v1beta1.LabelInferenceService: isvcName, v1beta1.LabelRevision: backend.RevisionName(isvcName, n)},
	}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	if ready {
		pod.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	return pod
}

func (c *cluster) setEndpoints(n rollout.Number, ready int) bool {
	c.t.Helper()
	service, slice := &corev1.Service{}, &discoveryv1.EndpointSlice{}
	if !c.has(backend.RevisionName(isvcName, n), service) {
		return false
	}
	var endpoints []discoveryv1.Endpoint
	for i := range ready {
		endpoints = append(endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.0.%d.%d", n, i)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		})
	}
	if c.has(service.Name+"-abcde", slice) {
		if len(slice.Endpoints) == ready {
			return false
		}
		slice.Endpoints = endpoints
		c.must(c.server.Update(c.t.Context(), slice))
		return true
	}
	slice = &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: service.Name + "-abcde", Labels: maps.Clone(service.Labels)},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
	}
	slice.Labels[discoveryv1.LabelServiceName] = service.Name
	c.must(c.server.Create(c.t.Context(), slice))
	return true
}

func (c *cluster) acceptRoutes() bool {
	c.t.Helper()
	moved := false
	for _, object := range c.list(&gatewayv1.HTTPRouteList{}) {
		route := object.(*gatewayv1.HTTPRoute)
		if gateway.AcceptanceOf(route).Accepted {
			continue
		}
		route.Status.Parents = gatewaytest.AcceptedBy(route, route.Generation)
		c.must(c.server.Status().Update(c.t.Context(), route))
		moved = true
	}
	return moved
}

func (c *cluster) route() *gatewayv1.HTTPRoute {
	c.t.Helper()
	route := &gatewayv1.HTTPRoute{}
	c.get(isvcName, route)
	return route
}

func (c *cluster) served() rollout.Split {
	c.t.Helper()
	return splitOf(c.isvc(), c.route())
}

func (c *cluster) rolloutState() rollout.State {
	c.t.Helper()
	state, err := rollout.DecodeState(c.route().Annotations[objects.AnnotationState])
	c.must(err)
	return state
}

func (c *cluster) report(state rollout.State) {
	c.t.Helper()
	name := func(n rollout.Number) string {
		if n == 0 {
			return ""
		}
		return backend.RevisionName(isvcName, n)
	}
	component := v1beta1.ComponentStatusSpec{
		LatestRolledoutRevision: name(state.Stable), PreviousRolledoutRevision: name(state.Previous), LatestCreatedRevision: name(state.Target),
	}
	for _, share := range state.Split.Shares() {
		component.Traffic = append(component.Traffic, v1beta1.TrafficTarget{
			RevisionName: name(share.Revision), Percent: new(int64(share.Percent)),
		})
	}
	isvc := c.isvc()
	isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: component}
	c.must(c.server.Status().Update(c.t.Context(), isvc))
}

func (c *cluster) replicas(n rollout.Number) int {
	c.t.Helper()
	deployment := &appsv1.Deployment{}
	c.get(deploymentName(isvcName, n), deployment)
	return int(*deployment.Spec.Replicas)
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

func edit[T client.Object](c *cluster, name string, object T, change func(T)) {
	c.t.Helper()
	c.get(name, object)
	before := object.GetGeneration()
	change(object)
	if object.GetGeneration() == before && before != 0 {
		object.SetGeneration(before + 1)
	}
	c.must(c.server.Update(c.t.Context(), object))
}

func (c *cluster) remove(name string, object client.Object) {
	c.t.Helper()
	c.get(name, object)
	c.must(c.server.Delete(c.t.Context(), object))
}

func (c *cluster) list(list client.ObjectList) []client.Object {
	c.t.Helper()
	c.must(c.server.List(c.t.Context(), list, client.InNamespace(namespace)))
	switch list := list.(type) {
	case *appsv1.DeploymentList:
		return asObjects(list.Items)
	case *appsv1.ControllerRevisionList:
		return asObjects(list.Items)
	case *corev1.ServiceList:
		return asObjects(list.Items)
	case *corev1.PodList:
		return asObjects(list.Items)
	case *discoveryv1.EndpointSliceList:
		return asObjects(list.Items)
	case *gatewayv1.HTTPRouteList:
		return asObjects(list.Items)
	case *autoscalingv2.HorizontalPodAutoscalerList:
		return asObjects(list.Items)
	}
	c.t.Fatalf("cannot list %T", list)
	return nil
}

func asObjects[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	var all []client.Object
	for i := range items {
		all = append(all, P(&items[i]))
	}
	return all
}

func (c *cluster) names(list client.ObjectList) []string {
	c.t.Helper()
	var names []string
	for _, object := range c.list(list) {
		names = append(names, object.GetName())
	}
	return names
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func formatWrites(writes []write) string {
	var lines strings.Builder
	for _, w := range writes {
		fmt.Fprintln(&lines, w)
	}
	return lines.String()
}

func hasFinding(outcome backend.Outcome, reason string) bool {
	return slices.ContainsFunc(outcome.Findings, func(finding backend.Finding) bool { return finding.Reason == reason && finding.Message != "" })
}
