// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

// Intent is what is asked of the target's traffic. To hold a rollout is to ask for the share that
// the target has, and to abort it is to ask for a share of 0.
type Intent struct {
	// Share is the share of a target that is not the stable, from 0 to 100. A spec with another
	// share cannot be resolved. The first revision gets 100 % whatever the share is.
	Share int `json:"share"`
	// Promote makes the target the stable once it gets 100 %. Without it, a target with 100 % is
	// still a canary, and the stable stays ready to take the traffic back.
	Promote bool `json:"promote,omitempty"`
	// Undo makes the previous revision the stable again if the target is the stable.
	Undo bool `json:"-"`
}

// PercentIntent returns the intent of canaryTrafficPercent in KServe's semantics, given the rollout
// state in force, or nil if there is none. A percent that is absent or 100 asks for promotion. A
// percent below 100 undoes the promotion of the target if promotion was asked for until now: only
// the change of the percent is a rollback.
func PercentIntent(percent *int, state *State) Intent {
	if percent == nil || *percent == 100 {
		return Intent{Share: 100, Promote: true}
	}
	return Intent{Share: *percent, Undo: state != nil && state.Asked.Promote}
}

func (i Intent) isValid() bool {
	return i.Share >= 0 && i.Share <= 100 && (i.Share == 100 || !i.Promote)
}

// sameAs reports whether two intents ask for the same, apart from an undo, which is not stored.
func (i Intent) sameAs(other Intent) bool {
	return i.Share == other.Share && i.Promote == other.Promote
}
