// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/pods"
	"github.com/serinus-io/serinus/internal/backend/standard"
	"github.com/serinus-io/serinus/internal/config"
	"github.com/serinus-io/serinus/internal/metrics"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// operator runs a reconciler of one InferenceService with a fake backend.
type operator struct {
	t          *testing.T
	reconciler *Reconciler
	server     client.WithWatch
	backend    *fakeBackend
	clock      *clocktesting.FakePassiveClock
	recorder   *events.FakeRecorder
	registry   *prometheus.Registry
	// statusWrites counts the writes of the status. A non-nil patchErr is their result.
	statusWrites int
	patchErr     error
}

func newOperator(t *testing.T, changes ...testkit.Edit) *operator {
	t.Helper()
	isvc := testkit.NewInferenceService(slices.Concat([]testkit.Edit{testkit.Image("v1")}, changes)...)
	o := &operator{
		t:        t,
		backend:  newFakeBackend(),
		clock:    clocktesting.NewFakePassiveClock(testkit.Start),
		recorder: events.NewFakeRecorder(100),
		registry: prometheus.NewPedanticRegistry(),
	}
	m, err := metrics.New(o.registry, metrics.Options{FailureReasons: pods.Reasons(), Rollouts: func() map[v1beta1.Phase]int { return nil }, Waiting: func() map[v1beta1.TrialWait]int { return nil }})
	o.must(err)
	o.server = newServer(t, isvc)
	o.reconciler = &Reconciler{
		Client:    interceptor.NewClient(o.server, interceptor.Funcs{SubResourcePatch: o.patchStatus}),
		APIReader: o.server,
		Backends:  map[v1beta1.DeploymentMode]Backend{v1beta1.DeploymentModeStandard: o.backend, v1beta1.DeploymentModeKnative: o.backend},
		Config:    config.Default(),
		Recorder:  o.recorder,
		Metrics:   m,
		Clock:     o.clock,
		Account:   AccountOr("", ""),
	}
	return o
}

func newServer(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1beta1.InferenceService{}).
		WithIndex(&v1beta1.InferenceService{}, indexByHost, hostsOf(config.Default().Ingress)).Build()
}

func (o *operator) patchStatus(
	ctx context.Context, server client.Client, subResource string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption,
) error {
	o.statusWrites++
	if o.patchErr != nil {
		return o.patchErr
	}
	return server.SubResource(subResource).Patch(ctx, object, patch, options...)
}

func (o *operator) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *operator) isvc() *v1beta1.InferenceService {
	o.t.Helper()
	isvc := &v1beta1.InferenceService{}
	o.must(o.server.Get(o.t.Context(), client.ObjectKey{Namespace: testkit.Namespace, Name: testkit.Name}, isvc))
	return isvc
}

// edit changes the InferenceService and its generation, as a user does.
func (o *operator) edit(edit func(*v1beta1.InferenceService)) {
	o.t.Helper()
	isvc := o.isvc()
	edit(isvc)
	isvc.Generation++
	o.must(o.server.Update(o.t.Context(), isvc))
}

func withModel(image string, percent *int64) func(*v1beta1.InferenceService) {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers[0].Image = image
		isvc.Spec.Predictor.CanaryTrafficPercent = percent
	}
}

// reconcile runs one reconciliation that must succeed.
func (o *operator) reconcile() ctrl.Result {
	o.t.Helper()
	result, err := o.reconciler.Reconcile(o.t.Context(), o.isvc())
	o.must(err)
	return result
}

// settle reconciles until nothing changes. Meanwhile pods start and the gateway accepts the route.
func (o *operator) settle() {
	o.t.Helper()
	for range 20 {
		before := o.statusWrites
		o.reconcile()
		if moved := o.backend.catchUp(); !moved && o.statusWrites == before {
			return
		}
	}
	o.t.Fatal("the status still changes after 20 reconciliations")
}

// rollOut changes the model and the percent, and reconciles until nothing changes.
func (o *operator) rollOut(image string, percent *int64) {
	o.t.Helper()
	o.edit(withModel(image, percent))
	o.settle()
}

