// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package knative

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/backend/history"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
	"github.com/serinus-io/serinus/internal/testkit/fakecluster"
)

func TestAChangeOfPercentIsOneWrite(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 10)
	if writes := u.rollOut("v2", 30); len(writes) != 1 || writes[0].String() != "patch Service "+serviceName {
		t.Errorf("it has written %v", writes)
	}
	u.wantTraffic("2:30 1:70")
}

// Returning to an existing revision changes the traffic only.
func TestRollbackKeepsTheTemplate(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 10)
	u.rollOut("v1", promote)
	u.wantTraffic("1:100")
	if name := u.service().Spec.Template.Name; name != "sklearn-iris-predictor-00002" {
		t.Errorf("the template is that of %s", name)
	}
	if len(u.revisions()) != 2 {
		t.Errorf("there are %d revisions", len(u.revisions()))
	}
	u.rollOut("v3", 20)
	u.wantTraffic("3:20 1:80")
}

// See KServe #2130: after a rollback, the rejected revision gets its share again while the next
// canary loads.
func TestRejectedRevisionStaysAtZero(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 20)
	u.rollOut("v2", 0)
	u.wantTraffic("2:0 1:100")
	u.setFailing(3, true)
	u.rollOut("v3", 20)
	u.wantTraffic("1:100")
	u.setFailing(3, false)
	u.settle()
	u.wantTraffic("3:20 1:80")
}

// A revision that was scaled to zero is named with a share of 0 until it is ready.
func TestPreviousRevisionIsReadyBeforeTraffic(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", promote)
	if u.replicas(1) != 0 {
		t.Fatalf("the old revision has %d pods", u.replicas(1))
	}
	u.setFailing(1, true)
	u.rollOut("v2", 0)
	u.wantTraffic("2:100 1:0")
	if u.replicas(1) != 1 {
		t.Errorf("the revision to return to has %d pods", u.replicas(1))
	}
	u.setFailing(1, false)
	u.settle()
	u.wantTraffic("2:0 1:100")
}

// Knative scales a revision down once no Route names it, and its pods look ready for a moment
// longer. If they got the traffic then, Knative's activator would hold the requests until new pods
// are ready.
func TestTerminatingRevisionIsNamedBeforeTraffic(t *testing.T) {
	for name, seen := range map[string]func(*servingv1.Revision){
		"seen":         func(r *servingv1.Revision) { r.SetRoutingState(servingv1.RoutingStateReserve, testkit.Start) },
		"not yet seen": func(*servingv1.Revision) {},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote)
			u.rollOut("v2", 10)
			u.apply("v2", promote)
			_, _, err := u.reconcile()
			u.Must(err)
			u.step()
			testkit.EditObject(u.Objects, "sklearn-iris-predictor-00001", &servingv1.Revision{}, seen)
			u.apply("v2", 0)
			_, _, err = u.reconcile()
			u.Must(err)
			if u.replicas(1) != 1 {
				t.Fatalf("it has %d pods already", u.replicas(1))
			}
			u.wantSpecTraffic("2:100 1:0")
			u.settle()
			u.wantTraffic("2:0 1:100")
		})
	}
}

// A Route does not change while it names a failed revision, even with a share of 0. The canary
// would keep its share.
func TestFailedCanaryIsLeftOutOfTraffic(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 10)
	u.setPods(2, fakecluster.Crash(1, "no such model"))
	u.catchUp()
	u.settle()
	u.wantTraffic("1:100")
	u.setPods(2, fakecluster.Ready())
	u.catchUp()
	u.settle()
	u.wantTraffic("2:10 1:90")
}

// Knative reports a revision as ready with its first replica, and would send it all requests
// (knative/serving #16649).
func TestMinReplicasBeforeTraffic(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setPods(2, fakecluster.ReadyUpTo(2))
	u.rollOut("v2", 10, atLeast(3))
	if !u.revision(2).IsReady() {
		t.Fatal("Knative does not call it ready")
	}
	u.wantTraffic("1:100")
	u.setPods(2, fakecluster.Ready())
	u.catchUp()
	u.settle()
	u.wantTraffic("2:10 1:90")

	u.setPods(2, fakecluster.ReadyUpTo(1)) // It has a share and keeps it.
	u.catchUp()
	u.settle()
	u.wantTraffic("2:10 1:90")
}

