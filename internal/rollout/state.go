// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// State is the rollout state: everything that the next decision needs and that neither the spec nor
// the pods show. It is stored on the route and changes in the same write as the weights, so that
// the two never disagree.
type State struct {
	// Version is the version of the format: [StateVersion], or an earlier one. It changes only
	// together with another field, so that an upgrade writes nothing.
	Version int `json:"version"`
	// Stable is the revision that was last given 100 % by a promotion.
	Stable Number `json:"stable"`
	// Previous is the stable before that. It is 0 if there is none to go back to.
	Previous Number `json:"previous,omitempty"`
	// Target is the revision that was asked for when this was written, and Asked what was asked of
	// its traffic. Only a *change* of the percent is a rollback, so the last intent must be known.
	Target Number `json:"target"`
	Asked  Intent `json:"asked"`
	// Hash is the hash of Target. If Target could not be created, it shows whether the spec still
	// asks for the same revision.
	Hash string `json:"hash,omitempty"`
	// NothingToUndo is true if the promotion of the stable must be undone and no previous revision
	// is left.
	NothingToUndo bool `json:"nothingToUndo,omitempty"`

	// AskedAt is when Target or Asked last changed.
	AskedAt time.Time `json:"askedAt,omitzero"`
	// Tried is true if the target has no share now, but has had one since it became the target.
	Tried bool `json:"tried,omitempty"`
	// TrialBegan is when the target, which is not the stable, entered the split.
	TrialBegan time.Time `json:"trialBegan,omitzero"`
	// WaitingSince is since when a share waits for replicas. It is stored only together with
	// another change of the state, so it can be late.
	WaitingSince time.Time `json:"waitingSince,omitzero"`
	// Returning is true while the stable, which had no share, gets its share in parts.
	Returning bool `json:"returning,omitempty"`
	// LostAt is when the target last lost its share because it lost its readiness.
	LostAt time.Time `json:"lostAt,omitzero"`
	// Replacement is the step of a replacement. It is empty while both the stable and the target
	// may run.
	Replacement Replacement `json:"replacement,omitempty"`
	// ReplacingSince is when the stable was scaled down to make room for the target.
	ReplacingSince time.Time `json:"replacingSince,omitzero"`

	// Split is the desired split of the route.
	Split Split `json:"split"`
	// ServedBefore is the split that clients got when Split was written. It is reported until the
	// gateway has accepted the route. No traffic depends on it.
	ServedBefore Split `json:"servedBefore"`
	// ShiftedAt is when Split last changed.
	ShiftedAt time.Time `json:"shiftedAt"`
	// Held are the held replicas: the ready replicas on which shares were granted. Neither the
	// autoscaler nor a lower minReplicas may take them away while they are held. A single held
	// replica is left out, unless an external autoscaler scales the workload.
	Held Held `json:"held,omitempty"`

	// Routed are the revisions that are not in Split and that a route has named. Their workloads
	// must be drained.
	Routed []Number `json:"routed,omitempty"`

	// Highest is the highest number ever assigned, so that no number is assigned twice, even if the
	// revision history is lost.
	Highest Number `json:"highest"`

	// Trial is the trial of the target, or nil if no policy moves its share. Rejected are the
	// revisions that get no share before a person asks for it. Attempts counts the trials of each
	// revision, so that a command for an earlier one has no effect.
	Trial    *Trial               `json:"trial,omitempty"`
	Rejected map[Number]Rejection `json:"rejected,omitempty"`
	Attempts map[Number]int       `json:"attempts,omitempty"`

	// decoded is what the state was decoded from. It is nil for a new state.
	decoded *decodedState
}

// Held maps revisions and their components to numbers of replicas.
type Held map[Number]map[Component]int

func heldBy(replicas map[Number]int) Held {
	var held Held
	for n, count := range replicas {
		if held == nil {
			held = Held{}
		}
		held[n] = map[Component]int{Predictor: count}
	}
	return held
}

func (h Held) replicas(n Number) int { return h[n][Predictor] }

// StateVersion is the version of the rollout state that this package writes. The first release
// wrote no version.
//
//	1 (or none)  the first release
//	2            askedAt, tried, returning, lostAt, replacement, replacingSince, routed
//	3            trialBegan, waitingSince, trial, rejected, attempts; asked, hash, servedBefore and
//	             held (by component) in the place of percent, inputs, before and floors
const StateVersion = 3

// Replacement is a step in the replacement of the stable by the target on the same node.
type Replacement string

// The steps of a replacement.
const (
	Replacing         Replacement = "Replacing" // The stable makes room for the target.
	ReplacementFailed Replacement = "Failed"    // The stable comes back, and the target stays down.
)

// decodedState is a decoded text with the state that it stands for.
type decodedState struct {
	text  string
	state State
	// unknown are the fields of the text that this package does not know.
	unknown map[string]json.RawMessage
}

// NewerVersionError reports that a later version of the operator wrote the rollout state. The
// operator must not change the state then.
type NewerVersionError struct{ Version int }

// Error returns a message that says what to do.
func (e *NewerVersionError) Error() string {
	return fmt.Sprintf("the rollout state has version %d and this operator knows versions up to %d: a later operator wrote it, so nothing is changed; run that version of the operator again",
		e.Version, StateVersion)
}

