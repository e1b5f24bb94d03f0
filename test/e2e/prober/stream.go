// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sort"
	"strings"
	"time"
)

// stream sends the requests to one target. Streams share only the prober's lock, so a stalled
// stream does not delay the others.
type stream struct {
	prober      *Prober
	target      Target
	offset      time.Duration
	request     *http.Request
	kept, fresh *http.Transport

	// Guarded by the prober's lock.
	requests []slot // By due time, including those in flight.
	done     int    // The requests before this index are done.
	ended    bool   // No more requests are sent.
	failures []Failure
	examples map[Kind]int
	names    map[string]string // Interned names of revisions: a name would keep its response's header alive.
}

type slot struct {
	Request
	done bool
}

// newStream returns a stream whose first request is due after the given part of the interval
// between requests.
func newStream(p *Prober, target Target, gateway netip.AddrPort, part float64) *stream {
	return &stream{
		prober: p,
		target: target,
		offset: time.Duration(part / target.Rate * float64(time.Second)),
		request: &http.Request{
			Method:     http.MethodPost,
			URL:        &url.URL{Scheme: "http", Host: gateway.String(), Path: target.Path},
			Host:       target.Host,
			Header:     target.Header,
			Proto:      "HTTP/1.1",
			ProtoMajor: 1, ProtoMinor: 1,
			ContentLength: int64(len(target.Body)),
		},
		kept:     newTransport(p.config.dial, target.KeptAlive, true, target.HTTP2),
		fresh:    newTransport(p.config.dial, maxNewConnections, false, target.HTTP2),
		examples: map[Kind]int{},
		names:    map[string]string{},
	}
}

func newTransport(dial func(context.Context) (net.Conn, error), connections int, kept, http2 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		Protocols:           &protocols,
		Proxy:               nil,
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives:   !kept,
		DisableCompression:  true,
		MaxConnsPerHost:     connections,
		MaxIdleConnsPerHost: connections,
		// Shorter than the gateway's idle timeout: a request on a connection that the gateway is
		// closing would fail.
		IdleConnTimeout: idleConnTimeout,
	}
}

func (s *stream) due(i int) time.Duration {
	return s.offset + time.Duration(math.Round(float64(i)/s.target.Rate*float64(time.Second)))
}

// opens reports whether request i opens a new connection. Such requests are spread evenly.
func (s *stream) opens(i int) bool {
	share := *s.target.NewConnections
	return math.Floor(float64(i+1)*share) > math.Floor(float64(i)*share)
}

// run sends each request when it is due. If the process was not scheduled for a while, it sends the
// overdue requests at once, so that the total number of requests is correct.
func (s *stream) run(ctx context.Context) {
	requestCtx := context.WithoutCancel(ctx) // Requests in flight are not canceled when the stream ends.
	pacer := time.NewTimer(0)
	defer pacer.Stop()
	for i := 0; ; i++ {
		due := s.due(i)
		pacer.Reset(time.Until(s.prober.start.Add(due)))
		select {
		case <-pacer.C:
		case <-ctx.Done():
		}
		opens := s.opens(i)
		if !s.admit(ctx, due, opens) {
			return
		}
		s.prober.inFlight.Go(func() { s.probe(requestCtx, i, due, opens) })
	}
}

func (s *stream) admit(ctx context.Context, due time.Duration, opens bool) bool {
	p := s.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil && p.sent == p.config.MaxRequests {
		p.end(limitReached(fmt.Sprintf("the limit of %d requests", p.config.MaxRequests)))
	}
	if ctx.Err() != nil {
		s.ended = true
		p.recordEnd(context.Cause(ctx))
		p.notify()
		return false
	}
	p.sent++
	s.requests = append(s.requests, slot{Request: Request{Target: s.target.Name, Due: due, New: opens}})
	return true
}

func (s *stream) probe(ctx context.Context, i int, due time.Duration, opens bool) {
	start := s.prober.start
	late := time.Since(start) - due
	ctx, cancel := context.WithDeadline(ctx, start.Add(due+s.prober.config.Timeout))
	defer cancel()
	transport := s.kept
	switch {
	case opens && s.target.HTTP2:
		// An HTTP/2 transport would multiplex requests onto one connection, even with keep-alives
		// disabled.
		transport = newTransport(s.prober.config.dial, 1, false, true)
	case opens:
		transport = s.fresh
	}
	revision, kind, text := s.exchange(ctx, transport)
	latency := time.Since(start) - due

	p := s.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	request := &s.requests[i]
	request.done, request.Late, request.Latency, request.Error = true, late, latency, kind
	if kind == "" {
		request.Revision = s.intern(revision)
	} else if s.examples[kind] < p.config.MaxExamples {
		s.examples[kind]++
		s.failures = append(s.failures, Failure{
			Target: s.target.Name, Due: due, After: latency, Kind: kind, Text: truncate(text), New: opens,
		})
	}
	for s.done < len(s.requests) && s.requests[s.done].done {
		s.done++
	}
	p.notify()
}

// exchange sends a request. It returns the revision that answered, or the kind and the text of the
// error.
func (s *stream) exchange(ctx context.Context, transport *http.Transport) (revision string, kind Kind, text string) {
	request := s.request.WithContext(ctx)
	// Without GetBody the transport does not retry a request.
	request.Body = io.NopCloser(bytes.NewReader(s.target.Body))
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", kindOf(err), err.Error()
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusOK { // Switching Protocols.
		return "", statusKind(response.StatusCode), response.Status
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return "", statusKind(response.StatusCode), response.Status + ": " + string(body)
	case err != nil:
		return "", kindOf(err), fmt.Sprintf("after %d bytes of the body: %v", len(body), err)
	case len(body) > maxBody:
		return "", WrongBody, fmt.Sprintf("more than %d bytes", maxBody)
	}
	if s.target.Check != nil {
		if err := s.target.Check(body); err != nil {
			return "", WrongBody, fmt.Sprintf("%v: %s", err, body)
		}
	}
	revision = s.target.Revision(response, body)
	if revision == "" {
		return "", Unattributed, fmt.Sprintf("headers %v, body %s", response.Header, body)
	}
	return revision, "", ""
}

// The caller of the following functions holds the prober's lock.

func (s *stream) intern(revision string) string {
	if name, found := s.names[revision]; found {
		return name
	}
	name := strings.Clone(revision)
	s.names[name] = name
	return name
}

// doneSince counts the requests that were due since a time and are done, including those behind a
// request that is still in flight.
func (s *stream) doneSince(since time.Duration) int {
	done := 0
	for _, request := range s.requests[sort.Search(len(s.requests), func(i int) bool { return s.requests[i].Due >= since }):] {
		if request.done {
			done++
		}
	}
	return done
}

func (s *stream) doneUntil(until time.Duration) bool {
	return s.finished() || s.due(s.done) >= until
}

func (s *stream) finished() bool { return s.ended && s.done == len(s.requests) }
