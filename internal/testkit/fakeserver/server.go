// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fakeserver extends controller-runtime's fake client by what an API server does to
// metadata, and by a record of the writes of the component under test.
package fakeserver

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayapply "sigs.k8s.io/gateway-api/applyconfiguration"

	scalingv1alpha1 "github.com/serinus-io/serinus/api/scaling/v1alpha1"
	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend/objects"
)

// Server is a fake API server. It gives objects UIDs, creation times and generations. Its own
// client is that of users and other controllers.
type Server struct {
	client.WithWatch

	// Writes are the writes of the component under test, in order, including failed ones.
	Writes []Write
	// Intercept is called for each of these writes. It may return its own result.
	Intercept func(w Write, do func() error) error
	// Admit is called with each patch, like an admission webhook. It may refuse it.
	Admit func(patch []byte) error

	clock clock.PassiveClock
	uids  int
}

// Write is a write of the component under test.
type Write struct{ Verb, Kind, Name string }

// String returns a write such as "apply Service web".
func (w Write) String() string { return w.Verb + " " + w.Kind + " " + w.Name }

// New returns a server with the given objects. It indexes the given kinds by their
// InferenceService, like the operator's cache.
func New(t *testing.T, scheme *runtime.Scheme, passive clock.PassiveClock, indexed []client.Object, existing ...client.Object) *Server {
	t.Helper()
	kubernetes, gatewayAPI := runtime.NewScheme(), runtime.NewScheme()
	for _, err := range []error{clientgoscheme.AddToScheme(kubernetes), gatewayv1.Install(gatewayAPI)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(existing...).
		WithGlobalResourceVersionCounter().
		WithTypeConverters(
			gatewayapply.NewTypeConverter(gatewayAPI), clientgoapply.NewTypeConverter(kubernetes), managedfields.NewDeducedTypeConverter(),
		)
	for _, kind := range []client.Object{
		&v1beta1.InferenceService{}, &gatewayv1.HTTPRoute{}, &scalingv1alpha1.ScaleTarget{},
		&servingv1.Service{}, &servingv1.Revision{}, &autoscalingv1alpha1.PodAutoscaler{},
	} {
		if _, _, err := scheme.ObjectKinds(kind); err == nil {
			builder = builder.WithStatusSubresource(kind)
		}
	}
	for _, kind := range indexed {
		builder = builder.WithIndex(kind, objects.IndexByInferenceService, objects.InferenceServiceOf)
	}
	s := &Server{clock: passive}
	s.WithWatch = interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Create: s.create, Update: s.update, Patch: s.patch, Apply: s.apply,
	})
	return s
}

// NewUID returns a unique UID.
func (s *Server) NewUID() types.UID {
	s.uids++
	return types.UID(fmt.Sprintf("uid-%d", s.uids))
}

func (s *Server) create(ctx context.Context, server client.WithWatch, object client.Object, options ...client.CreateOption) error {
	if object.GetUID() == "" {
		object.SetUID(s.NewUID())
	}
	if object.GetGeneration() == 0 {
		object.SetGeneration(1)
	}
	if object.GetCreationTimestamp().Time.IsZero() {
		object.SetCreationTimestamp(metav1.NewTime(s.clock.Now()))
	}
	return server.Create(ctx, object, options...)
}

// update increases the generation with each change of the spec, unless the test sets it.
func (s *Server) update(ctx context.Context, server client.WithWatch, object client.Object, options ...client.UpdateOption) error {
	before, err := read(ctx, server, object)
	if err != nil {
		return err
	}
	if before != nil && object.GetGeneration() == before.GetGeneration() && !haveEqualSpecs(before, object) {
		object.SetGeneration(before.GetGeneration() + 1)
	}
	return server.Update(ctx, object, options...)
}

func (s *Server) patch(ctx context.Context, server client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	if s.Admit != nil {
		data, err := patch.Data(object)
		if err != nil {
			return err
		}
		if err := s.Admit(data); err != nil {
			return err
		}
	}
	before, err := read(ctx, server, object)
	if err != nil {
		return err
	}
	if err := server.Patch(ctx, object, patch, options...); err != nil || before == nil || haveEqualSpecs(before, object) {
		return err
	}
	object.SetGeneration(before.GetGeneration() + 1)
	return server.Update(ctx, object)
}

