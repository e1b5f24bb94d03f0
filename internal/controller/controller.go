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

	consistency        objects.Consistency
	failureBackoff     failureBackoff
	credentialVersions credentialVersions
}

// Reconcile takes one InferenceService one step on: as far as it can go on what is seen now.
func (r *Reconciler) Reconcile(ctx context.Context, isvc *v1beta1.InferenceService) (ctrl.Result, error) {
	if !isvc.DeletionTimestamp.IsZero() {
		r.failureBackoff.reset(isvc.UID)
	}
	if r.consistency.IsBehind(statusOf(isvc), isvc.ResourceVersion) {
		return ctrl.Result{RequeueAfter: minStaleBackoff}, nil
	}
	scope := &scope{Reconciler: r, isvc: isvc}
	if !isvc.DeletionTimestamp.IsZero() {
		return scope.awaitDeletion(ctx)
	}
	err := scope.run(ctx)
	if err == nil {
		r.failureBackoff.reset(isvc.UID)
		return ctrl.Result{RequeueAfter: scope.requeueAfter()}, nil
	}
	failures := r.failureBackoff.next(isvc.UID, r.Clock.Now())
	if failures.isPersistent(r.Clock.Now()) {
		if reportErr := scope.reportPersistent(ctx, err); reportErr != nil {
			return ctrl.Result{}, errors.Join(err, reportErr)
		}
	}
	if backend.IsStale(err) {
		logf.FromContext(ctx).V(4).Info("Decision was taken on an old view, deciding anew", "cause", err.Error())
		return ctrl.Result{RequeueAfter: failures.staleDelay()}, nil
	}
	return ctrl.Result{}, err
}

// statusOf names an InferenceService whose status is written.
func statusOf(isvc *v1beta1.InferenceService) objects.Target {
	return objects.Target{Kind: "InferenceService", ObjectKey: client.ObjectKeyFromObject(isvc)}
}

// pass is one call of Reconcile.
type scope struct {
	*Reconciler
	isvc *v1beta1.InferenceService

	// recovered is the mode that the status has lost; empty where nothing of the InferenceService was found.
	recoveredMode v1beta1.DeploymentMode
	// readVersions are those of the Secrets and ServiceAccounts that were read.
	readVersions map[reference]string
	desired      *predictor.Resolved
	observed     *backend.Observation
	snapshot     rollout.Snapshot
	decision     rollout.Decision
	// amended is what changes on record of a revision; nil if nothing does.
	amended *backend.Amended
	outcome backend.Outcome
	problem *status.Problem
	notices []backend.Finding
	// detour is what keeps nothing but the InferenceService's own host from being served.
	hostProblem *status.Problem
	requeueTime time.Time
}

// run returns transient errors only. What only a user can mend becomes a problem, and shows in the status.
func (s *scope) run(ctx context.Context) error {
	if err := s.recoverMode(ctx); err != nil {
		return err
	}
	session, err := s.backend().Observe(ctx, s.isvc)
	if err == nil {
		s.observed = session.Observation()
	}
	if err := s.resolve(ctx); err != nil {
		return err
	}
	if err != nil {
		if err := s.collectProblems(err); err != nil {
			return fmt.Errorf("observing: %w", err)
		}
		return s.report(ctx)
	}
	target, err := s.findTarget()
	if err != nil {
		return err
	}
	s.decide(target)
	change, err := s.buildChange(ctx)
	if err != nil {
		return err
	}
	revision, unrendered := s.renderTarget(ctx)
	change.Revision = revision
	s.outcome, err = session.Apply(ctx, change)
	err = errors.Join(unrendered, err)
	for _, contest := range s.outcome.Contests {
		s.requeueAt(contest.RetryAt)
	}
	if s.outcome.RouteChanged {
		s.decision.Programmed = false
	} else {
		s.tolerateGatewayUpdate()
	}
	s.announce(ctx, s.outcome)
	s.collectFindings()
	if err := s.collectProblems(err); err != nil {
		// The status stays what it is, as the next pass is near. Only what lasts is reported.
		return fmt.Errorf("applying: %w", err)
	}
	if err := s.reviewCredentials(ctx); err != nil {
		return err
	}
	s.credentialVersions.replace(client.ObjectKeyFromObject(s.isvc), s.readVersions)
	if s.awaitsGateway() {
		return nil
	}
	return s.report(ctx)
}

