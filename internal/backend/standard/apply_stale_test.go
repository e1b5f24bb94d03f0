// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func (c *cluster) decided() (backendtest.Moment, rollout.Decision) {
	c.T.Helper()
	observed, err := c.observe()
	c.Must(err)
	return observed, c.decide(observed)
}

// reconcileUntil reconciles until a decision has the action for the revision, and returns that
// decision unapplied.
func (c *cluster) reconcileUntil(n rollout.Number, action rollout.Action) (backendtest.Moment, rollout.Decision) {
	c.T.Helper()
	for range 20 {
		observed, decision := c.decided()
		for _, plan := range decision.Workloads {
			if plan.Revision == n && plan.Action == action {
				return observed, decision
			}
		}
		c.Must(c.applyDecision(observed, decision))
		if !c.runControllers() && !decision.WakeAt.IsZero() {
			c.now = decision.WakeAt
		}
	}
	c.T.Fatalf("revision %d never gets to %s", n, action)
	return backendtest.Moment{}, rollout.Decision{}
}

func TestDecisionOnOldRouteIsRefused(t *testing.T) {
	c := newCanary(t)
	c.ask("b", 50)
	observed, decision := c.decided()
	testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Weight = new(int32(20)) })
	before := c.route().ResourceVersion

	if err := c.applyDecision(observed, decision); !backend.IsStale(err) {
		t.Errorf("error is %v", err)
	}
	if after := c.route().ResourceVersion; after != before {
		t.Error("the route was written")
	}
	c.settle()
	if got, want := c.served(), split(t, 2, 50, 1, 50); !got.Equal(want) {
		t.Errorf("in the next decision, the split is %v, want %v", got, want)
	}
}

// TestNoRemovalOnOldView: between the read from the cache and the removal of a workload, the route
// or the spec may have brought the workload back.
func TestNoRemovalOnOldView(t *testing.T) {
	touched := func(o client.Object) { annotate(o, "touched", "yes") }
	for name, change := range map[string]func(*cluster){
		"the route has changed": func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { touched(r) })
		},
		"the route is gone":    func(c *cluster) { c.Remove(isvcName, &gatewayv1.HTTPRoute{}) },
		"the spec has changed": func(c *cluster) { c.editSpec(func(isvc *v1beta1.InferenceService) { touched(isvc) }) },
		"the service was deleted and created again": func(c *cluster) {
			isvc := c.isvc()
			isvc.UID = "another"
			c.Must(c.server.Update(c.T.Context(), isvc))
		},
	} {
		for _, action := range []rollout.Action{rollout.ScaleDown, rollout.Delete} {
			t.Run(name+", "+string(action), func(t *testing.T) {
				c := newCanary(t)
				c.ask("b", -1)
				observed, decision := c.reconcileUntil(1, action)
				replicas := c.replicas(1)
				before := len(c.server.Writes)
				change(c)

				_, err := c.carryOut(observed, decision)
				if err == nil {
					t.Error("there is no error")
				}
				if got := c.replicas(1); got != replicas {
					t.Errorf("revision 1 has %d replicas, had %d", got, replicas)
				}
				if !c.Has(backend.RevisionName(isvcName, 1), &corev1.Service{}) {
					t.Error("the Service of revision 1 is gone")
				}
				for _, w := range c.server.Writes[before:] {
					if w.Verb == "delete" {
						t.Errorf("it tries to %v", w)
					}
				}
			})
		}
	}
}

