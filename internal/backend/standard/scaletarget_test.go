// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func scaledExternally(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, testkit.ReplicaBounds(1, 0), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
	c.backend.ScaleTargetsInstalled = func() bool { return true }
	c.settle()
	return c
}

func (c *cluster) scaleTarget() *scalingv1alpha1.ScaleTarget {
	c.T.Helper()
	target := &scalingv1alpha1.ScaleTarget{}
	c.Get(predictorName, target)
	return target
}

// scale sets the replicas of the ScaleTarget, as an autoscaler does that references it.
func (c *cluster) scale(replicas int32) {
	c.T.Helper()
	testkit.EditObject(c.Objects, predictorName, &scalingv1alpha1.ScaleTarget{}, func(target *scalingv1alpha1.ScaleTarget) { target.Spec.Replicas = replicas })
}

// scaleDeployment sets the replicas of a Deployment, as an autoscaler of one revision does.
func (c *cluster) scaleDeployment(n rollout.Number, replicas int32) {
	c.T.Helper()
	testkit.EditObject(c.Objects, deploymentName(isvcName, n), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

// standsFor checks the revision of the ScaleTarget, and its desired and current replicas.
func (c *cluster) standsFor(n rollout.Number, asked, running int32) {
	c.T.Helper()
	target, name := c.scaleTarget(), backend.RevisionName(isvcName, n)
	status := target.Status
	selector := "serving.kserve.io/inferenceservice=" + isvcName + ",serving.kserve.io/revision=" + name
	if status.Replicas == nil || status.RevisionName != name || status.Selector != selector ||
		target.Spec.Replicas != asked || *status.Replicas != running || c.replicas(n) != int(running) {
		c.T.Errorf("asked for %d, status %+v, want revision %d with %d of %d", target.Spec.Replicas, status, n, running, asked)
	}
}

// TestScaleTargetFollowsScaledDeployment until the ScaleTarget is scaled.
func TestScaleTargetFollowsScaledDeployment(t *testing.T) {
	c := scaledExternally(t)
	c.standsFor(1, 1, 1)
	target := c.scaleTarget()
	if owner := metav1.GetControllerOf(target); owner == nil || owner.UID != c.isvc().UID || target.Labels[v1beta1.LabelInferenceService] != isvcName {
		t.Errorf("owner %v, labels %v", owner, target.Labels)
	}
	for _, replicas := range []int32{4, 0, 4} {
		c.scaleDeployment(1, replicas)
		for _, w := range c.settle() {
			if w.Kind != scaleTargetKind {
				t.Errorf("writes %s", w)
			}
		}
		c.standsFor(1, replicas, replicas)
		if writes := c.settle(); len(writes) > 0 {
			t.Errorf("settled, it writes %v", writes)
		}
	}
}

// TestDeploymentFollowsScaleTarget once it is scaled: up, down, to zero, and to a number that was
// copied before.
func TestDeploymentFollowsScaleTarget(t *testing.T) {
	c := scaledExternally(t)
	for _, replicas := range []int32{4, 1, 0, 3, 2} {
		c.scale(replicas)
		c.settle()
		c.standsFor(1, replicas, replicas)
		if writes := c.settle(); len(writes) > 0 {
			t.Errorf("settled at %d, it writes %v", replicas, writes)
		}
	}

	c.scaleDeployment(1, 5)
	c.settle()
	c.standsFor(1, 2, 2)
}

// TestTwoAutoscalers, of the ScaleTarget and of a Deployment, cause only a few writes and are
// reported.
func TestTwoAutoscalers(t *testing.T) {
	c := scaledExternally(t)
	c.scale(2)
	c.settle()
	before := len(c.server.Writes)
	var contests []backend.Contest
	for range 20 {
		c.scaleDeployment(1, 5)
		observed, err := c.observe()
		c.Must(err)
		outcome, err := c.carryOut(observed, c.decide(observed))
		c.Must(err)
		contests = outcome.Contests
	}
	if wrote := len(c.server.Writes) - before; wrote > 5 {
		t.Errorf("it writes %d times: %v", wrote, c.server.Writes[before:])
	}
	if len(contests) != 1 || contests[0].Name != deploymentName(isvcName, 1) || contests[0].Field != "spec.replicas" {
		t.Errorf("reported are %+v", contests)
	}
}

// TestScaleTargetNameIsStable: an autoscaler keeps its reference across a promotion and a rollback.
func TestScaleTargetNameIsStable(t *testing.T) {
	c := scaledExternally(t)
	c.scale(4)
	c.rollOut("b", 10)
	c.standsFor(1, 4, 4)

	c.ask("b", -1)
	c.setUnresponsive(true)
	for range 5 {
		_, err := c.reconcile()
		c.Must(err)
		c.runControllers()
	}
	if got := c.served(); !got.Equal(rollout.All(2)) || c.replicas(2) != 5 {
		t.Fatalf("the split is %s on %d replicas", got, c.replicas(2))
	}
	c.standsFor(1, 4, 4) // The gateway has not accepted it.
	c.setUnresponsive(false)
	_, err := c.reconcile()
	c.Must(err)
	for c.runControllers() {
		_, err := c.reconcile()
		c.Must(err)
	}
	c.standsFor(2, 4, 5) // They are held during the shift.
	c.settle()
	c.standsFor(2, 4, 4)

	c.scale(6)
	c.settle()
	c.standsFor(2, 6, 6)
	c.rollOut("b", 0)
	c.standsFor(1, 6, 6)
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("settled, it writes %v", writes)
	}
}

func TestScaleTargetFollowsAutoscalerClass(t *testing.T) {
	c := scaledExternally(t)
	c.scale(3)
	c.settle()
	c.editSpec(testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "none"))
	c.settle()
	if c.Has(predictorName, &scalingv1alpha1.ScaleTarget{}) || c.replicas(1) != 1 {
		t.Errorf("it is still there, and revision 1 has %d replicas", c.replicas(1))
	}
	c.editSpec(testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
	c.settle()
	c.standsFor(1, 1, 1)
	c.scale(3)
	c.settle()
	c.editSpec(testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "keda"))
	c.inputs = "" // The spec cannot be resolved.
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("for a class that is not known it writes %v", writes)
	}
	c.standsFor(1, 3, 3)
}

