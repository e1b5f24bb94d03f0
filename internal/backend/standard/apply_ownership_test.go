// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

type child struct {
	kind, name string
	empty      func() client.Object
}

// childrenOfACanary are one object of each kind of revision 2, a canary with tags and an
// autoscaler.
var childrenOfACanary = []child{
	{"ControllerRevision", "sklearn-iris-predictor-00002", func() client.Object { return &appsv1.ControllerRevision{} }},
	{"Service", "sklearn-iris-predictor-00002", func() client.Object { return &corev1.Service{} }},
	{"Deployment", "sklearn-iris-predictor-00002-deployment", func() client.Object { return &appsv1.Deployment{} }},
	{"HorizontalPodAutoscaler", "sklearn-iris-predictor-00002", func() client.Object { return &autoscalingv2.HorizontalPodAutoscaler{} }},
	{"HTTPRoute", "latest-sklearn-iris-predictor", func() client.Object { return &gatewayv1.HTTPRoute{} }},
	{"HTTPRoute", "prev-sklearn-iris-predictor", func() client.Object { return &gatewayv1.HTTPRoute{} }},
	{"HTTPRoute", "sklearn-iris", func() client.Object { return &gatewayv1.HTTPRoute{} }},
	{"Service", "sklearn-iris", func() client.Object { return &corev1.Service{} }},
}

// newCanary returns a cluster in which revision 2 has 10 % and objects of every kind.
func newCanary(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, testkit.Annotation(v1beta1.AnnotationEnableTagRouting, "true"), testkit.ReplicaBounds(1, 3))
	c.backend.Config = newConfig(localGateway)
	c.rollOut("a", -1)
	c.rollOut("b", 10)
	return c
}

func TestForeignObjectsAreRefusedAndLeftAlone(t *testing.T) {
	otherOwner := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "else", Controller: new(true)}}
	for name, test := range map[string]struct {
		disguise func(child client.Object)
		owner    string
	}{
		"controlled by another owner": {
			owner:    "is controlled by Rollout web",
			disguise: func(o client.Object) { o.SetOwnerReferences(otherOwner); o.SetLabels(nil) },
		},
		"controlled by another owner, under our labels": {
			owner:    "is controlled by Rollout web",
			disguise: func(o client.Object) { o.SetOwnerReferences(otherOwner) },
		},
		"without a controller": {
			owner:    "is not controlled by this InferenceService",
			disguise: func(o client.Object) { o.SetOwnerReferences(nil); o.SetLabels(map[string]string{"app": "web"}) },
		},
	} {
		for _, child := range childrenOfACanary {
			t.Run(fmt.Sprintf("%s %s %s", child.kind, child.name, name), func(t *testing.T) {
				c := newCanary(t)
				testkit.EditObject(c.Objects, child.name, child.empty(), test.disguise)
				before := child.empty()
				c.Get(child.name, before)

				var conflict *backend.ConflictError
				if _, err := c.reconcile(); !errors.As(err, &conflict) || backend.IsStale(err) {
					t.Fatalf("error is %v", err)
				}
				if conflict.Kind != child.kind || conflict.Name != child.name || conflict.Namespace != namespace {
					t.Errorf("conflict is about %s %s/%s", conflict.Kind, conflict.Namespace, conflict.Name)
				}
				if !strings.Contains(conflict.Error(), test.owner) {
					t.Errorf("message is %q", conflict)
				}
				after := child.empty()
				c.Get(child.name, after)
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("it was changed (-before +after):\n%s", diff)
				}

				c.Remove(child.name, child.empty())
				c.settle()
				after = child.empty()
				c.Get(child.name, after)
				if !metav1.IsControlledBy(after, c.isvc()) {
					t.Error("it was not created once the name was free")
				}
			})
		}
	}
}

