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
	knativetest.Driver

	amended     *backend.Amended
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
	c := &cluster{now: testkit.Start}
	clock := testkit.NewClock(&c.now)
	c.server = fakeserver.New(t, scheme, clock, slices.Concat(Children(), Kinds(), []client.Object{&corev1.Pod{}, &gatewayv1.HTTPRoute{}}), testkit.NewInferenceService())
	c.Driver = knativetest.Driver{Objects: testkit.Objects{T: t, Server: c.server, Namespace: namespace}, Name: isvcName}
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
	c.T.Helper()
	isvc := &v1beta1.InferenceService{}
	c.Get(isvcName, isvc)
	return isvc
}

// step lets each of the other controllers react once. It reports whether anything changed.
func (c *cluster) step() bool {
	c.T.Helper()
	changed, err := c.controllers.Step(c.T.Context())
	c.Must(err)
	return changed
}

// catchUp lets the other controllers react until nothing changes. It reports whether anything
// changed.
func (c *cluster) catchUp() bool {
	c.T.Helper()
	changed, err := c.controllers.Settle(c.T.Context())
	c.Must(err)
	return changed
}

func (c *cluster) setPods(n rollout.Number, behavior fakecluster.PodBehavior) {
	c.controllers.Workloads.SetBehavior(types.NamespacedName{Namespace: namespace, Name: backend.RevisionName(isvcName, n) + "-deployment"}, behavior)
}

// setFailing sets whether the pods of a revision fail to become ready.
func (c *cluster) setFailing(n rollout.Number, broken bool) {
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
	c.T.Helper()
	var list servingv1.RevisionList
	c.Must(c.server.List(c.T.Context(), &list, client.InNamespace(namespace)))
	return objects.Pointers(list.Items)
}

func (c *cluster) service() *servingv1.Service {
	c.T.Helper()
	service := &servingv1.Service{}
	c.Get(serviceName, service)
	return service
}

// kserve creates a Knative Service as KServe does: without our labels, and with traffic that
// follows the latest revision. The models are keyed by revision numbers.
func (c *cluster) kserve(models map[rollout.Number]string, traffic []servingv1.TrafficTarget, reported v1beta1.ComponentStatusSpec) {
	c.T.Helper()
	isvc := c.isvc()
	labels := map[string]string{v1beta1.LabelInferenceService: isvcName, v1beta1.LabelComponent: "predictor"}
	service := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: serviceName, Labels: labels,
		Annotations:     map[string]string{"serving.knative.dev/creator": "system:serviceaccount:kserve:kserve-controller-manager"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(isvc, v1beta1.GroupVersion.WithKind("InferenceService"))},
	}}
	c.Must(c.server.Create(c.T.Context(), service))
	newest := ""
	for _, n := range slices.Sorted(maps.Keys(models)) {
		newest = backend.RevisionName(isvcName, n)
		c.Must(c.server.Get(c.T.Context(), client.ObjectKeyFromObject(service), service))
		service.Spec.Template = servingv1.RevisionTemplateSpec{ObjectMeta: metav1.ObjectMeta{
			Name: newest, Labels: maps.Clone(labels), Annotations: map[string]string{autoscaling.MinScaleAnnotationKey: "1"},
		}}
		service.Spec.Template.Spec.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: "registry.example.com/" + models[n]}}
		c.Must(c.server.Update(c.T.Context(), service))
		c.catchUp()
	}
	c.Must(c.server.Get(c.T.Context(), client.ObjectKeyFromObject(service), service))
	service.Spec.Template.Name, service.Spec.Traffic = "", traffic
	c.Must(c.server.Update(c.T.Context(), service))
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
	c.Must(c.server.Status().Update(c.T.Context(), service))
	isvc.Status.DeploymentMode = "Serverless"
	isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: reported}
	c.Must(c.server.Status().Update(c.T.Context(), isvc))
}
