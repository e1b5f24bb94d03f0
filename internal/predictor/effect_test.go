// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestWithoutEffect(t *testing.T) {
	const mode = v1beta1.DeploymentModeStandard
	tests := map[string]struct {
		edit func(*v1beta1.InferenceService)
		mode v1beta1.DeploymentMode
		want []string
	}{
		"nothing": {},
		"percent outside the predictor": {
			edit: func(isvc *v1beta1.InferenceService) { isvc.Spec.CanaryTrafficPercent = new(intstr.FromInt32(10)) },
			want: []string{"spec.canaryTrafficPercent: has no effect; write spec.predictor.canaryTrafficPercent"},
		},
		"percent as annotation and label": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Annotations = map[string]string{"serving.kserve.io/canaryTrafficPercent": "10"}
				isvc.Spec.Predictor.Labels = map[string]string{"canary-traffic-percent": "10"}
			},
			want: []string{
				"metadata.annotations[serving.kserve.io/canaryTrafficPercent]: has no effect; write spec.predictor.canaryTrafficPercent",
				"spec.predictor.labels[canary-traffic-percent]: has no effect; write spec.predictor.canaryTrafficPercent",
			},
		},
		"misspelled annotations": {
			edit: annotatedWith("serving.kserve.io/enable-tag-routng", "serving.kserve.io/Stop", "kserve.io/deploymentmode"),
			want: []string{
				"metadata.annotations[kserve.io/deploymentmode]: has no effect; write serving.kserve.io/deploymentMode",
				"metadata.annotations[serving.kserve.io/Stop]: has no effect; write serving.kserve.io/stop",
				"metadata.annotations[serving.kserve.io/enable-tag-routng]: has no effect; write serving.kserve.io/enable-tag-routing",
			},
		},
		"KServe annotations that Serinus ignores": {
			edit: annotatedWith("serving.kserve.io/gpu-resource-types", "serving.kserve.io/storage-initializer-memory", "serving.kserve.io/minReplicas"),
			want: []string{
				"metadata.annotations[serving.kserve.io/gpu-resource-types]: has no effect: resources are passed on as they are written; remove it",
				"metadata.annotations[serving.kserve.io/minReplicas]: has no effect; write spec.predictor.minReplicas",
				"metadata.annotations[serving.kserve.io/storage-initializer-memory]: has no effect: it is not an annotation that Serinus acts on",
			},
		},
		"annotations in the wrong field": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Labels = map[string]string{v1beta1.AnnotationStop: "true"}
				isvc.Annotations = map[string]string{v1beta1.LabelNetworkVisibility: "cluster-local"}
				isvc.Spec.Predictor.Annotations = map[string]string{v1beta1.AnnotationStop: "true", v1beta1.AnnotationStorageReadonly: "true"}
			},
			want: []string{
				"metadata.annotations[networking.kserve.io/visibility]: has no effect here; write it in metadata.labels",
				"metadata.labels[serving.kserve.io/stop]: has no effect here; write it in metadata.annotations",
				"spec.predictor.annotations[serving.kserve.io/stop]: has no effect here; write it in metadata.annotations",
			},
		},
		"Knative's scaling in Standard mode": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Annotations = map[string]string{"autoscaling.knative.dev/target": "1", v1beta1.AnnotationProgressDeadline: "20m"}
				isvc.Spec.Predictor.MinReplicas = new(int32(0))
			},
			mode: mode,
			want: []string{
				"metadata.annotations[autoscaling.knative.dev/target]: has no effect in Standard mode, where Knative does not scale; " +
					"write minReplicas, maxReplicas, scaleMetric and scaleTarget in spec.predictor",
				"spec.predictor.minReplicas: 0 means 1 in Standard mode, where nothing could start a replica for a request",
			},
		},
		"Knative's scaling in Knative mode": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Annotations = map[string]string{"autoscaling.knative.dev/target": "1", "autoscaling.knative.dev/min-scale": "2"}
				isvc.Spec.Predictor.MinReplicas = new(int32(0))
			},
			mode: v1beta1.DeploymentModeKnative,
			want: []string{"metadata.annotations[autoscaling.knative.dev/min-scale]: has no effect; write minReplicas and maxReplicas in spec.predictor"},
		},
		"a strategy that Kubernetes refuses": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.DeploymentStrategy = rolling(new(intstr.FromString("1")), new(intstr.FromString("0")))
			},
			want: []string{"spec.predictor.deploymentStrategy.rollingUpdate.maxSurge: has no effect, as Kubernetes refuses it; " +
				"write a whole number without quotes, such as 0 or 1, or a percentage, such as 25%"},
		},
		"keys of other tools": {
			edit: func(isvc *v1beta1.InferenceService) {
				isvc.Annotations = map[string]string{"team.example.com/stop": "x", "internal.serving.kserve.io/agent": "x", "sidecar.istio.io/inject": "true"}
				isvc.Labels = map[string]string{"serving.kserve.io/team": "b", "canary": "x"}
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			isvc := &v1beta1.InferenceService{}
			if test.edit != nil {
				test.edit(isvc)
			}
			settings := defaultSettings()
			settings.Mode = test.mode
			var got []string
			for _, problem := range IgnoredSettings(isvc, settings) {
				got = append(got, problem.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func annotatedWith(keys ...string) func(*v1beta1.InferenceService) {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Annotations = map[string]string{}
		for _, key := range keys {
			isvc.Annotations[key] = "true"
		}
	}
}

// A misspelled annotation has no effect, so it must not create a revision.
func TestMisspelledKeysDoNotCreateRevisions(t *testing.T) {
	resolve := func(change func(*v1beta1.InferenceService)) *Resolved {
		t.Helper()
		isvc := isvcFrom(t, "containers: [{name: kserve-container, image: server:1}]")
		change(isvc)
		resolved, err := Resolve(isvc, Runtimes{}, defaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		return resolved
	}
	plain := resolve(func(*v1beta1.InferenceService) {})
	for _, key := range []string{"serving.kserve.io/enable-tag-routng", "serving.kserve.io/canaryTrafficPercent", "serving.kserve.io/gpu-resource-types"} {
		with := resolve(annotatedWith(key))
		if with.Hash != plain.Hash {
			t.Errorf("%s creates a revision", key)
		}
		// An earlier version that did not know the misspelling may have stored it.
		with.Identity.Annotations.Inherited = map[string]string{key: hash("true")}
		if !with.Identity.Equal(plain.Identity) {
			t.Errorf("a stored revision with %s no longer matches the same spec", key)
		}
	}
	if resolve(annotatedWith("example.com/note")).Hash == plain.Hash {
		t.Error("a custom annotation does not create a revision")
	}
}

func TestMisplacedPercent(t *testing.T) {
	isvc := &v1beta1.InferenceService{}
	isvc.Spec.Predictor.CanaryTrafficPercent = new(int64(10))
	isvc.Annotations = map[string]string{"example.com/canary": "10"}
	if got := MisplacedPercent(isvc); got != nil {
		t.Errorf("got %v, want none", got)
	}
	isvc.Labels = map[string]string{"serving.kserve.io/canaryTrafficPercent": "10"}
	if got := MisplacedPercent(isvc); got == nil || got.Field != "metadata.labels[serving.kserve.io/canaryTrafficPercent]" {
		t.Errorf("got %v, want the label", got)
	}
}

func rolling(surge, unavailable *intstr.IntOrString) *appsv1.DeploymentStrategy {
	return &appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: surge, MaxUnavailable: unavailable}}
}

func TestStrategyProblem(t *testing.T) {
	number := func(n int32) *intstr.IntOrString { return new(intstr.FromInt32(n)) }
	text := func(s string) *intstr.IntOrString { return new(intstr.FromString(s)) }
	tests := map[string]struct {
		strategy  *appsv1.DeploymentStrategy
		wantField string
	}{
		"none":                        {},
		"empty":                       {strategy: &appsv1.DeploymentStrategy{}},
		"no surge":                    {strategy: rolling(number(0), number(1))},
		"no surge, no maxUnavailable": {strategy: rolling(number(0), nil)},
		"percentages":                 {strategy: rolling(text("150%"), text("100%"))},
		"Recreate":                    {strategy: &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}},
		"Recreate and rollingUpdate": {
			strategy: &appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{}}, wantField: ".rollingUpdate",
		},
		"an unknown type": {strategy: &appsv1.DeploymentStrategy{Type: "BlueGreen"}, wantField: ".type"},
		"quoted":          {strategy: rolling(number(1), text("0")), wantField: ".rollingUpdate.maxUnavailable"},
		"negative":        {strategy: rolling(number(-1), nil), wantField: ".rollingUpdate.maxSurge"},
		"above 100%":      {strategy: rolling(nil, text("101%")), wantField: ".rollingUpdate.maxUnavailable"},
		"both zero":       {strategy: rolling(text("0%"), number(0)), wantField: ".rollingUpdate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := StrategyProblem(test.strategy)
			switch {
			case got == nil && test.wantField == "":
			case got == nil || test.wantField == "" || got.Field != strategyField+test.wantField:
				t.Errorf("got %v, want a problem of %q", got, test.wantField)
			}
		})
	}
}
