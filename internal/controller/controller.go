// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller reconciles InferenceServices. It observes the cluster through a backend,
// package rollout decides, the backend applies the decision, and package status computes the
// status.
package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
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
	"github.com/serinus-io/serinus/internal/evidence"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/metrics"
	"github.com/serinus-io/serinus/internal/policy"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/status"
)

// recheckPeriod is how often a problem is checked again if no watch reports its end, for example a
// conflicting object or a request that the API server refuses.
const recheckPeriod = 30 * time.Second

// gatewayTolerance is how long a changed Gateway may take to report its new generation before a
// settled service is reported as not known to be served. No revision is drained meanwhile.
const gatewayTolerance = time.Minute

// Backend runs predictors in one deployment mode.
type Backend interface {
	// Check returns why the pod of a new revision cannot run in this mode, as a *predictor.Error,
	// or nil.
	Check(isvc *v1beta1.InferenceService, runtime predictor.RuntimeRef, pod *corev1.PodSpec) error
	// Unsupported returns a field that has no effect in this mode and what to do about it. It
	// returns empty strings if there is none.
	Unsupported(isvc *v1beta1.InferenceService) (field, message string)
	// Observe reads the objects of an InferenceService. Its error is transient or a
	// *backend.ConflictError.
	Observe(ctx context.Context, isvc *v1beta1.InferenceService) (backend.Session, error)
}

// Account is the ServiceAccount of the operator.
type Account struct{ Namespace, Name string }

// AccountOr returns the account with these names. An empty name is replaced by that of a default
// installation.
func AccountOr(namespace, name string) Account {
	return Account{Namespace: cmp.Or(namespace, "serinus-system"), Name: cmp.Or(name, "serinus-controller-manager")}
}

// String returns the account in the form that kubectl create rolebinding --serviceaccount takes.
func (a Account) String() string { return a.Namespace + ":" + a.Name }

// Reconciler reconciles InferenceServices.
type Reconciler struct {
	// Client reads from the cache. APIReader reads objects that are not cached from the API server.
	Client    client.Client
	APIReader client.Reader
	// Backends maps each deployment mode to its backend.
	Backends map[v1beta1.DeploymentMode]Backend
	Config   *config.Config
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
	// Account is the operator's own ServiceAccount.
	Account Account
	// Automation follows CanaryPolicies.
	Automation Automation

	consistency        objects.Consistency
	failureBackoff     failureBackoff
	credentialVersions credentialVersions
	verdicts           verdicts
	// ignoredIntents maps InferenceServices to the messages about annotations without effect.
	ignoredIntents sync.Map
}

