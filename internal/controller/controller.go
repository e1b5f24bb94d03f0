// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller runs InferenceServices: it observes, has the core decide, applies the decision and reports.
package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/metrics"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// recheckPeriod is how often to look again at a problem whose end nothing tells us about: the object of somebody else, or
// a refusal of the API server.
const recheckPeriod = 30 * time.Second

// gatewayTolerance is how long a Gateway that was changed may take to report on that before what it served without
// complaint is reported as not known to be served. No revision is drained meanwhile.
const gatewayTolerance = time.Minute

// Backend is a way to run predictors.
type Backend interface {
	// Check returns why the pod of a new revision cannot be run in this way, as a *predictor.Error, or nil.
	Check(isvc *v1beta1.InferenceService, runtime predictor.RuntimeRef, pod *corev1.PodSpec) error
	// Unsupported returns a field that would have no effect in this way, and what to do about it; empty if there is none.
	Unsupported(isvc *v1beta1.InferenceService) (field, message string)
	// Observe reads. Its error is transient, or a *backend.ConflictError.
	Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error)
}

// Account is a service account: who the operator is.
type Account struct{ Namespace, Name string }

// AccountOr returns the account of those names, or where one is empty that of an installation that changed nothing.
func AccountOr(namespace, name string) Account {
	return Account{Namespace: cmp.Or(namespace, "serinus-system"), Name: cmp.Or(name, "serinus-controller-manager")}
}

// String is the account as kubectl create rolebinding --serviceaccount takes it.
func (a Account) String() string { return a.Namespace + ":" + a.Name }

// Reconciler runs InferenceServices.
type Reconciler struct {
	// Client reads from the cache and writes; Live reads from the API server what is not cached.
	Client client.Client
	Live   client.Reader
	// Backends run InferenceServices, each in one mode.
	Backends map[v1beta1.DeploymentMode]Backend
	Config   *config.Config
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
	// Account is who the operator is to the API server.
	Account Account

	written            objects.Consistency
	setbacks           setbacks
	credentialVersions credentialVersions
}

// Reconcile takes one InferenceService one step on: as far as it can go on what is seen now.
func (r *Reconciler) Reconcile(ctx context.Context, isvc *v1beta1.InferenceService) (ctrl.Result, error) {
	if !isvc.DeletionTimestamp.IsZero() {
		r.setbacks.clear(isvc.UID)
	}
	if r.written.IsBehind(statusOf(isvc), isvc.ResourceVersion) {
		return ctrl.Result{RequeueAfter: staleRetry}, nil
	}
	pass := &pass{Reconciler: r, isvc: isvc}
	if !isvc.DeletionTimestamp.IsZero() {
		return pass.awaitDeletion(ctx)
	}
	err := pass.run(ctx)
	if err == nil {
		r.setbacks.clear(isvc.UID)
		return ctrl.Result{RequeueAfter: pass.requeueAfter()}, nil
	}
	setback := r.setbacks.note(isvc.UID, r.Clock.Now())
	if setback.lasts(r.Clock.Now()) {
		if reportErr := pass.reportLasting(ctx, err); reportErr != nil {
			return ctrl.Result{}, errors.Join(err, reportErr)
		}
	}
	if backend.IsStale(err) {
		logf.FromContext(ctx).V(4).Info("Decision was taken on an old view, deciding anew", "cause", err.Error())
		return ctrl.Result{RequeueAfter: setback.retryAfter()}, nil
	}
	return ctrl.Result{}, err
}

// statusOf names an InferenceService whose status is written.
func statusOf(isvc *v1beta1.InferenceService) objects.Target {
	return objects.Target{Kind: "InferenceService", ObjectKey: client.ObjectKeyFromObject(isvc)}
}

// pass is one call of Reconcile.
type pass struct {
	*Reconciler
	isvc *v1beta1.InferenceService

	// recovered is the mode that the status has lost; empty where nothing of the InferenceService was found.
	recovered v1beta1.DeploymentMode
	// versionsRead are those of the Secrets and ServiceAccounts that were read.
	versionsRead map[reference]string
	wanted       *predictor.Resolved
	observed     *backend.Observation
	snapshot     rollout.Snapshot
	decision     rollout.Decision
	// amended is what changes on record of a revision; nil if nothing does.
	amended *backend.Amended
	outcome backend.Outcome
	problem *status.Problem
	notices []backend.Finding
	// detour is what keeps nothing but the InferenceService's own host from being served.
	detour *status.Problem
	wakeAt time.Time
}

