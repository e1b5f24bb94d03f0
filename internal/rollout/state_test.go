// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// full is a state with every field, and encoded is its encoding. Every later version must decode
// it, and the encodings of the earlier versions below.
var (
	full = State{
		Version: 3, Stable: 2, Previous: 1, Target: 3, Asked: Intent{Share: 100, Promote: true}, Hash: "c-inputs", NothingToUndo: true,
		AskedAt: second(1), Tried: true, TrialBegan: second(2), WaitingSince: second(3), Returning: true, LostAt: second(4),
		Replacement: Replacing, ReplacingSince: second(5),
		Split: canarySplit(3, 10, 2), ServedBefore: All(2), ShiftedAt: second(6),
		Held: heldBy(map[Number]int{2: 7, 3: 2}), Routed: []Number{1}, Highest: 4,
	}
	encoded = `{"version":3,"stable":2,"previous":1,"target":3,"asked":{"share":100,"promote":true},"hash":"c-inputs","nothingToUndo":true,` +
		`"askedAt":"2026-03-11T12:00:01Z","tried":true,"trialBegan":"2026-03-11T12:00:02Z","waitingSince":"2026-03-11T12:00:03Z",` +
		`"returning":true,"lostAt":"2026-03-11T12:00:04Z","replacement":"Replacing","replacingSince":"2026-03-11T12:00:05Z",` +
		`"split":{"2":90,"3":10},"servedBefore":{"2":100},"shiftedAt":"2026-03-11T12:00:06Z",` +
		`"held":{"2":{"predictor":7},"3":{"predictor":2}},"routed":[1],"highest":4}`

	// tried is a state with trials, which full has none of.
	tried = State{
		Version: 3, Stable: 1, Target: 3, Asked: Intent{Share: 50}, Split: canarySplit(3, 10, 1), ShiftedAt: second(6), Highest: 3,
		Trial:    &Trial{Attempt: 2, Policy: "standard", Share: 10, Began: second(5)},
		Rejected: map[Number]Rejection{2: {Attempt: 1, Reason: Harmful, At: second(1)}}, Attempts: map[Number]int{2: 1, 3: 2},
	}
	encodedTried = `{"version":3,"stable":1,"target":3,"asked":{"share":50},"split":{"1":90,"3":10},"servedBefore":{},` +
		`"shiftedAt":"2026-03-11T12:00:06Z","highest":3,"trial":{"attempt":2,"policy":"standard","share":10,"began":"2026-03-11T12:00:05Z"},` +
		`"rejected":{"2":{"attempt":1,"reason":"Harm","at":"2026-03-11T12:00:01Z"}},"attempts":{"2":1,"3":2}}`
	baked = State{
		Version: 3, Stable: 2, Previous: 1, Target: 2, Asked: Intent{Share: 100, Promote: true}, Split: All(2), ShiftedAt: second(6), Highest: 2,
		Trial: &Trial{Attempt: 1, Policy: "standard", Share: 100, Began: second(5), Bake: time.Hour}, Attempts: map[Number]int{2: 1},
	}
	encodedBaked = `{"version":3,"stable":2,"previous":1,"target":2,"asked":{"share":100,"promote":true},"split":{"2":100},"servedBefore":{},` +
		`"shiftedAt":"2026-03-11T12:00:06Z","highest":2,"trial":{"attempt":1,"policy":"standard","share":100,"began":"2026-03-11T12:00:05Z","bake":3600000000000},` +
		`"attempts":{"2":1}}`

	encodedV1 = `{"stable":2,"previous":1,"target":3,"percent":10,"inputs":"c-inputs","nothingToUndo":true,` +
		`"split":{"2":90,"3":10},"before":{"2":100},"shiftedAt":"2026-03-11T12:00:06Z","floors":{"2":7,"3":2},"highest":4}`
	encodedV2 = `{"version":2,"stable":2,"previous":1,"target":3,"inputs":"c-inputs","nothingToUndo":true,` +
		`"askedAt":"2026-03-11T12:00:01Z","tried":true,"returning":true,"lostAt":"2026-03-11T12:00:04Z",` +
		`"replacement":"Replacing","replacingSince":"2026-03-11T12:00:05Z",` +
		`"split":{"2":90,"3":10},"before":{"2":100},"shiftedAt":"2026-03-11T12:00:06Z","floors":{"2":7,"3":2},"routed":[1],"highest":4}`
)

