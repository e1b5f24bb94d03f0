// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/knative"
	"github.com/serinus-io/serinus/internal/backend/knative/knativetest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestContractOnKnative runs the contract of all backends against the Knative backend, with the
// real Knative Serving and real pods, but without traffic. The parts run in parallel, because they
// wait for Knative most of the time.
func TestContractOnKnative(t *testing.T) {
	ctrl.SetLogger(logr.Discard()) // Knative logs a warning about every template.
	running, server, err := startCluster(t.Context())
	if running != nil {
		t.Cleanup(func() {
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	withoutAdmissionPolicies(t, server)
	backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
		t.Helper()
		t.Parallel()
		return newContractCluster(t, server)
	})
}

// withoutAdmissionPolicies removes the operator's admission policies. The contract stores values
// that the policies reject.
func withoutAdmissionPolicies(t *testing.T, server client.Client) {
	t.Helper()
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	if err := server.List(t.Context(), &bindings); err != nil {
		t.Fatal(err)
	}
	for i := range bindings.Items {
		if strings.HasPrefix(bindings.Items[i].Name, "serinus-") {
			if err := server.Delete(t.Context(), &bindings.Items[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const quietPeriod = time.Second

// contractCluster is a namespace with one InferenceService. The test sets the readiness of its
// pods.
type contractCluster struct {
	knativetest.Driver
	backend      *knative.Backend
	failing      map[rollout.Number]bool
	unresponsive bool
	lastSnapshot string

	writes int
	// writesUntilFailure counts down to the write that fails with failure. It is 0 if no write
	// fails.
	writesUntilFailure int
	failure            error
}

func newContractCluster(t *testing.T, server client.WithWatch) *contractCluster {
	t.Helper()
	c := &contractCluster{Driver: knativetest.Driver{Objects: testkit.Objects{T: t, Server: server}, Name: iris}, failing: map[rollout.Number]bool{}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "contract-"}}
	c.Must(server.Create(t.Context(), namespace))
	c.Namespace = namespace.Name
	t.Cleanup(func() { c.Must(server.Delete(context.WithoutCancel(t.Context()), namespace)) })
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: iris}}
	isvc.Spec.Predictor.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/v1"}}
	useTestServer(isvc)
	c.Must(server.Create(t.Context(), isvc))
	c.backend = &knative.Backend{
		Store:           objects.Store{Client: interceptor.NewClient(server, c.funcs()), APIReader: server, Scheme: server.Scheme()},
		Config:          config.Default(),
		Installed:       func() bool { return true },
		RoutesInstalled: func() bool { return false }, // Host routes are not part of the contract.
	}
	return c
}

// useTestServer replaces the contract's models by the test server, whose readiness the test sets.
func useTestServer(isvc *v1beta1.InferenceService) {
	for i := range isvc.Spec.Predictor.Containers {
		container := &isvc.Spec.Predictor.Containers[i]
		if container.Image == testServer {
			continue
		}
		template := &v1beta1.InferenceService{}
		model(1, "--model_name="+path.Base(container.Image), "--never-ready", "--drain=0s")(template)
		*container = template.Spec.Predictor.Containers[0]
		container.ReadinessProbe.HTTPGet.Path = "/v2/health/ready"
	}
}

// funcs counts the backend's writes and makes them fail. It also emulates the index of the
// operator's cache.
func (c *contractCluster) funcs() interceptor.Funcs {
	writing := func(do func() error) error {
		c.writes++
		c.writesUntilFailure--
		if c.writesUntilFailure == 0 {
			return c.failure
		}
		return do()
	}
	return interceptor.Funcs{
		List: func(ctx context.Context, server client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			return listByIndex(ctx, server, list, options)
		},
		Create: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return writing(func() error { return server.Create(ctx, object, options...) })
		},
		Patch: func(ctx context.Context, server client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return writing(func() error { return server.Patch(ctx, object, patch, options...) })
		},
		Apply: func(ctx context.Context, server client.WithWatch, applied runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			return writing(func() error { return server.Apply(ctx, applied, options...) })
		},
		Delete: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return writing(func() error { return server.Delete(ctx, object, options...) })
		},
	}
}

func listByIndex(ctx context.Context, server client.Reader, list client.ObjectList, options []client.ListOption) error {
	listOptions := client.ListOptions{}
	listOptions.ApplyOptions(options)
	name := ""
	if listOptions.FieldSelector != nil {
		name, _ = listOptions.FieldSelector.RequiresExactMatch(objects.IndexByInferenceService)
	}
	listOptions.FieldSelector = nil
	if err := server.List(ctx, list, &listOptions); err != nil || name == "" {
		return err
	}
	items, err := apimeta.ExtractList(list)
	if err != nil {
		return err
	}
	return apimeta.SetList(list, slices.DeleteFunc(items, func(item runtime.Object) bool {
		object, is := item.(client.Object)
		return !is || !slices.Contains(objects.InferenceServiceOf(object), name)
	}))
}

func (c *contractCluster) Backend() backendtest.Backend { return c.backend }

func (c *contractCluster) InferenceService() *v1beta1.InferenceService {
	c.T.Helper()
	isvc := &v1beta1.InferenceService{}
	c.Get(iris, isvc)
	return isvc
}

func (c *contractCluster) Update(isvc *v1beta1.InferenceService) {
	c.T.Helper()
	useTestServer(isvc)
	testkit.EditObject(c.Objects, iris, &v1beta1.InferenceService{}, func(stored *v1beta1.InferenceService) {
		stored.Spec, stored.Labels, stored.Annotations = isvc.Spec, isvc.Labels, isvc.Annotations
	})
}

func (c *contractCluster) Writes() int { return c.writes }

func (c *contractCluster) FailWrite(number int, err error) {
	c.writesUntilFailure, c.failure = number, err
}

func (c *contractCluster) SetFailing(n rollout.Number, failing bool) { c.failing[n] = failing }

// CatchUp waits until Knative has settled, and reports whether anything changed. If something
// changed, a quiet period is enough, because the rest may depend on the backend. While the gateway
// is unresponsive, no revision can retire.
func (c *contractCluster) CatchUp() bool {
	c.T.Helper()
	changed, since, now := false, time.Now(), snapshot{}
	err := wait.PollUntilContextTimeout(c.T.Context(), 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		now = c.takeSnapshot()
		pending := c.setReadiness(now)
		if text := now.String(); text != c.lastSnapshot {
			c.lastSnapshot, changed, since = text, true, time.Now()
		}
		return !pending && time.Since(since) > quietPeriod && (changed || c.unresponsive || !now.isRetiring()), nil
	})
	if err != nil {
		c.T.Fatalf("Knative does not settle: %v; current state:\n%s", err, now)
	}
	return changed
}

