// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// This file checks each rule of the contract on a single decision. The checks are written from the
// contract, without the helpers of Decide. simulator_rules_test.go checks whole rollouts.

// evaluation is a decision with the arguments of Decide.
type evaluation struct {
	observed Snapshot
	policy   Policy
	now      time.Time
	decision Decision
}

func (d evaluation) String() string {
	var text strings.Builder
	show := func(what string, value any) {
		data, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&text, "  %-10s %s\n", what, data)
	}
	show("policy", d.policy)
	show("desired", d.observed.Desired)
	show("evidence", d.observed.Evidence)
	for _, revision := range d.observed.Revisions {
		show("revision", revision)
	}
	show("route", d.observed.Route)
	show("reported", d.observed.Reported)
	show("decided", d.decision)
	return text.String()
}

// rules holds the checks of rules 1 to 10, and those about plans.
var rules = [...]func(evaluation) error{
	1:  checkSum,
	2:  checkReadyOnly,
	3:  checkCapacityFirst,
	4:  checkOrder,
	5:  checkNoSecondLoad,
	6:  checkRejectedStaysRejected,
	7:  checkStatusIsDerived,
	8:  checkSilence,
	9:  checkOwnGeneration,
	10: checkBadInputMovesNothing,

	planRule: checkPlan,
}

// planRule stands for the rules about plans, in plan_checks_test.go.
const planRule = 11

func (d evaluation) split() Split {
	if d.decision.State == nil {
		return Split{}
	}
	return d.decision.State.Split
}

func (d evaluation) stable() Number {
	if d.decision.State == nil {
		return 0
	}
	return d.decision.State.Stable
}

// last returns the split before this decision, or what can be recovered of it.
func (d evaluation) last() Split {
	if d.observed.Route.State != nil {
		return d.observed.Route.State.Split
	}
	route, reported := d.observed.Route.Split, d.observed.Reported.Split
	switch {
	case !route.IsEmpty() && d.knows(route):
		return route
	case d.knows(reported) && (route.Equal(reported) || !d.isOutdated(reported)):
		return reported
	}
	return Split{}
}

func (d evaluation) knows(split Split) bool {
	return !slices.ContainsFunc(split.Shares(), func(share Share) bool { return d.revision(share.Revision) == nil })
}

// isOutdated reports whether a reported split gives traffic to revisions other than the target and
// the stable, while the stable can serve.
func (d evaluation) isOutdated(split Split) bool {
	target, stable := d.decision.Target, d.observed.Reported.Stable
	if d.decision.Create || !d.observed.Desired.valid() {
		target = d.observed.Reported.Target
	}
	if d.revision(target) == nil {
		target = 0
	}
	if revision := d.revision(stable); revision == nil || revision.Rejection != nil {
		if stable = Prev(split, target); stable == 0 {
			stable = Latest(split, target)
		}
	}
	if revision := d.revision(target); revision != nil && revision.Rejection != nil && split.Percent(target) > 0 {
		return true
	}
	others := slices.ContainsFunc(split.Shares(), func(share Share) bool {
		return share.Percent > 0 && share.Revision != stable && share.Revision != target
	})
	return others && d.ready(stable) > 0
}

func (d evaluation) revision(n Number) *Revision {
	for _, revision := range d.observed.Revisions {
		if revision.Number == n {
			return &revision
		}
	}
	return nil
}

func (d evaluation) ready(n Number) int {
	if revision := d.revision(n); revision != nil {
		return revision.Capacity()
	}
	return 0
}

// capacity returns the ready replicas of a revision up to the desired number.
func (d evaluation) capacity(n Number) int {
	if d.observed.Desired.Replicas.ScaledByKnative || d.ready(n) == 0 {
		return d.ready(n)
	}
	return min(d.ready(n), d.revision(n).predictor().Replicas)
}

func (d evaluation) plan(n Number) WorkloadPlan {
	for _, plan := range d.decision.Workloads {
		if plan.Revision == n {
			return plan
		}
	}
	return WorkloadPlan{}
}