func second(n int) time.Time { return time.Date(2026, 3, 11, 12, 0, n, 0, time.UTC) }

func TestEncode(t *testing.T) {
	tests := map[string]struct {
		state State
		want  string
	}{
		"all fields": {full, encoded},
		"trials":     {tried, encodedTried},
		"a bake":     {baked, encodedBaked},
		"the minimum": {
			State{Version: 3, Stable: 1, Target: 1, Highest: 1},
			`{"version":3,"stable":1,"target":1,"asked":{"share":0},"split":{},"servedBefore":{},"shiftedAt":"0001-01-01T00:00:00Z","highest":1}`,
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

// TestDecodeEarlierVersion: a state of an earlier version keeps its text until it changes.
func TestDecodeEarlierVersion(t *testing.T) {
	first := State{
		Stable: 2, Previous: 1, Target: 3, Asked: Intent{Share: 10}, Hash: "c-inputs", NothingToUndo: true,
		Split: canarySplit(3, 10, 2), ServedBefore: All(2), ShiftedAt: second(6), Held: full.Held, Highest: 4,
	}
	second := full
	second.Version, second.TrialBegan, second.WaitingSince = 2, time.Time{}, time.Time{}
	for name, test := range map[string]struct {
		text string
		want State
	}{
		"1":                 {encodedV1, first},
		"1, without values": {`{"stable":1,"target":1,"percent":0,"split":{"1":100},"before":{},"highest":1}`, State{Stable: 1, Target: 1, Split: All(1), Highest: 1}},
		"2":                 {encodedV2, second},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeState(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, splitsByShares); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.text, got.Encode()); diff != "" {
				t.Errorf("encoded without a change (-want +got):\n%s", diff)
			}
			got.NothingToUndo = !got.NothingToUndo
			again, err := DecodeState(got.Encode())
			if err != nil || again.Version != StateVersion {
				t.Fatalf("a change is encoded as %s: %v", got.Encode(), err)
			}
			if again.Version = got.Version; !again.Equal(got) {
				t.Errorf("a change is encoded as %s", got.Encode())
			}
		})
	}
}

