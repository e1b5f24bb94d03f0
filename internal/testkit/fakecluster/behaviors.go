// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// behaviors are the behaviors B of objects by their names. They also keep when each T, such as an
// object or a generation of it, was first seen.
type behaviors[B any, T comparable] struct {
	mu        sync.Mutex
	byName    map[types.NamespacedName]B
	firstSeen map[T]time.Time
}

func (b *behaviors[B, T]) set(name types.NamespacedName, behavior B) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byName == nil {
		b.byName = map[types.NamespacedName]B{}
	}
	b.byName[name] = behavior
}

// of returns the behavior of an object: its own, that of its namespace, which has an empty name, or
// the default.
func (b *behaviors[B, T]) of(name types.NamespacedName, byDefault B) B {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range []types.NamespacedName{name, {Namespace: name.Namespace}} {
		if behavior, ok := b.byName[key]; ok {
			return behavior
		}
	}
	return byDefault
}

// remaining returns the rest of a delay that begins when something is first seen.
func (b *behaviors[B, T]) remaining(seen T, delay time.Duration, now clock.PassiveClock) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.firstSeen == nil {
		b.firstSeen = map[T]time.Time{}
	}
	if _, ok := b.firstSeen[seen]; !ok {
		b.firstSeen[seen] = now.Now()
	}
	return delay - now.Since(b.firstSeen[seen])
}
