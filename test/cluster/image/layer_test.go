// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilesRejectsInvalidPaths(t *testing.T) {
	source := file(t, "content")
	for _, inside := range []string{"../escape", "a/../../escape", "/etc/passwd", "a//b", "a/", ".", ""} {
		archive := filepath.Join(t.TempDir(), "one.tar")
		err := Image{Name: "dev.local/one:1", Layers: []Layer{Files{inside: source}}}.Write(archive)
		if err == nil || !strings.Contains(err.Error(), "not a valid path of a file in an image") {
			t.Errorf("%q: got %v", inside, err)
		}
		if _, err := os.Stat(archive); !os.IsNotExist(err) {
			t.Errorf("%q: the archive was written", inside)
		}
	}
}

func TestFolderIsNotAFile(t *testing.T) {
	_, err := Program("dev.local/one:1", t.TempDir()).ID()
	if err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("got %v", err)
	}
}

func TestIDDependsOnAllContents(t *testing.T) {
	one := file(t, "one")
	base := func() Image {
		return Image{Name: "dev.local/one:1", Entrypoint: []string{"/a"}, Layers: []Layer{Files{"a": one}}}
	}
	id := func(change func(*Image)) string {
		i := base()
		change(&i)
		id, err := i.ID()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	unchanged := id(func(*Image) {})
	if unchanged != id(func(*Image) {}) {
		t.Error("equal images have different IDs")
	}
	for what, change := range map[string]func(*Image){
		"entrypoint": func(i *Image) { i.Entrypoint = []string{"/b"} },
		"env":        func(i *Image) { i.Env = []string{"A=b"} },
		"dir":        func(i *Image) { i.Dir = "/srv" },
		"user":       func(i *Image) { i.User = "1000:1000" },
		"content":    func(i *Image) { i.Layers = []Layer{Files{"a": file(t, "two")}} },
		"path":       func(i *Image) { i.Layers = []Layer{Files{"b": one}} },
		"layers":     func(i *Image) { i.Layers = append(i.Layers, Archive(one)) },
	} {
		if id(change) == unchanged {
			t.Errorf("a change of %s does not change the ID", what)
		}
	}
}

type changingLayer struct{ contents []string }

func (c *changingLayer) open() (io.ReadCloser, error) {
	content := c.contents[0]
	c.contents = c.contents[1:]
	return io.NopCloser(strings.NewReader(content)), nil
}

func TestLayerChangesDuringBuild(t *testing.T) {
	for name, second := range map[string]string{"other content": "two", "longer": "longer", "shorter": "o"} {
		layer := &changingLayer{contents: []string{"one", second}}
		err := Image{Name: "dev.local/one:1", Layers: []Layer{layer}}.Write(filepath.Join(t.TempDir(), "one.tar"))
		if err == nil || !strings.Contains(err.Error(), "changed while the image was being built") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
