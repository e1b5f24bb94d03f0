// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

var (
	deployments  = schema.GroupResource{Group: "apps", Resource: "deployments"}
	errTransient = apierrors.NewInternalError(errors.New("etcd is down"))
	errThrottled = apierrors.NewTooManyRequests("slow down", 1)
	errInvalid   = apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "x", nil)
	errForbidden = apierrors.NewForbidden(deployments, "x", errors.New("a policy says no"))
	errConflict  = apierrors.NewConflict(deployments, "x", errors.New("object was modified"))
	errOwnership = &backend.ConflictError{Kind: "Service", Namespace: "kserve-test", Name: "sklearn-iris-predictor-00001", Owner: "Deployment web"}
	errRoute     = &backend.ConflictError{Kind: "HTTPRoute", Namespace: "kserve-test", Name: "sklearn-iris"}
)

func TestDeletedInferenceServiceIsNotChanged(t *testing.T) {
	o := newOperator(t)
	isvc := o.isvc()
	o.reconciler.failureBackoff.next(isvc.UID, testkit.Start)
	isvc.DeletionTimestamp = new(metav1.NewTime(testkit.Start))
	result, err := o.reconciler.Reconcile(t.Context(), isvc)
	if result != (ctrl.Result{}) || err != nil {
		t.Errorf("result is %+v, error %v", result, err)
	}
	if len(o.backend.decisions) > 0 || o.statusWrites > 0 {
		t.Errorf("%d decisions, %d writes of status", len(o.backend.decisions), o.statusWrites)
	}
	if _, found := o.reconciler.failureBackoff.entries.Load(isvc.UID); found {
		t.Error("its failures are still counted")
	}
}

// outcome is the result of a reconciliation with an error.
type outcome struct {
	// wantErr is the returned error.
	wantErr error
	// wantReason is the reason of Ready. It is empty if the status is not written.
	wantReason string
	wantAfter  time.Duration
}

