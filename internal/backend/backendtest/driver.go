// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"slices"
	"testing"
	"time"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// promote stands for an absent percent.
const promote = -1

// driver drives a cluster as its user, and as the controller between the user and the backend.
type driver struct {
	Cluster
	t        *testing.T
	policy   rollout.Policy
	now      time.Time
	reported v1beta1.InferenceServiceStatus
	rendered int
	// plan and commands move the share if there is no percent.
	plan     *rollout.Plan
	commands rollout.Commands
	// lost are the revisions whose lost workloads are not running again yet.
	lost map[rollout.Number]bool
}

func newDriver(t *testing.T, newCluster func(*testing.T) Cluster) *driver {
	t.Helper()
	return &driver{
		Cluster: newCluster(t),
		t:       t,
		policy:  rollout.Policy{DrainPeriod: 30 * time.Second, CapacityHold: 5 * time.Minute, HistoryLimit: 10},
		now:     testkit.Start,
		lost:    map[rollout.Number]bool{},
	}
}

func (p *driver) edit(edit func(*v1beta1.InferenceService)) {
	p.t.Helper()
	isvc := p.InferenceService()
	edit(isvc)
	p.Update(isvc)
}

func (p *driver) apply(model string, percent int64) {
	p.t.Helper()
	p.edit(func(isvc *v1beta1.InferenceService) {
		testkit.Image("registry.example.com/" + model)(isvc)
		isvc.Spec.Predictor.CanaryTrafficPercent = nil
		if percent != promote {
			isvc.Spec.Predictor.CanaryTrafficPercent = &percent
		}
	})
}

func (p *driver) rollOut(model string, percent int64) {
	p.t.Helper()
	p.apply(model, percent)
	p.settle()
}

func (p *driver) isvc() *v1beta1.InferenceService {
	p.t.Helper()
	isvc := p.InferenceService()
	isvc.Status = p.reported
	return isvc
}

func (p *driver) resolve() *predictor.Resolved {
	p.t.Helper()
	target, err := predictor.Resolve(p.InferenceService(), predictor.Runtimes{}, p.Settings())
	if err != nil {
		p.t.Fatal(err)
	}
	return target
}

func (p *driver) observe() Moment {
	p.t.Helper()
	observed, err := p.tryToObserve()
	if err != nil {
		p.t.Fatalf("observing: %v", err)
	}
	return observed
}

func (p *driver) tryToObserve() (Moment, error) {
	p.t.Helper()
	isvc := p.isvc()
	session, err := p.Backend().Observe(p.t.Context(), isvc)
	if err != nil {
		return Moment{}, err
	}
	target := intent.FindTarget(isvc, session.Observation(), p.resolve())
	moment := At(session, isvc, p.Settings().Mode, target)
	moment.Snapshot.Desired.Plan, moment.Snapshot.Desired.Commands = p.plan, p.commands
	return moment, nil
}

func (p *driver) decide(observed Moment) rollout.Decision {
	return rollout.Decide(observed.Snapshot, p.policy, p.now)
}

func (p *driver) carryOut(observed Moment, decision rollout.Decision) (backend.Outcome, error) {
	p.t.Helper()
	change := observed.Change(decision)
	if decision.Create {
		p.rendered++
		target := p.resolve()
		runs, err := target.Render(predictor.Credentials{})
		if err != nil {
			p.t.Fatal(err)
		}
		change.Revision = &backend.RenderedRevision{Hash: target.Hash, Runs: runs}
	}
	outcome := observed.Session.Apply(p.t.Context(), change)
	return outcome, outcome.Err()
}

func (p *driver) reconcile() (Moment, rollout.Decision, error) {
	p.t.Helper()
	observed, err := p.tryToObserve()
	if err != nil {
		return Moment{}, rollout.Decision{}, err
	}
	decision := p.decide(observed)
	_, err = p.carryOut(observed, decision)
	return observed, decision, err
}

// settle reconciles until nothing is left to do, and checks the invariants at each step.
func (p *driver) settle() {
	p.t.Helper()
	Settle(p.t, &p.now, p.Writes, p.CatchUp, func() (time.Time, error) {
		observed, decision, err := p.reconcile()
		p.mustApply(err)
		if err == nil {
			p.inspect(observed, decision)
			p.report(decision)
		}
		return decision.WakeAt, err
	})
}

