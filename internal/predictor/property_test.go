// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package predictor

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/serinus-io/serinus/api/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
)

func TestEquivalentFormsHaveTheSameIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isvc, runtime := drawModel(t), drawRuntime(t)
		before := identity(t, isvc, runtime)

		rewritten, rewrittenRuntime := isvc.DeepCopy(), runtime.DeepCopy()
		rewrite(t, reflect.ValueOf(&rewritten.Spec).Elem())
		rewrite(t, reflect.ValueOf(&rewrittenRuntime.Spec).Elem())
		wantSame(t, "equivalent form", before, identity(t, rewritten, rewrittenRuntime))
		wantSame(t, "JSON round trip", before, identity(t, jsonRoundTrip(t, isvc), jsonRoundTrip(t, runtime)))
	})
}

func TestFrameworkFieldHasTheIdentityOfItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isvc, runtime := drawModel(t), drawRuntime(t)
		isvc.Spec.Predictor.Model.Runtime = nil
		isvc.Spec.Predictor.Model.ModelFormat = v1beta1.ModelFormat{Name: "sklearn"}

		legacy := isvc.DeepCopy()
		legacy.Spec.Predictor.Model = nil
		legacy.Spec.Predictor.SKLearn = &isvc.Spec.Predictor.Model.PredictorExtensionSpec
		wantSame(t, "sklearn", identity(t, isvc, runtime), identity(t, legacy, runtime))
	})
}

func TestScalingAndReleaseFieldsDoNotCreateRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isvc, runtime := drawModel(t), drawRuntime(t)
		changed := isvc.DeepCopy()
		predictor := &changed.Spec.Predictor
		predictor.CanaryTrafficPercent = rapid.Ptr(rapid.Int64Range(0, 100), true).Draw(t, "percent")
		predictor.MinReplicas = rapid.Ptr(rapid.Int32Range(0, 3), true).Draw(t, "minReplicas")
		predictor.MaxReplicas = rapid.Int32Range(3, 9).Draw(t, "maxReplicas")
		predictor.ScaleTarget = rapid.Ptr(rapid.Int32Range(1, 100), true).Draw(t, "scaleTarget")
		predictor.ScaleMetric = rapid.Ptr(rapid.SampledFrom([]v1beta1.ScaleMetric{"cpu", "memory"}), true).Draw(t, "scaleMetric")
		predictor.DeploymentStrategy = rapid.Ptr(rapid.Just(appsv1.DeploymentStrategy{Type: "Recreate"}), true).Draw(t, "strategy")
		wantSame(t, "scaling and release fields", identity(t, isvc, runtime), identity(t, changed, runtime))
	})
}

func TestOtherChangesCreateRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isvc, runtime := drawModel(t), drawRuntime(t)
		changed, changedRuntime := isvc.DeepCopy(), runtime.DeepCopy()
		change := rapid.SampledFrom([]struct {
			name string
			edit func(*v1beta1.PredictorSpec, *v1alpha1.ServingRuntimeSpec)
		}{
			{"another argument", func(p *v1beta1.PredictorSpec, _ *v1alpha1.ServingRuntimeSpec) {
				p.Model.Args = append(p.Model.Args, "")
			}},
			{"another variable", func(p *v1beta1.PredictorSpec, _ *v1alpha1.ServingRuntimeSpec) {
				p.Model.Env = append(p.Model.Env, corev1.EnvVar{Name: "MORE"})
			}},
			{"another model", func(p *v1beta1.PredictorSpec, _ *v1alpha1.ServingRuntimeSpec) { *p.Model.StorageURI += "x" }},
			{"one more byte of memory", func(p *v1beta1.PredictorSpec, _ *v1alpha1.ServingRuntimeSpec) {
				more := p.Model.Resources.Requests["memory"].DeepCopy()
				more.Add(resource.MustParse("1"))
				p.Model.Resources.Requests = corev1.ResourceList{"memory": more}
			}},
			{"another label", func(p *v1beta1.PredictorSpec, _ *v1alpha1.ServingRuntimeSpec) {
				p.Labels = union(p.Labels, map[string]string{"more": ""})
			}},
			{"another argument of the runtime", func(_ *v1beta1.PredictorSpec, r *v1alpha1.ServingRuntimeSpec) {
				r.Containers[0].Args = append(r.Containers[0].Args, "")
			}},
			{"another label of the runtime", func(_ *v1beta1.PredictorSpec, r *v1alpha1.ServingRuntimeSpec) {
				r.Labels = union(r.Labels, map[string]string{"more": ""})
			}},
		}).Draw(t, "change")
		change.edit(&changed.Spec.Predictor, &changedRuntime.Spec)

		before, after := identity(t, isvc, runtime), identity(t, changed, changedRuntime)
		if before.Hash == after.Hash || before.Identity.Equal(after.Identity) {
			t.Errorf("%s: no new revision", change.name)
		}
	})
}

// TestHashesAgreeWithIdentities holds as long as the settings do not change.
func TestHashesAgreeWithIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runtime := drawRuntime(t)
		first := drawModel(t)
		second := first
		if rapid.Bool().Draw(t, "another") {
			second = drawModel(t)
		}
		a, b := identity(t, first, runtime), identity(t, second, runtime)
		if (a.Hash == b.Hash) != a.Identity.Equal(b.Identity) {
			t.Errorf("equal Hash: %v, equal identities: %v", a.Hash == b.Hash, a.Identity.Equal(b.Identity))
		}
		if (a.SpecHash == b.SpecHash) != a.Identity.EqualSpec(b.Identity) {
			t.Errorf("equal SpecHash: %v, equal specs of the identities: %v", a.SpecHash == b.SpecHash, a.Identity.EqualSpec(b.Identity))
		}
	})
}

