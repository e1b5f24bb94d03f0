// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

type singleObject struct{ *fakeStore }

func (a singleObject) List(ctx context.Context) ([]Object, error) {
	objects, err := a.fakeStore.List(ctx)
	for i := range objects {
		objects[i].Alone = true
	}
	return objects, err
}

func archiveOf(name string, content []byte) Source {
	return singleObject{&fakeStore{content: map[string][]byte{name: content}}}
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, header := range headers {
		header.Mode = 0o600
		content := []byte(nil)
		if header.Typeflag == tar.TypeReg {
			content = []byte(header.Name)
		}
		header.Size = int64(len(content))
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, name := range names {
		file, err := archive.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compressed(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func regular(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }

func TestUnpack(t *testing.T) {
	files := tarOf(t, tar.Header{Name: "sub/", Typeflag: tar.TypeDir}, regular("model.joblib"), regular("sub/deep/weights.bin"), regular("./dot"))
	for name, content := range map[string][]byte{
		"model.tar": files, "model.tar.gz": compressed(t, files), "model.tgz": compressed(t, files), "MODEL.TAR": files,
		"model.zip": zipOf(t, "model.joblib", "sub/deep/weights.bin", "dot"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := fetchInto(t, archiveOf(name, content), dir); err != nil {
				t.Fatal(err)
			}
			dot := "./dot"
			if name == "model.zip" {
				dot = "dot"
			}
			wantFiles(t, dir, map[string][]byte{
				"model.joblib": []byte("model.joblib"), "sub/deep/weights.bin": []byte("sub/deep/weights.bin"), "dot": []byte(dot),
			})
		})
	}
}

func TestArchiveInAFolderIsNotUnpacked(t *testing.T) {
	content := map[string][]byte{"a.zip": zipOf(t, "x")}
	dir := t.TempDir()
	if err := fetchInto(t, &fakeStore{content: content}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, content)
}

func TestInvalidArchives(t *testing.T) {
	for name, tc := range map[string]struct {
		file    string
		content []byte
		words   string
	}{
		"a path upwards":               {"m.tar", tarOf(t, regular("../evil")), "leads out"},
		"a path upwards from a folder": {"m.tar", tarOf(t, regular("a/../../evil")), "leads out"},
		"an absolute path":             {"m.tar", tarOf(t, regular("/evil")), "leads out"},
		"a backslash":                  {"m.zip", zipOf(t, `..\evil`), "leads out"},
		"a path in a zip":              {"m.zip", zipOf(t, "../evil"), "leads out"},
		"a symbolic link":              {"m.tar", tarOf(t, tar.Header{Name: "l", Linkname: "/etc", Typeflag: tar.TypeSymlink}), "neither a file nor a folder"},
		"a hard link":                  {"m.tar", tarOf(t, tar.Header{Name: "l", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}), "neither a file nor a folder"},
		"a device":                     {"m.tar", tarOf(t, tar.Header{Name: "d", Typeflag: tar.TypeChar}), "neither a file nor a folder"},
		"its own name":                 {"m.tar", tarOf(t, regular("m.tar")), "own name"},
		"not an archive":               {"m.tgz", []byte("plain text"), "cannot be unpacked"},
		"a truncated archive":          {"m.tar", tarOf(t, regular("a"))[:512], "cannot be unpacked"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "models")
			wantKind(t, fetchInto(t, archiveOf(tc.file, tc.content), dir), Invalid, tc.file, tc.words)
			if found, err := filepath.Glob(filepath.Join(top, "*evil*")); err != nil || len(found) > 0 {
				t.Errorf("%v was written outside the folder", found)
			}
		})
	}
}

func TestUnpackDoesNotFollowLinks(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "models")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(top, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := fetchInto(t, archiveOf("m.tar", tarOf(t, regular("out/evil"))), dir); err == nil {
		t.Error("Fetch succeeded")
	}
	if _, err := os.Lstat(filepath.Join(top, "evil")); !os.IsNotExist(err) {
		t.Error("a file was written outside the folder")
	}
}

func TestArchiveBombs(t *testing.T) {
	const large = 1 << 20
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	if err := archive.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o600, Size: large}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write(make([]byte, large)); err != nil {
		t.Fatal(err)
	}
	bomb := compressed(t, out.Bytes())
	dir := t.TempDir()
	err := fetchWith(t, archiveOf("bomb.tgz", bomb), dir, func(o *Options) { o.Unpack.Bytes = large / 2 })
	wantKind(t, err, NoSpace, "bomb.tgz")
	if info, err := os.Stat(filepath.Join(dir, "zeros")); err != nil || info.Size() > large/2+1 {
		t.Errorf("%v bytes were written: %v", info, err)
	}

	const dense = 200 << 20
	out.Reset()
	archive = tar.NewWriter(&out)
	if err := archive.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o600, Size: dense}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write(make([]byte, dense)); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	err = fetchInto(t, archiveOf("dense.tgz", compressed(t, out.Bytes())), dir)
	wantKind(t, err, Invalid, "dense.tgz", "more than 200 times its size")
	if info, err := os.Stat(filepath.Join(dir, "zeros")); err != nil || info.Size() == dense {
		t.Errorf("the whole file was written: %v", err)
	}

	many := tarOf(t, regular("a"), regular("b"), regular("c"))
	err = fetchWith(t, archiveOf("many.tar", many), t.TempDir(), func(o *Options) { o.Unpack.Files = 2 })
	wantKind(t, err, Invalid, "more than 2 files")
}

func TestUnpackedFileMode(t *testing.T) {
	dir := t.TempDir()
	if err := fetchInto(t, archiveOf("m.tar", tarOf(t, regular("a"))), dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || info.Mode().Perm()&fs.FileMode(0o444) != 0o444 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}