func checkOutcome(t *testing.T, o *operator, want outcome) {
	t.Helper()
	before := o.statusWrites
	result, err := o.reconciler.Reconcile(t.Context(), o.isvc())
	if !errors.Is(err, want.wantErr) || (err == nil) != (want.wantErr == nil) {
		t.Errorf("error is %v, want %v", err, want.wantErr)
	}
	if result.RequeueAfter != want.wantAfter {
		t.Errorf("RequeueAfter is %v, want %v", result.RequeueAfter, want.wantAfter)
	}
	if wrote := o.statusWrites > before; wrote != (want.wantReason != "") {
		t.Fatalf("status is written: %t", wrote)
	}
	if want.wantReason == "" {
		return
	}
	ready := o.condition(v1beta1.ConditionReady)
	if ready.Status != metav1.ConditionFalse || ready.Reason != want.wantReason || ready.Message == "" {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
}

const (
	afterStale   = minStaleBackoff
	afterRecheck = recheckPeriod + time.Millisecond
)

func TestObserveErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want outcome
	}{
		"transient":                  {errTransient, outcome{wantErr: errTransient}},
		"a stale cache":              {fmt.Errorf("x: %w", backend.ErrStaleCache), outcome{wantAfter: afterStale}},
		"an object of another owner": {errOwnership, outcome{wantReason: "OwnershipConflict", wantAfter: afterRecheck}},
		"a route of another owner":   {errRoute, outcome{wantReason: "OwnershipConflict", wantAfter: afterRecheck}},
		"cancelled":                  {context.Canceled, outcome{wantErr: context.Canceled}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			components := o.isvc().Status.Components
			o.backend.observeErr = test.err
			checkOutcome(t, o, test.want)
			if diff := cmp.Diff(components, o.isvc().Status.Components); diff != "" {
				t.Errorf("the reported revisions changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestApplyErrors(t *testing.T) {
	namespaceTerminating := apierrors.NewForbidden(deployments, "x", errors.New("it is being terminated"))
	namespaceTerminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, test := range map[string]struct {
		err  error
		want outcome
	}{
		"transient":                      {errTransient, outcome{wantErr: errTransient}},
		"throttled":                      {errThrottled, outcome{wantErr: errThrottled}},
		"timed out":                      {context.DeadlineExceeded, outcome{wantErr: context.DeadlineExceeded}},
		"the namespace is being deleted": {namespaceTerminating, outcome{wantErr: namespaceTerminating}},
		"a conflict of versions":         {fmt.Errorf("applying: %w", errConflict), outcome{wantAfter: afterStale}},
		"a stale cache":                  {backend.ErrStaleCache, outcome{wantAfter: afterStale}},
		"several stale caches":           {errors.Join(backend.ErrStaleCache, errConflict), outcome{wantAfter: afterStale}},
		"invalid":                        {fmt.Errorf("applying: %w", errInvalid), outcome{wantReason: "RefusedByAPIServer", wantAfter: afterRecheck}},
		"forbidden":                      {errForbidden, outcome{wantReason: "RefusedByAPIServer", wantAfter: afterRecheck}},
		"malformed":                      {apierrors.NewBadRequest("what?"), outcome{wantReason: "RefusedByAPIServer", wantAfter: afterRecheck}},
		"an object of another owner":     {errOwnership, outcome{wantReason: "OwnershipConflict", wantAfter: afterRecheck}},
		"a route of another owner":       {errRoute, outcome{wantReason: "OwnershipConflict", wantAfter: afterRecheck}},
		"two problems":                   {errors.Join(errRoute, errInvalid), outcome{wantReason: "OwnershipConflict", wantAfter: afterRecheck}},
		"a problem and transient":        {errors.Join(errInvalid, errTransient), outcome{wantErr: errTransient}},
		"a nested problem and transient": {errors.Join(errors.Join(nil, errInvalid), errors.Join(errTransient)), outcome{wantErr: errTransient}},
		"a stale cache and transient":    {errors.Join(backend.ErrStaleCache, errTransient), outcome{wantErr: errTransient}},
		"a stale cache before transient": {errors.Join(errConflict, errThrottled), outcome{wantErr: errThrottled}},
		"a problem and a stale cache":    {errors.Join(errInvalid, backend.ErrStaleCache), outcome{wantAfter: afterStale}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			o.backend.otherErr = test.err
			checkOutcome(t, o, test.want)

			o.backend.otherErr = nil
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
				t.Errorf("after the error is gone, Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
		})
	}
}

// TestProblemIsReportedOnce checks that neither the status nor the event is repeated.
func TestProblemIsReportedOnce(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.newEvents()
	o.backend.otherErr = errOwnership
	writes := o.statusWrites
	for range 3 {
		if result := o.reconcile(); result.RequeueAfter != afterRecheck {
			t.Errorf("RequeueAfter is %v", result.RequeueAfter)
		}
		o.clock.SetTime(o.clock.Now().Add(recheckPeriod))
	}
	if o.statusWrites != writes+1 {
		t.Errorf("status is written %d times", o.statusWrites-writes)
	}
	if diff := cmp.Diff([]string{"Warning OwnershipConflict " + errOwnership.Error()}, o.newEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	o.backend.otherErr = errRoute
	o.reconcile()
	if diff := cmp.Diff([]string{"Warning OwnershipConflict " + errRoute.Error()}, o.newEvents()); diff != "" {
		t.Errorf("events of another problem (-want +got):\n%s", diff)
	}
}

// TestInvalidSpecMovesNoTraffic also checks that there is no requeue, because a watch reports the
// next change.
func TestInvalidSpecMovesNoTraffic(t *testing.T) {
	for name, test := range map[string]struct {
		edit       func(*v1beta1.InferenceService)
		wantReason string
		want       string // A part of the message.
	}{
		"an unknown format": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.Containers = nil
			isvc.Spec.Predictor.Model = &v1beta1.ModelSpec{ModelFormat: v1beta1.ModelFormat{Name: "iris"}}
		}, "NoSupportingRuntime", `format "iris"`},
		"a malformed annotation": {testkit.Annotation(v1beta1.AnnotationStop, "yes"), "InvalidPredictorSpec", "metadata.annotations[serving.kserve.io/stop]"},
		"a mode that is not supported": {
			testkit.Annotation(v1beta1.AnnotationDeploymentMode, "ModelMesh"), "DeploymentModeNotSupported", `deployment mode "ModelMesh" is not supported; write Standard or Knative, or remove the annotation`,
		},
		"a cluster-local service without a local gateway, in Knative's words": {func(isvc *v1beta1.InferenceService) {
			metav1.SetMetaDataLabel(&isvc.ObjectMeta, v1beta1.LabelKnativeNetworkVisibility, v1beta1.VisibilityClusterLocal)
		}, "LocalGatewayNotConfigured", "metadata.labels[networking.knative.dev/visibility]"},
		"a cluster-local service without a local gateway": {func(isvc *v1beta1.InferenceService) {
			metav1.SetMetaDataLabel(&isvc.ObjectMeta, v1beta1.LabelNetworkVisibility, v1beta1.VisibilityClusterLocal)
		}, "LocalGatewayNotConfigured", "ingress.localGateway"},
		"a port that no Service can target": {func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 80}}
		}, "InvalidPredictorSpec", "spec.predictor.containers[kserve-container].ports"},
		"a percent out of bounds": {withModel("v2", new(int64(101))), "InvalidPredictorSpec", "spec.predictor.canaryTrafficPercent"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			before := o.backend.state.Encode()
			o.edit(test.edit)
			result := o.reconcile()
			if result.RequeueAfter != 0 {
				t.Errorf("RequeueAfter is %v", result.RequeueAfter)
			}
			ready := o.condition(v1beta1.ConditionReady)
			if ready.Status != metav1.ConditionFalse || ready.Reason != test.wantReason || !strings.Contains(ready.Message, test.want) {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			if got := o.isvc().Status.ModelStatus.TransitionStatus; got != v1beta1.InvalidSpec {
				t.Errorf("the model is %s", got)
			}
			if got := o.backend.state.Encode(); got != before {
				t.Errorf("the rollout state was %s and is %s", before, got)
			}
			if last := o.backend.decisions[len(o.backend.decisions)-1]; last.Create || len(last.Transitions) > 0 {
				t.Errorf("the decision is %+v", last)
			}
			writes := o.statusWrites
			o.reconcile()
			if o.statusWrites > writes {
				t.Error("the status is written twice")
			}
		})
	}
}

