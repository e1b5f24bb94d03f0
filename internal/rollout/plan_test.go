// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	// timedPlan has two steps and needs only time. provenPlan needs proof too.
	timedPlan = Plan{
		Policy: "standard", Steps: []Step{{Percent: 10, Hold: 5 * time.Minute}, {Percent: 50, Hold: 10 * time.Minute}}, Keep: 10 * time.Minute,
	}
	provenPlan = timedPlan.with(func(p *Plan) { p.Evidence = &EvidenceRule{Proof: true, Timeout: 4 * time.Hour} })

	trial21 = TrialID{2, 1}
)

func (p Plan) with(change func(*Plan)) Plan {
	p.Steps = slices.Clone(p.Steps)
	change(&p)
	return p
}

// trialState returns a state in which 2.1 has had a share for some time.
func trialState(share int, since time.Duration) *State {
	return &State{
		Version: StateVersion, Stable: 1, Target: 2, Asked: Intent{Share: share}, AskedAt: testNow.Add(-since),
		Split: canarySplit(2, share, 1), ServedBefore: canarySplit(2, share, 1), ShiftedAt: testNow.Add(-since), Highest: 9,
		Trial:    &Trial{Attempt: 1, Policy: "standard", Share: share, Began: testNow.Add(-since)},
		Attempts: map[Number]int{2: 1},
	}
}

// onTrial returns a snapshot in which 2.1 has had a share for some time, and both revisions serve.
func onTrial(plan Plan, share int, since time.Duration) Snapshot {
	observed := newSnapshot(trialState(share, since), 2, nil, up(1), up(2))
	observed.Desired.Plan = &plan
	return observed
}

// baking returns a snapshot in which 2.1 was promoted some time ago, with a bake of an hour.
func baking(since time.Duration) Snapshot {
	plan := provenPlan.with(func(p *Plan) { p.Bake = time.Hour })
	state := trialState(50, since)
	state.Stable, state.Previous, state.Asked = 2, 1, Intent{Share: 100, Promote: true}
	state.Split, state.ServedBefore = All(2), All(2)
	state.Trial.Share, state.Trial.Bake = 100, time.Hour
	observed := newSnapshot(state, 2, nil, up(1), up(2))
	observed.Desired.Plan = &plan
	return observed
}

// rejected returns a snapshot in which 2.1 was rejected some time ago.
func rejected(since time.Duration) Snapshot {
	state := trialState(0, since)
	state.Trial, state.Rejected = nil, map[Number]Rejection{2: {Attempt: 1, Reason: Harmful, At: testNow.Add(-since)}}
	observed := newSnapshot(state, 2, nil, up(1), up(2))
	observed.Desired.Plan = new(provenPlan)
	return observed
}

// proven returns evidence that 2.1 is no worse at a share.
func proven(share int, ago time.Duration) Evidence {
	return Evidence{Trial: trial21, Share: share, ProvenAt: testNow.Add(-ago), EnoughAt: testNow.Add(-ago)}
}

// later returns what is observed once a decision has been carried out and the gateway has accepted
// it.
func (s Snapshot) later(decision Decision) Snapshot {
	s = applied(s, decision)
	s.Route.Accepted = true
	s.Route.Split = decision.State.Split
	for i := range s.Revisions {
		s.Revisions[i].Rejection = nil
		if rejection, rejected := decision.State.Rejected[s.Revisions[i].Number]; rejected {
			s.Revisions[i].Rejection = &rejection
		}
	}
	return s
}

// clone returns a copy that can be changed.
func (s Snapshot) clone() Snapshot {
	if s.Route.State != nil {
		s.Route.State = new(s.Route.State.clone())
	}
	s.Revisions = slices.Clone(s.Revisions)
	for i := range s.Revisions {
		if workload := s.Revisions[i].predictor(); workload != nil {
			s.Revisions[i].Workloads = WorkloadsOf(new(*workload))
		}
	}
	return s
}

// outcome describes the split, the trial and the rejection of the target.
func outcome(d Decision) string {
	text := d.State.Split.String()
	if report := d.Trial; report != nil {
		text += fmt.Sprintf(", %s waits for %s", report.ID, report.WaitingFor)
		if report.Next != 0 {
			text += fmt.Sprintf(" before %d", report.Next)
		}
	}
	if rejection, rejected := d.State.Rejected[d.Target]; rejected {
		text += fmt.Sprintf(", %d.%d rejected: %s", d.Target, rejection.Attempt, rejection.Reason)
	}
	return text
}

// planTest is a change of a snapshot with the expected outcome.
type planTest struct {
	observed Snapshot
	change   func(*Snapshot)
	want     string
}

// testPlans checks the outcomes, and that the next decision changes nothing.
func testPlans(t *testing.T, tests map[string]planTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observed := test.observed.clone()
			if test.change != nil {
				test.change(&observed)
			}
			decision := Decide(observed, testPolicy, testNow)
			if got := outcome(decision); got != test.want {
				t.Errorf("the outcome is %q, want %q", got, test.want)
			}
			d := evaluation{observed, testPolicy, testNow, decision}
			for rule, check := range rules {
				if check == nil {
					continue
				}
				if err := check(d); err != nil {
					t.Errorf("rule %d: %v\n%v", rule, err, d)
				}
			}
		})
	}
}

func set(percent *int) func(*Snapshot) {
	return func(s *Snapshot) {
		s.ask(percent)
		s.Desired.Manual = percent != nil
	}
}

func withPlan(change func(*Plan)) func(*Snapshot) {
	return func(s *Snapshot) { s.Desired.Plan = new(s.Desired.Plan.with(change)) }
}

func command(change func(*Commands)) func(*Snapshot) {
	return func(s *Snapshot) { change(&s.Desired.Commands) }
}

// manualAt returns a snapshot of a canary that the user has given a share.
func manualAt(share int) Snapshot {
	observed := onTrial(timedPlan, share, time.Hour)
	observed.Route.State.Trial = nil
	return observed
}

