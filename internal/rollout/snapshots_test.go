// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"
)

// maxRevisions is the maximum number of revisions in a random snapshot: enough for a stable, a
// previous, a target, a superseded, a lost and an unknown revision.
const maxRevisions = 6

func randomDecision(d *choices) evaluation {
	observed := randomSnapshot(d)
	policy := Policy{
		DrainPeriod:  pick(d, testPolicy.DrainPeriod, 0),
		CapacityHold: pick(d, testPolicy.CapacityHold, 0),
		HistoryLimit: pick(d, 10, 0, 1, 3),
	}
	return evaluation{observed, policy, testNow, Decide(observed, policy, testNow)}
}

// randomSnapshot returns any snapshot that a backend could observe. Half of the rollout states and
// splits are consistent. The others need an external editor.
func randomSnapshot(d *choices) Snapshot {
	observed := Snapshot{Desired: randomWanted(d)}
	for n := Number(1); n <= maxRevisions; n++ {
		if revision := randomRevision(d, n); revision.InHistory || revision.predictor() != nil {
			observed.Revisions = append(observed.Revisions, revision)
		}
	}
	observed.Route = randomRoute(d)
	if state := observed.Route.State; state != nil && !observed.Desired.Intent.Promote {
		observed.Desired.Intent.Undo = state.Asked.Promote || d.oneIn(8)
	}
	observed.Reported = Reported{
		Stable: randomNumber(d), Previous: randomNumber(d), Target: randomNumber(d), Split: randomSplit(d, 1, 2),
	}
	return observed
}

// randomPlanDecision returns a decision on a rollout with a plan. Its state is consistent, because
// random snapshots rarely have one in which a plan has an effect.
func randomPlanDecision(d *choices) evaluation {
	observed := randomTrial(d)
	addPlan(d, &observed)
	return evaluation{observed, testPolicy, testNow, Decide(observed, testPolicy, testNow)}
}

// randomTrial returns a consistent rollout of revision 2 after revision 1.
func randomTrial(d *choices) Snapshot {
	since := pick(d, time.Minute, 0, 5*time.Minute, time.Hour)
	observed := onTrial(timedPlan, pick(d, 10, 50, 0, 25), since)
	switch state := observed.Route.State; d.intn(8) {
	case 0, 1, 2:
		state.Asked.Share = pick(d, state.Asked.Share, 50, 100)
		state.Asked.Promote = state.Asked.Share == 100
	case 3:
		observed = baking(since)
	case 4:
		observed = rejected(since)
	case 5:
		state.Trial.Began, state.Trial.Share, state.Asked, state.Split = time.Time{}, 0, Intent{}, All(1)
	case 6:
		observed.Reported = Reported{Stable: 1, Target: 2, Split: state.Split}
		observed.Route.Split = pick(d, state.Split, Split{})
		observed.Route.State = nil
	case 7:
		state.Split = pick(d, All(1), canarySplit(2, 0, 1), Split{}) // Its pods are lost, or it was stopped.
	}
	observed.Desired.Hash = hashOf(pick(d, Number(2), 2, 2, 2, 1, 3))
	observed.Desired.Replicas = pick(d, Bounds{Min: 1, Max: 1}, scaled, Bounds{ScaledByKnative: true}, Bounds{Min: 1, Max: 10, ScaledExternally: true})
	for i := range observed.Revisions {
		workload := observed.Revisions[i].predictor()
		workload.Ready = pick(d, 1, 1, 1, 4, 0)
		workload.Replicas = max(1, workload.Ready)
		workload.Pods = workload.Replicas
	}
	observed.Route.Accepted = !d.oneIn(4)
	observed.Desired.Stopped = d.oneIn(8)
	if d.oneIn(8) {
		observed.Desired.Hash = ""
	}
	return observed
}