// findTarget returns the revision that the spec asks for; none if that must not be created.
func (s *scope) findTarget() (intent.Target, error) {
	if s.observed.Current != 0 && s.desired != nil && s.desired.Inputs != "" {
		s.observed = s.observed.WithCurrent(backend.Recorded{Identity: s.desired.Identity, Runtime: s.desired.Runtime})
	}
	target := intent.FindTarget(s.isvc, s.observed, s.desired)
	if target.Inputs == "" {
		return target, nil
	}
	if s.desired.Inputs == "" && s.isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] == "true" {
		s.problem = nil // A revision that is kept without its serving runtime by the user's wish has no problem with that.
	}
	if target.Exists(s.observed.Revisions) {
		return target, nil
	}
	if misplaced := predictor.MisplacedPercent(s.isvc); misplaced != nil && s.problem == nil {
		s.problem = problemOf(misplaced)
		return intent.Target{}, nil // It would get all traffic.
	}
	if err := s.checkNewRevision(); err != nil {
		return intent.Target{}, s.collectProblems(err)
	}
	return target, nil
}

// checkNew returns why a new target cannot be rendered, or not be run in its mode. A spec that cannot be run moves no
// traffic, so this is asked before any decision.
func (s *scope) checkNewRevision() error {
	pod, err := s.desired.Pod()
	if err != nil {
		return err
	}
	return s.backend().Check(s.isvc, s.desired.Runtime, &pod)
}

// decide takes the decision on what was observed and what is asked for.
func (s *scope) decide(target intent.Target) {
	now := s.Clock.Now()
	observed, next := s.observed.Expire(now)
	s.observed = observed
	s.snapshot = intent.Snapshot(s.isvc, s.mode(), observed, target)
	s.decision = rollout.Decide(s.snapshot, s.policy(), now)
	s.requeueAt(next)
	s.requeueAt(s.decision.WakeAt)
}

// change is what is to be written of the decision, but for a new revision.
func (s *scope) buildChange(ctx context.Context) (backend.Change, error) {
	unusable, err := s.unusableHosts(ctx, s.observed.Hosts)
	if err != nil {
		return backend.Change{}, err
	}
	if err := errors.Join(s.renewCredentials(ctx), s.keepUserSpec()); err != nil {
		return backend.Change{}, err
	}
	change := backend.Change{
		Decision: s.decision, Amended: s.amended, Replicas: s.snapshot.Wanted.Replicas, UnusableHosts: unusable,
	}
	if current, recorded := s.observed.Recorded[s.observed.Current]; recorded {
		change.Current = &backend.CurrentRevision{Inputs: s.desired.Inputs, Recorded: current}
	}
	return change, nil
}

func (s *scope) policy() rollout.Policy {
	return rollout.Policy{
		DrainPeriod:  s.Config.Rollout.DrainPeriod.Duration,
		CapacityHold: s.Config.Rollout.CapacityHold.Duration,
		HistoryLimit: int(s.Config.Rollout.RevisionHistoryLimit),

		ProgressDeadline: s.Config.Rollout.ProgressDeadline.Duration,
	}
}

// note makes problems of the errors that a user must mend, and returns the others.
func (s *scope) collectProblems(err error) error {
	var transient []error
	for _, cause := range flattenErrors(err) {
		problem := problemOf(cause)
		if problem == nil {
			transient = append(transient, cause)
			continue
		}
		if backend.IsAboutEntrance(cause) {
			s.hostProblem = problem
		} else if s.problem == nil {
			s.problem = problem
		}
		if needsRecheck(cause, problem) {
			s.requeueAt(s.Clock.Now().Add(recheckPeriod))
		}
	}
	return errors.Join(transient...)
}

// collectFindings takes over what the backend has found. Nothing tells when it ends.
func (s *scope) collectFindings() {
	if len(s.outcome.Findings) > 0 {
		s.notices = append(s.notices, s.outcome.Findings...)
		s.requeueAt(s.Clock.Now().Add(recheckPeriod))
	}
}

