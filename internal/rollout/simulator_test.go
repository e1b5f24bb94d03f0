// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// simulation is a cluster in memory that runs whole rollouts, with the operator and fake
// controllers. Nothing moves by itself: a script or random choices decide what happens next. The
// rules are checked after every write and event.
//
//	simulator_test.go              the cluster, and how the operator observes it
//	simulator_operator_test.go     the operator and its writes
//	simulator_controllers_test.go  pods, autoscaler, gateway, user and external editor
//	simulator_rules_test.go        the rules for every write and event
//	random_rollout_test.go         random rollouts, and the rules for a rollout at rest
//	golden_test.go                 scripts and their traces
type simulation struct {
	policy Policy
	now    time.Time

	spec        spec
	history     map[Number]string
	rejections  map[Number]Rejection // In the history.
	evidence    Evidence
	deployments map[Number]*deployment
	route       *httpRoute[Split]
	hosts       *httpRoute[Tags]
	reported    Reported
	// reportedTrial is what the status says about the trial.
	reportedTrial string
	gateway       gateway

	// load is how many replicas all traffic needs.
	load int
	// failingHash contains the hashes of the models that never start.
	failingHash string

	// announced are the transitions of the decisions that were carried out completely.
	announced []Transition

	// writesLeft is how many writes the operator makes before it crashes.
	writesLeft int
	restart    restartTime

	versions        int // The last resource version, and the last UID.
	observations    int
	reportedVersion int

	events  int
	checker checker
	trace   *trace // Can be nil.
}

type spec struct {
	Desired
	percent *int
	// invalid is true if the spec cannot be resolved.
	invalid bool
}

type deployment struct {
	id, version           int
	hash                  string
	minReplicas, replicas int
	autoscaled            bool
	idleSince             time.Time
	failed                bool
	pods                  []pod
}

type pod struct {
	state podState
	since time.Time
}

type podState int

const (
	starting podState = iota
	ready
	stopping
)

// httpRoute is the main route, or the routes of all tag hosts together.
type httpRoute[T any] struct {
	id, version, generation int
	state                   string
	desired                 T
	// accepted is the newest generation that the gateway has accepted.
	accepted int
}

func newSimulation() *simulation {
	return &simulation{
		policy:      testPolicy,
		now:         testNow,
		spec:        spec{Desired: Desired{Hash: hashOf(1), Replicas: Bounds{Min: 1, Max: 1}}},
		history:     map[Number]string{},
		rejections:  map[Number]Rejection{},
		deployments: map[Number]*deployment{},
		load:        1,
		writesLeft:  unlimited,
		checker:     newInvariantChecker(),
	}
}

func (sim *simulation) nextVersion() int {
	sim.versions++
	return sim.versions
}

// observation is a snapshot with the resource versions of the observed objects.
type observation struct {
	Snapshot
	at                     time.Time
	route, hosts, reported int
	deployments            map[Number]int
}

func (sim *simulation) observe() observation {
	observed := observation{at: sim.now, reported: sim.reportedVersion, deployments: map[Number]int{}}
	observed.Desired = sim.spec.Desired
	observed.Desired.Manual, observed.Evidence = sim.spec.percent != nil, sim.evidence
	if sim.spec.invalid {
		observed.Desired.Hash = ""
	}
	for _, n := range numbers(sim.history) {
		revision := Revision{Number: n, Hash: sim.history[n], InHistory: true, Workloads: sim.deployments[n].observed()}
		if rejection, rejected := sim.rejections[n]; rejected {
			revision.Rejection = &rejection
		}
		observed.Revisions = append(observed.Revisions, revision)
	}
	for _, n := range numbers(sim.deployments) {
		deployment := sim.deployments[n]
		observed.deployments[n] = deployment.version
		if sim.history[n] == "" {
			observed.Revisions = append(observed.Revisions, Revision{Number: n, Hash: deployment.hash, Workloads: deployment.observed()})
		}
	}
	for i := range observed.Revisions {
		observed.Revisions[i].SameModel = !sim.spec.invalid && sameModel(observed.Revisions[i].Hash, sim.spec.Hash)
	}
	sim.shuffle(observed.Revisions)
	sim.observeRoutes(&observed)
	observed.ask(sim.spec.percent)
	observed.Reported = sim.reported
	return observed
}

// shuffle orders the revisions differently for each observation, but equally for each run.
func (sim *simulation) shuffle(revisions []Revision) {
	sim.observations++
	slices.SortStableFunc(revisions, func(a, b Revision) int {
		return (int(a.Number)*7+sim.observations)%11 - (int(b.Number)*7+sim.observations)%11
	})
}

func (sim *simulation) observeRoutes(observed *observation) {
	if sim.route != nil {
		observed.route = sim.route.version
		observed.Route.Split = sim.route.desired
		if state, err := DecodeState(sim.route.state); err == nil {
			observed.Route.State = &state
		}
		consistent := observed.Route.State != nil && sim.route.desired.Equal(observed.Route.State.Split)
		observed.Route.Accepted = consistent && sim.route.accepted == sim.route.generation
	}
	observed.Route.TagsAccepted = true
	if sim.hosts != nil {
		observed.hosts = sim.hosts.version
		observed.Route.TagsAccepted = sim.hosts.accepted == sim.hosts.generation
		observed.Route.Tags = sim.hosts.desired.revisions()
	}
}

func (t Tags) revisions() []Number {
	return slices.DeleteFunc([]Number{t.Latest, t.Prev}, func(n Number) bool { return n == 0 })
}

func (d *deployment) observed() Workloads {
	if d == nil {
		return nil
	}
	workload := &Workload{Ready: d.count(ready), Replicas: d.replicas, Pods: len(d.pods), IdleSince: d.idleSince, Failed: d.failed}
	for _, pod := range d.pods {
		if pod.state == starting && (workload.LoadingSince.IsZero() || pod.since.Before(workload.LoadingSince)) {
			workload.LoadingSince = pod.since
		}
	}
	return WorkloadsOf(workload)
}

func (d *deployment) count(state podState) int {
	count := 0
	for _, pod := range d.pods {
		if pod.state == state {
			count++
		}
	}
	return count
}

func (sim *simulation) readyPods(n Number) int {
	if deployment := sim.deployments[n]; deployment != nil {
		return deployment.count(ready)
	}
	return 0
}

func numbers[T any](byNumber map[Number]T) []Number { return slices.Sorted(maps.Keys(byNumber)) }

// log adds a line to the trace and checks the rules. Every write and event ends with it.
func (sim *simulation) log(who, format string, args ...any) {
	if sim.trace != nil {
		sim.trace.add(sim, who, fmt.Sprintf(format, args...))
	}
	sim.events++
	sim.verify()
}
