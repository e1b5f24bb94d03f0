// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"strings"
	"time"
)

// proxyLag is how much longer than it says a gateway may send requests by the old route. It is shorter than any time
// to drain, which is there for it.
const proxyLag = 10 * time.Second

// advance lets time pass. Nothing else happens, but that a gateway's proxies do not lag for ever.
func (w *world) advance(by time.Duration) {
	w.now = w.now.Add(by)
	w.gateway.main.catchUp(w.now)
	w.gateway.hosts.catchUp(w.now)
	w.verify()
}

// Pods. A deployment's pods follow its replicas only when somebody calls deploy, and start, stop or crash one by one.
// Whatever happens to them gives their deployment another version, as its status counts them.

// deploy makes as many pods as are asked for, and stops those that are too many: first those that are not ready.
func (w *world) deploy(n Number) bool {
	d := w.deployments[n]
	if d == nil {
		return false
	}
	stopped, made := d.stopSurplus(w.now), 0
	for ; len(d.pods)-d.count(stopping) < d.replicas; made++ {
		d.pods = append(d.pods, pod{since: w.now})
	}
	if stopped+made == 0 {
		return false
	}
	d.version = w.nextVersion()
	w.tell("kubelet", "makes %d and stops %d pods of %d", made, stopped, n)
	return true
}

func (d *deployment) stopSurplus(now time.Time) int {
	surplus := max(0, len(d.pods)-d.count(stopping)-d.replicas)
	for range surplus {
		if !d.turn(starting, stopping, now) {
			d.turn(ready, stopping, now)
		}
	}
	return surplus
}

// turn takes the first pod of one state into another.
func (d *deployment) turn(from, to podState, now time.Time) bool {
	i := slices.IndexFunc(d.pods, func(p pod) bool { return p.state == from })
	if i < 0 {
		return false
	}
	d.pods[i] = pod{to, now}
	return true
}

// start makes a pod ready, if its model ever starts.
func (w *world) start(n Number) bool {
	d := w.deployments[n]
	if d == nil || strings.Contains(w.broken, d.inputs) || !d.turn(starting, ready, w.now) {
		return false
	}
	d.failed, d.version = false, w.nextVersion()
	w.tell("kubelet", "has a pod of %d ready", n)
	return true
}

// stop ends a pod that is stopping.
func (w *world) stop(n Number) bool {
	d := w.deployments[n]
	if d == nil {
		return false
	}
	i := slices.IndexFunc(d.pods, func(p pod) bool { return p.state == stopping })
	if i < 0 {
		return false
	}
	d.pods = slices.Delete(d.pods, i, i+1)
	d.version = w.nextVersion()
	w.tell("kubelet", "has stopped a pod of %d", n)
	return true
}

// crash restarts the container of a pod.
func (w *world) crash(n Number) bool {
	d := w.deployments[n]
	if d == nil || d.count(ready) == 0 {
		return false
	}
	d.turn(ready, starting, w.now)
	d.version = w.nextVersion()
	w.witness.blame(w, n)
	w.tell("kubelet", "sees a pod of %d crash", n)
	return true
}

// lose takes the node away that all pods of a revision are on.
func (w *world) lose(n Number) bool {
	d := w.deployments[n]
	if d == nil || len(d.pods) == 0 {
		return false
	}
	d.pods, d.version = nil, w.nextVersion()
	w.witness.blame(w, n)
	w.tell("kubelet", "loses every pod of %d", n)
	return true
}

// giveUp lets the progress deadline of a deployment pass.
func (w *world) giveUp(n Number) bool {
	d := w.deployments[n]
	if d == nil || d.failed || d.replicas == 0 || d.count(ready) > 0 {
		return false
	}
	d.failed, d.version = true, w.nextVersion()
	w.tell("kubelet", "gives up on %d", n)
	return true
}

// autoscale sets the replicas of a revision by the load that the gateway puts on it, within its bounds.
func (w *world) autoscale(n Number) bool {
	d := w.deployments[n]
	if d == nil || !d.autoscaled || d.replicas == 0 {
		return false
	}
	wanted := max(d.floor, min(roundUp(w.load*w.gateway.main.serves.Percent(n), 100), w.spec.Replicas.Max))
	if d.replicas == wanted {
		return false
	}
	d.replicas, d.version = wanted, w.nextVersion()
	w.tell("autoscaler", "scales %d to %d", n, wanted)
	return true
}

// gateway is what requests meet. It follows the route and the tag hosts each at its own pace.
type gateway struct {
	down, refuses bool
	main          lane[Split]
	hosts         lane[Tags]
}

// lane follows one route: it picks a generation up, its proxies serve it, and it says so; the last two in any order.
type lane[T any] struct {
	serves  T
	picked  *httpRoute[T] // As it was when it was picked up; nil when there is nothing under way.
	served  bool
	said    bool
	since   time.Time // When it was picked up.
	lagEnds time.Time
}

