// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/predictor"
	"github.com/serinus-io/serinus/internal/rollout"
	"github.com/serinus-io/serinus/internal/testkit"
)

// sklearn returns a serving runtime with that image.
func sklearn(image string) *v1alpha1.ClusterServingRuntime {
	runtime := &v1alpha1.ClusterServingRuntime{ObjectMeta: metav1.ObjectMeta{Name: "sklearnserver", Generation: 1}}
	runtime.Spec.SupportedModelFormats = []v1alpha1.SupportedModelFormat{{Name: "sklearn", AutoSelect: new(true)}}
	runtime.Spec.Containers = []corev1.Container{{Name: v1beta1.ServingContainerName, Image: image}}
	return runtime
}

func withFormat(format string) func(*v1beta1.InferenceService) {
	return func(isvc *v1beta1.InferenceService) {
		isvc.Spec.Predictor.Containers = nil
		isvc.Spec.Predictor.Model = &v1beta1.ModelSpec{ModelFormat: v1beta1.ModelFormat{Name: format}}
	}
}

func TestChosenRuntimeIsReported(t *testing.T) {
	o := newOperator(t, withFormat("sklearn"))
	o.must(o.server.Create(t.Context(), sklearn("server:1")))
	o.settle()
	if got := o.isvc().Status.ClusterServingRuntimeName; got != "sklearnserver" {
		t.Errorf("runtime is %q", got)
	}
}

// TestChangedRuntime checks that a change creates a revision. With automatic updates disabled,
// neither a change nor the deletion of the runtime has an effect.
func TestChangedRuntime(t *testing.T) {
	for name, change := range map[string]func(*operator){
		"it is updated": func(o *operator) {
			updated := sklearn("server:2")
			o.must(o.server.Delete(t.Context(), sklearn("")))
			o.must(o.server.Create(t.Context(), updated))
		},
		"it is deleted": func(o *operator) { o.must(o.server.Delete(t.Context(), sklearn(""))) },
	} {
		for _, kept := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " with automatic updates disabled"}[kept], func(t *testing.T) {
				o := newOperator(t, withFormat("sklearn"))
				o.must(o.server.Create(t.Context(), sklearn("server:1")))
				o.settle()
				if kept {
					o.edit(testkit.Annotation(v1beta1.AnnotationDisableAutoUpdate, "true"))
					o.settle()
				}
				change(o)
				o.settle()
				revisions := len(o.backend.revisions)
				ready := o.condition(v1beta1.ConditionReady)
				switch {
				case kept && (revisions != 1 || ready.Status != metav1.ConditionTrue):
					t.Errorf("%d revisions; Ready is %s (%s): %s", revisions, ready.Status, ready.Reason, ready.Message)
				case !kept && name == "it is updated" && revisions != 2:
					t.Errorf("%d revisions", revisions)
				case !kept && name == "it is deleted" && ready.Reason != "NoSupportingRuntime":
					t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
				}
			})
		}
	}
}

