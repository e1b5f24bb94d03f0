// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/json"

	"github.com/serinus-io/serinus/internal/policy"
)

// Begun is what must not change during a trial. It is kept with the rollout state.
type Begun struct {
	Analysis policy.Analysis `json:"analysis"`
	Bake     bool            `json:"bake,omitempty"`
}

// BegunWith returns what a trial of the plan begins with; nil if the plan measures nothing.
func BegunWith(plan *policy.Plan) *Begun {
	if plan == nil || plan.Analysis == nil {
		return nil
	}
	return &Begun{Analysis: *plan.Analysis, Bake: plan.Bake > 0}
}

// Encode returns the encoding of what a trial begins with; nil if it measures nothing.
func (b *Begun) Encode() json.RawMessage {
	if b == nil {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // Numbers from a valid policy are finite.
	}
	return text
}

// DecodeBegun returns what a trial began with; nil if it measures nothing, or if the text is not from
// [Begun.Encode].
func DecodeBegun(text json.RawMessage) *Begun {
	var begun Begun
	if err := json.Unmarshal(text, &begun); err != nil || begun.Analysis.Interval <= 0 {
		return nil
	}
	return &begun
}
