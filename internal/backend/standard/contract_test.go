// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestContract(t *testing.T) {
	backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
		t.Helper()
		return contractCluster{newCluster(t)}
	})
}

type contractCluster struct{ c *cluster }

func (h contractCluster) Backend() backendtest.Backend                { return h.c.backend }
func (h contractCluster) InferenceService() *v1beta1.InferenceService { return h.c.isvc() }
func (h contractCluster) CatchUp() bool                               { return h.c.runControllers() }

func (h contractCluster) SetUnresponsive(unresponsive bool) { h.c.setUnresponsive(unresponsive) }
func (h contractCluster) Writes() int                       { return len(h.c.server.Writes) }

func (h contractCluster) Settings() predictor.Settings { return predictor.Settings{} }

func (h contractCluster) Update(isvc *v1beta1.InferenceService) {
	h.c.editSpec(func(stored *v1beta1.InferenceService) {
		stored.Spec, stored.Labels, stored.Annotations = isvc.Spec, isvc.Labels, isvc.Annotations
	})
}

func (h contractCluster) SetFailing(n rollout.Number, failing bool) { h.c.setUnready(n, failing) }

func (h contractCluster) Instances(n rollout.Number) []string {
	var uids []string
	for _, pod := range h.c.List(&corev1.PodList{}) {
		if pod.GetLabels()[v1beta1.LabelRevision] == backend.RevisionName(isvcName, n) {
			uids = append(uids, string(pod.GetUID()))
		}
	}
	return uids
}

func (h contractCluster) FailWrite(number int, err error) { h.c.server.FailWrite(number, err) }

func (h contractCluster) LoseWorkload(n rollout.Number) {
	h.c.Remove(deploymentName(isvcName, n), &appsv1.Deployment{})
	h.c.Remove(backend.RevisionName(isvcName, n), &corev1.Service{})
}

func (h contractCluster) LoseRoute() { h.c.Remove(isvcName, &gatewayv1.HTTPRoute{}) }

func (h contractCluster) TouchRoute() {
	testkit.EditObject(h.c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { annotate(r, "touched", r.ResourceVersion) })
	h.c.runControllers()
}

func (h contractCluster) SetRolloutState(text string) {
	testkit.EditObject(h.c.Objects, isvcName, &gatewayv1.HTTPRoute{}, func(r *gatewayv1.HTTPRoute) { annotate(r, objects.AnnotationState, text) })
}

func (h contractCluster) StealRevision(n rollout.Number) func() {
	return h.steal(deploymentName(isvcName, n), func() client.Object { return &appsv1.Deployment{} })
}

func (h contractCluster) StealRoute() func() {
	return h.steal(isvcName, func() client.Object { return &gatewayv1.HTTPRoute{} })
}

func (h contractCluster) steal(name string, empty func() client.Object) func() {
	own := func(owners []metav1.OwnerReference) (before []metav1.OwnerReference) {
		testkit.EditObject(h.c.Objects, name, empty(), func(o client.Object) {
			before = o.GetOwnerReferences()
			o.SetOwnerReferences(owners)
		})
		return before
	}
	ours := own([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "else", Controller: new(true)}})
	return func() { own(ours) }
}
