// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"testing"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/backendtest"
	"github.com/serinus-io/serinus/internal/backend/knative/knativetest"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func TestContract(t *testing.T) {
	backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
		t.Helper()
		return newContractCluster(newCluster(t))
	})
	t.Run("with the Gateway API", func(t *testing.T) {
		backendtest.Contract(t, func(t *testing.T) backendtest.Cluster {
			t.Helper()
			return newContractCluster(newUserWithGateway(t).cluster)
		})
	})
}

type contractCluster struct {
	knativetest.Driver
	c *cluster
}

func newContractCluster(c *cluster) contractCluster { return contractCluster{c.Driver, c} }

func (h contractCluster) Backend() backendtest.Backend                { return h.c.backend }
func (h contractCluster) InferenceService() *v1beta1.InferenceService { return h.c.isvc() }
func (h contractCluster) CatchUp() bool                               { return h.c.catchUp() }
func (h contractCluster) Writes() int                                 { return len(h.c.server.Writes) }

func (h contractCluster) SetUnresponsive(unresponsive bool) {
	if unresponsive {
		h.c.controllers.Knative.Stop(namespace)
	} else {
		h.c.controllers.Knative.Start(namespace)
	}
}

func (h contractCluster) Update(isvc *v1beta1.InferenceService) {
	testkit.EditObject(h.Objects, isvcName, &v1beta1.InferenceService{}, func(stored *v1beta1.InferenceService) {
		stored.Spec, stored.Labels, stored.Annotations = isvc.Spec, isvc.Labels, isvc.Annotations
		stored.Generation++
	})
}

func (h contractCluster) SetFailing(n rollout.Number, failing bool) { h.c.setFailing(n, failing) }

func (h contractCluster) FailWrite(number int, err error) { h.c.server.FailWrite(number, err) }

func (h contractCluster) LoseWorkload(n rollout.Number) {
	h.c.Remove(backend.RevisionName(isvcName, n), &servingv1.Revision{})
}

func (h contractCluster) LoseRoute() {
	h.c.Remove(serviceName, &servingv1.Service{})
	h.c.step()
}
