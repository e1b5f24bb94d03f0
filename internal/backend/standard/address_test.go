// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

const predictorName = isvcName + "-predictor"

// selectedRevision returns the revision that the Service with KServe's name selects; 0 if there is
// no Service.
func (c *cluster) selectedRevision() rollout.Number {
	c.T.Helper()
	service := &corev1.Service{}
	if !c.Has(predictorName, service) {
		return 0
	}
	return backend.RevisionNumber(isvcName, service.Spec.Selector[v1beta1.LabelRevision])
}

func TestPredictorServiceSelectsLargestShare(t *testing.T) {
	c := newCluster(t)
	for _, step := range []struct {
		inputs  string
		percent int64
		want    rollout.Number
	}{
		{"a", -1, 1}, {"b", 10, 1}, {"b", 50, 1}, {"b", 51, 2}, {"b", -1, 2}, {"b", 0, 1}, {"c", 0, 1},
	} {
		c.rollOut(step.inputs, step.percent)
		if got := c.selectedRevision(); got != step.want {
			t.Fatalf("with %s at %d it leads to revision %d, want %d", step.inputs, step.percent, got, step.want)
		}
	}
	service := &corev1.Service{}
	c.Get(predictorName, service)
	for _, port := range service.Spec.Ports {
		if port.TargetPort.IntVal != 8080 || port.Port != 80 && port.Port != 8080 {
			t.Errorf("it has the port %v", port)
		}
	}
	if len(service.Spec.Ports) != 2 || service.Labels[v1beta1.LabelRevision] != "" {
		t.Errorf("ports %v, labels %v", service.Spec.Ports, service.Labels)
	}
	observed, err := c.observe()
	c.Must(err)
	if got, want := observed.Addresses.Local, "http://sklearn-iris-predictor.kserve-test.svc.cluster.local"; got != want {
		t.Errorf("the address is %q, want %q", got, want)
	}
}

// TestPredictorServiceFollowsGateway: the Service changes after the route is accepted, and before
// the old revision is drained.
func TestPredictorServiceFollowsGateway(t *testing.T) {
	c := newCluster(t)
	c.rollOut("a", -1)
	c.rollOut("b", 10)
	c.setUnresponsive(true)
	c.ask("b", -1)
	for range 3 {
		_, err := c.reconcile()
		c.Must(err)
		c.runControllers()
	}
	if c.served().Percent(2) != 100 || c.selectedRevision() != 1 {
		t.Fatalf("before the gateway has accepted %v it leads to revision %d", c.served(), c.selectedRevision())
	}
	c.setUnresponsive(false)
	writes := c.settle()
	service := slices.Index(writes, write{Verb: "apply", Kind: "Service", Name: predictorName})
	drain := slices.Index(writes, write{Verb: "apply", Kind: "Deployment", Name: deploymentName(isvcName, 1)})
	if c.selectedRevision() != 2 || service < 0 || drain < service {
		t.Errorf("it leads to revision %d, after\n%s", c.selectedRevision(), formatWrites(writes))
	}
}

// TestPredictorServiceDelaysDrain while the API server refuses to change the Service.
func TestPredictorServiceDelaysDrain(t *testing.T) {
	c := newCluster(t)
	c.rollOut("a", -1)
	c.server.Intercept = func(w write, do func() error) error {
		if w.Name == predictorName {
			return errors.New("the API server is away")
		}
		return do()
	}
	c.ask("b", -1)
	for range 20 {
		_, _ = c.reconcile()
		c.runControllers()
		c.now = c.now.Add(c.policy.DrainPeriod)
	}
	if c.served().Percent(2) != 100 || c.replicas(1) == 0 {
		t.Errorf("the split is %v, and revision 1 has %d replicas", c.served(), c.replicas(1))
	}
	c.server.Intercept = nil
	c.settle()
	if c.selectedRevision() != 2 {
		t.Errorf("it leads to revision %d", c.selectedRevision())
	}
}

// TestRefusedPredictorService: the failure is reported and blocks nothing.
func TestRefusedPredictorService(t *testing.T) {
	for name, given := range map[string]func(*cluster){
		"it is the user's own": func(c *cluster) {
			c.Must(c.server.Create(c.T.Context(), &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: predictorName}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "mine"}},
			}))
		},
		"it is over a quota": func(c *cluster) {
			c.server.Intercept = func(w write, do func() error) error {
				if w.Name == predictorName {
					return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, predictorName, errors.New("exceeded quota"))
				}
				return do()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			given(c)
			c.ask("a", -1)
			for range 3 {
				_, err := c.reconcile()
				c.Must(err)
				c.runControllers()
			}
			observed, err := c.observe()
			c.Must(err)
			written, err := c.carryOut(observed, c.decide(observed))
			if err != nil || !hasFinding(written, ReasonPredictorServiceMissing) || observed.Addresses.Local != "" {
				t.Errorf("error %v, reported %v, address %q", err, written.Findings, observed.Addresses.Local)
			}
			if got := c.served(); !got.Equal(rollout.All(1)) {
				t.Errorf("the split is %v", got)
			}
			service := &corev1.Service{}
			if c.Has(predictorName, service) && service.Spec.Selector["app"] != "mine" {
				t.Errorf("the user's Service has become %v", service.Spec)
			}
		})
	}
}

// TestUpgradeCreatesNoPredictorService: the Service is created with the next change, not by an
// upgrade.
func TestUpgradeCreatesNoPredictorService(t *testing.T) {
	c := newCluster(t)
	c.rollOut("a", -1)
	c.Remove(predictorName, &corev1.Service{})
	state := encodeV1(c.rolloutState())
	testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(route *gatewayv1.HTTPRoute) {
		route.Annotations[objects.AnnotationState] = state
	})
	if writes := c.settle(); len(writes) > 0 || c.selectedRevision() != 0 {
		t.Errorf("it has written %v", writes)
	}

	c.rollOut("b", 10)
	if c.selectedRevision() != 1 {
		t.Error("the next change does not bring it")
	}
	c.Remove(predictorName, &corev1.Service{})
	c.settle()
	if c.selectedRevision() != 1 {
		t.Error("a Service that was deleted by hand does not come back")
	}
}