// TestUnsupportedModeIsNotAdopted checks that a second reconciliation refuses the mode for the same
// reason.
func TestUnsupportedModeIsNotAdopted(t *testing.T) {
	o := newOperator(t, testkit.Annotation(v1beta1.AnnotationDeploymentMode, "ModelMesh"))
	for range 2 {
		o.reconcile()
		ready := o.condition(v1beta1.ConditionReady)
		if ready.Reason != reasonDeploymentMode {
			t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
		}
	}
	if len(o.backend.revisions) > 0 || o.isvc().Status.DeploymentMode != "" || len(o.newEvents()) != 1 {
		t.Errorf("%d revisions, mode %q", len(o.backend.revisions), o.isvc().Status.DeploymentMode)
	}
}

// TestStatusWaitsForTheGateway checks that the status waits for the gateway after a shift, at most
// for the settle period, so that one change costs one write.
func TestStatusWaitsForTheGateway(t *testing.T) {
	settle := func(o *operator) time.Duration { return o.reconciler.Config.Rollout.SettlePeriod.Duration }

	t.Run("the gateway is quick", func(t *testing.T) {
		o := newOperator(t)
		o.rollOut("v2", nil)
		o.edit(withModel("v3", new(int64(10))))
		o.reconcile()
		o.backend.catchUp()
		writes := o.statusWrites
		if result := o.reconcile(); result.RequeueAfter != settle(o)+time.Millisecond || o.statusWrites > writes {
			t.Errorf("after the shift, RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
		}
		o.backend.catchUp()
		o.reconcile()
		if o.statusWrites != writes+1 || o.condition(v1beta1.ConditionReady).Status != metav1.ConditionTrue {
			t.Errorf("%d writes; Ready is %s", o.statusWrites-writes, o.condition(v1beta1.ConditionReady).Status)
		}
	})

	t.Run("the gateway is slow", func(t *testing.T) {
		o := newOperator(t)
		o.reconcile()
		o.backend.catchUp()
		o.backend.unresponsive = true
		o.reconcile()
		writes := o.statusWrites
		o.clock.SetTime(testkit.Start.Add(settle(o) - time.Millisecond))
		if result := o.reconcile(); result.RequeueAfter != 2*time.Millisecond || o.statusWrites > writes {
			t.Errorf("just before the end of the settle period, RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
		}
		o.clock.SetTime(testkit.Start.Add(settle(o)))
		if result := o.reconcile(); result.RequeueAfter != 0 || o.statusWrites != writes+1 {
			t.Errorf("at the end of the settle period, RequeueAfter is %v, and the status is written %d times", result.RequeueAfter, o.statusWrites-writes)
		}
		if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionUnknown || ready.Reason != "WaitingForGateway" {
			t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
		}
	})

	t.Run("the gateway refuses", func(t *testing.T) {
		o := newOperator(t)
		o.reconcile()
		o.backend.catchUp()
		o.backend.unresponsive = true
		o.backend.refused = &backend.RouteStatus{Exists: true, Refused: true, Reason: "NotAllowed", Message: "no"}
		o.reconcile()
		if ready := o.condition(v1beta1.ConditionReady); ready.Reason != "NotAllowed" {
			t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
		}
	})

	t.Run("there is a problem", func(t *testing.T) {
		o := newOperator(t)
		o.reconcile()
		o.backend.catchUp()
		o.backend.otherErr = errOwnership
		o.reconcile()
		if ready := o.condition(v1beta1.ConditionReady); ready.Reason != "OwnershipConflict" {
			t.Errorf("Ready is %s (%s)", ready.Status, ready.Reason)
		}
	})

	t.Run("the settle period is 0", func(t *testing.T) {
		o := newOperator(t)
		o.reconciler.Config.Rollout.SettlePeriod.Duration = 0
		o.reconcile()
		o.backend.catchUp()
		writes := o.statusWrites
		o.reconcile()
		if o.statusWrites != writes+1 {
			t.Errorf("the status is written %d times", o.statusWrites-writes)
		}
	})
}

func TestRequeueWhenTimeChangesTheDecision(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.rollOut("v2", nil)
	o.edit(withModel("v1", new(int64(10)))) // Revision 1 runs again, so it drains when the traffic returns to revision 2.
	o.settle()
	o.edit(withModel("v2", nil))
	var result ctrl.Result
	for range 5 {
		result = o.reconcile()
		o.backend.catchUp()
	}
	if want := o.reconciler.Config.Rollout.DrainPeriod.Duration; result.RequeueAfter < want-time.Second || result.RequeueAfter > want+time.Second {
		t.Errorf("RequeueAfter is %v, want %v", result.RequeueAfter, want)
	}
}

func TestStatusWrites(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want outcome
	}{
		"deleted in the meantime": {apierrors.NewNotFound(deployments, "x"), outcome{}},
		"changed in the meantime": {errConflict, outcome{wantAfter: afterStale}},
		"failed":                  {errTransient, outcome{wantErr: errTransient}},
		"forbidden":               {errForbidden, outcome{wantErr: errForbidden}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.patchErr = test.err
			result, err := o.reconciler.Reconcile(t.Context(), o.isvc())
			if !errors.Is(err, test.want.wantErr) || (err == nil) != (test.want.wantErr == nil) || result.RequeueAfter != test.want.wantAfter {
				t.Errorf("result is %+v, error %v; want %+v", result, err, test.want)
			}
			o.newEvents() // Drop the events of the writes that succeeded.
			o.patchErr = nil
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
				t.Errorf("Ready is %s", ready.Status)
			}
		})
	}

	t.Run("on a stale cache", func(t *testing.T) {
		o := newOperator(t)
		old := o.isvc()
		o.edit(func(isvc *v1beta1.InferenceService) { isvc.Labels = map[string]string{"team": "iris"} })
		result, err := o.reconciler.Reconcile(t.Context(), old)
		if result.RequeueAfter != afterStale || err != nil {
			t.Errorf("result is %+v, error %v", result, err)
		}
		if got := o.isvc().Status.ObservedGeneration; got != 0 {
			t.Errorf("a status of generation %d was written", got)
		}
	})

	t.Run("without a difference", func(t *testing.T) {
		o := newOperator(t)
		o.settle()
		writes := o.statusWrites
		for range 3 {
			o.clock.SetTime(o.clock.Now().Add(time.Hour))
			o.reconcile()
		}
		if o.statusWrites > writes {
			t.Errorf("the status is written %d times", o.statusWrites-writes)
		}
	})
}

