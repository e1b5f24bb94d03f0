// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

func (u user) deletions(kind string) int {
	count := 0
	for _, w := range u.server.Writes {
		if w.Verb == "delete" && w.Kind == kind {
			count++
		}
	}
	return count
}

// reconcileTimes reconciles several times, and lets Knative catch up after each.
func (u user) reconcileTimes(count int) {
	u.T.Helper()
	for range count {
		if _, _, err := u.reconcile(); err != nil && !backend.IsStale(err) {
			u.T.Fatal(err)
		}
		u.catchUp()
	}
}

// Knative retries an unresolved image by itself, with a backoff that is lost if the revision is
// deleted.
func TestUnresolvedImageIsLeftToKnative(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setRevision(2, fakecluster.Unresolved(`Unable to fetch image "registry.example.com/v2": failed to resolve image to digest: MANIFEST_UNKNOWN`))
	u.apply("v2", 10)
	for range 20 {
		u.reconcileTimes(1)
		u.now = u.now.Add(time.Hour)
	}
	if n := u.deletions("Revision"); n > 0 {
		t.Errorf("it was deleted %d times", n)
	}
	u.wantTraffic("1:100")
	u.setRevision(2, fakecluster.Running())
	u.catchUp()
	u.settle()
	u.wantTraffic("2:10 1:90")
}

func TestUnresponsiveRegistryIsProgressUntilDeadline(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setRevision(2, fakecluster.Unresolved(`Unable to fetch image "registry.example.com/v2": failed to resolve image to digest: Get "https://registry.example.com/v2/": dial tcp: i/o timeout`))
	u.apply("v2", 10)
	u.reconcileTimes(4)
	observed := u.observe()
	if failure := observed.Details[2].Failure; failure != nil {
		t.Errorf("it is a failure: %s", failure.Message)
	}
	if !observed.WakeAt.After(u.now) {
		t.Fatal("nothing looks at it again")
	}
	u.now = observed.WakeAt
	observed = u.observe()
	if failure := observed.Details[2].Failure; failure == nil || failure.Reason != "ImagePullFailed" {
		t.Errorf("after the deadline the failure is %v", failure)
	}
}

func TestUnschedulableRevisionIsProgressUntilGivenUp(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setFailing(2, true)
	u.rollOut("v2", 10)
	fail := func() *backend.Failure {
		revision := u.revision(2)
		revision.Status.Conditions = duckv1.Conditions{
			{Type: servingv1.RevisionConditionReady, Status: corev1.ConditionFalse},
			{Type: servingv1.RevisionConditionResourcesAvailable, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"},
		}
		u.Must(u.server.Status().Update(t.Context(), revision))
		observed := u.observe()
		return observed.Details[2].Failure
	}
	if failure := fail(); failure != nil {
		t.Errorf("it is a failure: %s", failure.Message)
	}
	u.setRevision(2, fakecluster.GivenUp())
	u.catchUp()
	if fail() == nil {
		t.Error("it is no failure after Knative has given it up")
	}
}

// Revisions that Knative has given up are retried with a backoff that survives a restart of the
// operator.
func TestGivenUpRevisionIsRetriedWithBackoff(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setRevision(2, fakecluster.GivenUp())
	u.apply("v2", 10)
	u.reconcileTimes(10)
	if n := u.deletions("Revision"); n != 1 {
		t.Fatalf("within no time at all it was tried again %d times", n)
	}
	var last time.Duration
	for tries := 1; tries <= 8; tries++ {
		observed := u.observe()
		pause := observed.WakeAt.Sub(u.now)
		if pause < last || pause < 30*time.Second || pause > time.Hour {
			t.Errorf("pause %d is %s, after one of %s", tries, pause, last)
		}
		last = pause
		u.now = observed.WakeAt.Add(-time.Second)
		u.restart()
		u.reconcileTimes(3)
		if n := u.deletions("Revision"); n != tries {
			t.Fatalf("a second too early it was tried again %d times, want %d", n, tries)
		}
		u.now = observed.WakeAt
		u.reconcileTimes(5)
		if n := u.deletions("Revision"); n != tries+1 {
			t.Fatalf("it was tried again %d times, want %d", n, tries+1)
		}
	}
	u.setRevision(2, fakecluster.Running())
	u.catchUp()
	u.settle()
	u.wantTraffic("2:10 1:90")
	u.wantSilence()
}

// An unreadable or too late time must not block the retries.
func TestInvalidBackoffIsIgnored(t *testing.T) {
	for _, value := range []string{"1 2999-01-01T00:00:00Z", "soon", ""} {
		t.Run(value, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote)
			u.setFailing(2, true)
			u.rollOut("v2", 10)
			u.edit(2, value)
			u.setRevision(2, fakecluster.GivenUp())
			u.catchUp()
			u.reconcileTimes(5)
			if n := u.deletions("Revision"); n != 1 {
				t.Errorf("it was tried again %d times", n)
			}
		})
	}
}

