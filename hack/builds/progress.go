// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package builds

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// Reporter prints the progress of builds. On a terminal, it updates one line each second.
// Otherwise, it prints a line every 20 seconds.
type Reporter struct {
	out      *os.File
	terminal bool
}

// NewReporter returns a Reporter that prints to a file or terminal.
func NewReporter(out *os.File) *Reporter {
	info, err := out.Stat()
	return &Reporter{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Line prints a line.
func (r *Reporter) Line(format string, args ...any) {
	fmt.Fprintf(r.out, format+"\n", args...)
}

// Task describes a build to the user.
type Task struct {
	Name, Version string
	// Takes is the approximate duration with empty caches on two cores.
	Takes time.Duration
	// Quiet prints nothing until the first update, and so nothing at all for a short build.
	Quiet bool
	// Counts returns what has been done so far. It may be nil.
	Counts func() string
}

// Progress reports the progress of a running task.
type Progress struct {
	reporter *Reporter
	task     Task
	begin    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu    sync.Mutex
	shown bool
}

// Start reports a task's progress until [Progress.End].
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

// End reports the result of the task, which failed if err is not nil.
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
