// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
)

func downloaded(isvc *v1beta1.InferenceService) {
	isvc.Spec.Predictor.Containers[0].Env = []corev1.EnvVar{{Name: "STORAGE_URI", Value: "s3://models/iris"}}
}

func endpointOf(revision *servingv1.Revision) string {
	for _, container := range revision.Spec.InitContainers {
		for _, variable := range container.Env {
			if variable.Name == "AWS_ENDPOINT_URL" {
				return variable.Value
			}
		}
	}
	return ""
}

func (u user) renewed(n rollout.Number) *backend.Amended {
	u.T.Helper()
	observed := u.observe()
	download := *predictor.DownloadOf(observed.History[n].Template)
	download.Env = []corev1.EnvVar{{Name: "AWS_ENDPOINT_URL", Value: "http://store"}}
	return &backend.Amended{Revision: n, Amendment: backend.Amendment{Download: &download}}
}

// TestAmendedCredentials expects a revision that has never been ready to be created again under its
// name, because a Knative Revision is immutable. Serving revisions must not change.
func TestAmendedCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		n      rollout.Number
		before func(user)
		want   string
	}{
		"of the first deployment": {1, func(user) {}, "1:100"},
		"of a canary":             {2, func(u user) { u.rollOut("v1", promote, downloaded) }, "2:10 1:90"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			test.before(u)
			first := ""
			if test.n > 1 {
				first = string(u.revision(1).UID)
			}
			u.setFailing(test.n, true)
			u.rollOut("v2", 10, downloaded)
			if got := endpointOf(u.revision(test.n)); got != "" {
				t.Fatalf("it has the endpoint %q already", got)
			}
			u.amended = u.renewed(test.n)
			u.settle()
			if got := endpointOf(u.revision(test.n)); got != "http://store" {
				t.Errorf("its endpoint is %q", got)
			}
			u.setFailing(test.n, false)
			u.settle()
			u.wantTraffic(test.want)
			if test.n > 1 && string(u.revision(1).UID) != first {
				t.Error("the stable was created again")
			}
			if writes := u.settle(); len(writes) > 0 {
				t.Errorf("it goes on writing: %v", writes)
			}
		})
	}
}
