// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"

	"pgregory.net/rapid"
)

// choices makes random choices from bytes, which a property test draws and shrinks and a fuzzer
// mutates. Both can so use the same seeds. After the last byte every choice is 0, which is the most
// ordinary one, so that shrinking keeps only what matters.
type choices struct {
	bytes []byte
}

func (d *choices) exhausted() bool { return len(d.bytes) == 0 }

// intn returns a number from 0 to n-1.
func (d *choices) intn(n int) int {
	if d.exhausted() {
		return 0
	}
	chosen := int(d.bytes[0]) % n
	d.bytes = d.bytes[1:]
	return chosen
}

func (d *choices) oneIn(outOf int) bool { return d.intn(outOf) == outOf-1 }

func pick[T any](d *choices, options ...T) T { return options[d.intn(len(options))] }

// check checks a property on random bytes of random length, the given number of times as often as
// rapid does by default.
func check(t *testing.T, times, minBytes, maxBytes int, property func(t *rapid.T, bytes []byte)) {
	t.Helper()
	for range times {
		rapid.Check(t, func(t *rapid.T) {
			property(t, rapid.SliceOfN(rapid.Byte(), minBytes, maxBytes).Draw(t, "bytes"))
		})
	}
}