// noneServes reports whether there was a split, and none of its revisions can serve now.
func (d evaluation) noneServes() bool {
	for _, share := range d.last().Shares() {
		if share.Percent > 0 && d.ready(share.Revision) > 0 {
			return false
		}
	}
	return !d.last().IsEmpty()
}

// Rule 1: a split sums to 100 or is empty, and names each revision once.
func checkSum(d evaluation) error {
	for what, split := range map[string]Split{"written": d.split(), "served": d.decision.Served} {
		if rebuilt, err := NewSplit(split.Shares()...); err != nil || !rebuilt.Equal(split) {
			return fmt.Errorf("the %s split, %s, is invalid: %w", what, split, err)
		}
	}
	return nil
}

// Rule 2: a revision with weight can serve. An unready stable keeps its share, and gains more while
// no other revision can serve (row 21). Any other share of an unready revision waits, unchanged,
// for the stable.
func checkReadyOnly(d evaluation) error {
	last, split, stable := d.last(), d.split(), d.stable()
	for _, share := range split.Shares() {
		n := share.Revision
		switch {
		case share.Percent == 0 || d.ready(n) > 0:
		case n == stable && last.Percent(n) > 0 && (share.Percent <= last.Percent(n) || !d.anotherServes(n)):
		case n != stable && split.Equal(last):
		default:
			return fmt.Errorf("%s gives weight to revision %d, which cannot serve", split, n)
		}
	}
	return nil
}

func (d evaluation) anotherServes(n Number) bool {
	return slices.ContainsFunc(d.last().Shares(), func(share Share) bool {
		return share.Revision != n && share.Percent > 0 && d.ready(share.Revision) > 0
	})
}

// Rule 3: a share grows only if its revision has ceil(share × replicas that all traffic needs)
// ready replicas, within its bounds and at least one. A stable that serves takes everything back at
// once. A stable without a share needs one replica if no revision can serve, and otherwise gets at
// most the part of the traffic that its ready replicas can take.
func checkCapacityFirst(d evaluation) error {
	last, split := d.last(), d.split()
	for _, share := range split.Shares() {
		n := share.Revision
		if share.Percent <= last.Percent(n) || n == d.stable() && (d.takesBack() || d.ready(n) > 0 && d.noneServes()) {
			continue
		}
		if n == d.stable() && share.Percent <= 100*d.capacity(n)/d.replicasForAll() {
			continue
		}
		if need := d.replicasFor(share.Percent); d.capacity(n) < need {
			return fmt.Errorf("the share of revision %d grows from %d to %d with %d replicas; it needs %d",
				n, last.Percent(n), share.Percent, d.capacity(n), need)
		}
	}
	return checkAsked(d)
}

// checkAsked checks the part of rule 3 about the ScaleTarget: its number applies to the revision
// with the largest share, or to the stable on a tie. Only a shift raises it.
func checkAsked(d evaluation) error {
	bounds, served := d.observed.Desired.Replicas, d.decision.Served
	if served.IsEmpty() {
		served = d.split()
	}
	for _, plan := range d.decision.Workloads {
		n := plan.Revision
		if plan.Replicas == nil {
			largest := !slices.ContainsFunc(served.Shares(), func(share Share) bool {
				return share.Percent > served.Percent(n) || share.Percent == served.Percent(n) && share.Revision == d.stable()
			})
			if bounds.ScaleTarget != nil && plan.Action == Run && largest && served.Percent(n) > 0 && len(served.Shares()) < 3 {
				return fmt.Errorf("revision %d leads in %s and does not get the %d replicas of the ScaleTarget", n, served, *bounds.ScaleTarget)
			}
			continue
		}
		for _, share := range served.Shares() {
			if share.Percent > served.Percent(n) || share.Percent == served.Percent(n) && share.Revision == d.stable() && n != share.Revision {
				return fmt.Errorf("revision %d gets the replicas of the ScaleTarget, but revision %d leads", n, share.Revision)
			}
		}
		switch shifts := d.decision.Waiting != nil || d.decision.State == nil || d.inForce(*d.decision.State); {
		case bounds.ScaleTarget == nil || !bounds.ScaledExternally:
			return fmt.Errorf("revision %d gets %d replicas without a ScaleTarget", n, *plan.Replicas)
		case *plan.Replicas < *bounds.ScaleTarget, !shifts && served.Percent(n) > 0 && d.split().Equal(served) && *plan.Replicas != *bounds.ScaleTarget:
			return fmt.Errorf("revision %d gets %d replicas; the ScaleTarget has %d", n, *plan.Replicas, *bounds.ScaleTarget)
		}
	}
	return nil
}