// TestRollbackNeedsNoRuntime checks that percent 0 and the stable's spec take effect while the
// runtime is missing or disabled.
func TestRollbackNeedsNoRuntime(t *testing.T) {
	serving := func(version string, percent *int64) func(*v1beta1.InferenceService) {
		return func(isvc *v1beta1.InferenceService) {
			withFormat("sklearn")(isvc)
			isvc.Spec.Predictor.Model.RuntimeVersion, isvc.Spec.Predictor.CanaryTrafficPercent = &version, percent
		}
	}
	for loss, lose := range map[string]func(*operator){
		"deleted": func(o *operator) { o.must(o.server.Delete(t.Context(), sklearn(""))) },
		"disabled": func(o *operator) {
			disabled := sklearn("server:1")
			disabled.Spec.Disabled = new(true)
			o.must(o.server.Delete(t.Context(), sklearn("")))
			o.must(o.server.Create(t.Context(), disabled))
		},
	} {
		for name, test := range map[string]struct {
			change func(*v1beta1.InferenceService)
			want   string
		}{
			"percent 0":                        {serving("2", new(int64(0))), "2:0 1:100"},
			"a higher percent":                 {serving("2", new(int64(80))), "2:80 1:20"},
			"the stable's spec":                {serving("1", nil), "1:100"},
			"the stable's spec with percent 0": {serving("1", new(int64(0))), "1:100"},
			"a model without a revision":       {serving("3", new(int64(0))), "2:50 1:50"},
		} {
			t.Run(loss+", "+name, func(t *testing.T) {
				o := newOperator(t, serving("1", nil))
				o.must(o.server.Create(t.Context(), sklearn("server:1")))
				o.settle()
				o.edit(serving("2", new(int64(50))))
				o.settle()
				lose(o)
				o.settle()
				if got := shares(o.backend.state.Split, 2, 1); got != "2:50 1:50" {
					t.Fatalf("the loss of the runtime moves traffic: %s", got)
				}
				o.edit(test.change)
				o.settle()
				got := shares(o.backend.state.Split, 2, 1)
				if got != test.want || len(o.backend.revisions) != 2 {
					t.Errorf("the split is %s, want %s; %d revisions", got, test.want, len(o.backend.revisions))
				}
				if ready := o.condition(v1beta1.ConditionReady); ready.Status != metav1.ConditionFalse {
					t.Errorf("the missing runtime is not reported: Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
				}
			})
		}
	}
}

// shares formats the shares of the revisions that are in the split.
func shares(split rollout.Split, revisions ...rollout.Number) string {
	var words []string
	for _, n := range revisions {
		if split.Has(n) {
			words = append(words, fmt.Sprintf("%d:%d", n, split.Percent(n)))
		}
	}
	return strings.Join(words, " ")
}

// TestAddedRuntime checks that the stable, a canary and a service with changed labels keep their
// runtime.
func TestAddedRuntime(t *testing.T) {
	preferred := &v1alpha1.ServingRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: "experiment", Generation: 1}}
	preferred.Spec = sklearn("experiment:1").Spec
	namesake := preferred.DeepCopy()
	namesake.Name = "sklearnserver"
	for name, added := range map[string]*v1alpha1.ServingRuntime{"of another name": preferred, "of the same name": namesake} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t, withFormat("sklearn"))
			o.must(o.server.Create(t.Context(), sklearn("server:1")))
			o.settle()
			o.edit(func(isvc *v1beta1.InferenceService) {
				isvc.Spec.Predictor.Model.RuntimeVersion, isvc.Spec.Predictor.CanaryTrafficPercent = new("2"), new(int64(10))
			})
			o.settle()
			o.must(o.server.Create(t.Context(), added.DeepCopy()))
			o.settle()
			if got := shares(o.backend.state.Split, 2, 1); got != "2:10 1:90" || len(o.backend.revisions) != 2 {
				t.Fatalf("the split is %s; %d revisions", got, len(o.backend.revisions))
			}

			o.edit(func(isvc *v1beta1.InferenceService) { metav1.SetMetaDataLabel(&isvc.ObjectMeta, "team", "iris") })
			o.settle()
			if got := o.backend.recorded[3].Runtime; got.Kind != predictor.ClusterServingRuntimeKind {
				t.Errorf("with other labels it runs %v", got)
			}
			o.edit(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Model.RuntimeVersion = new("3") })
			o.settle()
			if got := o.backend.recorded[4].Runtime; got.Kind != predictor.ServingRuntimeKind {
				t.Errorf("a new spec runs %v", got)
			}
		})
	}
}

// TestNamingThePickedRuntime checks that naming the picked runtime, or ceasing to, creates no
// revision, even if another runtime would be picked by then.
func TestNamingThePickedRuntime(t *testing.T) {
	o := newOperator(t, withFormat("sklearn"), func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Model.Runtime = new("sklearnserver") })
	o.must(o.server.Create(t.Context(), sklearn("server:1")))
	o.settle()
	o.edit(func(isvc *v1beta1.InferenceService) { isvc.Spec.Predictor.Model.Runtime = nil })
	o.settle()
	added := sklearn("experiment:1")
	added.Name = "another"
	added.Spec.SupportedModelFormats[0].Priority = new(int32(9))
	o.must(o.server.Create(t.Context(), added))
	o.settle()
	if len(o.backend.revisions) != 1 {
		t.Errorf("%d revisions; the newest runs %v", len(o.backend.revisions), o.backend.recorded[2].Runtime)
	}
}

// TestRuntimeVersionOfAnImageWithADigest checks that such a spec does not take the canary's share.
func TestRuntimeVersionOfAnImageWithADigest(t *testing.T) {
	const digest = "server@sha256:0123456789abcdef"
	version := func(version string, percent *int64) func(*v1beta1.InferenceService) {
		return func(isvc *v1beta1.InferenceService) {
			isvc.Spec.Predictor.Model.RuntimeVersion = &version
			isvc.Spec.Predictor.CanaryTrafficPercent = percent
		}
	}
	o := newOperator(t, withFormat("sklearn"))
	o.must(o.server.Create(t.Context(), sklearn("server:1")))
	o.settle()
	o.edit(version("2", new(int64(10))))
	o.settle()
	before := o.backend.state.Encode()

	pinned := &v1alpha1.ServingRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "kserve-test", Name: "pinned"}, Spec: sklearn(digest).Spec}
	o.must(o.server.Create(t.Context(), pinned))
	o.edit(func(isvc *v1beta1.InferenceService) {
		version("3", new(int64(20)))(isvc)
		isvc.Spec.Predictor.Model.Runtime = new("pinned")
	})
	o.settle()
	ready := o.condition(v1beta1.ConditionReady)
	if ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, `spec.predictor.model.runtimeVersion: "3" cannot be applied`) {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
	if got := o.backend.state.Encode(); got != before {
		t.Errorf("the rollout state was %s and is %s", before, got)
	}
}

