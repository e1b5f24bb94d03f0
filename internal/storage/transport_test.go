// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestIdleTimeout(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"before the response": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the response": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			client := http.Client{Transport: idleTimeoutTransport{http.DefaultTransport, 50 * time.Millisecond}}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				defer response.Body.Close()
				_, err = io.ReadAll(response.Body)
			}
			if err == nil || !strings.Contains(err.Error(), "no data has arrived from") {
				t.Fatalf("got error %v", err)
			}
			if errors.Is(err, context.Canceled) || !IsRetryable(err) {
				t.Errorf("%v is not retryable", err)
			}
		})
	}
}

// The clients' own retries must be disabled. Google's client retries forever.
func TestStoreIsDown(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for scheme, variable := range map[string]string{"gs": "STORAGE_EMULATOR_HOST", "s3": "AWS_ENDPOINT_URL"} {
		t.Run(scheme, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer server.Close()
			t.Setenv(variable, server.URL)
			source := openTest(t, scheme+"://bucket/model", os.Getenv)
			wantKind(t, fetchInto(t, source, t.TempDir()), Unavailable, "503")
			if requests.Load() != int64(fastOptions().Attempts) {
				t.Errorf("got %d requests, want %d", requests.Load(), fastOptions().Attempts)
			}
		})
	}
}

func emptyBucket(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>`)
}

func TestS3CABundle(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	server := httptest.NewUnstartedServer(http.HandlerFunc(emptyBucket))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // Some cases reject the certificate.
	server.StartTLS()
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_CA_BUNDLE", "")
	mounted := t.TempDir()
	bundle := filepath.Join(mounted, "cabundle.crt")
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, own, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		kind Kind
	}{
		"a file":              {map[string]string{"AWS_CA_BUNDLE": bundle}, Missing},
		"a ConfigMap":         {map[string]string{"CA_BUNDLE_CONFIGMAP_NAME": "ca", "CA_BUNDLE_VOLUME_MOUNT_POINT": mounted}, Missing},
		"no verification":     {map[string]string{"S3_VERIFY_SSL": "0"}, Missing},
		"system certificates": {nil, Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range tc.env {
				t.Setenv(key, value)
			}
			wantKind(t, fetchInto(t, openTest(t, "s3://bucket/model", os.Getenv), t.TempDir()), tc.kind)
		})
	}
	empty := envOf(map[string]string{"CA_BUNDLE_CONFIGMAP_NAME": "ca", "CA_BUNDLE_VOLUME_MOUNT_POINT": t.TempDir()})
	_, err := Open(t.Context(), "s3://bucket/model", empty)
	wantKind(t, err, Invalid, "ConfigMap ca", "the key cabundle.crt")
}

func TestS3PathStyle(t *testing.T) {
	for name, tc := range map[string]struct{ accelerate, virtual, pathStyle bool }{
		"default":                 {pathStyle: true},
		"with a virtual bucket":   {virtual: true},
		"accelerated":             {accelerate: true}, // The client rejects path style.
		"accelerated and virtual": {accelerate: true, virtual: true},
	} {
		t.Run(name, func(t *testing.T) {
			var options s3.Options
			setS3Options(&options, envOf(map[string]string{
				"S3_USE_ACCELERATE": strconv.FormatBool(tc.accelerate), "S3_USER_VIRTUAL_BUCKET": strconv.FormatBool(tc.virtual),
			}), trust{})
			if options.UsePathStyle != tc.pathStyle || options.UseAccelerate != tc.accelerate {
				t.Errorf("path style %v, accelerated %v", options.UsePathStyle, options.UseAccelerate)
			}
		})
	}
}

func TestRedirectDropsHeadersForAnotherHost(t *testing.T) {
	content := pattern(10)
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.CompareAndSwap(false, r.Header.Get("X-Api-Key") != "")
		serveContent("a", content).ServeHTTP(w, r)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.Redirect(w, r, elsewhere.URL+"/a", http.StatusFound)
	}))
	defer server.Close()
	dir := t.TempDir()
	with := envOf(map[string]string{strings.TrimPrefix(server.URL, "http://") + "-headers": `{"X-Api-Key": "secret"}`})
	if err := fetchInto(t, openTest(t, server.URL+"/a", with), dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string][]byte{"a": content})
	if leaked.Load() {
		t.Error("another host received the header")
	}
}

// A signature gives access to everyone who can read the status.
func TestErrorsDoNotContainSignatures(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL + "/m.bin?sig=hunter2"
	for _, kind := range []Kind{Missing, Unreachable} {
		err := fetchInto(t, openTest(t, address, noEnv), t.TempDir())
		wantKind(t, err, kind, "/m.bin?")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error contains the signature: %q", err)
		}
		server.Close()
	}
}
