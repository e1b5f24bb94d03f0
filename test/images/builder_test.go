// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serinus-io/serinus/hack/builds"
)

func fixture(t *testing.T) *builder {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	b := &builder{root: t.TempDir(), out: t.TempDir(), report: builds.NewReporter(null)}
	write(t, filepath.Join(b.root, "go.mod"), "module tiny.test\n\ngo 1.26\n")
	write(t, filepath.Join(b.root, "main.go"), "package main\n\nfunc main() { println(1) }\n")
	return b
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestImageIsRebuiltOnlyWhenItChanges(t *testing.T) {
	b := fixture(t)
	build := func() os.FileInfo {
		t.Helper()
		if err := b.build(t.Context(), recipe{"tiny", program(".")}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(b.out, "tiny.tar"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := build()
	if !os.SameFile(first, build()) {
		t.Error("the image was rebuilt although nothing changed")
	}
	write(t, filepath.Join(b.root, "main.go"), "package main\n\nfunc main() { println(2) }\n")
	second := build()
	if os.SameFile(first, second) {
		t.Error("the image was not rebuilt although its program changed")
	}
	if !os.SameFile(second, build()) {
		t.Error("the image was rebuilt although nothing changed since")
	}
}

func TestFailedBuildKeepsTheImage(t *testing.T) {
	b := fixture(t)
	tiny := recipe{"tiny", program(".")}
	if err := b.build(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.root, "main.go"), "package main\n\nfunc main() { nonsense() }\n")
	if err := b.build(t.Context(), tiny); err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("got %v, want the compiler's error", err)
	}
	if _, err := os.Stat(filepath.Join(b.out, "tiny.tar")); err != nil {
		t.Error(err)
	}
}

func TestChooseKeepsTheOrderOfTheCatalog(t *testing.T) {
	chosen, err := choose([]string{"sklearnserver", "manager", "manager"})
	if err != nil || len(chosen) != 2 || chosen[0].name != "manager" || chosen[1].name != "sklearnserver" {
		t.Errorf("got %v, %v", chosen, err)
	}
	if all, err := choose(nil); err != nil || len(all) != len(catalog) {
		t.Errorf("without names: got %d images, %v", len(all), err)
	}
	if _, err := choose([]string{"manger"}); err == nil || !strings.Contains(err.Error(), `unknown image "manger"; the images are: manager, `) {
		t.Errorf("got %v, want a list of the images", err)
	}
}