// TestUnknownFieldSurvives: a field of a later version with the same version number is not lost.
func TestUnknownFieldSurvives(t *testing.T) {
	for _, text := range []string{encodedV1, encodedV2, encoded, encodedTried} {
		text = strings.Replace(text, "{", `{"step":{"at":3},`, 1)
		state, err := DecodeState(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := state.Encode(); got != text {
			t.Errorf("without a change it is encoded as %s", got)
		}
		state.Tried = !state.Tried
		again, err := DecodeState(state.Encode())
		if err != nil || !again.Equal(state) || !strings.Contains(again.Encode(), `"step":{"at":3}`) {
			t.Errorf("with a change it is encoded as %s: %v", state.Encode(), err)
		}
	}
}

// TestStatesOfEarlierVersions plays the scripts of the golden traces and replaces each rollout
// state by the one that the given version of the operator wrote at that time. No write of a weight
// may result, and the script writes and serves the same splits.
func TestStatesOfEarlierVersions(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		var states []struct{ Script, At, State string }
		data, err := os.ReadFile(filepath.Join("testdata", "states-"+version+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &states); err != nil {
			t.Fatal(err)
		}
		for name, script := range scripts {
			t.Run(version+" "+name, func(t *testing.T) {
				replaced := map[time.Duration]string{}
				for _, earlier := range states {
					if at, err := time.ParseDuration(earlier.At); err == nil && earlier.Script == name {
						replaced[at] = earlier.State
					}
				}
				count := 0
				script.every = func(sim *simulation) {
					text, found := replaced[sim.now.Sub(testNow)]
					if !found {
						return
					}
					count++
					sim.route.state = text
					decision := sim.decide().decision
					if !decision.State.Split.Equal(sim.route.desired) || decision.State.Encode() != text {
						t.Errorf("%s: the state\n%s\nbecomes\n%s", sim.now.Sub(testNow), text, decision.State.Encode())
					}
				}
				if diff := cmp.Diff(splitsIn(golden(t, name)), splitsIn(script.play().trace.String())); diff != "" {
					t.Errorf("the splits change (-want +got):\n%s", diff)
				}
				if count == 0 || count != len(replaced) {
					t.Errorf("%d of %d states were used", count, len(replaced))
				}
			})
		}
	}
}

// splitsIn returns the lines of a trace about splits that are written or served.
func splitsIn(trace string) []string {
	return slices.DeleteFunc(strings.Split(trace, "\n"), func(line string) bool {
		return !strings.Contains(line, " routes ") && !strings.Contains(line, " serves ")
	})
}

func TestInvalidStateIsNotDecoded(t *testing.T) {
	edit := func(from, to string) string { return strings.Replace(encoded, from, to, 1) }
	tries := func(from, to string) string { return strings.Replace(encodedTried, from, to, 1) }
	tests := map[string]struct{ text, want string }{
		"empty":                          {"", "EOF"},
		"no JSON":                        {"stable", "invalid character 's'"},
		"truncated":                      {encoded[:40], "unexpected EOF"},
		"trailing data":                  {encoded + "}", "unexpected data after the JSON object"},
		"two states":                     {encoded + encoded, "unexpected data after the JSON object"},
		"a list":                         {"[]", "cannot unmarshal array"},
		"null":                           {"null", "it names no stable revision"},
		"no stable":                      {edit(`"stable":2`, `"stable":0`), "it names no stable revision"},
		"no target":                      {edit(`"target":3`, `"target":-1`), "it names no target revision"},
		"a negative previous":            {edit(`"previous":1`, `"previous":-1`), "its previous revision is -1"},
		"a previous that is stable":      {edit(`"previous":1`, `"previous":2`), "its stable and its previous revision are both 2"},
		"a share below 0":                {edit(`"share":100,"promote":true`, `"share":-1`), "it asks for a share of -1"},
		"a share above 100":              {edit(`"share":100,"promote":true`, `"share":101`), "it asks for a share of 101"},
		"a promotion with a share":       {edit(`"share":100`, `"share":50`), "it asks for a share of 50"},
		"a percent below 0 in version 1": {strings.Replace(encodedV1, `"percent":10`, `"percent":-1`, 1), "it asks for a share of -1"},
		"a split that does not sum":      {edit(`"3":10`, `"3":11`), "a split sums to 101"},
		"a served one that does not sum": {edit(`"servedBefore":{"2":100}`, `"servedBefore":{"2":1}`), "a split sums to 1"},
		"a target above the highest":     {edit(`"highest":4`, `"highest":2`), "its highest revision is 2, and it names a higher one"},
		"a split above the highest":      {edit(`"split":{"2":90,"3":10}`, `"split":{"5":100}`), "its highest revision is 4, and it names a higher one"},
		"a served one above the highest": {edit(`"servedBefore":{"2":100}`, `"servedBefore":{"5":100}`), "its highest revision is 4, and it names a higher one"},
		"a before above, in version 1":   {strings.Replace(encodedV1, `"before":{"2":100}`, `"before":{"5":100}`, 1), "its highest revision is 4, and it names a higher one"},
		"a number without a next":        {edit(`"highest":4`, `"highest":9223372036854775807`), "leaves no number for the next"},
		"a number that is too large":     {edit(`"highest":4`, `"highest":9223372036854775808`), "cannot unmarshal number"},
		"an invalid time":                {edit("2026-03-11", "2026-02-30"), "day out of range"},
		"no attempt of the trial":        {tries(`"attempt":2`, `"attempt":0`), "its trial has the attempt 0"},
		"an attempt that is not counted": {tries(`"3":2}`, `"3":1}`), "its trial has the attempt 2, and revision 3 has had 1"},
		"a trial with a negative share":  {tries(`"share":10`, `"share":-1`), "its trial has a share of -1"},
		"a trial above 100":              {tries(`"share":10`, `"share":101`), "its trial has a share of 101"},
		"a negative bake":                {tries(`"share":10`, `"share":10,"bake":-1`), "its trial bakes for -1ns"},
		"a rejection of no attempt":      {tries(`"attempt":1`, `"attempt":0`), "it rejects attempt 0 of revision 2"},
		"a rejection of no revision":     {tries(`"rejected":{"2"`, `"rejected":{"0"`), "it rejects attempt 1 of revision 0"},
		"no attempts of a revision":      {tries(`"2":1,`, `"2":0,`), "revision 2 has had 0 attempts"},
		"a negative version":             {edit(`"version":3`, `"version":-1`), "its version is -1"},
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

// TestUnknownReasonIsDecoded: a later version may reject for other reasons.
func TestUnknownReasonIsDecoded(t *testing.T) {
	text := strings.Replace(encodedTried, `"Harm"`, `"Other"`, 1)
	if state, err := DecodeState(text); err != nil || state.Rejected[2].Reason != "Other" || state.Encode() != text {
		t.Errorf("it is decoded as %+v: %v", state, err)
	}
}

// TestStateIsSmall: a state with a trial and ten rejections is an annotation of less than 2.1 KB.
func TestStateIsSmall(t *testing.T) {
	state := full
	state.Trial = &Trial{Attempt: 12, Policy: strings.Repeat("p", 63), Share: 100, Began: testNow.Add(time.Millisecond), Bake: 168 * time.Hour}
	state.Rejected, state.Attempts, state.Hash = map[Number]Rejection{}, map[Number]int{state.Target: 12}, strings.Repeat("h", 64)
	for n := Number(1001); n <= 1010; n++ {
		state.Rejected[n], state.Attempts[n] = Rejection{Attempt: 10, Reason: Unscheduled, At: testNow.Add(time.Millisecond)}, 10
	}
	if size := len(state.Encode()); size >= 2100 {
		t.Errorf("it has %d bytes", size)
	}
}

// TestStateTimes: times are in UTC with millisecond precision.
func TestStateTimes(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), All(1)), 2, new(10), up(1), up(2))
	clock := time.Date(2026, 3, 11, 13, 0, 0, 123456789, time.FixedZone("CET", 3600))
	got := Decide(observed, testPolicy, clock).State
	if want := time.Date(2026, 3, 11, 12, 0, 0, 123e6, time.UTC); got.ShiftedAt != want || got.TrialBegan != want {
		t.Errorf("ShiftedAt is %v, TrialBegan %v, want %v", got.ShiftedAt, got.TrialBegan, want)
	}
}

