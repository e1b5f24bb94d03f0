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
	// staleRetry is when to look again after a decision was refused because it was taken on an old view. It doubles from
	// one time to the next, up to slowestStaleRetry.
	staleRetry, slowestStaleRetry = 100 * time.Millisecond, 10 * time.Second
	// lasting is how long passes may fail before users are told. Most of what fails has gone through by then.
	lasting = 10 * time.Second
)

// setbacks remember which InferenceServices have not been brought to what was decided, since when, and over how many
// passes. It is no memory that a decision relies on; the zero value is ready to use.
type setbacks struct {
	all sync.Map // From types.UID to setback.
}

type setback struct {
	since  time.Time
	passes int
}

// note counts a pass that did not go through.
func (s *setbacks) note(uid types.UID, now time.Time) setback {
	noted := setback{since: now}
	if before, found := s.all.Load(uid); found {
		noted, _ = before.(setback)
	}
	noted.passes++
	s.all.Store(uid, noted)
	return noted
}

// clear forgets what has gone through.
func (s *setbacks) clear(uid types.UID) { s.all.Delete(uid) }

// retryAfter is when to look again at what was refused as stale.
func (s setback) retryAfter() time.Duration {
	delay := staleRetry
	for range s.passes - 1 {
		if delay *= 2; delay >= slowestStaleRetry {
			return slowestStaleRetry
		}
	}
	return delay
}

// lasts tells whether it is time to tell the users.
func (s setback) lasts(now time.Time) bool { return !now.Before(s.since.Add(lasting)) }

// lastingProblem tells users why nothing moves on.
func lastingProblem(err error) *status.Problem {
	cause := backend.StableMessage(strings.ReplaceAll(err.Error(), "\n", "; "))
	condition := v1beta1.ConditionPredictorReady
	if aboutRoutes(err) {
		condition = v1beta1.ConditionIngressReady
	}
	return &status.Problem{
		Condition: condition,
		Reason:    reasonNotApplied,
		Message:   cause + "; the operator keeps trying, and goes on by itself once the API server takes it",
	}
}
