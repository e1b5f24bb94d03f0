// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"cmp"
	"math"
	"slices"
)

const (
	minHistory = 10 * 60 * 1000 // milliseconds
	unknownPhi = 2
	maxPhi     = 30
)

// Phi returns how many times as much the stable's bad responses vary between intervals as
// independent responses would. The history is its counts before the trial, in intervals as long as
// those of the trial, in milliseconds.
//
// The worst tenth of the intervals is left out, because an outage must not make every regression
// look like a burst.
func Phi(history []Counts, interval int64) float64 {
	counts := slices.DeleteFunc(slices.Clone(history), func(c Counts) bool { return c.Requests == 0 })
	if int64(len(counts))*interval < minHistory {
		return unknownPhi
	}
	rate := sum(counts).rate()
	// The square root makes the excess comparable between intervals with few and many requests.
	excess := func(c Counts) float64 { return (c.Bad - rate*c.Requests) / math.Sqrt(c.Requests) }
	slices.SortFunc(counts, func(a, b Counts) int { return cmp.Compare(excess(a), excess(b)) })
	counts = counts[:len(counts)-len(counts)/10]

	rate = sum(counts).rate()
	if rate <= 0 || rate >= 1 {
		return 1
	}
	chiSquare := 0.0
	for _, c := range counts {
		difference := c.Bad - rate*c.Requests
		chiSquare += difference * difference / (c.Requests * rate * (1 - rate))
	}
	return min(max(1, chiSquare/float64(len(counts)-1)), maxPhi)
}

func sum(counts []Counts) Counts {
	var all Counts
	for _, c := range counts {
		all = all.plus(c)
	}
	return all
}
