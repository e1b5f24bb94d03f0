// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const reportEvery = 5 * time.Second

type progress struct {
	objects   int
	size      int64
	done      atomic.Int64
	isUnknown bool
	ended     chan struct{}
}

func newProgress(objects []Object, s *state, log func(string)) *progress {
	p := &progress{objects: len(objects), ended: make(chan struct{})}
	for _, object := range objects {
		if object.Size == unknownSize {
			p.isUnknown = true
			continue
		}
		p.size += object.Size
	}
	p.done.Store(p.size - s.missing(objects))
	log(p.startLine())
	go p.report(log)
	return p
}

func (p *progress) startLine() string {
	line := fmt.Sprintf("fetching %s", p.total())
	if done := p.done.Load(); done > 0 {
		line += fmt.Sprintf("; %s were downloaded by an earlier run", inBytes(done))
	}
	return line
}

func (p *progress) total() string {
	files := fmt.Sprintf("%d files", p.objects)
	if p.objects == 1 {
		files = "1 file"
	}
	if p.isUnknown {
		return files + " of unknown size"
	}
	return fmt.Sprintf("%s, %s", files, inBytes(p.size))
}

func (p *progress) report(log func(string)) {
	ticks := time.NewTicker(reportEvery)
	defer ticks.Stop()
	for last := p.done.Load(); ; {
		select {
		case <-p.ended:
			return
		case <-ticks.C:
		}
		done := p.done.Load()
		rate := float64(done-last) / reportEvery.Seconds()
		last = done
		line := fmt.Sprintf("%s of %s, %s/s", inBytes(done), inBytes(p.size), inBytes(int64(rate)))
		if rate > 0 && done < p.size {
			line += fmt.Sprintf(", %s to go", time.Duration(float64(p.size-done)/rate*float64(time.Second)).Round(time.Second))
		}
		log(line)
	}
}

func (p *progress) add(n int64) { p.done.Add(n) }

func (p *progress) stop() { close(p.ended) }

type countingReader struct {
	io.Reader
	progress *progress
}

func (c countingReader) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	c.progress.add(int64(n))
	return n, err
}

func inBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	i := 0
	for ; value >= unit && i < len(units)-1; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.3g %ciB", value, units[i])
}
