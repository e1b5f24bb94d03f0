// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
)

func silence(p *driver) {
	for _, step := range []struct {
		model   string
		percent int64
	}{{"v1", promote}, {"v2", 10}, {"v2", promote}, {"v2", 0}} {
		p.rollOut(step.model, step.percent)
		before := p.Writes()
		for range 2 {
			p.now = p.now.Add(p.policy.CapacityHold)
			if _, decision, err := p.reconcile(); err != nil || !decision.WakeAt.IsZero() {
				p.t.Errorf("at %s with %d: it wakes at %v, error is %v", step.model, step.percent, decision.WakeAt, err)
			}
		}
		if cost := p.Writes() - before; cost > 0 {
			p.t.Errorf("at %s with %d: it has written %d times", step.model, step.percent, cost)
		}
	}
}

// failingWrites fails the first, second or third write of every reconciliation in a whole rollout.
// The results must be the same.
func failingWrites(p *driver) {
	failure := apierrors.NewInternalError(errors.New("etcd is down"))
	p.rollOut("v1", promote)
	for _, step := range []struct {
		model   string
		percent int64
		want    []int
	}{{"v2", 10, []int{2, 10, 1, 90}}, {"v2", promote, []int{2, 100}}, {"v2", 0, []int{2, 0, 1, 100}}, {"v1", promote, []int{1, 100}}} {
		p.apply(step.model, step.percent)
		failed := 0
		for i := 0; ; i++ {
			if i > 200 {
				p.t.Fatal("it does not settle")
			}
			before := p.Writes()
			p.FailWrite(1+i%3, failure)
			_, decision, err := p.reconcile()
			switch {
			case errors.Is(err, failure):
				failed++
			case err == nil:
				p.report(decision)
			default:
				p.mustApply(err)
			}
			if p.CatchUp() || p.Writes() > before {
				continue
			}
			if decision.WakeAt.IsZero() {
				break
			}
			p.now = decision.WakeAt
		}
		p.FailWrite(0, nil)
		p.wantSplit(step.want...)
		if failed == 0 {
			p.t.Error("nothing has failed")
		}
	}
	p.wantRunning(1)
}

func staleViews(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	p.apply("v2", 50)
	observed := p.observe()
	decision := p.decide(observed)
	p.TouchRoute()
	if _, err := p.carryOut(observed, decision); !backend.IsStale(err) {
		p.t.Errorf("a split decided on an old route: error is %v", err)
	}
	p.settle()
	p.wantSplit(2, 50, 1, 50)

	p.apply("v2", promote)
	for _, action := range []rollout.Action{rollout.ScaleDown, rollout.Delete} {
		observed, decision, reached := p.reconcileUntil(1, action)
		if !reached {
			continue
		}
		before := p.Instances(1)
		p.TouchRoute()
		if _, err := p.carryOut(observed, decision); !backend.IsStale(err) {
			p.t.Errorf("%s decided on an old route: error is %v", action, err)
		}
		if after := p.Instances(1); len(after) != len(before) {
			p.t.Errorf("%s decided on an old route: %v run, and %v ran", action, after, before)
		}
	}
	p.settle()
	p.wantRunning(2)
}

// reconcileUntil reconciles until a decision has the action for a revision, and returns that
// decision unapplied. It reports false if the cluster takes the step by itself.
func (p *driver) reconcileUntil(n rollout.Number, action rollout.Action) (observed Moment, decision rollout.Decision, reached bool) {
	p.t.Helper()
	for range 60 {
		observed := p.observe()
		decision := p.decide(observed)
		for _, plan := range decision.Workloads {
			if plan.Revision == n && plan.Action == action {
				return observed, decision, true
			}
		}
		before := p.Writes()
		_, err := p.carryOut(observed, decision)
		p.mustApply(err)
		if p.CatchUp() || p.Writes() > before {
			continue
		}
		if decision.WakeAt.IsZero() {
			return Moment{}, rollout.Decision{}, false
		}
		p.now = decision.WakeAt
	}
	p.t.Fatalf("revision %d never gets to %s", n, action)
	return Moment{}, rollout.Decision{}, false
}

func ownership(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	for what, steal := range map[string]func() func(){
		"an object of the stable": func() func() { return p.StealRevision(1) },
		"an object of the canary": func() func() { return p.StealRevision(2) },
		"the route":               p.StealRoute,
	} {
		giveBack := steal()
		split := p.observedSplit()
		_, _, err := p.reconcile()
		var conflict *backend.ConflictError
		if !errors.As(err, &conflict) || backend.IsStale(err) {
			p.t.Errorf("%s has another owner: error is %v", what, err)
		} else if conflict.Kind == "" || conflict.Name == "" || conflict.Namespace != p.InferenceService().Namespace {
			p.t.Errorf("%s has another owner: the conflict does not identify it: %+v", what, conflict)
		}
		if after := p.observedSplit(); !after.Equal(split) {
			p.t.Errorf("%s has another owner: the split was %v and is %v", what, split, after)
		}
		giveBack()
		p.settle()
		p.wantSplit(2, 10, 1, 90)
	}
}

func (p *driver) observedSplit() rollout.Split {
	p.t.Helper()
	observed, err := p.tryToObserve()
	if err != nil {
		return rollout.Split{}
	}
	return observed.Route.Split
}