func (s *Server) apply(ctx context.Context, server client.WithWatch, applied runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	object, ok := applied.(client.Object)
	if !ok {
		return fmt.Errorf("applying a %T, which is not an object", applied)
	}
	before, err := read(ctx, server, object)
	if err != nil {
		return err
	}
	if err := keepData(ctx, server, object); err != nil {
		return err
	}
	if err := server.Apply(ctx, applied, options...); err != nil {
		return err
	}
	after, err := read(ctx, server, object)
	if err != nil {
		return err
	}
	switch {
	case before == nil:
		after.SetUID(s.NewUID())
		after.SetGeneration(1)
		after.SetCreationTimestamp(metav1.NewTime(s.clock.Now()))
	case !haveEqualSpecs(before, after):
		after.SetGeneration(before.GetGeneration() + 1)
	default:
		return nil
	}
	return server.Update(ctx, after)
}

// keepData adds the data of a ControllerRevision to metadata that is applied, because the fake client
// loses it otherwise.
func keepData(ctx context.Context, server client.Reader, applied client.Object) error {
	content, ok := applied.(runtime.Unstructured)
	if !ok || applied.GetObjectKind().GroupVersionKind().Kind != "ControllerRevision" {
		return nil
	}
	var stored appsv1.ControllerRevision
	if err := server.Get(ctx, client.ObjectKeyFromObject(applied), &stored); err != nil {
		return client.IgnoreNotFound(err)
	}
	var data map[string]any
	if err := utiljson.Unmarshal(stored.Data.Raw, &data); err != nil {
		return err
	}
	content.UnstructuredContent()["data"] = data
	return nil
}

// read returns the stored object; nil if there is none.
func read(ctx context.Context, server client.Reader, object client.Object) (client.Object, error) {
	stored, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is not an object", object)
	}
	err := server.Get(ctx, client.ObjectKeyFromObject(object), stored)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return stored, err
}

func haveEqualSpecs(a, b client.Object) bool {
	return equality.Semantic.DeepEqual(specOf(a), specOf(b))
}

func specOf(object client.Object) any {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		panic(err) // Every object can be converted.
	}
	return content["spec"]
}

// Client returns the client of the component under test, whose writes are recorded. A patch of a
// subresource has the verb "patch status", for example.
func (s *Server) Client() client.WithWatch {
	return interceptor.NewClient(s.WithWatch, interceptor.Funcs{
		Create: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return s.record("create", object, func() error { return server.Create(ctx, object, options...) })
		},
		Patch: func(ctx context.Context, server client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return s.record("patch", object, func() error { return server.Patch(ctx, object, patch, options...) })
		},
		Apply: func(ctx context.Context, server client.WithWatch, applied runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			object, ok := applied.(client.Object)
			if !ok {
				return fmt.Errorf("applying a %T, which is not an object", applied)
			}
			return s.record("apply", object, func() error { return server.Apply(ctx, applied, options...) })
		},
		SubResourcePatch: func(
			ctx context.Context, server client.Client, subresource string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption,
		) error {
			return s.record("patch "+subresource, object, func() error {
				return server.SubResource(subresource).Patch(ctx, object, patch, options...)
			})
		},
		Delete: func(ctx context.Context, server client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return s.record("delete", object, func() error { return server.Delete(ctx, object, options...) })
		},
	})
}

func (s *Server) record(verb string, object client.Object, do func() error) error {
	kind := object.GetObjectKind().GroupVersionKind().Kind
	if gvk, err := s.GroupVersionKindFor(object); kind == "" && err == nil {
		kind = gvk.Kind
	}
	w := Write{verb, kind, object.GetName()}
	s.Writes = append(s.Writes, w)
	if s.Intercept != nil {
		return s.Intercept(w, do)
	}
	return do()
}

// FailWrite makes one of the next recorded writes fail, by its number from 1; 0 makes none fail.
func (s *Server) FailWrite(number int, err error) {
	s.Intercept = func(_ Write, do func() error) error {
		number--
		if number == 0 {
			return err
		}
		return do()
	}
}
