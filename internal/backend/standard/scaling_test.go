// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"fmt"
	"math"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/intent"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

func TestBoundsOfReplicas(t *testing.T) {
	unbounded := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MinReplicas = nil }
	class := func(class string) testkit.Edit {
		return testkit.Annotation(v1beta1.AnnotationAutoscalerClass, class)
	}
	for name, test := range map[string]struct {
		given          []testkit.Edit
		want           rollout.Bounds
		wantAutoscaler bool
	}{
		"nothing is said":          {given: []testkit.Edit{unbounded}, want: rollout.Bounds{Min: 1, Max: 1}},
		"a minimum":                {given: []testkit.Edit{testkit.ReplicaBounds(3, 0)}, want: rollout.Bounds{Min: 3, Max: 3}},
		"a minimum of 0 is 1":      {given: []testkit.Edit{testkit.ReplicaBounds(0, 0)}, want: rollout.Bounds{Min: 1, Max: 1}},
		"a minimum and a maximum":  {given: []testkit.Edit{testkit.ReplicaBounds(2, 5)}, want: rollout.Bounds{Min: 2, Max: 5}, wantAutoscaler: true},
		"from 0 to 1":              {given: []testkit.Edit{testkit.ReplicaBounds(0, 1)}, want: rollout.Bounds{Min: 1, Max: 1}},
		"from 0 to 2":              {given: []testkit.Edit{testkit.ReplicaBounds(0, 2)}, want: rollout.Bounds{Min: 1, Max: 2}, wantAutoscaler: true},
		"both are the same":        {given: []testkit.Edit{testkit.ReplicaBounds(4, 4)}, want: rollout.Bounds{Min: 4, Max: 4}},
		"only a maximum":           {given: []testkit.Edit{unbounded, func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MaxReplicas = 3 }}, want: rollout.Bounds{Min: 1, Max: 3}, wantAutoscaler: true},
		"the class is hpa":         {given: []testkit.Edit{testkit.ReplicaBounds(2, 5), class("hpa")}, want: rollout.Bounds{Min: 2, Max: 5}, wantAutoscaler: true},
		"the class is none":        {given: []testkit.Edit{testkit.ReplicaBounds(2, 5), class("none")}, want: rollout.Bounds{Min: 2, Max: 2}},
		"the class is external":    {given: []testkit.Edit{testkit.ReplicaBounds(2, 5), class("external")}, want: rollout.Bounds{Min: 2, Max: 5, ScaledExternally: true}},
		"external, unbounded":      {given: []testkit.Edit{testkit.ReplicaBounds(2, 0), class("external")}, want: rollout.Bounds{Min: 2, Max: math.MaxInt32, ScaledExternally: true}},
		"an older object is mad":   {given: []testkit.Edit{testkit.ReplicaBounds(-3, -1)}, want: rollout.Bounds{Min: 1, Max: 1}},
		"an older object is upset": {given: []testkit.Edit{testkit.ReplicaBounds(5, 2)}, want: rollout.Bounds{Min: 5, Max: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			got := scalingOf(testkit.NewInferenceService(test.given...))
			if got.bounds != test.want || got.autoscaled() != test.wantAutoscaler {
				t.Errorf("bounds are %+v, autoscaled: %t; want %+v, %t", got.bounds, got.autoscaled(), test.want, test.wantAutoscaler)
			}
		})
	}
}

func scalingOf(isvc *v1beta1.InferenceService) scaling {
	return scalingFor(isvc, intent.Bounds(isvc, v1beta1.DeploymentModeStandard))
}

