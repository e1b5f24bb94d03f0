// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/gateway"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/testkit"
)

// TestContestedObjects expects growing pauses for the contested content, and a report with the
// field. Other content, such as a new split, is written at once.
func TestContestedObjects(t *testing.T) {
	for kind, test := range map[string]struct {
		field  string
		change func(c *cluster, writes int)
	}{
		"Deployment": {"spec.template.spec.containers[kserve-container].image", func(c *cluster, writes int) {
			testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) {
				d.Spec.Template.Spec.Containers[0].Image = "mirror.example.com/server:a"
				annotate(d, "policy.example.com/count", strconv.Itoa(writes))
			})
		}},
		"HTTPRoute": {"spec.rules", func(c *cluster, writes int) {
			testkit.EditObject(c.Objects, gateway.RouteName(isvcName), &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
				r.Spec.Rules[0].BackendRefs[0].Weight = new(int32(1 + writes%50))
			})
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(t)
			c.backend.Now = func() time.Time { return c.now }
			c.settle()
			test.change(c, 0)
			c.server.Intercept = func(w write, do func() error) error {
				err := do()
				if err == nil && w.Kind == kind {
					test.change(c, len(c.server.Writes))
				}
				return err
			}
			before := len(c.server.Writes)
			var contests []backend.Contest
			for range 120 {
				observed, err := c.observe()
				c.Must(err)
				outcome, err := c.carryOut(observed, c.decide(observed))
				c.Must(err)
				contests = outcome.Contests
				c.now = c.now.Add(time.Second)
			}
			if n := len(c.server.Writes) - before; n < 5 || n > 12 {
				t.Errorf("it has written %d times in two minutes: %v", n, c.server.Writes[before:])
			}
			if len(contests) != 1 || contests[0].Kind != kind || contests[0].Field != test.field || !contests[0].RetryAt.After(c.now.Add(-time.Second)) {
				t.Errorf("it reports %+v", contests)
			}

			c.server.Intercept = nil
			c.ask("b", 10)
			for range 10 { // At the same time, within a pause.
				_, err := c.reconcile()
				c.Must(err)
				c.runControllers()
			}
			if got := c.served(); got.Percent(2) != 10 {
				t.Errorf("the route is %s: the new split waits", got)
			}
		})
	}
}

// TestForeignAnnotationsCostOneWrite: annotations with our prefix are removed from objects of every
// kind.
func TestForeignAnnotationsCostOneWrite(t *testing.T) {
	c := newCluster(t)
	c.settle()
	testkit.EditObject(c.Objects, backend.RevisionName(isvcName, 1), &appsv1.ControllerRevision{}, func(r *appsv1.ControllerRevision) { annotate(r, objects.OwnPrefix+"note", "x") })
	testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { annotate(d, objects.OwnPrefix+"note", "x") })
	c.settle()
	before := len(c.server.Writes)
	for range 5 {
		_, err := c.reconcile()
		c.Must(err)
	}
	if n := len(c.server.Writes) - before; n > 0 {
		t.Errorf("%d writes of a settled InferenceService: %v", n, c.server.Writes[before:])
	}
	stored := &appsv1.ControllerRevision{}
	c.Get(backend.RevisionName(isvcName, 1), stored)
	if _, found := stored.Annotations[objects.OwnPrefix+"note"]; found {
		t.Error("the annotation is still there")
	}
}

// TestModeWithoutStatus reads the mode from the running objects or from the revision history.
func TestModeWithoutStatus(t *testing.T) {
	c := newCluster(t)
	mode := func() v1beta1.DeploymentMode {
		observed, err := c.observe()
		c.Must(err)
		return observed.Mode
	}
	if got := mode(); got != "" {
		t.Errorf("without objects it is %q", got)
	}
	c.settle()
	if got := mode(); got != v1beta1.DeploymentModeStandard {
		t.Errorf("it is %q", got)
	}
	c.editSpec(testkit.Annotation(v1beta1.AnnotationStop, "true"))
	c.settle()
	if got := mode(); got != v1beta1.DeploymentModeStandard {
		t.Errorf("of a stopped one it is %q", got)
	}
}
