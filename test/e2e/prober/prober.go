// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prober sends requests through a gateway without a pause while a story
// plays, and knows of each which revision answered it.
//
// The clients are open-loop: when a request is due is fixed before the first is
// sent. A slow answer neither delays nor saves the requests behind it, and
// latency counts from when a request was due, so that a stall shows in all
// requests that it held up and not only in the one that met it.
//
//	p, err := prober.Start(ctx, prober.Config{Gateway: "127.0.0.1:8080", Targets: []prober.Target{{Host: "iris.example.com"}}})
//	decision := p.Mark("10 %")
//	err = p.Until(ctx, 1000)
//	results := p.Stop()
//	err = prober.NoErrors(results.Since(decision))
//
// # Time
//
// A request counts by the time when it was due. It is never sent before, and so
// one that counts for a window was sent after the window began. One that was due
// before a mark and is answered after it counts for what was before the mark,
// whoever answers it: it was under way when the world changed.
//
// # Nothing is smoothed over
//
// A request is sent once. Redirects are not followed, proxies of the environment
// not used, and no request is repeated on another connection. Whatever is not a
// complete, right answer of 200 by a known revision is an error.
//
// # Limits
//
// The prober connects to one address, on loopback or in a network that the caller
// allows and that is a private one, and to no other whatever it is told. It ends
// by itself after a time and a number of requests.
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

// Prober sends requests from Start until Stop, or until it meets a limit.
type Prober struct {
	config  Config
	streams []*stream
	start   time.Time
	end     context.CancelCauseFunc
	sending sync.WaitGroup // The streams.
	flying  sync.WaitGroup // Their requests.

	mu        sync.Mutex
	marks     []Mark
	served    map[string]int // Answers by revision to what was due since the last mark.
	sent      int
	ended     time.Duration // When no more requests were sent.
	limit     string
	over      bool
	happening chan struct{} // Closed, and replaced, when something has happened.
}

// Mark is a point in the life of a prober.
type Mark struct {
	Name string `json:"name"`
	// At is the time since the prober started.
	At time.Duration `json:"at"`
}

// limitReached is why a prober ended by itself.
type limitReached string

func (l limitReached) Error() string { return string(l) }

// errStopped is why a prober ended when it was told to.
var errStopped = errors.New("stopped")

// Start sends the first requests. It refuses a gateway that the config does not
// allow before it connects to anything.
func Start(ctx context.Context, config Config) (*Prober, error) {
	config, gateway, err := config.completed()
	if err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	if config.dial == nil {
		dialer := net.Dialer{Timeout: config.Timeout}
		config.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", gateway.String()) }
	}
	p := &Prober{config: config, served: map[string]int{}, happening: make(chan struct{})}
	for i, target := range config.Targets {
		// Streams of one rate take turns.
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

// Mark puts a point on the timeline, which begins a new window.
func (p *Prober) Mark(name string) Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	mark := Mark{Name: name, At: p.Now()}
	p.marks = append(p.marks, mark)
	clear(p.served)
	p.happened()
	return mark
}

// Now is the time since the prober started, by which requests and marks are told.
func (p *Prober) Now() time.Duration { return time.Since(p.start) }

// Until waits until n requests that were due since the last mark are done, well
// or badly, for each of the targets that are named, or for each target if none is.
func (p *Prober) Until(ctx context.Context, n int, targets ...string) error {
	streams, err := p.named(targets)
	if err != nil {
		return err
	}
	fewest := func() int {
		least := n
		for _, s := range streams {
			least = min(least, s.doneSince(p.lastMark().At))
		}
		return least
	}
	return p.await(ctx, func() bool { return fewest() >= n }, func() string {
		return fmt.Sprintf("%d of %d requests done since %q", fewest(), n, p.lastMark().Name)
	})
}

// UntilServedBy waits until a revision has answered n requests that were due since the last mark.
func (p *Prober) UntilServedBy(ctx context.Context, revision string, n int) error {
	return p.await(ctx, func() bool { return p.served[revision] >= n }, func() string {
		return fmt.Sprintf("%d of %d requests answered by %s since %q, those of all: %v", p.served[revision], n, revision, p.lastMark().Name, p.served)
	})
}

// Results is what has become of all requests that are due by now. It waits for
// those that are under way, which takes the timeout of a request at most.
func (p *Prober) Results() Results {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.Now()
	missing := func(s *stream) bool { return !s.doneUntil(until) }
	for slices.ContainsFunc(p.streams, missing) { // Every request ends, and so does this.
		happening := p.happening
		p.mu.Unlock()
		<-happening
		p.mu.Lock()
	}
	return p.results(until)
}

// Stop sends no more, waits for what is under way, closes all connections and
// returns the results. To stop again is harmless.
func (p *Prober) Stop() Results {
	p.end(errStopped)
	p.sending.Wait()
	p.flying.Wait()
	for _, s := range p.streams {
		s.kept.CloseIdleConnections()
		s.fresh.CloseIdleConnections()
	}
	return p.Results()
}

// Done is closed when no more requests are sent.
func (p *Prober) Done() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		p.sending.Wait()
		close(done)
	}()
	return done
}

// await waits until something is true, which is asked under the lock.
func (p *Prober) await(ctx context.Context, holds func() bool, progress func() string) error {
	for {
		p.mu.Lock()
		met, over, state, happening := holds(), p.finished(), progress(), p.happening
		limit := p.limit
		p.mu.Unlock()
		switch {
		case met:
			return nil
		case over && limit != "":
			return fmt.Errorf("prober: ended by %s with %s", limit, state)
		case over:
			return fmt.Errorf("prober: was stopped with %s", state)
		}
		select {
		case <-happening:
		case <-ctx.Done():
			return fmt.Errorf("prober: %s: %w", state, context.Cause(ctx))
		}
	}
}

// What follows is called under the lock.

// finished tells that nothing will happen any more.
func (p *Prober) finished() bool {
	return !slices.ContainsFunc(p.streams, func(s *stream) bool { return !s.finished() })
}

// happened wakes up all who wait.
func (p *Prober) happened() {
	close(p.happening)
	p.happening = make(chan struct{})
}

// lastMark is the start if there is no mark.
func (p *Prober) lastMark() Mark {
	if len(p.marks) == 0 {
		return Mark{Name: beginning}
	}
	return p.marks[len(p.marks)-1]
}

// ends takes down why no more is sent.
func (p *Prober) ends(cause error) {
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
		if s.ended { // Perhaps it was behind its time.
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

// named are the streams of some targets.
func (p *Prober) named(targets []string) ([]*stream, error) {
	if len(targets) == 0 {
		return p.streams, nil
	}
	var streams []*stream
	for _, target := range targets {
		i := slices.IndexFunc(p.streams, func(s *stream) bool { return s.target.Name == target })
		if i < 0 {
			return nil, fmt.Errorf("prober: there is no target %q", target)
		}
		streams = append(streams, p.streams[i])
	}
	return streams, nil
}