// TestWhoMovesTheShare checks the table «Who moves the share» of the contract.
func TestWhoMovesTheShare(t *testing.T) {
	pending := func(plan Plan) Snapshot { // 50 waits for a replica.
		observed := onTrial(plan, 10, time.Hour)
		observed.Route.State.Asked = Intent{Share: 50}
		observed.Revisions = []Revision{upWith(1, 4), upWith(2, 1)}
		observed.Desired.Replicas = scaled
		return observed
	}
	testPlans(t, map[string]planTest{
		"no percent, a policy: the policy moves the share":    {onTrial(timedPlan, 10, 5*time.Minute), nil, "2:50 1:50, 2.1 waits for Hold before 100"},
		"no percent, no policy: promotion":                    {manualAt(10), func(s *Snapshot) { s.Desired.Plan = nil }, "2:100"},
		"a percent in a rollout: manual at once":              {onTrial(timedPlan, 10, time.Minute), set(new(30)), "2:30 1:70"},
		"a percent of 0 in a rollout":                         {onTrial(timedPlan, 10, time.Minute), set(new(0)), "2:0 1:100"},
		"a percent of 100 in a rollout: promotion, no bake":   {onTrial(timedPlan.with(func(p *Plan) { p.Bake = time.Hour }), 10, time.Minute), set(new(100)), "2:100"},
		"a percent with a pause":                              {onTrial(timedPlan, 10, time.Minute), func(s *Snapshot) { set(new(30))(s); s.Desired.Commands.Pause = trial21 }, "2:30 1:70"},
		"a percent goes away: the hold begins anew":           {manualAt(30), nil, "2:30 1:70, 2.2 waits for Hold before 50"},
		"a percent below the first step goes away":            {manualAt(5), nil, "2:5 1:95, 2.2 waits for Hold before 10"},
		"a percent above the last step goes away":             {manualAt(99), nil, "2:99 1:1, 2.2 waits for Hold before 100"},
		"a percent of 0 goes away: the first step":            {manualAt(0), nil, "2:10 1:90, 2.2 waits for Hold before 50"},
		"a percent goes away with a stop: the first step":     {manualAt(30), func(s *Snapshot) { s.Desired.Stopped = true }, "none, 2.2 waits for Capacity before 10"},
		"a percent that waits for replicas goes away":         {pending(timedPlan), func(s *Snapshot) { s.Route.State.Trial = nil }, "2:10 1:90, 2.2 waits for Hold before 50"},
		"the policy is deleted":                               {onTrial(timedPlan, 50, time.Hour), func(s *Snapshot) { s.Desired.Plan = nil }, "2:50 1:50, 2.1 waits for Policy"},
		"the policy becomes invalid":                          {onTrial(timedPlan, 50, time.Hour), withPlan(func(p *Plan) { *p = Plan{Invalid: true} }), "2:50 1:50, 2.1 waits for Policy"},
		"another policy applies":                              {onTrial(timedPlan, 50, time.Hour), withPlan(func(p *Plan) { p.Policy = "other" }), "2:50 1:50, 2.1 waits for Policy"},
		"a policy without steps":                              {onTrial(timedPlan, 10, time.Hour), withPlan(func(p *Plan) { p.Steps = nil }), "2:10 1:90, 2.1 waits for Policy"},
		"the policy is deleted while a step waits":            {pending(timedPlan), func(s *Snapshot) { s.Desired.Plan = nil; s.Revisions[1] = upWith(2, 4) }, "2:10 1:90, 2.1 waits for Policy"},
		"the policy is back: the hold has gone on":            {onTrial(timedPlan, 10, 5*time.Minute), func(s *Snapshot) { s.Route.State.AskedAt = testNow }, "2:50 1:50, 2.1 waits for Hold before 100"},
		"the spec cannot be resolved":                         {onTrial(timedPlan, 10, time.Hour), func(s *Snapshot) { s.Desired.Hash = "" }, "2:10 1:90, 2.1 waits for Policy"},
		"a step is inserted":                                  {onTrial(timedPlan, 10, time.Hour), withPlan(func(p *Plan) { p.Steps = slices.Insert(p.Steps, 1, Step{Percent: 25}) }), "2:25 1:75, 2.1 waits for Hold before 50"},
		"a lower step is inserted":                            {onTrial(timedPlan, 10, time.Hour), withPlan(func(p *Plan) { p.Steps = slices.Insert(p.Steps, 0, Step{Percent: 5}) }), "2:50 1:50, 2.1 waits for Hold before 100"},
		"the current step is removed":                         {onTrial(timedPlan, 10, time.Hour), withPlan(func(p *Plan) { p.Steps = p.Steps[1:] }), "2:50 1:50, 2.1 waits for Hold before 100"},
		"every higher step is removed":                        {onTrial(timedPlan, 50, time.Minute), withPlan(func(p *Plan) { p.Steps = p.Steps[:1] }), "2:50 1:50, 2.1 waits for Hold before 100"},
		"a longer hold":                                       {onTrial(timedPlan, 10, 6*time.Minute), withPlan(func(p *Plan) { p.Steps[0].Hold = time.Hour }), "2:10 1:90, 2.1 waits for Hold before 50"},
		"a step that waits for replicas is removed":           {pending(provenPlan), withPlan(func(p *Plan) { p.Steps = []Step{p.Steps[0], {Percent: 25}} }), "2:10 1:90, 2.1 waits for Proof before 25"},
		"a step that waits for replicas needs no proof again": {pending(provenPlan), nil, "2:10 1:90, 2.1 waits for Capacity before 50"},
		"the first deployment takes everything": {newSnapshot(nil, 1, nil, up(1)), func(s *Snapshot) {
			s.Desired.Plan = new(provenPlan.with(func(p *Plan) { p.Bake, p.Steps[0].Approve = time.Hour, true }))
		}, "1:100"},
		"a policy begins to apply to a settled service": {newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, nil, withoutWorkload(1), up(2)), func(s *Snapshot) {
			s.Desired.Plan = new(provenPlan)
		}, "2:100"},
		"a policy begins to apply to a promotion that is due": {newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), up(2)), func(s *Snapshot) {
			s.Desired.Plan = new(provenPlan)
		}, "2:10 1:90, 2.1 waits for Hold before 50"},
		"a policy that cannot be used applies to a promotion that is due": {newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), up(2)), func(s *Snapshot) {
			s.Desired.Plan = &Plan{Invalid: true}
		}, "1:100, 2.1 waits for Policy"},
		"the trial adopts the policy that can be used first": {onTrial(timedPlan, 10, time.Hour), func(s *Snapshot) { s.Route.State.Trial.Policy = "" }, "2:50 1:50, 2.1 waits for Hold before 100"},
		"no replacement of the stable by a target on trial": {newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), unschedulable(2, time.Hour)), func(s *Snapshot) {
			s.Desired.Plan, s.Desired.Replace = new(timedPlan), true
		}, "1:100, 2.1 waits for Queue before 10"},
		"a percent that undoes a promotion goes away in time": {manualAt(0), func(s *Snapshot) {
			s.Route.State.Split, s.Route.Split = All(2), All(2)
		}, "2:100"},
	})
}

// TestTrialHold: a hold ends by time, while the gateway serves the share.
func TestTrialHold(t *testing.T) {
	testPlans(t, map[string]planTest{
		"before its end":                   {onTrial(timedPlan, 10, 5*time.Minute-1), nil, "2:10 1:90, 2.1 waits for Hold before 50"},
		"at its end":                       {onTrial(timedPlan, 10, 5*time.Minute), nil, "2:50 1:50, 2.1 waits for Hold before 100"},
		"of the last step":                 {onTrial(timedPlan, 50, 9*time.Minute), nil, "2:50 1:50, 2.1 waits for Hold before 100"},
		"the promotion":                    {onTrial(timedPlan, 50, 10*time.Minute), nil, "2:100"},
		"the gateway does not serve":       {onTrial(timedPlan, 10, time.Hour), func(s *Snapshot) { s.Route.Accepted = false }, "2:10 1:90, 2.1 waits for Hold before 50"},
		"the trial has begun at the share": {onTrial(timedPlan, 10, time.Hour), func(s *Snapshot) { s.Route.State.Trial.Began = testNow }, "2:10 1:90, 2.1 waits for Hold before 50"},
		"a preview needs its hold":         {onTrial(timedPlan, 0, time.Minute), withPlan(func(p *Plan) { p.Steps = append([]Step{{Hold: time.Hour}}, p.Steps...) }), "2:0 1:100, 2.1 waits for Hold before 10"},
		"a preview that was stopped": {onTrial(timedPlan, 0, time.Hour), func(s *Snapshot) {
			s.Route.State.Split = All(1)
		}, "2:0 1:100, 2.1 waits for Hold before 10"},
		"a preview needs no evidence":        {onTrial(provenPlan, 0, time.Hour), nil, "2:10 1:90, 2.1 waits for Hold before 50"},
		"the first step is a preview":        {newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), up(2)), func(s *Snapshot) { s.Desired.Plan = &Plan{Steps: []Step{{Hold: time.Hour}}} }, "2:0 1:100, 2.1 waits for Hold before 100"},
		"a target at 0 gets its first share": {manualAt(0), withPlan(func(p *Plan) { p.Steps = []Step{{Hold: time.Hour}} }), "2:0 1:100, 2.2 waits for Hold before 100"},
	})
}

// TestHoldWakes: the decision that gives a share schedules the end of its hold, and reports it as
// the next decision does.
func TestHoldWakes(t *testing.T) {
	observed := onTrial(timedPlan, 10, 5*time.Minute)
	decision := Decide(observed, testPolicy, testNow)
	end := testNow.Add(10 * time.Minute)
	want := TrialReport{ID: trial21, Policy: "standard", Share: 50, Next: 100, Since: testNow, WaitingFor: WaitsForHold, Until: end, Began: testNow.Add(-5 * time.Minute)}
	for range 2 {
		if *decision.Trial != want || !decision.WakeAt.Equal(end) {
			t.Errorf("the report is %+v, and it wakes at %s", *decision.Trial, decision.WakeAt)
		}
		decision = Decide(observed.later(decision), testPolicy, testNow)
	}
}