// takesBack reports whether the stable had a share, and not only a part of the share that it
// returns to.
func (d evaluation) takesBack() bool {
	return d.last().Percent(d.stable()) > 0 && (!d.returning() || !d.anotherServes(d.stable()))
}

func (d evaluation) returning() bool {
	state := d.observed.Route.State
	return state != nil && state.Returning && state.Stable == d.stable()
}

// replicasForAll returns the replicas that all traffic needs, without minReplicas.
func (d evaluation) replicasForAll() int {
	bounds := d.observed.Desired.Replicas
	d.observed.Desired.Replicas.Min = 0
	return min(d.replicasFor(100), max(1, bounds.Max))
}

// replicasFor is the formula of rule 3. The need of all traffic is estimated from the stable, or
// from the revision with the largest share if the stable has none: its ready replicas divided by
// its share, but at most the ready replicas of all revisions with a share. Held replicas are not
// divided.
func (d evaluation) replicasFor(percent int) int {
	bounds := d.observed.Desired.Replicas
	if bounds.ScaledByKnative {
		return 1
	}
	var reference Share
	for _, share := range d.last().Shares() {
		stable := d.last().Percent(d.formerStable()) > 0
		if stable && share.Revision == d.formerStable() || !stable && share.Percent > reference.Percent {
			reference = share
		}
	}
	minimum := max(1, bounds.Min)
	serve := d.ready(reference.Revision)
	if serve > minimum && serve > d.heldFor(reference.Revision) {
		all := 0
		for _, share := range d.last().Shares() {
			if share.Percent > 0 {
				all += d.ready(share.Revision)
			}
		}
		serve = min(roundUp(100*serve, reference.Percent), all)
	}
	if state := d.observed.Route.State; state != nil {
		for n := range state.Held {
			serve = max(serve, d.heldFor(n))
		}
	}
	return max(minimum, min(roundUp(percent*serve, 100), bounds.Max))
}

// formerStable returns the stable before this decision, as observed or recovered.
func (d evaluation) formerStable() Number {
	state, last := d.decision.State, d.last()
	switch {
	case d.observed.Route.State != nil:
		return d.observed.Route.State.Stable
	case state == nil:
		return 0
	case state.Stable == state.Target && !last.Equal(All(state.Target)) && state.Asked.Promote:
		return state.Previous // It was promoted.
	default:
		return state.Stable
	}
}

// heldFor returns the replicas that are held for a revision. Without a rollout state, these are its
// ready replicas.
func (d evaluation) heldFor(n Number) int {
	state := d.observed.Route.State
	switch {
	case state == nil:
		return d.ready(n)
	case d.inForce(*state):
		return state.Held[n][Predictor]
	}
	return 0
}

// inForce reports whether replicas are still held: while two revisions share the traffic, until the
// gateway has accepted the route, and for the capacity hold after a shift. With an external
// autoscaler, a shared split holds them only while the stable returns in parts.
func (d evaluation) inForce(state State) bool {
	sharing := 0
	for _, share := range state.Split.Shares() {
		if share.Percent > 0 {
			sharing++
		}
	}
	return sharing > 1 && (!d.observed.Desired.Replicas.ScaledExternally || state.Returning) || !d.observed.Route.Accepted || d.now.Sub(state.ShiftedAt) < d.policy.CapacityHold
}

