// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// reportEvery is how often the log hears of the progress.
const reportEvery = 5 * time.Second

// progress counts bytes.
type progress struct {
	objects   int
	wanted    int64
	there     atomic.Int64
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
		p.wanted += object.Size
	}
	p.there.Store(p.wanted - s.missing(objects))
	log(p.beginning())
	go p.report(log)
	return p
}

func (p *progress) beginning() string {
	line := fmt.Sprintf("fetching %s", p.total())
	if there := p.there.Load(); there > 0 {
		line += fmt.Sprintf("; %s are there from an earlier run", inBytes(there))
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
	return fmt.Sprintf("%s, %s", files, inBytes(p.wanted))
}

// report says how far it is, how fast, and how long it will still take.
func (p *progress) report(log func(string)) {
	ticks := time.NewTicker(reportEvery)
	defer ticks.Stop()
	for last := p.there.Load(); ; {
		select {
		case <-p.ended:
			return
		case <-ticks.C:
		}
		there := p.there.Load()
		rate := float64(there-last) / reportEvery.Seconds()
		last = there
		line := fmt.Sprintf("%s of %s, %s/s", inBytes(there), inBytes(p.wanted), inBytes(int64(rate)))
		if rate > 0 && there < p.wanted {
			line += fmt.Sprintf(", %s to go", time.Duration(float64(p.wanted-there)/rate*float64(time.Second)).Round(time.Second))
		}
		log(line)
	}
}

func (p *progress) add(n int64) { p.there.Add(n) }

func (p *progress) stop() { close(p.ended) }

// counting counts what is read.
type counting struct {
	io.Reader
	progress *progress
}

func (c counting) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	c.progress.add(int64(n))
	return n, err
}

// inBytes writes a number of bytes with three digits.
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
