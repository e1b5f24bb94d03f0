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
)

// This file holds the exact statement of each rule of the contract for one decision, whatever it was taken on. They
// are written anew from the contract, not with the helpers of Decide. What a rule says about a whole rollout, and
// about what requests meet on the way, is in simulator_test.go.

// decided is a decision with all that it was taken on.
type evaluation struct {
	observed Snapshot
	policy   Policy
	now      time.Time
	decision Decision
}

// String tells the whole case to a person.
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
	show("wanted", d.observed.Wanted)
	for _, revision := range d.observed.Revisions {
		show("revision", revision)
	}
	show("route", d.observed.Route)
	show("reported", d.observed.Reported)
	show("decided", d.decision)
	return text.String()
}

// rules lists the ten rules by number.
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
}

// split is what the decision wants on the route.
func (d evaluation) split() Split {
	if d.decision.Record == nil {
		return Split{}
	}
	return d.decision.Record.Split
}

// stable is who is the stable by this decision.
func (d evaluation) stable() Number {
	if d.decision.Record == nil {
		return 0
	}
	return d.decision.Record.Stable
}

// last is the split that was written before this decision, or the best that is known about it.
func (d evaluation) last() Split {
	if d.observed.Route.Record != nil {
		return d.observed.Route.Record.Split
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

// isOutdated tells whether a split that was only reported gives to others than the stable, which can serve, and the
// target that was reported with it.
func (d evaluation) isOutdated(split Split) bool {
	target, stable := d.decision.Target, d.observed.Reported.Stable
	if d.decision.Create || !d.observed.Wanted.valid() {
		target = d.observed.Reported.Target
	}
	if d.revision(target) == nil {
		target = 0
	}
	if d.revision(stable) == nil {
		if stable = Prev(split, target); stable == 0 {
			stable = Latest(split, target)
		}
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

// capacity is how many replicas of a revision can serve and are to stay.
func (d evaluation) capacity(n Number) int {
	if d.observed.Wanted.Replicas.Elastic || d.ready(n) == 0 {
		return d.ready(n)
	}
	return min(d.ready(n), d.revision(n).Workload.Replicas)
}

func (d evaluation) plan(n Number) WorkloadPlan {
	for _, plan := range d.decision.Workloads {
		if plan.Revision == n {
			return plan
		}
	}
	return WorkloadPlan{}
}

// nobodyServed tells whether traffic was split, and nobody that it went to can serve now.
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
			return fmt.Errorf("the split to be %s, %s, is none: %w", what, split, err)
		}
	}
	return nil
}

// Rule 2: a revision that gets weight can serve. The stable alone may be unready: it keeps what it has, and takes back
// what a canary leaves while no other revision can serve (row 21). Beside that, a share on a revision that cannot serve
// can only be one that waits, unchanged, for the stable.
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

// anotherServes reports whether a revision other than n had a share and can serve it.
func (d evaluation) anotherServes(n Number) bool {
	return slices.ContainsFunc(d.last().Shares(), func(share Share) bool {
		return share.Revision != n && share.Percent > 0 && d.ready(share.Revision) > 0
	})
}

// Rule 3: a share that goes up goes to a revision with ceil(share × replicas that the traffic needs) ready replicas,
// within its bounds and not fewer than one. The exceptions are those of rule 2: a stable that serves takes back what a
// canary leaves at once, and one that was scaled away needs one replica when no revision can serve. Otherwise a stable
// that comes back gets at most what its ready replicas can take of the whole.
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
			return fmt.Errorf("the share of revision %d goes up from %d to %d on %d replicas; it needs %d",
				n, last.Percent(n), share.Percent, d.capacity(n), need)
		}
	}
	return checkAsked(d)
}