func roundUp(a, b int) int {
	quotient := a / b
	if a%b > 0 {
		quotient++
	}
	return quotient
}

// Rule 4: a workload is left alone while a route or a tag host may point at it. It is drained for
// the whole drain period before it is scaled down, ready or not. A revision that no route has named
// may go at once, and so may a revision that makes room for another.
func checkOrder(d evaluation) error {
	for _, plan := range d.decision.Workloads {
		if plan.Action == Run || plan.Action == AwaitRoute {
			continue
		}
		n := plan.Revision
		if plan.Action == ScaleDown && d.makesRoom(n) || !d.wasRouted(n) {
			continue
		}
		if why := d.routed(n); why != "" {
			return fmt.Errorf("revision %d gets action %s while %s", n, plan.Action, why)
		}
		if plan.Action == Drain {
			continue
		}
		idle := d.revision(n).predictor().IdleSince
		if pods := d.revision(n).predictor().Pods; (d.ready(n) > 0 || pods > 0) && d.policy.DrainPeriod > 0 && (idle.IsZero() || d.now.Sub(idle) < d.policy.DrainPeriod) {
			return fmt.Errorf("revision %d gets action %s at %s; it is idle since %s", n, plan.Action, d.now, idle)
		}
		if plan.Action == Delete && (d.ready(n) > 0 || d.revision(n).predictor().Pods > 0) {
			return fmt.Errorf("revision %d gets action %s with pods", n, plan.Action)
		}
	}
	return nil
}

func (d evaluation) makesRoom(n Number) bool {
	state := d.decision.State
	if state == nil || d.observed.Desired.Stopped {
		return false
	}
	return state.Replacement == Replacing && n != state.Target || state.Replacement == ReplacementFailed && n == state.Target
}

// wasRouted reports whether a route may ever have named a revision.
func (d evaluation) wasRouted(n Number) bool {
	state := d.observed.Route.State
	switch {
	case d.observed.Route.Split.Has(n), slices.Contains(d.observed.Route.Tags, n), d.last().Has(n):
		return true
	case state == nil:
		return d.decision.State != nil && !d.isFirst()
	case state.Version < StateVersion:
		return true
	}
	return state.ServedBefore.Has(n) || slices.Contains(state.Routed, n)
}

// isFirst reports whether the decision creates the first split.
func (d evaluation) isFirst() bool {
	return d.last().IsEmpty() && slices.ContainsFunc(d.decision.Transitions, func(t Transition) bool { return t.Kind == Shifted && t.From.IsEmpty() })
}

// routed says how a request could still reach a revision. It returns "" if none can.
func (d evaluation) routed(n Number) string {
	state := d.observed.Route.State
	switch {
	case d.observed.Route.NoRouteAPI:
		return ""
	case d.split().Percent(n) > 0:
		return "the route will give it a share"
	case slices.Contains(d.observed.Route.Tags, n):
		return "a tag host points at it"
	case d.decision.Tags.Latest == n || d.decision.Tags.Prev == n:
		return "a tag host will point at it"
	case state == nil && d.decision.State == nil:
		return "" // There never was a route.
	case !d.last().Equal(d.split()):
		return "the route changes"
	case !d.observed.Route.Accepted:
		return "the gateway has not accepted the route"
	case !d.observed.Route.TagsAccepted && !d.observed.Route.TagsRefused:
		return "the gateway has not answered for the tag hosts"
	}
	return ""
}