// addPlan adds a plan, commands and evidence to a snapshot, or some of these.
func addPlan(d *choices, observed *Snapshot) {
	desired := &observed.Desired
	if desired.Manual = d.oneIn(4); desired.Manual {
		observed.ask(pick(d, new(10), new(0), new(50), new(100)))
	}
	if !d.oneIn(6) {
		desired.Plan = new(randomPlan(d))
	} else {
		desired.Plan = nil
	}
	id := TrialID{1 + Number(d.intn(3)), 1 + d.intn(3)}
	if state := observed.Route.State; state != nil && !d.oneIn(4) {
		id = TrialID{state.Target, state.Attempts[state.Target]}
	}
	for _, command := range []*TrialID{&desired.Commands.Pause, &desired.Commands.Abort, &desired.Commands.Promote, &desired.Commands.Approve.Trial} {
		if d.oneIn(6) {
			*command = id
		}
	}
	if d.oneIn(4) {
		desired.Commands.Retry = TrialID{id.Revision, id.Attempt + 1}
	}
	desired.Commands.Approve.Share = pick(d, 50, 10, 100, 0)
	observed.Evidence = Evidence{Trial: id, Harm: d.oneIn(6), Share: pick(d, 10, 50, 0, 25), Missing: pick(d, "", WaitsForMetrics, WaitsForTraffic)}
	if d.oneIn(2) {
		observed.Evidence.ProvenAt, observed.Evidence.EnoughAt = randomPast(d), randomPast(d)
	}
	observed.Reported.Trial, observed.Reported.Baking = id, d.oneIn(3)
	for i := range observed.Revisions {
		if workload := observed.Revisions[i].predictor(); workload != nil && workload.Ready == 0 && d.oneIn(2) {
			workload.LoadingSince = randomPast(d)
		}
		if observed.Revisions[i].Number == 2 && d.oneIn(8) {
			observed.Revisions[i].Rejection = &Rejection{Attempt: 1 + d.intn(2), Reason: Harmful, At: randomPast(d)}
		}
	}
}

func randomPlan(d *choices) Plan {
	plan := Plan{
		Policy: pick(d, "standard", "standard", "standard", "other"), Invalid: d.oneIn(8), ApprovePromotion: d.oneIn(6),
		Bake: pick(d, 0, time.Hour, time.Hour, time.Minute), Keep: pick(d, 10*time.Minute, 0), LoadDeadline: pick(d, 0, 2*time.Minute), QueueDeadline: pick(d, 0, 2*time.Minute),
	}
	percents := pick(d, []int{10, 50}, []int{0, 10, 25, 50}, []int{50}, []int{0})
	for _, percent := range percents {
		plan.Steps = append(plan.Steps, Step{Percent: percent, Hold: pick(d, time.Minute, 5*time.Minute, time.Second), Approve: d.oneIn(6)})
	}
	if !d.oneIn(3) {
		plan.Evidence = &EvidenceRule{Proof: d.oneIn(2), Timeout: pick(d, 0, 0, 4*time.Minute), ProceedWithoutTraffic: d.oneIn(2)}
	}
	return plan
}

func randomNumber(d *choices) Number { return Number(d.intn(maxRevisions + 1)) }

// randomIntent returns the intent of a percent, or one that no percent can express.
func randomIntent(d *choices) Intent {
	percent := pick(d, nil, new(10), new(0), new(50), new(100), new(99), new(1), new(d.intn(101)))
	return pick(d, PercentIntent(percent, nil), PercentIntent(percent, nil), PercentIntent(percent, nil), Intent{Share: 100})
}

func randomWanted(d *choices) Desired {
	wanted := Desired{
		Hash:    hashOf(Number(d.intn(maxRevisions+1) + 1)), // No revision has the last hash.
		Intent:  randomIntent(d),
		Stopped: d.oneIn(12),
		Tagged:  d.oneIn(3),
		Replace: d.oneIn(4),
		Replicas: pick(d, Bounds{Min: 1, Max: 1}, Bounds{Min: 1, Max: 10}, Bounds{Min: 3, Max: 3}, Bounds{Min: 2, Max: 5},
			Bounds{Min: 0, Max: 3}, Bounds{Min: 1, ScaledByKnative: true}, Bounds{ScaledByKnative: true}, Bounds{Min: 4, Max: 2},
			Bounds{Min: 1, Max: 10, ScaledExternally: true}, Bounds{Min: 2, Max: 2, ScaledExternally: true},
			Bounds{Min: 1, Max: 10, ScaledExternally: true, ScaleTarget: new(d.intn(8))}),
	}
	switch d.intn(10) {
	case 8:
		wanted.Intent.Share = d.intn(256) - 128
	case 9:
		wanted.Hash = ""
	}
	return wanted
}

