// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

// Leading returns the revision with the largest share that clients get, on a tie the stable; 0 where nothing is served.
// Before the gateway has accepted the first route, what that route says counts.
func (d Decision) Leading() Number {
	if d.Record == nil {
		return 0
	}
	return leading(d.Served, *d.Record)
}

// Scaled returns the revision that the name stands for which an external autoscaler can be told once: the leading one,
// where nothing is served the stable, and before the first route the target.
func (d Decision) Scaled() Number {
	if d.Record == nil {
		return d.Target
	}
	return scaledByName(d.Served, *d.Record)
}

func leading(served Split, record Record) Number {
	split := served
	if split.IsEmpty() {
		split = record.Split
	}
	best, most := record.Stable, split.Percent(record.Stable)
	for _, share := range split.Shares() {
		if share.Percent > most {
			best, most = share.Revision, share.Percent
		}
	}
	if most == 0 {
		return 0
	}
	return best
}

func scaledByName(served Split, record Record) Number {
	if n := leading(served, record); n != 0 {
		return n
	}
	return record.Stable
}

// scaled returns the revision that Bounds.Asked is meant for.
func (d *decider) scaled() Number {
	if d.after.Stable == 0 {
		return d.target
	}
	return scaledByName(d.served(), d.after)
}
