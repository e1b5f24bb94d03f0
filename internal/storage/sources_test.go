// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"
)

func noEnv(string) string { return "" }

func envOf(all map[string]string) Environment {
	return func(name string) string { return all[name] }
}

func TestBucketPrefix(t *testing.T) {
	opened := memblob.OpenBucket(nil)
	for _, key := range []string{"models/iris/a", "models/iris/sub/b", "models/iris-2/a", "models/other", "models/iris/sub/", "top"} {
		if err := opened.WriteAll(t.Context(), key, []byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]map[string][]byte{
		"models/iris":    {"a": []byte("models/iris/a"), "sub/b": []byte("models/iris/sub/b")},
		"models/iris/":   {"a": []byte("models/iris/a"), "sub/b": []byte("models/iris/sub/b")},
		"models/iris/a":  {"a": []byte("models/iris/a")},
		"models/iris-2":  {"a": []byte("models/iris-2/a")},
		"/models/other/": {"other": []byte("models/other")},
	} {
		dir := t.TempDir()
		if err := fetchInto(t, newBucket(opened, "mem://"+prefix, prefix), dir); err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
		wantFiles(t, dir, want)
	}
	wantKind(t, fetchInto(t, newBucket(opened, "mem://models/ir", "models/ir"), t.TempDir()), Missing, "mem://models/ir")
}

func TestChangedBucketObjectIsRejected(t *testing.T) {
	opened := memblob.OpenBucket(nil)
	if err := opened.WriteAll(t.Context(), "m/a", pattern(10), nil); err != nil {
		t.Fatal(err)
	}
	source := newBucket(opened, "mem://m", "m")
	objects, err := source.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.WriteAll(t.Context(), "m/a", pattern(11), nil); err != nil {
		t.Fatal(err)
	}
	_, err = source.Read(t.Context(), objects[0], 0, 10)
	wantKind(t, err, Corrupt, "changed")
}

func serveContent(name string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content)))
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}

func openTest(t *testing.T, uri string, env Environment) Source {
	t.Helper()
	source, err := Open(t.Context(), uri, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

func TestWebRanges(t *testing.T) {
	content := pattern(5*testRange + 1)
	var ranges atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		serveContent("weights.bin", content).ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, server.URL+"/models/weights.bin?v=1", noEnv), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"weights.bin": content})
	if ranges.Load() != 6 {
		t.Errorf("got %d range requests, want 6", ranges.Load())
	}
}

func TestWebWithoutRangesAndHEAD(t *testing.T) {
	content := pattern(5*testRange + 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		_, _ = w.Write(content)
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, server.URL+"/weights.bin", noEnv), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"weights.bin": content})
}

func TestWebHeaders(t *testing.T) {
	content := pattern(10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serveContent("a", content).ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	with := envOf(map[string]string{host + "-headers": `{"Authorization": "Bearer secret"}`})
	if err := fetchInto(t, openTest(t, server.URL+"/a", with), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": content})
	wantKind(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Forbidden, "401 Unauthorized")
	_, err := Open(t.Context(), server.URL+"/a", envOf(map[string]string{host + "-headers": "secret"}))
	wantKind(t, err, Invalid, "not a JSON object")
}

func TestChangedWebFileIsRejected(t *testing.T) {
	var reads atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content := pattern(5 * testRange)
		if r.Method == http.MethodGet && reads.Add(1) > 2 {
			content[0]++
		}
		serveContent("a", content).ServeHTTP(w, r)
	}))
	defer server.Close()
	wantKind(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Corrupt, "changed")
}

func TestWebServerIsDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	wantKind(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Missing, "404 Not Found", "check storageUri")
	server.Close()
	wantKind(t, fetchInto(t, openTest(t, server.URL+"/a", noEnv), t.TempDir()), Unreachable, "connection refused")
}