// TestEvidence: a share needs evidence of this trial, at this share, in time.
func TestEvidence(t *testing.T) {
	const waits, goesOn = "2:10 1:90, 2.1 waits for Proof before 50", "2:50 1:50, 2.1 waits for Hold before 100"
	shows := func(change func(*Evidence)) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Evidence = proven(10, time.Minute)
			change(&s.Evidence)
		}
	}
	noHarm := withPlan(func(p *Plan) { p.Evidence = &EvidenceRule{} })
	missing := func(why WaitingFor, rule EvidenceRule) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Desired.Plan = new(s.Desired.Plan.with(func(p *Plan) { p.Evidence = &rule }))
			s.Evidence = Evidence{Trial: trial21, Share: 10, Missing: why}
		}
	}
	proceed := EvidenceRule{Proof: true, ProceedWithoutTraffic: true}
	observed := onTrial(provenPlan, 10, time.Hour)
	testPlans(t, map[string]planTest{
		"none":                                   {observed, nil, waits},
		"proof":                                  {observed, shows(func(*Evidence) {}), goesOn},
		"proof does not shorten the hold":        {onTrial(provenPlan, 10, time.Minute), shows(func(*Evidence) {}), "2:10 1:90, 2.1 waits for Hold before 50"},
		"proof of another attempt":               {observed, shows(func(e *Evidence) { e.Trial.Attempt = 2 }), waits},
		"proof of another revision":              {observed, shows(func(e *Evidence) { e.Trial.Revision = 3 }), waits},
		"proof at another share":                 {observed, shows(func(e *Evidence) { e.Share = 50 }), waits},
		"proof from before the share was lost":   {observed, shows(func(e *Evidence) { e.ProvenAt = testNow.Add(-2 * time.Hour) }), goesOn},
		"everything from before the loss":        {observed, shows(func(e *Evidence) { *e = proven(10, 2*time.Hour) }), waits},
		"proof from too few requests":            {observed, shows(func(e *Evidence) { e.EnoughAt = time.Time{} }), waits},
		"enough requests without proof":          {observed, shows(func(e *Evidence) { e.ProvenAt = time.Time{} }), waits},
		"enough requests, and no proof required": {observed, func(s *Snapshot) { noHarm(s); shows(func(e *Evidence) { e.ProvenAt = time.Time{} })(s) }, goesOn},
		"too few requests, no proof required":    {observed, func(s *Snapshot) { noHarm(s); shows(func(e *Evidence) { e.EnoughAt = time.Time{} })(s) }, waits},
		"proof, then no metrics":                 {observed, shows(func(e *Evidence) { e.Missing = WaitsForMetrics }), goesOn},
		"proof at the timeout":                   {onTrial(provenPlan, 10, 5*time.Hour), shows(func(e *Evidence) { *e = proven(10, time.Hour) }), goesOn},
		"proof after the timeout":                {onTrial(provenPlan, 10, 5*time.Hour), shows(func(e *Evidence) { *e = proven(10, time.Hour-1) }), "2:10 1:90, 2.1 waits for Decision before 50"},
		"no proof before the timeout":            {onTrial(provenPlan, 10, 4*time.Hour-1), nil, waits},
		"no proof at the timeout":                {onTrial(provenPlan, 10, 4*time.Hour), nil, "2:10 1:90, 2.1 waits for Decision before 50"},
		"no timeout":                             {onTrial(provenPlan, 10, 1000*time.Hour), withPlan(func(p *Plan) { p.Evidence = &EvidenceRule{Proof: true} }), waits},
		"no metrics":                             {observed, missing(WaitsForMetrics, proceed), "2:10 1:90, 2.1 waits for Metrics before 50"},
		"no series":                              {observed, missing(WaitsForSeries, proceed), "2:10 1:90, 2.1 waits for Series before 50"},
		"no traffic: hold":                       {observed, missing(WaitsForTraffic, EvidenceRule{Proof: true}), "2:10 1:90, 2.1 waits for Traffic before 50"},
		"no traffic: proceed":                    {observed, missing(WaitsForTraffic, proceed), goesOn},
		"no traffic: proceed after the hold":     {onTrial(provenPlan, 10, time.Minute), missing(WaitsForTraffic, proceed), "2:10 1:90, 2.1 waits for Hold before 50"},
		"no traffic of another trial": {observed, func(s *Snapshot) {
			missing(WaitsForTraffic, proceed)(s)
			s.Evidence.Trial.Attempt = 2
		}, waits},
		"harm of another trial":    {observed, func(s *Snapshot) { s.Evidence = Evidence{Trial: TrialID{2, 2}, Share: 10, Harm: true} }, waits},
		"harm":                     {observed, shows(func(e *Evidence) { e.Harm = true }), "2:0 1:100, 2.1 rejected: Harm"},
		"harm at an earlier share": {observed, shows(func(e *Evidence) { e.Harm, e.Share = true, 5 }), "2:0 1:100, 2.1 rejected: Harm"},
		"harm without a policy":    {observed, func(s *Snapshot) { s.Desired.Plan, s.Evidence = nil, Evidence{Trial: trial21, Harm: true} }, "2:0 1:100, 2.1 rejected: Harm"},
		"harm with an invalid policy": {observed, func(s *Snapshot) {
			s.Desired.Plan, s.Evidence = &Plan{Invalid: true}, Evidence{Trial: trial21, Harm: true}
		}, "2:0 1:100, 2.1 rejected: Harm"},
		"harm with a spec that is not resolved": {observed, func(s *Snapshot) { s.Desired.Hash, s.Evidence = "", Evidence{Trial: trial21, Harm: true} }, "2:0 1:100, 2.1 rejected: Harm"},
		"harm with a percent":                   {observed, func(s *Snapshot) { set(new(30))(s); s.Evidence = Evidence{Trial: trial21, Harm: true} }, "2:30 1:70"},
	})
}

