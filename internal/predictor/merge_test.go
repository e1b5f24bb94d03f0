// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func containerFrom(t *testing.T, text string) corev1.Container {
	t.Helper()
	var container corev1.Container
	if err := yaml.UnmarshalStrict([]byte(text), &container); err != nil {
		t.Fatal(err)
	}
	return container
}

// TestMergeContainers tests each rule alone. The golden file everything-merged combines them.
func TestMergeContainers(t *testing.T) {
	cases := map[string]struct{ runtime, model, want string }{
		"args come after the runtime's": {"{args: [a, b]}", "{args: [c]}", "{args: [a, b, c]}"},
		"a command replaces":            {"{command: [a, b]}", "{command: [c]}", "{command: [c]}"},
		"an image replaces":             {"{image: a}", "{image: b}", "{image: b}"},
		"variables by name": {
			"{env: [{name: A, value: a}, {name: B, value: b}]}",
			"{env: [{name: B, value: c}, {name: C, value: d}]}",
			"{env: [{name: A, value: a}, {name: B, value: c}, {name: C, value: d}]}",
		},
		"a reference in place of a value": {
			"{env: [{name: A, value: a}]}",
			"{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
			"{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
		},
		"a value in place of a reference": {
			"{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
			"{env: [{name: A, value: a}]}",
			"{env: [{name: A, value: a}]}",
		},
		"one reference in place of another": {
			"{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
			"{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}",
			"{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}",
		},
		"an empty value in place of one": {
			"{env: [{name: A, value: a}]}", `{env: [{name: A, value: ""}]}`, "{env: [{name: A}]}",
		},
		"one kind of probe in place of another": {
			"{readinessProbe: {httpGet: {path: /, port: 1}, periodSeconds: 7}}",
			"{readinessProbe: {exec: {command: [a]}}}",
			"{readinessProbe: {exec: {command: [a]}, periodSeconds: 7}}",
		},
		"only the timing of a probe": {
			"{startupProbe: {httpGet: {path: /, port: 1}, periodSeconds: 7}}",
			"{startupProbe: {periodSeconds: 8}}",
			"{startupProbe: {httpGet: {path: /, port: 1}, periodSeconds: 8}}",
		},
		"one hook in place of another": {
			"{lifecycle: {preStop: {exec: {command: [a]}}, postStart: {sleep: {seconds: 1}}}}",
			"{lifecycle: {preStop: {sleep: {seconds: 5}}}}",
			"{lifecycle: {preStop: {sleep: {seconds: 5}}, postStart: {sleep: {seconds: 1}}}}",
		},
		"mounts by path": {
			"{volumeMounts: [{name: a, mountPath: /a, readOnly: true}]}",
			"{volumeMounts: [{name: b, mountPath: /a}]}",
			"{volumeMounts: [{name: b, mountPath: /a}]}",
		},
		"resources by name": {
			"{resources: {requests: {cpu: 1, memory: 1Gi}}}",
			"{resources: {requests: {cpu: 2}, limits: {nvidia.com/gpu: 1}}}",
			"{resources: {requests: {cpu: 2, memory: 1Gi}, limits: {nvidia.com/gpu: 1}}}",
		},
		"a request above the runtime's limit raises it": {
			"{resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}}",
			"{resources: {requests: {memory: 4Gi}}}",
			"{resources: {requests: {memory: 4Gi}, limits: {memory: 4Gi}}}",
		},
		"a limit below the runtime's request lowers it": {
			"{resources: {requests: {cpu: 1}, limits: {cpu: 2}}}",
			"{resources: {limits: {cpu: 500m}}}",
			"{resources: {requests: {cpu: 500m}, limits: {cpu: 500m}}}",
		},
		"a limit above the runtime's request leaves it": {
			"{resources: {requests: {cpu: 1}, limits: {cpu: 2}}}",
			"{resources: {limits: {cpu: 4}}}",
			"{resources: {requests: {cpu: 1}, limits: {cpu: 4}}}",
		},
		"requests of devices equal their limits": {
			"{resources: {requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 1}}}",
			"{resources: {limits: {nvidia.com/gpu: 2}}}",
			"{resources: {requests: {nvidia.com/gpu: 2}, limits: {nvidia.com/gpu: 2}}}",
		},
		"a request and a limit of the model": {
			"{resources: {requests: {cpu: 1}, limits: {cpu: 1}}}",
			"{resources: {requests: {cpu: 3}, limits: {cpu: 2}}}",
			"{resources: {requests: {cpu: 3}, limits: {cpu: 2}}}",
		},
		"security settings one by one": {
			"{securityContext: {runAsUser: 1, capabilities: {drop: [ALL]}}}",
			"{securityContext: {runAsUser: 2}}",
			"{securityContext: {runAsUser: 2, capabilities: {drop: [ALL]}}}",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			base, overlay := containerFrom(t, test.runtime), containerFrom(t, test.model)
			base.Name = v1beta1.ServingContainerName
			untouched := base.DeepCopy()
			got, err := mergeContainers(base, overlay)
			if err != nil {
				t.Fatal(err)
			}
			want := containerFrom(t, test.want)
			want.Name = v1beta1.ServingContainerName
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(*untouched, base); diff != "" {
				t.Errorf("the runtime's container was changed:\n%s", diff)
			}
		})
	}
}