// edit writes a backoff to the ControllerRevision of a revision.
func (u user) edit(n int, value string) {
	u.T.Helper()
	found, err := history.Read(u.T.Context(), &u.backend.Store, u.isvc())
	u.Must(err)
	for number, stored := range found.ControllerRevisions {
		if int(number) == n {
			stored.Annotations[history.AnnotationRetry] = value
			u.Must(u.server.Update(u.T.Context(), stored))
		}
	}
}

func (u user) restart() {
	old := u.backend
	u.backend = &Backend{
		Store:  objects.Store{Client: old.Client, APIReader: old.APIReader, Scheme: old.Scheme},
		Config: old.Config, Clock: old.Clock, Installed: old.Installed, RoutesInstalled: old.RoutesInstalled,
	}
}

// wantSilence checks that a settled InferenceService costs no writes.
func (u user) wantSilence() {
	u.T.Helper()
	before := len(u.server.Writes)
	for range 5 {
		u.reconcileTimes(1)
		u.now = u.now.Add(time.Hour)
	}
	if len(u.server.Writes) > before {
		u.T.Errorf("it goes on writing: %v", u.server.Writes[before:])
	}
}

func byCPU(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU) }

// A HorizontalPodAutoscaler cannot scale to zero, and Knative recreates the revision that the
// template names.
func TestAbortedHPACanaryIsDeletedAndRestored(t *testing.T) {
	for name, broken := range map[string]bool{"which serves": false, "which never became ready": true} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote, byCPU)
			u.setFailing(2, broken)
			u.rollOut("v2", 10, byCPU)
			stable := u.Pods()[0].UID
			u.rollOut("v1", promote, byCPU) // Row 15.
			u.wantTraffic("1:100")
			if n := u.replicas(2); n > 0 {
				t.Errorf("the aborted canary still runs %d pods", n)
			}
			if pods := u.Pods(); len(pods) != 1 || pods[0].UID != stable {
				t.Error("the stable's pod is another one")
			}
			u.wantSilence()

			u.setFailing(2, false)
			u.rollOut("v2", 20, byCPU)
			u.wantTraffic("2:20 1:80")
			u.rollOut("v2", promote, byCPU)
			u.wantTraffic("2:100")
			u.rollOut("v2", 0, byCPU)
			u.wantTraffic("2:0 1:100")
			u.wantSilence()
		})
	}
}

// If Knative's webhook refuses the template, the aborted canary keeps running without traffic.
func TestAbortedCanaryWithRefusedTemplate(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote, byCPU)
	u.rollOut("v2", 10, byCPU)
	u.refuseTemplates(errTemplate)
	u.apply("v1", promote, byCPU)
	for range 10 {
		u.reconcile() //nolint:errcheck // It is refused.
		u.catchUp()
		u.now = u.now.Add(time.Minute)
	}
	u.wantTraffic("1:100")
}

// The template may name a revision beyond the history limit: a stable that was lost and created
// again.
func TestTemplateRevisionBeyondHistoryLimit(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	for i := 2; i <= 11; i++ { // Ten canaries, each superseded by the next.
		u.rollOut(fmt.Sprintf("v%d", i), 10)
	}
	u.rollOut("v1", promote)
	u.Remove(backend.RevisionName(isvcName, 1), &servingv1.Revision{})
	u.catchUp()
	u.settle()
	u.rollOut("v11", promote)
	u.rollOut("v10", promote)
	u.wantTraffic("0:100")
	u.wantSilence()

	u.rollOut("v12", promote) // The template names another revision, and all old ones are deleted.
	u.rollOut("v13", promote)
	u.wantSilence()
	found, err := history.Read(t.Context(), &u.backend.Store, u.isvc())
	u.Must(err)
	if len(found.ControllerRevisions) > 11 || len(found.ControllerRevisions) < 10 {
		t.Errorf("%d revisions are in the history", len(found.ControllerRevisions))
	}
	if found.ControllerRevisions[1] != nil || u.Has(backend.RevisionName(isvcName, 1), &servingv1.Revision{}) {
		t.Error("revision 1 is still there")
	}
}

var errTemplate = apierrors.NewBadRequest("no other template")