// TestCommands checks «What people say to a rollout» of the contract.
func TestCommands(t *testing.T) {
	gate := func(p *Plan) { p.Steps[1].Approve = true }
	gated := onTrial(timedPlan.with(gate), 10, time.Hour)
	lastGate := onTrial(timedPlan.with(func(p *Plan) { p.ApprovePromotion = true }), 50, time.Hour)
	firstGate := newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), up(2))
	firstGate.Desired.Plan = new(timedPlan.with(func(p *Plan) { p.Steps[0].Approve = true }))
	const waits, goesOn = "2:10 1:90, 2.1 waits for Approval before 50", "2:50 1:50, 2.1 waits for Hold before 100"
	approve := func(revision Number, attempt, share int) func(*Snapshot) {
		return command(func(c *Commands) { c.Approve = Approval{TrialID{revision, attempt}, share} })
	}
	pause := command(func(c *Commands) { c.Pause = trial21 })
	abort := command(func(c *Commands) { c.Abort = trial21 })
	promote := command(func(c *Commands) { c.Promote = trial21 })
	retry := func(attempt int) func(*Snapshot) {
		return command(func(c *Commands) { c.Retry = TrialID{2, attempt} })
	}
	all := func(changes ...func(*Snapshot)) func(*Snapshot) {
		return func(s *Snapshot) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	few := func(s *Snapshot) { // The target has one of four replicas.
		s.Revisions, s.Desired.Replicas = []Revision{upWith(1, 4), upWith(2, 1)}, scaled
	}
	testPlans(t, map[string]planTest{
		"no approval":                             {gated, nil, waits},
		"approve":                                 {gated, approve(2, 1, 50), goesOn},
		"approve another share":                   {gated, approve(2, 1, 10), waits},
		"approve another attempt":                 {gated, approve(2, 2, 50), waits},
		"approve another revision":                {gated, approve(3, 1, 50), waits},
		"approve the promotion only":              {gated, approve(2, 1, 100), waits},
		"approve during the hold":                 {onTrial(timedPlan.with(gate), 10, time.Minute), approve(2, 1, 50), "2:10 1:90, 2.1 waits for Hold before 50"},
		"approve before the proof":                {onTrial(provenPlan.with(gate), 10, time.Hour), approve(2, 1, 50), "2:10 1:90, 2.1 waits for Proof before 50"},
		"proof before the approval":               {onTrial(provenPlan.with(gate), 10, time.Hour), func(s *Snapshot) { s.Evidence = proven(10, 0) }, waits},
		"harm before the approval":                {gated, func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Harm: true} }, "2:0 1:100, 2.1 rejected: Harm"},
		"the promotion waits for approval":        {lastGate, nil, "2:50 1:50, 2.1 waits for Approval before 100"},
		"approve the promotion":                   {lastGate, approve(2, 1, 100), "2:100"},
		"the first share waits for approval":      {firstGate, nil, "1:100, 2.1 waits for Approval before 10"},
		"approve the first share":                 {firstGate, approve(2, 1, 10), "2:10 1:90, 2.1 waits for Hold before 50"},
		"an approval that is taken back in time":  {gated, all(few, func(s *Snapshot) { s.Route.State.Asked.Share = 50 }), waits},
		"pause":                                   {onTrial(timedPlan, 10, time.Hour), pause, "2:10 1:90, 2.1 waits for Resume before 50"},
		"pause before the first share":            {firstGate, all(pause, approve(2, 1, 10)), "1:100, 2.1 waits for Resume before 10"},
		"pause a share that waits for replicas":   {onTrial(timedPlan, 10, time.Hour), all(pause, func(s *Snapshot) { s.Route.State.Asked.Share = 50 }), "2:10 1:90, 2.1 waits for Resume before 50"},
		"pause another trial":                     {onTrial(timedPlan, 10, time.Hour), command(func(c *Commands) { c.Pause = TrialID{2, 2} }), goesOn},
		"pause and harm":                          {onTrial(timedPlan, 10, time.Hour), all(pause, func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Harm: true} }), "2:0 1:100, 2.1 rejected: Harm"},
		"pause and abort":                         {onTrial(timedPlan, 10, time.Hour), all(pause, abort), "2:0 1:100, 2.1 rejected: Aborted"},
		"pause and promote: no share goes up":     {onTrial(timedPlan, 10, time.Hour), all(pause, promote), "2:10 1:90, 2.1 waits for Resume before 100"},
		"pause gives a lost share back":           {onTrial(timedPlan, 10, time.Hour), all(pause, func(s *Snapshot) { s.Route.State.Split = canarySplit(2, 0, 1) }), "2:10 1:90, 2.1 waits for Resume before 50"},
		"abort":                                   {onTrial(timedPlan, 10, time.Minute), abort, "2:0 1:100, 2.1 rejected: Aborted"},
		"abort before the first share":            {firstGate, abort, "1:100, 2.1 rejected: Aborted"},
		"abort another trial":                     {onTrial(timedPlan, 10, time.Minute), command(func(c *Commands) { c.Abort = TrialID{2, 2} }), "2:10 1:90, 2.1 waits for Hold before 50"},
		"abort without a policy":                  {onTrial(timedPlan, 10, time.Minute), all(abort, func(s *Snapshot) { s.Desired.Plan = nil }), "2:0 1:100, 2.1 rejected: Aborted"},
		"abort with a percent":                    {onTrial(timedPlan, 10, time.Minute), all(abort, set(new(20))), "2:20 1:80"},
		"abort wins over promote":                 {onTrial(timedPlan, 10, time.Minute), all(abort, promote), "2:0 1:100, 2.1 rejected: Aborted"},
		"an abort that is left over":              {rejected(time.Minute), abort, "2:0 1:100, 2.1 rejected: Harm"},
		"promote in the hold":                     {onTrial(provenPlan, 10, time.Minute), promote, "2:100"},
		"promote without approval":                {gated, promote, "2:100"},
		"promote before the first share":          {firstGate, promote, "2:100"},
		"promote waits for capacity":              {onTrial(provenPlan, 10, time.Minute), all(promote, few), "2:10 1:90, 2.1 waits for Capacity before 100"},
		"promote skips the bake":                  {onTrial(provenPlan, 10, time.Minute), all(promote, withPlan(func(p *Plan) { p.Bake = time.Hour })), "2:100"},
		"promote another trial":                   {onTrial(timedPlan, 10, time.Minute), command(func(c *Commands) { c.Promote = TrialID{2, 2} }), "2:10 1:90, 2.1 waits for Hold before 50"},
		"promote without a policy":                {onTrial(timedPlan, 10, time.Minute), all(promote, func(s *Snapshot) { s.Desired.Plan = nil }), "2:10 1:90, 2.1 waits for Policy"},
		"promote and harm":                        {onTrial(timedPlan, 10, time.Minute), all(promote, func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Harm: true} }), "2:0 1:100, 2.1 rejected: Harm"},
		"a promote that is taken back in time":    {onTrial(provenPlan, 10, time.Hour), all(few, func(s *Snapshot) { s.Route.State.Asked = Intent{Share: 100, Promote: true} }), "2:10 1:90, 2.1 waits for Proof before 50"},
		"retry":                                   {rejected(time.Minute), retry(2), "2:10 1:90, 2.2 waits for Hold before 50"},
		"retry after the target has left":         {rejected(time.Hour), all(retry(2), func(s *Snapshot) { s.Route.State.Split, s.Revisions[1] = All(1), withoutWorkload(2) }), "1:100, 2.2 waits for Capacity before 10"},
		"retry the rejected attempt":              {rejected(time.Minute), retry(1), "2:0 1:100, 2.1 rejected: Harm"},
		"retry a later attempt":                   {rejected(time.Minute), retry(3), "2:0 1:100, 2.1 rejected: Harm"},
		"retry another revision":                  {rejected(time.Minute), command(func(c *Commands) { c.Retry = TrialID{3, 2} }), "2:0 1:100, 2.1 rejected: Harm"},
		"retry without a policy":                  {rejected(time.Minute), all(retry(2), func(s *Snapshot) { s.Desired.Plan = nil }), "2:0 1:100, 2.1 rejected: Harm"},
		"retry with a policy that cannot be used": {rejected(time.Minute), all(retry(2), withPlan(func(p *Plan) { p.Invalid = true })), "2:0 1:100, 2.2 waits for Policy"},
		"retry while the stable cannot serve": {rejected(time.Minute), all(retry(2), func(s *Snapshot) {
			s.Route.State.Split, s.Revisions[0] = canarySplit(2, 50, 1), down(1)
		}), "2:50 1:50, 2.2 waits for Capacity before 10"},
		"a retry that is left over": {onTrial(timedPlan, 10, time.Minute), retry(1), "2:10 1:90, 2.1 waits for Hold before 50"},
	})
}

// TestRetryIsUsedUp: a retry has no effect on the rejection of the attempt that it began.
func TestRetryIsUsedUp(t *testing.T) {
	observed := rejected(time.Minute)
	observed.Desired.Commands.Retry = TrialID{2, 2}
	again := observed.later(Decide(observed, testPolicy, testNow))
	again.Evidence = Evidence{Trial: TrialID{2, 2}, Harm: true}
	for range 2 {
		decision := Decide(again, testPolicy, testNow)
		if got, want := outcome(decision), "2:0 1:100, 2.2 rejected: Harm"; got != want {
			t.Fatalf("the outcome is %q, want %q", got, want)
		}
		again = again.later(decision)
	}
}

