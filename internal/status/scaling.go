// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import "fmt"

// rescaled says that the target differs from an earlier revision in nothing but how it scales, which is part of a revision
// in Knative mode: a user who wants more replicas during a canary does not expect another one. It is empty where the
// target is the stable, or differs in something else.
func (r *reporter) rescaled() string {
	if r.Observed == nil || r.Decision.Record == nil || r.stopped() {
		return ""
	}
	target, stable := r.Decision.Target, r.Decision.Record.Stable
	made, recorded := r.Observed.Recorded[target]
	if !recorded || target == stable {
		return ""
	}
	for n := target - 1; n > 0; n-- {
		if earlier, found := r.Observed.Recorded[n]; found && made.Identity.DiffersInScaling(earlier.Identity) {
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