func TestKeptRuntimeHidesNoOtherProblem(t *testing.T) {
	o := newOperator(t, withFormat("sklearn"), testkit.Annotation(v1beta1.AnnotationDisableAutoUpdate, "true"))
	o.must(o.server.Create(t.Context(), sklearn("server:1")))
	o.settle()
	o.edit(withFormat("xgboost"))
	o.settle()
	if ready := o.condition(v1beta1.ConditionReady); ready.Reason != "NoSupportingRuntime" {
		t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
	}
}

func TestRuntimeListErrors(t *testing.T) {
	for _, kind := range []client.ObjectList{&v1alpha1.ServingRuntimeList{}, &v1alpha1.ClusterServingRuntimeList{}} {
		o := newOperator(t, withFormat("sklearn"))
		o.reconciler.Client = interceptor.NewClient(o.server, interceptor.Funcs{
			List: func(ctx context.Context, server client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if _, same := list.(*v1alpha1.ServingRuntimeList); same == isServingRuntimes(kind) && isRuntimes(list) {
					return errTransient
				}
				return server.List(ctx, list, options...)
			},
		})
		if _, err := o.reconciler.Reconcile(t.Context(), o.isvc()); !errors.Is(err, errTransient) {
			t.Errorf("%T: error is %v", kind, err)
		}
		if len(o.backend.decisions) > 0 {
			t.Errorf("%T: there is a decision", kind)
		}
	}
}

func isServingRuntimes(list client.ObjectList) bool {
	_, is := list.(*v1alpha1.ServingRuntimeList)
	return is
}

func isRuntimes(list client.ObjectList) bool {
	_, cluster := list.(*v1alpha1.ClusterServingRuntimeList)
	return cluster || isServingRuntimes(list)
}

func TestEnqueue(t *testing.T) {
	isvc := func(namespace, name string) *v1beta1.InferenceService {
		return &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	server := newServer(t, isvc("a", "x"), isvc("a", "y"), isvc("b", "x"))
	child := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "whatever", Labels: map[string]string{v1beta1.LabelInferenceService: "x"}}}
	for name, test := range map[string]struct {
		got  []reconcile.Request
		want []string
	}{
		"of a child":                                     {enqueueOwner(t.Context(), child), []string{"a/x"}},
		"of an object without the label":                 {enqueueOwner(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}}), nil},
		"of a serving runtime":                           {enqueueAll(server)(t.Context(), &v1alpha1.ServingRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "r"}}), []string{"a/x", "a/y"}},
		"of a serving runtime without InferenceServices": {enqueueAll(server)(t.Context(), &v1alpha1.ServingRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "c", Name: "r"}}), nil},
		"of a cluster serving runtime":                   {enqueueAll(server)(t.Context(), &v1alpha1.ClusterServingRuntime{ObjectMeta: metav1.ObjectMeta{Name: "r"}}), []string{"a/x", "a/y", "b/x"}},
	} {
		var got []string
		for _, request := range test.got {
			got = append(got, request.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}

	unreadable := interceptor.NewClient(server, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errTransient
		},
	})
	if got := enqueueAll(unreadable)(t.Context(), &v1alpha1.ClusterServingRuntime{}); len(got) > 0 {
		t.Errorf("after a failed list: %v", got)
	}
}

func TestRuntimeChanged(t *testing.T) {
	old := sklearn("server:1")
	for name, test := range map[string]struct {
		edit func(*v1alpha1.ClusterServingRuntime)
		want bool
	}{
		"its spec": {func(r *v1alpha1.ClusterServingRuntime) { r.Generation++ }, true},
		"its server type": {func(r *v1alpha1.ClusterServingRuntime) {
			r.Annotations = map[string]string{"serving.kserve.io/server-type": "mlserver"}
		}, true},
		"a label": {func(r *v1alpha1.ClusterServingRuntime) { r.Labels = map[string]string{"team": "iris"} }, false},
		"nothing": {func(r *v1alpha1.ClusterServingRuntime) { r.ResourceVersion = "9" }, false},
	} {
		changed := old.DeepCopy()
		test.edit(changed)
		if got := runtimeChanged.Update(event.UpdateEvent{ObjectOld: old, ObjectNew: changed}); got != test.want {
			t.Errorf("%s passes the predicate: %t", name, got)
		}
	}
	if !runtimeChanged.Create(event.CreateEvent{Object: old}) || !runtimeChanged.Delete(event.DeleteEvent{Object: old}) {
		t.Error("its creation or its deletion is dropped")
	}
}

func TestCountPhases(t *testing.T) {
	withPhase := func(name string, phase v1beta1.Phase) *v1beta1.InferenceService {
		isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
		isvc.Status.Phase = phase
		return isvc
	}
	counts := countStatuses(newServer(t, withPhase("x", v1beta1.PhaseCanary), withPhase("y", v1beta1.PhaseCanary), withPhase("z", v1beta1.PhaseStable)), phaseOf)
	if counts[v1beta1.PhaseCanary] != 2 || counts[v1beta1.PhaseStable] != 1 || len(counts) != 2 {
		t.Errorf("counts are %v", counts)
	}
}