func TestDefaultResources(t *testing.T) {
	const defaults = "{resources: {requests: {cpu: 1, memory: 2Gi}, limits: {cpu: 1, memory: 2Gi}}}"
	cases := map[string]struct{ container, want string }{
		"nothing set":          {"{}", defaults},
		"one limit":            {"{resources: {limits: {cpu: 500m}}}", "{resources: {requests: {memory: 2Gi}, limits: {cpu: 500m, memory: 2Gi}}}"},
		"one request":          {"{resources: {requests: {memory: 64Gi}}}", "{resources: {requests: {cpu: 1, memory: 64Gi}, limits: {cpu: 1}}}"},
		"another resource":     {"{resources: {limits: {nvidia.com/gpu: 1}}}", "{resources: {requests: {cpu: 1, memory: 2Gi}, limits: {cpu: 1, memory: 2Gi, nvidia.com/gpu: 1}}}"},
		"everything set":       {"{resources: {requests: {cpu: 2}, limits: {memory: 1Gi}}}", "{resources: {requests: {cpu: 2}, limits: {memory: 1Gi}}}"},
		"a zero counts as set": {"{resources: {requests: {cpu: 0, memory: 0}}}", "{resources: {requests: {cpu: 0, memory: 0}}}"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got := withDefaults(containerFrom(t, test.container).Resources, containerFrom(t, defaults).Resources)
			if diff := cmp.Diff(containerFrom(t, test.want).Resources, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestImages(t *testing.T) {
	const gpu, slice = "{resources: {limits: {nvidia.com/gpu: 1}}}", "{resources: {limits: {nvidia.com/mig-1g.5gb: 1}}}"
	cases := map[string]struct {
		image     string
		version   *string
		server    serverType
		resources string
		want      string
	}{
		"unchanged":                     {"server:1", nil, "", "{}", "server:1"},
		"a version replaces the tag":    {"server:1", new("2"), "", "{}", "server:2"},
		"a version without a tag":       {"server", new("2"), "", "{}", "server:2"},
		"a port is no tag":              {"registry:5000/server", new("2"), "", "{}", "registry:5000/server:2"},
		"a port and a tag":              {"registry:5000/server:1", new("2"), "", "{}", "registry:5000/server:2"},
		"TensorFlow on a GPU":           {"tf:2", nil, tensorflowServing, gpu, "tf:2-gpu"},
		"TorchServe on a MIG slice":     {"torch:2", nil, torchServe, slice, "torch:2-gpu"},
		"Hugging Face on a GPU":         {"hf:2", nil, huggingFaceServer, gpu, "hf:2-gpu"},
		"already the build for GPUs":    {"hf:2-gpu", nil, huggingFaceServer, gpu, "hf:2-gpu"},
		"no tag":                        {"hf", nil, huggingFaceServer, gpu, "hf"},
		"a version has no suffix added": {"hf:2", new("3"), huggingFaceServer, gpu, "hf:3"},
		"without a GPU":                 {"hf:2", nil, huggingFaceServer, "{}", "hf:2"},
		"one image for all hardware":    {"triton:2", nil, triton, gpu, "triton:2"},
		"another server":                {"mine:2", nil, "mine", gpu, "mine:2"},
		"vLLM on a GPU":                 {"vllm/vllm-openai:1", nil, vllmServer, gpu, "vllm/vllm-openai:1"},
		"vLLM without a GPU":            {"vllm/vllm-openai:1", nil, vllmServer, "{}", "vllm/vllm-openai-cpu:1"},
		"vLLM already for CPUs":         {"vllm/vllm-openai-cpu:1", nil, vllmServer, "{}", "vllm/vllm-openai-cpu:1"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			container := containerFrom(t, test.resources)
			container.Image = test.image
			if got := imageFor(container, test.version, test.server); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestRuntimeVersionOfPinnedImage rejects a runtimeVersion that would have no effect. Revisions
// that differ only in it would run the same image.
func TestRuntimeVersionOfPinnedImage(t *testing.T) {
	for _, image := range []string{"example.com:5000/server@sha256:0123", "server:1@sha256:0123"} {
		t.Run(image, func(t *testing.T) {
			runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
			runtime.Spec.Containers[0].Image = image
			isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}}")
			revision, err := resolve(t, isvc, cluster(runtime)).Render(Credentials{})
			if err != nil || revision.Template.Spec.Containers[0].Image != image {
				t.Errorf("without runtimeVersion: image %s, error %v", revision.Template.Spec.Containers[0].Image, err)
			}

			wantRejected := func(isvc *v1beta1.InferenceService, runtime *v1alpha1.ClusterServingRuntime) {
				t.Helper()
				resolved := resolve(t, isvc, cluster(runtime))
				_, renderErr := resolved.Render(Credentials{})
				_, podErr := resolved.Pod()
				for _, err := range []error{renderErr, podErr} {
					wantError(t, err, Error{
						Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.model.runtimeVersion",
						Message: fmt.Sprintf(`"v2" cannot be applied: the image %s is pinned by a digest; remove runtimeVersion, or name the image by a tag in ClusterServingRuntime "sklearn" or in model.image`, image),
					})
				}
			}
			wantRejected(isvcFrom(t, "model: {modelFormat: {name: sklearn}, runtimeVersion: v2}"), runtime)
			wantRejected(isvcFrom(t, "sklearn: {runtimeVersion: v2}"), runtime)
			wantRejected(isvcFrom(t, "model: {modelFormat: {name: sklearn}, runtimeVersion: v2, image: '"+image+"'}"), runtimeFrom(t, "sklearn", sklearnRuntime))
		})
	}
}

func TestInvalidPlaceholders(t *testing.T) {
	const known = `; available are .Name, .Namespace, and these labels and annotations that propagate to pods: label "team", annotation "modelFormat" and annotation "purpose"`
	cases := map[string]struct{ runtime, want string }{
		"a label": {
			`[{name: kserve-container, args: [a, "--team={{.Labels.tema}}"]}]`,
			`args[1]: map has no entry for key "tema"`,
		},
		"an annotation": {
			`[{name: kserve-container, env: [{name: A, value: "{{.Annotations.other}}"}]}]`,
			`env[0].value: map has no entry for key "other"`,
		},
		"a label that does not propagate": {
			`[{name: kserve-container, image: '{{index .Labels "app.kubernetes.io/instance"}}'}]`,
			`image: error calling index: there is no key "app.kubernetes.io/instance"`,
		},
		"a field": {
			`[{name: kserve-container, readinessProbe: {httpGet: {path: "/{{.Model}}", port: 80}}}]`,
			"readinessProbe.httpGet.path: can't evaluate field Model",
		},
		"invalid syntax": {
			`[{name: kserve-container, args: ["{{.Name"]}]`,
			"args[0]: unclosed action",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}}")
			isvc.Labels = map[string]string{"team": "blue", "app.kubernetes.io/instance": "x"}
			isvc.Annotations = map[string]string{"purpose": "test"}
			runtime := runtimeFrom(t, "sklearn", "supportedModelFormats: [{name: sklearn, autoSelect: true}]\ncontainers: "+test.runtime)
			_, err := resolve(t, isvc, cluster(runtime)).Render(Credentials{})
			wantError(t, err, Error{
				Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.model",
				Message: `a placeholder in container kserve-container of ClusterServingRuntime "sklearn" cannot be expanded: ` + test.want + known,
			})
		})
	}
}

// TestTemplateActionsAreRejected: a template must not be able to exhaust the operator's CPU or
// memory.
func TestTemplateActionsAreRejected(t *testing.T) {
	const reason = ` is not a placeholder; write {{.Name}}, {{.Namespace}}, {{.Labels.x}}, {{.Annotations.x}}, ` +
		`{{index .Labels "x"}} or {{index .Annotations "x"}}; available are .Name, .Namespace, and these labels`
	cases := map[string]struct{ text, want string }{
		"a loop with output":           {`{{range 4000000000}}AAAA{{end}}`, `"{{range 4000000000}}AAAA{{end}}"`},
		"an endless loop":              {`{{range 9223372036854775807}}{{end}}`, `"{{range 9223372036854775807}}{{end}}"`},
		"a condition":                  {`{{if .Name}}a{{end}}`, `"{{if .Name}}a{{end}}"`},
		"a scope":                      {`{{with .Name}}{{.}}{{end}}`, `"{{with .Name}}{{.}}{{end}}"`},
		"a template with its own name": {`{{define ""}}{{range 9}}a{{end}}{{end}}`, `"{{range 9}}a{{end}}"`},
		"a template in a template":     {`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `"{{template \"a\"}}"`},
		"a pipeline":                   {`{{.Name | printf "%9999999s"}}`, `"{{.Name | printf \"%9999999s\"}}"`},
		"a function":                   {`{{printf "%0*d" 4000000000 1}}`, `"{{printf \"%0*d\" 4000000000 1}}"`},
		"a string":                     {`{{"a"}}`, `"{{\"a\"}}"`},
		"a variable":                   {`{{$x := .Name}}`, `"{{$x := .Name}}"`},
		"the dot":                      {`{{.}}`, `"{{.}}"`},
		"a computed key":               {`{{index .Labels (printf "%9999999s" "a")}}`, `"{{index .Labels (printf \"%9999999s\" \"a\")…"`},
		"a nested index":               {`{{index .Labels "a" "b"}}`, `"{{index .Labels \"a\" \"b\"}}"`},
	}
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			edited := runtime.DeepCopy()
			edited.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: test.text}}
			wantPlaceholderError(t, isvcFrom(t, "model: {modelFormat: {name: sklearn}}"), edited, test.want+reason)
		})
	}
}

func wantPlaceholderError(t *testing.T, isvc *v1beta1.InferenceService, runtime *v1alpha1.ClusterServingRuntime, want string) {
	t.Helper()
	_, err := resolve(t, isvc, cluster(runtime)).Render(Credentials{})
	invalid, ok := errors.AsType[*Error](err)
	if !ok || invalid.Reason != v1beta1.InvalidPredictorSpec || invalid.Field != "spec.predictor.model" || !strings.Contains(invalid.Message, want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestValidPlaceholders(t *testing.T) {
	isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}}")
	isvc.Labels = map[string]string{"team": "blue", "example.com/team": "red"}
	isvc.Annotations = map[string]string{"purpose": "test"}
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	for text, want := range map[string]string{
		"{{.Name}}.{{ .Namespace }}":            "iris.models",
		"a {{- .Labels.team -}} b":              "ablueb",
		`{{index .Labels "example.com/team"}}`:  "red",
		"{{.Annotations.purpose}}{{/* why */}}": "test",
		"{{.Annotations.modelFormat}}":          "sklearn",
		"}}{":                                   "}}{",
	} {
		runtime.Spec.Containers[0].Args = []string{text}
		revision, err := resolve(t, isvc, cluster(runtime)).Render(Credentials{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := revision.Template.Spec.Containers[0].Args[0]; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestUserTemplatesAreNotExpanded: chat templates are Jinja, and the prompts of some servers are Go
// templates.
func TestUserTemplatesAreNotExpanded(t *testing.T) {
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Spec.Containers[0].Args = []string{"--name={{.Name}}"}
	runtime.Spec.Containers = append(runtime.Spec.Containers, corev1.Container{Name: "transformer-container", Args: []string{"--of={{.Name}}"}})
	for _, text := range []string{
		"--chat-template={% for m in messages %}{{ m['content'] }}{% endfor %}",
		"{{ .Prompt }}", "{{.Name}}", "{{range .Messages}}{{.Content}}{{end}}", "{{", `{{"{{"}}`,
	} {
		isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}}\ncontainers: [{name: transformer-container}, {name: mine}]")
		predictor := &isvc.Spec.Predictor
		predictor.Model.Args = []string{text}
		predictor.Model.Env = []corev1.EnvVar{{Name: "TEMPLATE", Value: text}}
		predictor.Containers[0].Args, predictor.Containers[1].Args = []string{text}, []string{text}
		revision, err := resolve(t, isvc, cluster(runtime)).Render(Credentials{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got [][]string
		for _, container := range revision.Template.Spec.Containers {
			got = append(got, container.Args)
		}
		want := [][]string{{"--name=iris", text}, {"--of=iris", text}, {text}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: args (-want +got):\n%s", text, diff)
		}
		if got := envValue(revision.Template.Spec.Containers[0].Env, "TEMPLATE"); got != text {
			t.Errorf("the variable is %q, want %q", got, text)
		}
	}
}

// TestExpandedPlaceholdersAreLimited: a spec of 1 MiB with many references to a value of 256 KiB
// would expand to gigabytes.
func TestExpandedPlaceholdersAreLimited(t *testing.T) {
	isvc := isvcFrom(t, "model: {modelFormat: {name: sklearn}}")
	isvc.Annotations = map[string]string{"long": strings.Repeat("x", 1<<18)}
	const want = "the placeholders expand to more than 1048576 bytes"
	runtime := runtimeFrom(t, "sklearn", sklearnRuntime)
	runtime.Spec.Containers[0].Args = []string{strings.Repeat("{{.Annotations.long}}", 50_000)}
	wantPlaceholderError(t, isvc, runtime, "args[0]: "+want)
	runtime.Spec.Containers[0].Args = slices.Repeat([]string{"{{.Annotations.long}}"}, 50_000)
	wantPlaceholderError(t, isvc, runtime, "args[4]: "+want)
}

func TestRuntimeWithoutAServingContainer(t *testing.T) {
	runtime := runtimeFrom(t, "sklearn", "supportedModelFormats: [{name: sklearn, autoSelect: true}]\ncontainers: [{name: server}]")
	_, err := resolve(t, isvcFrom(t, "model: {modelFormat: {name: sklearn}}"), cluster(runtime)).Render(Credentials{})
	wantError(t, err, Error{
		Reason: v1beta1.InvalidPredictorSpec, Field: "spec.predictor.model",
		Message: `ClusterServingRuntime "sklearn" has no container kserve-container; add it to the runtime, or use another`,
	})
}
