// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

var failures = []error{
	apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "x", errors.New("object was modified")),
	apierrors.NewTooManyRequests("slow down", 1),
	apierrors.NewInternalError(errors.New("etcd is down")),
	apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("a policy says no")),
	apierrors.NewInvalid(schema.GroupKind{Kind: "Thing"}, "x", nil),
}

type step struct {
	inputs  string
	percent int64
}

// script is a rollout with every kind of transition.
var script = []step{{"a", -1}, {"b", 10}, {"b", -1}, {"b", 0}, {"c", 20}, {"b", 20}, {"c", -1}}

// fault is an injected failure of a write, by its number from 1. The write fails before it is
// stored or, with a lost response, after.
type fault struct {
	number int
	err    error
	lost   bool
}

type player struct {
	*cluster
	fault  fault
	wrote  int
	failed bool
	// serves is the split that the gateway serves: that of the route it has accepted last.
	serves rollout.Split
}

func newPlayer(t *testing.T, fault fault) *player {
	t.Helper()
	p := &player{fault: fault}
	p.cluster = newCluster(t, testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true"), testkit.ReplicaBounds(1, 3))
	p.backend.Config = newConfig(localGateway)
	p.server.Intercept = p.write
	return p
}

func (p *player) write(w write, do func() error) error {
	p.T.Helper()
	p.wrote++
	p.failed = p.wrote == p.fault.number
	if p.failed && !p.fault.lost {
		return p.fault.err
	}
	if err := do(); err != nil {
		return err
	}
	p.checkRequests(w)
	if p.failed {
		return p.fault.err
	}
	return nil
}

func (p *player) play(step step) {
	p.T.Helper()
	p.ask(step.inputs, step.percent)
	backendtest.Settle(p.T, &p.now, func() int { return p.wrote }, p.catchUp, func() (time.Time, error) {
		before := p.wrote
		p.failed = false
		decision, err := p.reconcile()
		failed := p.fault.number > before && p.fault.number <= p.wrote
		if failed != (err != nil) || failed && !errors.Is(err, p.fault.err) {
			p.T.Fatalf("write %d, %v: error is %v", p.wrote, p.server.Writes[len(p.server.Writes)-1], err)
		}
		return decision.WakeAt, nil
	})
}

func (p *player) catchUp() bool {
	p.T.Helper()
	moved := p.runControllers()
	if p.Has(isvcName, &gatewayv1.HTTPRoute{}) {
		p.serves = p.served()
	}
	return moved
}

// checkRequests checks that every request still reaches a ready revision.
func (p *player) checkRequests(after write) {
	p.T.Helper()
	var written rollout.Split
	if p.Has(isvcName, &gatewayv1.HTTPRoute{}) {
		written = p.served()
		if state := p.rolloutState(); !state.Split.Equal(written) || written.IsEmpty() {
			p.T.Errorf("after %v: the rollout state says %v and the route %v", after, state.Split, written)
		}
	}
	for _, split := range []rollout.Split{written, p.serves} {
		for _, share := range split.Shares() {
			if share.Percent > 0 && !p.canServe(share.Revision) {
				p.T.Errorf("after %v: %v is served, and revision %d is not there", after, split, share.Revision)
			}
		}
	}
}

func (p *player) canServe(n rollout.Number) bool {
	p.T.Helper()
	deployment := &appsv1.Deployment{}
	return p.Has(deploymentName(isvcName, n), deployment) && *deployment.Spec.Replicas > 0 &&
		p.Has(backend.RevisionName(isvcName, n), &corev1.Service{})
}

func (c *cluster) state() map[string]any {
	c.T.Helper()
	state := map[string]any{}
	for _, list := range []client.ObjectList{
		&appsv1.ControllerRevisionList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{}, &gatewayv1.HTTPRouteList{},
		&autoscalingv2.HorizontalPodAutoscalerList{}, &corev1.PodList{},
	} {
		for i, object := range c.List(list) {
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
			c.Must(err)
			delete(content, "status")
			metadata := content["metadata"].(map[string]any)
			for _, key := range []string{"resourceVersion", "generation", "uid", "creationTimestamp"} {
				delete(metadata, key)
			}
			if annotations, ok := metadata["annotations"].(map[string]any); ok {
				delete(annotations, annotationScaledUpAt)
			}
			if route, ok := object.(*gatewayv1.HTTPRoute); ok && route.Name == isvcName {
				state := c.rolloutState()
				state.ServedBefore, state.ShiftedAt, state.AskedAt = rollout.Split{}, time.Time{}, time.Time{} // The times and the path to this state may differ.
				state.Routed, state.LostAt = nil, time.Time{}
				metadata["annotations"] = state
			}
			name := object.GetName()
			if owner := metav1.GetControllerOf(object); owner != nil && owner.Kind == "Deployment" {
				// The pods' own names and owners differ once the Deployment was created again.
				delete(metadata, "name")
				delete(metadata, "ownerReferences")
				name = fmt.Sprintf("%s-%d", owner.Name, i)
			}
			state[fmt.Sprintf("%T %s", object, name)] = content
		}
	}
	return state
}

func stateDiff(want, got map[string]any) string { return cmp.Diff(want, got) }

// TestAnyWriteMayFail fails each write of a rollout in turn. The next reconciliations must reach
// the same result as without failures, and no request may fail in between.
func TestAnyWriteMayFail(t *testing.T) {
	undisturbed := newPlayer(t, fault{})
	number := 0
	for i, step := range script {
		undisturbed.play(step)
		want := undisturbed.state()
		for number < undisturbed.wrote {
			number++
			refused := fault{number: number, err: failures[number%len(failures)]}
			lost := fault{number: number, err: context.DeadlineExceeded, lost: true}
			for name, fault := range map[string]fault{"is refused": refused, "is done and its answer lost": lost} {
				if testing.Short() && number%3 != 0 {
					continue
				}
				t.Run(fmt.Sprintf("write %d, %v, %s", number, undisturbed.server.Writes[number-1], name), func(t *testing.T) {
					t.Parallel()
					p := newPlayer(t, fault)
					for _, step := range script[:i+1] {
						p.play(step)
					}
					if diff := stateDiff(want, p.state()); diff != "" {
						t.Errorf("after %v it gets elsewhere (-want +got):\n%s", fault.err, diff)
					}
				})
			}
		}
	}
}

// TestIndependentStepsContinue: a refused target must not keep a superseded canary in the traffic.
func TestIndependentStepsContinue(t *testing.T) {
	for _, kind := range []string{"ControllerRevision", "Service", "Deployment"} {
		t.Run("the "+kind+" of the target is refused", func(t *testing.T) {
			c := newCanary(t)
			c.server.Intercept = func(w write, do func() error) error {
				if w.Kind == kind && strings.HasPrefix(w.Name, "sklearn-iris-predictor-00003") {
					return failures[4]
				}
				return do()
			}
			before := len(c.server.Writes)
			c.ask("c", 10)
			for range 8 {
				decision, err := c.reconcile()
				if !errors.Is(err, failures[4]) {
					t.Fatalf("error is %v", err)
				}
				c.runControllers()
				if !decision.WakeAt.IsZero() {
					c.now = decision.WakeAt
				}
			}
			if got, want := c.served(), rollout.All(1); !got.Equal(want) {
				t.Errorf("split is %v, want %v", got, want)
			}
			routes := 0
			for _, w := range c.server.Writes[before:] {
				if w == (write{Verb: "apply", Kind: "HTTPRoute", Name: isvcName}) {
					routes++
				}
			}
			if routes > 1 {
				t.Errorf("the route is written %d times", routes)
			}
			if c.Has(deploymentName(isvcName, 2), &appsv1.Deployment{}) {
				t.Error("the superseded canary does not retire")
			}

			c.server.Intercept = nil
			c.settle()
			if got, want := c.served(), split(t, 3, 10, 1, 90); !got.Equal(want) {
				t.Errorf("split is %v once the cause is gone, want %v", got, want)
			}
		})
	}

	t.Run("the target cannot be rendered", func(t *testing.T) {
		c := newCanary(t)
		c.ask("c", 10)
		observed, err := c.observe()
		c.Must(err)
		outcome, err := c.carryOut(observed, c.decide(observed), func(change *backend.Change) { change.Revision = nil })
		if err != nil || outcome.Target {
			t.Fatalf("the target is created: %t, error is %v", outcome.Target, err)
		}
		if got, want := c.served(), rollout.All(1); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
		if c.Has(backend.RevisionName(isvcName, 3), &corev1.Service{}) {
			t.Error("a revision that nothing is known of has a Service")
		}
	})

	t.Run("a refused workload does not block the repair of another", func(t *testing.T) {
		c := newCanary(t)
		for _, n := range []rollout.Number{1, 2} {
			testkit.EditObject(c.Objects, deploymentName(isvcName, n), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = new(int32(1)) })
		}
		c.server.Intercept = func(w write, do func() error) error {
			if w.Name == deploymentName(isvcName, 1) {
				return failures[2]
			}
			return do()
		}
		if _, err := c.reconcile(); !errors.Is(err, failures[2]) {
			t.Fatalf("error is %v", err)
		}
		deployment := &appsv1.Deployment{}
		c.Get(deploymentName(isvcName, 2), deployment)
		if got := *deployment.Spec.ProgressDeadlineSeconds; got != 600 {
			t.Errorf("deadline is %d", got)
		}
	})

	t.Run("nothing retires on a route that could not be written", func(t *testing.T) {
		c := newCanary(t)
		c.server.Intercept = func(w write, do func() error) error {
			if w == (write{Verb: "apply", Kind: "HTTPRoute", Name: isvcName}) {
				return failures[2]
			}
			return do()
		}
		c.ask("b", -1)
		for range 5 {
			if _, err := c.reconcile(); !errors.Is(err, failures[2]) {
				t.Fatalf("error is %v", err)
			}
			c.runControllers()
			c.now = c.now.Add(c.policy.DrainPeriod)
		}
		if got := c.replicas(1); got == 0 {
			t.Error("revision 1 is scaled down, and has 90 %")
		}
	})
}
