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
		{"a promotion loads nothing twice, and the old revision retires", promotion},
		{"a rollback brings the previous revision back before it is routed to", rollback},
		{"a superseded canary loses its traffic at once", supersession},
		{"a canary that cannot serve gets nothing", failingCanary},
		{"a revision that is on record is adopted", adoption},
		{"a record outlives what it was made for", recordsOutliveWorkloads},
		{"what is lost is made again", losses},
		{"tags lead to the revisions of the split", tagging},
		{"stopped and started again, nothing is forgotten", stopping},
		{"what is settled costs no writes", silence},
		{"any write may fail", failingWrites},
		{"a decision on an old view is refused", staleViews},
		{"objects of somebody else are left alone", ownership},
		{"a record that somebody has spoilt is not trusted", invalidState},
		{"without the gateway nothing moves or retires", unresponsiveGateway},
		{"it tells what was written", written},
		{"a wiped status moves nothing", statusIsWiped},
		{"it observes what runs", observesWorkloads},
		{"it tells where clients find the predictor", observesAddresses},
	} {
		t.Run(part.name, func(t *testing.T) { part.check(newPlay(t, newCluster)) })
	}
}

// trafficOf returns a split in the form of the status.
func trafficOf(split rollout.Split, name func(rollout.Number) string) []v1beta1.TrafficTarget {
	var targets []v1beta1.TrafficTarget
	for _, share := range split.Shares() {
		targets = append(targets, v1beta1.TrafficTarget{RevisionName: name(share.Revision), Percent: new(int64(share.Percent))})
	}
	return targets
}