// TestTrialCapacity: a share waits for replicas or for a node. Its hold begins when it is given.
func TestTrialCapacity(t *testing.T) {
	replicas := func(stable, target int) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Revisions, s.Desired.Replicas = []Revision{upWith(1, stable), upWith(2, target)}, scaled
		}
	}
	lost := func(s *Snapshot) { s.Revisions[1] = down(2) }
	back := func(s *Snapshot) { s.Route.State.Split = canarySplit(2, 0, 1) }
	queued := func(s *Snapshot) { s.Revisions[1].predictor().UnschedulableSince = testNow.Add(-time.Hour) }
	all := func(changes ...func(*Snapshot)) func(*Snapshot) {
		return func(s *Snapshot) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	loading := newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), down(2))
	loading.Desired.Plan = new(timedPlan)
	observed := onTrial(timedPlan, 10, time.Hour)
	knative := func(s *Snapshot) { s.Desired.Replicas = Bounds{ScaledByKnative: true} }
	testPlans(t, map[string]planTest{
		"the target loads":                         {loading, nil, "1:100, 2.1 waits for Capacity before 10"},
		"no node takes the target":                 {loading, queued, "1:100, 2.1 waits for Queue before 10"},
		"a step waits for replicas":                {observed, replicas(4, 1), "2:10 1:90, 2.1 waits for Capacity before 50"},
		"a step waits for a node":                  {observed, all(replicas(4, 1), queued), "2:10 1:90, 2.1 waits for Queue before 50"},
		"a step has its replicas":                  {observed, replicas(4, 3), "2:50 1:50, 2.1 waits for Hold before 100"},
		"the promotion waits for replicas":         {onTrial(timedPlan, 50, time.Hour), replicas(4, 2), "2:50 1:50, 2.1 waits for Capacity before 100"},
		"row 18: the target loses its pods":        {observed, lost, "2:0 1:100, 2.1 waits for Capacity before 10"},
		"row 18: it has no pods":                   {observed, all(back, lost), "2:0 1:100, 2.1 waits for Capacity before 10"},
		"row 18: no node takes its pods":           {observed, all(back, lost, queued), "2:0 1:100, 2.1 waits for Queue before 10"},
		"row 18: it is back, to its share":         {observed, back, "2:10 1:90, 2.1 waits for Hold before 50"},
		"row 18: a step that waited is asked anew": {observed, all(back, func(s *Snapshot) { s.Route.State.Asked.Share = 50 }), "2:10 1:90, 2.1 waits for Hold before 50"},
		"row 19: the stable has no pods":           {onTrial(timedPlan, 10, time.Minute), func(s *Snapshot) { s.Revisions[0] = down(1) }, "2:10 1:90, 2.1 waits for Hold before 50"},
		"Knative: one ready replica is enough":     {observed, all(replicas(4, 1), knative), "2:50 1:50, 2.1 waits for Hold before 100"},
		"Knative: the target is not ready":         {observed, all(back, lost, knative), "2:0 1:100, 2.1 waits for Capacity before 10"},
		"an external autoscaler: a step waits": {observed, all(replicas(4, 1), func(s *Snapshot) {
			s.Desired.Replicas.ScaledExternally = true
		}), "2:10 1:90, 2.1 waits for Capacity before 50"},
	})
}

// TestNewHoldAfterLoss: a target that was lost gets its share back with a new hold.
func TestNewHoldAfterLoss(t *testing.T) {
	observed := onTrial(timedPlan, 10, time.Hour)
	observed.Route.State.Split, observed.Route.Split = canarySplit(2, 0, 1), canarySplit(2, 0, 1)
	observed = observed.later(Decide(observed, testPolicy, testNow))
	for after, want := range map[time.Duration]string{
		5*time.Minute - 1: "2:10 1:90, 2.1 waits for Hold before 50",
		5 * time.Minute:   "2:50 1:50, 2.1 waits for Hold before 100",
	} {
		if got := outcome(Decide(observed, testPolicy, testNow.Add(after))); got != want {
			t.Errorf("after %s the outcome is %q, want %q", after, got, want)
		}
	}
}

// TestRejection checks «Rejection, supersession, bake» of the contract.
func TestRejection(t *testing.T) {
	const stays, left = "2:0 1:100, 2.1 rejected: Harm", "1:100, 2.1 rejected: Harm"
	gone := func(s *Snapshot) { s.Route.State.Split, s.Revisions[1] = All(1), withoutWorkload(2) }
	deadlines := func(p *Plan) { p.LoadDeadline, p.QueueDeadline = 10*time.Minute, time.Hour }
	loads := func(since time.Duration) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Revisions[1] = down(2)
			s.Revisions[1].predictor().LoadingSince = testNow.Add(-since)
		}
	}
	loading := newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), down(2))
	loading.Desired.Plan = new(timedPlan.with(deadlines))
	harmed := onTrial(provenPlan, 50, time.Minute)
	harmed.Evidence = Evidence{Trial: trial21, Harm: true}
	testPlans(t, map[string]planTest{
		"it stays for rejected.keep":                {rejected(10*time.Minute - 1), nil, stays},
		"it leaves the split":                       {rejected(10 * time.Minute), nil, left},
		"it leaves at once without a keep":          {harmed, withPlan(func(p *Plan) { p.Keep = 0 }), left},
		"it is not loaded again":                    {rejected(time.Hour), gone, left},
		"other replicas":                            {rejected(time.Hour), func(s *Snapshot) { gone(s); s.Desired.Replicas = Bounds{Min: 3, Max: 5} }, left},
		"another policy":                            {rejected(time.Hour), func(s *Snapshot) { gone(s); s.Desired.Plan.Policy = "other" }, left},
		"the policy is removed: a default keep":     {rejected(9 * time.Minute), func(s *Snapshot) { s.Desired.Plan = nil }, stays},
		"the policy is removed, and the keep ends":  {rejected(10 * time.Minute), func(s *Snapshot) { s.Desired.Plan = nil }, left},
		"the policy is invalid: a default keep":     {rejected(9 * time.Minute), func(s *Snapshot) { s.Desired.Plan = &Plan{Invalid: true} }, stays},
		"the spec cannot be resolved":               {rejected(time.Hour), func(s *Snapshot) { gone(s); s.Desired.Hash = "" }, left},
		"the spec left it and returns":              {rejected(time.Minute), func(s *Snapshot) { gone(s); s.Route.State.Target = 3 }, left},
		"more harm":                                 {rejected(time.Minute), func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Harm: true} }, stays},
		"a target that becomes ready stays out":     {rejected(time.Minute), func(s *Snapshot) { s.Route.State.Split = All(1) }, left},
		"a percent of 0":                            {rejected(time.Hour), set(new(0)), stays},
		"a percent above 0":                         {rejected(time.Hour), set(new(20)), "2:20 1:80"},
		"a percent of 100":                          {rejected(time.Hour), set(new(100)), "2:100"},
		"a percent of a spec that is not resolved":  {rejected(time.Hour), func(s *Snapshot) { gone(s); set(new(20))(s); s.Desired.Hash = "" }, left},
		"another model, as a canary of its own":     {rejected(time.Minute), func(s *Snapshot) { s.Desired.Hash, s.Revisions = hashOf(3), append(s.Revisions, up(3)) }, "3:10 1:90, 3.1 waits for Hold before 50"},
		"row 21: harm, and the stable cannot serve": {harmed, func(s *Snapshot) { s.Revisions[0] = down(1) }, "2:50 1:50, 2.1 waits for Stable, 2.1 rejected: Harm"},
		"row 21: the keep ends meanwhile":           {rejected(time.Hour), func(s *Snapshot) { s.Route.State.Split, s.Revisions[0] = canarySplit(2, 50, 1), down(1) }, "2:50 1:50, 2.1 waits for Stable, 2.1 rejected: Harm"},
		"row 21: the stable can serve":              {rejected(time.Minute), func(s *Snapshot) { s.Route.State.Split = canarySplit(2, 50, 1) }, stays},
		"row 21: nobody can serve":                  {harmed, func(s *Snapshot) { s.Revisions = []Revision{down(1), down(2)} }, stays},
		"before the load deadline":                  {loading, loads(10*time.Minute - 1), "1:100, 2.1 waits for Capacity before 10"},
		"at the load deadline":                      {loading, loads(10 * time.Minute), "1:100, 2.1 rejected: LoadDeadlineExceeded"},
		"no load deadline":                          {loading, func(s *Snapshot) { loads(time.Hour)(s); s.Desired.Plan = new(timedPlan) }, "1:100, 2.1 waits for Capacity before 10"},
		"at the load deadline after a loss":         {onTrial(timedPlan.with(deadlines), 10, time.Hour), loads(10 * time.Minute), "2:0 1:100, 2.1 rejected: LoadDeadlineExceeded"},
		"one replica loads and another is ready":    {onTrial(timedPlan.with(deadlines), 10, time.Minute), func(s *Snapshot) { s.Revisions[1].predictor().LoadingSince = testNow.Add(-time.Hour) }, "2:10 1:90, 2.1 waits for Hold before 50"},
		"at the load deadline without a policy":     {onTrial(timedPlan, 10, time.Minute), func(s *Snapshot) { loads(time.Hour)(s); s.Desired.Plan = nil }, "2:0 1:100, 2.1 waits for Policy before 10"},
		"before the queue deadline":                 {loading, func(s *Snapshot) { s.Revisions[1] = unschedulable(2, time.Hour-1) }, "1:100, 2.1 waits for Queue before 10"},
		"at the queue deadline":                     {loading, func(s *Snapshot) { s.Revisions[1] = unschedulable(2, time.Hour) }, "1:100, 2.1 rejected: QueueDeadlineExceeded"},
		"a failed target is not rejected":           {loading, func(s *Snapshot) { s.Revisions[1].predictor().Failed = true }, "1:100, 2.1 waits for Capacity before 10"},
		"row 12: a new target in a trial":           {harmed, func(s *Snapshot) { s.Desired.Hash, s.Revisions = hashOf(3), append(s.Revisions, down(3)) }, "1:100, 3.1 waits for Capacity before 10"},
		"row 15: the spec returns to the stable":    {harmed, func(s *Snapshot) { s.Desired.Hash = hashOf(1) }, "1:100"},
		"a superseded target comes back to attempt 2": {onTrial(timedPlan, 10, time.Hour), func(s *Snapshot) {
			s.Route.State.Target, s.Route.State.Split = 3, All(1)
		}, "2:10 1:90, 2.2 waits for Hold before 50"},
	})
}