// settling tells whether the gateway is about to take over what this pass, or one just before it, has written. The
// status then waits a moment for it, so that one change is one write. It does not wait for long: the time counts from
// the write of the route.
func (s *scope) awaitsGateway() bool {
	record := s.decision.Record
	if record == nil || s.decision.Programmed && !s.awaitsHostRoute() || s.problem != nil || s.observed.RouteStatus.Refused {
		return false
	}
	// Ready that is True for this generation would be true of the route as it was.
	ready := apimeta.FindStatusCondition(s.isvc.Status.Conditions, v1beta1.ConditionReady)
	if !s.decision.Programmed && s.isvc.Status.ObservedGeneration == s.isvc.Generation && ready != nil && ready.Status == metav1.ConditionTrue {
		return false
	}
	// The route may have been written by a replica whose clock is ahead of ours.
	elapsed := s.Clock.Since(record.ShiftedAt)
	if elapsed < 0 || elapsed >= s.Config.Rollout.SettlePeriod.Duration {
		return false
	}
	s.requeueAt(record.ShiftedAt.Add(s.Config.Rollout.SettlePeriod.Duration))
	return true
}

// settle keeps the report of a settled service unchanged while a Gateway has yet to report on a change of itself, for a while.
func (s *scope) tolerateGatewayUpdate() {
	if !s.decision.Programmed && status.IsSettled(s.isvc, s.observed, s.decision) && s.withinTolerance(s.observed.RouteStatus) {
		s.decision.Programmed = true
	}
	if entrance := s.observed.Entrance; entrance != nil && entrance.Open && s.withinTolerance(entrance.Route) {
		entrance.Route.Message = ""
	}
}

// tolerates reports whether a Gateway of the route was changed only a moment ago; see gatewayTolerance.
func (s *scope) withinTolerance(route backend.RouteStatus) bool {
	until := route.BehindSince.Add(gatewayTolerance)
	if route.BehindSince.IsZero() || !s.Clock.Now().Before(until) {
		return false
	}
	s.requeueAt(until)
	return true
}

// entering tells whether the InferenceService is about to be served under its own host.
func (s *scope) awaitsHostRoute() bool {
	entrance := s.observed.Entrance
	return entrance != nil && !entrance.Open && !entrance.Route.Refused && s.hostProblem == nil
}

// reportPersistent tells users what has kept failing, unless they have something to mend themselves.
func (s *scope) reportPersistent(ctx context.Context, err error) error {
	switch {
	case backend.IsAboutEntrance(err):
		s.hostProblem = persistentProblem(err)
	case s.problem == nil:
		s.problem = persistentProblem(err)
	}
	return s.report(ctx)
}

// report writes the status, if it says anything new, and tells what has changed in it.
func (s *scope) report(ctx context.Context) error {
	before := s.isvc.DeepCopy()
	report := status.Report{
		InferenceService: before,
		Mode:             s.mode(),
		Observed:         s.observed,
		Decision:         s.decision,
		Snapshot:         s.snapshot,
		Outcome:          s.outcome,
		Problem:          s.problem,
		Notices:          s.notices,
		Detour:           s.hostProblem,
		Ignored:          predictor.WithoutEffect(s.isvc, settings(s.Config, s.mode())),
	}
	s.isvc.Status = status.For(report)
	if equality.Semantic.DeepEqual(before.Status, s.isvc.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := s.Client.Status().Patch(ctx, s.isvc, patch, client.FieldOwner(backend.FieldOwner)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // Deleted in the meantime.
		}
		return fmt.Errorf("writing the status: %w", err)
	}
	s.consistency.NoteWritten(statusOf(s.isvc), s.isvc.ResourceVersion)
	s.announceStatus(before.Status)
	s.announceHostProblem(before.Status, status.Detour(report))
	return nil
}

// wake notes a time at which to look again, if it is the earliest.
func (s *scope) requeueAt(at time.Time) {
	if !at.IsZero() && (s.requeueTime.IsZero() || at.Before(s.requeueTime)) {
		s.requeueTime = at
	}
}

func (s *scope) requeueAfter() time.Duration {
	if s.requeueTime.IsZero() {
		return 0
	}
	// Times are kept to the millisecond; a little later is not too early.
	return max(s.requeueTime.Sub(s.Clock.Now())+time.Millisecond, time.Millisecond)
}
