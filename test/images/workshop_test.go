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

func fixture(t *testing.T) *workshop {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	w := &workshop{root: t.TempDir(), out: t.TempDir(), report: builds.NewReporter(null)}
	write(t, filepath.Join(w.root, "go.mod"), "module tiny.test\n\ngo 1.26\n")
	write(t, filepath.Join(w.root, "main.go"), "package main\n\nfunc main() { println(1) }\n")
	return w
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestImageIsLeftAloneWhileItIsUpToDate(t *testing.T) {
	w := fixture(t)
	pack := func() os.FileInfo {
		t.Helper()
		if err := w.pack(t.Context(), recipe{"tiny", program(".")}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(w.out, "tiny.tar"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := pack()
	if !os.SameFile(first, pack()) {
		t.Error("it was packed again although nothing has changed")
	}
	write(t, filepath.Join(w.root, "main.go"), "package main\n\nfunc main() { println(2) }\n")
	second := pack()
	if os.SameFile(first, second) {
		t.Error("it was not packed again although its program has changed")
	}
	if !os.SameFile(second, pack()) {
		t.Error("it was packed again although nothing has changed since")
	}
}

func TestProgramThatDoesNotCompileKeepsTheImage(t *testing.T) {
	w := fixture(t)
	tiny := recipe{"tiny", program(".")}
	if err := w.pack(t.Context(), tiny); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.root, "main.go"), "package main\n\nfunc main() { nonsense() }\n")
	if err := w.pack(t.Context(), tiny); err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("got %v, want what the compiler says", err)
	}
	if _, err := os.Stat(filepath.Join(w.out, "tiny.tar")); err != nil {
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
	if _, err := choose([]string{"manger"}); err == nil || !strings.Contains(err.Error(), `no image "manger"; the images are: manager, `) {
		t.Errorf("got %v, want a list of the images", err)
	}
}
