// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/serinus-io/serinus/api/v1beta1"
	"github.com/serinus-io/serinus/internal/backend"
	"github.com/serinus-io/serinus/internal/status"
)

const (
	// minStaleBackoff is the first delay after a write that was refused because the cache was
	// stale. It doubles with every further failure, up to maxStaleBackoff.
	minStaleBackoff, maxStaleBackoff = 100 * time.Millisecond, 10 * time.Second
	// persistentFailureAfter is how long reconciliations may fail before the status reports it.
	// Most failures are over by then.
	persistentFailureAfter = 10 * time.Second
)

// failureBackoff counts the consecutive failed reconciliations of each InferenceService. No
// decision depends on it. The zero value is ready to use.
type failureBackoff struct {
	entries sync.Map // From types.UID to backoffEntry.
}

type backoffEntry struct {
	since    time.Time
	failures int
}

// next counts a failed reconciliation.
func (b *failureBackoff) next(uid types.UID, now time.Time) backoffEntry {
	entry := backoffEntry{since: now}
	if previous, found := b.entries.Load(uid); found {
		entry, _ = previous.(backoffEntry)
	}
	entry.failures++
	b.entries.Store(uid, entry)
	return entry
}

func (b *failureBackoff) reset(uid types.UID) { b.entries.Delete(uid) }

// staleDelay returns when to retry after a stale cache.
func (e backoffEntry) staleDelay() time.Duration {
	delay := minStaleBackoff
	for range e.failures - 1 {
		if delay *= 2; delay >= maxStaleBackoff {
			return maxStaleBackoff
		}
	}
	return delay
}

// isPersistent reports whether the failure has lasted long enough to be reported in the status.
func (e backoffEntry) isPersistent(now time.Time) bool {
	return !now.Before(e.since.Add(persistentFailureAfter))
}

// persistentProblem returns the problem that an error becomes once it is persistent.
func persistentProblem(err error) *status.Problem {
	cause := backend.StableMessage(strings.ReplaceAll(err.Error(), "\n", "; "))
	condition := v1beta1.ConditionPredictorReady
	if isAboutRoute(err) {
		condition = v1beta1.ConditionIngressReady
	}
	return &status.Problem{
		Condition: condition,
		Reason:    reasonNotApplied,
		Message:   cause + "; the operator keeps trying, and goes on by itself once the API server takes it",
	}
}
