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

// Record is the memory of a rollout: all that the next decision needs and that neither the spec nor the pods can
// tell. It sits on the route and changes in the same write as the weights, so that the two can never disagree.
type Record struct {
	// Version is the version of the format: [RecordVersion], or 0 for a record of the first release, which had none.
	// A record gets the current version only together with another change, so that an upgrade writes nothing.
	Version int `json:"version,omitempty"`
	// Stable is the revision that was last given 100 % by a promotion.
	Stable Number `json:"stable"`
	// Previous was the stable before that; 0 when there is none to go back to.
	Previous Number `json:"previous,omitempty"`
	// Target is the revision that the spec asked for when this was written, and Percent what it asked for it: nil
	// where canaryTrafficPercent was absent. A rollback is a *change* of the percent, so the last one must be known.
	Target  Number `json:"target"`
	Percent *int   `json:"percent,omitempty"`
	// Inputs are those of Target. Should nothing have come of it, because it could not be made, they tell whether it is
	// still what is asked for.
	Inputs string `json:"inputs,omitempty"`
	// NothingToUndo remembers that a percent below 100 asked for the stable to be rolled back when no previous
	// revision was left.
	NothingToUndo bool `json:"nothingToUndo,omitempty"`

	// AskedAt is when Target or Percent last changed.
	AskedAt time.Time `json:"askedAt,omitzero"`
	// Tried says that the target has no share, and has had one since it became the target.
	Tried bool `json:"tried,omitempty"`
	// Returning says that the stable, which had no share, gets its share in parts.
	Returning bool `json:"returning,omitempty"`
	// LostAt is when the target's share was last taken away because it lost its readiness.
	LostAt time.Time `json:"lostAt,omitzero"`
	// Replacement is how far the target has taken the place of the stable; empty where both may run.
	Replacement Replacement `json:"replacement,omitempty"`
	// ReplacingSince is when the stable was taken down to make room for the target.
	ReplacingSince time.Time `json:"replacingSince,omitzero"`

	// Split is what the route was told.
	Split Split `json:"split"`
	// Before is the split that the gateway was last known to serve when Split was written. Until the gateway takes
	// Split over, this is what clients get. No traffic depends on it.
	Before Split `json:"before"`
	// ShiftedAt is when Split last changed.
	ShiftedAt time.Time `json:"shiftedAt"`
	// Floors are the ready replicas that shares were given on, by revision: neither the autoscaler nor a lower minimum
	// may take them away while the rollout lasts. Revisions whose floor is 1 are left out.
	Floors map[Number]int `json:"floors,omitempty"`

	// Routed are the revisions out of Split that a route has named: their workloads must be drained.
	Routed []Number `json:"routed,omitempty"`

	// Highest is the highest number ever given out, so that none is given twice, not even after records were lost.
	Highest Number `json:"highest"`
}

// RecordVersion is the version of the records that this package writes.
const RecordVersion = 2

// Replacement is how far a target has taken the place of the stable on the same node.
type Replacement string

// The steps of a replacement.
const (
	Replacing         Replacement = "Replacing" // The stable is taken down, and the target comes up in its place.
	ReplacementFailed Replacement = "Failed"    // The target did not come up, and the stable is back.
)

// NewerVersionError says that a later version of the operator wrote the record. It must be left alone.
type NewerVersionError struct{ Version int }

// Error says what to do.
func (e *NewerVersionError) Error() string {
	return fmt.Sprintf("the rollout state has version %d and this operator knows versions up to %d: a later operator wrote it, so nothing is changed; run that version of the operator again",
		e.Version, RecordVersion)
}

// Encode writes the record in its one canonical form: equal records encode alike.
func (r Record) Encode() string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encoding a rollout record: %v", err)) // Numbers, booleans and times always encode.
	}
	return string(data)
}

// DecodeRecord reads a record and refuses one that no decision could have written: history is better recovered from
// elsewhere than from an edited record. Its error is a *[NewerVersionError] where a later version wrote the record.
func DecodeRecord(text string) (Record, error) {
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal([]byte(text), &format); err == nil && format.Version > RecordVersion {
		return Record{}, &NewerVersionError{format.Version}
	}
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	var record Record
	if err := decoder.Decode(&record); err != nil {
		return Record{}, fmt.Errorf("decoding the rollout record: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Record{}, errors.New("decoding the rollout record: it is followed by something else")
	}
	if err := record.validate(); err != nil {
		return Record{}, fmt.Errorf("decoding the rollout record: %w", err)
	}
	return record, nil
}

func (r Record) validate() error {
	switch {
	case r.Version < 0:
		return fmt.Errorf("its version is %d", r.Version)
	case r.Stable < 1:
		return errors.New("it names no stable revision")
	case r.Target < 1:
		return errors.New("it names no target revision")
	case r.Previous < 0:
		return fmt.Errorf("its previous revision is %d", r.Previous)
	case r.Previous == r.Stable:
		return fmt.Errorf("its stable and its previous revision are both %d", r.Stable)
	case !isPercent(r.Percent):
		return fmt.Errorf("its percent is %d", *r.Percent)
	case r.Highest > math.MaxInt32:
		return fmt.Errorf("its highest revision is %d, which leaves no number for the next", r.Highest)
	case max(r.Stable, r.Target, r.Previous, r.Split.highest(), r.Before.highest()) > r.Highest:
		return fmt.Errorf("its highest revision is %d, and it names a higher one", r.Highest)
	}
	return nil
}

func (r Record) clone() Record {
	r.Floors = maps.Clone(r.Floors)
	r.Routed = slices.Clone(r.Routed)
	return r
}

// hadShare reports whether the target has had a share since it became the target. The first release did not note it; its
// record tells of the last shift only, and says nothing once the gateway has accepted that.
func (r Record) hadShare() bool {
	untold := r.Before.Percent(r.Target) > 0 || r.Split.Has(r.Target) && r.Before.Equal(r.Split)
	return r.Tried || r.Split.Percent(r.Target) > 0 || r.Version < RecordVersion && untold
}

// hasRouted reports whether a route may ever have named a revision. The first release did not note it.
func (r Record) hasRouted(n Number) bool {
	return r.Stable != 0 && (r.Version < RecordVersion || r.Split.Has(n) || r.Before.Has(n) || slices.Contains(r.Routed, n))
}
