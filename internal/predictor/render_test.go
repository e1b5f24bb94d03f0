// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files in testdata instead of comparing with them")

// TestRender compares the rendered revisions with the golden files in testdata/render. It ignores
// the identity, which other tests cover.
func TestRender(t *testing.T) {
	inputs, err := filepath.Glob("testdata/render/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, input := range inputs {
		name := filepath.Base(input[:len(input)-len(".in.yaml")])
		t.Run(name, func(t *testing.T) {
			docs := readDocuments(t, input)
			resolved := resolve(t, docs.isvc, docs.runtimes)
			revision, err := resolved.Render(docs.credentials(resolved.NeedsCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			revision.Identity = Identity{}
			compareGolden(t, filepath.Join("testdata", "render", name+".out.yaml"), revision)
		})
	}
}

func compareGolden(t *testing.T, path string, got any) {
	t.Helper()
	text, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test ./internal/predictor -update", err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("-want +got, or run with -update:\n%s", diff)
	}
}

func TestRenderIsRepeatable(t *testing.T) {
	docs := readDocuments(t, "testdata/render/everything-merged.in.yaml")
	resolved := resolve(t, docs.isvc, docs.runtimes)
	first, err := resolved.Render(Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	var read Revision
	if err := json.Unmarshal(stored, &read); err != nil {
		t.Fatal(err)
	}
	second, err := resolved.Render(Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	reread, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored, again) || !bytes.Equal(stored, reread) {
		t.Errorf("first, second and decoded revision differ:\n%s\n%s\n%s", stored, again, reread)
	}
}

// TestRenderDoesNotModifyItsInputs: the inputs belong to a shared cache.
func TestRenderDoesNotModifyItsInputs(t *testing.T) {
	docs := readDocuments(t, "testdata/render/everything-merged.in.yaml")
	isvc, runtime := docs.isvc.DeepCopy(), docs.runtimes.Cluster[0].DeepCopy()
	revision, err := resolve(t, docs.isvc, docs.runtimes).Render(Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range revision.Template.Spec.Containers {
		container := &revision.Template.Spec.Containers[i]
		container.Image = "changed"
		for j := range container.Env {
			container.Env[j].Value = "changed"
		}
		for name := range container.Resources.Limits {
			delete(container.Resources.Limits, name)
		}
	}
	for key := range revision.Template.Labels {
		revision.Template.Labels[key] = "changed"
	}
	if diff := cmp.Diff(isvc, docs.isvc); diff != "" {
		t.Errorf("the InferenceService was changed:\n%s", diff)
	}
	if diff := cmp.Diff(runtime, docs.runtimes.Cluster[0]); diff != "" {
		t.Errorf("the serving runtime was changed:\n%s", diff)
	}
}