// Rule 5: the target, the stable and every revision with a share run with at least minReplicas. So
// does the previous in a bake. A rejected target does for rejected.keep.
func checkNoSecondLoad(d evaluation) error {
	if d.observed.Desired.Stopped {
		return nil
	}
	for n := Number(1); n <= maxRevisions+1; n++ {
		needed := n == d.decision.Target && !d.dropped() || n == d.stable() || d.split().Percent(n) > 0 || d.bakes() && n == d.decision.State.Previous
		exists := d.revision(n) != nil || d.decision.Create && n == d.decision.Target
		if d.makesRoom(n) {
			continue
		}
		if plan := d.plan(n); needed && exists && (plan.Action != Run || plan.MinReplicas < d.observed.Desired.Replicas.Min) {
			return fmt.Errorf("revision %d is needed, but its workload gets action %s with %d replicas", n, plan.Action, plan.MinReplicas)
		}
	}
	return nil
}

// Rule 6: a revision that the spec does not ask for gains no share, and loses it once the stable
// can take it. The stable changes only by a promotion or its rollback.
func checkRejectedStaysRejected(d evaluation) error {
	last, split, stable := d.last(), d.split(), d.stable()
	for _, share := range split.Shares() {
		n := share.Revision
		if n == d.decision.Target || n == stable || share.Percent == 0 {
			continue
		}
		returning := d.decision.State.Returning && share.Percent <= last.Percent(n)
		if returning || split.Equal(last) && d.ready(stable) == 0 && d.anotherServes(stable) {
			continue // The stable returns in parts, or cannot serve (row 21).
		}
		if !split.Equal(last) || last.Percent(stable) > 0 && !d.returning() || d.capacity(stable) >= d.replicasFor(100) {
			return fmt.Errorf("revision %d has a share in %s; the target is %d and the stable %d", n, split, d.decision.Target, stable)
		}
	}
	if state := d.observed.Route.State; state != nil {
		return d.checkSuccession(*state)
	}
	return nil
}

// checkSuccession checks how the stable and the previous change from one rollout state to the next.
func (d evaluation) checkSuccession(before State) error {
	after := *d.decision.State
	previous := before.Stable
	if stable := d.revision(before.Stable); stable != nil && stable.SameModel && before.Previous != 0 && before.Previous != after.Target {
		previous = before.Previous // A change of only labels or annotations keeps the previous.
	}
	promoted := after.Stable == after.Target && after.Previous == previous && after.Asked.Promote && after.Split.Equal(All(after.Target))
	undone := before.Stable == before.Target && before.Target == after.Target && d.observed.Desired.Intent.Undo &&
		after.Stable == before.Previous && after.Previous == 0
	unchanged := after.Stable == before.Stable && after.Previous == before.Previous
	bakeUndone := before.Trial != nil && before.Trial.Bake > 0 && after.Stable == before.Previous && after.Previous == 0 &&
		(after.Target == before.Previous || after.isRejected(before.Target))
	if !promoted && !undone && !bakeUndone && !unchanged {
		return fmt.Errorf("the stable and the previous change from %d and %d to %d and %d", before.Stable, before.Previous, after.Stable, after.Previous)
	}
	return nil
}

// Rule 7: while there is a rollout state, the reported status decides nothing, except that a
// reported split stays reported. The rollout state survives encoding.
func checkStatusIsDerived(d evaluation) error {
	if d.observed.Route.State != nil {
		wiped := d.observed
		wiped.Reported = Reported{}
		if d.observed.Reported.reportsServed(d.observed.Route.State.Split) {
			wiped.Reported = Reported{Target: d.observed.Reported.Target, Split: d.observed.Reported.Split}
		}
		if diff := diff(d.decision, Decide(wiped, d.policy, d.now)); diff != "" {
			return fmt.Errorf("without the reported status the decision differs (-with +without):\n%s", diff)
		}
	}
	if d.decision.State == nil {
		return nil
	}
	decoded, err := DecodeState(d.decision.State.Encode())
	if err != nil {
		return fmt.Errorf("the rollout state cannot be decoded: %w", err)
	}
	if diff := diff(*d.decision.State, decoded); diff != "" {
		return fmt.Errorf("the decoded rollout state differs (-encoded +decoded):\n%s", diff)
	}
	return nil
}