func (l *lane[T]) pickUp(route *httpRoute[T], now time.Time) bool {
	l.settleLag()
	if route == nil {
		route = &httpRoute[T]{}
	} else if route.accepted == route.generation {
		return false
	}
	picked := *route
	l.picked, l.served, l.said, l.since = &picked, false, false, now
	return true
}

// serve lets the proxies serve what was picked up.
func (l *lane[T]) serve() bool {
	if l.picked == nil || l.served {
		return false
	}
	l.serves, l.served = l.picked.says, true
	l.finish()
	return true
}

// say tells on the route what was picked up of it.
func (l *lane[T]) say(route *httpRoute[T], now time.Time) bool {
	if l.picked == nil || l.said {
		return false
	}
	if route != nil && route.id == l.picked.id {
		route.accepted = l.picked.generation // The version stays, so that no stale write is saved by this one.
	}
	l.said, l.lagEnds = true, now.Add(proxyLag)
	l.finish()
	return true
}

func (l *lane[T]) finish() {
	if l.served && l.said {
		l.picked = nil
	}
}

// lags tells whether the proxies still have to do what was said to be done.
func (l *lane[T]) lags() bool { return l.picked != nil && l.said && !l.served }

// takes is for how long something has been under way.
func (l *lane[T]) takes(now time.Time) time.Duration {
	if l.picked == nil {
		return 0
	}
	return now.Sub(l.since)
}

func (l *lane[T]) settleLag() {
	if l.lags() {
		l.serve()
	}
}

func (l *lane[T]) catchUp(now time.Time) {
	if !now.Before(l.lagEnds) {
		l.settleLag()
	}
}

// The gateway's steps. Each is false when there is nothing to do.

func (w *world) pickUp() bool {
	if w.gateway.down || w.gateway.refuses {
		return false
	}
	main, hosts := &w.gateway.main, &w.gateway.hosts
	switch {
	case main.picked == nil && (w.route != nil || !main.serves.IsEmpty()) && main.pickUp(w.route, w.now):
		w.tell("gateway", "picks up the route")
	case hosts.picked == nil && (w.hosts != nil || hosts.serves != Tags{}) && hosts.pickUp(w.hosts, w.now):
		w.tell("gateway", "picks up the tag hosts")
	default:
		return false
	}
	return true
}

func (w *world) serve() bool {
	switch {
	case w.gateway.down:
		return false
	case w.gateway.main.serve():
		w.tell("gateway", "serves %s", w.gateway.main.serves)
	case w.gateway.hosts.serve():
		w.tell("gateway", "serves latest from %d and prev from %d", w.gateway.hosts.serves.Latest, w.gateway.hosts.serves.Prev)
	default:
		return false
	}
	return true
}

func (w *world) say() bool {
	switch main := w.gateway.main.picked; {
	case w.gateway.down:
		return false
	case w.gateway.main.say(w.route, w.now):
		w.witness.accepted(main.says)
		w.tell("gateway", "says that it serves %s", main.says)
	case w.gateway.hosts.say(w.hosts, w.now):
		w.tell("gateway", "says that it serves the tag hosts")
	default:
		return false
	}
	return true
}

// The user.

func (w *world) edit(what string, change func(*spec)) {
	change(&w.spec)
	w.witness.edited(w)
	w.tell("user", "%s", what)
}

// The meddler, who does what nobody should. What can be brought back by nobody it leaves alone: the last trace of a
// revision that is needed.

func (w *world) wipeReport() {
	w.reported, w.reportedVersion = Reported{}, w.nextVersion()
	w.witness.forgotten(w)
	w.tell("meddler", "wipes the status")
}

func (w *world) deleteRoute() {
	w.route = nil
	w.witness.forgotten(w)
	w.tell("meddler", "deletes the route")
}

func (w *world) garble(record string) {
	if w.route == nil {
		return
	}
	w.route.record, w.route.version = record, w.nextVersion()
	w.witness.forgotten(w)
	w.tell("meddler", "writes %q over the record", record)
}

func (w *world) reroute(split Split) {
	if w.route == nil {
		return
	}
	w.route = w.route.written(w, split, true)
	for _, share := range split.Shares() {
		w.witness.forced[share.Revision] = true
	}
	w.witness.forgotten(w)
	w.tell("meddler", "routes %s", split)
}

func (w *world) deleteHosts() {
	w.hosts = nil
	w.tell("meddler", "deletes the tag hosts")
}

func (w *world) deleteRecord(n Number) {
	delete(w.records, n)
	w.witness.forgotten(w)
	w.tell("meddler", "deletes the record of %d", n)
}

func (w *world) deleteDeployment(n Number) {
	delete(w.deployments, n)
	w.witness.forgotten(w)
	w.witness.blame(w, n)
	w.tell("meddler", "deletes the workload of %d", n)
}

func (w *world) scale(n Number, replicas int) {
	d := w.deployments[n]
	if d == nil {
		return
	}
	d.replicas, d.version = replicas, w.nextVersion()
	d.stopSurplus(w.now)
	w.witness.blame(w, n)
	w.tell("meddler", "scales %d to %d", n, replicas)
}
