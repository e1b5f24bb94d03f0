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
	"time"
)

// Record is the memory of a rollout: all that the next decision needs and that neither the spec nor the pods can
// tell. It sits on the route and changes in the same write as the weights, so that the two can never disagree.
type Record struct {
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

	// Highest is the highest number ever given out, so that none is given twice, not even after records were lost.
	Highest Number `json:"highest"`
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
// elsewhere than from a record that somebody has edited.
func DecodeRecord(text string) (Record, error) {
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
	return r
}
