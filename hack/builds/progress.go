// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package builds

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// Reporter tells the user what goes on: on a terminal in one line that is
// renewed each second, elsewhere in a new line now and then.
type Reporter struct {
	out      *os.File
	terminal bool
}

// NewReporter writes to a file, which may be a terminal.
func NewReporter(out *os.File) *Reporter {
	info, err := out.Stat()
	return &Reporter{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Line writes a line.
func (r *Reporter) Line(format string, args ...any) {
	fmt.Fprintf(r.out, format+"\n", args...)
}

// Task is a build as the user sees it.
type Task struct {
	Name, Version string
	// Takes is about how long it takes with empty caches on two cores.
	Takes time.Duration
	// Quiet keeps silent about a build that is ready at once.
	Quiet bool
	// Counts says what was done so far, if it can be said.
	Counts func() string
}

// Progress is what is known of a build that is under way.
type Progress struct {
	reporter *Reporter
	task     Task
	begin    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu    sync.Mutex
	shown bool
}

// Start shows a task until it is done or fails.
func (r *Reporter) Start(task Task) *Progress {
	p := &Progress{reporter: r, task: task, begin: time.Now(), stop: make(chan struct{})}
	interval := 20 * time.Second
	if r.terminal {
		interval = time.Second
	}
	if !task.Quiet {
		p.show()
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

// End says how the task ended: it failed if there is an error.
func (p *Progress) End(err error) {
	close(p.stop)
	p.stopped.Wait()
	if p.reporter.terminal {
		fmt.Fprint(p.reporter.out, "\r\x1b[K")
	}
	switch {
	case err != nil:
		p.reporter.Line("%s FAILED after %s", p.title(), p.elapsed())
	case p.shown:
		p.reporter.Line("%s built in %s", p.title(), p.elapsed())
	}
}

func (p *Progress) show() {
	p.mu.Lock()
	p.shown = true
	p.mu.Unlock()
	text := fmt.Sprintf("%s building, %s of about %s", p.title(), p.elapsed(), p.task.Takes)
	if p.task.Counts != nil {
		if counts := p.task.Counts(); counts != "" {
			text += " (" + counts + ")"
		}
	}
	if p.reporter.terminal {
		fmt.Fprintf(p.reporter.out, "\r\x1b[K%s", text)
		return
	}
	p.reporter.Line("%s", text)
}

func (p *Progress) title() string {
	return fmt.Sprintf("%-24s %-10s", p.task.Name, p.task.Version)
}

func (p *Progress) elapsed() string {
	return time.Since(p.begin).Round(time.Second).String()
}