// mustApply checks the result of a reconciliation. If other controllers write too, a reconciliation
// may be based on an old view, and is tried again.
func (p *driver) mustApply(err error) {
	p.t.Helper()
	if err != nil && !backend.IsStale(err) {
		p.t.Fatalf("applying: %v", err)
	}
}

// Settle reconciles, and lets the other controllers catch up, until nothing is left to do. When
// nothing changes, it moves the clock to the time at which the reconciliation wants to run again.
func Settle(t *testing.T, now *time.Time, writes func() int, catchUp func() bool, reconcile func() (wakeAt time.Time, err error)) {
	t.Helper()
	for range 60 {
		before := writes()
		wakeAt, err := reconcile()
		if catchUp() || writes() > before || err != nil {
			continue
		}
		if wakeAt.IsZero() {
			return
		}
		*now = wakeAt
	}
	t.Fatal("it does not settle")
}

// inspect checks the invariants of every moment.
func (p *driver) inspect(observed Moment, decision rollout.Decision) {
	p.t.Helper()
	state := observed.Route.State
	if state == nil {
		return
	}
	if observed.Route.Accepted && !observed.Route.Split.Equal(state.Split) {
		p.t.Errorf("%v is said to be served as %v", state.Split, observed.Route.Split)
	}
	if reported := observed.Snapshot.Reported.Split; reported.Equal(state.Split) && !decision.Served.Equal(reported) && !observed.Route.NoBackends {
		p.t.Errorf("%v was reported, and now %v, although no traffic moved", reported, decision.Served)
	}
	for _, share := range decision.Served.Shares() {
		switch runs := len(p.Instances(share.Revision)) > 0; {
		case runs:
			delete(p.lost, share.Revision)
		case share.Percent > 0 && !p.lost[share.Revision]:
			p.t.Errorf("revision %d has %d %% and runs nothing", share.Revision, share.Percent)
		}
	}
}

// lose removes the workload of a revision. If no other revision can serve, the revision keeps its
// share until it is back.
func (p *driver) lose(n rollout.Number) {
	p.t.Helper()
	p.LoseWorkload(n)
	p.lost[n] = true
}

func (p *driver) report(decision rollout.Decision) {
	p.t.Helper()
	name := func(n rollout.Number) string {
		if n == 0 {
			return ""
		}
		return backend.RevisionName(p.InferenceService().Name, n)
	}
	component := v1beta1.ComponentStatusSpec{LatestCreatedRevision: name(decision.Target)}
	if state := decision.State; state != nil {
		component.LatestRolledoutRevision, component.PreviousRolledoutRevision = name(state.Stable), name(state.Previous)
	}
	component.Traffic = trafficOf(decision.Served, name)
	p.reported.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: component}
}

func (p *driver) wantSplit(shares ...int) {
	p.t.Helper()
	var all []rollout.Share
	for pair := range slices.Chunk(shares, 2) {
		all = append(all, rollout.Share{Revision: rollout.Number(pair[0]), Percent: pair[1]})
	}
	want, err := rollout.NewSplit(all...)
	if err != nil {
		p.t.Fatal(err)
	}
	observed := p.observe()
	if got := observed.Route.Split; !got.Equal(want) {
		p.t.Errorf("split is %v, want %v", got, want)
	}
	if !observed.Route.Accepted {
		p.t.Error("the gateway has not taken the split over")
	}
}

func (p *driver) wantRunning(want ...rollout.Number) {
	p.t.Helper()
	var got []rollout.Number
	for _, revision := range p.observe().Revisions {
		if revision.Workloads[rollout.Predictor] != nil {
			got = append(got, revision.Number)
		}
		if runs := len(p.Instances(revision.Number)) > 0; runs != (revision.Workloads[rollout.Predictor] != nil) {
			p.t.Errorf("revision %d runs: %t, and is observed as %+v", revision.Number, runs, revision.Workloads[rollout.Predictor])
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("%v run, want %v", got, want)
	}
}

func (p *driver) wantRecorded(want ...rollout.Number) {
	p.t.Helper()
	var got []rollout.Number
	observed := p.observe()
	for _, revision := range observed.Revisions {
		if _, found := observed.History[revision.Number]; found != revision.InHistory {
			p.t.Errorf("revision %d is recorded: %t, but in the history: %t", revision.Number, revision.InHistory, found)
		}
		if revision.InHistory {
			got = append(got, revision.Number)
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("recorded revisions are %v, want %v", got, want)
	}
}
