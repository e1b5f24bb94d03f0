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
	answerTimeout = 30 * time.Second
	// maxSilence is how long nothing may come of an answer. Without it a store that
	// stops in the middle of an object holds the pod for ever, and nobody is told.
	maxSilence = time.Minute
)

// trust says which servers are believed to be who they say.
type trust struct {
	// anybody leaves the certificates unchecked.
	anybody bool
	// roots are the authorities; nil means those of the system.
	roots *x509.CertPool
}

// newTransport is how all stores are reached. An answer may take hours, but not
// stop.
func newTransport(t trust) http.RoundTripper {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{}
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = answerTimeout
	transport.MaxIdleConnsPerHost = maxWorkers
	transport.DisableCompression = true // The size and the checksum are of what is stored.
	transport.ForceAttemptHTTP2 = false // One connection for each range is faster than one for all.
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	transport.TLSClientConfig = &tls.Config{RootCAs: t.roots, InsecureSkipVerify: t.anybody} //nolint:gosec // Only if it was asked for.
	return ranged{watched{transport, maxSilence}}
}

// withoutRedirects returns a client that leaves redirects to its caller. The
// object stores need none: a redirect would carry the credentials along, and a
// signature is valid for one host.
func withoutRedirects(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// refusesRedirects turns redirects into errors, below clients that would add a
// token to every request.
type refusesRedirects struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (r refusesRedirects) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.RoundTripper.RoundTrip(request)
	if err != nil || answer.StatusCode < http.StatusMultipleChoices || answer.StatusCode >= http.StatusBadRequest {
		return answer, err
	}
	return nil, errors.Join(refusal{status: answer.StatusCode, location: answer.Header.Get("Location")}, answer.Body.Close())
}

// ranged refuses answers with another range than the requested one, which some
// caches send.
type ranged struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (r ranged) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	asked := askedRange(request.Header)
	got := answer.Header.Get("Content-Range")
	isWrong := false
	switch answer.StatusCode {
	case http.StatusPartialContent:
		isWrong = firstByte(got, "bytes ") != firstByte(asked, "bytes=")
	case http.StatusOK:
		isWrong, got = firstByte(asked, "bytes=") > 0, "everything"
	}
	if !isWrong {
		return answer, nil
	}
	return nil, errors.Join(wrongRange{asked: asked, got: cmp.Or(got, "no Content-Range")}, answer.Body.Close())
}

// askedRange returns the requested range. Azure's client uses its own header, in
// lower case.
func askedRange(header http.Header) string {
	for name, values := range header {
		if len(values) > 0 && (strings.EqualFold(name, "Range") || strings.EqualFold(name, "X-Ms-Range")) {
			return values[0]
		}
	}
	return ""
}

// firstByte returns where a range begins: 0 if no range is requested, -1 if it cannot be parsed.
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

// wrongRange is the error of an answer with another range than the requested one.
type wrongRange struct{ asked, got string }

func (e wrongRange) Error() string {
	return fmt.Sprintf("the server was asked for %q and has sent %q", e.asked, e.got)
}

// watched ends requests whose answers have stopped to come.
type watched struct {
	http.RoundTripper
	silence time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	silent := silence{request.URL.Host, w.silence}
	timer := time.AfterFunc(w.silence, func() { cancel(silent) })
	answer, err := w.RoundTripper.RoundTrip(request.WithContext(ctx))
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		return nil, reason(ctx, err, silent)
	}
	answer.Body = &watchedBody{ReadCloser: answer.Body, ctx: ctx, cancel: cancel, timer: timer, silence: w.silence, silent: silent}
	return answer, nil
}

// silence is the error of an answer that has stopped to arrive.
type silence struct {
	host string
	time time.Duration
}

func (s silence) Error() string {
	return fmt.Sprintf("nothing has come from %s for %s", s.host, s.time)
}

// reason puts the silence in the place of the cancellation that it has led to.
func reason(ctx context.Context, err, silent error) error {
	if err != nil && context.Cause(ctx) == silent { //nolint:errorlint // It is this one, or not.
		return silent
	}
	return err
}

type watchedBody struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	silence time.Duration
	silent  error
}

// Read counts the time of the store only, and not that of whoever writes what has come to a disk.
func (b *watchedBody) Read(into []byte) (int, error) {
	b.timer.Reset(b.silence)
	n, err := b.ReadCloser.Read(into)
	b.timer.Stop()
	return n, reason(b.ctx, err, b.silent)
}

// Close ends what is left of the answer, and the watch.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
