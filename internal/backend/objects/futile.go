// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// futileWrites remembers which intents an object cannot be brought nearer to by writing them: it was tried, and
// nothing changed. A newer Gateway API may add a default that we do not know of to what we compare exactly; without
// this, every look at such an object would write it again, for ever.
//
// It is an economy and no memory: after a restart, each of them is tried once more. The zero value is ready to use.
type futileWrites struct {
	tried sync.Map // From types.UID to attempt.
}

type attempt struct {
	resourceVersion string
	intent          string
}

// known tells whether writing the intent over the object, as it is, changes nothing.
func (f *futileWrites) known(intent *unstructured.Unstructured, current client.Object) bool {
	before, found := f.tried.Load(current.GetUID())
	return found && before == attempt{current.GetResourceVersion(), encode(intent)}
}

// note remembers the outcome of a write, which leaves the object as it has become in the intent: whether it is still at
// the version that it was written over.
func (f *futileWrites) note(intent *unstructured.Unstructured, current client.Object, write func() error) error {
	wanted := encode(intent)
	if err := write(); err != nil {
		return err
	}
	if intent.GetResourceVersion() == current.GetResourceVersion() {
		f.tried.Store(current.GetUID(), attempt{current.GetResourceVersion(), wanted})
	} else {
		f.tried.Delete(current.GetUID())
	}
	return nil
}

func encode(intent *unstructured.Unstructured) string {
	data, err := json.Marshal(intent.Object)
	if err != nil {
		return "" // It has come out of a conversion to JSON's own types.
	}
	return string(data)
}
