// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"errors"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/internal/analysis"
)

// Revisions identifies the two revisions of a rollout. The canary may be empty.
type Revisions struct {
	Namespace, Stable, Canary string
}

func (r Revisions) names() []string {
	if r.Canary == "" {
		return []string{r.Stable}
	}
	return []string{r.Stable, r.Canary}
}

// Sample is a raw sample. The time is in milliseconds, as in Prometheus.
type Sample = analysis.Sample

// Series is a counter of one revision in one process.
type Series struct {
	Labels map[string]string
	// Canary reports whether the series belongs to the canary, and otherwise to the stable.
	Canary bool
	// Target identifies the scraped process.
	Target string
	// Started is when that process started, in milliseconds. It is 0 if this is unknown, or if the
	// series had samples before the trial.
	Started int64
	// Requests and Bad are what one event of the counter adds to the requests and to the bad
	// responses: 1, 0 or −1.
	Requests, Bad float64
	// Samples are in the order of their times.
	Samples []Sample
}

// plan says how to read the counters of a metric.
type plan struct {
	queries []string
	terms   []term
}

// term says what the series of one selector count.
type term struct {
	filter        filter
	canary        bool
	requests, bad float64
}

func (c Counters) plan(revisions Revisions) (plan, error) {
	var p plan
	var all []selector
	for _, part := range []struct {
		selectors     []string
		requests, bad float64
	}{{c.Total, 1, 0}, {c.Bad, 0, 1}, {c.NotBad, 0, -1}} {
		for _, text := range part.selectors {
			parsed, err := parseSelector(text)
			if err != nil {
				return plan{}, err
			}
			all = append(all, parsed.expand(revisions.Namespace, revisions.names()...))
			for i, name := range revisions.names() {
				f, err := parsed.expand(revisions.Namespace, name).compile()
				if err != nil {
					return plan{}, err
				}
				p.terms = append(p.terms, term{filter: f, canary: i == 1, requests: part.requests, bad: part.bad})
			}
		}
	}
	for _, s := range union(all) {
		p.queries = append(p.queries, s.String())
	}
	return p, nil
}

// Selectors returns the PromQL selectors that together read the counters of both revisions.
func (c Counters) Selectors(revisions Revisions) []string {
	p, err := c.plan(revisions)
	if err != nil {
		return slices.Concat(c.Total, c.Bad, c.NotBad)
	}
	return p.queries
}

var errBothRevisions = errors.New("it matches the selectors of both revisions")

// classify says what a series counts; relevant is false if it counts nothing.
func (p plan) classify(labels map[string]string) (series Series, relevant bool, err error) {
	for _, t := range p.terms {
		if !t.filter.selects(labels) {
			continue
		}
		if relevant && series.Canary != t.canary {
			return Series{}, false, errBothRevisions
		}
		relevant = true
		series.Canary = t.canary
		series.Requests += t.requests
		series.Bad += t.bad
	}
	series.Labels, series.Target = labels, target(labels)
	return series, relevant, nil
}

// target identifies the process of a series. Without the labels of a scrape, each series is a target
// of its own, so that nothing is concluded from the others.
func target(labels map[string]string) string {
	if labels["instance"] == "" {
		return identity(labels)
	}
	return labels["job"] + " " + labels["instance"]
}

// identity returns all labels as text.
func identity(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for name, value := range labels {
		parts = append(parts, matcher{label: name, op: equal, value: value}.String())
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
