// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

func TestContract(t *testing.T) {
	backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
		t.Helper()
		return contractCluster{newCluster(t)}
	})
	t.Run("with the Gateway API", func(t *testing.T) {
		backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
			t.Helper()
			return contractCluster{newUserWithGateway(t).cluster}
		})
	})
}

// contractCluster is a cluster with the hands that the contract asks for.
type contractCluster struct{ c *cluster }

func (h contractCluster) Backend() backendtest.Backend                { return h.c.backend }
func (h contractCluster) InferenceService() *v1beta1.InferenceService { return h.c.isvc() }
func (h contractCluster) CatchUp() bool                               { return h.c.knative() }
func (h contractCluster) SetDeaf(deaf bool)                           { h.c.deaf = deaf }
func (h contractCluster) Writes() int                                 { return len(h.c.writes) }

func (h contractCluster) Settings() predictor.Settings {
	return predictor.Settings{Mode: v1beta1.DeploymentModeKnative}
}

func (h contractCluster) Update(isvc *v1beta1.InferenceService) {
	edit(h.c, isvcName, &v1beta1.InferenceService{}, func(stored *v1beta1.InferenceService) {
		stored.Spec, stored.Labels, stored.Annotations = isvc.Spec, isvc.Labels, isvc.Annotations
		stored.Generation++
	})
}

func (h contractCluster) SetBroken(n rollout.Number, broken bool) { h.c.broken[n] = broken }

func (h contractCluster) Instances(n rollout.Number) []string {
	var uids []string
	for _, pod := range h.c.pods() {
		if pod.Labels[serving.RevisionLabelKey] == backend.RevisionName(isvcName, n) {
			uids = append(uids, string(pod.UID))
		}
	}
	return uids
}

func (h contractCluster) FailWrite(number int, err error) {
	h.c.intercept = func(_ write, do func() error) error {
		number--
		if number == 0 {
			return err
		}
		return do()
	}
}

func (h contractCluster) LoseWorkload(n rollout.Number) {
	h.c.remove(backend.RevisionName(isvcName, n), &servingv1.Revision{})
}

func (h contractCluster) LoseRoute() {
	h.c.remove(serviceName, &servingv1.Service{})
	h.c.collectGarbage()
}

func (h contractCluster) TouchRoute() {
	edit(h.c, serviceName, &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, "touched", s.ResourceVersion)
	})
}

func (h contractCluster) SetRecord(text string) {
	edit(h.c, serviceName, &servingv1.Service{}, func(s *servingv1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, objects.AnnotationRecord, text)
	})
}

func (h contractCluster) StealRevision(n rollout.Number) func() {
	own := func(service string) (before string) {
		edit(h.c, backend.RevisionName(isvcName, n), &servingv1.Revision{}, func(r *servingv1.Revision) {
			before = r.Labels[serving.ServiceLabelKey]
			r.Labels[serving.ServiceLabelKey] = service
			r.Labels[serving.ServiceUIDLabelKey] = "else"
			if service == serviceName {
				r.Labels[serving.ServiceUIDLabelKey] = string(h.c.service().UID)
			}
		})
		return before
	}
	ours := own("web")
	return func() { own(ours) }
}

func (h contractCluster) StealRoute() func() {
	own := func(owners []metav1.OwnerReference) (before []metav1.OwnerReference) {
		edit(h.c, serviceName, &servingv1.Service{}, func(s *servingv1.Service) {
			before, s.OwnerReferences = s.OwnerReferences, owners
		})
		return before
	}
	ours := own([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Rollout", Name: "web", UID: "else", Controller: new(true)}})
	return func() { own(ours) }
}
