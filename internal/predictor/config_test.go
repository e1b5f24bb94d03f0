// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
)

const (
	runtimesFolder = "../../config/runtimes"
	samplesFolder  = "../../config/samples"
)

func shippedRuntimes(t *testing.T) Runtimes {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(runtimesFolder, "kserve-*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no runtimes: %v", err)
	}
	var runtimes Runtimes
	for _, file := range files {
		runtimes.Cluster = append(runtimes.Cluster, readDocuments(t, file).runtimes.Cluster...)
	}
	return runtimes
}

func TestShippedRuntimesServeTheirFormats(t *testing.T) {
	runtimes := shippedRuntimes(t)
	// The keys are a format, a protocol and a version, or a predictor. As in KServe, MLServer has
	// priority over the framework's own server for protocol v2.
	cases := map[string]string{
		"sklearn":                  "kserve-sklearnserver",
		"sklearn v2":               "kserve-mlserver",
		"xgboost":                  "kserve-xgbserver",
		"xgboost v2":               "kserve-mlserver",
		"lightgbm":                 "kserve-lgbserver",
		"lightgbm v2":              "kserve-mlserver",
		"mlflow v2":                "kserve-mlserver",
		"tensorflow":               "kserve-tensorflow-serving",
		"tensorflow v2":            "kserve-tritonserver",
		"tensorflow grpc-v1":       "kserve-tensorflow-serving",
		"pytorch":                  "kserve-torchserve",
		"pytorch v2":               "kserve-torchserve",
		"onnx v2":                  "kserve-tritonserver",
		"tensorrt v2":              "kserve-tritonserver",
		"triton":                   "kserve-tritonserver",
		"triton grpc-v2":           "kserve-tritonserver",
		"paddle":                   "kserve-paddleserver",
		"pmml":                     "kserve-pmmlserver",
		"huggingface":              "kserve-huggingfaceserver",
		"huggingface v2":           "kserve-huggingfaceserver",
		"vLLM":                     "kserve-vllmserver",
		"{onnx: {}}":               "kserve-tritonserver",
		"{triton: {}}":             "kserve-tritonserver",
		"{huggingface: {}}":        "kserve-huggingfaceserver",
		"{sklearn: {}}":            "kserve-sklearnserver",
		"{tensorflow: {}}":         "kserve-tensorflow-serving",
		"{pytorch: {}}":            "kserve-torchserve",
		"{xgboost: {}}":            "kserve-xgbserver",
		"{lightgbm: {}}":           "kserve-lgbserver",
		"{paddle: {}}":             "kserve-paddleserver",
		"{pmml: {}}":               "kserve-pmmlserver",
		"sklearn v1 version \"1\"": "kserve-sklearnserver",
	}
	for request, want := range cases {
		t.Run(request, func(t *testing.T) {
			predictor := request
			if !strings.HasPrefix(request, "{") {
				predictor = modelOf(request)
			}
			resolved := resolve(t, isvcFrom(t, predictor), runtimes)
			if resolved.Runtime.Name != want {
				t.Errorf("got %s, want %s", resolved.Runtime.Name, want)
			}
			if _, err := resolved.Render(Credentials{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func modelOf(request string) string {
	words := strings.Fields(request)
	model := "modelFormat: {name: " + words[0]
	if len(words) > 3 {
		model += ", version: " + words[3]
	}
	model += "}"
	if len(words) > 1 {
		model += ", protocolVersion: " + words[1]
	}
	return "{model: {" + model + "}}"
}

func TestShippedRuntimesAreWellFormed(t *testing.T) {
	var kustomization struct {
		Resources []string `json:"resources"`
	}
	data, err := os.ReadFile(filepath.Join(runtimesFolder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &kustomization); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, runtime := range shippedRuntimes(t).Cluster {
		files = append(files, runtime.Name+".yaml")
		for _, container := range runtime.Spec.Containers {
			checkShippedContainer(t, runtime.Name, container)
		}
	}
	slices.Sort(files)
	if !slices.Equal(files, kustomization.Resources) {
		t.Errorf("config/runtimes holds %v, but its kustomization lists %v", files, kustomization.Resources)
	}
}

func checkShippedContainer(t *testing.T, runtime string, container corev1.Container) {
	t.Helper()
	if _, tag := splitImage(container.Image); tag == "" || tag == "latest" {
		t.Errorf("%s: image %s is not pinned to a version", runtime, container.Image)
	}
	context := container.SecurityContext
	switch {
	case context == nil, context.AllowPrivilegeEscalation == nil, *context.AllowPrivilegeEscalation,
		context.Capabilities == nil, !slices.Contains(context.Capabilities.Drop, "ALL"),
		context.SeccompProfile == nil, context.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Errorf("%s: security context is not restricted: %+v", runtime, context)
	case runtime != "kserve-vllmserver" && (context.RunAsNonRoot == nil || !*context.RunAsNonRoot):
		t.Errorf("%s: may run as root", runtime)
	}
	for _, name := range []corev1.ResourceName{"cpu", "memory"} {
		if container.Resources.Requests.Name(name, "").IsZero() || container.Resources.Limits.Name(name, "").IsZero() {
			t.Errorf("%s: no request or limit of %s", runtime, name)
		}
	}
}

func TestShippedMetricsEndpoints(t *testing.T) {
	exceptions := map[string][2]string{
		"kserve-mlserver":           {"8082", "/metrics"},
		"kserve-tensorflow-serving": {"8080", "/monitoring/prometheus/metrics"},
		"kserve-torchserve":         {"8082", "/metrics"},
		"kserve-tritonserver":       {"8002", "/metrics"},
	}
	for _, runtime := range shippedRuntimes(t).Cluster {
		want, ok := exceptions[runtime.Name]
		if !ok {
			want = [2]string{"8080", "/metrics"}
		}
		got := [2]string{runtime.Spec.Annotations[annotationMetricsPort], runtime.Spec.Annotations[annotationMetricsPath]}
		if got != want {
			t.Errorf("%s: got %v, want %v", runtime.Name, got, want)
		}
	}
}

// TestFixedRuntimesDoNotCreateRevisions: an upgrade that ships the fixes must not reload models.
func TestFixedRuntimesDoNotCreateRevisions(t *testing.T) {
	for format, before := range map[string]map[string]string{
		"sklearn v2": {annotationMetricsPort: "8080", annotationMetricsPath: "/metrics"},
		"tensorflow": {annotationMetricsPort: "8080", annotationMetricsPath: "/metrics"},
	} {
		hashWith := func(annotations map[string]string) string {
			runtimes := shippedRuntimes(t)
			name := resolve(t, isvcFrom(t, modelOf(format)), runtimes).Runtime.Name
			for _, runtime := range runtimes.Cluster {
				if runtime.Name == name && annotations != nil {
					runtime.Spec.Annotations = annotations
				}
			}
			return resolve(t, isvcFrom(t, modelOf(format)), runtimes).Hash
		}
		if hashWith(nil) != hashWith(before) {
			t.Errorf("%s: the fixed runtime creates another revision", format)
		}
		if hashWith(nil) == hashWith(map[string]string{annotationMetricsPort: "9999", annotationMetricsPath: "/metrics"}) {
			t.Errorf("%s: an administrator's change does not create a revision", format)
		}
	}
}

// TestShippedImages pins the images. A change of an image creates a revision of every
// InferenceService that uses the runtime.
func TestShippedImages(t *testing.T) {
	want := map[string]string{
		"kserve-huggingfaceserver":  "kserve/huggingfaceserver:v0.20.0",
		"kserve-lgbserver":          "kserve/lgbserver:v0.20.0",
		"kserve-mlserver":           "docker.io/seldonio/mlserver:1.7.1",
		"kserve-paddleserver":       "kserve/paddleserver:v0.20.0",
		"kserve-pmmlserver":         "kserve/pmmlserver:v0.20.0",
		"kserve-sklearnserver":      "kserve/sklearnserver:v0.20.0",
		"kserve-tensorflow-serving": "tensorflow/serving:2.6.2",
		"kserve-torchserve":         "pytorch/torchserve-kfs:0.9.0",
		"kserve-tritonserver":       "nvcr.io/nvidia/tritonserver:23.05-py3",
		"kserve-vllmserver":         "vllm/vllm-openai:v0.20.0",
		"kserve-xgbserver":          "kserve/xgbserver:v0.20.0",
	}
	got := map[string]string{}
	for _, runtime := range shippedRuntimes(t).Cluster {
		for _, container := range runtime.Spec.Containers {
			got[runtime.Name] = container.Image
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestProgressDeadlineOfSlowRuntimes: the startup probes or downloads of these runtimes take longer
// than the default deadline.
func TestProgressDeadlineOfSlowRuntimes(t *testing.T) {
	for _, format := range []string{"vLLM", "huggingface"} {
		revision, err := resolve(t, isvcFrom(t, modelOf(format)), shippedRuntimes(t)).Render(Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if got := revision.Template.Annotations[v1beta1.AnnotationProgressDeadline]; got != "35m" {
			t.Errorf("%s: got deadline %q, want 35m", format, got)
		}
		isvc := isvcFrom(t, modelOf(format))
		isvc.Annotations = map[string]string{v1beta1.AnnotationProgressDeadline: "2h"}
		revision, err = resolve(t, isvc, shippedRuntimes(t)).Render(Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if got := revision.Template.Annotations[v1beta1.AnnotationProgressDeadline]; got != "2h" {
			t.Errorf("%s: got deadline %q, want the user's 2h", format, got)
		}
	}
}

func TestSamplesRender(t *testing.T) {
	samples := 0
	err := filepath.WalkDir(samplesFolder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		samples++
		t.Run(strings.TrimPrefix(path, samplesFolder+"/"), func(t *testing.T) {
			docs := readDocuments(t, path)
			runtimes := shippedRuntimes(t)
			runtimes.Namespaced = docs.runtimes.Namespaced
			resolved := resolve(t, docs.isvc, runtimes)
			if _, err := resolved.Render(docs.credentials(resolved.NeedsCredentials())); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	if err != nil || samples == 0 {
		t.Fatalf("%d samples: %v", samples, err)
	}
}

// TestRevisionsOfTheSampleSteps: the canary is revision 2 and tag routing is revision 3. Promotion
// and rollback do not create a revision.
func TestRevisionsOfTheSampleSteps(t *testing.T) {
	runtimes := shippedRuntimes(t)
	steps := []struct {
		file     string
		revision int
	}{
		{"1-deploy.yaml", 1}, {"2-canary.yaml", 2}, {"3-promote.yaml", 2}, {"4-roll-back.yaml", 2}, {"5-tag-routing.yaml", 3},
	}
	var revisions []string
	for _, step := range steps {
		docs := readDocuments(t, filepath.Join(samplesFolder, "sklearn-iris", step.file))
		hash := resolve(t, docs.isvc, runtimes).Hash
		if !slices.Contains(revisions, hash) {
			revisions = append(revisions, hash)
		}
		if got := slices.Index(revisions, hash) + 1; got != step.revision {
			t.Errorf("%s: revision %d, want %d", step.file, got, step.revision)
		}
	}
}
