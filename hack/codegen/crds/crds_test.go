// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

var update = flag.Bool("update", false, "update testdata/want")

func TestRun(t *testing.T) {
	out := t.TempDir()
	stale := filepath.Join(out, "gone.yaml")
	if err := os.WriteFile(stale, []byte("kind: CustomResourceDefinition\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run("testdata/in", out, []string{"testdata/types"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the CRD of a removed type still exists: %v", err)
	}

	got, err := os.ReadFile(filepath.Join(out, "inferenceservices.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden := "testdata/want/inferenceservices.yaml"
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("unexpected CRD; run with -update to accept it (-want +got):\n%s", diff)
	}
}

// describe must be idempotent, because finish calls it more than once for the same field.
func TestDescribeIsIdempotent(t *testing.T) {
	own := comments{"ours. all of it stays.": true}
	given := &schema{
		Description: "ours.\nall of it stays.",
		Properties: map[string]schema{
			"theirs": {Description: "A first sentence. " + strings.Repeat("and more ", 30)},
			"long":   {Description: strings.Repeat("word ", 100)},
		},
	}
	describe(given, own, 1)
	once := given.DeepCopy()
	describe(given, own, 1)
	if diff := cmp.Diff(once, given); diff != "" {
		t.Errorf("the second call changed the schema (-before +after):\n%s", diff)
	}
}

func TestRunErrors(t *testing.T) {
	crd := func(edit func(*schema)) string {
		dir := t.TempDir()
		text, err := os.ReadFile("testdata/in/inferenceservices.yaml")
		if err != nil {
			t.Fatal(err)
		}
		parsed := parse(t, text)
		edit(parsed.Spec.Versions[0].Schema.OpenAPIV3Schema)
		manifest, err := encode(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "crd.yaml"), manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	tests := map[string]struct {
		in   string
		want string
	}{
		"an empty folder": {in: t.TempDir(), want: "no CRDs in"},
		"a missing framework": {
			in:   crd(func(root *schema) { delete(root.Properties["spec"].Properties["predictor"].Properties, "onnx") }),
			want: `spec: predictor: there is no property "onnx"`,
		},
		"a name that is already optional": {
			in: crd(func(root *schema) {
				predictor := root.Properties["spec"].Properties["predictor"].Properties
				model := predictor["model"]
				model.Required = nil
				predictor["model"] = model
			}),
			want: "spec: predictor: model: name is not required any more",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(test.in, t.TempDir(), []string{"testdata/types"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run() = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestFirstSentence(t *testing.T) {
	tests := map[string]struct {
		given string
		want  string
	}{
		"nothing":                         {},
		"one sentence":                    {given: "Arguments to the entrypoint.", want: "Arguments to the entrypoint."},
		"no full stop":                    {given: "Pod volumes to mount", want: "Pod volumes to mount"},
		"several sentences":               {given: "Image pull policy.\nOne of Always, Never.", want: "Image pull policy."},
		"several paragraphs":              {given: "Image pull policy\n\nOne of Always, Never.", want: "Image pull policy"},
		"an abbreviation":                 {given: "A list, e.g. of names (i.e. texts). And more.", want: "A list, e.g. of names (i.e. texts)."},
		"a full stop in a word":           {given: "Defaults to 0.0.0.0 for all. And more.", want: "Defaults to 0.0.0.0 for all."},
		"a sentence that does not end":    {given: strings.Repeat("word ", 40), want: strings.TrimSpace(strings.Repeat("word ", 24)) + " …"},
		"a sentence that is just as long": {given: strings.Repeat("word ", 23) + "end.", want: strings.Repeat("word ", 23) + "end."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, firstSentence(test.given)); diff != "" {
				t.Errorf("firstSentence() (-want +got):\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, text []byte) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return crd
}
