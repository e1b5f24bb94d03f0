// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestArchiveContainsProgram(t *testing.T) {
	files := unpack(t, archiveOf(t, "#!the program"))

	var contents tarball.Manifest
	decode(t, files["manifest.json"], &contents)
	if len(contents) != 1 || len(contents[0].Layers) != 1 || len(contents[0].RepoTags) != 1 || contents[0].RepoTags[0] != "dev.local/one:1" {
		t.Fatalf("the manifest is %+v", contents)
	}
	var configuration v1.ConfigFile
	decode(t, files[contents[0].Config], &configuration)
	layer := files[contents[0].Layers[0]]
	if want := digest(layer); len(configuration.RootFS.DiffIDs) != 1 || configuration.RootFS.DiffIDs[0].String() != want {
		t.Errorf("the layers are %v, want %s", configuration.RootFS.DiffIDs, want)
	}
	if name := contents[0].Config; name != digest(files[name]) {
		t.Errorf("the configuration is named %s, not by its digest", name)
	}
	entrypoint := configuration.Config.Entrypoint
	if len(entrypoint) != 1 || string(unpack(t, layer)[strings.TrimPrefix(entrypoint[0], "/")]) != "#!the program" {
		t.Errorf("%v does not lead to the program", entrypoint)
	}
}

func TestArchiveIsReproducible(t *testing.T) {
	if !bytes.Equal(archiveOf(t, "one"), archiveOf(t, "one")) {
		t.Error("the archives differ")
	}
}

func TestMissingProgram(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	err := Program("dev.local/one:1", missing).Write(filepath.Join(t.TempDir(), "one.tar"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v, want an error that %s does not exist", err, missing)
	}
}

func TestLayersAreInOrder(t *testing.T) {
	dir := t.TempDir()
	lower, file, archive := filepath.Join(dir, "rootfs.tar"), filepath.Join(dir, "server.py"), filepath.Join(dir, "one.tar")
	for path, content := range map[string]string{lower: "a root file system", file: "a server"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packed := Image{Name: "dev.local/one:1", Env: []string{"A=b"}, Layers: []Layer{Archive(lower), Files{"app/server.py": file}}}
	if err := packed.Write(archive); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, data)
	var contents tarball.Manifest
	decode(t, files["manifest.json"], &contents)
	layers := contents[0].Layers
	if len(layers) != 2 || string(files[layers[0]]) != "a root file system" {
		t.Fatalf("the layers are %v", layers)
	}
	if got := string(unpack(t, files[layers[1]])["app/server.py"]); got != "a server" {
		t.Errorf("the file is %q", got)
	}
	var configuration v1.ConfigFile
	decode(t, files[contents[0].Config], &configuration)
	if len(configuration.RootFS.DiffIDs) != 2 || configuration.RootFS.DiffIDs[0].String() != digest([]byte("a root file system")) {
		t.Errorf("the configuration lists the layers %v", configuration.RootFS.DiffIDs)
	}
	if len(configuration.Config.Env) != 1 || configuration.Config.Env[0] != "A=b" {
		t.Errorf("the variables are %v", configuration.Config.Env)
	}
}

func archiveOf(t *testing.T, content string) []byte {
	t.Helper()
	dir := t.TempDir()
	path, archive := filepath.Join(dir, "program"), filepath.Join(dir, "one.tar")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Program("dev.local/one:1", path).Write(archive); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
