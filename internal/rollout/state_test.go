// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// full is a state of the first release with every field of that release, and encoded is its
// encoding. Every later version must decode it.
var (
	full = State{
		Stable: 2, Previous: 1, Target: 3, Percent: new(10), Hash: "c-inputs", NothingToUndo: true,
		Split:        canarySplit(3, 10, 2),
		ServedBefore: All(2),
		ShiftedAt:    time.Date(2026, 3, 11, 12, 0, 0, 5e6, time.UTC),
		Held:         map[Number]int{2: 7, 3: 2},
		Highest:      4,
	}
	encoded = `{"stable":2,"previous":1,"target":3,"percent":10,"inputs":"c-inputs","nothingToUndo":true,` +
		`"split":{"2":90,"3":10},"before":{"2":100},"shiftedAt":"2026-03-11T12:00:00.005Z","floors":{"2":7,"3":2},"highest":4}`
)

func TestEncode(t *testing.T) {
	tests := map[string]struct {
		state State
		want  string
	}{
		"all fields": {full, encoded},
		"the minimum": {
			State{Stable: 1, Target: 1, Highest: 1},
			`{"stable":1,"target":1,"split":{},"before":{},"shiftedAt":"0001-01-01T00:00:00Z","highest":1}`,
		},
		"a percent of 0 is not none": {
			State{Stable: 1, Target: 1, Percent: new(0), Split: All(1), Highest: 1},
			`{"stable":1,"target":1,"percent":0,"split":{"1":100},"before":{},"shiftedAt":"0001-01-01T00:00:00Z","highest":1}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.state.Encode()); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			decoded, err := DecodeState(test.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.state, decoded, splitsByShares); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidStateIsNotDecoded(t *testing.T) {
	edit := func(from, to string) string { return strings.Replace(encoded, from, to, 1) }
	tests := map[string]struct{ text, want string }{
		"empty":                      {"", "EOF"},
		"no JSON":                    {"stable", "invalid character 's'"},
		"truncated":                  {encoded[:40], "unexpected EOF"},
		"trailing data":              {encoded + "}", "unexpected data after the JSON object"},
		"two states":                 {encoded + encoded, "unexpected data after the JSON object"},
		"a list":                     {"[]", "cannot unmarshal array"},
		"null":                       {"null", "it names no stable revision"},
		"no stable":                  {edit(`"stable":2`, `"stable":0`), "it names no stable revision"},
		"no target":                  {edit(`"target":3`, `"target":-1`), "it names no target revision"},
		"a negative previous":        {edit(`"previous":1`, `"previous":-1`), "its previous revision is -1"},
		"a previous that is stable":  {edit(`"previous":1`, `"previous":2`), "its stable and its previous revision are both 2"},
		"a percent below 0":          {edit(`"percent":10`, `"percent":-1`), "its percent is -1"},
		"a percent above 100":        {edit(`"percent":10`, `"percent":101`), "its percent is 101"},
		"a split that does not sum":  {edit(`"3":10`, `"3":11`), "a split sums to 101"},
		"a before that does not sum": {edit(`"before":{"2":100}`, `"before":{"2":1}`), "a split sums to 1"},
		"a target above the highest": {edit(`"highest":4`, `"highest":2`), "its highest revision is 2, and it names a higher one"},
		"a split above the highest":  {edit(`"split":{"2":90,"3":10}`, `"split":{"5":100}`), "its highest revision is 4, and it names a higher one"},
		"a before above the highest": {edit(`"before":{"2":100}`, `"before":{"5":100}`), "its highest revision is 4, and it names a higher one"},
		"a number without a next":    {edit(`"highest":4`, `"highest":9223372036854775807`), "leaves no number for the next"},
		"a number that is too large": {edit(`"highest":4`, `"highest":9223372036854775808`), "cannot unmarshal number"},
		"an invalid time":            {edit("2026-03-11", "2026-02-30"), "day out of range"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state, err := DecodeState(test.text)
			if err == nil || !strings.HasPrefix(err.Error(), "decoding the rollout state: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one that says %q", err, test.want)
			}
			if diff := cmp.Diff(State{}, state, splitsByShares); diff != "" {
				t.Errorf("the result is not empty:\n%s", diff)
			}
		})
	}
}

// TestUnknownFieldIsIgnored: an unknown field does not make the state invalid.
func TestUnknownFieldIsIgnored(t *testing.T) {
	decoded, err := DecodeState(strings.Replace(encoded, "{", `{"step":3,`, 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full, decoded, splitsByShares); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// TestStateTimes: times are in UTC with millisecond precision.
func TestStateTimes(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), All(1)), 2, new(10), up(1), up(2))
	clock := time.Date(2026, 3, 11, 13, 0, 0, 123456789, time.FixedZone("CET", 3600))
	got := Decide(observed, testPolicy, clock).State.ShiftedAt
	if want := time.Date(2026, 3, 11, 12, 0, 0, 123e6, time.UTC); got != want {
		t.Errorf("ShiftedAt is %v, want %v", got, want)
	}
}

func TestEncodePanicsOnInvalidTime(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the year 10000 is encoded")
		}
	}()
	State{Stable: 1, Target: 1, Highest: 1, ShiftedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}.Encode()
}
