// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	clusteroperator "github.com/serinus-io/serinus/test/cluster/operator"
)

const resyncs = 2

const routesNamespace = "routes"

type stage struct {
	previousServices, services     int
	createDuration, canaryDuration time.Duration

	shift shift

	// Writes of the operator without a change of a spec, and the number of its reconciliations.
	settled, restarted, resynced                  []*request
	restartReconciliations, resyncReconciliations int

	memory, restartMemory memory
}

type shift struct {
	changes  int
	requests []*request // All requests of the operator.
	// routes and statuses are the numbers of InferenceServices by their number of writes.
	routes, statuses map[int]int
	latency          []time.Duration // From the response to the spec's change to that to the route's.
	bare             []time.Duration // The round trip of a bare write of a route.
}

func (b *bench) measureAt(ctx context.Context, size int) error {
	s := &stage{services: size, previousServices: b.report.currentServices()}
	if err := b.grow(ctx, s); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *stage) error{b.shiftPercents, b.settle, b.restart, b.resync} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	b.report.stages = append(b.report.stages, s)
	return b.restartOperator(ctx, nil)
}

func (b *bench) grow(ctx context.Context, s *stage) (err error) {
	added := names(mainNamespace, s.previousServices, s.services)
	s.createDuration, err = b.makeReady(ctx, added)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	b.logf("%d more are Ready after %.1fs", len(added), s.createDuration.Seconds())
	if _, err := b.idle(ctx); err != nil {
		return err
	}
	released := canaries(added)
	expected := b.tracker.expect(released, splitAt(canaryPercent))
	begin := time.Now()
	if err := b.change(ctx, released, canaryPatch); err != nil {
		return err
	}
	end, err := b.tracker.await(ctx, expected)
	if err != nil {
		return fmt.Errorf("releasing canaries: %w", err)
	}
	s.canaryDuration = end.Sub(begin)
	b.logf("%d of them are canaries at 10/90 after %.1fs", len(released), s.canaryDuration.Seconds())
	return nil
}

func (b *bench) shiftPercents(ctx context.Context, s *stage) error {
	all := canaries(names(mainNamespace, 0, s.services))
	percent := int64(canaryPercent * (len(b.report.stages) + 2))
	bare, err := b.bareRoute(ctx, all[0])
	if err != nil {
		return fmt.Errorf("reading the route of a canary: %w", err)
	}
	if _, err := b.idle(ctx); err != nil {
		return err
	}
	if _, err := b.audit.next(); err != nil {
		return err
	}
	expected := b.tracker.expect(all, splitAt(percent))
	tick := time.NewTicker(b.options.pace / 2) // Alternate between a change of a percent and a bare write.
	defer tick.Stop()
	for i, name := range all {
		<-tick.C
		if err := b.patch(ctx, name, percentPatch(percent)); err != nil {
			return err
		}
		<-tick.C
		took, err := bare.write(ctx, b.bare, i)
		if err != nil {
			return fmt.Errorf("writing a route: %w", err)
		}
		s.shift.bare = append(s.shift.bare, took)
	}
	if _, err := b.tracker.await(ctx, expected); err != nil {
		return err
	}
	if _, err := b.idle(ctx); err != nil {
		return err
	}
	requests, err := b.audit.next()
	if err != nil {
		return err
	}
	if err := s.shift.read(requests, all); err != nil {
		return err
	}
	b.logf("%d changes of a percent: %v writes of routes and %v of statuses each; spec to route %s, a bare write %s",
		len(all), s.shift.routes, s.shift.statuses, percentiles(s.shift.latency), percentiles(s.shift.bare))
	return nil
}

func (s *shift) read(requests []*request, all []types.NamespacedName) error {
	s.changes = len(all)
	s.requests = byUser(requests, operatorUser)
	asked := map[string]time.Time{}
	for _, r := range byUser(requests, userOf(userAccount)) {
		if r.resource() == "inferenceservices" && r.Verb == "patch" {
			asked[r.ObjectRef.Name] = r.Completed.Time
		}
	}
	routes, statuses := map[string]int{}, map[string]int{}
	for _, r := range filter(s.requests, (*request).writes) {
		switch r.resource() {
		case "httproutes":
			if routes[r.ObjectRef.Name]++; routes[r.ObjectRef.Name] == 1 {
				s.latency = append(s.latency, r.Completed.Sub(asked[r.ObjectRef.Name]))
			}
		case "inferenceservices/status":
			statuses[r.ObjectRef.Name]++
		}
	}
	s.routes, s.statuses = map[int]int{}, map[int]int{}
	for _, name := range all {
		if asked[name.Name].IsZero() {
			return fmt.Errorf("the audit log does not show the change of %s", name)
		}
		s.routes[routes[name.Name]]++
		s.statuses[statuses[name.Name]]++
	}
	return nil
}

