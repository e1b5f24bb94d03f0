// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"slices"
)

// Bucket is a bucket of a Prometheus histogram. Count includes the buckets with lower bounds.
type Bucket struct {
	UpperBound, Count float64
}

// NextBound returns the lowest finite bound that is not below the value. Only at the bounds of a
// histogram is it known how many responses were slower.
func NextBound(bounds []float64, value float64) (bound float64, ok bool) {
	bound = math.Inf(1)
	for _, b := range bounds {
		if b >= value {
			bound = min(bound, b)
		}
	}
	return bound, !math.IsInf(bound, 1)
}

// QuantileBound returns the upper bound of the bucket that holds the quantile, such as 0.95. There is
// none if the histogram is empty, or if the quantile is above the highest finite bound.
func QuantileBound(buckets []Bucket, quantile float64) (bound float64, ok bool) {
	total := 0.0
	for _, b := range buckets {
		total = max(total, b.Count)
	}
	var bounds []float64
	for _, b := range buckets {
		if b.Count >= quantile*total {
			bounds = append(bounds, b.UpperBound)
		}
	}
	if total == 0 || len(bounds) == 0 {
		return 0, false
	}
	return NextBound(bounds, slices.Min(bounds))
}
