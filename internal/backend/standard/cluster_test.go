// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
	"github.com/serinus-io/serinus/internal/testkit/fakeserver"
)

type write = fakeserver.Write

// cluster is a fake API server with one InferenceService, and fakes of the other controllers.
type cluster struct {
	testkit.Objects

	server      *fakeserver.Server
	controllers *fakecluster.Cluster
	backend     *Backend
	policy      rollout.Policy
	now         time.Time
	inputs      string
}

func newCluster(t *testing.T, changes ...testkit.Edit) *cluster {
	t.Helper()
	c := &cluster{
		policy: rollout.Policy{DrainPeriod: 30 * time.Second, CapacityHold: 5 * time.Minute, HistoryLimit: 10},
		now:    testkit.Start,
		inputs: "a",
	}
	clock, scheme := testkit.NewClock(&c.now), newScheme(t)
	c.server = fakeserver.New(t, scheme, clock, slices.Concat(Children(), Peers(), []client.Object{Route(), ScaleTarget()}), testkit.NewInferenceService(changes...))
	c.Objects = testkit.Objects{T: t, Server: c.server, Namespace: namespace}
	c.controllers = fakecluster.New(c.server, fakecluster.Options{Clock: clock})
	c.backend = &Backend{
		Store:           objects.Store{Client: c.server.Client(), APIReader: c.server, Scheme: scheme, Now: clock.Now},
		Config:          newConfig(),
		RoutesInstalled: func() bool { return true },
	}
	return c
}

func (c *cluster) reconcile() (rollout.Decision, error) {
	c.T.Helper()
	observed, err := c.observe()
	if err != nil {
		return rollout.Decision{}, err
	}
	decision := c.decide(observed)
	return decision, c.applyDecision(observed, decision)
}

func (c *cluster) observe() (backendtest.Moment, error) {
	c.T.Helper()
	isvc := c.isvc()
	session, err := c.backend.Observe(c.T.Context(), isvc)
	if err != nil {
		return backendtest.Moment{}, err
	}
	return backendtest.At(session, isvc, v1beta1.DeploymentModeStandard, intent.Target{Hash: c.inputs}), nil
}

func (c *cluster) decide(observed backendtest.Moment) rollout.Decision {
	return rollout.Decide(observed.Snapshot, c.policy, c.now)
}

func (c *cluster) applyDecision(observed backendtest.Moment, decision rollout.Decision, edits ...func(*backend.Change)) error {
	c.T.Helper()
	_, err := c.carryOut(observed, decision, edits...)
	return err
}

// carryOut applies a decision, with edits to the change.
func (c *cluster) carryOut(observed backendtest.Moment, decision rollout.Decision, edits ...func(*backend.Change)) (backend.Outcome, error) {
	c.T.Helper()
	change := observed.Change(decision)
	if decision.Create {
		change.Revision = new(newRevision(func(r *backend.RenderedRevision) {
			r.Hash = c.inputs
			r.Runs.Template.Spec.Containers[0].Image = "server:" + c.inputs
		}))
	}
	for _, edit := range edits {
		edit(&change)
	}
	outcome := observed.Session.Apply(c.T.Context(), change)
	return outcome, outcome.Err()
}

// settle reconciles, and lets the other controllers catch up, until there are no more writes and
// nothing to wait for. It returns the writes.
func (c *cluster) settle() []write {
	c.T.Helper()
	before := len(c.server.Writes)
	backendtest.Settle(c.T, &c.now, func() int { return len(c.server.Writes) }, c.runControllers, func() (time.Time, error) {
		decision, err := c.reconcile()
		c.Must(err)
		return decision.WakeAt, nil
	})
	return c.server.Writes[before:]
}

// rollOut sets the inputs and the percent of the spec, and settles; a negative percent stands for
// an absent one.
func (c *cluster) rollOut(inputs string, percent int64) []write {
	c.T.Helper()
	c.ask(inputs, percent)
	return c.settle()
}

func (c *cluster) ask(inputs string, percent int64) {
	c.T.Helper()
	c.inputs = inputs
	c.editSpec(func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.CanaryTrafficPercent = nil
		if percent >= 0 {
			isvc.Spec.Predictor.CanaryTrafficPercent = &percent
		}
	})
}

