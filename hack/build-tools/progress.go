// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// reporter tells the user what goes on: on a terminal in one line that is
// renewed each second, elsewhere in a new line now and then.
type reporter struct {
	out      *os.File
	terminal bool
}

func newReporter(out *os.File) *reporter {
	info, err := out.Stat()
	return &reporter{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (r *reporter) line(format string, args ...any) {
	fmt.Fprintf(r.out, format+"\n", args...)
}

// progress is what is known of a build that is under way.
type progress struct {
	reporter *reporter
	title    string
	takes    time.Duration
	begin    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu                  sync.Mutex
	downloads, packages int
	shown               bool
}

func (r *reporter) start(recipe recipe) *progress {
	p := &progress{
		reporter: r,
		title:    fmt.Sprintf("%-24s %-10s", recipe.name, recipe.version),
		takes:    recipe.takes,
		begin:    time.Now(),
		stop:     make(chan struct{}),
	}
	interval := 20 * time.Second
	if r.terminal {
		interval = time.Second
	}
	if recipe.key != "" {
		p.show() // Programs of our own are most often ready at once: no need to say so.
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

func (p *progress) downloaded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.downloads++
}

func (p *progress) compiled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packages++
}

// counts says what was done so far: packages that are in the cache are not seen.
func (p *progress) counts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	if p.downloads > 0 {
		parts = append(parts, fmt.Sprintf("%d modules fetched", p.downloads))
	}
	if p.packages > 0 {
		parts = append(parts, fmt.Sprintf("%d packages compiled", p.packages))
	}
	return strings.Join(parts, ", ")
}

func (p *progress) elapsed() string {
	return time.Since(p.begin).Round(time.Second).String()
}

func (p *progress) show() {
	p.mu.Lock()
	p.shown = true
	p.mu.Unlock()
	text := fmt.Sprintf("%s building, %s of about %s", p.title, p.elapsed(), p.takes)
	if counts := p.counts(); counts != "" {
		text += " (" + counts + ")"
	}
	if p.reporter.terminal {
		fmt.Fprintf(p.reporter.out, "\r\x1b[K%s", text)
		return
	}
	p.reporter.line("%s", text)
}

func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	if p.reporter.terminal {
		fmt.Fprint(p.reporter.out, "\r\x1b[K")
	}
}

func (p *progress) done() {
	p.end()
	if p.shown {
		p.reporter.line("%s built in %s", p.title, p.elapsed())
	}
}

func (p *progress) fail() {
	p.end()
	p.reporter.line("%s FAILED after %s", p.title, p.elapsed())
}
