// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

var schemeParts = []func(*runtime.Scheme) error{
	v1beta1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, discoveryv1.AddToScheme,
	gatewayv1.Install, scalingv1alpha1.AddToScheme,
}

// TestObjectsOfARevision compares the objects of a revision with testdata/objects.
func TestObjectsOfARevision(t *testing.T) {
	slow := func(r *backend.RenderedRevision) {
		r.Runs.Template.Annotations = map[string]string{v1beta1.AnnotationProgressDeadline: "35m"}
	}
	patient := func(cfg *config.Config) { cfg.Rollout.ProgressDeadline.Duration = 25 * time.Minute }
	cases := map[string]struct {
		config   []change[config.Config]
		given    []testkit.Edit
		revision []change[backend.RenderedRevision]
		replicas int
	}{
		"revision": {replicas: 1},
		// The annotation takes precedence over the configuration.
		"revision-deadline-by-annotation":    {replicas: 1, config: []change[config.Config]{patient}, revision: []change[backend.RenderedRevision]{slow}},
		"revision-deadline-by-configuration": {replicas: 1, config: []change[config.Config]{patient}},
		"revision-grpc": {replicas: 1, revision: []change[backend.RenderedRevision]{func(r *backend.RenderedRevision) {
			r.Runs.Port, r.Runs.AppProtocol = 8081, "kubernetes.io/h2c"
		}}},
		"revision-two-ports": {replicas: 1, revision: []change[backend.RenderedRevision]{func(r *backend.RenderedRevision) {
			r.Runs.AdditionalPorts = []corev1.ServicePort{{
				Name: "h2c", Protocol: corev1.ProtocolTCP, Port: 9000, TargetPort: intstr.FromInt32(9000), AppProtocol: new("kubernetes.io/h2c"),
			}}
		}}},
		// Earlier versions did not record additional ports: an upgrade must not rewrite the
		// Service.
		"revision-two-ports-of-an-earlier-version": {replicas: 1, revision: []change[backend.RenderedRevision]{func(r *backend.RenderedRevision) {
			r.Runs.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}, {Name: "h2c", ContainerPort: 9000}}
		}}},
		"revision-without-labels": {replicas: 1, revision: []change[backend.RenderedRevision]{func(r *backend.RenderedRevision) {
			r.Runs.Template.Labels, r.Runs.Template.Annotations = nil, nil
		}}},
		"revision-recreated": {replicas: 3, given: []testkit.Edit{func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		}}},
		"revision-surging": {replicas: 3, given: []testkit.Edit{func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1))},
			}
		}}},
	}
	// An InferenceService that is older than the CRD's validation rules can have an invalid
	// strategy. Its revisions must come up all the same.
	for name, strategy := range map[string]appsv1.DeploymentStrategy{
		"quoted": {RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromString("1")), MaxUnavailable: new(intstr.FromString("0"))}},
		"zero":   {RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(0)), MaxUnavailable: new(intstr.FromInt32(0))}},
		"mixed":  {Type: appsv1.RecreateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{}},
	} {
		t.Run("strategy-"+name, func(t *testing.T) {
			refused, usual := testkit.NewInferenceService(), testkit.NewInferenceService()
			refused.Spec.Predictor.DeploymentStrategy = &strategy
			if diff := cmp.Diff(deployment(usual, 2, newRevision(), 1, time.Minute), deployment(refused, 2, newRevision(), 1, time.Minute)); diff != "" {
				t.Errorf("the Deployment (-of no strategy +of this one):\n%s", diff)
			}
		})
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc, revision := testkit.NewInferenceService(test.given...), newRevision(test.revision...)
			stored, err := history.Encode(isvc, 2, revision)
			if err != nil {
				t.Fatal(err)
			}
			deadline := (&Backend{Config: newConfig(test.config...)}).progressDeadline(revision)
			compareWithGolden(t,
				stored,
				service(isvc, 2, revision),
				deployment(isvc, 2, revision, test.replicas, deadline),
			)
		})
	}
}

func TestAutoscaler(t *testing.T) {
	memory := v1beta1.MetricMemory
	cases := map[string][]testkit.Edit{
		"autoscaler":        nil,
		"autoscaler-memory": {func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ScaleMetric = &memory }},
		"autoscaler-target": {func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ScaleTarget = new(int32(65)) }},
		"autoscaler-annotations": {
			testkit.Annotation(v1beta1.AnnotationMetrics, "memory"),
			testkit.Annotation(v1beta1.AnnotationTargetUtilizationPercentage, "55"),
		},
		"autoscaler-fields-before-annotations": {
			testkit.Annotation(v1beta1.AnnotationMetrics, "cpu"),
			testkit.Annotation(v1beta1.AnnotationTargetUtilizationPercentage, "55"),
			func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.ScaleMetric, isvc.Spec.Predictor.ScaleTarget = &memory, new(int32(65))
			},
		},
	}
	for name, given := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := testkit.NewInferenceService(append(given, testkit.ReplicaBounds(2, 10))...)
			compareWithGolden(t, autoscaler(isvc, 2, intent.Bounds(isvc, v1beta1.DeploymentModeStandard), 3))
		})
	}
}

func TestRoutes(t *testing.T) {
	clusterLocal := testkit.Label(v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
	otherNames := func(cfg *config.Config) {
		cfg.Ingress.Domain = "models.acme.org"
		cfg.Ingress.Gateway = config.GatewayRef{Namespace: "edge", Name: "public", SectionName: "https"}
	}
	cases := map[string]struct {
		config  []change[config.Config]
		given   []testkit.Edit
		shares  []int
		timeout *gatewayv1.HTTPRouteTimeouts
	}{
		"routes":                 {shares: []int{2, 10, 1, 90}},
		"routes-rolled-back":     {shares: []int{2, 0, 1, 100}},
		"routes-stopped":         {},
		"routes-timeout":         {shares: []int{2, 100}, timeout: requestTimeout("90s")},
		"routes-other-names":     {shares: []int{2, 100}, config: []change[config.Config]{otherNames}},
		"routes-local-gateway":   {shares: []int{2, 100}, config: []change[config.Config]{localGateway}},
		"routes-cluster-local":   {shares: []int{2, 100}, config: []change[config.Config]{localGateway}, given: []testkit.Edit{clusterLocal}},
		"routes-without-history": {shares: []int{1, 100}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc, ingress := testkit.NewInferenceService(test.given...), newConfig(test.config...).Ingress
			state := rollout.State{
				Stable: 1, Target: 2, Split: split(t, test.shares...), ServedBefore: rollout.All(1), ShiftedAt: testkit.Start, Highest: 2,
			}
			objects := []client.Object{mainRoute(isvc, ingress, state, test.timeout)}
			for _, tag := range backend.TaggedRevisions(rollout.TagsOf(state.Split, state.Target)) {
				objects = append(objects, tagRoute(isvc, ingress, tag.Tag, tag.Revision, nil))
			}
			compareWithGolden(t, objects...)
		})
	}
}
