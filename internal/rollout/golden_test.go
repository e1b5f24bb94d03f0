// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"
	"time"
)

// story is what happened in a world, line by line, for a person to read.
type story struct {
	lines []line
}

// line is one event or write, and how the world is after it.
type line struct {
	at                         time.Duration
	who, what                  string
	served, written, workloads string
}

func (s *story) add(w *world, who, what string) {
	written := "-"
	if w.route != nil {
		written = w.route.says.String()
	}
	s.lines = append(s.lines, line{
		at: w.now.Sub(testNow), who: who, what: what,
		served: w.gateway.main.serves.String(), written: written, workloads: w.workloadsText(),
	})
}

func (w *world) workloadsText() string {
	var words []string
	for _, n := range numbers(w.deployments) {
		d := w.deployments[n]
		words = append(words, fmt.Sprintf("%d:%d/%d", n, d.count(ready), d.replicas))
	}
	return strings.Join(words, " ")
}

func (s *story) String() string {
	var text strings.Builder
	for _, l := range s.lines {
		fmt.Fprintf(&text, "%8s  %-10s %-80s %-14s %-14s %s\n", l.at, l.who, l.what, l.served, l.written, l.workloads)
	}
	return text.String()
}
