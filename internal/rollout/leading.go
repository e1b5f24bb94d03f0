// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

// Leading returns the revision with the largest share of the served split, or the stable on a tie.
// If no revision serves, the desired split counts. Leading returns 0 if that is empty too.
func (d Decision) Leading() Number {
	if d.State == nil {
		return 0
	}
	return leading(d.Served, *d.State)
}

// Scaled returns the revision that the ScaleTarget stands for. It is the leading revision, the
// stable if there is none, and the target before the first route exists.
func (d Decision) Scaled() Number {
	if d.State == nil {
		return d.Target
	}
	return scaledByName(d.Served, *d.State)
}

func leading(served Split, state State) Number {
	split := served
	if split.IsEmpty() {
		split = state.Split
	}
	leader, largest := state.Stable, split.Percent(state.Stable)
	for _, share := range split.Shares() {
		if share.Percent > largest {
			leader, largest = share.Revision, share.Percent
		}
	}
	if largest == 0 {
		return 0
	}
	return leader
}

func scaledByName(served Split, state State) Number {
	if n := leading(served, state); n != 0 {
		return n
	}
	return state.Stable
}

func (d *decider) scaled() Number {
	if d.after.Stable == 0 {
		return d.target
	}
	return scaledByName(d.served(), d.after)
}
