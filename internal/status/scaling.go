// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import "fmt"

// scalingNote explains a target that differs from an earlier revision only in its scaling settings,
// which are part of a revision in Knative mode. A user who changes them during a canary does not
// expect another revision. The note is empty for every other target, and for the stable.
func (r *reporter) scalingNote() string {
	if r.Observed == nil || r.Decision.State == nil || r.stopped() {
		return ""
	}
	target, stable := r.Decision.Target, r.Decision.State.Stable
	current, recorded := r.Observed.History[target]
	if !recorded || target == stable {
		return ""
	}
	for n := target - 1; n > 0; n-- {
		if earlier, inHistory := r.Observed.History[n]; inHistory && current.Identity.DiffersInScaling(earlier.Identity) {
			kept := ""
			if n != stable {
				kept = fmt.Sprintf("; %s keeps its own", r.revision(stable))
			}
			return fmt.Sprintf("; it differs from %s only in minReplicas, maxReplicas, scaleTarget, scaleMetric or annotations for scaling, "+
				"which in Knative mode are part of a revision%s", r.revision(n), kept)
		}
	}
	return ""
}
