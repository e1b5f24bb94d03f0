// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
)

type badRange func(w http.ResponseWriter, content []byte)

var badRanges = map[string]badRange{
	"the first range again": func(w http.ResponseWriter, content []byte) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", testRange-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[:testRange])
	},
	"no Content-Range": func(w http.ResponseWriter, content []byte) {
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[:testRange])
	},
	"several parts": func(w http.ResponseWriter, content []byte) {
		w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[:testRange])
	},
	"everything": func(w http.ResponseWriter, content []byte) { _, _ = w.Write(content) },
}

// The file would have the right size, but wrong content.
func TestWrongRangeIsRejected(t *testing.T) {
	content := pattern(3 * testRange)
	for store, open := range storesWith(content) {
		for name, response := range badRanges {
			t.Run(store+"/"+name, func(t *testing.T) {
				source := open(t, func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
					if !strings.HasPrefix(requestedRange(r.Header), "bytes=0-") {
						response(w, content)
						return
					}
					serve(w, r)
				})
				err := fetchInto(t, source, t.TempDir())
				wantKind(t, err, Unavailable, "caches and proxies")
				if strings.Contains(err.Error(), "network") {
					t.Errorf("the error mentions the network: %v", err)
				}
			})
		}
	}
}

// Without a tag, only the total size shows that a longer object has replaced the listed one.
func TestRangeOfAnotherVersionIsRejected(t *testing.T) {
	content := pattern(3 * testRange)
	for store, open := range storesWith(content) {
		t.Run(store, func(t *testing.T) {
			source := open(t, func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				serve(&otherTotal{w}, r)
			})
			wantKind(t, fetchInto(t, source, t.TempDir()), Corrupt, "changed")
		})
	}
}

type otherTotal struct{ http.ResponseWriter }

func (w *otherTotal) WriteHeader(status int) {
	if got := w.Header().Get("Content-Range"); got != "" {
		first, _, _ := strings.Cut(got, "/")
		w.Header().Set("Content-Range", first+"/9999")
	}
	w.ResponseWriter.WriteHeader(status)
}

// storesWith returns functions that open each store with one object. Tests can replace the
// responses to reads.
func storesWith(content []byte) map[string]func(*testing.T, func(http.ResponseWriter, *http.Request, http.HandlerFunc)) Source {
	type replace = func(http.ResponseWriter, *http.Request, http.HandlerFunc)
	serve := serveContent("", content).ServeHTTP
	return map[string]func(*testing.T, replace) Source{
		"web": func(t *testing.T, response replace) Source {
			t.Helper()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					serve(w, r)
					return
				}
				response(w, r, serve)
			}))
			t.Cleanup(server.Close)
			return openTest(t, server.URL+"/a", noEnv)
		},
		"hub": func(t *testing.T, response replace) Source {
			t.Helper()
			server := fakeHub(t, "", map[string][]byte{"a": content})
			files := server.Config.Handler
			server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/resolve/") {
					response(w, r, serve)
					return
				}
				files.ServeHTTP(w, r)
			})
			return openTest(t, "hf://org/model", envOf(map[string]string{"HF_ENDPOINT": server.URL}))
		},
		"azure": func(t *testing.T, response replace) Source {
			t.Helper()
			server := fakeAzure(t, map[string][]byte{"m/a": content}, allowAll)
			files := server.Config.Handler
			server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("comp") == "" {
					w.Header().Set("Last-Modified", "Fri, 27 Nov 2026 08:00:00 GMT")
					w.Header().Set("ETag", `"0x1"`)
					response(w, r, files.ServeHTTP)
					return
				}
				files.ServeHTTP(w, r)
			})
			return openTest(t, "https://account.blob.core.windows.net/models/m", envOf(map[string]string{"AZURE_SERVICE_URL": server.URL}))
		},
		"s3": func(t *testing.T, response replace) Source {
			t.Helper()
			type object struct {
				Key, LastModified, ETag string
				Size                    int
			}
			type listing struct {
				XMLName  xml.Name `xml:"ListBucketResult"`
				Contents []object
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Query().Get("list-type") != "":
					_ = xml.NewEncoder(w).Encode(listing{Contents: []object{{"m/a", "2026-01-01T00:00:00Z", "", len(content)}}})
				case r.Method == http.MethodHead:
				default:
					w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
					response(w, r, serve)
				}
			}))
			t.Cleanup(server.Close)
			awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": server.URL})
			return openTest(t, "s3://bucket/m", os.Getenv)
		},
		"gs": func(t *testing.T, response replace) Source {
			t.Helper()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/storage/v1/b/bucket/o") {
					fmt.Fprintf(w, `{"items": [{"name": "m/a", "size": "%d", "updated": "2026-01-01T00:00:00Z", "generation": "1"}]}`, len(content))
					return
				}
				w.Header().Set("X-Goog-Generation", "1")
				w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
				response(w, r, serve)
			}))
			t.Cleanup(server.Close)
			t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL, "http://"))
			return openTest(t, "gs://bucket/m", os.Getenv)
		},
	}
}

func TestStoresAreReadInRanges(t *testing.T) {
	content := pattern(3 * testRange)
	for store, open := range storesWith(content) {
		t.Run(store, func(t *testing.T) {
			source := open(t, func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(w, r) })
			dir := t.TempDir()
			if err := fetchInto(t, source, dir); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, map[string][]byte{"a": content})
		})
	}
}

// A server may send less than the requested range.
func TestShorterRangesResume(t *testing.T) {
	content := pattern(3 * testRange)
	for store, open := range storesWith(content) {
		t.Run(store, func(t *testing.T) {
			source := open(t, func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
				first := firstByte(requestedRange(r.Header), "bytes=")
				last := min(first+testRange/3, int64(len(content)-1))
				if w.Header().Get("ETag") == "" {
					w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content)))
				}
				w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content[first : last+1])
			})
			dir := t.TempDir()
			if err := fetchInto(t, source, dir); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, map[string][]byte{"a": content})
		})
	}
}

func TestFirstByte(t *testing.T) {
	for _, tc := range []struct {
		text, unit string
		want       int64
	}{
		{"", "bytes=", 0},
		{"bytes=5-9", "bytes=", 5},
		{"bytes=5-", "bytes=", 5},
		{"bytes 5-9/20", "bytes ", 5},
		{"bytes 5-9/*", "bytes ", 5},
		{"bytes */20", "bytes ", -1},
		{"", "bytes ", -1},
		{"items 5-9/20", "bytes ", -1},
		{"bytes x-9/20", "bytes ", -1},
	} {
		if got := firstByte(tc.text, tc.unit); got != tc.want {
			t.Errorf("%q begins at %d, want %d", tc.text, got, tc.want)
		}
	}
}
