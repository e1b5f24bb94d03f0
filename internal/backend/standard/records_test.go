// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestControllerRevisionKeepsTheRevision(t *testing.T) {
	for name, change := range map[string]change[backend.RenderedRevision]{
		"a model": func(*backend.RenderedRevision) {},
		"everything": func(r *backend.RenderedRevision) {
			withAllKindsOfFields(r)
			r.Runs.AppProtocol = "kubernetes.io/h2c"
			r.Runs.TimeoutSeconds, r.Runs.ContainerConcurrency = new(int64(30)), new(int64(4))
			r.Runs.Runtime = predictor.RuntimeRef{Kind: predictor.ServingRuntimeKind, Name: "mine"}
			r.Runs.Identity.Labels.Inherited = map[string]string{"team": "0123456789abcdef"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			revision := newRevision(change)
			state, err := history.Encode(testkit.NewInferenceService(), 2, revision)
			if err != nil {
				t.Fatal(err)
			}
			got, err := history.Decode(state)
			if err != nil {
				t.Fatal(err)
			}
			if !equality.Semantic.DeepEqual(got, revision) {
				t.Errorf("read back, it differs (-want +got):\n%s", cmp.Diff(revision, got))
			}
			built := deployment(testkit.NewInferenceService(), 2, revision, 1, 0)
			if got := revisionOf(built, nil); !equality.Semantic.DeepEqual(got, decodedFrom(t, built, revision)) {
				t.Errorf("read back from its Deployment, it differs (-want +got):\n%s", cmp.Diff(revision, got))
			}
		})
	}
}

// decodedFrom returns a revision restored from its Deployment, which rounds quantities.
func decodedFrom(t *testing.T, built *appsv1.Deployment, revision backend.RenderedRevision) backend.RenderedRevision {
	t.Helper()
	revision.Runs.Template.Spec = built.Spec.Template.Spec
	return revision
}

// TestUndecodableControllerRevision: no decision may be based on a ControllerRevision without a pod
// template.
func TestUndecodableControllerRevision(t *testing.T) {
	for name, data := range map[string]string{
		"no JSON":      `{`,
		"another kind": `{"spec":{"template":{}}}`,
		"no inputs":    `{"inputs":"","runs":{"port":8080,"template":{"spec":{"containers":[{"name":"x"}]}}}}`,
		"no container": `{"inputs":"a","runs":{"port":8080,"template":{"spec":{"containers":[]}}}}`,
		"no port":      `{"inputs":"a","runs":{"template":{"spec":{"containers":[{"name":"x"}]}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			state := &appsv1.ControllerRevision{}
			state.Name, state.Data.Raw = backend.RevisionName(isvcName, 1), []byte(data)
			if revision, err := history.Decode(state); err == nil {
				t.Errorf("it is read as %+v", revision)
			}
		})
	}
}

// TestRevisionWithUndecodableControllerRevision keeps running, is repaired, and is retired when it
// is due.
func TestRevisionWithUndecodableControllerRevision(t *testing.T) {
	spoil := func(c *cluster, n rollout.Number) {
		testkit.EditObject(c.Objects, backend.RevisionName(isvcName, n), &appsv1.ControllerRevision{}, func(r *appsv1.ControllerRevision) { r.Data.Raw = []byte(`{}`) })
	}

	t.Run("it serves on", func(t *testing.T) {
		c := newCanary(t)
		spoil(c, 1)
		c.settle()
		if got, want := c.served(), split(t, 2, 10, 1, 90); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
		c.Remove(backend.RevisionName(isvcName, 1), &corev1.Service{})
		c.settle()
		if !c.Has(backend.RevisionName(isvcName, 1), &corev1.Service{}) {
			t.Error("its Service is not created again")
		}
	})

	t.Run("it retires", func(t *testing.T) {
		c := newCanary(t)
		spoil(c, 1)
		c.rollOut("b", -1)
		if got := c.replicas(1); got > 0 {
			t.Errorf("it runs on with %d replicas", got)
		}
	})

	t.Run("other objects are ignored", func(t *testing.T) {
		c := newCanary(t)
		spoil(c, 2)
		c.settle()
		if got := len(c.names(&appsv1.ControllerRevisionList{})); got != 2 {
			t.Errorf("there are %d revisions", got)
		}
		if got, want := c.served(), split(t, 2, 10, 1, 90); !got.Equal(want) {
			t.Errorf("split is %v, want %v", got, want)
		}
	})
}

// TestRestoreRevisionFromDeployment restores a revision from a Deployment without our annotations.
func TestRestoreRevisionFromDeployment(t *testing.T) {
	older := func(revision backend.RenderedRevision) *appsv1.Deployment {
		built := deployment(testkit.NewInferenceService(), 2, revision, 1, 0)
		delete(built.Annotations, annotationRevision)
		return built
	}
	grpc := func(r *backend.RenderedRevision) { r.Runs.Port, r.Runs.AppProtocol = 8081, "kubernetes.io/h2c" }
	portless := func(r *backend.RenderedRevision) { r.Runs.Template.Spec.Containers[0].Ports = nil }
	for name, test := range map[string]struct {
		revision     backend.RenderedRevision
		withService  bool
		wantPort     int32
		wantProtocol string
	}{
		"by its Service":     {newRevision(grpc), true, 8081, "kubernetes.io/h2c"},
		"by its container":   {newRevision(), false, 8080, ""},
		"by what is usual":   {newRevision(portless), false, 8080, ""},
		"by another service": {newRevision(), true, 8080, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var of *corev1.Service
			if test.withService {
				of = service(testkit.NewInferenceService(), 2, test.revision)
			}
			got := revisionOf(older(test.revision), of)
			if got.Runs.Port != test.wantPort || got.Runs.AppProtocol != test.wantProtocol {
				t.Errorf("it serves %q at %d, want %q at %d", got.Runs.AppProtocol, got.Runs.Port, test.wantProtocol, test.wantPort)
			}
			if got.Hash != test.revision.Hash {
				t.Errorf("inputs are %q", got.Hash)
			}
			if diff := cmp.Diff(test.revision.Runs.Template.Labels, got.Runs.Template.Labels); diff != "" {
				t.Errorf("labels of its pods differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidRolloutState(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "{", "another state": `{"stable":7,"target":8,"highest":8,"split":{"8":100}}`, "an older one": `{"stable":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCanary(t)
			state := c.rolloutState()
			c.report(state)
			testkit.EditObject(c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { annotate(r, objects.AnnotationState, text) })
			c.settle()
			if got, want := c.served(), state.Split; !got.Equal(want) {
				t.Errorf("split is %v, was %v", got, want)
			}
			after := c.rolloutState()
			if after.Stable != state.Stable || after.Target != state.Target || after.Highest != state.Highest {
				t.Errorf("the rollout state is %s, was %s", after.Encode(), state.Encode())
			}
		})
	}
}