// Knative scales down a revision that no Route names. Under load, its PodAutoscaler learns seconds
// later that a Route names the revision again, and scales it down in the meantime.
func TestActiveAutoscalerBeforeTraffic(t *testing.T) {
	for name, behind := range map[string]fakecluster.RevisionBehavior{"it has not heard": fakecluster.Uninformed(), "it has yet to act on it": fakecluster.Inactive()} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote)
			u.rollOut("v2", promote)
			u.setRevision(1, behind)
			u.rollOut("v2", 0)
			if u.replicas(1) != 1 || !u.revision(1).Status.GetCondition(servingv1.RevisionConditionActive).IsTrue() {
				t.Fatal("Knative does not call it active")
			}
			u.wantTraffic("2:100 1:0")
			u.setRevision(1, fakecluster.Running())
			u.catchUp()
			u.settle()
			u.wantTraffic("2:0 1:100")
		})
	}
}

// With a minimum scale of 0, the user has chosen cold starts.
func TestColdRevisionGetsTraffic(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote, atLeast(0))
	u.rollOut("v2", promote, atLeast(0))
	u.setFailing(1, true) // The test would hang if it waited for the revision.
	u.rollOut("v2", 0, atLeast(0))
	u.wantTraffic("2:0 1:100")
}

// A canary that is scaled to zero keeps its share while Knative scales it from and to zero. It
// loses the share if a pod loses its readiness.
func TestColdRevisionKeepsItsShareWhileStarting(t *testing.T) {
	at := func(seconds int) metav1.Time {
		return metav1.NewTime(testkit.Start.Add(time.Duration(seconds) * time.Second))
	}
	pod := func(ready corev1.ConditionStatus, since int, edits ...func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: at(since)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "queue-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(1)}}}},
		}}
		pod.CreationTimestamp = at(0)
		for _, edit := range edits {
			edit(pod)
		}
		return pod
	}
	going := func(pod *corev1.Pod) { pod.DeletionTimestamp = new(at(30)) }
	restarted := func(pod *corev1.Pod) { pod.Status.ContainerStatuses[0].RestartCount = 1 }
	scheduled := func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at(0)})
	}
	for name, test := range map[string]struct {
		minimum string
		pods    []*corev1.Pod
		after   time.Duration
		want    int
	}{
		"no pods":                         {minimum: "0", want: 1},
		"no pods, and one must run":       {minimum: "1", want: 0},
		"a pod that starts":               {minimum: "0", pods: []*corev1.Pod{pod("False", 0)}, want: 1},
		"the first of those that start":   {minimum: "0", pods: []*corev1.Pod{pod("True", 5), pod("False", 0)}, want: 1},
		"a pod that goes":                 {minimum: "0", pods: []*corev1.Pod{pod("True", 5, going)}, want: 1},
		"one goes, and another one comes": {minimum: "0", pods: []*corev1.Pod{pod("True", 5, going), pod("False", 0)}, want: 1},
		"a pod that was ready":            {minimum: "0", pods: []*corev1.Pod{pod("False", 20)}, want: 0},
		"a pod that has crashed":          {minimum: "0", pods: []*corev1.Pod{pod("False", 0, restarted)}, want: 0},
		"a pod that is overdue":           {minimum: "0", pods: []*corev1.Pod{pod("False", 0, scheduled)}, after: time.Hour, want: 0},
		"a pod that starts, and one must": {minimum: "1", pods: []*corev1.Pod{pod("False", 0)}, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			revision := &servingv1.Revision{}
			revision.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: test.minimum, serving.ProgressDeadlineAnnotationKey: "10m"}
			revision.Status.Conditions = duckv1.Conditions{{Type: servingv1.RevisionConditionReady, Status: corev1.ConditionTrue}}
			service := &servingv1.Service{}
			service.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "sklearn-iris-predictor-00002", Percent: new(int64(100))}}
			service.Status.Traffic = service.Spec.Traffic
			observed := &children{
				service: service, knativeRevisions: map[rollout.Number]*servingv1.Revision{2: revision},
				pods: map[rollout.Number][]*corev1.Pod{2: test.pods}, now: testkit.Start.Add(test.after),
			}
			if got := observed.capacity(u.isvc(), 2); got != test.want {
				t.Errorf("its capacity is %d, want %d", got, test.want)
			}
		})
	}
}

