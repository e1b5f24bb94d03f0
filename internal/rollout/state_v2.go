// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import "time"

// stateV2 is the format of the rollout state in the versions 1 and 2. See [StateVersion].
type stateV2 struct {
	Version        int            `json:"version"`
	Stable         Number         `json:"stable"`
	Previous       Number         `json:"previous"`
	Target         Number         `json:"target"`
	Percent        *int           `json:"percent"`
	Inputs         string         `json:"inputs"`
	NothingToUndo  bool           `json:"nothingToUndo"`
	AskedAt        time.Time      `json:"askedAt"`
	Tried          bool           `json:"tried"`
	Returning      bool           `json:"returning"`
	LostAt         time.Time      `json:"lostAt"`
	Replacement    Replacement    `json:"replacement"`
	ReplacingSince time.Time      `json:"replacingSince"`
	Split          Split          `json:"split"`
	Before         Split          `json:"before"`
	ShiftedAt      time.Time      `json:"shiftedAt"`
	Floors         map[Number]int `json:"floors"`
	Routed         []Number       `json:"routed"`
	Highest        Number         `json:"highest"`
}

func (s stateV2) state() State {
	return State{
		Version: s.Version, Stable: s.Stable, Previous: s.Previous, Target: s.Target,
		Asked: PercentIntent(s.Percent, nil), Hash: s.Inputs, NothingToUndo: s.NothingToUndo,
		AskedAt: s.AskedAt, Tried: s.Tried, Returning: s.Returning, LostAt: s.LostAt,
		Replacement: s.Replacement, ReplacingSince: s.ReplacingSince,
		Split: s.Split, ServedBefore: s.Before, ShiftedAt: s.ShiftedAt, Held: heldBy(s.Floors), Routed: s.Routed, Highest: s.Highest,
	}
}

// withInferred returns a state of version 1 with the fields of version 2 that can be inferred. In
// doubt, the target has had a share, and a route has named every revision.
func (s State) withInferred(revisions []Revision) State {
	if s.Version > 1 || s.Stable == 0 {
		return s
	}
	s = s.clone()
	had := s.ServedBefore.Percent(s.Target) > 0 || s.Split.Has(s.Target) && s.ServedBefore.Equal(s.Split)
	s.Tried = s.Split.Percent(s.Target) == 0 && (s.Tried || had)
	for _, revision := range revisions {
		if n := revision.Number; !s.hasRouted(n) {
			s.Routed = append(s.Routed, n)
		}
	}
	return s
}