// TestNoTrafficToScaledDownRevision: the user wants revision 1 back while the cache does not show
// yet that it was scaled down.
func TestNoTrafficToScaledDownRevision(t *testing.T) {
	for name, stale := range map[string]func(*cluster){
		"another writer has scaled it down": func(*cluster) {},
		"we have, and nothing else about it would be written": func(c *cluster) {
			current := &unstructured.Unstructured{}
			current.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(deploymentKind))
			c.Get(deploymentName(isvcName, 1), current)
			current.SetResourceVersion(current.GetResourceVersion() + "0")
			c.Must(c.backend.NoteWritten(current))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			c.ask("b", -1)
			c.reconcileUntil(1, rollout.ScaleDown)
			c.ask("b", 0)
			stale(c)
			observed, err := c.observe()
			if backend.IsStale(err) {
				return
			}
			c.Must(err)
			decision := c.decide(observed)
			if want := split(t, 2, 0, 1, 100); !decision.State.Split.Equal(want) {
				t.Fatalf("the split is to be %v, want %v", decision.State.Split, want)
			}
			testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) {
				d.Spec.Replicas = new(int32(0))
				annotate(d, annotationIdleSince, testkit.Start.Format(time.RFC3339Nano))
			})
			if err := c.applyDecision(observed, decision); !backend.IsStale(err) {
				t.Errorf("error is %v", err)
			}
			if got, want := c.served(), rollout.All(2); !got.Equal(want) {
				t.Errorf("split is %v, want %v", got, want)
			}
		})
	}
}

// TestUnlabelledRouteIsNotAwaited: the cache will never show it. It is looked up when it is
// written.
func TestUnlabelledRouteIsNotAwaited(t *testing.T) {
	c := newCluster(t)
	c.settle()
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(schema.GroupVersion(gatewayv1.GroupVersion).WithKind(routeKind))
	c.Get(isvcName, route)
	route.SetResourceVersion(route.GetResourceVersion() + "0")
	c.Must(c.backend.NoteWritten(route))
	if _, err := c.observe(); !backend.IsStale(err) {
		t.Fatalf("error is %v", err)
	}
	testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Labels = nil })
	c.report(rollout.State{Stable: 1, Target: 1, Split: rollout.All(1)})
	c.settle()
	if got, want := c.route().Labels[v1beta1.LabelInferenceService], isvcName; got != want {
		t.Errorf("it is labelled as %q", got)
	}
}

// TestDeletedObjectsAreNotRecreated: a write based on an old view must fail if the object was
// deleted.
func TestDeletedObjectsAreNotRecreated(t *testing.T) {
	c := newCanary(t)
	c.ask("b", -1)
	observed, decision := c.reconcileUntil(1, rollout.Drain)
	c.Remove(deploymentName(isvcName, 1), &appsv1.Deployment{})
	if err := c.applyDecision(observed, decision); err == nil {
		t.Error("there is no error")
	}
	if c.Has(deploymentName(isvcName, 1), &appsv1.Deployment{}) {
		t.Error("the Deployment is back")
	}
}

// TestStaleCache: a reconciliation may not see the objects of the one before.
func TestStaleCache(t *testing.T) {
	for _, child := range childrenOfACanary {
		t.Run(child.kind+" "+child.name, func(t *testing.T) {
			c := newCanary(t)
			original := child.empty()
			c.Get(child.name, original)
			c.Remove(child.name, child.empty())
			observed, decision := c.decided()
			original.SetResourceVersion("")
			c.Must(c.server.Create(t.Context(), original))

			if err := c.applyDecision(observed, decision); !backend.IsStale(err) {
				t.Errorf("error is %v", err)
			}
			after := child.empty()
			c.Get(child.name, after)
			if after.GetResourceVersion() != original.GetResourceVersion() {
				t.Error("it was written")
			}
		})
	}
}

