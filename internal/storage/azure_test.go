// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// fakeAzure implements the part of Azure Blob Storage's REST API that the source needs: listing a
// container and reading ranges of blobs. There is no emulator that the tests could build.
func fakeAzure(t *testing.T, content map[string][]byte, allowed func(*http.Request) bool) *httptest.Server {
	t.Helper()
	const modified = "Fri, 27 Nov 2026 08:00:00 GMT"
	type properties struct {
		LastModified  string `xml:"Last-Modified"`
		Etag          string `xml:"Etag"`
		ContentLength int    `xml:"Content-Length"`
		BlobType      string `xml:"BlobType"`
	}
	type blob struct {
		Name       string     `xml:"Name"`
		Properties properties `xml:"Properties"`
	}
	type listing struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Blobs   []blob   `xml:"Blobs>Blob"`
	}
	refuse := func(w http.ResponseWriter, status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, below := strings.CutPrefix(r.URL.Path, "/models")
		query := r.URL.Query()
		switch {
		case !allowed(r):
			refuse(w, http.StatusForbidden, "AuthenticationFailed")
		case !below:
			refuse(w, http.StatusNotFound, "ContainerNotFound")
		case query.Get("comp") == "list":
			var found listing
			for blobName, data := range content {
				if strings.HasPrefix(blobName, query.Get("prefix")) {
					found.Blobs = append(found.Blobs, blob{blobName, properties{modified, "0x1", len(data), "BlockBlob"}})
				}
			}
			_ = xml.NewEncoder(w).Encode(found)
		default:
			data := content[strings.TrimPrefix(name, "/")]
			if wanted := r.Header.Get("X-Ms-Range"); wanted != "" {
				r.Header.Set("Range", wanted)
			}
			at, _ := time.Parse(time.RFC1123, modified)
			w.Header().Set("ETag", `"0x1"`)
			http.ServeContent(w, r, "", at, bytes.NewReader(data))
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func allowAll(*http.Request) bool { return true }

func TestAzureRanges(t *testing.T) {
	files := map[string][]byte{"a": pattern(3*testRange + 1), "sub/b": pattern(1)}
	server := fakeAzure(t, map[string][]byte{"iris/a": files["a"], "iris/sub/b": files["sub/b"], "iris-2/a": pattern(5)}, allowAll)
	env := envOf(map[string]string{"AZURE_SERVICE_URL": server.URL})
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, "https://account.blob.core.windows.net/models/iris", env), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, files)
	missing := openTest(t, "https://account.blob.core.windows.net/elsewhere/iris", env)
	wantKind(t, fetchInto(t, missing, t.TempDir()), Missing, "https://account.blob.core.windows.net/elsewhere/iris")
}

func TestAzureAccountKey(t *testing.T) {
	content := map[string][]byte{"iris/a": pattern(10)}
	server := fakeAzure(t, content, func(r *http.Request) bool {
		return strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey account:")
	})
	env := map[string]string{
		"AZURE_SERVICE_URL": server.URL, "AZURE_STORAGE_ACCESS_KEY": base64.StdEncoding.EncodeToString([]byte("secret")),
	}
	const uri = "https://account.blob.core.windows.net/models/iris"
	dir := t.TempDir()
	if err := fetchInto(t, openTest(t, uri, envOf(env)), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": content["iris/a"]})
	delete(env, "AZURE_STORAGE_ACCESS_KEY")
	wantKind(t, fetchInto(t, openTest(t, uri, envOf(env)), t.TempDir()), Forbidden)
}
