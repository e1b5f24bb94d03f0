// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backendtest

import (
	"reflect"
	"slices"
	"time"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func firstDeployment(p *driver) {
	p.SetFailing(1, true)
	p.rollOut("v1", 10)
	if route := p.observe().Route; route.State != nil || !route.Split.IsEmpty() {
		p.t.Errorf("before anything is ready, the split is %v and the rollout state %+v", route.Split, route.State)
	}
	p.wantRecorded(1)

	p.SetFailing(1, false)
	p.settle()
	p.wantSplit(1, 100)
	p.wantRunning(1)
	if state := p.observe().Route.State; state.Stable != 1 || state.Target != 1 {
		p.t.Errorf("the rollout state is %s", state.Encode())
	}
}

func canary(p *driver) {
	p.rollOut("v1", promote)
	p.SetFailing(2, true)
	p.rollOut("v2", 10)
	p.wantSplit(1, 100)
	p.SetFailing(2, false)
	p.settle()
	p.wantSplit(2, 10, 1, 90)
	p.wantRunning(1, 2)

	writes := p.Writes()
	p.rollOut("v2", 50)
	p.wantSplit(2, 50, 1, 50)
	if cost := p.Writes() - writes; cost != 1 {
		p.t.Errorf("another percent costs %d writes", cost)
	}
	if p.rendered != 2 {
		p.t.Errorf("two revisions were rendered %d times", p.rendered)
	}
}

func promotion(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	canary := p.Instances(2)
	p.rollOut("v2", promote)
	p.wantSplit(2, 100)
	p.wantRunning(2)
	p.wantRecorded(1, 2)
	if got := p.Instances(2); !slices.Equal(got, canary) {
		p.t.Errorf("the pods of the canary were %v and are %v", canary, got)
	}
	if state := p.observe().Route.State; state.Stable != 2 || state.Previous != 1 {
		p.t.Errorf("the rollout state is %s", state.Encode())
	}
}

func rollback(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", promote)
	p.wantRunning(2)
	p.SetFailing(1, true)
	p.rollOut("v2", 0)
	p.wantSplit(2, 100) // Until the previous revision is ready again.
	p.wantRunning(1, 2)
	p.SetFailing(1, false)
	p.settle()
	p.wantSplit(2, 0, 1, 100)
	if p.rendered != 2 {
		p.t.Errorf("two revisions were rendered %d times", p.rendered)
	}

	p.rollOut("v2", promote)
	p.wantSplit(2, 100)
	p.wantRunning(2)
}

func supersession(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	p.SetFailing(3, true)
	p.rollOut("v3", 30)
	p.wantSplit(1, 100)
	p.wantRunning(1, 3)
	p.SetFailing(3, false)
	p.settle()
	p.wantSplit(3, 30, 1, 70)
	p.wantRecorded(1, 2, 3)
}

func failingCanary(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	p.SetFailing(2, true)
	p.settle()
	p.wantSplit(2, 0, 1, 100)
	p.SetFailing(2, false)
	p.settle()
	p.wantSplit(2, 10, 1, 90)
}

func adoption(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", promote)
	p.rollOut("v3", promote)
	p.wantRunning(3)
	p.rollOut("v1", 20)
	p.wantSplit(1, 20, 3, 80)
	p.wantRecorded(1, 2, 3)
	if p.rendered != 3 {
		p.t.Errorf("three revisions were rendered %d times", p.rendered)
	}
}

func recordsOutliveWorkloads(p *driver) {
	p.rollOut("v1", promote)
	recorded := p.observe().History[1]
	p.rollOut("v2", promote)
	p.wantRunning(2)
	after := p.observe()
	if kept := after.History[1]; !kept.Identity.Equal(recorded.Identity) || kept.Runtime != recorded.Runtime || !kept.Created.Equal(recorded.Created) {
		p.t.Errorf("the history entry of revision 1 was %+v and is %+v", recorded, kept)
	}
	if after.History[1].Identity.Equal(after.History[2].Identity) {
		p.t.Error("both revisions have the same identity")
	}
}

func losses(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	p.lose(1)
	p.lose(2)
	p.settle()
	p.wantSplit(2, 10, 1, 90)
	p.wantRunning(1, 2)

	p.LoseRoute()
	p.settle()
	p.wantSplit(2, 10, 1, 90)
	if state := p.observe().Route.State; state.Stable != 1 || state.Target != 2 || state.Highest != 2 {
		p.t.Errorf("the rollout state is %s", state.Encode())
	}
	if p.rendered != 2 {
		p.t.Errorf("two revisions were rendered %d times", p.rendered)
	}
}

func tagging(p *driver) {
	p.edit(testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true"))
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	observed := p.observe()
	if want := []rollout.Number{1, 2}; !slices.Equal(observed.Route.Tags, want) {
		p.t.Errorf("tags lead to %v, want %v", observed.Route.Tags, want)
	}
	if !observed.Snapshot.Desired.Tagged || !observed.Route.Accepted {
		p.t.Errorf("tagged: %t, accepted: %t", observed.Snapshot.Desired.Tagged, observed.Route.Accepted)
	}
	p.rollOut("v2", promote)
	if got, want := p.observe().Route.Tags, []rollout.Number{2}; !slices.Equal(got, want) {
		p.t.Errorf("after the promotion tags lead to %v, want %v", got, want)
	}
	p.wantRunning(2)

	p.SetUnresponsive(true)
	p.edit(testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "false"))
	p.settle()
	p.SetUnresponsive(false)
	p.settle()
	if got := p.observe().Route.Tags; len(got) != 0 {
		p.t.Errorf("without tags, they lead to %v", got)
	}
}

func stopping(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 20)
	p.edit(testkit.Annotation(v1beta1.AnnotationStop, "true"))
	p.settle()
	p.wantRunning()
	p.wantRecorded(1, 2)
	if route := p.observe().Route; !route.Split.IsEmpty() || route.State == nil || route.State.Stable != 1 {
		p.t.Errorf("stopped, the split is %v and the rollout state %+v", route.Split, route.State)
	}
	p.edit(testkit.Annotation(v1beta1.AnnotationStop, "false"))
	p.settle()
	p.wantSplit(2, 20, 1, 80)
	p.wantRunning(1, 2)
}

