// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	responseTimeout = 30 * time.Second
	// idleTimeout limits the time without data in a response. Without it, a store that stops
	// sending would block the pod forever.
	idleTimeout = time.Minute
)

type trust struct {
	skipVerify bool
	roots      *x509.CertPool
}

// newTransport returns the transport for all stores. A response may take hours, as long as data
// arrives.
func newTransport(t trust) http.RoundTripper {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{}
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = responseTimeout
	transport.MaxIdleConnsPerHost = maxWorkers
	transport.DisableCompression = true // Size and checksum are those of the stored content.
	transport.ForceAttemptHTTP2 = false // A connection per range is faster than a shared one.
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	transport.TLSClientConfig = &tls.Config{RootCAs: t.roots, InsecureSkipVerify: t.skipVerify} //nolint:gosec // Only if it was asked for.
	return rangeChecker{idleTimeoutTransport{transport, idleTimeout}}
}

// withoutRedirects returns a client that does not follow redirects. Following a redirect of an
// object store would leak credentials, and a signature is valid for one host only.
func withoutRedirects(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// redirectRefuser turns redirects into errors, for clients that add a token to every request.
type redirectRefuser struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (r redirectRefuser) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.RoundTripper.RoundTrip(request)
	if err != nil || response.StatusCode < http.StatusMultipleChoices || response.StatusCode >= http.StatusBadRequest {
		return response, err
	}
	return nil, errors.Join(responseError{status: response.StatusCode, location: response.Header.Get("Location")}, response.Body.Close())
}

// rangeChecker returns an error for a response with another range than the requested one. Some
// caches send such responses.
type rangeChecker struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (r rangeChecker) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	requested := requestedRange(request.Header)
	got := response.Header.Get("Content-Range")
	isWrong := false
	switch response.StatusCode {
	case http.StatusPartialContent:
		isWrong = firstByte(got, "bytes ") != firstByte(requested, "bytes=")
	case http.StatusOK:
		isWrong, got = firstByte(requested, "bytes=") > 0, "everything"
	}
	if !isWrong {
		return response, nil
	}
	return nil, errors.Join(wrongRange{requested: requested, got: cmp.Or(got, "no Content-Range")}, response.Body.Close())
}

// requestedRange returns the requested range. Azure's client uses a header of its own, in lower
// case.
func requestedRange(header http.Header) string {
	for name, values := range header {
		if len(values) > 0 && (strings.EqualFold(name, "Range") || strings.EqualFold(name, "X-Ms-Range")) {
			return values[0]
		}
	}
	return ""
}

// firstByte returns the first byte of a range: 0 if no range is requested, -1 if it is malformed.
func firstByte(text, unit string) int64 {
	if text == "" && unit == "bytes=" {
		return 0
	}
	first, isRange := strings.CutPrefix(text, unit)
	first, _, hasEnd := strings.Cut(first, "-")
	number, err := strconv.ParseInt(first, 10, 64)
	if !isRange || !hasEnd || err != nil {
		return -1
	}
	return number
}

type wrongRange struct{ requested, got string }

func (e wrongRange) Error() string {
	return fmt.Sprintf("the server was asked for %q but sent %q", e.requested, e.got)
}

// idleTimeoutTransport cancels requests whose response has stopped.
type idleTimeoutTransport struct {
	http.RoundTripper
	timeout time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (t idleTimeoutTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	idle := idleError{request.URL.Host, t.timeout}
	timer := time.AfterFunc(t.timeout, func() { cancel(idle) })
	response, err := t.RoundTripper.RoundTrip(request.WithContext(ctx))
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		return nil, idleCause(ctx, err, idle)
	}
	response.Body = &idleTimeoutBody{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, timeout: t.timeout, idle: idle}
	return response, nil
}

type idleError struct {
	host    string
	timeout time.Duration
}

func (e idleError) Error() string {
	return fmt.Sprintf("no data has arrived from %s for %s", e.host, e.timeout)
}

// idleCause replaces the error of a cancellation by the idle error that caused it.
func idleCause(ctx context.Context, err, idle error) error {
	if err != nil && context.Cause(ctx) == idle { //nolint:errorlint // It is this one, or not.
		return idle
	}
	return err
}

type idleTimeoutBody struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	timeout time.Duration
	idle    error
}

// Read runs the timer only while it waits for the store, not while the caller writes the data.
func (b *idleTimeoutBody) Read(into []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.ReadCloser.Read(into)
	b.timer.Stop()
	return n, idleCause(b.ctx, err, b.idle)
}

// Close closes the response and stops the timer.
func (b *idleTimeoutBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