// Rule 8: the decision does not depend on the order of the snapshot. Once it is carried out,
// nothing is left to do. Until WakeAt, time alone changes nothing.
func checkSilence(d evaluation) error {
	shuffled := d.observed
	shuffled.Revisions = slices.Clone(d.observed.Revisions)
	slices.Reverse(shuffled.Revisions)
	shuffled.Route.Tags = slices.Clone(d.observed.Route.Tags)
	slices.Reverse(shuffled.Route.Tags)
	if diff := diff(d.decision, Decide(shuffled, d.policy, d.now)); diff != "" {
		return fmt.Errorf("in another order the decision differs (-first +second):\n%s", diff)
	}
	return errors.Join(checkSettles(d), checkTimeIsIdle(d))
}

// maxSteps is the number of decisions after which nothing may be left to do.
const maxSteps = 3

// checkSettles carries a decision out, without any reaction of pods or gateway, and expects that
// the next decision changes nothing.
func checkSettles(d evaluation) error {
	next := Decide(applied(d.observed, d.decision), d.policy, d.now)
	for step := 1; step < maxSteps && d.showsMore(); step++ {
		d.observed, d.decision = applied(d.observed, d.decision), next
		next = Decide(applied(d.observed, d.decision), d.policy, d.now)
	}
	if len(next.Transitions) > 0 || next.Create {
		return fmt.Errorf("once carried out, the next decision has transitions: %v", next.Transitions)
	}
	if diff := diff(d.decision.State, next.State); diff != "" {
		return fmt.Errorf("once carried out, the next decision changes the rollout state (-first +second):\n%s", diff)
	}
	return nil
}

// showsMore reports whether another step can follow, because the decision changes what later
// decisions are based on.
func (d evaluation) showsMore() bool {
	bounds, had := d.observed.Desired.Replicas, d.last().Percent(d.stable())
	switch {
	case d.defers():
		return true // The revision with the new metadata is created next.
	case d.observed.Desired.Commands.Retry.Revision == d.decision.Target:
		return true // A rejection, then the next trial.
	case d.decision.State == nil:
		return true // Without a route, the state is recovered from the workloads, which change.
	case len(d.last().Shares()) > 2:
		return true // Only an external editor makes such a split.
	case had > 0 && d.split().Percent(d.stable()) > had && !bounds.ScaledByKnative && bounds.Max > max(1, bounds.Min):
		return true // The stable may have too few replicas for what it takes back.
	case !bounds.ScaledByKnative && d.servedOnMoreThan(max(1, bounds.Min, bounds.Max)) && !d.split().Equal(d.last()):
		return true // A revision with more than maxReplicas gives its share away.
	}
	return slices.ContainsFunc(d.decision.Workloads, func(plan WorkloadPlan) bool {
		revision := d.revision(plan.Revision) // Replicas are desired again before they stop.
		return plan.Action == Run && d.ready(plan.Revision) > d.capacity(plan.Revision) && plan.MinReplicas > revision.predictor().Replicas
	})
}

func (d evaluation) servedOnMoreThan(replicas int) bool {
	return slices.ContainsFunc(d.last().Shares(), func(share Share) bool {
		return share.Percent > 0 && d.ready(share.Revision) > replicas
	})
}

// applied returns the snapshot right after a decision was carried out, before any pod or gateway
// reacts.
func applied(observed Snapshot, decision Decision) Snapshot {
	after := observed
	after.Revisions = slices.Clone(observed.Revisions)
	if decision.Create {
		after.Revisions = append(after.Revisions, Revision{Number: decision.Target, Hash: observed.Desired.Hash, InHistory: true})
	}
	for i := range after.Revisions {
		revision := &after.Revisions[i]
		for _, plan := range decision.Workloads {
			if plan.Revision == revision.Number {
				revision.Workloads = plan.applied(revision.predictor())
			}
		}
		if slices.Contains(decision.Prune, revision.Number) {
			revision.InHistory = false
		}
	}
	after.Revisions = slices.DeleteFunc(after.Revisions, func(r Revision) bool { return !r.InHistory && r.predictor() == nil })
	if decision.State != nil {
		after.Route.Accepted = observed.Route.Accepted && observed.Route.State != nil && observed.Route.State.Split.Equal(decision.State.Split)
		after.Route.State = decision.State
		after.Desired.Intent.Undo = false // The percent has not changed since.
	}
	after.Route.Tags = nil
	for _, n := range []Number{decision.Tags.Latest, decision.Tags.Prev} {
		if n != 0 {
			after.Route.Tags = append(after.Route.Tags, n)
		}
	}
	return after
}

