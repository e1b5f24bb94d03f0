// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// In Knative mode, a change of the replicas during a canary creates another revision. The status
// says so.
func TestScalingNote(t *testing.T) {
	for name, test := range map[string]struct {
		identities map[rollout.Number]predictor.Identity
		stable     rollout.Number
		want       string
	}{
		"a canary with more replicas": {
			map[rollout.Number]predictor.Identity{1: {Predictor: "a", Scaling: "1"}, 2: {Predictor: "b", Scaling: "1"}, 3: {Predictor: "b", Scaling: "2"}},
			1,
			"it differs from sklearn-iris-predictor-00002 only in minReplicas, maxReplicas, scaleTarget, scaleMetric or annotations for scaling, " +
				"which in Knative mode are part of a revision; sklearn-iris-predictor-00001 keeps its own",
		},
		"the stable with more replicas": {
			map[rollout.Number]predictor.Identity{1: {Predictor: "a", Scaling: "1"}, 3: {Predictor: "a", Scaling: "2"}},
			1,
			"it differs from sklearn-iris-predictor-00001 only in minReplicas",
		},
		"another model": {
			map[rollout.Number]predictor.Identity{1: {Predictor: "a", Scaling: "1"}, 2: {Predictor: "b", Scaling: "1"}, 3: {Predictor: "c", Scaling: "2"}}, 1, "",
		},
		"a revision that was promoted": {
			map[rollout.Number]predictor.Identity{1: {Predictor: "a", Scaling: "1"}, 3: {Predictor: "a", Scaling: "2"}}, 3, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ready := range []int{0, 1} {
				s := scenario{target: 3, percent: new(10), ready: replicas{1: 1, 3: ready}, state: rolloutState(1, 0, 3, new(10), split(3, 10, 1, 90))}
				if test.stable == 3 {
					s = scenario{target: 3, ready: replicas{3: 1}, inHistory: []rollout.Number{1}, state: rolloutState(3, 1, 3, nil, split(3, 100))}
				}
				report := s.report()
				for n, identity := range test.identities {
					report.Observed.History[n] = backend.HistoryEntry{Identity: identity}
				}
				reported := ""
				for _, condition := range status.For(report).Conditions {
					if condition.Type == v1beta1.ConditionLatestDeploymentReady {
						reported = condition.Message
					}
				}
				if !strings.Contains(reported, test.want) || test.want == "" && strings.Contains(reported, "differs") {
					t.Errorf("with %d ready replicas the message is %q", ready, reported)
				}
			}
		})
	}
}
