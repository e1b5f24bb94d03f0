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
	"slices"
	"time"
)

// State is the rollout state: everything that the next decision needs and that neither the spec
// nor the pods show. It is stored on the route and changes in the same write as the weights, so
// that the two never disagree.
type State struct {
	// Version is the version of the format: [StateVersion], or 0 for the first release, which had
	// no version. It changes only together with another field, so that an upgrade writes nothing.
	Version int `json:"version,omitempty"`
	// Stable is the revision that was last given 100 % by a promotion.
	Stable Number `json:"stable"`
	// Previous is the stable before that. It is 0 if there is none to go back to.
	Previous Number `json:"previous,omitempty"`
	// Target and Percent are what the spec asked for when this was written. Percent is nil if
	// canaryTrafficPercent was absent. Only a *change* of the percent is a rollback, so the last
	// percent must be known.
	Target  Number `json:"target"`
	Percent *int   `json:"percent,omitempty"`
	// Hash is the hash of Target. If Target could not be created, it shows whether the spec still
	// asks for the same revision.
	Hash string `json:"inputs,omitempty"`
	// NothingToUndo is true if a percent below 100 asks for a rollback of the stable and no
	// previous revision is left.
	NothingToUndo bool `json:"nothingToUndo,omitempty"`

	// AskedAt is when Target or Percent last changed.
	AskedAt time.Time `json:"askedAt,omitzero"`
	// Tried is true if the target has no share now, but has had one since it became the target.
	Tried bool `json:"tried,omitempty"`
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
	// ServedBefore is the split that clients got when Split was written. It is reported until the gateway
	// has accepted the route. No traffic depends on it.
	ServedBefore Split `json:"before"`
	// ShiftedAt is when Split last changed.
	ShiftedAt time.Time `json:"shiftedAt"`
	// Held are the held replicas by revision: the ready replicas on which shares were granted.
	// Neither the autoscaler nor a lower minReplicas may take them away while they are held. A
	// revision with one held replica is left out, unless an external autoscaler scales it.
	Held map[Number]int `json:"floors,omitempty"`

	// Routed are the revisions that are not in Split and that a route has named. Their workloads
	// must be drained.
	Routed []Number `json:"routed,omitempty"`

	// Highest is the highest number ever assigned, so that no number is assigned twice, even if the
	// revision history is lost.
	Highest Number `json:"highest"`
}

// StateVersion is the version of the rollout state that this package writes.
const StateVersion = 2

// Replacement is a step in the replacement of the stable by the target on the same node.
type Replacement string

// The steps of a replacement.
const (
	Replacing         Replacement = "Replacing" // The stable makes room for the target.
	ReplacementFailed Replacement = "Failed"    // The stable comes back, and the target stays down.
)

// NewerVersionError reports that a later version of the operator wrote the rollout state. The
// operator must not change the state then.
type NewerVersionError struct{ Version int }

// Error returns a message that says what to do.
func (e *NewerVersionError) Error() string {
	return fmt.Sprintf("the rollout state has version %d and this operator knows versions up to %d: a later operator wrote it, so nothing is changed; run that version of the operator again",
		e.Version, StateVersion)
}

// Encode returns the canonical encoding. Equal states have equal encodings.
func (s State) Encode() string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encoding the rollout state: %v", err)) // Only a year above 9999.
	}
	return string(data)
}

// DecodeState decodes a rollout state. It returns an error for a state that no decision could have
// written, because the state is then better recovered from elsewhere. If a later version of the
// operator wrote the state, the error is a *[NewerVersionError].
func DecodeState(text string) (State, error) {
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal([]byte(text), &format); err == nil && format.Version > StateVersion {
		return State{}, &NewerVersionError{format.Version}
	}
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	var state State
	if err := decoder.Decode(&state); err != nil {
		return State{}, fmt.Errorf("decoding the rollout state: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return State{}, errors.New("decoding the rollout state: unexpected data after the JSON object")
	}
	if err := state.validate(); err != nil {
		return State{}, fmt.Errorf("decoding the rollout state: %w", err)
	}
	return state, nil
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
	case !isPercent(s.Percent):
		return fmt.Errorf("its percent is %d", *s.Percent)
	case s.Highest > math.MaxInt32:
		return fmt.Errorf("its highest revision is %d, which leaves no number for the next", s.Highest)
	case max(s.Stable, s.Target, s.Previous, s.Split.highest(), s.ServedBefore.highest()) > s.Highest:
		return fmt.Errorf("its highest revision is %d, and it names a higher one", s.Highest)
	}
	return nil
}

func (s State) clone() State {
	s.Held = maps.Clone(s.Held)
	s.Routed = slices.Clone(s.Routed)
	return s
}

// hadShare reports whether the target has had a share since it became the target. The first release
// did not store this: its state shows only the last shift. If it is unclear, hadShare returns true.
func (s State) hadShare() bool {
	inferred := s.ServedBefore.Percent(s.Target) > 0 || s.Split.Has(s.Target) && s.ServedBefore.Equal(s.Split)
	return s.Tried || s.Split.Percent(s.Target) > 0 || s.Version < StateVersion && inferred
}

// hasRouted reports whether a route may ever have named a revision. The first release did not store
// this, so hasRouted returns true for its state.
func (s State) hasRouted(n Number) bool {
	return s.Stable != 0 && (s.Version < StateVersion || s.Split.Has(n) || s.ServedBefore.Has(n) || slices.Contains(s.Routed, n))
}
