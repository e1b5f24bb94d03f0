// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
	"github.com/serinus-io/serinus/internal/testkit"
)

var update = flag.Bool("update", false, "write the statuses to testdata/")

var now = testkit.Start

// scenario describes an observed predictor: its spec, its workloads and its route. Revisions are
// numbered from 1, and the hash of revision 1 is "a".
type scenario struct {
	target  rollout.Number
	percent *int
	tagged  bool
	stopped bool
	// minReplicas and maxReplicas default to 1.
	minReplicas, maxReplicas int

	// ready holds the ready replicas of each revision that runs.
	ready map[rollout.Number]int
	// inHistory are revisions without a workload.
	inHistory []rollout.Number
	failing   map[rollout.Number]backend.Failure

	state *rollout.State
	// pending is true if the gateway has not accepted the route yet.
	pending bool
	refused *backend.RouteStatus

	// plan moves the share if there is no percent.
	plan       *rollout.Plan
	commands   rollout.Commands
	evidence   rollout.Evidence
	automation status.Automation
	// unschedulable are revisions that no node takes.
	unschedulable map[rollout.Number]bool
}

func hashOf(n rollout.Number) string { return string(rune('a' + n - 1)) }

// split returns the split of pairs of revision and percent.
func split(pairs ...int) rollout.Split {
	var shares []rollout.Share
	for pair := range slices.Chunk(pairs, 2) {
		shares = append(shares, rollout.Share{Revision: rollout.Number(pair[0]), Percent: pair[1]})
	}
	created, err := rollout.NewSplit(shares...)
	if err != nil {
		panic(err) // The test is wrong.
	}
	return created
}

// rolloutState returns a rollout state that was written an hour ago.
func rolloutState(stable, previous, target rollout.Number, percent *int, served rollout.Split) *rollout.State {
	return &rollout.State{
		Stable: stable, Previous: previous, Target: target, Asked: rollout.PercentIntent(percent, nil),
		Split: served, ServedBefore: served, ShiftedAt: now.Add(-time.Hour), Highest: max(stable, previous, target),
	}
}

func (s scenario) desired() rollout.Desired {
	desired := rollout.Desired{
		Hash: hashOf(s.target), Intent: rollout.PercentIntent(s.percent, nil), Stopped: s.stopped, Tagged: s.tagged,
		Replicas: rollout.Bounds{Min: max(s.minReplicas, 1), Max: max(s.minReplicas, s.maxReplicas, 1)},
		Manual:   s.percent != nil, Plan: s.plan, Commands: s.commands,
	}
	if s.target == 0 {
		desired.Hash = ""
	}
	return desired
}

func (s scenario) observation() *backend.Observation {
	observed := &backend.Observation{
		Route:       rollout.Route{State: s.state, TagsAccepted: true, Accepted: !s.pending && s.refused == nil && s.state != nil},
		RouteStatus: backend.RouteStatus{Exists: s.state != nil},
		History:     map[rollout.Number]backend.HistoryEntry{},
		Details:     map[rollout.Number]backend.RevisionStatus{},
		Addresses: backend.Addresses{
			URL:       "http://sklearn-iris.kserve-test.example.com",
			Predictor: "http://sklearn-iris-predictor.kserve-test.example.com",
			Tag:       func(tag string) string { return "http://" + tag + "-sklearn-iris-predictor.kserve-test.example.com" },
		},
	}
	if s.refused != nil {
		observed.RouteStatus = *s.refused
	}
	if s.state != nil {
		observed.Route.Split = s.state.Split
	}
	if tags := rollout.TagsOf(observed.Route.Split, s.target); s.tagged {
		for _, n := range []rollout.Number{tags.Prev, tags.Latest} {
			if n != 0 {
				observed.Route.Tags = append(observed.Route.Tags, n)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.ready)) {
		s.addRunning(observed, n)
	}
	for _, n := range s.inHistory {
		observed.Revisions = append(observed.Revisions, rollout.Revision{Number: n, Hash: hashOf(n), InHistory: true})
	}
	for _, revision := range observed.Revisions {
		observed.History[revision.Number] = backend.HistoryEntry{
			Runtime: predictor.RuntimeRef{Kind: predictor.ClusterServingRuntimeKind, Name: "kserve-sklearnserver"},
			Created: now.Add(-2 * time.Hour),
		}
	}
	return observed
}

func (s scenario) addRunning(observed *backend.Observation, n rollout.Number) {
	ready := s.ready[n]
	detail := backend.RevisionStatus{State: v1beta1.Loaded, Pods: max(ready, 1)}
	if ready == 0 {
		detail.State = v1beta1.Loading
	}
	if failure, fails := s.failing[n]; fails {
		detail.Failure, detail.FailedPods = &failure, 1
		if ready == 0 {
			detail.State = v1beta1.FailedToLoad
		}
	}
	observed.Details[n] = detail
	workload := &rollout.Workload{Ready: ready, Replicas: max(ready, 1), Pods: max(ready, 1), Failed: detail.Failure != nil && ready == 0}
	if s.unschedulable[n] {
		workload.UnschedulableSince = now.Add(-time.Minute)
	}
	observed.Revisions = append(observed.Revisions, rollout.Revision{Number: n, Hash: hashOf(n), InHistory: true, Workloads: rollout.WorkloadsOf(workload)})
}

// report returns the input of the status, with the decision of the rollout package.
func (s scenario) report() status.Report {
	observed := s.observation()
	snapshot := rollout.Snapshot{Desired: s.desired(), Revisions: observed.Revisions, Route: observed.Route, Evidence: s.evidence}
	return status.Report{
		InferenceService: newInferenceService(),
		Mode:             v1beta1.DeploymentModeStandard,
		Observed:         observed,
		Decision:         rollout.Decide(snapshot, rollout.Policy{DrainPeriod: time.Minute, CapacityHold: time.Minute, HistoryLimit: 10}, now),
		Snapshot:         snapshot,
		Outcome:          backend.Outcome{Target: true, Route: true},
		Automation:       s.automation,
	}
}

func newInferenceService() *v1beta1.InferenceService {
	return testkit.NewInferenceService(func(isvc *v1beta1.InferenceService) { isvc.Generation = 7 })
}

func crash() backend.Failure {
	return backend.Failure{
		Reason: "ContainerCrashed", Message: `container "kserve-container" ends with exit code 1`, Detail: "no such model",
		Pod: "sklearn-iris-predictor-00002-deployment-5d4b9c6f7-x2x9z", ExitCode: 1, Time: now.Add(-time.Minute),
	}
}

// compareWithGolden compares a status without its transition times with a file in testdata.
func compareWithGolden(t *testing.T, file string, got v1beta1.InferenceServiceStatus) {
	t.Helper()
	got = *got.DeepCopy()
	for i, condition := range got.Conditions {
		if condition.LastTransitionTime.IsZero() {
			t.Errorf("condition %s has no transition time", condition.Type)
		}
		if condition.ObservedGeneration != 7 {
			t.Errorf("condition %s is of generation %d", condition.Type, condition.ObservedGeneration)
		}
		got.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	text, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", file+".yaml")
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with go test ./internal/status -update", err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