func TestForeignObjectsBlockNothing(t *testing.T) {
	t.Run("a rejected canary loses its traffic although the new target cannot be created", func(t *testing.T) {
		c := newCanary(t)
		c.Must(c.server.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sklearn-iris-predictor-00003"}}))
		c.ask("c", 10)
		if _, err := c.reconcile(); !isConflict(err) {
			t.Fatalf("error is %v", err)
		}
		if got, want := c.served(), rollout.All(1); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
	})

	otherOwner := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "else", Controller: new(true)}}
	ours := map[string]string{
		v1beta1.LabelInferenceService: isvcName, v1beta1.LabelManagedBy: v1beta1.ManagedBySerinus,
		v1beta1.LabelRevision: backend.RevisionName(isvcName, 99),
	}
	for _, squatter := range []client.Object{&autoscalingv2.HorizontalPodAutoscaler{}, &appsv1.Deployment{}, &appsv1.ControllerRevision{}, &corev1.Service{}} {
		t.Run(fmt.Sprintf("a canary is rolled back beside a foreign %T whose name is not needed", squatter), func(t *testing.T) {
			c := newCanary(t)
			squatter.SetNamespace(namespace)
			squatter.SetName(backend.RevisionName(isvcName, 99))
			if deployment, ok := squatter.(*appsv1.Deployment); ok {
				deployment.Name, deployment.Spec.Replicas = deploymentName(isvcName, 99), new(int32(0))
			}
			squatter.SetLabels(ours)
			squatter.SetOwnerReferences(otherOwner)
			c.Must(c.server.Create(t.Context(), squatter))
			c.rollOut("b", 0)
			if got, want := c.served(), split(t, 2, 0, 1, 100); !got.Equal(want) {
				t.Errorf("split is %v, want %v", got, want)
			}
		})
	}

	t.Run("a canary that fails loses its traffic although an object of the stable has another owner", func(t *testing.T) {
		c := newCanary(t)
		testkit.EditObject(c.Objects, backend.RevisionName(isvcName, 1), &autoscalingv2.HorizontalPodAutoscaler{}, func(a *autoscalingv2.HorizontalPodAutoscaler) {
			a.OwnerReferences = otherOwner
		})
		c.setUnready(2, true)
		c.runControllers()
		if _, err := c.reconcile(); !isConflict(err) {
			t.Fatalf("error is %v", err)
		}
		if got, want := c.served(), split(t, 2, 0, 1, 100); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
	})

	t.Run("a foreign tag route blocks a larger share, not a smaller one", func(t *testing.T) {
		c := newCanary(t)
		testkit.EditObject(c.Objects, "prev-sklearn-iris-predictor", &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { r.OwnerReferences, r.Labels = otherOwner, nil })
		for _, test := range []struct {
			percent int64
			want    rollout.Split
		}{
			{50, split(t, 2, 10, 1, 90)}, {5, split(t, 2, 5, 1, 95)}, {0, split(t, 2, 0, 1, 100)},
		} {
			c.ask("b", test.percent)
			if _, err := c.reconcile(); !isConflict(err) {
				t.Fatalf("at %d %%, error is %v", test.percent, err)
			}
			if got := c.served(); !got.Equal(test.want) {
				t.Errorf("at %d %%, split is %v, want %v", test.percent, got, test.want)
			}
		}
	})

	t.Run("an old revision retires although the local address has another owner", func(t *testing.T) {
		c := newCanary(t)
		testkit.EditObject(c.Objects, isvcName, &corev1.Service{}, func(s *corev1.Service) { s.Labels, s.OwnerReferences = nil, nil })
		c.ask("b", -1)
		for range 10 {
			decision, err := c.reconcile()
			if err != nil && !isConflict(err) {
				t.Fatal(err)
			}
			c.runControllers()
			if !decision.WakeAt.IsZero() {
				c.now = decision.WakeAt
			}
		}
		if c.Has(deploymentName(isvcName, 1), &appsv1.Deployment{}) {
			t.Error("revision 1 is still there")
		}
	})
}

func isConflict(err error) bool {
	var conflict *backend.ConflictError
	return errors.As(err, &conflict)
}

// TestCopiedObjectsAreIgnored: a copy under another name is ignored, even with our labels.
func TestCopiedObjectsAreIgnored(t *testing.T) {
	for _, child := range childrenOfACanary {
		for name, owners := range map[string][]metav1.OwnerReference{
			"of no owner": nil,
			"of another":  {{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "else", Controller: new(true)}},
		} {
			t.Run(fmt.Sprintf("%s %s %s", child.kind, child.name, name), func(t *testing.T) {
				c := newCanary(t)
				original := child.empty()
				c.Get(child.name, original)
				// One sorts before the original, the other after it.
				for _, name := range []string{"aaa", "zzz"} {
					checkRequests := child.empty()
					c.Get(child.name, checkRequests)
					checkRequests.SetName(name)
					checkRequests.SetUID("look")
					checkRequests.SetResourceVersion("")
					checkRequests.SetOwnerReferences(owners)
					c.Must(c.server.Create(t.Context(), checkRequests))
				}
				if writes := c.settle(); len(writes) > 0 {
					t.Errorf("writes %v", writes)
				}
				testkit.EditObject(c.Objects, child.name, child.empty(), func(o client.Object) { delete(o.GetLabels(), v1beta1.LabelManagedBy) })
				c.settle()
				after := child.empty()
				c.Get(child.name, after)
				if child.kind != "ControllerRevision" && after.GetLabels()[v1beta1.LabelManagedBy] == "" {
					t.Error("the original is no longer looked after")
				}
			})
		}
	}
}

