// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestUnsupported(t *testing.T) {
	annotated := func(key, value string) func(*v1beta1.InferenceService) {
		return func(isvc *v1beta1.InferenceService) { isvc.Annotations = map[string]string{key: value} }
	}
	for name, test := range map[string]struct {
		edit                 func(*v1beta1.InferenceService)
		wantField, wantWords string
	}{
		"nothing":                {edit: func(*v1beta1.InferenceService) {}},
		"KServe's default class": {edit: annotated(v1beta1.AnnotationAutoscalerClass, "hpa")},
		"requests are counted":   {edit: func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricRPS) }},
		"a gradual rollout": {
			annotated("serving.knative.dev/rollout-duration", "60s"), "metadata.annotations[serving.knative.dev/rollout-duration]", "canaryTrafficPercent in steps",
		},
		"another autoscaler": {
			annotated(v1beta1.AnnotationAutoscalerClass, "keda"), "metadata.annotations[serving.kserve.io/autoscalerClass]", "scaleMetric",
		},
		"a strategy": {
			func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.DeploymentStrategy = &appsv1.DeploymentStrategy{}
			},
			"spec.predictor.deploymentStrategy", "remove it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{}
			test.edit(isvc)
			field, message := (&Backend{}).Unsupported(isvc)
			if field != test.wantField || !strings.Contains(message, test.wantWords) {
				t.Errorf("%s: %s", field, message)
			}
		})
	}
}

func TestKnativeRefusals(t *testing.T) {
	const refused = `admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: `
	for name, test := range map[string]struct{ refusal, want string }{
		"an init container": {"must not set the field(s): spec.template.spec.initContainers", `-p '{"data":{"kubernetes.podspec-init-containers":"enabled"}}'`},
		"another field":     {"must not set the field(s): spec.template.spec.nodeSelector", "feature-flags"},
		"something else":    {"expected 0 <= 200 <= 100: spec.traffic[0].percent", ""},
	} {
		t.Run(name, func(t *testing.T) {
			refusal := errors.New(refused + test.refusal)
			got := explain(refusal)
			if !errors.Is(got, refusal) || !strings.Contains(got.Error(), test.want) || test.want == "" && got.Error() != refusal.Error() {
				t.Errorf("error is %v", got)
			}
		})
	}
	if explain(nil) != nil {
		t.Error("nothing is refused")
	}
}
