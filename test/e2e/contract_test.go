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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
)

// TestContractOnKnative holds the backend of Knative mode against what every backend must do, with the real Knative
// Serving and real pods, and without traffic. The parts are played side by side: most of the time they wait for Knative.
func TestContractOnKnative(t *testing.T) {
	ctrl.SetLogger(logr.Discard()) // Knative warns of every template.
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

// withoutAdmissionPolicies lets values in that only objects from before the policies can have.
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

// quiet is for how long nothing must happen before Knative counts as done.
const quiet = time.Second

// contractCluster is a namespace with one InferenceService, whose pods are ready when they are told to be.
type contractCluster struct {
	knativetest.Hands
	backend *knative.Backend
	broken  map[rollout.Number]bool
	deaf    bool
	// seen is what there was when Knative was last waited for.
	seen string

	writes int
	// fails is how many writes it is until one fails, with failure; 0 if none does.
	fails   int
	failure error
}

func newContractCluster(t *testing.T, server client.WithWatch) *contractCluster {
	t.Helper()
	c := &contractCluster{Hands: knativetest.Hands{T: t, Server: server, Name: iris}, broken: map[rollout.Number]bool{}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "contract-"}}
	c.must(server.Create(t.Context(), namespace))
	c.Namespace = namespace.Name
	t.Cleanup(func() { c.must(server.Delete(context.WithoutCancel(t.Context()), namespace)) })
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: iris}}
	isvc.Spec.Predictor.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/v1"}}
	runHere(isvc)
	c.must(server.Create(t.Context(), isvc))
	c.backend = &knative.Backend{
		Store:           objects.Store{Client: interceptor.NewClient(server, c.funcs()), Live: server, Scheme: server.Scheme()},
		Config:          config.Default(),
		Installed:       func() bool { return true },
		RoutesInstalled: func() bool { return false }, // The hosts that Knative knows nothing of are not part of the contract.
	}
	return c
}

// runHere has the models of the contract run the test server, which becomes ready once it is told to.
func runHere(isvc *v1beta1.InferenceService) {
	for i := range isvc.Spec.Predictor.Containers {
		container := &isvc.Spec.Predictor.Containers[i]
		if container.Image == testServer {
			continue
		}
		said := &v1beta1.InferenceService{}
		model(1, "--model_name="+path.Base(container.Image), "--never-ready", "--drain=0s")(said)
		*container = said.Spec.Predictor.Containers[0]
		container.ReadinessProbe.HTTPGet.Path = "/v2/health/ready"
	}
}

