// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package builds

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func fixture(t *testing.T) (Product, func(key string) error, *int) {
	t.Helper()
	dir := t.TempDir()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	p := Product{Name: "thing", Path: filepath.Join(dir, "out", "thing"), Private: filepath.Join(dir, ".build")}
	count := 0
	return p, func(key string) error {
		return p.Ensure(t.Context(), key, NewReporter(null), func(path string) error {
			count++
			return os.WriteFile(path, []byte(key), 0o600)
		})
	}, &count
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s contains %q, %v; want %q", path, got, err, want)
	}
}

func TestEnsureBuildsOnKeyChange(t *testing.T) {
	p, ensure, count := fixture(t)
	for i, step := range []struct {
		before func()
		key    string
		want   int
	}{
		{func() {}, "one", 1},
		{func() {}, "one", 1},
		{func() {}, "two", 2},
		{func() {}, "one", 3},
		{func() { os.Remove(p.Path) }, "one", 4},
		{func() { os.Remove(p.private("stamp")) }, "one", 5},
		{func() {}, "", 6}, // Without a key, it is never fresh.
		{func() {}, "", 7},
	} {
		step.before()
		if err := ensure(step.key); err != nil {
			t.Fatal(err)
		}
		if *count != step.want {
			t.Errorf("step %d: it was built %d times, want %d", i, *count, step.want)
		}
		wantContent(t, p.Path, step.key)
	}
}

func TestFailedBuildKeepsOldProduct(t *testing.T) {
	p, ensure, count := fixture(t)
	if err := ensure("one"); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no luck")
	err := p.Ensure(t.Context(), "two", NewReporter(os.Stderr), func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("half"), 0o600), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	wantContent(t, p.Path, "one")
	if _, err := os.Stat(p.private("new")); !os.IsNotExist(err) {
		t.Errorf("the incomplete build exists: %v", err)
	}
	if err := ensure("one"); err != nil || *count != 1 {
		t.Errorf("%v; built %d times, want 1", err, *count)
	}
}

// A killed build leaves files, which must not become part of the next build.
func TestFolderIsReplaced(t *testing.T) {
	p, _, _ := fixture(t)
	build := func(key, file string) {
		t.Helper()
		err := p.Ensure(t.Context(), key, NewReporter(os.Stderr), func(path string) error {
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(path, file), []byte(key), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	build("one", "a")
	if err := os.MkdirAll(filepath.Join(p.private("new"), "remains"), 0o755); err != nil {
		t.Fatal(err)
	}
	build("two", "b")
	files, err := os.ReadDir(p.Path)
	if err != nil || len(files) != 1 || files[0].Name() != "b" {
		t.Errorf("the folder contains %v, %v; want b", files, err)
	}
}

func TestConcurrentEnsureBuildsOnce(t *testing.T) {
	_, ensure, count := fixture(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := ensure("one"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if *count != 1 {
		t.Errorf("it was built %d times, want 1", *count)
	}
}