// TestCreatedRevisionIsAwaited: the status names a revision that the cache does not show yet. It is not
// lost, and the spec does not get another number.
func TestCreatedRevisionIsAwaited(t *testing.T) {
	c := newCluster(t)
	c.ask("a", -1)
	observed, decision := c.decided()
	c.Must(c.applyDecision(observed, decision))
	c.report(rollout.State{Stable: 1, Target: 1})
	behind := interceptor.Funcs{List: func(ctx context.Context, server client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if _, history := list.(*appsv1.ControllerRevisionList); history {
			return nil
		}
		return server.List(ctx, list, options...)
	}}
	current := c.backend.Client
	c.backend.Client = interceptor.NewClient(c.server, behind)
	if _, err := c.observe(); !backend.IsStale(err) {
		t.Errorf("behind its own write, it observes with the error %v", err)
	}

	c.backend.Client = current
	if _, decision := c.decided(); decision.Create || decision.Target != 1 {
		t.Errorf("once it is up to date, the target is %d, new: %t", decision.Target, decision.Create)
	}
	c.Remove(backend.RevisionName(isvcName, 1), &appsv1.ControllerRevision{})
	if _, err := c.observe(); err != nil {
		t.Errorf("it waits for a deleted ControllerRevision: %v", err)
	}
}

func TestSettledCostsNoWrites(t *testing.T) {
	for _, step := range []step{{"a", -1}, {"b", 10}, {"b", -1}, {"b", 0}} {
		t.Run(step.inputs, func(t *testing.T) {
			c := newCanary(t)
			c.rollOut(step.inputs, step.percent)
			before := len(c.server.Writes)
			for range 3 {
				decision, err := c.reconcile()
				c.Must(err)
				if !decision.WakeAt.IsZero() {
					t.Errorf("it wants to wake at %v", decision.WakeAt)
				}
				c.now = c.now.Add(c.policy.CapacityHold)
			}
			// An upgrade: a new process, whose other settings affect new pods only.
			c.backend = &Backend{
				Store:           objects.Store{Client: c.backend.Client, APIReader: c.backend.APIReader, Scheme: c.backend.Scheme, Now: c.backend.Now},
				Config:          newConfig(localGateway),
				RoutesInstalled: c.backend.RoutesInstalled,
			}
			c.backend.Config.StorageInitializer.Image = "kserve/storage-initializer:v9"
			if _, err := c.reconcile(); err != nil {
				t.Fatal(err)
			}
			if len(c.server.Writes) > before {
				t.Errorf("it writes %v", c.server.Writes[before:])
			}
		})
	}
}

// TestRepairsManualChanges: objects that are edited or deleted by hand are restored, and the split
// does not change.
func TestRepairsManualChanges(t *testing.T) {
	for name, change := range map[string]func(*cluster){
		"a Deployment is scaled to nothing": func(c *cluster) {
			testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
		},
		"a Deployment runs another image": func(c *cluster) {
			testkit.EditObject(c.Objects, deploymentName(isvcName, 1), &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "evil" })
		},
		"a Service leads elsewhere": func(c *cluster) {
			testkit.EditObject(c.Objects, backend.RevisionName(isvcName, 1), &corev1.Service{}, func(s *corev1.Service) { s.Spec.Selector["debug"] = "true" })
		},
		"a weight is changed": func(c *cluster) {
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].BackendRefs[0].Weight = new(int32(99)) })
		},
		"a tag leads elsewhere": func(c *cluster) {
			testkit.EditObject(c.Objects, "prev-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) {
				r.Spec.Rules[0].BackendRefs[0].Name = "sklearn-iris-predictor-00002"
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			want := c.state()
			change(c)
			c.settle()
			if diff := stateDiff(want, c.state()); diff != "" {
				t.Errorf("it is not as before (-before +after):\n%s", diff)
			}
		})
	}
	for _, child := range childrenOfACanary {
		t.Run(child.kind+" "+child.name+" is deleted", func(t *testing.T) {
			c := newCanary(t)
			want := c.state()
			state := c.rolloutState()
			c.Remove(child.name, child.empty())
			if child.name == isvcName {
				c.report(state) // Without the route, the history comes from the reported status.
			}
			c.settle()
			if diff := stateDiff(want, c.state()); diff != "" {
				t.Errorf("it is not as before (-before +after):\n%s", diff)
			}
		})
	}
}
