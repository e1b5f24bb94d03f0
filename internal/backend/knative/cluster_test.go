// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/knative/knativetest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/internal/testkit/fakeserver"
)

const (
	isvcName    = testkit.Name
	serviceName = isvcName + "-predictor"
	namespace   = testkit.Namespace
)

type write = fakeserver.Write

// cluster is a fake API server with one InferenceService, and the fakes of the other controllers.
type cluster struct {
	amended     *backend.Amended
	t           *testing.T
	server      *fakeserver.Server
	controllers *fakecluster.Cluster
	backend     *Backend
	// gatewayAPI is set if the Gateway API is installed.
	gatewayAPI bool
	now        time.Time
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1beta1.AddToScheme, servingv1.AddToScheme, autoscalingv1alpha1.AddToScheme, gatewayv1.Install,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{t: t, now: testkit.Start}
	clock := testkit.NewClock(&c.now)
	c.server = fakeserver.New(t, scheme, clock, slices.Concat(Children(), Kinds(), []client.Object{&corev1.Pod{}, &gatewayv1.HTTPRoute{}}), testkit.NewInferenceService())
	c.controllers = fakecluster.New(c.server, fakecluster.Options{Knative: true, Clock: clock})
	c.backend = &Backend{
		Store:     objects.Store{Client: c.server.Client(), APIReader: c.server, Scheme: scheme, Now: clock.Now},
		Config:    config.Default(),
		Clock:     clock,
		Installed: func() bool { return true },

		RoutesInstalled: func() bool { return c.gatewayAPI },
	}
	return c
}

func (c *cluster) isvc() *v1beta1.InferenceService {
	c.t.Helper()
	isvc := &v1beta1.InferenceService{}
	c.get(isvcName, isvc)
	return isvc
}

// step lets each of the other controllers react once. It reports whether anything changed.
func (c *cluster) step() bool {
	c.t.Helper()
	changed, err := c.controllers.Step(c.t.Context())
	c.must(err)
	return changed
}

// catchUp lets the other controllers react until nothing changes. It reports whether anything
// changed.
func (c *cluster) catchUp() bool {
	c.t.Helper()
	changed, err := c.controllers.Settle(c.t.Context())
	c.must(err)
	return changed
}

func (c *cluster) setPods(n rollout.Number, behavior fakecluster.PodBehavior) {
	c.controllers.Workloads.SetBehavior(types.NamespacedName{Namespace: namespace, Name: backend.RevisionName(isvcName, n) + "-deployment"}, behavior)
}

// setBroken sets whether the pods of a revision fail to become ready.
func (c *cluster) setBroken(n rollout.Number, broken bool) {
	behavior := fakecluster.Ready()
	if broken {
		behavior = fakecluster.Pending()
	}
	c.setPods(n, behavior)
}

func (c *cluster) setRevision(n rollout.Number, behavior fakecluster.RevisionBehavior) {
	c.controllers.Knative.SetBehavior(types.NamespacedName{Namespace: namespace, Name: backend.RevisionName(isvcName, n)}, behavior)
}

// refuseTemplates makes Knative's webhook refuse every changed template.
func (c *cluster) refuseTemplates(refusal error) {
	c.server.Admit = func(patch []byte) error {
		if strings.Contains(string(patch), `"/spec/template"`) {
			return refusal
		}
		return nil
	}
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
		Namespace: namespace, Name: serviceName, Labels: labels,
		Annotations:     map[string]string{"serving.knative.dev/creator": "system:serviceaccount:kserve:kserve-controller-manager"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind("InferenceService"))},
	}}
	c.must(c.server.Create(c.t.Context(), service))
	newest := ""
	for _, n := range slices.Sorted(maps.Keys(models)) {
		newest = backend.RevisionName(isvcName, n)
		c.must(c.server.Get(c.t.Context(), client.ObjectKeyFromObject(service), service))
		service.Spec.Template = servingv1.RevisionTemplateSpec{ObjectMeta: metav1.ObjectMeta{
			Name: newest, Labels: maps.Clone(labels), Annotations: map[string]string{autoscaling.MinScaleAnnotationKey: "1"},
		}}
		service.Spec.Template.Spec.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/" + models[n]}}
		c.must(c.server.Update(c.t.Context(), service))
		c.catchUp()
	}
	c.must(c.server.Get(c.t.Context(), client.ObjectKeyFromObject(service), service))
	service.Spec.Template.Name, service.Spec.Traffic = "", traffic
	c.must(c.server.Update(c.t.Context(), service))
	service.Status.ObservedGeneration, service.Status.LatestCreatedRevisionName = service.Generation, newest
	for _, target := range traffic {
		if target.RevisionName == "" {
			target.RevisionName = newest
		}
		service.Status.Traffic = append(service.Status.Traffic, target)
		reported.Traffic = append(reported.Traffic, v1beta1.TrafficTarget{
			RevisionName: target.RevisionName, LatestRevision: target.LatestRevision, Percent: target.Percent, Tag: target.Tag,
		})
	}
	c.must(c.server.Status().Update(c.t.Context(), service))
	isvc.Status.DeploymentMode = "Serverless"
	isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: reported}
	c.must(c.server.Status().Update(c.t.Context(), isvc))
}
