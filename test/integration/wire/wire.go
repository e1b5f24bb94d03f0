// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire intercepts the requests of one client to the API server. It records the writes and
// injects faults of the network, the API server or the client's process.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// errConnectionLost is the client's error if a request or its response was lost.
var errConnectionLost = errors.New("connection lost")

// Write is a request that changes an object.
type Write struct {
	// Verb is create, update, patch, delete or deletecollection.
	Verb        string
	Resource    string
	Subresource string
	Namespace   string
	// Name is empty for create requests, whose URL has no name.
	Name string
	// Code is the HTTP status of the response, or 0 if the client got no response.
	Code int
}

// String returns the verb, the resource and the name, as in "patch inferenceservices/status
// sklearn-iris".
func (w Write) String() string {
	resource := w.Resource
	if w.Subresource != "" {
		resource += "/" + w.Subresource
	}
	return strings.TrimSpace(w.Verb + " " + resource + " " + w.Name)
}

// Fault describes what happens to a write.
type Fault struct {
	delay                            time.Duration
	code                             int
	reason                           metav1.StatusReason
	message                          string
	requestLost, responseLost, crash bool
	timedOut                         bool
}

// NoFault passes a write to the API server.
func NoFault() Fault { return Fault{} }

// ErrorResponse returns an error to the client instead of passing the write to the API server.
func ErrorResponse(code int, reason metav1.StatusReason, message string) Fault {
	return Fault{code: code, reason: reason, message: message}
}

// RequestLost drops the request.
func RequestLost() Fault { return Fault{requestLost: true} }

// ResponseLost passes the write to the API server and drops the response.
func ResponseLost() Fault { return Fault{responseLost: true} }

// clientCrash passes the write to the API server and drops the response and all later requests.
func clientCrash() Fault { return Fault{responseLost: true, crash: true} }

// Delayed returns a fault that happens after a delay.
func (f Fault) Delayed(delay time.Duration) Fault {
	f.delay = delay
	return f
}

// TimedOut returns a fault whose error is a timeout if the request or the response is lost.
func (f Fault) TimedOut() Fault {
	f.timedOut = true
	return f
}

func (f Fault) lostErr() error {
	if f.timedOut {
		return context.DeadlineExceeded
	}
	return errConnectionLost
}

// Injector returns the fault for each write except those of Events. It is called for one write at a
// time.
type Injector func(Write) Fault

// CrashAfter crashes the client with the given number of writes.
func CrashAfter(writes int) Injector {
	return func(Write) Fault {
		if writes--; writes <= 0 {
			return clientCrash()
		}
		return NoFault()
	}
}

// Wire is a transport that records the writes of one client and injects faults.
type Wire struct {
	mu          sync.Mutex
	injector    Injector
	writes      []Write
	lastWrite   time.Time
	watchDelays map[string]time.Duration
	crashed     bool
	crashedCh   chan struct{}
}

// New returns a Wire without faults.
func New() *Wire {
	return &Wire{crashedCh: make(chan struct{}), lastWrite: time.Now(), watchDelays: map[string]time.Duration{}}
}

// Wrap returns a transport that goes through the wire. It is meant for rest.Config.Wrap.
func (w *Wire) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return w.send(r, next) })
}

// Inject sets the injector for the writes from now on. With nil there are no faults.
func (w *Wire) Inject(injector Injector) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.injector = injector
}

// DelayWatch delays the watch events of a resource, so that the client's cache is stale.
func (w *Wire) DelayWatch(resource string, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchDelays[resource] = delay
}

func (w *Wire) watchDelay(resource string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watchDelays[resource]
}

// delayedBody is the delayed stream of a watch.
type delayedBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // It is the request's, and ends with the stream.
	delay func() time.Duration
}

// Read reads, and then waits for the delay.
func (b delayedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if waitErr := wait(b.ctx, b.delay()); waitErr != nil && err == nil {
		err = waitErr
	}
	return n, err
}

func wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Writes returns the writes so far except those of Events, in the order of their responses.
func (w *Wire) Writes() []Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.writes)
}

// Idle returns the time since the response to the last write.
func (w *Wire) Idle() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.lastWrite)
}

// Crashed returns a channel that is closed after the fault clientCrash.
func (w *Wire) Crashed() <-chan struct{} { return w.crashedCh }

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *Wire) send(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	write, isWrite, err := parse(r)
	if err != nil {
		return nil, err
	}
	fault, running := w.fault(write, isWrite)
	if !running {
		return nil, errConnectionLost
	}
	response, err := fault.roundTrip(r, next)
	if write.Verb == "watch" && err == nil {
		response.Body = delayedBody{response.Body, r.Context(), func() time.Duration { return w.watchDelay(write.Resource) }}
	}
	if fault.crash {
		close(w.crashedCh)
	}
	if isWrite && write.Resource != "events" {
		if response != nil {
			write.Code = response.StatusCode
		}
		w.mu.Lock()
		w.writes, w.lastWrite = append(w.writes, write), time.Now()
		w.mu.Unlock()
	}
	return response, err
}

// fault returns the fault for a request, and false if the client has crashed.
func (w *Wire) fault(write Write, isWrite bool) (Fault, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed {
		return Fault{}, false
	}
	if !isWrite || w.injector == nil || write.Resource == "events" {
		return NoFault(), true
	}
	fault := w.injector(write)
	w.crashed = fault.crash
	return fault, true
}

func (f Fault) roundTrip(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	if err := wait(r.Context(), f.delay); err != nil {
		return nil, err
	}
	switch {
	case f.requestLost:
		return nil, f.lostErr()
	case f.code != 0:
		return f.errorResponse(r)
	}
	response, err := next.RoundTrip(r)
	if err != nil || !f.responseLost {
		return response, err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return nil, f.lostErr()
}

func (f Fault) errorResponse(r *http.Request) (*http.Response, error) {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(f.code), Reason: f.reason, Message: f.message,
	})
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(f.code), StatusCode: f.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Content-Type": {"application/json"}},
		Body:    io.NopCloser(bytes.NewReader(body)),
		Request: r,
	}, nil
}

var requests = request.RequestInfoFactory{
	APIPrefixes:          sets.NewString("api", "apis"),
	GrouplessAPIPrefixes: sets.NewString("api"),
}

// parse returns what a request refers to, and whether it is a write.
func parse(r *http.Request) (Write, bool, error) {
	info, err := requests.NewRequestInfo(r)
	if err != nil {
		return Write{}, false, fmt.Errorf("parsing %s %s: %w", r.Method, r.URL, err)
	}
	write := Write{
		Verb: info.Verb, Resource: info.Resource, Subresource: info.Subresource, Namespace: info.Namespace, Name: info.Name,
	}
	return write, info.IsResourceRequest && r.Method != http.MethodGet, nil
}
