// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/config/crd"
)

const crdFolder = "../../config/crd/bases"

type manifest struct {
	name   string
	text   []byte
	object *unstructured.Unstructured
	want   []validationError
}

type validationError struct {
	field   string
	message string
}

func (e validationError) String() string { return e.field + ": " + e.message }

// strictDecoding is the field of validation errors about unknown fields.
const strictDecoding = "strict decoding error"

// rulesSkipped is part of an error that the API server adds when it has not evaluated the
// validation rules because of errors about types.
const rulesSkipped = "some validation rules were not checked because the object was invalid"

// diffErrors returns the differences between the errors, or "" if there are none. It compares only
// the end of messages because they begin with the value.
func diffErrors(got, want []validationError) string {
	var report strings.Builder
	missing := slices.Clone(want)
	for _, g := range got {
		if strings.Contains(g.message, rulesSkipped) {
			continue
		}
		i := slices.IndexFunc(missing, func(w validationError) bool {
			return w.field == g.field && strings.HasSuffix(g.message, w.message)
		})
		if i < 0 {
			fmt.Fprintf(&report, "unexpected: %s\n", g)
			continue
		}
		missing = slices.Delete(missing, i, i+1)
	}
	for _, w := range missing {
		fmt.Fprintf(&report, "missing:    %s\n", w)
	}
	return report.String()
}

func readManifests(folder string) ([]manifest, error) {
	var all []manifest
	paths, err := fs.Glob(os.DirFS("testdata"), folder+"/*.yaml")
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no manifests in testdata/%s", folder)
	}
	for _, path := range paths {
		found, err := readFile(filepath.Join("testdata", path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func readFile(path string) ([]manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found []manifest
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	for {
		// A document is never longer than its file.
		document := make([]byte, len(text))
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		m, err := parseManifest(path, document[:n])
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
}

func parseManifest(path string, document []byte) (manifest, error) {
	m := manifest{text: document, object: &unstructured.Unstructured{}}
	encoded, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return m, err
	}
	if err := m.object.UnmarshalJSON(encoded); err != nil {
		return m, err
	}
	m.name = strings.TrimSuffix(filepath.Base(path), ".yaml") + "/" + m.object.GetName()
	for line := range strings.Lines(string(document)) {
		text, ok := strings.CutPrefix(line, "# want: ")
		if !ok {
			continue
		}
		field, message, ok := strings.Cut(strings.TrimSpace(text), ": ")
		if !ok {
			return m, fmt.Errorf("%q is not <field>: <message>", text)
		}
		m.want = append(m.want, validationError{field: field, message: message})
	}
	return m, nil
}

func mustReadManifests(t *testing.T, folder string) []manifest {
	t.Helper()
	all, err := readManifests(folder)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func crdFiles(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := crd.Bases.ReadDir("bases")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 6 {
		t.Fatalf("%d CRDs in %s, want 6; run hack/codegen/manifests", len(entries), crdFolder)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		text, err := crd.Bases.ReadFile("bases/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = text
	}
	return files
}

func parseCRD(t *testing.T, text []byte) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	parsed := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}