// setReadiness makes the pods ready, except those of failing revisions. It reports whether changes
// are pending.
func (c *contractCluster) setReadiness(now snapshot) (pending bool) {
	c.T.Helper()
	for _, pod := range now.pods {
		n := backend.RevisionNumber(iris, pod.Labels[serving.RevisionLabelKey])
		ready := !c.failing[n]
		switch {
		case pod.DeletionTimestamp != nil:
			// Otherwise Knative's queue-proxy waits 30 s for requests.
			c.Must(client.IgnoreNotFound(c.Server.Delete(c.T.Context(), pod, client.GracePeriodSeconds(0))))
			pending = true
		case pods.IsReady(pod) != ready:
			_ = setPodReady(c.T.Context(), pod, ready) // Fails while the container starts.
			pending = true
		}
	}
	return pending || now.isScaling(c.failing) || !c.unresponsive && now.isRoutePending()
}

type snapshot struct {
	service     *servingv1.Service
	revisions   map[string]*servingv1.Revision
	autoscalers []*autoscalingv1alpha1.PodAutoscaler
	pods        []*corev1.Pod
}

func (c *contractCluster) takeSnapshot() snapshot {
	c.T.Helper()
	now := snapshot{revisions: map[string]*servingv1.Revision{}}
	service := &servingv1.Service{}
	if c.Has(backend.PredictorName(iris), service) {
		now.service = service
	}
	var revisions servingv1.RevisionList
	c.Must(c.Server.List(c.T.Context(), &revisions, client.InNamespace(c.Namespace)))
	for _, revision := range objects.Pointers(revisions.Items) {
		now.revisions[revision.Name] = revision
	}
	var list autoscalingv1alpha1.PodAutoscalerList
	c.Must(c.Server.List(c.T.Context(), &list, client.InNamespace(c.Namespace)))
	now.autoscalers, now.pods = objects.Pointers(list.Items), c.Pods()
	return now
}

func (s snapshot) String() string {
	var lines []string
	add := func(object client.Object) {
		lines = append(lines, fmt.Sprintf("%T %s version %s", object, object.GetName(), object.GetResourceVersion()))
	}
	if s.service != nil {
		add(s.service)
	}
	for _, name := range slices.Sorted(maps.Keys(s.revisions)) {
		add(s.revisions[name])
	}
	for _, autoscaler := range s.autoscalers {
		add(autoscaler)
	}
	for _, pod := range s.pods {
		add(pod)
	}
	return strings.Join(lines, "\n")
}

