// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"

	"pgregory.net/rapid"
)

// dice are where random snapshots and histories take their choices from: bytes, which a property test draws and
// shrinks and a fuzzer mutates. A seed that one of them found is thus a seed for the other. Dice that are spent roll
// 0, and 0 is the most ordinary choice everywhere, so that what is left after shrinking is what matters.
type dice struct {
	bytes []byte
}

func (d *dice) spent() bool { return len(d.bytes) == 0 }

// roll gives a number from 0 to sides-1.
func (d *dice) roll(sides int) int {
	if d.spent() {
		return 0
	}
	rolled := int(d.bytes[0]) % sides
	d.bytes = d.bytes[1:]
	return rolled
}

// once is true one time out of so many.
func (d *dice) once(outOf int) bool { return d.roll(outOf) == outOf-1 }

// pick gives one of the choices.
func pick[T any](d *dice, choices ...T) T { return choices[d.roll(len(choices))] }

// check tries a property on bytes of random lengths within bounds, so many times as often as rapid does by itself.
func check(t *testing.T, times, least, most int, property func(t *rapid.T, bytes []byte)) {
	t.Helper()
	for range times {
		rapid.Check(t, func(t *rapid.T) {
			property(t, rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, "bytes"))
		})
	}
}