func TestWipedStatusIsRestored(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.rollOut("v2", new(int64(10)))
	o.newEvents()
	isvc := o.isvc()
	before := isvc.Status.DeepCopy()
	isvc.Status = v1beta1.InferenceServiceStatus{}
	o.must(o.server.Status().Update(t.Context(), isvc))
	o.settle()
	after := o.isvc().Status
	if diff := cmp.Diff(before.Components, after.Components); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	for _, event := range o.newEvents() {
		if !strings.Contains(event, "Normal Ready") {
			t.Errorf("the events are %s", event)
		}
	}
}

func TestOnlyNewTargetIsRendered(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.rollOut("v2", new(int64(10)))
	o.rollOut("v2", new(int64(50)))
	o.rollOut("v1", nil)
	if got := len(o.backend.revisions); got != 2 {
		t.Errorf("there are %d revisions", got)
	}
	for n, recorded := range o.backend.recorded {
		if recorded.Identity.Predictor == "" {
			t.Errorf("revision %d has no identity", n)
		}
	}
	if got, want := o.backend.state.Split, rollout.All(1); !got.Equal(want) {
		t.Errorf("split is %v, want %v", got, want)
	}
}

// TestPersistentFailureIsReported checks that the status reports a persistent error with the API
// server's message, and recovers.
func TestPersistentFailureIsReported(t *testing.T) {
	webhook := apierrors.NewInternalError(errors.New(`failed calling webhook "pods.example.com"`))
	withGroup := func(group string, err *apierrors.StatusError) error {
		answer := *err
		answer.ErrStatus.Details = &metav1.StatusDetails{Group: group, Name: "x"}
		return fmt.Errorf("applying x: %w", &answer)
	}
	stale := fmt.Errorf("%w: a Deployment is of another", backend.ErrStaleCache)
	for name, test := range map[string]struct {
		observeErr, applyErr error
		condition, want      string
	}{
		"a workload":     {nil, withGroup("apps", webhook), v1beta1.ConditionPredictorReady, `failed calling webhook "pods.example.com"`},
		"a route":        {nil, withGroup("gateway.networking.k8s.io", errThrottled), v1beta1.ConditionIngressReady, errThrottled.Error()},
		"a stale cache":  {nil, stale, v1beta1.ConditionPredictorReady, "waiting for the cluster to catch up: a Deployment is of another"},
		"an observation": {stale, nil, v1beta1.ConditionPredictorReady, "a Deployment is of another"},
		"another connection each time": {
			nil, errors.New("read tcp 10.0.0.1:4711->10.0.0.2:6443: reset"), v1beta1.ConditionPredictorReady, "read tcp 10.0.0.1->10.0.0.2:6443: reset",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.settle()
			o.newEvents()
			o.backend.observeErr, o.backend.otherErr = test.observeErr, test.applyErr
			writes := o.statusWrites
			reconcile := func() {
				t.Helper()
				result, err := o.reconciler.Reconcile(t.Context(), o.isvc())
				if err == nil && result.RequeueAfter == 0 {
					t.Error("it is not requeued")
				}
			}
			reconcile()
			o.clock.SetTime(testkit.Start.Add(persistentFailureAfter - time.Millisecond))
			reconcile()
			if o.statusWrites > writes {
				t.Fatal("the failure is reported at once")
			}
			for range 3 {
				o.clock.SetTime(o.clock.Now().Add(time.Minute))
				reconcile()
			}
			condition := o.condition(test.condition)
			if condition.Status != metav1.ConditionFalse || condition.Reason != "NotApplied" || !strings.Contains(condition.Message, test.want) {
				t.Errorf("%s is %s (%s): %s", test.condition, condition.Status, condition.Reason, condition.Message)
			}
			if events := o.newEvents(); o.statusWrites != writes+1 || len(events) != 1 || !strings.Contains(events[0], "Warning NotApplied") {
				t.Errorf("the status is written %d times, and the events are %v", o.statusWrites-writes, events)
			}
			if diff := cmp.Diff("sklearn-iris-predictor-00001", o.isvc().Status.Components[v1beta1.PredictorComponent].LatestRolledoutRevision); diff != "" {
				t.Errorf("the stable (-want +got):\n%s", diff)
			}

			o.backend.observeErr, o.backend.otherErr = nil, nil
			o.settle()
			if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionTrue {
				t.Errorf("after the error is gone, Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			o.backend.otherErr = errTransient
			writes = o.statusWrites
			reconcile()
			if o.statusWrites > writes {
				t.Error("the next failure is reported at once")
			}
		})
	}
}

// TestStaleCacheBackoff: the garbage collector may need time to delete an object, and retries must
// be cheap.
func TestStaleCacheBackoff(t *testing.T) {
	o := newOperator(t)
	o.settle()
	o.backend.otherErr = backend.ErrStaleCache
	var delays []time.Duration
	for range 9 {
		delays = append(delays, o.reconcile().RequeueAfter)
	}
	want := []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond,
		3200 * time.Millisecond, 6400 * time.Millisecond, 10 * time.Second, 10 * time.Second,
	}
	if diff := cmp.Diff(want, delays); diff != "" {
		t.Errorf("delays (-want +got):\n%s", diff)
	}
	o.backend.otherErr = nil
	o.settle()
	o.backend.otherErr = backend.ErrStaleCache
	if got := o.reconcile().RequeueAfter; got != minStaleBackoff {
		t.Errorf("after a success, the delay is %v", got)
	}
}
