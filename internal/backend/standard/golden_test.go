// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/internal/backend/objects"
)

var update = flag.Bool("update", false, "write what the builders make to testdata/")

// compareWithGolden compares the intents of objects with a file in testdata.
func compareWithGolden(t *testing.T, intended ...client.Object) {
	t.Helper()
	var documents [][]byte
	for _, object := range intended {
		intent, err := objects.IntentOf(object, newScheme(t))
		if err != nil {
			t.Fatal(err)
		}
		document, err := yaml.Marshal(intent.Object)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document)
	}
	got := bytes.Join(documents, []byte("---\n"))

	_, name, _ := strings.Cut(t.Name(), "/")
	path := filepath.Join("testdata", "objects", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test ./internal/backend/standard -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