func TestReplicasOfADeployment(t *testing.T) {
	external := testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external")
	for name, test := range map[string]struct {
		scaling        scaling
		current, floor int
		raise          bool
		want           int
	}{
		"a new one":                                          {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 0))), 0, 2, false, 2},
		"manually scaled up":                                 {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 0))), 7, 2, false, 2},
		"manually scaled down":                               {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 0))), 1, 2, false, 2},
		"a new one that is autoscaled":                       {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9))), 0, 3, false, 3},
		"the autoscaler wants more":                          {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9))), 7, 3, false, 7},
		"the autoscaler wants less than the traffic":         {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9))), 2, 3, false, 3},
		"an autoscaler of the user's own wants none":         {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9), external)), 0, 2, false, 0},
		"a share needs more than the user's own autoscaler":  {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9), external)), 1, 4, true, 4},
		"an autoscaler of the user's own wants more":         {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9), external)), 20, 2, false, 20},
		"an autoscaler of the user's own wants less than so": {scalingOf(testkit.NewInferenceService(testkit.ReplicaBounds(2, 9), external)), 1, 2, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.scaling.replicas(test.current, rollout.WorkloadPlan{MinReplicas: test.floor, Raise: test.raise}); got != test.want {
				t.Errorf("%d replicas, want %d", got, test.want)
			}
		})
	}
}

func TestAutoscalerFollowsBounds(t *testing.T) {
	c := newCluster(t, testkit.ReplicaBounds(1, 3))
	c.settle()
	name := backend.RevisionName(isvcName, 1)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	c.Get(name, hpa)

	// The autoscaler's choice is kept.
	testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(2)) })
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("against the autoscaler it writes %v", writes)
	}

	c.editSpec(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.MaxReplicas = 5 })
	c.settle()
	c.Get(name, hpa)
	if hpa.Spec.MaxReplicas != 5 {
		t.Errorf("maximum is %d", hpa.Spec.MaxReplicas)
	}

	c.editSpec(testkit.ReplicaBounds(2, 2))
	c.settle()
	if c.Has(name, hpa) {
		t.Error("it is still there though there is nothing to scale")
	}
	if got := c.replicas(1); got != 2 {
		t.Errorf("%d replicas", got)
	}
}

// TestAnExternalAutoscalerIsLeftAlone, even if it scales to zero.
func TestAnExternalAutoscalerIsLeftAlone(t *testing.T) {
	c := newCluster(t, testkit.ReplicaBounds(1, 5), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
	c.settle()
	for _, replicas := range []int32{0, 3, 1, 0} {
		testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
		if writes := c.settle(); len(writes) > 0 || c.replicas(1) != int(replicas) {
			t.Errorf("%d replicas become %d, with the writes %v", replicas, c.replicas(1), writes)
		}
	}
}

// TestAnExternalAutoscalerIsRaisedForAShare: a promotion from four replicas raises the receiver to
// what the traffic needs, holds it for a while, and gives in to an autoscaler that keeps lowering
// it.
func TestAnExternalAutoscalerIsRaisedForAShare(t *testing.T) {
	scaleTo := func(c *cluster, n rollout.Number, replicas int32) {
		testkit.EditObject(c.Objects, deploymentName(isvcName, n), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
	}
	canary := func(t *testing.T) *cluster {
		c := newCluster(t, testkit.ReplicaBounds(1, 0), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "external"))
		c.settle()
		scaleTo(c, 1, 4)
		c.ask("b", 10)
		c.settle()
		return c
	}
	t.Run("it gives in", func(t *testing.T) {
		c := canary(t)
		c.ask("b", -1)
		c.settle()
		if got := c.served(); !got.Equal(rollout.All(2)) || c.replicas(2) < 4 {
			t.Errorf("the split is %s on %d replicas", got, c.replicas(2))
		}
		c.now = c.now.Add(c.policy.CapacityHold)
		c.settle()
		scaleTo(c, 2, 2)
		if writes := c.settle(); len(writes) > 0 || c.replicas(2) != 2 {
			t.Errorf("after the hold its %d replicas are written: %v", c.replicas(2), writes)
		}
	})
	t.Run("it does not", func(t *testing.T) {
		c := canary(t)
		c.ask("b", -1)
		writes := len(c.server.Writes)
		for range 10 {
			_, err := c.reconcile()
			c.Must(err)
			scaleTo(c, 2, 1) // Before a pod exists.
		}
		if raised := len(c.server.Writes) - writes; raised > 4 || c.served().String() != "2:10 1:90" {
			t.Errorf("%d writes against it, and the split is %s", raised, c.served())
		}
		if decision, err := c.reconcile(); err != nil || decision.HeldBack == nil {
			t.Errorf("nothing is said of it: %v", err)
		}
	})
}

// TestAMalformedAutoscalerClass is reported and leaves the replicas unchanged, because the intended
// autoscaler is unknown.
func TestAMalformedAutoscalerClass(t *testing.T) {
	for _, class := range []string{"hpa", "external", "none"} {
		t.Run(class, func(t *testing.T) {
			c := newCluster(t, testkit.ReplicaBounds(1, 5), testkit.Annotation(v1beta1.AnnotationAutoscalerClass, class))
			c.settle()
			if class != "none" {
				testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(4)) })
			}
			c.settle()
			want := c.state()

			c.inputs = "" // The spec cannot be resolved.
			c.editSpec(testkit.Annotation(v1beta1.AnnotationAutoscalerClass, "keda"))
			if writes := c.settle(); len(writes) > 0 {
				t.Errorf("it writes %v", writes)
			}
			if diff := stateDiff(want, c.state()); diff != "" {
				t.Errorf("something moved (-before +after):\n%s", diff)
			}
		})
	}
}

