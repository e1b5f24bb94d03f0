// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Objects reads and writes the objects of a namespace on any API server, fake or real. Its methods
// fail the test on errors.
type Objects struct {
	T *testing.T
	// Server is a client without a cache.
	Server    client.Client
	Namespace string
}

// Get reads an object.
func (o Objects) Get(name string, into client.Object) {
	o.T.Helper()
	o.Must(o.Server.Get(o.T.Context(), client.ObjectKey{Namespace: o.Namespace, Name: name}, into))
}

// Has reads an object and reports whether it exists.
func (o Objects) Has(name string, into client.Object) bool {
	o.T.Helper()
	err := o.Server.Get(o.T.Context(), client.ObjectKey{Namespace: o.Namespace, Name: name}, into)
	o.Must(client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

// List reads all objects of a kind.
func (o Objects) List(list client.ObjectList) []client.Object {
	o.T.Helper()
	o.Must(o.Server.List(o.T.Context(), list, client.InNamespace(o.Namespace)))
	var all []client.Object
	o.Must(apimeta.EachListItem(list, func(item runtime.Object) error {
		all = append(all, item.(client.Object))
		return nil
	}))
	return all
}

// Remove deletes an object.
func (o Objects) Remove(name string, object client.Object) {
	o.T.Helper()
	o.Get(name, object)
	o.Must(o.Server.Delete(o.T.Context(), object))
}

// Must fails the test on an error.
func (o Objects) Must(err error) {
	o.T.Helper()
	if err != nil {
		o.T.Fatal(err)
	}
}

// EditObject changes an object, and retries on conflicts.
func EditObject[T client.Object](o Objects, name string, object T, change func(T)) {
	o.T.Helper()
	o.Must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := o.Server.Get(o.T.Context(), client.ObjectKey{Namespace: o.Namespace, Name: name}, object); err != nil {
			return err
		}
		change(object)
		return o.Server.Update(o.T.Context(), object)
	}))
}
