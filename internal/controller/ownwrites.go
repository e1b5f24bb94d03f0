// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/serinus-io/serinus/api/v1beta1"
)

// ownWrites remembers the version of each status that was written until the cache shows it. Before that, a pass would
// find the old status and write the same again, which the API server refuses: a request for nothing.
//
// It is an economy and no memory; the zero value is ready to use.
type ownWrites struct {
	versions sync.Map // From types.UID to the resourceVersion.
}

// note takes an InferenceService as the API server has answered it.
func (o *ownWrites) note(isvc *v1beta1.InferenceService) {
	o.versions.Store(isvc.UID, isvc.ResourceVersion)
}

// awaited tells whether what was written last is still to come. What cannot be compared is not waited for.
func (o *ownWrites) awaited(uid types.UID, seen string) bool {
	written, found := o.versions.Load(uid)
	if !found {
		return false
	}
	version, _ := written.(string)
	if order, err := resourceversion.CompareResourceVersion(seen, version); err == nil && order < 0 {
		return true
	}
	o.versions.CompareAndDelete(uid, written)
	return false
}
