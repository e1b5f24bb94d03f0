// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestValidate(t *testing.T) {
	const valid = "model: {modelFormat: {name: sklearn}}"
	cases := map[string]struct {
		predictor   string
		annotations map[string]string
		want        []string
	}{
		"valid": {
			predictor: valid + "\ncontainerConcurrency: 0\ntimeout: 0\nminReplicas: 0\ncanaryTrafficPercent: 0\nlabels: {a: b}",
			annotations: map[string]string{
				v1beta1.AnnotationEnableTagRouting: "true", v1beta1.AnnotationStop: "false", v1beta1.AnnotationDisableAutoUpdate: "true",
				v1beta1.AnnotationAutoscalerClass: "hpa", v1beta1.AnnotationMetrics: "cpu", v1beta1.AnnotationTargetUtilizationPercentage: "100",
				v1beta1.AnnotationStorageReadonly: "false", annotationStorageInitializerUID: "1337", "anything": "else",
			},
		},
		"booleans": {
			predictor: valid,
			annotations: map[string]string{
				v1beta1.AnnotationEnableTagRouting:         "yes",
				v1beta1.AnnotationStop:                     "True",
				v1beta1.AnnotationDisableAutoUpdate:        "",
				v1beta1.AnnotationEnablePrometheusScraping: "1",
				v1beta1.AnnotationStorageReadonly:          "no",
			},
			want: []string{
				`metadata.annotations[serving.kserve.io/enable-tag-routing]: "yes": write "true" or "false"`,
				`metadata.annotations[serving.kserve.io/stop]: "True": write "true" or "false"`,
				`metadata.annotations[serving.kserve.io/disable-auto-update]: "": write "true" or "false"`,
				`metadata.annotations[serving.kserve.io/enable-prometheus-scraping]: "1": write "true" or "false"`,
				`metadata.annotations[storage.kserve.io/readonly]: "no": write "true" or "false"`,
			},
		},
		"scaling": {
			predictor: valid,
			annotations: map[string]string{
				v1beta1.AnnotationAutoscalerClass:             "keda",
				v1beta1.AnnotationMetrics:                     "gpu",
				v1beta1.AnnotationTargetUtilizationPercentage: "101",
			},
			want: []string{
				`metadata.annotations[serving.kserve.io/autoscalerClass]: "keda": write hpa, external or none; keda is not supported`,
				`metadata.annotations[serving.kserve.io/metrics]: "gpu": write cpu, memory, concurrency or rps, or use spec.predictor.scaleMetric instead`,
				`metadata.annotations[serving.kserve.io/targetUtilizationPercentage]: "101": write a whole number from 1 to 100, or use spec.predictor.scaleTarget instead`,
			},
		},
		"invalid utilization": {
			predictor:   valid,
			annotations: map[string]string{v1beta1.AnnotationTargetUtilizationPercentage: "70%"},
			want: []string{
				`metadata.annotations[serving.kserve.io/targetUtilizationPercentage]: "70%": write a whole number from 1 to 100, or use spec.predictor.scaleTarget instead`,
			},
		},
		"invalid deadline": {
			predictor:   valid,
			annotations: map[string]string{v1beta1.AnnotationProgressDeadline: "twenty minutes"},
			want:        []string{`metadata.annotations[serving.knative.dev/progress-deadline]: "twenty minutes": write a duration of at least a second, such as 20m`},
		},
		"invalid Secret name": {
			predictor:   valid,
			annotations: map[string]string{v1beta1.AnnotationStorageSecretName: ""},
			want:        []string{`metadata.annotations[serving.kserve.io/storageSecretName]: "": write the name of a secret`},
		},
		"annotations of the predictor": {
			predictor: valid + `
annotations:
  serving.kserve.io/enable-prometheus-scraping: "yes"
  storage.kserve.io/readonly: "False"
  serving.kserve.io/storageSecretName: My Secret
  serving.kserve.io/storage-initializer-uid: root
  serving.knative.dev/progress-deadline: "600"
  serving.kserve.io/stop: does not count here`,
			want: []string{
				`spec.predictor.annotations[serving.kserve.io/enable-prometheus-scraping]: "yes": write "true" or "false"`,
				`spec.predictor.annotations[storage.kserve.io/readonly]: "False": write "true" or "false"`,
				`spec.predictor.annotations[serving.kserve.io/storageSecretName]: "My Secret": write the name of a secret`,
				`spec.predictor.annotations[serving.kserve.io/storage-initializer-uid]: "root": write the number of a user`,
				`spec.predictor.annotations[serving.knative.dev/progress-deadline]: "600": write a duration of at least a second, such as 20m`,
			},
		},
		"invalid user ID": {
			predictor:   valid,
			annotations: map[string]string{annotationStorageInitializerUID: "-1"},
			want:        []string{`metadata.annotations[serving.kserve.io/storage-initializer-uid]: "-1": write the number of a user`},
		},
		"labels and annotations of pods": {
			predictor: valid + "\nlabels: {\"a b\": x, c: \"not a value\"}\nannotations: {\"-\": x}",
			want: []string{
				`spec.predictor.annotations: "-": pods cannot have it: …`,
				`spec.predictor.labels: "a b": pods cannot have it: …`,
				`spec.predictor.labels: "not a value": pods cannot have it: …`,
			},
		},
		"numbers": {
			predictor: valid + "\ncanaryTrafficPercent: 101\nminReplicas: -1\nmaxReplicas: -2\ncontainerConcurrency: -1\ntimeout: -1",
			want: []string{
				"spec.predictor.canaryTrafficPercent: 101: write the share of the newest revision as 0 to 100, or remove it to promote that revision",
				"spec.predictor.minReplicas: -1: write 0 or more",
				"spec.predictor.maxReplicas: -2: write 0 or more",
				"spec.predictor.containerConcurrency: -1: write how many requests one replica may handle at the same time, or 0 for no limit",
				"spec.predictor.timeout: -1: write a number of seconds, or 0 for the gateway's own limit",
			},
		},
		"minReplicas above maxReplicas": {
			predictor: valid + "\nminReplicas: 3\nmaxReplicas: 2",
			want:      []string{"spec.predictor.minReplicas: 3: is above maxReplicas (2); lower the one or raise the other"},
		},
		"PYTHONPATH": {
			predictor: "{model: {modelFormat: {name: a}, env: [{name: PYTHONPATH, value: /mnt/models}]}}",
			want:      []string{"spec.predictor.model.env[PYTHONPATH]: remove it; it would let files beside the model take the place of the server's own code"},
		},
		"PYTHONPATH in a legacy field": {
			predictor: "{sklearn: {env: [{name: PYTHONPATH, value: /mnt/models}]}}",
			want:      []string{"spec.predictor.sklearn.env[PYTHONPATH]: remove it; it would let files beside the model take the place of the server's own code"},
		},
		"PYTHONPATH in a container": {
			predictor: "{containers: [{name: kserve-container, env: [{name: PYTHONPATH, value: /mnt/models}]}]}",
			want:      []string{"spec.predictor.containers[kserve-container].env[PYTHONPATH]: remove it; it would let files beside the model take the place of the server's own code"},
		},
		"unsupported fields": {
			predictor: valid + "\nlogger: {}\nstorageUris: [{}]",
			want: []string{
				"spec.predictor.logger: is not supported; remove it",
				"spec.predictor.storageUris: is not supported; remove it",
			},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, test.predictor)
			isvc.Annotations = test.annotations
			var got []string
			for _, problem := range Validate(isvc) {
				got = append(got, shortened(problem.String()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// shortened removes the part of a message that comes from a library.
func shortened(text string) string {
	prefix, _, ok := strings.Cut(text, "pods cannot have it: ")
	if !ok {
		return text
	}
	return prefix + "pods cannot have it: …"
}

func TestInvalidPredictor(t *testing.T) {
	const predictor, containers = "spec.predictor", "spec.predictor.containers"
	cases := map[string]struct {
		predictor      string
		field, message string
	}{
		"no model server": {
			"{minReplicas: 1}", predictor, "no model server is set; set model, or set containers to run your own model server",
		},
		"a model and containers": {
			"{model: {modelFormat: {name: a}}, containers: [{name: kserve-container}]}", containers,
			"kserve-container is the container of the model; rename or remove this one, or remove the model",
		},
		"a framework and containers": {
			"{sklearn: {}, containers: [{name: a}, {name: kserve-container}]}", containers,
			"kserve-container is the container of the model; rename or remove this one, or remove the model",
		},
		"a model and two frameworks": {
			"{model: {modelFormat: {name: a}}, sklearn: {}, xgboost: {}}", predictor, "sklearn and xgboost are set; keep one of them",
		},
		"two frameworks": {
			"{sklearn: {}, xgboost: {}}", predictor, "sklearn and xgboost are set; keep one of them",
		},
		"a container name in the model": {
			"{model: {modelFormat: {name: a}, name: server}}", "spec.predictor.model.name",
			`"server": the container of a model is always called kserve-container; remove the field`,
		},
		"no serving container": {
			"{containers: [{name: a}, {name: b}]}", containers,
			"no container is named kserve-container; give this name to the container that serves the model",
		},
		"two locations of the model": {
			"{model: {modelFormat: {name: a}, storageUri: gs://b, storage: {path: p}}}", "spec.predictor.model.storage.path",
			`"p": the model is already named by storageUri; remove one of the two`,
		},
		"two problems": {
			"{model: {modelFormat: {name: a}}, timeout: -1, containerConcurrency: -1}", "spec.predictor.containerConcurrency",
			"-1: write how many requests one replica may handle at the same time, or 0 for no limit; " +
				"spec.predictor.timeout: -1: write a number of seconds, or 0 for the gateway's own limit",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			resolved, err := Resolve(isvcFrom(t, test.predictor), Runtimes{}, defaultSettings())
			wantError(t, err, Error{Reason: v1beta1.InvalidPredictorSpec, Field: test.field, Message: test.message})
			if resolved != nil {
				t.Error("got a result as well as an error for an invalid spec")
			}
		})
	}
}

// TestModelAndFrameworkField: KServe moves the framework field to model when the object is created.
// A client that patches model afterwards expects a merge.
func TestModelAndFrameworkField(t *testing.T) {
	runtimes := cluster(runtimeFrom(t, "sklearn", sklearnRuntime))
	both := resolve(t, isvcFrom(t, `{
		sklearn: {name: kserve-container, storageUri: 'gs://b/1', args: [--a], env: [{name: A, value: a}], resources: {limits: {cpu: 1, memory: 1Gi}}},
		model: {modelFormat: {name: sklearn}, storageUri: 'gs://b/2', args: [--b], resources: {limits: {cpu: 2}}}}`), runtimes)
	alone := resolve(t, isvcFrom(t, `{model: {modelFormat: {name: sklearn}, storageUri: 'gs://b/2', args: [--b],
		env: [{name: A, value: a}], resources: {limits: {cpu: 2, memory: 1Gi}}}}`), runtimes)
	if both.Hash != alone.Hash {
		t.Errorf("the model is %+v, want %+v", both.spec.Model, alone.spec.Model)
	}
}