// funcs count the writes of the backend, and fail them. What it lists by an index of the operator's cache is looked for.
func (c *contractCluster) funcs() interceptor.Funcs {
	writing := func(do func() error) error {
		c.writes++
		c.fails--
		if c.fails == 0 {
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
	asked := client.ListOptions{}
	asked.ApplyOptions(options)
	name := ""
	if asked.FieldSelector != nil {
		name, _ = asked.FieldSelector.RequiresExactMatch(objects.IndexByInferenceService)
	}
	asked.FieldSelector = nil
	if err := server.List(ctx, list, &asked); err != nil || name == "" {
		return err
	}
	found, err := apimeta.ExtractList(list)
	if err != nil {
		return err
	}
	return apimeta.SetList(list, slices.DeleteFunc(found, func(item runtime.Object) bool {
		object, is := item.(client.Object)
		return !is || !slices.Contains(objects.InferenceServiceOf(object), name)
	}))
}

func (c *contractCluster) Backend() backendtest.Backend { return c.backend }

func (c *contractCluster) InferenceService() *v1beta1.InferenceService {
	c.T.Helper()
	isvc := &v1beta1.InferenceService{}
	c.get(iris, isvc)
	return isvc
}

func (c *contractCluster) Update(isvc *v1beta1.InferenceService) {
	c.T.Helper()
	runHere(isvc)
	knativetest.Edit(c.Hands, iris, &v1beta1.InferenceService{}, func(stored *v1beta1.InferenceService) {
		stored.Spec, stored.Labels, stored.Annotations = isvc.Spec, isvc.Labels, isvc.Annotations
	})
}

func (c *contractCluster) Writes() int { return c.writes }

func (c *contractCluster) FailWrite(number int, err error) { c.fails, c.failure = number, err }

func (c *contractCluster) SetBroken(n rollout.Number, broken bool) { c.broken[n] = broken }

// CatchUp waits until Knative has nothing more to do. As soon as something has happened, it is enough that for a while
// nothing more does: what is left may be up to the backend. While nothing can be taken over, nothing retires.
func (c *contractCluster) CatchUp() bool {
	c.T.Helper()
	changed, since, now := false, time.Now(), sight{}
	err := wait.PollUntilContextTimeout(c.T.Context(), 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		now = c.look()
		waits := c.tell(now)
		if said := now.String(); said != c.seen {
			c.seen, changed, since = said, true, time.Now()
		}
		return !waits && time.Since(since) > quiet && (changed || c.deaf || !now.retires()), nil
	})
	if err != nil {
		c.T.Fatalf("Knative does not come to an end: %v; there is %s", err, now)
	}
	return changed
}

// tell has the pods be ready, but for those of broken revisions, and tells whether any is not yet as it is to be.
func (c *contractCluster) tell(now sight) (waits bool) {
	c.T.Helper()
	for _, pod := range now.pods {
		n := backend.RevisionNumber(iris, pod.Labels[serving.RevisionLabelKey])
		ready := !c.broken[n]
		switch {
		case pod.DeletionTimestamp != nil:
			// Knative's proxy would wait for requests for half a minute more.
			c.must(client.IgnoreNotFound(c.Server.Delete(c.T.Context(), pod, client.GracePeriodSeconds(0))))
			waits = true
		case pods.IsReady(pod) != ready:
			_ = setPodReady(c.T.Context(), pod, ready) // It may not listen yet.
			waits = true
		}
	}
	return waits || now.loads(c.broken) || !c.deaf && now.isBehind()
}

// sight is what there is of Knative's in the namespace.
type sight struct {
	service   *servingv1.Service
	revisions map[string]*servingv1.Revision
	scalers   []*autoscalingv1alpha1.PodAutoscaler
	pods      []*corev1.Pod
}

func (c *contractCluster) look() sight {
	c.T.Helper()
	now := sight{revisions: map[string]*servingv1.Revision{}}
	service := &servingv1.Service{}
	if c.has(backend.PredictorName(iris), service) {
		now.service = service
	}
	var made servingv1.RevisionList
	c.must(c.Server.List(c.T.Context(), &made, client.InNamespace(c.Namespace)))
	for _, one := range objects.Pointers(made.Items) {
		now.revisions[one.Name] = one
	}
	var scalers autoscalingv1alpha1.PodAutoscalerList
	c.must(c.Server.List(c.T.Context(), &scalers, client.InNamespace(c.Namespace)))
	now.scalers, now.pods = objects.Pointers(scalers.Items), c.Pods()
	return now
}

// String tells one sight from another.
func (s sight) String() string {
	var said []string
	add := func(object client.Object) {
		said = append(said, fmt.Sprintf("%T %s version %s", object, object.GetName(), object.GetResourceVersion()))
	}
	if s.service != nil {
		add(s.service)
	}
	for _, name := range slices.Sorted(maps.Keys(s.revisions)) {
		add(s.revisions[name])
	}
	for _, scaler := range s.scalers {
		add(scaler)
	}
	for _, pod := range s.pods {
		add(pod)
	}
	return strings.Join(said, "\n")
}

// loads tells whether there is to be a pod that is not there, or what is there is to go.
func (s sight) loads(broken map[rollout.Number]bool) bool {
	runs := map[string]int32{}
	for _, pod := range s.pods {
		runs[pod.Labels[serving.RevisionLabelKey]]++
		if s.revisions[pod.Labels[serving.RevisionLabelKey]] == nil {
			return true
		}
	}
	for _, scaler := range s.scalers {
		if scaler.Status.ObservedGeneration != scaler.Generation {
			return true
		}
	}
	for name, made := range s.revisions {
		switch desired := made.Status.DesiredReplicas; {
		case s.service == nil, made.DeletionTimestamp != nil, made.Status.ObservedGeneration != made.Generation:
			return true
		case !made.IsReady() && !made.IsFailed() && !broken[backend.RevisionNumber(iris, name)]:
			return true
		case desired != nil && *desired != runs[name]:
			return true
		case !made.IsReady() && runs[name] == 0:
			return true
		}
	}
	return false
}

// isBehind tells whether the Knative Service does not say yet what becomes of what it was told.
func (s sight) isBehind() bool {
	if s.service == nil {
		return false
	}
	if s.service.Status.ObservedGeneration != s.service.Generation || s.revisions[s.service.Spec.Template.Name] == nil {
		return true
	}
	for _, target := range s.service.Spec.Traffic {
		if made := s.revisions[target.RevisionName]; made == nil || !made.IsReady() {
			return false // It waits for that.
		}
	}
	return !s.service.Status.GetCondition(servingv1.ServiceConditionRoutesReady).IsTrue()
}

// retires tells whether Knative is yet to take a revision down, or to say that it has.
func (s sight) retires() bool {
	for _, pod := range s.pods {
		if made := s.revisions[pod.Labels[serving.RevisionLabelKey]]; made != nil && made.IsReady() && !s.names(made.Name) {
			return true
		}
	}
	for _, made := range s.revisions {
		if made.GetRoutingState() != servingv1.RoutingStateReserve && made.IsReady() && !s.names(made.Name) {
			return true
		}
	}
	return false
}

func (s sight) names(revision string) bool {
	return s.service != nil && slices.ContainsFunc(slices.Concat(s.service.Spec.Traffic, s.service.Status.Traffic),
		func(target servingv1.TrafficTarget) bool { return target.RevisionName == revision })
}

func (c *contractCluster) LoseWorkload(n rollout.Number) {
	c.T.Helper()
	lost, ran := &servingv1.Revision{}, c.Instances(n)
	c.get(revision(int(n)), lost)
	c.must(c.Server.Delete(c.T.Context(), lost))
	c.eventually("the revision and its pods are gone", func() bool {
		now := c.look()
		c.tell(now)
		there := now.revisions[lost.Name]
		return (there == nil || there.UID != lost.UID) && !slices.ContainsFunc(now.pods, func(pod *corev1.Pod) bool { return slices.Contains(ran, string(pod.UID)) })
	})
}

func (c *contractCluster) LoseRoute() {
	c.T.Helper()
	lost := &servingv1.Service{}
	c.get(backend.PredictorName(iris), lost)
	c.must(c.Server.Delete(c.T.Context(), lost))
	c.eventually("the Knative Service and all that is of it are gone", func() bool {
		now := c.look()
		c.tell(now)
		return now.service == nil && len(now.revisions) == 0 && len(now.pods) == 0
	})
}

// SetDeaf has the API server refuse what Knative's ingress writes in the namespace, so that nothing comes of it.
func (c *contractCluster) SetDeaf(deaf bool) {
	c.T.Helper()
	c.deaf = deaf
	here := &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.Namespace}}}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	policy.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule: admissionv1.Rule{
				APIGroups: []string{gatewayv1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"httproutes"},
			},
		},
	}}}
	policy.Spec.Validations = []admissionv1.Validation{{Expression: "false", Message: "the gateway is deaf"}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	binding.Spec = admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: policy.Name, MatchResources: here, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}
	for _, object := range []client.Object{policy, binding} {
		if deaf {
			c.must(c.Server.Create(c.T.Context(), object))
			c.T.Cleanup(func() { c.must(client.IgnoreNotFound(c.Server.Delete(context.WithoutCancel(c.T.Context()), object))) })
			continue
		}
		c.must(c.Server.Delete(c.T.Context(), object))
	}
	c.eventually("the API server has heard of it", func() bool {
		probe := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "probe"}}
		err := c.Server.Create(c.T.Context(), probe, client.DryRunAll)
		return (err != nil) == deaf
	})
}

func (c *contractCluster) eventually(what string, holds func() bool) {
	c.T.Helper()
	err := wait.PollUntilContextTimeout(c.T.Context(), 100*time.Millisecond, defaultTimeout, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		c.T.Fatalf("waiting until %s: %v", what, err)
	}
}

func (c *contractCluster) get(name string, into client.Object) {
	c.T.Helper()
	c.must(c.Server.Get(c.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: name}, into))
}

func (c *contractCluster) has(name string, into client.Object) bool {
	c.T.Helper()
	err := c.Server.Get(c.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: name}, into)
	c.must(client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

func (c *contractCluster) must(err error) {
	c.T.Helper()
	if err != nil {
		c.T.Fatal(err)
	}
}
