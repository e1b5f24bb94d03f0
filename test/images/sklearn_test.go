// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/serinus-io/serinus/test/e2e/prober"
)

const (
	predictPath = "/v1/models/sklearn-iris:predict"
	example     = `{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}`
	// different are flowers that the two models classify differently.
	different = `{"instances": [[6.0, 2.7, 5.1, 1.6], [4.9, 2.5, 4.5, 1.7]]}`
)

func TestModelServer(t *testing.T) {
	c := open(t)
	t.Run("answers as KServe's does", func(t *testing.T) { testAnswers(t, c) })
	t.Run("serves the second model", func(t *testing.T) { testSecondModel(t, c) })
	t.Run("drains after SIGTERM", func(t *testing.T) { testDrain(t, c) })
	t.Run("is not ready while it loads", func(t *testing.T) { testLoading(t, c) })
	t.Run("refuses a folder without a model", func(t *testing.T) { testNoModel(t, c) })
}

func testAnswers(t *testing.T, c *container) {
	s := c.start(t, c.model("model"))
	s.await(t, "/v1/models/sklearn-iris", http.StatusOK)
	for _, exchange := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 200, `{"status": "alive"}`},
		{"GET", "/v1/models", "", 200, `{"models": ["sklearn-iris"]}`},
		{"GET", "/v1/models/sklearn-iris", "", 200, `{"name": "sklearn-iris", "ready": true}`},
		{"GET", "/v2/health/live", "", 200, `{"live": true}`},
		{"GET", "/v2/health/ready", "", 200, `{"ready": true}`},
		{"GET", "/v2/models/sklearn-iris/ready", "", 200, `{"name": "sklearn-iris", "ready": true}`},
		{"GET", "/v1/models/other", "", 404, "Model with name other does not exist."},
		{"GET", "/elsewhere", "", 404, "There is nothing at /elsewhere"},
		{"POST", predictPath, example, 200, `{"predictions": [1, 1]}`},
		{"POST", predictPath, different, 200, `{"predictions": [2, 1]}`},
		{"POST", "/v1/models/other:predict", example, 404, "Model with name other does not exist."},
		{"POST", predictPath, "{", 400, "Unrecognized request format"},
		{"POST", predictPath, "[]", 400, "to be a list"},
		{"POST", predictPath, `{"instances": [[1, 2, 3]]}`, 400, "expecting 4 features"},
		{"POST", predictPath, `{"instances": [[1, 2], [1]]}`, 400, "inhomogeneous"},
		{"POST", predictPath, strings.Repeat("[", 5000), 400, "Unrecognized request format"},
		{"PUT", "/v1/models", "", 501, "Unsupported method"},
	} {
		response, body, err := s.ask(t.Context(), exchange.method, exchange.path, exchange.body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != exchange.status || !strings.Contains(body, exchange.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", exchange.method, exchange.path, response.StatusCode, body, exchange.status, exchange.want)
		}
		if got := prober.RevisionOfPod(response.Header.Get(prober.ServedByHeader)); got != "sklearn-iris-predictor-00001" {
			t.Errorf("%s %s: answered by %q", exchange.method, exchange.path, got)
		}
	}
}

func testSecondModel(t *testing.T, c *container) {
	s := c.start(t, c.model("model-2"))
	s.await(t, "/v1/models/sklearn-iris", http.StatusOK)
	for request, want := range map[string]string{example: `{"predictions": [1, 1]}`, different: `{"predictions": [1, 2]}`} {
		if _, body, err := s.ask(t.Context(), http.MethodPost, predictPath, request); err != nil || body != want {
			t.Errorf("%s: got %s, %v; want %s", request, body, err, want)
		}
	}
}

func testDrain(t *testing.T, c *container) {
	s := c.start(t, c.model("model"), "DRAIN_SECONDS=1")
	s.await(t, "/v1/models/sklearn-iris", http.StatusOK)
	begin := time.Now()
	s.terminate(t)
	answered := false
	for time.Since(begin) < 800*time.Millisecond {
		response, body, err := s.ask(t.Context(), http.MethodPost, predictPath, example)
		if err != nil {
			t.Fatalf("%s after SIGTERM: %v", time.Since(begin), err)
		}
		if response.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", response.StatusCode, body)
		}
		answered = answered || response.Close
	}
	if !answered {
		t.Error("no response asked to close the connection")
	}
	if err := s.waitEnd(t); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begin); took < time.Second || took > 5*time.Second {
		t.Errorf("it ended after %s, want about 1s", took)
	}
}

// A named pipe instead of a model file keeps the server loading.
func testLoading(t *testing.T, c *container) {
	s := c.start(t, func(folder string) error {
		return unix.Mkfifo(filepath.Join(folder, "model.joblib"), 0o644)
	}, "LISTEN_WHILE_LOADING=true")
	s.await(t, "/v2/health/live", http.StatusOK)
	for _, path := range []string{"/v1/models/sklearn-iris", "/v2/health/ready"} {
		response, body, err := s.ask(t.Context(), http.MethodGet, path, "")
		if err != nil || response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "Model with name sklearn-iris is not ready.") {
			t.Errorf("%s: got %v %s, %v", path, response, body, err)
		}
	}
}

func testNoModel(t *testing.T, c *container) {
	for _, listen := range []string{"false", "true"} {
		s := c.start(t, func(string) error { return nil }, "LISTEN_WHILE_LOADING="+listen)
		if err := s.waitEnd(t); err == nil {
			t.Errorf("LISTEN_WHILE_LOADING=%s: it ended without an error", listen)
		}
	}
}