// TestWaitingSince: the time is stored with the change that begins the wait, stays with further
// changes, and goes with the share. It is never a change of its own.
func TestWaitingSince(t *testing.T) {
	bounds := Bounds{Min: 1, Max: 10}
	observed := newSnapshot(rolloutState(1, 0, 2, new(10), canarySplit(2, 10, 1)), 2, new(50), upWith(1, 4), upWith(2, 1))
	observed.Desired.Replicas = bounds
	first := Decide(observed, testPolicy, testNow)
	if first.Waiting == nil || first.State.WaitingSince != testNow {
		t.Fatalf("the state is %s, waiting for %v", first.State.Encode(), first.Waiting)
	}
	observed.Route.State = first.State
	later := testNow.Add(time.Minute)
	if again := Decide(observed, testPolicy, later); !again.State.Equal(*first.State) {
		t.Errorf("the state changes to %s", again.State.Encode())
	}
	observed.Revisions[1] = upWith(2, 3)
	if shifted := Decide(observed, testPolicy, later); !shifted.State.WaitingSince.IsZero() || shifted.State.Split.Percent(2) != 50 {
		t.Errorf("with its replicas the state is %s", shifted.State.Encode())
	}
	observed.Revisions[1] = upWith(2, 1)
	unchanged := newSnapshot(rolloutState(1, 0, 2, new(50), canarySplit(2, 10, 1)), 2, new(50), upWith(1, 4), upWith(2, 1))
	unchanged.Desired.Replicas = bounds
	if decision := Decide(unchanged, testPolicy, later); !decision.State.Equal(*unchanged.Route.State) {
		t.Errorf("the time alone changes the state to %s", decision.State.Encode())
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