// Knative treats a revision that was never routed as pending, and keeps its replicas.
func TestNeverRoutedRevisionScalesDown(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.setFailing(2, true)
	u.rollOut("v2", 10)
	u.rollOut("v3", 10)
	u.wantTraffic("3:10 1:90")
	u.setFailing(2, false)
	u.settle()
	if u.replicas(2) > 0 {
		t.Errorf("the superseded revision has %d pods", u.replicas(2))
	}
}

// A HorizontalPodAutoscaler cannot scale to zero, so the revision is deleted. It is restored from
// its ControllerRevision.
func TestHPARevisionIsDeletedAndRestored(t *testing.T) {
	u := newUser(t)
	byCPU := func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.ScaleMetric = new(v1beta1.MetricCPU) }
	u.rollOut("v1", promote, byCPU)
	if class := u.revision(1).Annotations[autoscaling.ClassAnnotationKey]; class != autoscaling.HPA {
		t.Fatalf("its class is %q", class)
	}
	u.rollOut("v2", promote, byCPU)
	if u.Has("sklearn-iris-predictor-00001", &servingv1.Revision{}) {
		t.Error("the old revision is still there")
	}
	u.rollOut("v2", 0, byCPU)
	u.wantTraffic("2:0 1:100")
}

func TestReplicaBoundsCreateARevision(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v1", promote, atLeast(3))
	u.wantTraffic("2:100")
	if scale := u.revision(2).Annotations[autoscaling.MinScaleAnnotationKey]; scale != "3" || u.replicas(2) != 3 {
		t.Errorf("min-scale is %q, and %d run", scale, u.replicas(2))
	}
}

// Knative enforces the concurrency, the timeout and the initial scale.
func TestRequestLimits(t *testing.T) {
	u := newUser(t)
	testkit.EditObject(u.Objects, isvcName, &v1beta1.InferenceService{}, func(isvc *v1beta1.InferenceService) {
		isvc.Annotations = map[string]string{autoscaling.InitialScaleAnnotationKey: "2"}
	})
	u.rollOut("v1", promote, func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.ContainerConcurrency, isvc.Spec.Predictor.TimeoutSeconds = new(int64(4)), new(int64(30))
	})
	revision := u.revision(1)
	for name, limit := range map[string]struct {
		got  *int64
		want int64
	}{
		"requests at a time":          {revision.Spec.ContainerConcurrency, 4},
		"seconds":                     {revision.Spec.TimeoutSeconds, 30},
		"seconds until answers begin": {revision.Spec.ResponseStartTimeoutSeconds, 30},
	} {
		if limit.got == nil || *limit.got != limit.want {
			t.Errorf("%s: got %v, want %d", name, limit.got, limit.want)
		}
	}
	if scale := revision.Annotations[autoscaling.InitialScaleAnnotationKey]; scale != "2" {
		t.Errorf("initial-scale is %q", scale)
	}
}

func TestRevisionsAreMarkedNoGC(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", promote)
	for _, revision := range u.revisions() {
		if revision.Annotations[serving.RevisionPreservedAnnotationKey] != "true" {
			t.Errorf("%s is not", revision.Name)
		}
	}
}

// A template that Knative's webhook refuses must not keep a rejected canary in the traffic.
func TestTrafficChangesDespiteRefusedTemplate(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 10)
	refusal := apierrors.NewBadRequest(`admission webhook "validation.webhook.serving.knative.dev" denied the request: ` +
		"validation failed: must not set the field(s): spec.template.spec.initContainers")
	u.refuseTemplates(refusal)
	u.apply("v3", 20)
	_, _, err := u.reconcile()
	if !errors.Is(err, refusal) || !strings.Contains(err.Error(), `kubectl patch configmap -n knative-serving config-features`) {
		t.Errorf("error is %v", err)
	}
	u.catchUp()
	u.wantTraffic("1:100")
}

