// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Contract checks the requirements for all backends. Each part uses a new cluster.
func Contract(t *testing.T, newCluster func(*testing.T) Cluster) {
	for _, part := range []struct {
		name  string
		check func(*driver)
	}{
		{"a first deployment gets all traffic once it is ready", firstDeployment},
		{"a canary gets its share once it is ready", canary},
		{"a promotion restarts no pods, and the old revision retires", promotion},
		{"a rollback brings the previous revision back before it is routed to", rollback},
		{"a superseded canary loses its traffic at once", supersession},
		{"a canary that cannot serve gets nothing", failingCanary},
		{"a recorded revision is reused", adoption},
		{"the revision history outlives the workloads", recordsOutliveWorkloads},
		{"lost objects are created again", losses},
		{"tags lead to the revisions of the split", tagging},
		{"a stop and a start keep the rollout state", stopping},
		{"a settled InferenceService costs no writes", silence},
		{"any write may fail", failingWrites},
		{"a decision on an old view is refused", staleViews},
		{"objects of other owners are left alone", ownership},
		{"a rejection outlives the route, and ends with a retry", rejection},
		{"an invalid rollout state is ignored", invalidState},
		{"no change and no drain while the gateway is unresponsive", unresponsiveGateway},
		{"the outcome reports what was written", written},
		{"a wiped status moves no traffic", statusIsWiped},
		{"the observation shows the workloads", observesWorkloads},
		{"the observation shows the addresses", observesAddresses},
	} {
		t.Run(part.name, func(t *testing.T) { part.check(newDriver(t, newCluster)) })
	}
}

func trafficOf(split rollout.Split, name func(rollout.Number) string) []v1beta1.TrafficTarget {
	var targets []v1beta1.TrafficTarget
	for _, share := range split.Shares() {
		targets = append(targets, v1beta1.TrafficTarget{RevisionName: name(share.Revision), Percent: new(int64(share.Percent))})
	}
	return targets
}