// TestNoReturnToRejected: a promotion is not undone by a return to a revision that was rejected.
func TestNoReturnToRejected(t *testing.T) {
	observed := newSnapshot(rolloutState(2, 1, 2, nil, All(2)), 2, new(0), up(1), up(2))
	observed.Desired.Manual = true
	observed.Route.State.Rejected = map[Number]Rejection{1: {Attempt: 1, Reason: Harmful}}
	decision := Decide(observed, testPolicy, testNow)
	if got := decision.State; got.Split.String() != "2:100" || got.Stable != 2 || !got.NothingToUndo {
		t.Errorf("the state is %s", got.Encode())
	}
}

// TestRejectedWorkload: a rejected target runs for the keep, then it retires, and its entry in the
// history stays.
func TestRejectedWorkload(t *testing.T) {
	observed := rejected(9 * time.Minute)
	decision := Decide(observed, testPolicy, testNow)
	if plan := planOf(decision, 2); plan.Action != Run || !decision.WakeAt.Equal(testNow.Add(time.Minute)) {
		t.Errorf("in the keep the plan is %+v, and it wakes at %s", plan, decision.WakeAt)
	}
	observed = rejected(10 * time.Minute)
	observed.Desired.Tagged, observed.Route.Tags = true, []Number{2, 1}
	left := Decide(observed, testPolicy, testNow)
	if plan := planOf(left, 2); plan.Action != AwaitRoute || left.Tags != (Tags{Latest: 1}) || left.Phase != RejectedCanary {
		t.Errorf("after the keep the plan is %+v, the tags are %+v and the phase is %s", plan, left.Tags, left.Phase)
	}
	observed = observed.later(left)
	observed.Route.Tags = []Number{1}
	if plan := planOf(Decide(observed, testPolicy, testNow), 2); plan.Action != Drain {
		t.Errorf("once the route is accepted the plan is %+v", plan)
	}
}

// TestBake checks what happens after a promotion by the plan.
func TestBake(t *testing.T) {
	const bakes, undone = "2:100, 2.1 waits for Bake", "2:0 1:100, 2.1 rejected: "
	harm := func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Share: 100, Harm: true} }
	abort := command(func(c *Commands) { c.Abort = trial21 })
	all := func(changes ...func(*Snapshot)) func(*Snapshot) {
		return func(s *Snapshot) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	replicas := func(previous, target int) func(*Snapshot) {
		return func(s *Snapshot) {
			s.Revisions, s.Desired.Replicas = []Revision{upWith(1, previous), upWith(2, target)}, scaled
			s.Route.State.Held = heldBy(map[Number]int{1: 8, 2: 8})
		}
	}
	noPlan := func(s *Snapshot) { s.Desired.Plan = nil }
	promotes := onTrial(provenPlan.with(func(p *Plan) { p.Bake = time.Hour }), 50, time.Hour)
	promotes.Evidence = proven(50, time.Minute)
	testPlans(t, map[string]planTest{
		"the promotion begins it":               {promotes, nil, bakes},
		"a relabelled stable needs none":        {promotes, func(s *Snapshot) { s.Revisions[0].SameModel = true; s.Route.State.Previous = 3 }, "2:100"},
		"it waits":                              {baking(time.Hour - 1), nil, bakes},
		"it ends":                               {baking(time.Hour), nil, "2:100"},
		"it ends only while the gateway serves": {baking(time.Hour), func(s *Snapshot) { s.Route.Accepted = false }, bakes},
		"a longer bake":                         {baking(time.Hour), withPlan(func(p *Plan) { p.Bake = 2 * time.Hour }), bakes},
		"a bake that is removed":                {baking(time.Minute), withPlan(func(p *Plan) { p.Bake = 0 }), "2:100"},
		"harm undoes the promotion":             {baking(time.Minute), harm, undone + "Harm"},
		"harm of another trial":                 {baking(time.Minute), func(s *Snapshot) { s.Evidence = Evidence{Trial: TrialID{2, 2}, Harm: true} }, bakes},
		"an abort undoes the promotion":         {baking(time.Minute), abort, undone + "Aborted"},
		"a pause does nothing":                  {baking(time.Minute), command(func(c *Commands) { c.Pause = trial21 }), bakes},
		"promote ends it":                       {baking(time.Minute), command(func(c *Commands) { c.Promote = trial21 }), "2:100"},
		"harm wins over promote":                {baking(time.Minute), all(harm, command(func(c *Commands) { c.Promote = trial21 })), undone + "Harm"},
		"promote of another trial":              {baking(time.Minute), command(func(c *Commands) { c.Promote = TrialID{3, 1} }), bakes},
		"every replica takes the traffic":       {baking(time.Hour - 1), all(harm, replicas(8, 8)), undone + "Harm"},
		"the previous has lost replicas":        {baking(time.Hour - 1), all(harm, replicas(4, 8)), "2:50 1:50, 2.1 waits for Stable, 2.1 rejected: Harm"},
		"the previous has lost every replica":   {baking(time.Hour - 1), all(harm, func(s *Snapshot) { s.Revisions[0] = down(1) }), "2:100, 2.1 waits for Stable, 2.1 rejected: Harm"},
		"the previous is lost":                  {baking(time.Minute), all(harm, func(s *Snapshot) { s.Revisions = s.Revisions[1:] }), "2:100"},
		"the spec returns to the previous":      {baking(time.Minute), func(s *Snapshot) { s.Desired.Hash = hashOf(1) }, "1:100"},
		"it returns to one that has lost replicas": {baking(time.Hour - 1), all(replicas(4, 8), func(s *Snapshot) {
			s.Desired.Hash = hashOf(1)
		}), "2:50 1:50"},
		"another model ends it": {baking(time.Minute), func(s *Snapshot) {
			s.Desired.Hash, s.Revisions = hashOf(3), append(s.Revisions, down(3))
		}, "2:100, 3.1 waits for Capacity before 10"},
		"a percent undoes it to a share":        {baking(time.Minute), set(new(30)), "2:30 1:70"},
		"a percent of 100 ends it":              {baking(time.Minute), set(new(100)), "2:100"},
		"the policy is deleted: it goes on":     {baking(time.Hour - 1), noPlan, bakes},
		"the policy is deleted: it ends":        {baking(time.Hour), noPlan, "2:100"},
		"the policy is deleted: harm undoes it": {baking(time.Minute), all(noPlan, harm), undone + "Harm"},
		"the policy is invalid: it goes on":     {baking(time.Hour - 1), withPlan(func(p *Plan) { *p = Plan{Invalid: true} }), bakes},
		"the spec cannot be resolved":           {baking(time.Hour - 1), func(s *Snapshot) { s.Desired.Hash = "" }, bakes},
		"no deadline ends it": {baking(time.Minute), all(withPlan(func(p *Plan) { p.LoadDeadline = time.Minute }), func(s *Snapshot) {
			s.Revisions[1] = down(2)
			s.Revisions[1].predictor().LoadingSince = testNow.Add(-time.Hour)
		}), bakes},
		"row 19: the target has no pods": {baking(time.Minute), func(s *Snapshot) { s.Revisions[1] = down(2) }, bakes},
	})
}

