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

func TestFilesStayInsideTheImage(t *testing.T) {
	source := file(t, "content")
	for _, inside := range []string{"../escape", "a/../../escape", "/etc/passwd", "a//b", "a/", ".", ""} {
		archive := filepath.Join(t.TempDir(), "one.tar")
		err := Image{Name: "dev.local/one:1", Layers: []Layer{Files{inside: source}}}.Write(archive)
		if err == nil || !strings.Contains(err.Error(), "no path of a file in an image") {
			t.Errorf("%q: got %v", inside, err)
		}
		if _, err := os.Stat(archive); !os.IsNotExist(err) {
			t.Errorf("%q: an archive is left", inside)
		}
	}
}

func TestFolderIsNoFile(t *testing.T) {
	_, err := Program("dev.local/one:1", t.TempDir()).ID()
	if err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("got %v", err)
	}
}

func TestIDStandsForAllThatIsInAnImage(t *testing.T) {
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
			t.Errorf("a change of %s does not show", what)
		}
	}
}

// changing is a layer that is another one each time.
type changing struct{ contents []string }

func (c *changing) open() (io.ReadCloser, error) {
	content := c.contents[0]
	c.contents = c.contents[1:]
	return io.NopCloser(strings.NewReader(content)), nil
}

func TestLayerThatChangesWhileItIsPacked(t *testing.T) {
	for name, second := range map[string]string{"other content": "two", "longer": "longer", "shorter": "o"} {
		layer := &changing{contents: []string{"one", second}}
		err := Image{Name: "dev.local/one:1", Layers: []Layer{layer}}.Write(filepath.Join(t.TempDir(), "one.tar"))
		if err == nil || !strings.Contains(err.Error(), "has changed while it was packed") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