// TestAdoptionFromKServe starts with a canary of KServe's.
func TestAdoptionFromKServe(t *testing.T) {
	u := newUser(t)
	u.kserve(map[rollout.Number]string{1: "v1", 2: "v2"}, []servingv1.TrafficTarget{
		{LatestRevision: new(true), Percent: new(int64(10))},
		{RevisionName: "sklearn-iris-predictor-00001", LatestRevision: new(false), Percent: new(int64(90)), Tag: "prev"},
	}, v1beta1.ComponentStatusSpec{
		LatestCreatedRevision: "sklearn-iris-predictor-00002", LatestReadyRevision: "sklearn-iris-predictor-00002",
		LatestRolledoutRevision: "sklearn-iris-predictor-00001",
	})
	u.apply("v2", 10)
	before, template := u.Pods(), u.service().Spec.Template
	u.settle()

	u.wantTraffic("2:10 1:90")
	if after := u.Pods(); len(after) != len(before) || after[0].UID != before[0].UID || after[1].UID != before[1].UID {
		t.Error("the pods are others")
	}
	service := u.service()
	if service.Spec.Template.Name != template.Name {
		t.Error("the template was touched")
	}
	state, err := rollout.DecodeState(service.Annotations["rollout.serinus.io/record"])
	if err != nil || state.Stable != 1 || state.Target != 2 || state.Highest != 2 {
		t.Errorf("the rollout state is %s, %v", state.Encode(), err)
	}
	found, err := history.Read(context.Background(), &u.backend.Store, u.isvc())
	if err != nil || len(found.Revisions) != 2 {
		t.Errorf("%d revisions are in the history, %v", len(found.Revisions), err)
	}

	u.rollOut("v2", promote)
	u.wantTraffic("2:100")
	u.rollOut("v2", 0)
	u.wantTraffic("2:0 1:100")
	u.rollOut("v3", 20)
	u.wantTraffic("3:20 1:80")
}

// TestStaleStatusMovesNoTraffic delays the status and returns older generations.
func TestStaleStatusMovesNoTraffic(t *testing.T) {
	u := newUser(t)
	u.rollOut("v1", promote)
	u.rollOut("v2", 10)
	for name, late := range map[string]func(*servingv1.Service){
		"of an older generation": func(s *servingv1.Service) { s.Status.ObservedGeneration-- },
		"with other traffic":     func(s *servingv1.Service) { s.Status.Traffic[0].Percent = new(int64(50)) },
		"still on its way": func(s *servingv1.Service) {
			s.Status.Conditions = duckv1.Conditions{{Type: servingv1.ServiceConditionRoutesReady, Status: corev1.ConditionUnknown}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := u.service()
			original := service.Status.DeepCopy()
			late(service)
			u.Must(u.server.Status().Update(t.Context(), service))
			before := len(u.server.Writes)
			observed, decision, err := u.reconcile()
			if err != nil || observed.Route.Accepted || decision.Programmed || len(u.server.Writes) > before {
				t.Errorf("accepted: %t, programmed: %t, wrote %v, %v", observed.Route.Accepted, decision.Programmed, u.server.Writes[before:], err)
			}
			service = u.service()
			service.Status = *original
			u.Must(u.server.Status().Update(t.Context(), service))
		})
	}
}

// TestRevisionFailures expects Knative's message and the way to recover.
func TestRevisionFailures(t *testing.T) {
	for name, test := range map[string]struct {
		condition apis.Condition
		want      string
		says      string
	}{
		"an exit":     {apis.Condition{Type: servingv1.RevisionConditionContainerHealthy, Reason: "ExitCode1", Message: "Container failed with: no such model"}, "ContainerCrashed", "no such model"},
		"an image":    {apis.Condition{Type: servingv1.RevisionConditionContainerHealthy, Reason: "ContainerMissing", Message: "Unable to fetch image"}, "ImagePullFailed", "Unable to fetch image"},
		"a deadline":  {apis.Condition{Type: servingv1.RevisionConditionResourcesAvailable, Reason: "ProgressDeadlineExceeded", Message: "Initial scale was never achieved"}, "ProgressDeadlineExceeded", "raise the deadline"},
		"another one": {apis.Condition{Type: servingv1.RevisionConditionResourcesAvailable, Reason: "NotOwned", Message: "not ours"}, "RevisionFailed", "not ours"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.rollOut("v1", promote)
			u.setFailing(2, true)
			u.rollOut("v2", 10)
			knativeRevision := u.revision(2)
			test.condition.Status = corev1.ConditionFalse
			knativeRevision.Status.Conditions = duckv1.Conditions{{Type: servingv1.RevisionConditionReady, Status: corev1.ConditionFalse}, test.condition}
			u.Must(u.server.Status().Update(t.Context(), knativeRevision))
			observed := u.observe()
			failure := observed.Details[2].Failure
			if failure == nil || failure.Reason != test.want || !strings.Contains(failure.Message, test.says) ||
				!strings.Contains(failure.Message, "kubectl delete revisions.serving.knative.dev -n kserve-test sklearn-iris-predictor-00002") {
				t.Errorf("failure is %+v", failure)
			}
			if decision := rollout.Decide(observed.Snapshot, rollout.Policy{}, u.now); decision.Phase != rollout.Failed {
				t.Errorf("phase is %s", decision.Phase)
			}
		})
	}
}

