// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// SentVersions remembers the version of each object that was written until the cache shows it. A decision on what was
// there before would be taken on something that we know better ourselves.
//
// It is no memory that anything relies on: a restart begins with a fresh cache. The zero value is ready to use.
type SentVersions[K comparable] struct {
	versions sync.Map // From K to the resourceVersion.
}

// Note takes the version that the API server has answered a write with.
func (s *SentVersions[K]) Note(key K, version string) { s.versions.Store(key, version) }

// Forget gives up waiting for an object.
func (s *SentVersions[K]) Forget(key K) { s.versions.Delete(key) }

// Awaited tells whether the version that was written last is newer than the one that was seen, which is empty where
// there was none. Versions that cannot be compared are not waited for.
func (s *SentVersions[K]) Awaited(key K, seen string) bool {
	sent, found := s.versions.Load(key)
	if !found {
		return false
	}
	if seen == "" {
		return true
	}
	version, _ := sent.(string)
	if order, err := resourceversion.CompareResourceVersion(seen, version); err == nil && order < 0 {
		return true
	}
	s.versions.CompareAndDelete(key, sent)
	return false
}
