// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"fmt"
	"time"

	"github.com/serinus-io/serinus/internal/backend/objects"
	"github.com/serinus-io/serinus/internal/rollout"
)

// AnnotationRetry holds the retry backoff of a failed revision on its ControllerRevision.
const AnnotationRetry = objects.OwnPrefix + "retry"

// The backoff after the first retry, which doubles with each further one up to the longest.
const (
	firstPause   = 30 * time.Second
	longestPause = time.Hour
)

// Retry is the backoff of a failed revision. The zero value, for a revision that was never retried,
// does not wait.
type Retry struct {
	// Tries counts the retries.
	Tries     int
	NotBefore time.Time
}

// Next returns the backoff after a retry at the given time. It starts over for a revision that has
// not failed for a long time.
func (r Retry) Next(now time.Time) Retry {
	if now.Sub(r.NotBefore) > 2*longestPause {
		r.Tries = 0
	}
	pause := longestPause
	if shift := min(r.Tries, 10); firstPause<<shift < longestPause {
		pause = firstPause << shift
	}
	return Retry{Tries: r.Tries + 1, NotBefore: now.Add(pause).UTC().Truncate(time.Second)}
}

// Waits reports whether it is too early for a retry. A time beyond the longest pause was not
// written by the operator and is ignored.
func (r Retry) Waits(now time.Time) bool {
	wait := r.NotBefore.Sub(now)
	return wait > 0 && wait <= longestPause
}

func (r Retry) encode() string {
	return fmt.Sprintf("%d %s", r.Tries, r.NotBefore.Format(time.RFC3339))
}

// Retry returns the backoff of a revision from its ControllerRevision.
func (h History) Retry(n rollout.Number) Retry {
	stored := h.ControllerRevisions[n]
	if stored == nil {
		return Retry{}
	}
	var tries int
	var text string
	if _, err := fmt.Sscanf(stored.Annotations[AnnotationRetry], "%d %s", &tries, &text); err != nil || tries < 1 {
		return Retry{}
	}
	notBefore, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Retry{}
	}
	return Retry{Tries: tries, NotBefore: notBefore.UTC()}
}

// NoteRetry stores the backoff of a revision on its ControllerRevision. It reports whether the write
// has to wait, because another writer keeps removing the backoff.
func (w Writer) NoteRetry(ctx context.Context, n rollout.Number, retry Retry) (held bool, err error) {
	stored := w.ControllerRevisions[n].DeepCopy()
	if stored.Annotations == nil {
		stored.Annotations = map[string]string{}
	}
	stored.Annotations[AnnotationRetry] = retry.encode()
	w.ControllerRevisions[n] = stored
	marks, err := w.marksOf(stored, n)
	if err != nil {
		return false, err
	}
	marks.SetUID(stored.UID) // Without the resource version, because Repair may just have changed it.
	return w.Send(ctx, marks, objects.Labelled)
}
