// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package engine contains what the backends do alike: the sequence of writes that applies a
// decision, and the parts of an observation that depend only on the revision history. A backend
// implements [Driver].
package engine

import (
	"context"
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// Driver writes the objects of one backend, for one change. Its methods skip what is up to date.
type Driver interface {
	// CheckCreate returns why the target cannot be created yet.
	CheckCreate() error
	// Unrecorded returns the revisions that run and have no ControllerRevision, as far as they can be
	// restored from what runs.
	Unrecorded() map[rollout.Number]backend.RenderedRevision
	// WriteWorkloads writes the workloads that should run, unless the route creates them.
	WriteWorkloads(ctx context.Context)
	// WriteRoutes writes the split with the rollout state, and then what follows from the split. It
	// reports whether workloads may retire: only if the split is written.
	WriteRoutes(ctx context.Context) (written bool)
	// Drain records since when a workload is idle, ScaleDown scales a drained one to zero, and Delete
	// deletes what is left of it.
	Drain(ctx context.Context, plan rollout.WorkloadPlan) error
	ScaleDown(ctx context.Context, plan rollout.WorkloadPlan) error
	Delete(ctx context.Context, n rollout.Number) error
	// Remains reports whether a workload that is not observed as running still has objects. They are
	// deleted before its ControllerRevision, because they would be recorded again.
	Remains(n rollout.Number) bool
}

// Session is an observation of one InferenceService, to which one decision can be applied.
type Session struct {
	Store            *objects.Store
	InferenceService *v1beta1.InferenceService
	Facts            *backend.Observation
	History          history.History
	// StateObject is the object that carries the rollout state; nil if there is none.
	StateObject client.Object
	// NewDriver returns the driver for one change. It may set Objects.Written.
	NewDriver func(*Writer) Driver
}

// Observation returns what was observed.
func (s *Session) Observation() *backend.Observation { return s.Facts }

// Writer writes one change.
type Writer struct {
	*Session
	backend.Change
	backend.Outcome
	Objects objects.Writer
	History history.Writer
}

// Apply writes a decision. It skips objects that are already up to date. The operator may stop
// after any write:
//
//  1. The ControllerRevision of a new revision is created first. A later reconciliation adopts it,
//     so two revisions never share a number.
//  2. Workloads are scaled up. Additional capacity does no harm.
//  3. The route is written under the resource version that the decision is based on, so a decision
//     on an old view fails here. The split and the rollout state change in one write. Only revisions
//     that were observed ready get weight. In Knative mode, the same write creates a revision.
//  4. What follows from the split is written: the tag routes and the host route. Once the gateway
//     serves another split, so are the Service with KServe's name and the ScaleTarget.
//  5. Workloads are retired, and the revision history is pruned. The decision asks for this only
//     when no route changes. The API server must confirm that the route and the spec are still
//     those that were observed.
//
// A failed step does not block independent ones. For example, if the API server refuses the new
// target, a rejected canary still loses its share.
func (s *Session) Apply(ctx context.Context, change backend.Change) backend.Outcome {
	w := &Writer{Session: s, Change: change}
	w.Objects = objects.Writer{Store: s.Store, InferenceService: s.InferenceService, Contested: w.NoteContest}
	w.History = history.Writer{History: s.History, Writer: w.Objects}
	driver := s.NewDriver(w)
	if err := w.History.Amend(ctx, change.Amended); err != nil {
		w.Fail(err)
		return w.Outcome
	}
	w.create(ctx, driver)
	w.repairHistory(ctx, driver)
	driver.WriteWorkloads(ctx)
	if driver.WriteRoutes(ctx) {
		w.retire(ctx, driver)
	}
	return w.Outcome
}

func (w *Writer) create(ctx context.Context, driver Driver) {
	if !w.Decision.Create || w.Revision == nil {
		return
	}
	err := driver.CheckCreate()
	if err == nil {
		w.Target, err = w.History.Add(ctx, w.Decision.Target, *w.Revision)
	}
	w.Fail(err)
}

// repairHistory restores missing ControllerRevisions, and repairs the metadata of the others. One
// that cannot be decoded is not replaced; its workload keeps running.
func (w *Writer) repairHistory(ctx context.Context, driver Driver) {
	w.Fail(w.History.Repair(ctx)...)
	unrecorded := driver.Unrecorded()
	for _, n := range slices.Sorted(maps.Keys(unrecorded)) {
		_, err := w.History.Add(ctx, n, unrecorded[n])
		w.Fail(err)
	}
}

// retire takes workloads down and prunes the revision history, one step at a time. See
// [rollout.WorkloadPlan].
func (w *Writer) retire(ctx context.Context, driver Driver) {
	for _, plan := range w.Decision.Workloads {
		switch plan.Action {
		case rollout.Run, rollout.AwaitRoute:
		case rollout.Drain:
			w.Fail(driver.Drain(ctx, plan))
		case rollout.ScaleDown:
			w.Fail(driver.ScaleDown(ctx, plan))
		case rollout.Delete:
			w.Fail(driver.Delete(ctx, plan.Revision))
		}
	}
	for _, n := range w.Decision.Prune {
		if driver.Remains(n) {
			w.Fail(driver.Delete(ctx, n))
		} else {
			w.Fail(w.History.Prune(ctx, n))
		}
	}
}

// Confirm returns an error unless the decision is based on the current state. See
// [objects.Store.Confirm].
func (w *Writer) Confirm(ctx context.Context) error {
	return w.Store.Confirm(ctx, w.InferenceService, w.StateObject)
}

// DeleteConfirmed deletes objects after it has confirmed that the decision is based on the current
// state; nil is ignored.
func (w *Writer) DeleteConfirmed(ctx context.Context, all ...client.Object) error {
	if err := w.Confirm(ctx); err != nil {
		return err
	}
	for _, object := range all {
		if err := w.Objects.Delete(ctx, object); err != nil {
			return err
		}
	}
	return nil
}
