// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// futileWrites remembers writes that did not change the object. A newer Gateway API may add a
// default to a list that we compare exactly. Without this, each reconciliation would write such an
// object again.
//
// It only saves writes: after a restart, each of them is tried once more. The zero value is ready
// to use.
type futileWrites struct {
	tried sync.Map // From types.UID to attempt.
}

type attempt struct {
	resourceVersion string
	intent          string
}

// known reports whether applying the intent to this version of the object is known to change
// nothing.
func (f *futileWrites) known(intent *unstructured.Unstructured, current client.Object) bool {
	before, found := f.tried.Load(current.GetUID())
	return found && before == attempt{current.GetResourceVersion(), encode(intent)}
}

// note calls write, and remembers the write as futile if the resource version has not changed. The
// write must store the resulting object in the intent.
func (f *futileWrites) note(intent *unstructured.Unstructured, current client.Object, write func() error) error {
	desired := encode(intent)
	if err := write(); err != nil {
		return err
	}
	if intent.GetResourceVersion() == current.GetResourceVersion() {
		f.tried.Store(current.GetUID(), attempt{current.GetResourceVersion(), desired})
	} else {
		f.tried.Delete(current.GetUID())
	}
	return nil
}

func encode(intent *unstructured.Unstructured) string {
	data, err := json.Marshal(intent.Object)
	if err != nil {
		return "" // The value comes from a conversion to JSON types.
	}
	return string(data)
}
