// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// world is a cluster in memory in which whole rollouts are played: with what the operator writes there, and with the
// peers that act on it or against it. Nothing in it moves by itself: a script or dice say who does what next, and the
// rules are checked after every single write and event.
//
//	simulator_test.go           the world, and how the operator sees it
//	simulator_operator_test.go  the operator: its writes, one by one
//	simulator_peers_test.go     pods, autoscaler, gateway, user and meddler
//	simulator_rules_test.go     what must be true after every write and event
//	history_test.go             dice that play, and what is true when all is settled
//	golden_test.go              scripts that play, and their stories
type world struct {
	policy Policy
	now    time.Time

	spec        spec
	records     map[Number]string
	deployments map[Number]*deployment
	route       *httpRoute[Split]
	hosts       *httpRoute[Tags]
	reported    Reported
	gateway     gateway

	// load is how many replicas the whole traffic takes.
	load int
	// broken are the inputs whose model never starts.
	broken string

	// announced are the transitions of the decisions that were carried out to the end.
	announced []Transition

	// life is how many writes the operator has left to live, and successor says when the next one comes.
	life      int
	successor succession

	versions        int // The last version of any object, and the last id.
	looks           int // How often the operator has looked.
	reportedVersion int

	told    int // How much was told.
	witness witness
	story   *story // nil where nobody reads it
}

// spec is what the user asks for.
type spec struct {
	Wanted
	// invalid says that it cannot be resolved.
	invalid bool
}

// deployment is a revision's workload.
type deployment struct {
	id, version     int
	inputs          string
	floor, replicas int
	autoscaled      bool
	idleSince       time.Time
	failed          bool
	pods            []pod
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

// httpRoute is a route, or the routes of all tag hosts together.
type httpRoute[T any] struct {
	id, version, generation int
	record                  string
	says                    T
	// accepted is the newest generation that the gateway says it serves.
	accepted int
}

func newWorld() *world {
	return &world{
		policy:      testPolicy,
		now:         testNow,
		spec:        spec{Wanted: Wanted{Inputs: inputs(1), Replicas: Bounds{Min: 1, Max: 1}}},
		records:     map[Number]string{},
		deployments: map[Number]*deployment{},
		load:        1,
		life:        forEver,
		witness:     newWitness(),
	}
}

func (w *world) nextVersion() int {
	w.versions++
	return w.versions
}

// sighting is a snapshot with the versions of what was seen, as they go with each write.
type sighting struct {
	Snapshot
	at                     time.Time
	route, hosts, reported int
	deployments            map[Number]int
}

// look is the operator's view of the world at one moment.
func (w *world) look() sighting {
	seen := sighting{at: w.now, reported: w.reportedVersion, deployments: map[Number]int{}}
	seen.Wanted = w.spec.Wanted
	if w.spec.invalid {
		seen.Wanted.Inputs = ""
	}
	for _, n := range numbers(w.records) {
		seen.Revisions = append(seen.Revisions, Revision{Number: n, Inputs: w.records[n], Recorded: true, Workload: w.deployments[n].seen()})
	}
	for _, n := range numbers(w.deployments) {
		deployment := w.deployments[n]
		seen.deployments[n] = deployment.version
		if w.records[n] == "" {
			seen.Revisions = append(seen.Revisions, Revision{Number: n, Inputs: deployment.inputs, Workload: deployment.seen()})
		}
	}
	for i := range seen.Revisions {
		seen.Revisions[i].SameModel = !w.spec.invalid && sameModel(seen.Revisions[i].Inputs, w.spec.Inputs)
	}
	w.shuffle(seen.Revisions)
	w.lookAtRoutes(&seen)
	seen.Reported = w.reported
	return seen
}

// shuffle puts revisions in another order at each look, and in the same ones each time that a history is played.
func (w *world) shuffle(revisions []Revision) {
	w.looks++
	slices.SortStableFunc(revisions, func(a, b Revision) int {
		return (int(a.Number)*7+w.looks)%11 - (int(b.Number)*7+w.looks)%11
	})
}

func (w *world) lookAtRoutes(seen *sighting) {
	if w.route != nil {
		seen.route = w.route.version
		seen.Route.Split = w.route.says
		if record, err := DecodeRecord(w.route.record); err == nil {
			seen.Route.Record = &record
		}
		told := seen.Route.Record != nil && w.route.says.Equal(seen.Route.Record.Split)
		seen.Route.TakenOver = told && w.route.accepted == w.route.generation
	}
	seen.Route.TagsTakenOver = true
	if w.hosts != nil {
		seen.hosts = w.hosts.version
		seen.Route.TagsTakenOver = w.hosts.accepted == w.hosts.generation
		seen.Route.Tags = w.hosts.says.revisions()
	}
}

func (t Tags) revisions() []Number {
	return slices.DeleteFunc([]Number{t.Latest, t.Prev}, func(n Number) bool { return n == 0 })
}

func (d *deployment) seen() *Workload {
	if d == nil {
		return nil
	}
	return &Workload{Ready: d.count(ready), Replicas: d.replicas, Pods: len(d.pods), IdleSince: d.idleSince, Failed: d.failed}
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

// readyPods is how many replicas of a revision can serve a request now.
func (w *world) readyPods(n Number) int {
	if deployment := w.deployments[n]; deployment != nil {
		return deployment.count(ready)
	}
	return 0
}

// numbers lists the revisions of a map in order.
func numbers[T any](byNumber map[Number]T) []Number { return slices.Sorted(maps.Keys(byNumber)) }

// tell adds a line to the story, and checks the rules: every write and event ends with it.
func (w *world) tell(who, format string, args ...any) {
	if w.story != nil {
		w.story.add(w, who, fmt.Sprintf(format, args...))
	}
	w.told++
	w.verify()
}