func fakeHub(t *testing.T, token string, content map[string][]byte) *httptest.Server {
	t.Helper()
	const commit = "0123abc"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/models/org/model/revision/{revision}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"sha": %q}`, commit)
	})
	mux.HandleFunc("GET /api/models/org/model/tree/"+commit, func(w http.ResponseWriter, r *http.Request) {
		var entries []map[string]any
		for name, data := range content {
			onSecondPage := strings.Contains(name, "/")
			if onSecondPage != (r.URL.Query().Get("cursor") != "") {
				continue
			}
			sum := sha256.Sum256(data)
			entries = append(entries, map[string]any{
				"type": "file", "path": name, "size": 134, "oid": "pointer",
				"lfs": map[string]any{"oid": hex.EncodeToString(sum[:]), "size": len(data)},
			})
		}
		if r.URL.Query().Get("cursor") == "" {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?recursive=true&cursor=2>; rel="next"`, r.Host, r.URL.Path))
			entries = append(entries, map[string]any{"type": "directory", "path": "sub", "size": 0, "oid": "x"})
		}
		_ = json.NewEncoder(w).Encode(entries)
	})
	mux.HandleFunc("GET /org/model/resolve/"+commit+"/{path...}", func(w http.ResponseWriter, r *http.Request) {
		serveContent("", content[r.PathValue("path")]).ServeHTTP(w, r)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestHubPinsCommit(t *testing.T) {
	content := map[string][]byte{"config.json": pattern(10), "sub/weights #1.bin": pattern(3*testRange + 1)}
	server := fakeHub(t, "", content)
	env := envOf(map[string]string{"HF_ENDPOINT": server.URL})
	for _, uri := range []string{"hf://org/model", "hf://org/model:refs/pr/1"} {
		dir := t.TempDir()
		if err := fetchInto(t, openTest(t, uri, env), dir); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, content)
	}
	wantKind(t, fetchInto(t, openTest(t, "hf://org/another", env), t.TempDir()), Missing, "hf://org/another:main")
}

func TestHubToken(t *testing.T) {
	content := map[string][]byte{"a": pattern(10)}
	server := fakeHub(t, "secret", content)
	dir := t.TempDir()
	env := map[string]string{"HF_ENDPOINT": server.URL, "HF_TOKEN": "secret"}
	if err := fetchInto(t, openTest(t, "hf://org/model", envOf(env)), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, content)
	delete(env, "HF_TOKEN")
	wantKind(t, fetchInto(t, openTest(t, "hf://org/model", envOf(env)), t.TempDir()), Forbidden)
}

func TestLocalFolders(t *testing.T) {
	from := t.TempDir()
	for name, content := range map[string][]byte{"a": pattern(3*testRange + 1), "sub/b": pattern(1)} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for uri, want := range map[string]map[string][]byte{
		"file://" + from:        {"a": pattern(3*testRange + 1), "sub/b": pattern(1)},
		from:                    {"a": pattern(3*testRange + 1), "sub/b": pattern(1)},
		"file://" + from + "/a": {"a": pattern(3*testRange + 1)},
	} {
		dir := t.TempDir()
		if err := fetchInto(t, openTest(t, uri, noEnv), dir); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, want)
	}
	wantKind(t, fetchInto(t, openTest(t, "file:///not/there", noEnv), t.TempDir()), Missing, "/not/there")
}

func TestInvalidURIs(t *testing.T) {
	for uri, words := range map[string]string{
		"hdfs://namenode/model":                  "kserve/storage-initializer",
		"webhdfs://namenode/model":               "kserve/storage-initializer",
		"ftp://host/model":                       "write one of",
		"hf://model":                             "write hf://<organisation>/<model>",
		"https://":                               "write https://host/path",
		"https://account.blob.core.windows.net/": "names no container",
	} {
		_, err := Open(t.Context(), uri, noEnv)
		wantKind(t, err, Invalid, words)
	}
}

func TestStorageConfig(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION"} {
		t.Setenv(name, "")
	}
	env, err := WithStorageConfig(envOf(map[string]string{
		configVariable:   `{"type": "s3", "access_key_id": "id", "secret_access_key": "key", "endpoint_url": "http://minio:9000", "region": "one"}`,
		overrideVariable: `{"region": "two"}`,
		"OTHER":          "stays",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_ENDPOINT_URL": "http://minio:9000", "AWS_REGION": "two", "OTHER": "stays",
	} {
		if got := env(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
		if name != "OTHER" && os.Getenv(name) != want {
			t.Errorf("%s is %q in the process environment", name, os.Getenv(name))
		}
	}
	_, err = WithStorageConfig(envOf(map[string]string{configVariable: "not json"}))
	wantKind(t, err, Invalid, "secret storage-config")
}
