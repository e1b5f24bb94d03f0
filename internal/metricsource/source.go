// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsource

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// choose returns the first preset that has series of the stable. It also considers the history,
// because the stable may have been scaled to zero.
func (c *Client) choose(ctx context.Context, presets []Preset, revisions Revisions, start, at time.Time) (Preset, *Failure) {
	history := min(max(at.Sub(start), 5*time.Minute), chunk)
	revisions.Canary = ""
	var missing []string
	for _, preset := range presets {
		p, err := Counters{Total: preset.Total}.plan(revisions)
		if err != nil {
			return Preset{}, &Failure{Status: Invalid, Message: fmt.Sprintf("preset %q: %v", preset.Name, err)}
		}
		for _, query := range p.queries {
			vector, failure := c.vector(ctx, fmt.Sprintf("count(last_over_time(%s[%dms]))", query, history.Milliseconds()), at)
			if failure != nil {
				return Preset{}, failure
			}
			if len(vector) > 0 && vector[0].Value > 0 {
				return preset, nil
			}
		}
		text := fmt.Sprintf("%s (preset %q)", strings.Join(p.queries, " and "), preset.Name)
		if preset.Hint != "" {
			text += ". " + preset.Hint
		}
		missing = append(missing, text)
	}
	return Preset{}, noSeries(missing...)
}

// part returns the counters of a part of the preset. The failure is NoSeries if it has none.
func (p Preset) part(part Part, le string) (*Counters, *Failure) {
	if part == Errors {
		return &p.Counters, nil
	}
	if p.Latency == nil {
		return nil, &Failure{Status: NoSeries, Message: fmt.Sprintf("preset %q has no latency histogram", p.Name)}
	}
	if part == Buckets {
		return new(p.Latency.Buckets()), nil
	}
	counters, err := p.Latency.SlowerThan(le)
	if err != nil {
		return nil, &Failure{Status: Invalid, Message: fmt.Sprintf("preset %q: %v", p.Name, err)}
	}
	return &counters, nil
}