func randomRevision(d *choices, n Number) Revision {
	revision := Revision{Number: n, Hash: hashOf(n), InHistory: !d.oneIn(8)}
	switch d.intn(8) {
	case 0, 1, 2:
		ready := 1 + d.intn(8)
		revision.Workloads = Workloads{Predictor: {Ready: ready, Replicas: ready + d.intn(2), Pods: ready + d.intn(3)}}
	case 3, 4:
		revision.Workloads = Workloads{Predictor: {Replicas: 1, Pods: d.intn(2), Failed: d.oneIn(2)}}
	case 5:
		revision.Workloads = Workloads{Predictor: {Ready: 1 + d.intn(2), Replicas: 2, Pods: 2, IdleSince: randomPast(d), Terminating: d.oneIn(2)}}
	case 6:
		revision.Workloads = Workloads{Predictor: {Pods: d.intn(2), IdleSince: randomPast(d)}}
	}
	if revision.predictor() == nil && d.oneIn(2) {
		revision.InHistory = false
	}
	revision.SameModel = d.oneIn(4)
	if workload := revision.predictor(); workload != nil && d.oneIn(4) {
		workload.Unobserved, workload.Leftover, workload.ScaledUpAt = d.oneIn(2), d.intn(2), randomPast(d)
		workload.ReadySince = randomPast(d)
		if workload.Ready == 0 {
			workload.UnschedulableSince = randomPast(d)
		}
		workload.Held, workload.Lowered = d.intn(4), d.intn(3)
	}
	return revision
}

func randomPast(d *choices) time.Time {
	return testNow.Add(-pick(d, 0, time.Second, testPolicy.DrainPeriod, time.Minute, testPolicy.CapacityHold, time.Hour))
}

func randomRoute(d *choices) Route {
	route := Route{
		Accepted:     !d.oneIn(3),
		TagsAccepted: !d.oneIn(4),
		TagsRefused:  d.oneIn(4),
		NoRouteAPI:   d.oneIn(12),
		Split:        randomSplit(d, 1+Number(d.intn(maxRevisions)), 1+Number(d.intn(maxRevisions))),
	}
	if d.oneIn(3) {
		route.Tags = []Number{1 + Number(d.intn(maxRevisions))}
	}
	if state := randomRecord(d); !d.oneIn(4) && state.validate() == nil {
		route.State = &state
	}
	return route
}

func randomRecord(d *choices) State {
	stable := 1 + Number(d.intn(maxRevisions))
	state := State{
		Stable:        stable,
		Previous:      randomNumber(d),
		Target:        pick(d, stable, 1+Number(d.intn(maxRevisions))),
		Asked:         randomIntent(d),
		NothingToUndo: d.oneIn(4),
		ShiftedAt:     randomPast(d),
		Highest:       maxRevisions + Number(d.intn(3)),
	}
	if state.Previous == state.Stable {
		state.Previous = 0
	}
	state.Split = randomSplit(d, state.Target, state.Stable)
	state.ServedBefore = pick(d, state.Split, randomSplit(d, state.Target, state.Stable))
	if d.oneIn(2) {
		state.Version = StateVersion
		state.AskedAt, state.Tried, state.Returning = randomPast(d), d.oneIn(2), d.oneIn(3)
		if d.oneIn(3) {
			state.LostAt = randomPast(d)
		}
		if d.oneIn(3) {
			state.Routed = []Number{1 + Number(d.intn(maxRevisions))}
		}
		state.Replacement = pick(d, "", "", Replacing, ReplacementFailed)
	}
	if d.oneIn(3) {
		state.Held = heldBy(map[Number]int{state.Stable: 1 + d.intn(8), state.Target: 1 + d.intn(8)})
	}
	return state
}

// randomSplit returns a split of a rollout from the stable to the target, or a split of three
// revisions.
func randomSplit(d *choices, target, stable Number) Split {
	switch d.intn(8) {
	case 0, 1, 2:
		return All(stable)
	case 3, 4:
		if target != stable {
			return canarySplit(target, pick(d, 10, 0, 50, 99, d.intn(100)), stable)
		}
		return All(target)
	case 5:
		return All(target)
	case 6:
		return Split{}
	default:
		first := 1 + Number(d.intn(maxRevisions-2))
		share := d.intn(101)
		split, err := NewSplit(Share{first, share}, Share{first + 1, (100 - share) / 2}, Share{first + 2, 100 - share - (100-share)/2})
		if err != nil {
			panic(err)
		}
		return split
	}
}