// exact reports whether each change caused one write of the route, one of the status, and no others
// except events.
func (s *shift) exact() bool {
	all := filter(s.requests, func(r *request) bool { return r.writes() && r.ObjectRef.Resource != "events" })
	return s.routes[1] == s.changes && s.statuses[1] == s.changes && len(all) == 2*s.changes
}

// route is a route that does not belong to an InferenceService.
type route struct{ object *gatewayv1.HTTPRoute }

func (b *bench) bareRoute(ctx context.Context, original types.NamespacedName) (*route, error) {
	var found gatewayv1.HTTPRoute
	if err := b.admin.Get(ctx, original, &found); err != nil {
		return nil, err
	}
	object := &gatewayv1.HTTPRoute{Spec: found.Spec}
	object.SetGroupVersionKind(schema.GroupVersion(gatewayv1.GroupVersion).WithKind("HTTPRoute"))
	object.Namespace, object.Name, object.Annotations = routesNamespace, found.Name, found.Annotations
	bare := &route{object: object}
	_, err := bare.write(ctx, b.bare, 1)
	return bare, err
}

func (r *route) write(ctx context.Context, writer client.Client, i int) (time.Duration, error) {
	object := r.object.DeepCopy()
	refs := object.Spec.Rules[0].BackendRefs
	refs[0].Weight = new(int32(i%100 + 1))
	begin := time.Now()
	//nolint:staticcheck // There is no apply configuration to generate for one measurement.
	err := writer.Patch(ctx, object, client.Apply, client.FieldOwner("bench"), client.ForceOwnership)
	return time.Since(begin), err
}

func (b *bench) settle(ctx context.Context, s *stage) (err error) {
	if _, err := b.idle(ctx); err != nil {
		return err
	}
	if _, err := b.audit.next(); err != nil {
		return err
	}
	b.logf("checking for %s that nothing is written", b.options.settle)
	select {
	case <-time.After(b.options.settle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	requests, err := b.audit.next()
	if err != nil {
		return err
	}
	s.settled = filter(byUser(requests, operatorUser), (*request).writes)
	s.memory, err = b.operator.memory()
	b.logf("%d writes in %s; %s in use, at most %s", len(s.settled), b.options.settle, mebibytes(s.memory.resident), mebibytes(s.memory.peak))
	return err
}

func (b *bench) restart(ctx context.Context, s *stage) (err error) {
	if err := b.restartOperator(ctx, nil); err != nil {
		return err
	}
	if s.restartReconciliations, err = b.idleAfter(ctx, s.services); err != nil {
		return err
	}
	requests, err := b.audit.next()
	if err != nil {
		return err
	}
	s.restarted = filter(byUser(requests, operatorUser), (*request).writes)
	s.restartMemory, err = b.operator.memory()
	b.logf("%d writes during a restart with %d reconciliations; %s in use, at most %s", len(s.restarted), s.restartReconciliations,
		mebibytes(s.restartMemory.resident), mebibytes(s.restartMemory.peak))
	return err
}

// resync runs the operator with a short resyncPeriod until every InferenceService must have been
// reconciled twice.
func (b *bench) resync(ctx context.Context, s *stage) error {
	if b.options.resync == 0 {
		return nil
	}
	if err := b.restartOperator(ctx, clusteroperator.Settings{"controller": {"resyncPeriod": b.options.resync.String()}}); err != nil {
		return err
	}
	before, err := b.idleAfter(ctx, s.services)
	if err != nil {
		return err
	}
	b.logf("waiting for %d resyncs", resyncs)
	after, err := b.waitForReconciliations(ctx, before+resyncs*s.services)
	if err != nil {
		return err
	}
	requests, err := b.audit.next()
	if err != nil {
		return err
	}
	s.resyncReconciliations = after - before
	s.resynced = filter(byUser(requests, operatorUser), (*request).writes)
	b.logf("%d writes during resyncs with %d reconciliations", len(s.resynced), s.resyncReconciliations)
	return nil
}

// idleAfter waits until the operator has made a number of reconciliations and is idle.
func (b *bench) idleAfter(ctx context.Context, reconciliations int) (int, error) {
	if _, err := b.waitForReconciliations(ctx, reconciliations); err != nil {
		return 0, err
	}
	return b.idle(ctx)
}

func (b *bench) waitForReconciliations(ctx context.Context, reconciliations int) (int, error) {
	var last activity
	err := wait.PollUntilContextTimeout(ctx, time.Second, waitTimeout, true, func(ctx context.Context) (_ bool, err error) {
		last, err = b.operator.activity(ctx)
		return last.reconciliations >= reconciliations, err
	})
	if err != nil {
		err = errors.Join(err, fmt.Errorf("the operator has made %d of %d reconciliations", last.reconciliations, reconciliations))
	}
	return last.reconciliations, err
}

// percentile returns the duration that this share of all durations does not exceed.
func percentile(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func percentiles(all []time.Duration) string {
	return fmt.Sprintf("p50 %s, p99 %s", milliseconds(percentile(all, 0.5)), milliseconds(percentile(all, 0.99)))
}
