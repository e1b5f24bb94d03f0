// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// history returns the same counts n times.
func history(n int, c Counts) []Counts { return slices.Repeat([]Counts{c}, n) }

func TestPhi(t *testing.T) {
	alternating := slices.Repeat([]Counts{{100, 0}, {100, 20}}, 120)
	for _, tc := range []struct {
		name    string
		history []Counts
		want    float64
	}{
		{"none", nil, 2},
		{"less than ten minutes", history(39, Counts{100, 1}), 2},
		{"ten minutes without traffic", history(240, Counts{}), 2},
		{"ten minutes, of which some have no traffic", append(history(39, Counts{100, 1}), history(200, Counts{})...), 2},
		{"ten minutes", history(40, Counts{100, 1}), 1},
		{"no bad responses", history(240, Counts{100, 0}), 1},
		{"bad responses only", history(240, Counts{100, 100}), 1},
		{"an outage of a tenth", append(history(216, Counts{100, 1}), history(24, Counts{100, 100})...), 1},
		{"a longer outage", append(history(200, Counts{100, 1}), history(40, Counts{100, 100})...), 30},
		// 108 times 0 and 108 times 20 of 100.
		{"bursts", alternating, 216 * 100 / (100 * 0.1 * 0.9 * 215)},
		// 206 times 0 and 10 times 20 of 100: the worst piece has two of the twelve bursts.
		{
			"rare bursts", slices.Repeat(append(history(19, Counts{100, 0}), Counts{100, 20}), 12),
			(206*(100./108)*(100./108) + 10*(20-100./108)*(20-100./108)) / (100. / 108 * 107 / 108 * 215),
		},
	} {
		if got := Phi(tc.history, 15_000); !near(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestPhiOfIndependentResponses(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, perSecond := range []float64{1, 10, 1000} {
		var counts []Counts
		for range 240 {
			counts = append(counts, drawCounts(random, perSecond*lookSeconds, 0.02))
		}
		if phi := Phi(counts, 15_000); phi > 1.2 {
			t.Errorf("%v requests per second: phi is %v", perSecond, phi)
		}
	}
}

func TestPhiIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Counts { return drawInterval(t).Stable })).Draw(t, "history")
		before := slices.Clone(counts)
		if phi := Phi(counts, 60_000); !(phi >= 1 && phi <= 30) {
			t.Errorf("phi is %v", phi)
		}
		if !slices.Equal(counts, before) {
			t.Error("the history changed")
		}
	})
}

func TestBounds(t *testing.T) {
	infinite := math.Inf(1)
	for _, tc := range []struct {
		value, want float64
		ok          bool
	}{{0.5, 0.5, true}, {0.51, 1, true}, {0, 0.1, true}, {1, 1, true}, {1.1, 0, false}} {
		if got, ok := NextBound([]float64{0.1, 0.5, 1, infinite}, tc.value); ok != tc.ok || ok && got != tc.want {
			t.Errorf("NextBound(%v) = %v, %v, want %v, %v", tc.value, got, ok, tc.want, tc.ok)
		}
	}
	buckets := []Bucket{{0.1, 50}, {0.5, 95}, {1, 98}, {infinite, 100}}
	for _, tc := range []struct {
		quantile, want float64
		ok             bool
	}{{0.5, 0.1, true}, {0.9, 0.5, true}, {0.95, 0.5, true}, {0.96, 1, true}, {0.99, 0, false}} {
		if got, ok := QuantileBound(buckets, tc.quantile); ok != tc.ok || ok && got != tc.want {
			t.Errorf("QuantileBound(%v) = %v, %v, want %v, %v", tc.quantile, got, ok, tc.want, tc.ok)
		}
	}
	if _, ok := QuantileBound([]Bucket{{0.1, 0}, {infinite, 0}}, 0.95); ok {
		t.Error("an empty histogram has a quantile")
	}
}
