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

// stream is the requests to one target. Streams share nothing but the lock of
// their prober: one that stalls does not hold up the others.
type stream struct {
	prober      *Prober
	target      Target
	offset      time.Duration
	request     *http.Request
	kept, fresh *http.Transport

	// Guarded by the prober's lock.
	requests []slot // By due time, those under way included.
	done     int    // All before are done.
	ended    bool   // No more are sent.
	failures []Failure
	examples map[Kind]int
	names    map[string]string // Revisions, so that no answer's header is kept in memory for its name.
}

// slot is a request from when it is sent.
type slot struct {
	Request
	done bool
}

// newStream is a stream whose first request is due after a part of the time between two.
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
		kept:     transport(p.config.dial, target.KeptAlive, true, target.HTTP2),
		fresh:    transport(p.config.dial, maxNewConnections, false, target.HTTP2),
		examples: map[Kind]int{},
		names:    map[string]string{},
	}
}

// transport never connects to another address than the one that dial does.
func transport(dial func(context.Context) (net.Conn, error), connections int, kept, http2 bool) *http.Transport {
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
		// Before a gateway closes it, for a request could meet that.
		IdleConnTimeout: idleConnectionsLive,
	}
}

// due is when request number i is sent, counted from the prober's start.
func (s *stream) due(i int) time.Duration {
	return s.offset + time.Duration(math.Round(float64(i)/s.target.Rate*float64(time.Second)))
}

// opens tells whether request number i opens a connection of its own. Those that do are spread evenly.
func (s *stream) opens(i int) bool {
	share := *s.target.NewConnections
	return math.Floor(float64(i+1)*share) > math.Floor(float64(i)*share)
}

// run sends each request when it is due. Where the process had no processor, it
// makes up for the time lost, so that the number of requests is right.
func (s *stream) run(ctx context.Context) {
	lasting := context.WithoutCancel(ctx) // What is under way when the stream ends is not broken off.
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
		s.prober.flying.Go(func() { s.probe(lasting, i, due, opens) })
	}
}

// admit takes a request down as under way, unless there are to be no more.
func (s *stream) admit(ctx context.Context, due time.Duration, opens bool) bool {
	p := s.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil && p.sent == p.config.MaxRequests {
		p.end(limitReached(fmt.Sprintf("the limit of %d requests", p.config.MaxRequests)))
	}
	if ctx.Err() != nil {
		s.ended = true
		p.ends(context.Cause(ctx))
		p.happened()
		return false
	}
	p.sent++
	s.requests = append(s.requests, slot{Request: Request{Target: s.target.Name, Due: due, New: opens}})
	return true
}

// probe sends a request and takes down what becomes of it.
func (s *stream) probe(ctx context.Context, i int, due time.Duration, opens bool) {
	start := s.prober.start
	late := time.Since(start) - due
	ctx, cancel := context.WithDeadline(ctx, start.Add(due+s.prober.config.Timeout))
	defer cancel()
	through := s.kept
	switch {
	case opens && s.target.HTTP2:
		// A transport lets a request onto the connection of another, even one that is to end with that.
		through = transport(s.prober.config.dial, 1, false, true)
	case opens:
		through = s.fresh
	}
	revision, kind, text := s.exchange(ctx, through)
	latency := time.Since(start) - due

	p := s.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	request := &s.requests[i]
	request.done, request.Late, request.Latency, request.Error = true, late, latency, kind
	if kind == "" {
		request.Revision = s.known(revision)
		if due >= p.lastMark().At {
			p.served[request.Revision]++
		}
	} else if s.examples[kind] < p.config.MaxExamples {
		s.examples[kind]++
		s.failures = append(s.failures, Failure{
			Target: s.target.Name, Due: due, After: latency, Kind: kind, Text: abridged(text), New: opens,
		})
	}
	for s.done < len(s.requests) && s.requests[s.done].done {
		s.done++
	}
	p.happened()
}

// exchange returns the revision that answered, or the kind of error and what it says.
func (s *stream) exchange(ctx context.Context, transport *http.Transport) (revision string, kind Kind, text string) {
	request := s.request.WithContext(ctx)
	// Without GetBody the transport does not repeat a request.
	request.Body = io.NopCloser(bytes.NewReader(s.target.Body))
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "", kindOf(err), err.Error()
	}
	defer answer.Body.Close()
	if answer.StatusCode < http.StatusOK { // The gateway speaks another protocol from here on.
		return "", StatusKind(answer.StatusCode), answer.Status
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case answer.StatusCode != http.StatusOK:
		return "", StatusKind(answer.StatusCode), answer.Status + ": " + string(body)
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
	revision = s.target.Revision(answer, body)
	if revision == "" {
		return "", Unattributed, fmt.Sprintf("headers %v, body %s", answer.Header, body)
	}
	return revision, "", ""
}

// What follows is called under the prober's lock.

// known returns the name of a revision as it was seen first.
func (s *stream) known(revision string) string {
	if name, known := s.names[revision]; known {
		return name
	}
	name := strings.Clone(revision)
	s.names[name] = name
	return name
}

// doneSince counts the requests that were due since a time and are done. Those behind one that is held up do count.
func (s *stream) doneSince(since time.Duration) int {
	done := 0
	for _, request := range s.requests[sort.Search(len(s.requests), func(i int) bool { return s.requests[i].Due >= since }):] {
		if request.done {
			done++
		}
	}
	return done
}

// doneUntil tells whether all requests due before a time are done.
func (s *stream) doneUntil(until time.Duration) bool {
	return s.finished() || s.due(s.done) >= until
}

// finished tells that nothing more will become known.
func (s *stream) finished() bool { return s.ended && s.done == len(s.requests) }