func (c *cluster) isvc() *v1beta1.InferenceService {
	c.T.Helper()
	isvc := &v1beta1.InferenceService{}
	c.Get(isvcName, isvc)
	return isvc
}

func (c *cluster) editSpec(edit func(*v1beta1.InferenceService)) {
	c.T.Helper()
	isvc := c.isvc()
	edit(isvc)
	c.Must(c.server.Update(c.T.Context(), isvc))
}

// runControllers runs the other controllers: pods and endpoints are updated, and the gateway
// accepts routes. It reports whether anything changed.
func (c *cluster) runControllers() bool {
	c.T.Helper()
	changed, err := c.controllers.Step(c.T.Context())
	c.Must(err)
	return changed
}

// setUnready sets whether the pods of a revision fail to become ready.
func (c *cluster) setUnready(n rollout.Number, unready bool) {
	behavior := fakecluster.Ready()
	if unready {
		behavior = fakecluster.NotReady()
	}
	c.controllers.Workloads.SetBehavior(types.NamespacedName{Namespace: namespace, Name: deploymentName(isvcName, n)}, behavior)
}

// setUnresponsive sets whether the gateway accepts nothing.
func (c *cluster) setUnresponsive(unresponsive bool) {
	behavior := fakecluster.Accepting()
	if unresponsive {
		behavior = fakecluster.Unresponsive()
	}
	c.controllers.Gateway.SetBehavior(types.NamespacedName{Namespace: namespace}, behavior)
}

// pods returns the pods of a revision.
func (c *cluster) pods(n rollout.Number) []corev1.Pod {
	c.T.Helper()
	var list corev1.PodList
	c.Must(c.server.List(c.T.Context(), &list, client.InNamespace(namespace), client.MatchingLabels{v1beta1.LabelRevision: backend.RevisionName(isvcName, n)}))
	return list.Items
}

func newPod(n rollout.Number, name string, ready bool) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels: map[string]string{v1beta1.LabelInferenceService: isvcName, v1beta1.LabelRevision: backend.RevisionName(isvcName, n)},
	}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	if ready {
		pod.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	return pod
}

func (c *cluster) route() *gatewayv1.HTTPRoute {
	c.T.Helper()
	route := &gatewayv1.HTTPRoute{}
	c.Get(isvcName, route)
	return route
}

func (c *cluster) served() rollout.Split {
	c.T.Helper()
	return splitOf(c.isvc(), c.route())
}

func (c *cluster) rolloutState() rollout.State {
	c.T.Helper()
	state, err := rollout.DecodeState(c.route().Annotations[objects.AnnotationState])
	c.Must(err)
	return state
}

func (c *cluster) report(state rollout.State) {
	c.T.Helper()
	name := func(n rollout.Number) string {
		if n == 0 {
			return ""
		}
		return backend.RevisionName(isvcName, n)
	}
	component := v1beta1.ComponentStatusSpec{
		LatestRolledoutRevision: name(state.Stable), PreviousRolledoutRevision: name(state.Previous), LatestCreatedRevision: name(state.Target),
	}
	for _, share := range state.Split.Shares() {
		component.Traffic = append(component.Traffic, v1beta1.TrafficTarget{
			RevisionName: name(share.Revision), Percent: new(int64(share.Percent)),
		})
	}
	isvc := c.isvc()
	isvc.Status.Components = map[v1beta1.ComponentType]v1beta1.ComponentStatusSpec{v1beta1.PredictorComponent: component}
	c.Must(c.server.Status().Update(c.T.Context(), isvc))
}

func (c *cluster) replicas(n rollout.Number) int {
	c.T.Helper()
	deployment := &appsv1.Deployment{}
	c.Get(deploymentName(isvcName, n), deployment)
	return int(*deployment.Spec.Replicas)
}

func (c *cluster) names(list client.ObjectList) []string {
	c.T.Helper()
	var names []string
	for _, object := range c.List(list) {
		names = append(names, object.GetName())
	}
	return names
}

func formatWrites(writes []write) string {
	var lines strings.Builder
	for _, w := range writes {
		fmt.Fprintln(&lines, w)
	}
	return lines.String()
}

func hasFinding(outcome backend.Outcome, reason string) bool {
	return slices.ContainsFunc(outcome.Findings, func(finding backend.Finding) bool { return finding.Reason == reason && finding.Message != "" })
}