// reconcileRequest reads the InferenceService and reconciles it.
func (r *Reconciler) reconcileRequest(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	isvc := &v1beta1.InferenceService{}
	switch err := r.Client.Get(ctx, request.NamespacedName, isvc); {
	case apierrors.IsNotFound(err):
		r.forgetTrial(request.NamespacedName)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	return r.Reconcile(ctx, isvc)
}

// Reconcile applies one decision and updates the status.
func (r *Reconciler) Reconcile(ctx context.Context, isvc *v1beta1.InferenceService) (ctrl.Result, error) {
	if !isvc.DeletionTimestamp.IsZero() {
		r.failureBackoff.reset(isvc.UID)
		r.forgetTrial(client.ObjectKeyFromObject(isvc))
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
		logf.FromContext(ctx).V(4).Info("Retrying because the cache was stale", "cause", err.Error())
		return ctrl.Result{RequeueAfter: failures.staleDelay()}, nil
	}
	return ctrl.Result{}, err
}

// statusOf returns the key under which writes of the status are tracked.
func statusOf(isvc *v1beta1.InferenceService) objects.Target {
	return objects.Target{Kind: "InferenceService", ObjectKey: client.ObjectKeyFromObject(isvc)}
}

// scope holds the state of one reconciliation.
type scope struct {
	*Reconciler
	isvc *v1beta1.InferenceService

	// recoveredMode is the deployment mode if the status has lost it. It is empty if the
	// InferenceService has no objects.
	recoveredMode v1beta1.DeploymentMode
	// readVersions maps the Secrets and ServiceAccounts that were read to their versions.
	readVersions map[reference]string
	desired      *predictor.Resolved
	observed     *backend.Observation
	snapshot     rollout.Snapshot
	decision     rollout.Decision
	// amended is the change of a revision's history entry, or nil.
	amended *backend.Amended
	outcome backend.Outcome
	problem *status.Problem
	notices []backend.Finding
	// hostProblem affects only the InferenceService's own host name. The predictor's URL still
	// works.
	hostProblem *status.Problem
	requeueTime time.Time

	// selection is the policy of the InferenceService, and plan what it says; nil if it has a
	// problem. verdict is the evidence on the current trial, or nil.
	selection  policy.Selection
	plan       *policy.Plan
	verdict    *evidence.Verdict
	automation status.Automation
}

// run returns transient errors only. An error that only a user can fix becomes a problem in the
// status.
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
		if err := s.collectProblem(err); err != nil {
			return fmt.Errorf("observing: %w", err)
		}
		return s.report(ctx)
	}
	target, err := s.findTarget()
	if err != nil {
		return err
	}
	if err := s.readPolicy(ctx); err != nil {
		return err
	}
	s.decide(target)
	change, err := s.buildChange(ctx)
	if err != nil {
		return err
	}
	revision, renderErr := s.renderTarget(ctx)
	change.Revision = revision
	s.outcome = session.Apply(ctx, change)
	for _, contest := range s.outcome.Contests {
		s.requeueAt(contest.RetryAt)
	}
	if s.outcome.RouteChanged {
		s.decision = s.decision.WithRouteChanged()
	}
	s.followTrial()
	s.announce(ctx, s.outcome)
	s.announceIgnored()
	s.collectFindings()
	if err := s.collectProblems(append([]backend.WriteError{{Err: renderErr}}, s.outcome.Errors...)); err != nil {
		// The status does not change, because a retry follows soon. Reconcile reports persistent
		// errors.
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

// findTarget returns the revision that the spec asks for. It returns no target if that revision
// must not be created.
func (s *scope) findTarget() (intent.Target, error) {
	if s.observed.Current != 0 && s.desired != nil && s.desired.Hash != "" {
		s.observed = s.observed.WithCurrent(backend.HistoryEntry{Identity: s.desired.Identity, Runtime: s.desired.Runtime})
	}
	target := intent.FindTarget(s.isvc, s.observed, s.desired)
	if target.Hash == "" {
		return target, nil
	}
	if s.desired.Hash == "" && s.isvc.Annotations[v1beta1.AnnotationDisableAutoUpdate] == "true" {
		s.problem = nil // The user has asked to keep a revision whose serving runtime is missing.
	}
	if target.Exists(s.observed.Revisions) {
		return target, nil
	}
	if misplaced := predictor.MisplacedPercent(s.isvc); misplaced != nil && s.problem == nil {
		s.problem = problemOf(misplaced)
		return intent.Target{}, nil // Without the percent, the new revision would get all traffic.
	}
	if err := s.checkNewRevision(); err != nil {
		return intent.Target{}, s.collectProblem(err)
	}
	return target, nil
}

// checkNewRevision returns why a new target cannot be rendered or cannot run in its mode. It is
// called before the decision because an invalid spec must not move traffic.
func (s *scope) checkNewRevision() error {
	pod, err := s.desired.Pod()
	if err != nil {
		return err
	}
	return s.backend().Check(s.isvc, s.desired.Runtime, &pod)
}

func (s *scope) decide(target intent.Target) {
	now := s.Clock.Now()
	observed, next := s.observed.Expire(now)
	observed.HostRoute = s.tolerate(observed.HostRoute)
	s.observed = observed
	s.snapshot = intent.Snapshot(s.isvc, s.mode(), observed, target, s.readAutomation())
	s.decision = rollout.Decide(s.snapshot, s.policy(), now)
	for _, at := range []time.Time{observed.WakeAt, next, s.decision.WakeAt} {
		s.requeueAt(at)
	}
}

// buildChange returns the writes that the decision needs, except for a new revision.
func (s *scope) buildChange(ctx context.Context) (backend.Change, error) {
	unusable, err := s.unusableHosts(ctx, s.observed.Hosts)
	if err != nil {
		return backend.Change{}, err
	}
	if err := errors.Join(s.renewCredentials(ctx), s.keepUserSpec()); err != nil {
		return backend.Change{}, err
	}
	change := backend.Change{
		Decision: s.decision, Amended: s.amended, Replicas: s.snapshot.Desired.Replicas, UnusableHosts: unusable,
	}
	if current, recorded := s.observed.History[s.observed.Current]; recorded {
		change.Current = &backend.CurrentRevision{Hash: s.desired.Hash, HistoryEntry: current}
	}
	return change, nil
}

func (s *scope) policy() rollout.Policy {
	return rollout.Policy{
		DrainPeriod:  s.Config.Rollout.DrainPeriod.Duration,
		CapacityHold: s.Config.Rollout.CapacityHold.Duration,
		HistoryLimit: int(s.Config.Rollout.RevisionHistoryLimit),

		ProgressDeadline: s.Config.Rollout.ProgressDeadline.Duration,
		GatewayTolerance: gatewayTolerance,
	}
}

// collectProblem turns an error that a user must fix into a problem and returns any other one.
func (s *scope) collectProblem(err error) error {
	return s.collectProblems([]backend.WriteError{{Err: err}})
}

// collectProblems turns the errors that a user must fix into problems and returns the others.
func (s *scope) collectProblems(all []backend.WriteError) error {
	var transient []backend.WriteError
	for _, failed := range all {
		problem := problemOf(failed.Err)
		switch {
		case failed.Err == nil:
			continue
		case problem == nil:
			transient = append(transient, failed)
			continue
		case failed.HostRoute:
			s.hostProblem = problem
		case s.problem == nil:
			s.problem = problem
		}
		if needsRecheck(failed.Err, problem) {
			s.requeueAt(s.Clock.Now().Add(recheckPeriod))
		}
	}
	return backend.JoinErrors(transient)
}

// collectFindings adds the backend's findings to the notices. No watch reports their end.
func (s *scope) collectFindings() {
	if len(s.outcome.Findings) > 0 {
		s.notices = append(s.notices, s.outcome.Findings...)
		s.requeueAt(s.Clock.Now().Add(recheckPeriod))
	}
}

// awaitsGateway reports whether the gateway is expected to accept a route that was written within
// the settle period. The status is then not written yet, so that one change costs one write.
func (s *scope) awaitsGateway() bool {
	state := s.decision.State
	if state == nil || s.decision.Programmed && !s.awaitsHostRoute() || s.problem != nil || s.observed.RouteStatus.Refused {
		return false
	}
	// Ready is already True for this generation, but describes the previous route.
	ready := apimeta.FindStatusCondition(s.isvc.Status.Conditions, v1beta1.ConditionReady)
	if !s.decision.Programmed && s.isvc.Status.ObservedGeneration == s.isvc.Generation && ready != nil && ready.Status == metav1.ConditionTrue {
		return false
	}
	// The route may have been written by a replica whose clock is ahead of ours.
	elapsed := s.Clock.Since(state.ShiftedAt)
	if elapsed < 0 || elapsed >= s.Config.Rollout.SettlePeriod.Duration {
		return false
	}
	s.requeueAt(state.ShiftedAt.Add(s.Config.Rollout.SettlePeriod.Duration))
	return true
}

// tolerate returns the host route without the message that a changed Gateway has yet to report, for
// at most gatewayTolerance.
func (s *scope) tolerate(hostRoute *backend.HostRoute) *backend.HostRoute {
	if hostRoute == nil || !hostRoute.Open || hostRoute.Route.BehindSince.IsZero() {
		return hostRoute
	}
	until := hostRoute.Route.BehindSince.Add(gatewayTolerance)
	if !s.Clock.Now().Before(until) {
		return hostRoute
	}
	s.requeueAt(until)
	tolerated := *hostRoute
	tolerated.Route.Message = ""
	return &tolerated
}

// awaitsHostRoute reports whether the host route is expected to be accepted soon.
func (s *scope) awaitsHostRoute() bool {
	hostRoute := s.observed.HostRoute
	return hostRoute != nil && !hostRoute.Open && !hostRoute.Route.Refused && s.hostProblem == nil
}

// reportPersistent reports an error that has lasted, unless there is a problem that a user must
// fix.
func (s *scope) reportPersistent(ctx context.Context, err error) error {
	switch {
	case backend.IsAboutHostRoute(err):
		s.hostProblem = persistentProblem(err)
	case s.problem == nil:
		s.problem = persistentProblem(err)
	}
	return s.report(ctx)
}

// report writes the status if it differs and announces the differences.
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
		HostProblem:      s.hostProblem,
		Automation:       s.automation,
		Ignored:          predictor.IgnoredSettings(s.isvc, settings(s.Config, s.mode())),
	}
	if verdict, found := s.verdicts.get(s.isvc); found {
		report.Automation.Evidence = metricEvidence(verdict)
	}
	s.isvc.Status = status.For(report)
	if equality.Semantic.DeepEqual(before.Status, s.isvc.Status) {
		s.verdicts.Delete(client.ObjectKeyFromObject(s.isvc))
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
	s.announceStatus(report)
	s.announceHostProblem(before.Status, status.HostProblem(report))
	s.verdicts.Delete(client.ObjectKeyFromObject(s.isvc))
	return nil
}

// requeueAt requests a reconciliation at that time, or earlier.
func (s *scope) requeueAt(at time.Time) {
	if !at.IsZero() && (s.requeueTime.IsZero() || at.Before(s.requeueTime)) {
		s.requeueTime = at
	}
}

func (s *scope) requeueAfter() time.Duration {
	if s.requeueTime.IsZero() {
		return 0
	}
	// The rollout state stores times in milliseconds, so round up.
	return max(s.requeueTime.Sub(s.Clock.Now())+time.Millisecond, time.Millisecond)
}
