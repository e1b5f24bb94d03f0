// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	routePath  = "/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/iris"
	statusPath = "/apis/serving.kserve.io/v1beta1/namespaces/ns/inferenceservices/iris/status"
	eventsPath = "/apis/events.k8s.io/v1/namespaces/ns/events"
)

// countingServer starts a server and returns its URL and the number of requests that it got.
func countingServer(t *testing.T) (string, *atomic.Int32) {
	t.Helper()
	var received atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { received.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, &received
}

func send(t *testing.T, w *Wire, method, url string) (int, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := w.Wrap(http.DefaultTransport).RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestWrites(t *testing.T) {
	url, _ := countingServer(t)
	w := New()
	for _, request := range []struct{ method, path string }{
		{http.MethodGet, routePath},
		{http.MethodPatch, routePath},
		{http.MethodPost, eventsPath},
		{http.MethodPatch, statusPath},
		{http.MethodDelete, routePath},
		{http.MethodGet, "/version"},
	} {
		if _, err := send(t, w, request.method, url+request.path); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, write := range w.Writes() {
		got = append(got, write.String())
	}
	want := []string{"patch httproutes iris", "patch inferenceservices/status iris", "delete httproutes iris"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Writes() (-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault        Fault
		wantCode     int
		wantErr      error
		wantReceived int32
	}{
		"no fault":                 {NoFault(), http.StatusOK, nil, 1},
		"error response":           {ErrorResponse(http.StatusConflict, metav1.StatusReasonConflict, "stale"), http.StatusConflict, nil, 0},
		"request lost":             {RequestLost(), 0, errConnectionLost, 0},
		"response lost":            {ResponseLost(), 0, errConnectionLost, 1},
		"client crash":             {clientCrash(), 0, errConnectionLost, 1},
		"request lost, timed out":  {RequestLost().TimedOut(), 0, context.DeadlineExceeded, 0},
		"response lost, timed out": {ResponseLost().TimedOut(), 0, context.DeadlineExceeded, 1},
		"delayed":                  {NoFault().Delayed(time.Millisecond), http.StatusOK, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			url, received := countingServer(t)
			w := New()
			w.Inject(func(Write) Fault { return test.fault })
			code, err := send(t, w, http.MethodPatch, url+routePath)
			if code != test.wantCode || !errors.Is(err, test.wantErr) || received.Load() != test.wantReceived {
				t.Errorf("the client got %d and %v, the server got %d requests; want %d, %v and %d",
					code, err, received.Load(), test.wantCode, test.wantErr, test.wantReceived)
			}
		})
	}
}

func TestReadsAndEventsAreNotFaulted(t *testing.T) {
	url, _ := countingServer(t)
	w := New()
	w.Inject(func(Write) Fault { return RequestLost() })
	for method, path := range map[string]string{http.MethodGet: routePath, http.MethodPost: eventsPath} {
		if code, err := send(t, w, method, url+path); code != http.StatusOK || err != nil {
			t.Errorf("%s %s: %d, %v", method, path, code, err)
		}
	}
}

func TestCrashAfter(t *testing.T) {
	url, received := countingServer(t)
	w := New()
	w.Inject(CrashAfter(2))
	if _, err := send(t, w, http.MethodPatch, url+routePath); err != nil {
		t.Errorf("first write: %v", err)
	}
	select {
	case <-w.Crashed():
		t.Error("the client crashed after the first write")
	default:
	}
	for _, method := range []string{http.MethodPatch, http.MethodPatch, http.MethodGet} {
		if _, err := send(t, w, method, url+routePath); !errors.Is(err, errConnectionLost) {
			t.Errorf("%s after the crash: %v, want %v", method, err, errConnectionLost)
		}
	}
	<-w.Crashed()
	if received.Load() != 2 {
		t.Errorf("the server got %d requests, want 2", received.Load())
	}
}

func TestDelayWatch(t *testing.T) {
	url, _ := countingServer(t)
	w := New()
	w.DelayWatch("httproutes", 20*time.Millisecond)
	for query, want := range map[string]time.Duration{"?watch=true": 20 * time.Millisecond, "": 0} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+strings.TrimSuffix(routePath, "/iris")+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := w.Wrap(http.DefaultTransport).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := io.ReadAll(response.Body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < want {
			t.Errorf("%q was read after %s, want at least %s", query, took, want)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