// checkAsked is the end of rule 3: a number that an autoscaler has set under the stable name is that of the revision with
// the largest share, on a tie of the stable. Only what a shift needs is more. No other revision has fewer replicas for it.
func checkAsked(d evaluation) error {
	bounds, served := d.observed.Wanted.Replicas, d.decision.Served
	if served.IsEmpty() {
		served = d.split()
	}
	for _, plan := range d.decision.Workloads {
		n := plan.Revision
		if plan.Replicas == nil {
			largest := !slices.ContainsFunc(served.Shares(), func(share Share) bool {
				return share.Percent > served.Percent(n) || share.Percent == served.Percent(n) && share.Revision == d.stable()
			})
			if bounds.Asked != nil && plan.Action == Run && largest && served.Percent(n) > 0 && len(served.Shares()) < 3 {
				return fmt.Errorf("revision %d leads in %s and does not get the %d replicas that are asked for", n, served, *bounds.Asked)
			}
			continue
		}
		for _, share := range served.Shares() {
			if share.Percent > served.Percent(n) || share.Percent == served.Percent(n) && share.Revision == d.stable() && n != share.Revision {
				return fmt.Errorf("revision %d gets the replicas that are asked for, and %d has the share for it", n, share.Revision)
			}
		}
		switch shifts := d.decision.Waiting != nil || d.decision.Record == nil || d.inForce(*d.decision.Record); {
		case bounds.Asked == nil || !bounds.External:
			return fmt.Errorf("revision %d gets %d replicas that nobody asks for", n, *plan.Replicas)
		case *plan.Replicas < *bounds.Asked, !shifts && served.Percent(n) > 0 && d.split().Equal(served) && *plan.Replicas != *bounds.Asked:
			return fmt.Errorf("revision %d gets %d replicas and is asked to have %d", n, *plan.Replicas, *bounds.Asked)
		}
	}
	return nil
}

// takesBack reports whether the stable had its share before, and not only a part of one that it is to get.
func (d evaluation) takesBack() bool {
	return d.last().Percent(d.stable()) > 0 && (!d.returning() || !d.anotherServes(d.stable()))
}

// returning reports whether the stable was getting its share in parts until now.
func (d evaluation) returning() bool {
	state := d.observed.Route.Record
	return state != nil && state.Returning && state.Stable == d.stable()
}

// replicasForAll is what the whole traffic needs, without regard to the least that the spec asks for.
func (d evaluation) replicasForAll() int {
	bounds := d.observed.Wanted.Replicas
	d.observed.Wanted.Replicas.Min = 0
	return min(d.replicasFor(100), max(1, bounds.Max))
}