// run returns transient errors only. What only a user can mend becomes a problem, and shows in the status.
func (p *pass) run(ctx context.Context) error {
	if err := p.recoverMode(ctx); err != nil {
		return err
	}
	session, err := p.backend().Observe(ctx, p.isvc)
	if err == nil {
		p.observed = session.Observation()
	}
	if err := p.resolve(ctx); err != nil {
		return err
	}
	if err != nil {
		if err := p.note(err); err != nil {
			return fmt.Errorf("observing: %w", err)
		}
		return p.report(ctx)
	}
	target, err := p.findTarget()
	if err != nil {
		return err
	}
	p.decide(target)
	change, err := p.change(ctx)
	if err != nil {
		return err
	}
	revision, unrendered := p.renderTarget(ctx)
	change.Revision = revision
	p.outcome, err = session.Apply(ctx, change)
	err = errors.Join(unrendered, err)
	for _, contest := range p.outcome.Contests {
		p.wake(contest.RetryAt)
	}
	if p.outcome.RouteChanged {
		p.decision.Programmed = false
	} else {
		p.settle()
	}
	p.announce(ctx, p.outcome)
	p.noteFindings()
	if err := p.note(err); err != nil {
		// The status stays what it is, as the next pass is near. Only what lasts is reported.
		return fmt.Errorf("applying: %w", err)
	}
	if err := p.reviewCredentials(ctx); err != nil {
		return err
	}
	p.credentialVersions.replace(client.ObjectKeyFromObject(p.isvc), p.versionsRead)
	if p.settling() {
		return nil
	}
	return p.report(ctx)
}

// findTarget returns the revision that the spec asks for; none if that must not be created.
func (p *pass) findTarget() (intent.Target, error) {
	if p.observed.Current != 0 && p.wanted != nil && p.wanted.Inputs != "" {
		p.observed = p.observed.WithCurrent(backend.Recorded{Identity: p.wanted.Identity, Runtime: p.wanted.Runtime})
	}
	target := intent.FindTarget(p.isvc, p.observed, p.wanted)
	if target.Inputs == "" {
		return target, nil
	}
	if p.wanted.Inputs == "" && p.isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] == "true" {
		p.problem = nil // A revision that is kept without its serving runtime by the user's wish has no problem with that.
	}
	if target.Exists(p.observed.Revisions) {
		return target, nil
	}
	if misplaced := predictor.MisplacedPercent(p.isvc); misplaced != nil && p.problem == nil {
		p.problem = problemOf(misplaced)
		return intent.Target{}, nil // It would get all traffic.
	}
	if err := p.checkNew(); err != nil {
		return intent.Target{}, p.note(err)
	}
	return target, nil
}

// checkNew returns why a new target cannot be rendered, or not be run in its mode. A spec that cannot be run moves no
// traffic, so this is asked before any decision.
func (p *pass) checkNew() error {
	pod, err := p.wanted.Pod()
	if err != nil {
		return err
	}
	return p.backend().Check(p.isvc, p.wanted.Runtime, &pod)
}

// decide takes the decision on what was observed and what is asked for.
func (p *pass) decide(target intent.Target) {
	now := p.Clock.Now()
	observed, next := p.observed.Expire(now)
	p.observed = observed
	p.snapshot = intent.Snapshot(p.isvc, p.mode(), observed, target)
	p.decision = rollout.Decide(p.snapshot, p.policy(), now)
	p.wake(next)
	p.wake(p.decision.WakeAt)
}

// change is what is to be written of the decision, but for a new revision.
func (p *pass) change(ctx context.Context) (backend.Change, error) {
	unusable, err := p.unusableHosts(ctx, p.observed.Hosts)
	if err != nil {
		return backend.Change{}, err
	}
	if err := errors.Join(p.renewCredentials(ctx), p.keepUserSpec()); err != nil {
		return backend.Change{}, err
	}
	change := backend.Change{
		Decision: p.decision, Amended: p.amended, Replicas: p.snapshot.Wanted.Replicas, UnusableHosts: unusable,
	}
	if current, recorded := p.observed.Recorded[p.observed.Current]; recorded {
		change.Current = &backend.CurrentRevision{Inputs: p.wanted.Inputs, Recorded: current}
	}
	return change, nil
}

func (p *pass) policy() rollout.Policy {
	return rollout.Policy{
		DrainPeriod:  p.Config.Rollout.DrainPeriod.Duration,
		CapacityHold: p.Config.Rollout.CapacityHold.Duration,
		HistoryLimit: int(p.Config.Rollout.RevisionHistoryLimit),

		ProgressDeadline: p.Config.Rollout.ProgressDeadline.Duration,
	}
}

// note makes problems of the errors that a user must mend, and returns the others.
func (p *pass) note(err error) error {
	var transient []error
	for _, leaf := range leaves(err) {
		problem := problemOf(leaf)
		if problem == nil {
			transient = append(transient, leaf)
			continue
		}
		if backend.IsAboutEntrance(leaf) {
			p.detour = problem
		} else if p.problem == nil {
			p.problem = problem
		}
		if endsUnseen(leaf, problem) {
			p.wake(p.Clock.Now().Add(recheckPeriod))
		}
	}
	return errors.Join(transient...)
}