// Encode returns the encoding of the state. A state that was decoded and has not changed keeps its
// text, whatever its version is. Any other state is encoded in the current version, with the unknown
// fields that it was decoded with. New states that are equal have equal encodings.
func (s State) Encode() string {
	if s.decoded != nil && s.Equal(s.decoded.state) {
		return s.decoded.text
	}
	s.Version = StateVersion
	text := encode(s)
	if s.decoded == nil || len(s.decoded.unknown) == 0 {
		return text
	}
	return strings.TrimSuffix(text, "}") + "," + strings.TrimPrefix(encode(s.decoded.unknown), "{")
}

// Equal reports whether both states have the same content, whatever their versions are.
func (s State) Equal(other State) bool {
	s.Version, other.Version = 0, 0
	return encode(s) == encode(other)
}

func encode(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encoding the rollout state: %v", err)) // Only a year above 9999.
	}
	return string(data)
}

// DecodeState decodes a rollout state. It returns an error for a state that no decision could have
// written, because the state is then better recovered from elsewhere. If a later version of the
// operator wrote the state, the error is a *[NewerVersionError].
func DecodeState(text string) (State, error) {
	state, err := decodeState(text)
	if newer, is := errors.AsType[*NewerVersionError](err); is {
		return State{}, newer
	}
	if err != nil {
		return State{}, fmt.Errorf("decoding the rollout state: %w", err)
	}
	return state, nil
}

func decodeState(text string) (State, error) {
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal([]byte(text), &format); err == nil && format.Version > StateVersion {
		return State{}, &NewerVersionError{format.Version}
	}
	var state State
	if format.Version < 3 {
		var earlier stateV2
		if err := decodeExactly(text, &earlier); err != nil {
			return State{}, err
		}
		state = earlier.state()
	} else if err := decodeExactly(text, &state); err != nil {
		return State{}, err
	}
	if err := state.validate(); err != nil {
		return State{}, err
	}
	state.decoded = &decodedState{text: text, state: state, unknown: unknownFields(text)}
	return state, nil
}

func decodeExactly(text string, state any) error {
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	if err := decoder.Decode(state); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("unexpected data after the JSON object")
	}
	return nil
}

// unknownFields returns the fields that no version up to this one has. Names are compared as package
// json does, regardless of case.
func unknownFields(text string) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil
	}
	for _, known := range []reflect.Type{reflect.TypeFor[State](), reflect.TypeFor[stateV2]()} {
		for field := range known.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			maps.DeleteFunc(fields, func(found string, _ json.RawMessage) bool { return strings.EqualFold(found, name) })
		}
	}
	return fields
}

func (s State) validate() error {
	switch {
	case s.Version < 0:
		return fmt.Errorf("its version is %d", s.Version)
	case s.Stable < 1:
		return errors.New("it names no stable revision")
	case s.Target < 1:
		return errors.New("it names no target revision")
	case s.Previous < 0:
		return fmt.Errorf("its previous revision is %d", s.Previous)
	case s.Previous == s.Stable:
		return fmt.Errorf("its stable and its previous revision are both %d", s.Stable)
	case !s.Asked.isValid():
		return fmt.Errorf("it asks for a share of %d", s.Asked.Share)
	case s.Highest > math.MaxInt32:
		return fmt.Errorf("its highest revision is %d, which leaves no number for the next", s.Highest)
	case max(s.Stable, s.Target, s.Previous, s.Split.highest(), s.ServedBefore.highest()) > s.Highest:
		return fmt.Errorf("its highest revision is %d, and it names a higher one", s.Highest)
	}
	return s.validateTrials()
}

// validateTrials tolerates unknown reasons of a rejection, which a later version may have written.
func (s State) validateTrials() error {
	if trial := s.Trial; trial != nil {
		switch {
		case trial.Attempt < 1:
			return fmt.Errorf("its trial has the attempt %d", trial.Attempt)
		case trial.Share < 0 || trial.Share > 100:
			return fmt.Errorf("its trial has a share of %d", trial.Share)
		case trial.Bake < 0:
			return fmt.Errorf("its trial bakes for %s", trial.Bake)
		case trial.Attempt > s.Attempts[s.Target]:
			return fmt.Errorf("its trial has the attempt %d, and revision %d has had %d", trial.Attempt, s.Target, s.Attempts[s.Target])
		}
	}
	for n, rejection := range s.Rejected {
		if n < 1 || rejection.Attempt < 1 {
			return fmt.Errorf("it rejects attempt %d of revision %d", rejection.Attempt, n)
		}
	}
	for n, attempts := range s.Attempts {
		if n < 1 || attempts < 1 {
			return fmt.Errorf("revision %d has had %d attempts", n, attempts)
		}
	}
	return nil
}

func (s State) clone() State {
	held := Held{}
	for n, components := range s.Held {
		held[n] = maps.Clone(components)
	}
	if s.Held != nil {
		s.Held = held
	}
	s.Routed = slices.Clone(s.Routed)
	s.Rejected, s.Attempts = maps.Clone(s.Rejected), maps.Clone(s.Attempts)
	if s.Trial != nil {
		s.Trial = new(*s.Trial)
	}
	return s
}

// hadShare reports whether the target has had a share since it became the target.
func (s State) hadShare() bool { return s.Tried || s.Split.Percent(s.Target) > 0 }

// hasRouted reports whether a route may ever have named a revision.
func (s State) hasRouted(n Number) bool {
	return s.Stable != 0 && (s.Split.Has(n) || s.ServedBefore.Has(n) || slices.Contains(s.Routed, n))
}