// replicasFor is rule 3's formula. «Replicas that serve now» is what the stable shows, or where it has no share, who
// has the largest one: its ready replicas, over its part of the traffic, but no more than all who have a share show. Up
// to the replicas that are held for it, it had them when it carried everything.
func (d evaluation) replicasFor(percent int) int {
	bounds := d.observed.Wanted.Replicas
	if bounds.Elastic {
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
	if state := d.observed.Route.Record; state != nil {
		for n := range state.Floors {
			serve = max(serve, d.heldFor(n))
		}
	}
	return max(minimum, min(roundUp(percent*serve, 100), bounds.Max))
}

// formerStable is the stable until this decision, as far as it is known or was recovered.
func (d evaluation) formerStable() Number {
	state, last := d.decision.Record, d.last()
	switch {
	case d.observed.Route.Record != nil:
		return d.observed.Route.Record.Stable
	case state == nil:
		return 0
	case state.Stable == state.Target && !last.Equal(All(state.Target)) && requestsPromotion(state.Percent):
		return state.Previous // It was promoted.
	default:
		return state.Stable
	}
}

// heldFor is the floor that is in force for a revision when the decision is taken. One that was lost is what it has.
func (d evaluation) heldFor(n Number) int {
	state := d.observed.Route.Record
	switch {
	case state == nil:
		return d.ready(n)
	case d.inForce(*state):
		return state.Floors[n]
	}
	return 0
}

// inForce tells whether a record's floors hold: while two share the traffic, until the gateway has taken the split
// over, and for the time of CapacityHold after a shift. With an external autoscaler, two that share the traffic are enough
// only while the stable comes back in parts.
func (d evaluation) inForce(state Record) bool {
	sharing := 0
	for _, share := range state.Split.Shares() {
		if share.Percent > 0 {
			sharing++
		}
	}
	return sharing > 1 && (!d.observed.Wanted.Replicas.External || state.Returning) || !d.observed.Route.TakenOver || d.now.Sub(state.ShiftedAt) < d.policy.CapacityHold
}

func roundUp(a, b int) int {
	quotient := a / b
	if a%b > 0 {
		quotient++
	}
	return quotient
}

// Rule 4: what a route or a tag host points at, or may still point at, is left alone, and what has pods is drained for
// the whole of its time before it is scaled down, ready or not. What no route has named may go at once, and so may what
// makes room for another revision by the user's wish.
func checkOrder(d evaluation) error {
	for _, plan := range d.decision.Workloads {
		if plan.Action == Run || plan.Action == Keep {
			continue
		}
		n := plan.Revision
		if plan.Action == ScaleDown && d.makesRoom(n) || !d.wasRouted(n) {
			continue
		}
		if why := d.routed(n); why != "" {
			return fmt.Errorf("revision %d is to %s while %s", n, plan.Action, why)
		}
		if plan.Action == Drain {
			continue
		}
		idle := d.revision(n).Workload.IdleSince
		if pods := d.revision(n).Workload.Pods; (d.ready(n) > 0 || pods > 0) && d.policy.DrainPeriod > 0 && (idle.IsZero() || d.now.Sub(idle) < d.policy.DrainPeriod) {
			return fmt.Errorf("revision %d is to %s at %s; it is idle since %s", n, plan.Action, d.now, idle)
		}
		if plan.Action == Delete && (d.ready(n) > 0 || d.revision(n).Workload.Pods > 0) {
			return fmt.Errorf("revision %d is to %s with pods", n, plan.Action)
		}
	}
	return nil
}

// makesRoom reports whether a revision is taken down for another one on the same node.
func (d evaluation) makesRoom(n Number) bool {
	state := d.decision.Record
	if state == nil || d.observed.Wanted.Stopped {
		return false
	}
	return state.Replacement == Replacing && n != state.Target || state.Replacement == ReplacementFailed && n == state.Target
}

// wasRouted reports whether a route has ever named a revision, as far as that is known.
func (d evaluation) wasRouted(n Number) bool {
	state := d.observed.Route.Record
	switch {
	case d.observed.Route.Split.Has(n), slices.Contains(d.observed.Route.Tags, n), d.last().Has(n):
		return true
	case state == nil:
		return d.decision.Record != nil && !d.isFirst()
	case state.Version < RecordVersion:
		return true
	}
	return state.Before.Has(n) || slices.Contains(state.Routed, n)
}

// isFirst reports whether the decision gives the first traffic ever.
func (d evaluation) isFirst() bool {
	return d.last().IsEmpty() && slices.ContainsFunc(d.decision.Transitions, func(t Transition) bool { return t.Kind == Shifted && t.From.IsEmpty() })
}

// routed says how a request could still get to a revision; it is empty when none can.
func (d evaluation) routed(n Number) string {
	state := d.observed.Route.Record
	switch {
	case d.observed.Route.Impossible:
		return ""
	case d.split().Percent(n) > 0:
		return "the route is to give it a share"
	case slices.Contains(d.observed.Route.Tags, n):
		return "a tag host points at it"
	case d.decision.Tags.Latest == n || d.decision.Tags.Prev == n:
		return "a tag host is to point at it"
	case state == nil && d.decision.Record == nil:
		return "" // There never was a route.
	case !d.last().Equal(d.split()):
		return "the route changes"
	case !d.observed.Route.TakenOver:
		return "the gateway has not taken the route over"
	case !d.observed.Route.TagsTakenOver && !d.observed.Route.TagsRefused:
		return "the gateway has not said what it makes of the tag hosts"
	}
	return ""
}

// Rule 5: the target, the stable and whoever serves run on, with no fewer replicas than the spec's least.
func checkNoSecondLoad(d evaluation) error {
	if d.observed.Wanted.Stopped {
		return nil
	}
	for n := Number(1); n <= maxRevisions+1; n++ {
		needed := n == d.decision.Target || n == d.stable() || d.split().Percent(n) > 0
		exists := d.revision(n) != nil || d.decision.Create && n == d.decision.Target
		if d.makesRoom(n) {
			continue
		}
		if plan := d.plan(n); needed && exists && (plan.Action != Run || plan.Floor < d.observed.Wanted.Replicas.Min) {
			return fmt.Errorf("revision %d is needed, and its workload is to %s at %d", n, plan.Action, plan.Floor)
		}
	}
	return nil
}

// Rule 6: whom the spec does not ask for gets no more than before, and nothing once the stable can take it; and who
// is the stable changes by a promotion or by its undoing only.
func checkRejectedStaysRejected(d evaluation) error {
	last, split, stable := d.last(), d.split(), d.stable()
	for _, share := range split.Shares() {
		n := share.Revision
		if n == d.decision.Target || n == stable || share.Percent == 0 {
			continue
		}
		returning := d.decision.Record.Returning && share.Percent <= last.Percent(n)
		if returning || split.Equal(last) && d.ready(stable) == 0 && d.anotherServes(stable) {
			continue // The stable gets its share in parts, or gets nothing more while it cannot serve (row 21).
		}
		if !split.Equal(last) || last.Percent(stable) > 0 && !d.returning() || d.capacity(stable) >= d.replicasFor(100) {
			return fmt.Errorf("revision %d has a share in %s; the target is %d and the stable %d", n, split, d.decision.Target, stable)
		}
	}
	if state := d.observed.Route.Record; state != nil {
		return d.checkSuccession(*state)
	}
	return nil
}

// checkSuccession holds how the stable and the previous may change from one record to the next.
func (d evaluation) checkSuccession(before Record) error {
	after := *d.decision.Record
	all := func(percent *int) bool { return percent == nil || *percent == 100 }
	previous := before.Stable
	if stable := d.revision(before.Stable); stable != nil && stable.SameModel && before.Previous != 0 && before.Previous != after.Target {
		previous = before.Previous // Other labels and annotations do not replace the way back.
	}
	promoted := after.Stable == after.Target && after.Previous == previous && all(after.Percent) && after.Split.Equal(All(after.Target))
	undone := before.Stable == before.Target && before.Target == after.Target && all(before.Percent) && !all(after.Percent) &&
		after.Stable == before.Previous && after.Previous == 0
	// Both at once: what was undone is asked for again, by the same decision. It cannot be, as the percent says
	// either, so each change has one reason.
	unchanged := after.Stable == before.Stable && after.Previous == before.Previous
	if !promoted && !undone && !unchanged {
		return fmt.Errorf("the stable and the previous change from %d and %d to %d and %d", before.Stable, before.Previous, after.Stable, after.Previous)
	}
	return nil
}

// Rule 7: what was reported decides nothing while there is a record, but that users are told on of a split that they
// were told of. And the record tells the next life of the operator all that this one knows.
func checkStatusIsDerived(d evaluation) error {
	if d.observed.Route.Record != nil {
		wiped := d.observed
		wiped.Reported = Reported{}
		if d.observed.Reported.reportsServed(d.observed.Route.Record.Split) {
			wiped.Reported = Reported{Target: d.observed.Reported.Target, Split: d.observed.Reported.Split}
		}
		if diff := diff(d.decision, Decide(wiped, d.policy, d.now)); diff != "" {
			return fmt.Errorf("without what was reported it is decided otherwise (-with +without):\n%s", diff)
		}
	}
	if d.decision.Record == nil {
		return nil
	}
	decoded, err := DecodeRecord(d.decision.Record.Encode())
	if err != nil {
		return fmt.Errorf("the record cannot be read back: %w", err)
	}
	if diff := diff(*d.decision.Record, decoded); diff != "" {
		return fmt.Errorf("the record reads otherwise than it was written (-written +read):\n%s", diff)
	}
	return nil
}

// Rule 8: the same decision is taken again on the same things, in whatever order they are listed; once it is carried
// out, there is nothing more to do; and until it says to wake, time alone changes nothing.
func checkSilence(d evaluation) error {
	shuffled := d.observed
	shuffled.Revisions = slices.Clone(d.observed.Revisions)
	slices.Reverse(shuffled.Revisions)
	shuffled.Route.Tags = slices.Clone(d.observed.Route.Tags)
	slices.Reverse(shuffled.Route.Tags)
	if diff := diff(d.decision, Decide(shuffled, d.policy, d.now)); diff != "" {
		return fmt.Errorf("in another order it is decided otherwise (-first +second):\n%s", diff)
	}
	return errors.Join(checkSettles(d), checkTimeIsIdle(d))
}

// mostSteps is how many decisions are carried out until nothing is left to do, where each shows more than was seen
// before.
const maxSteps = 3

// checkSettles carries a decision out, with pods and a gateway that do nothing, and expects the next to be silent.
func checkSettles(d evaluation) error {
	next := Decide(applied(d.observed, d.decision), d.policy, d.now)
	for step := 1; step < maxSteps && d.showsMore(); step++ {
		d.observed, d.decision = applied(d.observed, d.decision), next
		next = Decide(applied(d.observed, d.decision), d.policy, d.now)
	}
	if len(next.Transitions) > 0 || next.Create {
		return fmt.Errorf("carried out, it asks for more: %v", next.Transitions)
	}
	if diff := diff(d.decision.Record, next.Record); diff != "" {
		return fmt.Errorf("carried out, it changes the record (-first +second):\n%s", diff)
	}
	return nil
}

// showsMore tells whether a decision, once it is carried out, can show more than was seen before, so that another step
// follows.
func (d evaluation) showsMore() bool {
	bounds, had := d.observed.Wanted.Replicas, d.last().Percent(d.stable())
	switch {
	case d.defers():
		return true // Once the rollback is done, the revision with the new metadata is created.
	case d.decision.Record == nil:
		return true // There is no route to write the memory on; what runs now may tell more than what ran before.
	case len(d.last().Shares()) > 2:
		return true // Only a meddler splits by three: their parts say little of the traffic.
	case had > 0 && d.split().Percent(d.stable()) > had && !bounds.Elastic && bounds.Max > max(1, bounds.Min):
		return true // The stable takes back what it may have too few replicas for.
	case !bounds.Elastic && d.servedOnMoreThan(max(1, bounds.Min, bounds.Max)) && !d.split().Equal(d.last()):
		return true // Who had more replicas than anyone may have gives to one with fewer, and fewer serve from then on.
	}
	return slices.ContainsFunc(d.decision.Workloads, func(plan WorkloadPlan) bool {
		revision := d.revision(plan.Revision) // Replicas that were called off are asked for again.
		return plan.Action == Run && d.ready(plan.Revision) > d.capacity(plan.Revision) && plan.Floor > revision.Workload.Replicas
	})
}

// servedOnMoreThan tells whether anyone who had a share has more replicas than that.
func (d evaluation) servedOnMoreThan(replicas int) bool {
	return slices.ContainsFunc(d.last().Shares(), func(share Share) bool {
		return share.Percent > 0 && d.ready(share.Revision) > replicas
	})
}

// carriedOut is what is seen right after a decision was carried out, before any pod or gateway has moved.
func applied(observed Snapshot, decision Decision) Snapshot {
	after := observed
	after.Revisions = slices.Clone(observed.Revisions)
	if decision.Create {
		after.Revisions = append(after.Revisions, Revision{Number: decision.Target, Inputs: observed.Wanted.Inputs, Recorded: true})
	}
	for i := range after.Revisions {
		revision := &after.Revisions[i]
		for _, plan := range decision.Workloads {
			if plan.Revision == revision.Number {
				revision.Workload = plan.applied(revision.Workload)
			}
		}
		if slices.Contains(decision.Forget, revision.Number) {
			revision.Recorded = false
		}
	}
	after.Revisions = slices.DeleteFunc(after.Revisions, func(r Revision) bool { return !r.Recorded && r.Workload == nil })
	if decision.Record != nil {
		after.Route.TakenOver = observed.Route.TakenOver && observed.Route.Record != nil && observed.Route.Record.Split.Equal(decision.Record.Split)
		after.Route.Record = decision.Record
	}
	after.Route.Tags = nil
	for _, n := range []Number{decision.Tags.Latest, decision.Tags.Prev} {
		if n != 0 {
			after.Route.Tags = append(after.Route.Tags, n)
		}
	}
	return after
}

// carriedOut is what a workload is right after its plan was carried out.
func (p WorkloadPlan) applied(workload *Workload) *Workload {
	after := Workload{}
	if workload != nil {
		after = *workload
	}
	after.IdleSince = p.IdleSince
	switch p.Action {
	case Run:
		after.Replicas = max(after.Replicas, p.Floor)
		if p.Replicas != nil {
			after.Replicas = *p.Replicas
		}
	case ScaleDown:
		after.Replicas = 0
	case Delete:
		return nil
	case Keep, Drain:
	}
	return &after
}

// checkTimeIsIdle expects that nothing but time changes nothing before the moment that the decision names.
func checkTimeIsIdle(d evaluation) error {
	// Tag hosts that have moved free workloads, which are then marked with the time: that takes a step more.
	after, next := d.observed, d.decision
	for range maxSteps {
		after = applied(after, next)
		next = Decide(after, d.policy, d.now)
	}
	later := d.now.Add(24 * time.Hour)
	if !next.WakeAt.IsZero() {
		if !next.WakeAt.After(d.now) {
			return fmt.Errorf("at %s it asks to be woken at %s", d.now, next.WakeAt)
		}
		later = next.WakeAt.Add(-time.Millisecond)
	}
	if diff := diff(next, Decide(after, d.policy, later)); diff != "" {
		return fmt.Errorf("at %s it is decided otherwise, without being asked to wake (-before +then):\n%s", later, diff)
	}
	return nil
}

// Rule 9: what is said to be so is about the spec that was seen. A phase that calls the spec realised, with a split
// that the gateway serves, comes only when it is that spec's revision that has that spec's share.
func checkOwnGeneration(d evaluation) error {
	wanted, decision := d.observed.Wanted, d.decision
	target := d.revision(decision.Target)
	valid := wanted.valid()
	switch {
	case valid && !decision.Create && (target == nil || target.Inputs != wanted.Inputs) && !d.defers():
		return fmt.Errorf("the target is %d, which is not what the spec asks for", decision.Target)
	case valid && decision.Create && target != nil:
		return fmt.Errorf("the new target is %d, which is not new", decision.Target)
	case decision.Programmed && (!d.observed.Route.TakenOver || !d.observed.Route.TagsTakenOver || !decision.Served.Equal(d.split()) || !decision.Tags.match(d.observed.Route.Tags)):
		return errors.New("the gateway is said to serve what it has not taken over")
	case (decision.Phase == Stopped || decision.Phase == Stopping) != wanted.Stopped:
		return fmt.Errorf("the phase is %s", decision.Phase)
	}
	if state := decision.Record; state != nil && target != nil && state.Inputs != "" && state.Inputs != target.Inputs {
		return fmt.Errorf("the record says that revision %d runs %s; it runs %s", state.Target, state.Inputs, target.Inputs)
	}
	return checkPhase(d, valid)
}

// defers reports whether the target is a model that is rolled back first, before its new metadata gets a revision.
func (d evaluation) defers() bool {
	target, wanted, before := d.revision(d.decision.Target), d.observed.Wanted, d.observed.Route.Record
	return target != nil && target.SameModel && wanted.Percent != nil && *wanted.Percent == 0 &&
		d.stable() != d.decision.Target && (d.last().Percent(d.decision.Target) > 0 || d.last().IsEmpty() ||
		before != nil && before.Stable == d.decision.Target)
}

// checkPhase holds what each phase promises about the split.
func checkPhase(d evaluation, valid bool) error {
	share, percent := d.split().Percent(d.decision.Target), d.observed.Wanted.Percent
	var kept bool
	switch ready := d.ready(d.decision.Target); d.decision.Phase {
	case Stopping:
		kept = d.split().IsEmpty()
	case Stopped:
		kept = d.split().IsEmpty() && !slices.ContainsFunc(d.observed.Revisions, func(r Revision) bool {
			return r.Workload != nil && (r.Workload.Pods > 0 || r.Workload.Ready > 0 || r.Workload.Replicas > 0)
		})
	case Loading, Failed:
		kept = ready == 0 || d.decision.Unsettled == d.decision.Target || d.makesRoom(d.decision.Target)
	case Shifting:
		kept = ready > 0 && d.decision.Waiting != nil
	case Canary:
		kept = ready > 0 && share > 0 && (!valid || *percent == share)
	case RolledBack, Preview:
		kept = ready > 0 && share == 0 && (!valid || *percent == 0)
	case Stable:
		kept = ready > 0 && d.stable() == d.decision.Target && d.split().Equal(All(d.decision.Target))
	}
	if !kept {
		return fmt.Errorf("the phase is %s with the split %s, %d ready and %v awaited", d.decision.Phase, d.split(), d.ready(d.decision.Target), d.decision.Waiting)
	}
	return nil
}

// Rule 10: a spec that cannot be resolved is as if the last one that could were still there, whatever percent it has.
func checkBadInputMovesNothing(d evaluation) error {
	state := d.observed.Route.Record
	if state == nil {
		return nil
	}
	last := d.revision(state.Target)
	if last == nil {
		return nil
	}
	good, bad := d.observed, d.observed
	good.Wanted.Inputs, good.Wanted.Percent = last.Inputs, state.Percent
	want := Decide(good, d.policy, d.now)
	for name, wanted := range map[string]Wanted{
		"that cannot be resolved": {Inputs: "", Percent: d.observed.Wanted.Percent},
		"with a percent of -1":    {Inputs: d.observed.Wanted.Inputs, Percent: new(-1)},
		"with a percent of 101":   {Inputs: d.observed.Wanted.Inputs, Percent: new(101)},
	} {
		bad.Wanted.Inputs, bad.Wanted.Percent = wanted.Inputs, wanted.Percent
		if diff := diff(want, Decide(bad, d.policy, d.now)); diff != "" {
			return fmt.Errorf("a spec %s changes the decision (-with the last good one +with the bad one):\n%s", name, diff)
		}
	}
	return nil
}

// valid tells whether a spec asks for something that can be done.
func (w Wanted) valid() bool {
	return w.Inputs != "" && (w.Percent == nil || *w.Percent >= 0 && *w.Percent <= 100)
}

// splitsByShares lets go-cmp compare splits.
var splitsByShares = cmp.Comparer(Split.Equal)

// diff tells two things apart, and tells quickly when there is nothing to tell.
func diff[T any](a, b T) string {
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return cmp.Diff(a, b, splitsByShares)
}
