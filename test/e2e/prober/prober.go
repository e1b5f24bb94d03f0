// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prober sends requests through a gateway continuously and records which revision answered
// each.
//
// The clients are open-loop: the times at which requests are due are fixed in advance. A slow
// response does not delay the next requests. Latency counts from when a request was due, so a stall
// is visible in every request that it delayed.
//
// An answer is a complete response with status 200 from a known revision that passes the target's
// check. Anything else is an error.
//
//	p, err := prober.Start(ctx, prober.Config{Gateway: "127.0.0.1:8080", Targets: []prober.Target{{Host: "iris.example.com"}}})
//	decision := p.Mark("10 %")
//	err = p.Until(ctx, 1000)
//	results := p.Stop()
//	err = prober.NoErrors(results.Since(decision))
//
// # Time
//
// A request counts by the time when it was due. It is never sent earlier, so every request in a
// window was sent after the window began. A request that was in flight at a mark counts for the
// window before the mark.
//
// # No retries
//
// A request is sent once. The prober does not follow redirects, does not use a proxy from the
// environment, and does not retry a request on another connection.
//
// # Limits
//
// The prober connects only to its gateway, which must be on loopback or in a private network that
// the caller allows. It stops after a maximum time or a maximum number of requests.
package prober

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Prober sends requests from Start until Stop or until it reaches a limit.
type Prober struct {
	config   Config
	streams  []*stream
	start    time.Time
	end      context.CancelCauseFunc
	sending  sync.WaitGroup // The streams.
	inFlight sync.WaitGroup // Their requests.

	mu      sync.Mutex
	marks   []Mark
	sent    int
	ended   time.Duration // When the prober stopped sending.
	limit   string
	over    bool
	changed chan struct{} // Closed and replaced on every change.
}

// Mark is a named point in time.
type Mark struct {
	Name string `json:"name"`
	// At is the time since the prober started.
	At time.Duration `json:"at"`
}

type limitReached string

func (l limitReached) Error() string { return string(l) }

var errStopped = errors.New("stopped")

// Start starts a prober. It returns an error, without connecting, if the config does not allow the
// gateway.
func Start(ctx context.Context, config Config) (*Prober, error) {
	config, gateway, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	if config.dial == nil {
		dialer := net.Dialer{Timeout: config.Timeout}
		config.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", gateway.String()) }
	}
	p := &Prober{config: config, changed: make(chan struct{})}
	for i, target := range config.Targets {
		// Streams of the same rate alternate.
		p.streams = append(p.streams, newStream(p, target, gateway, float64(i)/float64(len(config.Targets))))
	}
	ctx, p.end = context.WithCancelCause(ctx)
	ctx, expire := context.WithTimeoutCause(ctx, config.MaxDuration, limitReached(fmt.Sprintf("the limit of %s", config.MaxDuration)))
	p.start = time.Now()
	for _, s := range p.streams {
		p.sending.Go(func() { s.run(ctx) })
	}
	go func() {
		p.sending.Wait()
		expire()
	}()
	return p, nil
}

// Mark begins a new window now.
func (p *Prober) Mark(name string) Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	mark := Mark{Name: name, At: p.Now()}
	p.marks = append(p.marks, mark)
	p.notify()
	return mark
}

// Now returns the time since the prober started. The times of requests and marks are relative to
// it.
func (p *Prober) Now() time.Duration { return time.Since(p.start) }

// Until waits until n requests that were due since the last mark are done, successful or not, for
// each of the given targets. Without targets it waits for all.
func (p *Prober) Until(ctx context.Context, n int, targets ...string) error {
	streams, err := p.named(targets)
	if err != nil {
		return err
	}
	for {
		p.mu.Lock()
		done, over, limit, changed := n, p.finished(), p.limit, p.changed
		for _, s := range streams {
			done = min(done, s.doneSince(p.lastMark().At))
		}
		state := fmt.Sprintf("%d of %d requests done since %q", done, n, p.lastMark().Name)
		p.mu.Unlock()
		switch {
		case done >= n:
			return nil
		case over && limit != "":
			return fmt.Errorf("prober: stopped by %s with %s", limit, state)
		case over:
			return fmt.Errorf("prober: stopped with %s", state)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("prober: %s: %w", state, context.Cause(ctx))
		}
	}
}

// Results returns the outcome of all requests that are due by now. It waits for requests in flight,
// which takes at most the timeout of a request.
func (p *Prober) Results() Results {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.Now()
	pending := func(s *stream) bool { return !s.doneUntil(until) }
	for slices.ContainsFunc(p.streams, pending) { // Terminates, because every request times out.
		changed := p.changed
		p.mu.Unlock()
		<-changed
		p.mu.Lock()
	}
	return p.results(until)
}

// Stop stops sending, waits for requests in flight, closes all connections and returns the results.
// It can be called again.
func (p *Prober) Stop() Results {
	p.end(errStopped)
	p.sending.Wait()
	p.inFlight.Wait()
	for _, s := range p.streams {
		s.kept.CloseIdleConnections()
		s.fresh.CloseIdleConnections()
	}
	return p.Results()
}

// Done returns a channel that is closed when no more requests are sent.
func (p *Prober) Done() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		p.sending.Wait()
		close(done)
	}()
	return done
}

// The caller of the following functions holds the lock.

func (p *Prober) finished() bool {
	return !slices.ContainsFunc(p.streams, func(s *stream) bool { return !s.finished() })
}

func (p *Prober) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Prober) lastMark() Mark {
	if len(p.marks) == 0 {
		return Mark{Name: startMark}
	}
	return p.marks[len(p.marks)-1]
}

func (p *Prober) recordEnd(cause error) {
	if p.over {
		return
	}
	p.over, p.ended = true, p.Now()
	if limit, is := errors.AsType[limitReached](cause); is {
		p.limit = string(limit)
	}
}

func (p *Prober) results(until time.Duration) Results {
	r := Results{Started: p.start, End: until, Limit: p.limit, Marks: slices.Clone(p.marks)}
	if p.over {
		r.End = min(r.End, p.ended)
	}
	for _, s := range p.streams {
		r.Targets = append(r.Targets, s.target.Name)
		if s.ended { // It may have been behind schedule.
			r.End = min(r.End, s.due(len(s.requests)))
		}
	}
	for _, s := range p.streams {
		for _, request := range s.requests[:s.done] {
			if request.Due < r.End {
				r.Requests = append(r.Requests, request.Request)
			}
		}
		r.Failures = append(r.Failures, s.failures...)
	}
	r.sort()
	return r
}

func (p *Prober) named(targets []string) ([]*stream, error) {
	if len(targets) == 0 {
		return p.streams, nil
	}
	var streams []*stream
	for _, target := range targets {
		i := slices.IndexFunc(p.streams, func(s *stream) bool { return s.target.Name == target })
		if i < 0 {
			return nil, fmt.Errorf("prober: no target is named %q", target)
		}
		streams = append(streams, p.streams[i])
	}
	return streams, nil
}