// noteFindings takes over what the backend has found. Nothing tells when it ends.
func (p *pass) noteFindings() {
	if len(p.outcome.Findings) > 0 {
		p.notices = append(p.notices, p.outcome.Findings...)
		p.wake(p.Clock.Now().Add(recheckPeriod))
	}
}

// settling tells whether the gateway is about to take over what this pass, or one just before it, has written. The
// status then waits a moment for it, so that one change is one write. It does not wait for long: the time counts from
// the write of the route.
func (p *pass) settling() bool {
	record := p.decision.Record
	if record == nil || p.decision.Programmed && !p.entering() || p.problem != nil || p.observed.RouteStatus.Refused {
		return false
	}
	// Ready that is True for this generation would be true of the route as it was.
	ready := apimeta.FindStatusCondition(p.isvc.Status.Conditions, v1beta1.ConditionReady)
	if !p.decision.Programmed && p.isvc.Status.ObservedGeneration == p.isvc.Generation && ready != nil && ready.Status == metav1.ConditionTrue {
		return false
	}
	// The route may have been written by a replica whose clock is ahead of ours.
	elapsed := p.Clock.Since(record.ShiftedAt)
	if elapsed < 0 || elapsed >= p.Config.Rollout.SettlePeriod.Duration {
		return false
	}
	p.wake(record.ShiftedAt.Add(p.Config.Rollout.SettlePeriod.Duration))
	return true
}

// settle keeps the report of a settled service unchanged while a Gateway has yet to report on a change of itself, for a while.
func (p *pass) settle() {
	if !p.decision.Programmed && status.IsSettled(p.isvc, p.observed, p.decision) && p.tolerates(p.observed.RouteStatus) {
		p.decision.Programmed = true
	}
	if entrance := p.observed.Entrance; entrance != nil && entrance.Open && p.tolerates(entrance.Route) {
		entrance.Route.Message = ""
	}
}

// tolerates reports whether a Gateway of the route was changed only a moment ago; see gatewayTolerance.
func (p *pass) tolerates(route backend.RouteStatus) bool {
	until := route.BehindSince.Add(gatewayTolerance)
	if route.BehindSince.IsZero() || !p.Clock.Now().Before(until) {
		return false
	}
	p.wake(until)
	return true
}

// entering tells whether the InferenceService is about to be served under its own host.
func (p *pass) entering() bool {
	entrance := p.observed.Entrance
	return entrance != nil && !entrance.Open && !entrance.Route.Refused && p.detour == nil
}

// reportLasting tells users what has kept failing, unless they have something to mend themselves.
func (p *pass) reportLasting(ctx context.Context, err error) error {
	switch {
	case backend.IsAboutEntrance(err):
		p.detour = lastingProblem(err)
	case p.problem == nil:
		p.problem = lastingProblem(err)
	}
	return p.report(ctx)
}

// report writes the status, if it says anything new, and tells what has changed in it.
func (p *pass) report(ctx context.Context) error {
	before := p.isvc.DeepCopy()
	report := status.Report{
		InferenceService: before,
		Mode:             p.mode(),
		Observed:         p.observed,
		Decision:         p.decision,
		Snapshot:         p.snapshot,
		Outcome:          p.outcome,
		Problem:          p.problem,
		Notices:          p.notices,
		Detour:           p.detour,
		Ignored:          predictor.WithoutEffect(p.isvc, settings(p.Config, p.mode())),
	}
	p.isvc.Status = status.For(report)
	if equality.Semantic.DeepEqual(before.Status, p.isvc.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := p.Client.Status().Patch(ctx, p.isvc, patch, client.FieldOwner(backend.FieldOwner)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // Deleted in the meantime.
		}
		return fmt.Errorf("writing the status: %w", err)
	}
	p.written.NoteWritten(statusOf(p.isvc), p.isvc.ResourceVersion)
	p.announceStatus(before.Status)
	p.announceDetour(before.Status, status.Detour(report))
	return nil
}

// wake notes a time at which to look again, if it is the earliest.
func (p *pass) wake(at time.Time) {
	if !at.IsZero() && (p.wakeAt.IsZero() || at.Before(p.wakeAt)) {
		p.wakeAt = at
	}
}

func (p *pass) requeueAfter() time.Duration {
	if p.wakeAt.IsZero() {
		return 0
	}
	// Times are kept to the millisecond; a little later is not too early.
	return max(p.wakeAt.Sub(p.Clock.Now())+time.Millisecond, time.Millisecond)
}
