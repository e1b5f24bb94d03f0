// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Init containers run again after a restart of the node, and the model server loads all files.
func TestFilesThatTheStoreNoLongerHasAreRemoved(t *testing.T) {
	old := map[string][]byte{"model-1.bin": pattern(10), "model-2.bin": pattern(2*testRange + 1), "config/old.json": pattern(3), "config/a.json": pattern(4)}
	for name, now := range map[string]map[string][]byte{
		"other files":                {"model.bin": pattern(20), "config/a.json": pattern(4)},
		"a file instead of a folder": {"config": pattern(5)},
		"a folder instead of a file": {"model-1.bin/weights": pattern(5)},
		"a folder less":              {"model-1.bin": pattern(10)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, content := range []map[string][]byte{old, now} {
				if err := fetchInto(t, &fakeStore{content: content}, dir); err != nil {
					t.Fatal(err)
				}
			}
			wantFiles(t, dir, now)
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(topOf(now)) {
				t.Errorf("the folder contains %v, %v", entries, err)
			}
		})
	}
}

func topOf(content map[string][]byte) map[string]bool {
	top := map[string]bool{}
	for name := range content {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(name) {
			name = dir
		}
		top[name] = true
	}
	return top
}

func TestFilesOfAnInterruptedFetchAreRemoved(t *testing.T) {
	dir := t.TempDir()
	fetchPartially(t, dir, pattern(9*testRange))
	if _, err := os.Stat(filepath.Join(dir, "a"+partialSuffix)); err != nil {
		t.Fatal(err)
	}
	now := map[string][]byte{"b": pattern(testRange + 1)}
	if err := fetchInto(t, &fakeStore{content: now}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, now)
}

func TestFilesOfAnOlderArchiveAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, archive := range [][]byte{tarOf(t, regular("old"), regular("sub/old"), regular("both")), tarOf(t, regular("new"), regular("both"))} {
		if err := fetchInto(t, archiveOf("m.tar", archive), dir); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]bool{}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	if want := map[string]bool{"new": true, "both": true}; err != nil || !maps.Equal(names, want) {
		t.Errorf("the folder contains %v, want %v; %v", names, want, err)
	}
}

func TestFilesAreKeptWhileTheStoreIsDown(t *testing.T) {
	dir := t.TempDir()
	old := map[string][]byte{"a": pattern(10)}
	if err := fetchInto(t, &fakeStore{content: old}, dir); err != nil {
		t.Fatal(err)
	}
	for _, failure := range []error{statusError{403}, statusError{404}} {
		if err := fetchInto(t, &fakeStore{listing: []error{failure}}, dir); err == nil {
			t.Fatal("Fetch succeeded")
		}
	}
	if err := fetchInto(t, &fakeStore{}, dir); err == nil {
		t.Fatal("Fetch succeeded for an empty store")
	}
	wantFiles(t, dir, old)
}

func TestSourceInsideTheFolderIsKept(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "source")
	if err := errors.Join(os.Mkdir(from, 0o700), os.WriteFile(filepath.Join(from, "a"), pattern(10), 0o600)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{from, filepath.Join(link, "source")} {
		if err := fetchInto(t, openTest(t, path, noEnv), dir); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, map[string][]byte{"a": pattern(10), "source/a": pattern(10)})
	}
}

func TestLostAndFoundIsKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fetchInto(t, &fakeStore{content: map[string][]byte{"a": nil}}, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lost+found")); err != nil {
		t.Error(err)
	}
}

func TestReservedNames(t *testing.T) {
	for _, name := range []string{
		stateFile, nextStateFile, stateFile + "/a", nextStateFile + "/a", "b" + partialSuffix, "b" + partialSuffix + "/c",
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{content: map[string][]byte{name: pattern(1), "b": pattern(1)}}
			wantKind(t, fetchInto(t, store, t.TempDir()), Invalid, "rename the object")
			if store.reads > 0 {
				t.Error("an object was read")
			}
		})
	}
	for _, name := range []string{stateFile, nextStateFile, stateFile + "/a", "m.tar" + partialSuffix, "./" + stateFile} {
		t.Run("in an archive/"+name, func(t *testing.T) {
			err := fetchInto(t, archiveOf("m.tar", tarOf(t, regular(name), regular("weights"))), t.TempDir())
			wantKind(t, err, Invalid, "is used during a download")
		})
	}
}

func TestNamesSimilarToReservedNames(t *testing.T) {
	content := map[string][]byte{"sub/" + stateFile: pattern(1), "c" + partialSuffix: pattern(2), stateFile + ".old": pattern(3)}
	dir := t.TempDir()
	if err := fetchInto(t, &fakeStore{content: content}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, content)
}

func TestPruneKeepsPartialFiles(t *testing.T) {
	dir := t.TempDir()
	content := pattern(9 * testRange)
	fetchPartially(t, dir, content)
	read := 0
	again := &fakeStore{content: map[string][]byte{"a": content}, noSum: true, serve: func(_ int, right []byte) (io.Reader, error) {
		read += len(right)
		return nil, statusError{403}
	}}
	wantKind(t, fetchInto(t, again, dir), Forbidden)
	if read >= len(content)/2 {
		t.Errorf("%d bytes were requested again", read)
	}
}