// TestBakeStates: stable and previous, transitions and workloads around the bake.
func TestBakeStates(t *testing.T) {
	model3 := func(s *Snapshot) { s.Desired.Hash, s.Revisions = hashOf(3), append(s.Revisions, down(3)) }
	promotes := onTrial(provenPlan.with(func(p *Plan) { p.Bake = time.Hour }), 50, time.Hour)
	promotes.Evidence = proven(50, time.Minute)
	for name, test := range map[string]struct {
		observed         Snapshot
		change           func(*Snapshot)
		stable, previous Number
		transitions      []string
		action           Action // Of revision 1.
		phase            Phase
	}{
		"the promotion": {promotes, func(*Snapshot) {}, 2, 1, []string{"Promoted 2, 1", "BakeStarted 2, 1", "Shifted from 2:50 1:50 to 2:100"}, Run, Baking},
		"it waits":      {baking(time.Minute), func(*Snapshot) {}, 2, 1, nil, Run, Baking},
		"its end":       {baking(time.Hour), func(*Snapshot) {}, 2, 1, []string{"BakeCompleted 2, 1"}, AwaitRoute, Stable},
		"harm": {
			baking(time.Minute), func(s *Snapshot) { s.Evidence = Evidence{Trial: trial21, Harm: true} }, 1, 0,
			[]string{"Rejected 2, 1", "Shifted from 2:100 to 2:0 1:100"},
			Run, RejectedCanary,
		},
		"a return to the previous": {
			baking(time.Minute), func(s *Snapshot) { s.Desired.Hash = hashOf(1) }, 1, 0,
			[]string{"RolledBack 2, 1", "Shifted from 2:100 to 1:100"},
			Run, Stable,
		},
		"another model": {baking(time.Minute), model3, 2, 1, []string{"BakeEnded 2, 1", "TrialStarted 3, 2"}, AwaitRoute, Loading},
		"promote":       {baking(time.Minute), command(func(c *Commands) { c.Promote = trial21 }), 2, 1, []string{"BakeEnded 2, 1"}, AwaitRoute, Stable},
		"percent 100":   {baking(time.Minute), set(new(100)), 2, 1, []string{"BakeEnded 2, 1"}, AwaitRoute, Stable},
		"percent 0":     {baking(time.Minute), set(new(0)), 1, 0, []string{"RolledBack 2, 1", "Shifted from 2:100 to 2:0 1:100"}, Run, RolledBack},
		"the policy":    {baking(time.Minute), func(s *Snapshot) { s.Desired.Plan = nil }, 2, 1, nil, Run, Baking},
		"model 1, manual": {
			baking(time.Minute), func(s *Snapshot) { s.Desired.Hash = hashOf(1); set(new(10))(s) }, 2, 1,
			[]string{"BakeEnded 2, 1", "Shifted from 2:100 to 2:90 1:10"},
			Run, Canary,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(&test.observed)
			decision := Decide(test.observed, testPolicy, testNow)
			if got := decision.State; got.Stable != test.stable || got.Previous != test.previous {
				t.Errorf("stable and previous are %d and %d, want %d and %d", got.Stable, got.Previous, test.stable, test.previous)
			}
			var transitions []string
			for _, transition := range decision.Transitions {
				transitions = append(transitions, transition.text())
			}
			if !slices.Equal(transitions, test.transitions) {
				t.Errorf("the transitions are %q, want %q", transitions, test.transitions)
			}
			if action := planOf(decision, 1).Action; action != test.action || decision.Phase != test.phase {
				t.Errorf("revision 1 gets the action %s, and the phase is %s, want %s and %s", action, decision.Phase, test.action, test.phase)
			}
		})
	}
}

// TestBakeAfterLoss: a bake begins with the promotion, even if a lost trial began again at 100 %.
func TestBakeAfterLoss(t *testing.T) {
	observed := onTrial(timedPlan.with(func(p *Plan) { p.Bake = time.Minute }), 50, time.Hour)
	state := observed.Route.State
	state.Split, state.Asked.Share, state.Trial.Share = All(2), 100, 100
	observed = observed.later(Decide(observed, testPolicy, testNow))
	if got, want := outcome(Decide(observed, testPolicy, testNow.Add(59*time.Second))), "2:100, 2.1 waits for Bake"; got != want {
		t.Errorf("the outcome is %q, want %q", got, want)
	}
}

// TestBakeHoldsReplicas: the previous keeps its replicas in the bake, unless an autoscaler that is not
// ours scales it.
func TestBakeHoldsReplicas(t *testing.T) {
	for name, test := range map[string]struct {
		bounds Bounds
		want   int
	}{
		"autoscaled": {Bounds{Min: 1, Max: 10}, 6},
		"external":   {Bounds{Min: 1, Max: 10, ScaledExternally: true}, 1},
		"Knative":    {Bounds{Min: 1, ScaledByKnative: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			observed := onTrial(timedPlan.with(func(p *Plan) { p.Bake = time.Hour }), 50, time.Hour)
			observed.Revisions, observed.Desired.Replicas = []Revision{upWith(1, 6), upWith(2, 10)}, test.bounds
			decision := Decide(observed, testPolicy, testNow)
			observed = observed.later(decision)
			for _, after := range []time.Duration{time.Minute, 59 * time.Minute} {
				plan := planOf(Decide(observed, testPolicy, testNow.Add(after)), 1)
				if plan.Action != Run || plan.MinReplicas != test.want || plan.Raise {
					t.Errorf("after %s the previous is planned as %+v, want %d replicas", after, plan, test.want)
				}
			}
		})
	}
}