// newEvents returns the events since the last call.
func (o *operator) newEvents() []string {
	var all []string
	for {
		select {
		case event := <-o.recorder.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}

func (o *operator) condition(kind string) metav1.Condition {
	o.t.Helper()
	for _, condition := range o.isvc().Status.Conditions {
		if condition.Type == kind {
			return condition
		}
	}
	o.t.Fatalf("there is no condition %s", kind)
	return metav1.Condition{}
}

// fakeBackend keeps its objects in memory and applies changes at once.
type fakeBackend struct {
	revisions []rollout.Revision
	recorded  map[rollout.Number]backend.HistoryEntry
	details   map[rollout.Number]backend.RevisionStatus
	state     *rollout.State
	accepted  bool
	refused   *backend.RouteStatus
	hostRoute *backend.HostRoute
	created   time.Time

	// failing holds the revisions that do not become ready, each with its failure or nil.
	failing map[rollout.Number]*backend.Failure
	// unresponsive is set for a gateway that accepts no route.
	unresponsive bool
	// behindSince is when the Gateway was changed, until it has reported its new generation.
	behindSince time.Time
	// routeChanged makes the next Apply change the route without changing the split.
	routeChanged bool
	// url overrides the URL of the InferenceService.
	url string
	// hosts are the hosts of the routes. unusable are the hosts that Apply must not use.
	hosts    []string
	unusable map[string]bool

	observeErr, createErr, routeErr, hostRouteErr error
	// otherErr is an error of Apply, or several joined ones.
	otherErr error
	// findings are returned by Apply.
	findings []backend.Finding
	// checkErr is the result of Check.
	checkErr error
	// amended are the amendments that were applied.
	amended []backend.Amended
	// mode is the mode in which objects exist.
	mode v1beta1.DeploymentMode
	// wakeAt is when the observation changes with time alone.
	wakeAt time.Time
	// contests are returned by Apply.
	contests []backend.Contest
	// decisions are the decisions that were applied.
	decisions []rollout.Decision
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{
		recorded: map[rollout.Number]backend.HistoryEntry{}, details: map[rollout.Number]backend.RevisionStatus{},
		failing: map[rollout.Number]*backend.Failure{}, created: testkit.Start,
	}
}

func (f *fakeBackend) Unsupported(isvc *v1beta1.InferenceService) (field, message string) {
	return (&standard.Backend{}).Unsupported(isvc)
}

func (f *fakeBackend) Check(*v1beta1.InferenceService, predictor.RuntimeRef, *corev1.PodSpec) error {
	return f.checkErr
}

func (f *fakeBackend) Observe(context.Context, *v1beta1.InferenceService) (backend.Session, error) {
	if f.observeErr != nil {
		return nil, f.observeErr
	}
	observed := &backend.Observation{
		Revisions: slices.Clone(f.revisions), History: maps.Clone(f.recorded), Details: maps.Clone(f.details),
		Route:       rollout.Route{State: f.state, Accepted: f.accepted, TagsAccepted: true},
		RouteStatus: backend.RouteStatus{Exists: f.state != nil},
		Addresses:   backend.Addresses{URL: "http://sklearn-iris", Predictor: "http://sklearn-iris-predictor", Tag: func(tag string) string { return "http://" + tag }},
		Hosts:       f.hosts, HostRoute: f.hostRoute, Mode: f.mode, WakeAt: f.wakeAt,
	}
	if f.state != nil {
		observed.Route.Split = f.state.Split
	}
	if f.refused != nil {
		observed.RouteStatus = *f.refused
	}
	if !f.behindSince.IsZero() && f.accepted {
		observed.Route.Accepted, observed.Route.BehindSince = false, f.behindSince
		observed.RouteStatus.Message = "waiting for the Gateway"
	}
	if f.url != "" {
		observed.Addresses.URL = f.url
	}
	return fakeSession{f, observed}, nil
}

type fakeSession struct {
	*fakeBackend
	observed *backend.Observation
}

func (f fakeSession) Observation() *backend.Observation { return f.observed }

func (f fakeSession) Apply(_ context.Context, change backend.Change) backend.Outcome {
	decision := change.Decision
	f.decisions, f.unusable = append(f.decisions, decision), change.UnusableHosts
	outcome := backend.Outcome{Findings: f.findings, Contests: f.contests}
	f.amend(change.Amended)
	if change.Revision != nil && f.createErr == nil {
		f.create(decision.Target, *change.Revision)
		outcome.Target = true
	}
	for _, plan := range decision.Workloads {
		f.plan(plan)
	}
	if f.routeChanged {
		f.routeChanged, f.accepted, outcome.RouteChanged = false, false, true
	}
	if decision.State != nil && f.routeErr == nil {
		f.accepted = f.accepted && f.state != nil && f.state.Split.Equal(decision.State.Split)
		f.state = decision.State
		outcome.Route = true
	}
	outcome.Fail(f.createErr, f.routeErr)
	outcome.Fail(separate(f.otherErr)...)
	if f.hostRouteErr != nil {
		outcome.Errors = append(outcome.Errors, backend.WriteError{Err: f.hostRouteErr, HostRoute: true})
	}
	return outcome
}

// separate returns the errors that were joined.
func separate(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, inner := range joined.Unwrap() {
		all = append(all, separate(inner)...)
	}
	return all
}

func (f *fakeBackend) create(n rollout.Number, revision backend.RenderedRevision) {
	f.revisions = append(f.revisions, rollout.Revision{Number: n, Hash: revision.Hash, InHistory: true, Workloads: rollout.WorkloadsOf(&rollout.Workload{Replicas: 1, Pods: 1})})
	f.recorded[n] = backend.HistoryEntry{
		Identity: revision.Runs.Identity, Runtime: revision.Runs.Runtime, Created: f.created,
		User: revision.User, Template: &revision.Runs.Template,
	}
	f.details[n] = backend.RevisionStatus{State: v1beta1.Loading, Pods: 1}
}

func (f *fakeBackend) amend(amended *backend.Amended) {
	if amended == nil {
		return
	}
	f.amended = append(f.amended, *amended)
	recorded := f.recorded[amended.Revision]
	revision := backend.RenderedRevision{Runs: predictor.Revision{Identity: recorded.Identity, Template: *recorded.Template}, User: recorded.User}
	revision.Amend(amended.Amendment)
	recorded.Identity, recorded.Template, recorded.User = revision.Runs.Identity, &revision.Runs.Template, revision.User
	f.recorded[amended.Revision] = recorded
}

func (f *fakeBackend) plan(plan rollout.WorkloadPlan) {
	for i := range f.revisions {
		switch {
		case f.revisions[i].Number != plan.Revision:
		case plan.Action == rollout.Run && f.revisions[i].Workloads[rollout.Predictor] == nil:
			f.revisions[i].Workloads = rollout.WorkloadsOf(&rollout.Workload{Replicas: 1, Pods: 1})
		case plan.Action == rollout.ScaleDown, plan.Action == rollout.Delete:
			f.revisions[i].Workloads = nil
			delete(f.details, plan.Revision)
		}
	}
}

// catchUp makes pods ready or failed, and the gateway accept the route. It reports whether anything
// changed.
func (f *fakeBackend) catchUp() bool {
	moved := false
	for i, revision := range f.revisions {
		if revision.Workloads[rollout.Predictor] == nil {
			continue
		}
		detail, ready := backend.RevisionStatus{State: v1beta1.Loaded, Pods: 1}, 1
		if failure, failing := f.failing[revision.Number]; failing {
			detail.State, ready = v1beta1.Loading, 0
			if failure != nil {
				detail.State, detail.Failure, detail.FailedPods = v1beta1.FailedToLoad, failure, 1
			}
		}
		moved = moved || revision.Workloads[rollout.Predictor].Ready != ready || f.details[revision.Number].State != detail.State
		f.revisions[i].Workloads = rollout.WorkloadsOf(&rollout.Workload{Ready: ready, Replicas: 1, Pods: 1, Failed: detail.Failure != nil})
		f.details[revision.Number] = detail
	}
	if f.state != nil && !f.accepted && !f.unresponsive {
		f.accepted, moved = true, true
	}
	return moved
}
