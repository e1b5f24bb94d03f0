// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package standard

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

func (c *cluster) variables(n rollout.Number) []corev1.EnvVar {
	c.T.Helper()
	deployment := &appsv1.Deployment{}
	c.Get(deploymentName(isvcName, n), deployment)
	return deployment.Spec.Template.Spec.InitContainers[0].Env
}

func (c *cluster) amend(amended backend.Amended) error {
	c.T.Helper()
	observed, err := c.observe()
	c.Must(err)
	return c.applyDecision(observed, c.decide(observed), func(change *backend.Change) { change.Amended = &amended })
}

func download(variables ...corev1.EnvVar) *predictor.Download {
	revision := newRevision()
	download := predictor.DownloadOf(&revision.Runs.Template)
	download.Env = variables
	return download
}

// TestAmendedCredentials: amended credentials reach the pods of a target that has never been ready,
// even if a variable is only removed. They survive a restart.
func TestAmendedCredentials(t *testing.T) {
	c := newCluster(t)
	c.rollOut("a", -1)
	c.setUnready(2, true)
	c.rollOut("b", 10)
	endpoint := corev1.EnvVar{Name: "AWS_ENDPOINT_URL", Value: "http://store"}
	c.Must(c.amend(backend.Amended{Revision: 2, Amendment: backend.Amendment{Download: download(endpoint)}}))
	c.settle()
	if got := c.variables(2); len(got) != 1 || got[0] != endpoint {
		t.Fatalf("its variables are %v", got)
	}
	if got := c.variables(1); len(got) != 0 {
		t.Errorf("those of the stable are %v", got)
	}
	if writes := c.settle(); len(writes) > 0 {
		t.Errorf("it goes on writing: %v", writes)
	}
	c.Must(c.amend(backend.Amended{Revision: 2, Amendment: backend.Amendment{Download: download()}}))
	c.settle()
	if got := c.variables(2); len(got) != 0 {
		t.Errorf("its variables are %v", got)
	}
	c.setUnready(2, false)
	c.settle()
	if got := c.served(); !got.Equal(split(t, 2, 10, 1, 90)) {
		t.Errorf("the split is %v", got)
	}
}

// TestServingPodsAreNotRestartedForCredentials that were recorded just before the pods became
// ready.
func TestServingPodsAreNotRestartedForCredentials(t *testing.T) {
	c := newCluster(t)
	c.rollOut("a", -1)
	c.Must(c.amend(backend.Amended{Revision: 1, Amendment: backend.Amendment{Download: download(corev1.EnvVar{Name: "A", Value: "b"})}}))
	c.settle()
	if got := c.variables(1); len(got) != 0 {
		t.Errorf("its variables are %v", got)
	}
}

// TestUserSpecIsKept with the revision, and added to a ControllerRevision that lacks it.
func TestUserSpecIsKept(t *testing.T) {
	user := &predictor.UserSpec{
		Predictor: json.RawMessage(`{"model":{"modelFormat":{"name":"sklearn"}}}`), RequestedRuntime: "ours",
		ModelURI: "gs://models/iris", ChangeCause: "a better one",
	}
	stored, err := history.Encode(testkit.NewInferenceService(), 2, newRevision(func(r *backend.RenderedRevision) { r.User = user }))
	if err != nil {
		t.Fatal(err)
	}
	if got := stored.Annotations["kubernetes.io/change-cause"]; got != user.ChangeCause {
		t.Errorf("the change cause is %q", got)
	}
	decoded, err := history.Decode(stored)
	if err != nil || decoded.User == nil || string(decoded.User.Predictor) != string(user.Predictor) || decoded.User.ModelURI != user.ModelURI {
		t.Errorf("read back, it is %v (%v)", decoded.User, err)
	}

	c := newCluster(t)
	c.rollOut("a", -1)
	before := len(c.server.Writes)
	c.Must(c.amend(backend.Amended{Revision: 1, Amendment: backend.Amendment{User: user}}))
	c.settle()
	if writes := c.server.Writes[before:]; len(writes) > 2 { // The ControllerRevision, and the summary on the Deployment.
		t.Errorf("it has written\n%s", formatWrites(writes))
	}
	observed, err := c.observe()
	c.Must(err)
	recorded := observed.History[1]
	if recorded.User == nil || recorded.User.ModelURI != user.ModelURI || recorded.Identity.RequestedRuntime != "ours" {
		t.Errorf("the history has %v, %v", recorded.User, recorded.Identity)
	}
}
