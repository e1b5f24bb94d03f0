// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"strings"
	"time"
)

// proxyLag is how long the proxies of a gateway may still use the old route after the gateway has
// accepted the new one. It must be shorter than every drain period.
const proxyLag = 10 * time.Second

// advance lets time pass. Only the gateway's proxies catch up.
func (sim *simulation) advance(by time.Duration) {
	sim.now = sim.now.Add(by)
	sim.gateway.main.catchUp(sim.now)
	sim.gateway.hosts.catchUp(sim.now)
	sim.verify()
}

// The kubelet and the Deployment controller. Each change of the pods changes the status of their
// Deployment, and so its resource version.

// deploy creates missing pods and stops surplus pods, unready ones first.
func (sim *simulation) deploy(n Number) bool {
	d := sim.deployments[n]
	if d == nil {
		return false
	}
	stopped, made := d.stopSurplus(sim.now), 0
	for ; len(d.pods)-d.count(stopping) < d.replicas; made++ {
		d.pods = append(d.pods, pod{since: sim.now})
	}
	if stopped+made == 0 {
		return false
	}
	d.version = sim.nextVersion()
	sim.log("kubelet", "makes %d and stops %d pods of %d", made, stopped, n)
	return true
}

func (d *deployment) stopSurplus(now time.Time) int {
	surplus := max(0, len(d.pods)-d.count(stopping)-d.replicas)
	for range surplus {
		if !d.moveTo(starting, stopping, now) {
			d.moveTo(ready, stopping, now)
		}
	}
	return surplus
}

func (d *deployment) moveTo(from, to podState, now time.Time) bool {
	i := slices.IndexFunc(d.pods, func(p pod) bool { return p.state == from })
	if i < 0 {
		return false
	}
	d.pods[i] = pod{to, now}
	return true
}

func (sim *simulation) start(n Number) bool {
	d := sim.deployments[n]
	if d == nil || strings.Contains(sim.failingHash, d.hash) || !d.moveTo(starting, ready, sim.now) {
		return false
	}
	d.failed, d.version = false, sim.nextVersion()
	sim.log("kubelet", "has a pod of %d ready", n)
	return true
}

func (sim *simulation) stop(n Number) bool {
	d := sim.deployments[n]
	if d == nil {
		return false
	}
	i := slices.IndexFunc(d.pods, func(p pod) bool { return p.state == stopping })
	if i < 0 {
		return false
	}
	d.pods = slices.Delete(d.pods, i, i+1)
	d.version = sim.nextVersion()
	sim.log("kubelet", "has stopped a pod of %d", n)
	return true
}

func (sim *simulation) crash(n Number) bool {
	d := sim.deployments[n]
	if d == nil || d.count(ready) == 0 {
		return false
	}
	d.moveTo(ready, starting, sim.now)
	d.version = sim.nextVersion()
	sim.checker.excuse(sim, n)
	sim.log("kubelet", "sees a pod of %d crash", n)
	return true
}

// lose removes the node of all pods of a revision.
func (sim *simulation) lose(n Number) bool {
	d := sim.deployments[n]
	if d == nil || len(d.pods) == 0 {
		return false
	}
	d.pods, d.version = nil, sim.nextVersion()
	sim.checker.excuse(sim, n)
	sim.log("kubelet", "loses every pod of %d", n)
	return true
}

func (sim *simulation) exceedDeadline(n Number) bool {
	d := sim.deployments[n]
	if d == nil || d.failed || d.replicas == 0 || d.count(ready) > 0 {
		return false
	}
	d.failed, d.version = true, sim.nextVersion()
	sim.log("kubelet", "gives up on %d", n)
	return true
}

// autoscale scales a revision to the load that it gets from the gateway.
func (sim *simulation) autoscale(n Number) bool {
	d := sim.deployments[n]
	if d == nil || !d.autoscaled || d.replicas == 0 {
		return false
	}
	wanted := max(d.minReplicas, min(roundUp(sim.load*sim.gateway.main.serves.Percent(n), 100), sim.spec.Replicas.Max))
	if d.replicas == wanted {
		return false
	}
	d.replicas, d.version = wanted, sim.nextVersion()
	sim.log("autoscaler", "scales %d to %d", n, wanted)
	return true
}

// gateway programs the route and the tag hosts independently.
type gateway struct {
	down, refuses bool
	main          routeSync[Split]
	hosts         routeSync[Tags]
}

// routeSync programs one route: it picks a generation up, then its proxies serve it and the gateway
// accepts it, in any order.
type routeSync[T any] struct {
	serves   T
	picked   *httpRoute[T] // A copy of the route in progress, or nil.
	served   bool
	accepted bool
	since    time.Time
	lagEnds  time.Time
}

func (l *routeSync[T]) pickUp(route *httpRoute[T], now time.Time) bool {
	l.settleLag()
	if route == nil {
		route = &httpRoute[T]{}
	} else if route.accepted == route.generation {
		return false
	}
	picked := *route
	l.picked, l.served, l.accepted, l.since = &picked, false, false, now
	return true
}

func (l *routeSync[T]) serve() bool {
	if l.picked == nil || l.served {
		return false
	}
	l.serves, l.served = l.picked.desired, true
	l.finish()
	return true
}

// accept reports the picked-up generation on the route.
func (l *routeSync[T]) accept(route *httpRoute[T], now time.Time) bool {
	if l.picked == nil || l.accepted {
		return false
	}
	if route != nil && route.id == l.picked.id {
		// The version stays, so that this update does not make a stale write fail.
		route.accepted = l.picked.generation
	}
	l.accepted, l.lagEnds = true, now.Add(proxyLag)
	l.finish()
	return true
}