// TestLostTrial: a lost state never promotes and never forgets a rejection. The trial begins again at
// the share that is there, and commands for the lost one have no effect.
func TestLostTrial(t *testing.T) {
	lost := func(route Split, change func(*Snapshot)) Snapshot {
		observed := newSnapshot(nil, 2, nil, up(1), up(2))
		observed.Desired.Plan = new(timedPlan)
		observed.Route = Route{Split: route, Accepted: true, TagsAccepted: true}
		observed.Desired.Commands.Approve = Approval{trial21, 50}
		observed.Desired.Commands.Promote = trial21
		change(&observed)
		return observed
	}
	reports := func(s *Snapshot) {
		s.Reported = Reported{Stable: 1, Target: 2, Split: canarySplit(2, 10, 1), Trial: TrialID{2, 3}}
	}
	rejects := func(s *Snapshot) {
		s.Revisions[1].Rejection = &Rejection{Attempt: 2, Reason: Harmful, At: testNow.Add(-time.Hour)}
	}
	bakes := func(s *Snapshot) {
		s.Reported = Reported{Stable: 2, Previous: 1, Target: 2, Split: All(2), Trial: trial21, Baking: true}
		s.Desired.Plan.Bake = time.Hour
	}
	canary := canarySplit(2, 10, 1)
	for name, test := range map[string]struct {
		observed Snapshot
		want     string
	}{
		"only the route is there":               {lost(canary, func(*Snapshot) {}), "2:10 1:90, 2.2 waits for Hold before 50"},
		"the route and the status":              {lost(canary, reports), "2:10 1:90, 2.4 waits for Hold before 50"},
		"only the status":                       {lost(Split{}, reports), "2:10 1:90, 2.4 waits for Hold before 50"},
		"only the workloads":                    {lost(Split{}, func(*Snapshot) {}), "2:10 1:90, 2.2 waits for Hold before 50"},
		"the policy is gone too":                {lost(canary, func(s *Snapshot) { reports(s); s.Desired.Plan = nil }), "2:10 1:90, 2.4 waits for Policy"},
		"the policy is invalid":                 {lost(canary, func(s *Snapshot) { s.Desired.Plan = &Plan{Invalid: true} }), "2:10 1:90, 2.2 waits for Policy"},
		"the spec cannot be resolved":           {lost(canary, func(s *Snapshot) { reports(s); s.Desired.Hash = "" }), "2:10 1:90, 2.4 waits for Policy"},
		"an abort of the lost trial":            {lost(canary, command(func(c *Commands) { c.Abort = trial21 })), "2:10 1:90, 2.2 waits for Hold before 50"},
		"a percent":                             {lost(canary, set(new(10))), "2:10 1:90"},
		"rejected":                              {lost(canarySplit(2, 0, 1), rejects), "1:100, 2.2 rejected: Harm"},
		"rejected, and no route":                {lost(Split{}, rejects), "1:100, 2.2 rejected: Harm"},
		"rejected, and no policy":               {lost(canarySplit(2, 0, 1), func(s *Snapshot) { rejects(s); s.Desired.Plan = nil }), "1:100, 2.2 rejected: Harm"},
		"rejected, and a retry":                 {lost(All(1), func(s *Snapshot) { rejects(s); s.Desired.Commands.Retry = TrialID{2, 3} }), "2:10 1:90, 2.3 waits for Hold before 50"},
		"rejected, and a used retry":            {lost(All(1), func(s *Snapshot) { rejects(s); s.Desired.Commands.Retry = TrialID{2, 2} }), "1:100, 2.2 rejected: Harm"},
		"rejected, and a percent":               {lost(All(1), func(s *Snapshot) { rejects(s); set(new(20))(s) }), "2:20 1:80"},
		"rejected, and the status lags":         {lost(Split{}, func(s *Snapshot) { rejects(s); reports(s) }), "1:100, 2.2 rejected: Harm"},
		"rejected, and the stable is not ready": {lost(Split{}, func(s *Snapshot) { rejects(s); s.Revisions[0] = down(1) }), "none, 2.2 rejected: Harm"},
		"rejected, undone, and the status lags": {lost(All(2), func(s *Snapshot) { rejects(s); bakes(s) }), "1:100, 2.2 rejected: Harm"},
		"in the bake":                           {lost(All(2), bakes), "2:100, 2.2 waits for Bake"},
		"in the bake, and no status":            {lost(All(2), func(*Snapshot) {}), "2:100"},
		"in the bake, and no policy":            {lost(All(2), func(s *Snapshot) { bakes(s); s.Desired.Plan = nil }), "2:100"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcome(Decide(test.observed, testPolicy, testNow)); got != test.want {
				t.Errorf("the outcome is %q, want %q", got, test.want)
			}
		})
	}
}

// TestOnlyRejectedIsLeft: a rejected revision gets nothing even if no other revision is known.
func TestOnlyRejectedIsLeft(t *testing.T) {
	observed := newSnapshot(nil, 2, nil, up(2))
	observed.Revisions[0].Rejection = &Rejection{Attempt: 1, Reason: Harmful, At: testNow}
	decision := Decide(observed, testPolicy, testNow)
	if decision.State != nil || decision.Phase != RejectedCanary {
		t.Errorf("the state is %+v and the phase %s", decision.State, decision.Phase)
	}
	retried := observed
	retried.Desired.Plan, retried.Desired.Commands.Retry = new(timedPlan), TrialID{2, 2}
	if state := Decide(retried, testPolicy, testNow).State; state == nil || state.Split.String() != "2:100" || state.isRejected(2) {
		t.Errorf("with a retry the state is %+v", state)
	}
	observed.Desired.Intent, observed.Desired.Manual = Intent{}, true
	if state := Decide(observed, testPolicy, testNow).State; state != nil {
		t.Errorf("with a percent of 0 the state is %+v", state)
	}
	observed.Desired.Intent.Share = 10
	if state := Decide(observed, testPolicy, testNow).State; state == nil || state.Split.String() != "2:100" {
		t.Errorf("with a percent the state is %+v", state)
	}
}

// TestRecoverWithoutRejected: a rejected revision that runs does not become the stable.
func TestRecoverWithoutRejected(t *testing.T) {
	observed := newSnapshot(nil, 3, nil, up(1), up(2), down(3))
	observed.Revisions[1].Rejection = &Rejection{Attempt: 1, Reason: Harmful, At: testNow}
	observed.Desired.Plan = new(timedPlan)
	if got, want := outcome(Decide(observed, testPolicy, testNow)), "1:100, 3.2 waits for Capacity before 10"; got != want {
		t.Errorf("the outcome is %q, want %q", got, want)
	}
}

// TestTrialKeepsItsPolicy: a trial follows only the policy with which it began.
func TestTrialKeepsItsPolicy(t *testing.T) {
	observed := newSnapshot(rolloutState(1, 0, 2, nil, All(1)), 2, nil, up(1), up(2))
	observed.Desired.Plan = new(timedPlan)
	observed = observed.later(Decide(observed, testPolicy, testNow))
	withPlan(func(p *Plan) { p.Policy = "other" })(&observed)
	if got, want := outcome(Decide(observed, testPolicy, testNow.Add(time.Hour))), "2:10 1:90, 2.1 waits for Policy"; got != want {
		t.Errorf("the outcome is %q, want %q", got, want)
	}
}

// TestNoReplacementInTrial: row 22 applies without a policy only, even if a person promotes.
func TestNoReplacementInTrial(t *testing.T) {
	observed := newSnapshot(trialState(0, time.Hour), 2, nil, up(1), unschedulable(2, time.Hour))
	observed.Desired.Plan, observed.Desired.Replace, observed.Desired.Commands.Promote = new(timedPlan), true, trial21
	decision := Decide(observed, testPolicy, testNow)
	if got, want := outcome(decision), "2:0 1:100, 2.1 waits for Queue before 100"; got != want || decision.State.Replacement != "" {
		t.Errorf("the outcome is %q, and the replacement %q", got, decision.State.Replacement)
	}
}

// TestForgottenRevisions: the trials of a revision go with its entry in the revision history.
func TestForgottenRevisions(t *testing.T) {
	observed := onTrial(timedPlan, 10, time.Hour)
	state := observed.Route.State
	state.Rejected = map[Number]Rejection{1: {Attempt: 1}, 5: {Attempt: 2}}
	state.Attempts = map[Number]int{1: 1, 2: 1, 5: 2, 6: 1}
	got := Decide(observed, testPolicy, testNow).State
	if len(got.Attempts) != 2 || len(got.Rejected) != 1 || !got.isRejected(1) {
		t.Errorf("the state is %s", got.Encode())
	}
}