// TestDeletedScaleTarget is created again, and then follows the Deployment.
func TestDeletedScaleTarget(t *testing.T) {
	c := scaledExternally(t)
	c.scale(3)
	c.settle()
	c.Remove(predictorName, &scalingv1alpha1.ScaleTarget{})
	c.settle()
	c.standsFor(1, 3, 3)
	c.scaleDeployment(1, 5)
	c.settle()
	c.standsFor(1, 5, 5)
}

// A stopped InferenceService restarts with the replicas of its ScaleTarget.
func TestStoppedServiceKeepsScaleTarget(t *testing.T) {
	c := scaledExternally(t)
	c.scale(3)
	c.settle()
	c.editSpec(testkit.Annotation(v1beta1.AnnotationStop, "true"))
	c.settle()
	if target := c.scaleTarget(); target.Spec.Replicas != 3 || *target.Status.Replicas != 0 {
		t.Errorf("stopped, it is %+v", target)
	}
	c.editSpec(testkit.Annotation(v1beta1.AnnotationStop, "false"))
	c.settle()
	c.standsFor(1, 3, 3)
}

// TestRefusedScaleTarget: the failure is reported and blocks nothing.
func TestRefusedScaleTarget(t *testing.T) {
	c := newCluster(t, testkit.ReplicaBounds(1, 0), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
	c.backend.ScaleTargetsInstalled = func() bool { return true }
	c.Must(c.server.Create(t.Context(), &scalingv1alpha1.ScaleTarget{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: predictorName}, Spec: scalingv1alpha1.ScaleTargetSpec{Replicas: 7},
	}))
	c.settle()
	if got := c.served(); !got.Equal(rollout.All(1)) || c.replicas(1) != 1 {
		t.Errorf("the split is %s on %d replicas", got, c.replicas(1))
	}
	observed, err := c.observe()
	c.Must(err)
	written, err := c.carryOut(observed, c.decide(observed))
	if target := c.scaleTarget(); err != nil || !hasFinding(written, ReasonScaleTargetMissing) || target.Spec.Replicas != 7 || len(target.Labels) > 0 {
		t.Errorf("error %v, reported %v, and the user's has become %+v", err, written.Findings, target)
	}
}

// TestClusterWithoutScaleTargets: autoscalers scale the Deployments.
func TestClusterWithoutScaleTargets(t *testing.T) {
	c := newCluster(t, testkit.ReplicaBounds(1, 0), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
	writes := c.settle()
	if slices.ContainsFunc(writes, func(w write) bool { return w.Kind == scaleTargetKind }) {
		t.Errorf("it writes %v", writes)
	}
	c.scaleDeployment(1, 3)
	if writes := c.settle(); len(writes) > 0 || c.replicas(1) != 3 {
		t.Errorf("it writes %v", writes)
	}
}

// TestUpgradeCreatesNoScaleTarget: it is created with the next change.
func TestUpgradeCreatesNoScaleTarget(t *testing.T) {
	c := scaledExternally(t)
	c.Remove(predictorName, &scalingv1alpha1.ScaleTarget{})
	state := encodeV1(c.rolloutState())
	testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(route *gatewayv1.HTTPRoute) {
		route.Annotations[objects.AnnotationState] = state
	})
	if writes := c.settle(); len(writes) > 0 || c.Has(predictorName, &scalingv1alpha1.ScaleTarget{}) {
		t.Errorf("it writes %v", writes)
	}
	c.rollOut("b", 10)
	c.standsFor(1, 1, 1)
}