// TestPrematureFailures expects progress for a pod that waits for a node or for quota, or that has
// exited once.
func TestPrematureFailures(t *testing.T) {
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(testkit.Start)}
	waits := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 Insufficient cpu."}
	knativeRevision := func() *servingv1.Revision {
		revision := &servingv1.Revision{}
		revision.CreationTimestamp = metav1.NewTime(testkit.Start)
		revision.Annotations = map[string]string{serving.ProgressDeadlineAnnotationKey: "10m0s"}
		return revision
	}
	for name, test := range map[string]struct {
		reason, message string
		pod             *corev1.PodCondition
		after           time.Duration
		fails, stage    string
	}{
		"a node":                           {"Unschedulable", "0/1 nodes are available", &waits, time.Hour, "", "waiting for a node: Insufficient cpu"},
		"the deadline, without a node":     {"ProgressDeadlineExceeded", "", &waits, time.Hour, "", "waiting for a node: Insufficient cpu"},
		"one exit":                         {"ExitCode1", "no database", &scheduled, time.Minute, "", "preparing its volumes"},
		"a quota":                          {"FailedCreate", "exceeded quota: team", nil, 9 * time.Minute, "", "exceeded quota: team"},
		"a quota, until the deadline":      {"FailedCreate", "exceeded quota: team", nil, 10 * time.Minute, "PodsRefused", ""},
		"a registry that does not answer":  {"ContainerMissing", "failed to resolve image to digest: i/o timeout", nil, time.Minute, "", "i/o timeout"},
		"the deadline, with the pods gone": {"ProgressDeadlineExceeded", "", nil, time.Minute, "ProgressDeadlineExceeded", ""},
	} {
		t.Run(name, func(t *testing.T) {
			revision := knativeRevision()
			revision.Status.Conditions = duckv1.Conditions{
				{Type: servingv1.RevisionConditionReady, Status: corev1.ConditionFalse},
				{Type: servingv1.RevisionConditionResourcesAvailable, Status: corev1.ConditionFalse, Reason: test.reason, Message: test.message},
			}
			found := &children{knativeRevisions: map[rollout.Number]*servingv1.Revision{2: revision}, pods: map[rollout.Number][]*corev1.Pod{}}
			if test.pod != nil {
				found.pods[2] = []*corev1.Pod{{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{*test.pod}}}}
			}
			detail := found.detail(2)
			observed := &backend.Observation{
				Revisions: []rollout.Revision{{Number: 2, Workloads: rollout.WorkloadsOf(&rollout.Workload{Failed: detail.Failure != nil})}},
				Details:   map[rollout.Number]backend.RevisionStatus{2: detail},
			}
			observed, _ = observed.Expire(testkit.Start.Add(test.after))
			got, reason := observed.Details[2], ""
			if got.Failure != nil {
				reason = got.Failure.Reason
			}
			if reason != test.fails || observed.Revisions[0].Workloads[rollout.Predictor].Failed != (test.fails != "") || !strings.Contains(got.Stage, test.stage) {
				t.Errorf("it fails for %q in stage %q", reason, got.Stage)
			}
		})
	}
}

func TestWithoutKnativeOnlyHistoryIsWritten(t *testing.T) {
	u := newUser(t)
	u.backend.Installed = func() bool { return false }
	u.apply("v1", promote)
	observed, _, err := u.reconcile()
	if err != nil || observed.RouteStatus.Reason != reasonNotInstalled {
		t.Errorf("reason is %q, error is %v", observed.RouteStatus.Reason, err)
	}
	if len(u.server.Writes) != 1 || u.server.Writes[0].Kind != "ControllerRevision" {
		t.Errorf("it has written %v", u.server.Writes)
	}
	u.backend.Installed = func() bool { return true }
	u.settle()
	u.wantTraffic("1:100")
}
