// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
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
// The worst tenth of the history in one piece is left out, because an outage must not make every
// regression look like a burst. Leaving out single intervals would hide rare bursts.
func Phi(history []Counts, interval int64) float64 {
	counts := slices.DeleteFunc(slices.Clone(history), func(c Counts) bool { return c.Requests == 0 })
	if int64(len(counts))*interval < minHistory {
		return unknownPhi
	}
	rate, length := sum(counts).rate(), len(counts)/10
	worst, most := 0, math.Inf(-1)
	for i := range len(counts) - length + 1 {
		piece := sum(counts[i : i+length])
		if excess := piece.Bad - rate*piece.Requests; excess > most {
			worst, most = i, excess
		}
	}
	counts = slices.Delete(counts, worst, worst+length)

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