func (p WorkloadPlan) applied(workload *Workload) Workloads {
	after := Workload{}
	if workload != nil {
		after = *workload
	}
	after.IdleSince = p.IdleSince
	switch p.Action {
	case Run:
		after.Replicas = max(after.Replicas, p.MinReplicas)
		if p.Replicas != nil {
			after.Replicas = *p.Replicas
		}
	case ScaleDown:
		after.Replicas = 0
	case Delete:
		return nil
	case AwaitRoute, Drain:
	}
	return Workloads{p.Component: &after}
}

// checkTimeIsIdle checks that the decision does not change before WakeAt if nothing else changes.
func checkTimeIsIdle(d evaluation) error {
	// A change of the tag hosts releases workloads, whose IdleSince is set one step later.
	after, next := d.observed, d.decision
	for range maxSteps {
		after = applied(after, next)
		next = Decide(after, d.policy, d.now)
	}
	later := d.now.Add(24 * time.Hour)
	if !next.WakeAt.IsZero() {
		if !next.WakeAt.After(d.now) {
			return fmt.Errorf("at %s, WakeAt is %s", d.now, next.WakeAt)
		}
		later = next.WakeAt.Add(-time.Millisecond)
	}
	if diff := diff(next, Decide(after, d.policy, later)); diff != "" {
		return fmt.Errorf("at %s, before WakeAt, the decision differs (-before +then):\n%s", later, diff)
	}
	return nil
}

// Rule 9: target, phase and Programmed are about the observed spec.
func checkOwnGeneration(d evaluation) error {
	wanted, decision := d.observed.Desired, d.decision
	target := d.revision(decision.Target)
	valid := wanted.valid()
	switch {
	case valid && !decision.Create && (target == nil || target.Hash != wanted.Hash) && !d.defers():
		return fmt.Errorf("the target is %d, which the spec does not ask for", decision.Target)
	case valid && decision.Create && target != nil:
		return fmt.Errorf("the new target is %d, which is not new", decision.Target)
	case decision.Programmed && (!d.observed.Route.Accepted || !d.observed.Route.TagsAccepted || !decision.Served.Equal(d.split()) || !decision.Tags.match(d.observed.Route)):
		return errors.New("Programmed is true, but the gateway has not accepted the routes")
	case (decision.Phase == Stopped || decision.Phase == Stopping) != wanted.Stopped:
		return fmt.Errorf("the phase is %s", decision.Phase)
	}
	if state := decision.State; state != nil && target != nil && state.Hash != "" && state.Hash != target.Hash {
		return fmt.Errorf("in the rollout state revision %d has the hash %s; it has %s", state.Target, state.Hash, target.Hash)
	}
	return checkPhase(d, valid)
}

// defers reports whether the target must be rolled back before its new metadata gets a revision.
func (d evaluation) defers() bool {
	target, wanted, before := d.revision(d.decision.Target), d.observed.Desired, d.observed.Route.State
	return target != nil && target.SameModel && wanted.Intent.Share == 0 &&
		d.stable() != d.decision.Target && (d.last().Percent(d.decision.Target) > 0 || d.last().IsEmpty() ||
		before != nil && before.Stable == d.decision.Target)
}

