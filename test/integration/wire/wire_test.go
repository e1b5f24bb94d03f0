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

// server counts the requests that get through to it.
func server(t *testing.T) (string, *atomic.Int32) {
	t.Helper()
	var heard atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, &heard
}

// ask sends one request through the wire.
func ask(t *testing.T, w *Wire, method, url string) (int, error) {
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

func TestWritesAreListed(t *testing.T) {
	url, _ := server(t)
	w := New()
	for _, request := range []struct{ method, path string }{
		{http.MethodGet, routePath},
		{http.MethodPatch, routePath},
		{http.MethodPost, eventsPath},
		{http.MethodPatch, statusPath},
		{http.MethodDelete, routePath},
		{http.MethodGet, "/version"},
	} {
		if _, err := ask(t, w, request.method, url+request.path); err != nil {
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

func TestFates(t *testing.T) {
	for name, test := range map[string]struct {
		fate      Fate
		wantCode  int
		wantErr   error
		wantHeard int32
	}{
		"through":             {Through(), http.StatusOK, nil, 1},
		"answered":            {Answered(http.StatusConflict, metav1.StatusReasonConflict, "stale"), http.StatusConflict, nil, 0},
		"cut":                 {Cut(), 0, ErrCut, 0},
		"answer lost":         {AnswerLost(), 0, ErrCut, 1},
		"fatal":               {Fatal(), 0, ErrCut, 1},
		"timed out, not done": {Cut().TimedOut(), 0, context.DeadlineExceeded, 0},
		"timed out, done":     {AnswerLost().TimedOut(), 0, context.DeadlineExceeded, 1},
		"late":                {Through().Late(time.Millisecond), http.StatusOK, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			url, heard := server(t)
			w := New()
			w.Play(func(Write) Fate { return test.fate })
			code, err := ask(t, w, http.MethodPatch, url+routePath)
			if code != test.wantCode || !errors.Is(err, test.wantErr) || heard.Load() != test.wantHeard {
				t.Errorf("the client sees %d and %v, the server hears %d; want %d, %v and %d",
					code, err, heard.Load(), test.wantCode, test.wantErr, test.wantHeard)
			}
		})
	}
}

func TestScriptsLeaveReadsAndEventsAlone(t *testing.T) {
	url, _ := server(t)
	w := New()
	w.Play(func(Write) Fate { return Cut() })
	for method, path := range map[string]string{http.MethodGet: routePath, http.MethodPost: eventsPath} {
		if code, err := ask(t, w, method, url+path); code != http.StatusOK || err != nil {
			t.Errorf("%s %s: %d, %v", method, path, code, err)
		}
	}
}

func TestDieAfter(t *testing.T) {
	url, heard := server(t)
	w := New()
	w.Play(DieAfter(2))
	if _, err := ask(t, w, http.MethodPatch, url+routePath); err != nil {
		t.Errorf("the first write: %v", err)
	}
	select {
	case <-w.Died():
		t.Error("it died after the first write")
	default:
	}
	for _, method := range []string{http.MethodPatch, http.MethodPatch, http.MethodGet} {
		if _, err := ask(t, w, method, url+routePath); !errors.Is(err, ErrCut) {
			t.Errorf("%s after death: %v, want %v", method, err, ErrCut)
		}
	}
	<-w.Died()
	if heard.Load() != 2 {
		t.Errorf("the server heard %d requests, want 2", heard.Load())
	}
}

func TestLag(t *testing.T) {
	url, _ := server(t)
	w := New()
	w.Lag("httproutes", 20*time.Millisecond)
	for query, want := range map[string]time.Duration{"?watch=true": 20 * time.Millisecond, "": 0} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+strings.TrimSuffix(routePath, "/iris")+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := w.Wrap(http.DefaultTransport).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := io.ReadAll(response.Body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < want {
			t.Errorf("%q is read after %s, want %s at least", query, took, want)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
