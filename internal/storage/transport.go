// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
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
	return watched{transport, maxSilence}
}

// watched ends requests whose answers have stopped to come.
type watched struct {
	http.RoundTripper
	silence time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	silent := fmt.Errorf("nothing has come from %s for %s", request.URL.Host, w.silence)
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
