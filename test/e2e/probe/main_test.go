// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func probe(t *testing.T, handler http.HandlerFunc, args ...string) error {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	o, err := parse(append([]string{"-gateway", server.Listener.Addr().String(), "-host", "iris.example.com"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	o.config.MaxRequests = 50
	return run(t.Context(), o)
}

func TestProbeWritesThePicture(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "shares.svg")
	err := probe(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Served-By", "iris-predictor-00001-deployment-7965bcc66-grdbq")
		fmt.Fprint(w, "{}")
	}, "-svg", picture)
	if err != nil {
		t.Fatal(err)
	}
	if svg, err := os.ReadFile(picture); err != nil || !strings.Contains(string(svg), "iris-predictor-00001 answered 50") {
		t.Errorf("%v: %s", err, svg)
	}
}

func TestProbeFailsIfRequestsFail(t *testing.T) {
	if err := probe(t, http.NotFound); !errors.Is(err, errFailed) || !strings.Contains(err.Error(), "50 of 50 requests failed (50 HTTP 404)") {
		t.Errorf("%v", err)
	}
}

func TestProbeRequiresAHost(t *testing.T) {
	if _, err := parse(nil); err == nil || !strings.Contains(err.Error(), "-host is missing") {
		t.Errorf("%v", err)
	}
}
