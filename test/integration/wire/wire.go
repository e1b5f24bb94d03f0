// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire stands between a client and the API server. It keeps a list of what the client writes, and lets writes
// fail in every way in which a network, an API server or the client's own process can fail.
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

// ErrCut is what a client is told of a request that never got through, or whose answer was lost.
var ErrCut = errors.New("the connection was cut")

// Write is one request that asks the API server to change something.
type Write struct {
	// Verb is create, update, patch, delete or deletecollection.
	Verb        string
	Resource    string
	Subresource string
	Namespace   string
	// Name is empty for what is created: it is not in the URL then.
	Name string
	// Code is the HTTP status that the client saw; 0 when it saw none.
	Code int
}

// String says what is written: «patch inferenceservices/status sklearn-iris».
func (w Write) String() string {
	resource := w.Resource
	if w.Subresource != "" {
		resource += "/" + w.Subresource
	}
	return strings.TrimSpace(w.Verb + " " + resource + " " + w.Name)
}

// Fate is what becomes of a write.
type Fate struct {
	delay          time.Duration
	code           int
	reason         metav1.StatusReason
	message        string
	cut, lost, die bool
	timedOut       bool
}

// Through lets a write through.
func Through() Fate { return Fate{} }

// Answered has the API server answer with an error instead of doing what is asked.
func Answered(code int, reason metav1.StatusReason, message string) Fate {
	return Fate{code: code, reason: reason, message: message}
}

// Cut loses the request: nothing is done.
func Cut() Fate { return Fate{cut: true} }

// AnswerLost loses the answer: it is done, and the client does not know.
func AnswerLost() Fate { return Fate{lost: true} }

// Fatal is the last that the client does: the write is done, its answer is not heard, and no request gets through any
// more.
func Fatal() Fate { return Fate{lost: true, die: true} }

// Late is the same, later.
func (f Fate) Late(delay time.Duration) Fate {
	f.delay = delay
	return f
}

// TimedOut is the same, but where the client hears nothing, it gives up waiting.
func (f Fate) TimedOut() Fate {
	f.timedOut = true
	return f
}

// silence is what a client is told that hears nothing.
func (f Fate) silence() error {
	if f.timedOut {
		return context.DeadlineExceeded
	}
	return ErrCut
}

// Script decides the fate of each write but those of events. It is called for one write at a time.
type Script func(Write) Fate

// DieAfter lets so many writes through, the last of which is fatal.
func DieAfter(writes int) Script {
	return func(Write) Fate {
		if writes--; writes <= 0 {
			return Fatal()
		}
		return Through()
	}
}

// Wire is what a client talks through.
type Wire struct {
	mu     sync.Mutex
	script Script
	writes []Write
	last   time.Time
	lags   map[string]time.Duration
	dead   bool
	died   chan struct{}
}

// New makes a wire that lets everything through.
func New() *Wire {
	return &Wire{died: make(chan struct{}), last: time.Now(), lags: map[string]time.Duration{}}
}

// Wrap puts the wire before a transport. It is meant for rest.Config.Wrap.
func (w *Wire) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return w.send(r, next) })
}

// Play decides the fate of the writes from now on; nil lets them through.
func (w *Wire) Play(script Script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.script = script
}

// Lag has the client hear of changes of a resource late: what it caches is as old as that.
func (w *Wire) Lag(resource string, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lags[resource] = delay
}

func (w *Wire) lag(resource string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lags[resource]
}

// lateBody is the stream of a watch that is read late.
type lateBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // It is the request's, and ends with the stream.
	delay func() time.Duration
}

// Read waits with what it has read.
func (b lateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if waitErr := wait(b.ctx, b.delay()); waitErr != nil && err == nil {
		err = waitErr
	}
	return n, err
}

// wait waits, unless the context ends before.
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

// Writes lists the writes so far, but for those of events, in the order in which they were answered.
func (w *Wire) Writes() []Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.writes)
}

// Idle is how long ago the last write was answered.
func (w *Wire) Idle() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.last)
}

// Died is closed after a fatal write.
func (w *Wire) Died() <-chan struct{} { return w.died }

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip makes the function a transport.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *Wire) send(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	write, isWrite, err := parse(r)
	if err != nil {
		return nil, err
	}
	fate, alive := w.fate(write, isWrite)
	if !alive {
		return nil, ErrCut
	}
	response, err := fate.meet(r, next)
	if write.Verb == "watch" && err == nil {
		response.Body = lateBody{response.Body, r.Context(), func() time.Duration { return w.lag(write.Resource) }}
	}
	if fate.die {
		close(w.died)
	}
	if isWrite && write.Resource != "events" {
		if response != nil {
			write.Code = response.StatusCode
		}
		w.mu.Lock()
		w.writes, w.last = append(w.writes, write), time.Now()
		w.mu.Unlock()
	}
	return response, err
}

// fate decides what becomes of a request, and whether the client still lives to send it.
func (w *Wire) fate(write Write, isWrite bool) (Fate, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return Fate{}, false
	}
	if !isWrite || w.script == nil || write.Resource == "events" {
		return Through(), true
	}
	fate := w.script(write)
	w.dead = fate.die
	return fate, true
}

func (f Fate) meet(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	if err := wait(r.Context(), f.delay); err != nil {
		return nil, err
	}
	switch {
	case f.cut:
		return nil, f.silence()
	case f.code != 0:
		return f.answer(r)
	}
	response, err := next.RoundTrip(r)
	if err != nil || !f.lost {
		return response, err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return nil, f.silence()
}

func (f Fate) answer(r *http.Request) (*http.Response, error) {
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

// parse tells what a request asks for, and whether that is a change.
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