func rejection(p *driver) {
	p.rollOut("v1", promote)
	p.plan = &rollout.Plan{Policy: "standard", Steps: []rollout.Step{{Percent: 10}}, ApprovePromotion: true, Keep: time.Minute}
	p.rollOut("v2", promote)
	p.wantSplit(2, 10, 1, 90)
	p.wantRejection(nil)
	p.wantNoWrites()

	p.commands.Abort = rollout.TrialID{Revision: 2, Attempt: 1}
	aborted := p.now
	p.settle()
	want := &rollout.Rejection{Attempt: 1, Reason: rollout.Aborted, At: aborted}
	p.wantSplit(1, 100)
	p.wantRunning(1)
	p.wantRejection(want)
	p.commands.Abort = rollout.TrialID{}
	p.wantNoWrites()

	p.LoseRoute()
	p.settle()
	p.wantSplit(1, 100)
	p.wantRejection(want)
	if state := p.observe().Route.State; !reflect.DeepEqual(state.Rejected, map[rollout.Number]rollout.Rejection{2: *want}) {
		p.t.Errorf("after the loss of the route, the rollout state is %s", state.Encode())
	}

	p.commands.Retry = rollout.TrialID{Revision: 2, Attempt: 2}
	p.settle()
	p.wantSplit(2, 10, 1, 90)
	p.wantRejection(nil)
}

// wantNoWrites checks that time alone changes nothing.
func (p *driver) wantNoWrites() {
	p.t.Helper()
	before := p.Writes()
	for range 3 {
		p.now = p.now.Add(time.Minute)
		_, _, err := p.reconcile()
		p.mustApply(err)
	}
	if writes := p.Writes() - before; writes > 0 {
		p.t.Errorf("three reconciliations cost %d writes", writes)
	}
}

// wantRejection checks the rejection of revision 2 in the revision history.
func (p *driver) wantRejection(want *rollout.Rejection) {
	p.t.Helper()
	for _, revision := range p.observe().Revisions {
		if revision.Number == 2 && !reflect.DeepEqual(revision.Rejection, want) {
			p.t.Errorf("the rejection is %+v, want %+v", revision.Rejection, want)
		}
	}
}

func invalidState(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	for _, text := range []string{"", "{", "null", `{"stable":2}`} {
		p.SetRolloutState(text)
		if route := p.observe().Route; route.State != nil || route.Split.IsEmpty() {
			p.t.Errorf("of %q the rollout state is %+v and the split %v", text, route.State, route.Split)
		}
		p.settle()
		p.wantSplit(2, 10, 1, 90)
		if state := p.observe().Route.State; state.Stable != 1 || state.Target != 2 {
			p.t.Errorf("after %q the rollout state is %s", text, state.Encode())
		}
	}
}

func unresponsiveGateway(p *driver) {
	p.rollOut("v1", promote)
	p.rollOut("v2", 10)
	p.SetUnresponsive(true)
	p.rollOut("v2", promote)
	route := p.observe().Route
	if route.Accepted {
		p.t.Error("the split counts as accepted")
	}
	p.wantRunning(1, 2)
	p.SetUnresponsive(false)
	p.settle()
	p.wantSplit(2, 100)
	p.wantRunning(2)
}

func written(p *driver) {
	p.SetFailing(1, true)
	p.apply("v1", promote)
	observed := p.observe()
	got, err := p.carryOut(observed, p.decide(observed))
	if want := (backend.Outcome{Target: true}); !reflect.DeepEqual(got, want) || err != nil {
		p.t.Errorf("of a first deployment it has written %+v, want %+v; error is %v", got, want, err)
	}
	p.SetFailing(1, false)
	p.settle()
	observed = p.observe()
	got, err = p.carryOut(observed, p.decide(observed))
	if want := (backend.Outcome{Route: true}); !reflect.DeepEqual(got, want) || err != nil {
		p.t.Errorf("of what is settled it has written %+v, want %+v; error is %v", got, want, err)
	}
}
