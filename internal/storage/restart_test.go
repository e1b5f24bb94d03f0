// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gocloud.dev/blob/memblob"
)

func fetchPartially(t *testing.T, dir string, content []byte) {
	t.Helper()
	store := &fakeStore{content: map[string][]byte{"a": content}, noSum: true, serve: func(n int, right []byte) (io.Reader, error) {
		if n >= 5 {
			return nil, statusError{403}
		}
		return bytes.NewReader(right), nil
	}}
	wantKind(t, fetchInto(t, store, dir), Forbidden)
}

// Without a checksum, only the size of the partial file shows that the state file is wrong.
func TestStateIsCheckedAgainstFiles(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 9*testRange)
	for name, damage := range map[string]func(partial string) error{
		"the file is gone":  os.Remove,
		"the file is short": func(partial string) error { return os.Truncate(partial, testRange) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fetchPartially(t, dir, content)
			if err := damage(filepath.Join(dir, "a"+partialSuffix)); err != nil {
				t.Fatal(err)
			}
			if err := fetchInto(t, &fakeStore{content: map[string][]byte{"a": content}, noSum: true}, dir); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, map[string][]byte{"a": content})
		})
	}
}

// Init containers run again after a restart of the node. There is no state file then.
func TestExistingModelIsReused(t *testing.T) {
	dir := t.TempDir()
	if err := fetchInto(t, &fakeStore{content: tree()}, dir); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "config", "b.json")
	if err := os.WriteFile(damaged, bytes.Repeat([]byte("y"), testRange), 0o600); err != nil {
		t.Fatal(err)
	}
	again := &fakeStore{content: tree()}
	if err := fetchInto(t, again, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, tree())
	if again.bytes != testRange {
		t.Errorf("read %d bytes, want the %d of the damaged file", again.bytes, testRange)
	}
}

func TestExistingModelWithoutChecksumIsDownloadedAgain(t *testing.T) {
	dir := t.TempDir()
	old := map[string][]byte{"a": bytes.Repeat([]byte("y"), 3*testRange)}
	if err := fetchInto(t, &fakeStore{content: old, noSum: true, version: "1"}, dir); err != nil {
		t.Fatal(err)
	}
	now := map[string][]byte{"a": pattern(3 * testRange)}
	// The first run fails before it receives any data.
	silent := &fakeStore{content: now, noSum: true, version: "2", serve: func(int, []byte) (io.Reader, error) { return nil, statusError{403} }}
	wantKind(t, fetchInto(t, silent, dir), Forbidden)
	if err := fetchInto(t, &fakeStore{content: now, noSum: true, version: "2"}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, now)
}

func TestRetryWithShorterResponseTruncatesFile(t *testing.T) {
	var reads atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		if reads.Add(1) == 2 { // The first request is from List.
			_, _ = w.Write(pattern(5000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(pattern(10))
		_ = http.NewResponseController(w).Flush() // Without a Content-Length.
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, server.URL+"/a", noEnv), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": pattern(10)})
}

// A URL is signed for one method.
func TestSignedURLThatRejectsHEAD(t *testing.T) {
	content := pattern(5*testRange + 1)
	var ranges atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		serveContent("weights.bin", content).ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, server.URL+"/weights.bin?sig=abc", noEnv), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"weights.bin": content})
	if ranges.Load() != 7 { // One is from List.
		t.Errorf("got %d range requests, want 7", ranges.Load())
	}
}

// Azure with a hierarchical namespace lists each folder as an empty object.
func TestFolderMarkersAreIgnored(t *testing.T) {
	opened := memblob.OpenBucket(nil)
	for key, content := range map[string]string{"m": "", "m/sub": "", "m/sub/a": "a", "m/empty": ""} {
		if err := opened.WriteAll(t.Context(), key, []byte(content), nil); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := fetchInto(t, newBucket(opened, "mem://m", "m"), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"sub/a": []byte("a"), "empty": {}})
}

// Two versions may have the same size and modification time, and multipart objects no checksum.
func TestS3ReadsRequireTheListedVersion(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CA_BUNDLE", "")
	const listed, now = `"0123-2"`, `"4567-2"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/m/a") {
			if r.Method == http.MethodGet && r.Header.Get("If-Match") != now {
				w.WriteHeader(http.StatusPreconditionFailed)
			}
			return
		}
		fmt.Fprintf(w, `<ListBucketResult><Contents><Key>m/a</Key><Size>10</Size><ETag>%s</ETag>`+
			`<LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`, listed)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	err := fetchInto(t, openTest(t, "s3://bucket/m", os.Getenv), t.TempDir())
	wantKind(t, err, Corrupt, "a: ", "changed")
}