// checkPhase checks what each phase says about the split.
func checkPhase(d evaluation, valid bool) error {
	share, asked := d.split().Percent(d.decision.Target), d.observed.Desired.Intent.Share
	if d.isAutomatic() && d.decision.State != nil {
		asked = d.decision.State.Asked.Share
	}
	var kept bool
	switch ready := d.ready(d.decision.Target); d.decision.Phase {
	case Stopping:
		kept = d.split().IsEmpty()
	case Stopped:
		kept = d.split().IsEmpty() && !slices.ContainsFunc(d.observed.Revisions, func(r Revision) bool {
			return r.predictor() != nil && (r.predictor().Pods > 0 || r.predictor().Ready > 0 || r.predictor().Replicas > 0)
		})
	case Loading, Failed:
		kept = ready == 0 || d.decision.Unsettled == d.decision.Target || d.makesRoom(d.decision.Target)
	case Shifting:
		kept = ready > 0 && d.decision.Waiting != nil
	case Canary:
		kept = ready > 0 && share > 0 && (!valid || asked == share)
	case RolledBack, Preview:
		kept = ready > 0 && share == 0 && (!valid || asked == 0)
	case AwaitingApproval:
		kept = ready > 0 && d.decision.Trial != nil && d.decision.Trial.WaitingFor == WaitsForApproval
	case Baking:
		kept = ready > 0 && d.stable() == d.decision.Target && d.bakes() && d.decision.Trial.Baking
	case RejectedCanary:
		kept = !d.isManual() && (d.decision.State == nil || d.decision.State.isRejected(d.decision.Target))
	case Stable:
		kept = ready > 0 && d.stable() == d.decision.Target && d.split().Equal(All(d.decision.Target))
	}
	if !kept {
		return fmt.Errorf("the phase is %s with the split %s, %d ready, waiting for %v", d.decision.Phase, d.split(), d.ready(d.decision.Target), d.decision.Waiting)
	}
	return nil
}

// Rule 10: a spec that cannot be resolved has the same effect as the last spec that could, with a
// policy that cannot be used.
func checkBadInputMovesNothing(d evaluation) error {
	state := d.observed.Route.State
	if state == nil {
		return nil
	}
	last := d.revision(state.Target)
	if last == nil {
		return nil
	}
	good, bad := d.observed, d.observed
	good.Desired.Hash, good.Desired.Intent = last.Hash, state.Asked
	switch {
	case state.isRejected(state.Target):
		good.Desired.Manual, good.Desired.Commands.Retry = false, TrialID{}
	case state.Trial != nil:
		good.Desired.Manual = false
		if good.Desired.Plan != nil {
			good.Desired.Plan = new(good.Desired.Plan.with(func(p *Plan) { p.Steps = nil }))
		}
	default:
		good.Desired.Plan = nil
	}
	want := Decide(good, d.policy, d.now)
	for name, wanted := range map[string]Desired{
		"that cannot be resolved": {Hash: "", Intent: d.observed.Desired.Intent},
		"with a percent of -1":    {Hash: d.observed.Desired.Hash, Intent: Intent{Share: -1}},
		"with a percent of 101":   {Hash: d.observed.Desired.Hash, Intent: Intent{Share: 101}},
	} {
		bad.Desired.Hash, bad.Desired.Intent = wanted.Hash, wanted.Intent
		if diff := diff(want, Decide(bad, d.policy, d.now)); diff != "" {
			return fmt.Errorf("a spec %s changes the decision (-last valid spec +invalid spec):\n%s", name, diff)
		}
	}
	return nil
}

func (w Desired) valid() bool {
	return w.Hash != "" && w.Intent.Share >= 0 && w.Intent.Share <= 100 && (w.Intent.Share == 100 || !w.Intent.Promote)
}

// splitsByShares compares splits, and the states that they are part of, by their content.
var splitsByShares = cmp.Options{cmp.Comparer(Split.Equal), cmpopts.IgnoreUnexported(State{})}

// diff is a faster [cmp.Diff] for equal values.
func diff[T any](a, b T) string {
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return cmp.Diff(a, b, splitsByShares)
}