func TestOrphansAreAdopted(t *testing.T) {
	for name, lose := range map[string]func(client.Object){
		"without owner":             func(o client.Object) { o.SetOwnerReferences(nil) },
		"without the service label": func(o client.Object) { delete(o.GetLabels(), v1beta1.LabelInferenceService) },
		"without the revision":      func(o client.Object) { delete(o.GetLabels(), v1beta1.LabelRevision) },
		"without any label":         func(o client.Object) { o.SetLabels(nil) },
	} {
		for _, child := range childrenOfACanary {
			t.Run(fmt.Sprintf("%s %s %s", child.kind, child.name, name), func(t *testing.T) {
				c := newCanary(t)
				before := child.empty()
				c.Get(child.name, before)
				split := c.served()
				testkit.EditObject(c.Objects, child.name, child.empty(), lose)
				c.settle()
				after := child.empty()
				c.Get(child.name, after)
				if after.GetUID() != before.GetUID() {
					t.Error("it was created again")
				}
				if !metav1.IsControlledBy(after, c.isvc()) || !maps.Equal(after.GetLabels(), before.GetLabels()) {
					t.Errorf("labels %v and owners %v are not restored", after.GetLabels(), after.GetOwnerReferences())
				}
				if got := c.served(); !got.Equal(split) {
					t.Errorf("split is %v, was %v", got, split)
				}
				if got := c.names(&appsv1.ControllerRevisionList{}); !slices.Equal(got, []string{"sklearn-iris-predictor-00001", "sklearn-iris-predictor-00002"}) {
					t.Errorf("revisions are %v", got)
				}
			})
		}
	}
}

// TestObjectsOfDeletedInferenceService: objects of a deleted InferenceService with the same name
// are left to the garbage collector. They are no conflict.
func TestObjectsOfDeletedInferenceService(t *testing.T) {
	for _, child := range childrenOfACanary {
		t.Run(child.kind+" "+child.name, func(t *testing.T) {
			c := newCanary(t)
			testkit.EditObject(c.Objects, child.name, child.empty(), func(o client.Object) {
				owners := o.GetOwnerReferences()
				owners[0].UID = "earlier"
				o.SetOwnerReferences(owners)
			})
			if _, err := c.reconcile(); !backend.IsStale(err) {
				t.Fatalf("error is %v", err)
			}
			c.Remove(child.name, child.empty())
			c.settle()
			after := child.empty()
			c.Get(child.name, after)
			if !metav1.IsControlledBy(after, c.isvc()) {
				t.Error("it is not created again")
			}
		})
	}
}

// TestPodsOfDeletedInferenceService: pods of a deleted InferenceService outlive its other objects,
// and must not count for the first revision of a new one.
func TestPodsOfDeletedInferenceService(t *testing.T) {
	for name, leave := range map[string]func(*cluster){
		"a pod": func(c *cluster) { c.Must(c.server.Create(c.T.Context(), newPod(1, "earlier", true))) },
		"an endpoint": func(c *cluster) {
			c.Must(c.server.Create(c.T.Context(), &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "earlier", Labels: map[string]string{
					v1beta1.LabelInferenceService: isvcName, discoveryv1.LabelServiceName: backend.RevisionName(isvcName, 1),
				}},
				AddressType: discoveryv1.AddressTypeIPv4,
				Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			leave(c)
			for range 3 {
				if _, err := c.reconcile(); !backend.IsStale(err) {
					t.Fatalf("error is %v", err)
				}
			}
			if len(c.server.Writes) > 0 {
				t.Errorf("it writes %v", c.server.Writes)
			}
			c.Must(client.IgnoreNotFound(c.server.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "earlier"}})))
			c.Must(client.IgnoreNotFound(c.server.Delete(t.Context(), &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "earlier"}})))
			c.settle()
			if got, want := c.served(), rollout.All(1); !got.Equal(want) {
				t.Errorf("split is %v, want %v", got, want)
			}
		})
	}
}
