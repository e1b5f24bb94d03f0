// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/serinus-io/serinus/internal/backend"
)

// applier applies a Service with the given port, and counts the writes. The API server answers with
// the given version.
type applier struct {
	Writer
	answer string
	err    error
	writes int
}

func newApplier(t *testing.T) *applier {
	t.Helper()
	a := &applier{}
	server := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	a.Store = &Store{APIReader: server, Scheme: clientgoscheme.Scheme, Client: interceptor.NewClient(server, interceptor.Funcs{
		Apply: func(_ context.Context, _ client.WithWatch, _ runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
			a.writes++
			return a.err
		},
	})}
	a.Written = func(written *unstructured.Unstructured) error {
		written.SetResourceVersion(a.answer)
		return nil
	}
	return a
}

func (a *applier) apply(t *testing.T, port int64, current client.Object) error {
	t.Helper()
	intent := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web"}, "spec": map[string]any{"port": port},
	}}
	return a.ApplyIntent(t.Context(), intent, current, ExactLists)
}

func TestFutileWrites(t *testing.T) {
	current := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "a", ResourceVersion: "7"}}
	changed := current.DeepCopy()
	changed.ResourceVersion = "8"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("a write that changes nothing is not repeated", func(t *testing.T) {
		a := newApplier(t)
		a.answer = "7"
		for range 3 {
			must(a.apply(t, 80, current))
		}
		if a.writes != 1 {
			t.Errorf("it is tried %d times", a.writes)
		}
		must(a.apply(t, 80, changed))
		if a.writes != 2 {
			t.Error("it is not tried again after the object has changed")
		}
	})

	t.Run("nor long after", func(t *testing.T) {
		a := newApplier(t)
		now := time.Now()
		a.answer, a.Store.Now = "7", func() time.Time { return now }
		must(a.apply(t, 80, current))
		now = now.Add(24 * time.Hour)
		a.Store.repeats.note(Target{Kind: "Service"}, "another", now, nil)
		must(a.apply(t, 80, current))
		if a.writes != 1 {
			t.Errorf("it is tried %d times", a.writes)
		}
	})

	t.Run("another intent is tried", func(t *testing.T) {
		a := newApplier(t)
		a.answer = "7"
		must(a.apply(t, 80, current))
		must(a.apply(t, 81, current))
		if a.writes != 2 {
			t.Errorf("it has written %d times", a.writes)
		}
	})

	t.Run("a write that changes something may be repeated", func(t *testing.T) {
		a := newApplier(t)
		a.answer = "8"
		must(a.apply(t, 80, current))
		must(a.apply(t, 80, current))
		if a.writes != 2 {
			t.Errorf("it has written %d times", a.writes)
		}
	})

	t.Run("a write that fails may be repeated, and its error is passed on", func(t *testing.T) {
		a := newApplier(t)
		a.answer, a.err = "7", errors.New("too many requests")
		for range 2 * freeWrites {
			if err := a.apply(t, 80, current); !errors.Is(err, a.err) {
				t.Errorf("error is %v", err)
			}
		}
		if a.writes != 2*freeWrites {
			t.Errorf("it has written %d times", a.writes)
		}
	})
}

// TestEveryKindOfWriteIsBraked expects pauses between writes that are undone again and again. An
// object that another controller creates again is not contested.
func TestEveryKindOfWriteIsBraked(t *testing.T) {
	const attempts = 3 * freeWrites
	service := func(i int) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: types.UID(strconv.Itoa(i))}}
	}
	for name, test := range map[string]struct {
		write func(w Writer, i int) error
		want  int
		says  string
	}{
		"create":            {func(w Writer, _ int) error { _, err := w.Create(t.Context(), service(0)); return err }, freeWrites, deletes},
		"patch":             {patchLabels, freeWrites, "another writer"},
		"delete":            {func(w Writer, i int) error { return w.Delete(t.Context(), service(i)) }, freeWrites, "another writer creates it again"},
		"delete of a child": {func(w Writer, i int) error { return w.DeleteChild(t.Context(), service(i)) }, attempts, ""},
	} {
		t.Run(name, func(t *testing.T) {
			writes, contests := 0, []backend.Contest(nil)
			server := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
			count := func() error { writes++; return nil }
			w := Writer{
				Store: &Store{APIReader: server, Scheme: clientgoscheme.Scheme, Now: func() time.Time { return time.Unix(0, 0) }, Client: interceptor.NewClient(server, interceptor.Funcs{
					Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return count() },
					Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return count() },
					Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
						return count()
					},
				})},
				Contested: func(contest backend.Contest) { contests = append(contests, contest) },
			}
			for i := range attempts {
				if err := test.write(w, i); err != nil {
					t.Fatal(err)
				}
			}
			if writes != test.want {
				t.Errorf("it has written %d times, want %d", writes, test.want)
			}
			if reported := len(contests) > 0; reported != (test.says != "") || reported && contests[0].Writer != test.says {
				t.Errorf("it reports %+v", contests)
			}
		})
	}
}

func patchLabels(w Writer, _ int) error {
	object := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", ResourceVersion: "7"}}
	_, err := w.PatchMetadata(context.Background(), object, map[string]any{"labels": map[string]string{"a": "b"}})
	return err
}