func (l *routeSync[T]) finish() {
	if l.served && l.accepted {
		l.picked = nil
	}
}

// lags reports whether the proxies do not serve yet what the gateway has accepted.
func (l *routeSync[T]) lags() bool { return l.picked != nil && l.accepted && !l.served }

func (l *routeSync[T]) pendingFor(now time.Time) time.Duration {
	if l.picked == nil {
		return 0
	}
	return now.Sub(l.since)
}

func (l *routeSync[T]) settleLag() {
	if l.lags() {
		l.serve()
	}
}

func (l *routeSync[T]) catchUp(now time.Time) {
	if !now.Before(l.lagEnds) {
		l.settleLag()
	}
}

// The gateway. Each step returns false if there is nothing to do.

func (sim *simulation) pickUp() bool {
	if sim.gateway.down || sim.gateway.refuses {
		return false
	}
	main, hosts := &sim.gateway.main, &sim.gateway.hosts
	switch {
	case main.picked == nil && (sim.route != nil || !main.serves.IsEmpty()) && main.pickUp(sim.route, sim.now):
		sim.log("gateway", "picks up the route")
	case hosts.picked == nil && (sim.hosts != nil || hosts.serves != Tags{}) && hosts.pickUp(sim.hosts, sim.now):
		sim.log("gateway", "picks up the tag hosts")
	default:
		return false
	}
	return true
}

func (sim *simulation) serve() bool {
	switch {
	case sim.gateway.down:
		return false
	case sim.gateway.main.serve():
		sim.log("gateway", "serves %s", sim.gateway.main.serves)
	case sim.gateway.hosts.serve():
		sim.log("gateway", "serves latest from %d and prev from %d", sim.gateway.hosts.serves.Latest, sim.gateway.hosts.serves.Prev)
	default:
		return false
	}
	return true
}

func (sim *simulation) accept() bool {
	switch main := sim.gateway.main.picked; {
	case sim.gateway.down:
		return false
	case sim.gateway.main.accept(sim.route, sim.now):
		sim.checker.accepted(main.desired)
		sim.log("gateway", "says that it serves %s", main.desired)
	case sim.gateway.hosts.accept(sim.hosts, sim.now):
		sim.log("gateway", "says that it serves the tag hosts")
	default:
		return false
	}
	return true
}

// The user.

func (sim *simulation) edit(what string, change func(*spec)) {
	change(&sim.spec)
	sim.checker.edited(sim)
	sim.log("user", "%s", what)
}

// The metrics.

// state returns the rollout state on the route and the ID of its trial, or zero values.
func (sim *simulation) state() (State, TrialID) {
	if sim.route == nil {
		return State{}, TrialID{}
	}
	state, err := DecodeState(sim.route.state)
	if err != nil || state.Trial == nil {
		return state, TrialID{}
	}
	return state, TrialID{state.Target, state.Trial.Attempt}
}

// observeMetrics sets the evidence on the trial at its share.
func (sim *simulation) observeMetrics(what string, change func(*Evidence)) {
	state, id := sim.state()
	sim.evidence = Evidence{Trial: id}
	if state.Trial != nil {
		sim.evidence.Share = state.Trial.Share
	}
	change(&sim.evidence)
	sim.log("metrics", "%s", what)
}

func (e *Evidence) prove(now time.Time) { e.ProvenAt, e.EnoughAt = now, now }

// The external editor. It leaves the last trace of a needed revision alone, because nothing could
// bring that back.

func (sim *simulation) wipeStatus() {
	sim.reported, sim.reportedTrial, sim.reportedVersion = Reported{}, "", sim.nextVersion()
	sim.checker.onHistoryLost(sim)
	sim.log("editor", "wipes the status")
}

func (sim *simulation) deleteRoute() {
	sim.route = nil
	sim.checker.onHistoryLost(sim)
	sim.log("editor", "deletes the route")
}

func (sim *simulation) overwriteState(state string) {
	if sim.route == nil {
		return
	}
	sim.route.state, sim.route.version = state, sim.nextVersion()
	sim.checker.onHistoryLost(sim)
	sim.log("editor", "writes %q over the rollout state", state)
}

func (sim *simulation) reroute(split Split) {
	if sim.route == nil {
		return
	}
	sim.route = sim.route.written(sim, split, true)
	for _, share := range split.Shares() {
		sim.checker.externallyRouted[share.Revision] = true
	}
	sim.checker.onHistoryLost(sim)
	sim.log("editor", "routes %s", split)
}

func (sim *simulation) deleteHosts() {
	sim.hosts = nil
	sim.log("editor", "deletes the tag hosts")
}

func (sim *simulation) deleteFromHistory(n Number) {
	sim.forgetRevision(n)
	sim.checker.onHistoryLost(sim)
	sim.log("editor", "deletes %d from the history", n)
}

func (sim *simulation) deleteDeployment(n Number) {
	delete(sim.deployments, n)
	sim.checker.onHistoryLost(sim)
	sim.checker.excuse(sim, n)
	sim.log("editor", "deletes the workload of %d", n)
}

func (sim *simulation) scale(n Number, replicas int) {
	d := sim.deployments[n]
	if d == nil {
		return
	}
	d.replicas, d.version = replicas, sim.nextVersion()
	d.stopSurplus(sim.now)
	sim.checker.excuse(sim, n)
	sim.log("editor", "scales %d to %d", n, replicas)
}