func (s snapshot) isScaling(failing map[rollout.Number]bool) bool {
	podCounts := map[string]int32{}
	for _, pod := range s.pods {
		podCounts[pod.Labels[serving.RevisionLabelKey]]++
		if s.revisions[pod.Labels[serving.RevisionLabelKey]] == nil {
			return true
		}
	}
	for _, autoscaler := range s.autoscalers {
		if autoscaler.Status.ObservedGeneration != autoscaler.Generation {
			return true
		}
	}
	for name, revision := range s.revisions {
		switch desired := revision.Status.DesiredReplicas; {
		case s.service == nil, revision.DeletionTimestamp != nil, revision.Status.ObservedGeneration != revision.Generation:
			return true
		case !revision.IsReady() && !revision.IsFailed() && !failing[backend.RevisionNumber(iris, name)]:
			return true
		case desired != nil && *desired != podCounts[name]:
			return true
		case !revision.IsReady() && podCounts[name] == 0:
			return true
		}
	}
	return false
}

// isRoutePending reports whether Knative has yet to observe or route the Knative Service's spec.
func (s snapshot) isRoutePending() bool {
	if s.service == nil {
		return false
	}
	if s.service.Status.ObservedGeneration != s.service.Generation || s.revisions[s.service.Spec.Template.Name] == nil {
		return true
	}
	for _, target := range s.service.Spec.Traffic {
		if revision := s.revisions[target.RevisionName]; revision == nil || !revision.IsReady() {
			return false // The route waits for this revision.
		}
	}
	return !s.service.Status.GetCondition(servingv1.ServiceConditionRoutesReady).IsTrue()
}

// isRetiring reports whether Knative has yet to scale down an unrouted revision or to report that
// it is unrouted.
func (s snapshot) isRetiring() bool {
	for _, pod := range s.pods {
		if revision := s.revisions[pod.Labels[serving.RevisionLabelKey]]; revision != nil && revision.IsReady() && !s.routesTo(revision.Name) {
			return true
		}
	}
	for _, revision := range s.revisions {
		if revision.GetRoutingState() != servingv1.RoutingStateReserve && revision.IsReady() && !s.routesTo(revision.Name) {
			return true
		}
	}
	return false
}

func (s snapshot) routesTo(revision string) bool {
	return s.service != nil && slices.ContainsFunc(slices.Concat(s.service.Spec.Traffic, s.service.Status.Traffic),
		func(target servingv1.TrafficTarget) bool { return target.RevisionName == revision })
}

func (c *contractCluster) LoseWorkload(n rollout.Number) {
	c.T.Helper()
	lost, uids := &servingv1.Revision{}, c.Instances(n)
	c.Get(revision(int(n)), lost)
	c.Must(c.Server.Delete(c.T.Context(), lost))
	c.eventually("the revision and its pods are gone", func() bool {
		now := c.takeSnapshot()
		c.setReadiness(now)
		current := now.revisions[lost.Name]
		return (current == nil || current.UID != lost.UID) && !slices.ContainsFunc(now.pods, func(pod *corev1.Pod) bool { return slices.Contains(uids, string(pod.UID)) })
	})
}

func (c *contractCluster) LoseRoute() {
	c.T.Helper()
	lost := &servingv1.Service{}
	c.Get(backend.PredictorName(iris), lost)
	c.Must(c.Server.Delete(c.T.Context(), lost))
	c.eventually("the Knative Service and its objects are gone", func() bool {
		now := c.takeSnapshot()
		c.setReadiness(now)
		return now.service == nil && len(now.revisions) == 0 && len(now.pods) == 0
	})
}

// SetUnresponsive makes the API server reject all HTTPRoutes in the namespace, so that Knative's
// ingress cannot route.
func (c *contractCluster) SetUnresponsive(unresponsive bool) {
	c.T.Helper()
	c.unresponsive = unresponsive
	inNamespace := &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.Namespace}}}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	policy.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule: admissionv1.Rule{
				APIGroups: []string{gatewayv1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"httproutes"},
			},
		},
	}}}
	policy.Spec.Validations = []admissionv1.Validation{{Expression: "false", Message: "the gateway is unresponsive"}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	binding.Spec = admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: policy.Name, MatchResources: inNamespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}
	for _, object := range []client.Object{policy, binding} {
		if unresponsive {
			c.Must(c.Server.Create(c.T.Context(), object))
			c.T.Cleanup(func() { c.Must(client.IgnoreNotFound(c.Server.Delete(context.WithoutCancel(c.T.Context()), object))) })
			continue
		}
		c.Must(c.Server.Delete(c.T.Context(), object))
	}
	c.eventually("the API server enforces the policy", func() bool {
		probe := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "probe"}}
		err := c.Server.Create(c.T.Context(), probe, client.DryRunAll)
		return (err != nil) == unresponsive
	})
}

func (c *contractCluster) eventually(what string, holds func() bool) {
	c.T.Helper()
	err := wait.PollUntilContextTimeout(c.T.Context(), 100*time.Millisecond, defaultTimeout, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		c.T.Fatalf("waiting until %s: %v", what, err)
	}
}