// TestEndpointsThatCount: each reachable pod counts once.
func TestEndpointsThatCount(t *testing.T) {
	c := newCluster(t)
	c.settle()
	name := backend.RevisionName(isvcName, 1)
	slice := func(suffix string, kind discoveryv1.AddressType, endpoints ...discoveryv1.EndpointConditions) {
		endpointSlice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + suffix, Labels: map[string]string{
				v1beta1.LabelInferenceService: isvcName, discoveryv1.LabelServiceName: name,
			}},
			AddressType: kind,
		}
		for _, conditions := range endpoints {
			endpointSlice.Endpoints = append(endpointSlice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"x"}, Conditions: conditions})
		}
		c.Must(c.server.Create(t.Context(), endpointSlice))
	}
	c.Remove(fakecluster.EndpointSliceName(name), &discoveryv1.EndpointSlice{})
	ready, notReady := discoveryv1.EndpointConditions{Ready: new(true)}, discoveryv1.EndpointConditions{Ready: new(false)}
	silent, leaving := discoveryv1.EndpointConditions{}, discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	slice("-v4-1", discoveryv1.AddressTypeIPv4, ready, notReady, silent)
	slice("-v4-2", discoveryv1.AddressTypeIPv4, leaving, ready)
	slice("-v6", discoveryv1.AddressTypeIPv6, ready, silent)
	pods := func(count int) {
		t.Helper()
		for i := range count {
			pod := newPod(1, fmt.Sprintf("pod-%d", i), true)
			c.Must(client.IgnoreAlreadyExists(c.server.Create(t.Context(), pod)))
		}
	}
	c.Remove(c.pods(1)[0].Name, &corev1.Pod{})
	for _, test := range []struct {
		pods, want int
		why        string
	}{
		{4, 3, "a pod that is no endpoint yet"},
		{0, 2, "endpoints of pods that are going, which are late to say so"},
	} {
		pods(test.pods)
		if test.pods == 0 {
			for _, name := range []string{"pod-0", "pod-1"} {
				c.Remove(name, &corev1.Pod{})
			}
		}
		observed, err := c.observe()
		c.Must(err)
		if got := observed.Revisions[0].Workloads[rollout.Predictor].Ready; got != test.want {
			t.Errorf("with %s, %d are ready, want %d", test.why, got, test.want)
		}
	}
}