func identity(t *rapid.T, isvc *v1beta1.InferenceService, runtime *v1alpha1.ClusterServingRuntime) *Resolved {
	t.Helper()
	resolved, err := Resolve(isvc, cluster(runtime), defaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func wantSame(t *rapid.T, name string, before, after *Resolved) {
	t.Helper()
	if before.Hash != after.Hash || before.SpecHash != after.SpecHash {
		t.Errorf("%s: Hash %s → %s, SpecHash %s → %s", name, before.Hash, after.Hash, before.SpecHash, after.SpecHash)
	}
	if !before.Identity.Equal(after.Identity) || !before.Identity.EqualSpec(after.Identity) {
		t.Errorf("%s: the identities differ", name)
	}
}

var (
	words    = rapid.SampledFrom([]string{"a", "b", "team", "x.y", "1", "true"})
	labels   = rapid.MapOfN(words, words, 0, 3)
	amounts  = rapid.SampledFrom([]string{"0", "1", "100m", "2500m", "1Gi", "512Mi", "3e3"})
	protocol = rapid.SampledFrom([]v1beta1.ProtocolVersion{"v1", "v2"})
)

func drawModel(t *rapid.T) *v1beta1.InferenceService {
	isvc := &v1beta1.InferenceService{ObjectMeta: metav1.ObjectMeta{
		Name: "iris", Namespace: "models",
		Labels:      labels.Draw(t, "labels"),
		Annotations: labels.Draw(t, "annotations"),
	}}
	predictor := &isvc.Spec.Predictor
	predictor.Labels = labels.Draw(t, "pod labels")
	predictor.NodeSelector = labels.Draw(t, "node selector")
	predictor.AutomountServiceAccountToken = rapid.Ptr(rapid.Bool(), true).Draw(t, "token")
	predictor.TimeoutSeconds = rapid.Ptr(rapid.Int64Range(1, 3), true).Draw(t, "timeout")
	predictor.Model = &v1beta1.ModelSpec{
		ModelFormat: v1beta1.ModelFormat{Name: rapid.SampledFrom([]string{"sklearn", "xgboost"}).Draw(t, "format")},
		Runtime:     rapid.Ptr(rapid.Just("runtime"), true).Draw(t, "runtime"),
		PredictorExtensionSpec: v1beta1.PredictorExtensionSpec{
			StorageURI:      new(rapid.SampledFrom([]string{"gs://a", "gs://b"}).Draw(t, "storageUri")),
			ProtocolVersion: rapid.Ptr(protocol, true).Draw(t, "protocol"),
			Container:       drawContainer(t),
		},
	}
	predictor.Model.Name = ""
	return isvc
}

func drawRuntime(t *rapid.T) *v1alpha1.ClusterServingRuntime {
	runtime := &v1alpha1.ClusterServingRuntime{ObjectMeta: metav1.ObjectMeta{Name: "runtime"}}
	runtime.Spec.SupportedModelFormats = []v1alpha1.SupportedModelFormat{
		{Name: "sklearn", AutoSelect: new(true)}, {Name: "xgboost", AutoSelect: new(true)},
	}
	runtime.Spec.Containers = []corev1.Container{drawContainer(t)}
	runtime.Spec.Labels = labels.Draw(t, "runtime's labels")
	runtime.Spec.NodeSelector = labels.Draw(t, "runtime's node selector")
	return runtime
}

func drawContainer(t *rapid.T) corev1.Container {
	container := corev1.Container{
		Name:  v1beta1.ServingContainerName,
		Image: words.Draw(t, "image"),
		Args:  rapid.SliceOfN(words, 0, 3).Draw(t, "args"),
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			"memory": resource.MustParse(amounts.Draw(t, "memory")),
		}},
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "variables") {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprint("V", i), Value: words.Draw(t, "value")})
	}
	if rapid.Bool().Draw(t, "has a port") {
		container.Ports = []corev1.ContainerPort{{ContainerPort: rapid.Int32Range(1, 3).Draw(t, "port")}}
	}
	return container
}

func jsonRoundTrip[T any](t *rapid.T, object *T) *T {
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var read T
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return &read
}

// rewrite changes a value to an equivalent form: nil or empty, with or without the API server's
// defaults, and with quantities in other units.
func rewrite(t *rapid.T, v reflect.Value) {
	switch x := v.Interface().(type) {
	case corev1.Protocol:
		if x == "" && rapid.Bool().Draw(t, "set default") {
			v.Set(reflect.ValueOf(corev1.ProtocolTCP))
		}
		return
	case corev1.ResourceList:
		for name, quantity := range x {
			x[name] = inAnotherUnit(t, quantity)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				rewrite(t, field)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			rewrite(t, v.Elem())
		}
	case reflect.Slice:
		if v.Len() == 0 {
			nilOrEmpty(t, v, reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			rewrite(t, v.Index(i))
		}
	case reflect.Map:
		if v.Len() == 0 {
			nilOrEmpty(t, v, reflect.MakeMap(v.Type()))
		}
	default: // There is only one form.
	}
}

func nilOrEmpty(t *rapid.T, v, empty reflect.Value) {
	if rapid.Bool().Draw(t, "nil") {
		v.SetZero()
		return
	}
	v.Set(empty)
}

func inAnotherUnit(t *rapid.T, quantity resource.Quantity) resource.Quantity {
	return resource.MustParse(fmt.Sprint(quantity.MilliValue(), rapid.SampledFrom([]string{"m", "000u", "e-3"}).Draw(t, "unit")))
}
