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

// AnnotationRetry holds, on the record of a revision that failed for good, when it may be tried again.
const AnnotationRetry = objects.OwnPrefix + "retry"

// The pause after the first retry of a revision, and the longest. Each pause is twice as long as the one before.
const (
	firstPause   = 30 * time.Second
	longestPause = time.Hour
)

// Retry is when a revision that failed for good may be tried again. The zero value, of a revision that was never tried
// again, is the past.
type Retry struct {
	// Tries counts how often it was tried again.
	Tries     int
	NotBefore time.Time
}

// Next returns what holds once the revision is tried again now. A revision that has not failed for long begins anew.
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

// Waits reports whether it is too early to try again. No pause ends later than the longest: such a time is not
// ours.
func (r Retry) Waits(now time.Time) bool {
	wait := r.NotBefore.Sub(now)
	return wait > 0 && wait <= longestPause
}

func (r Retry) encode() string {
	return fmt.Sprintf("%d %s", r.Tries, r.NotBefore.Format(time.RFC3339))
}

// Retry reads when a revision may be tried again off its record.
func (h History) Retry(n rollout.Number) Retry {
	record := h.Records[n]
	if record == nil {
		return Retry{}
	}
	var tries int
	var text string
	if _, err := fmt.Sscanf(record.Annotations[AnnotationRetry], "%d %s", &tries, &text); err != nil || tries < 1 {
		return Retry{}
	}
	notBefore, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Retry{}
	}
	return Retry{Tries: tries, NotBefore: notBefore.UTC()}
}

// NoteRetry keeps with the record of a revision when it may be tried again.
func (w Writer) NoteRetry(ctx context.Context, n rollout.Number, retry Retry) error {
	record := w.Records[n].DeepCopy()
	if record.Annotations == nil {
		record.Annotations = map[string]string{}
	}
	record.Annotations[AnnotationRetry] = retry.encode()
	w.Records[n] = record
	marks, err := w.marksOf(record, n)
	if err != nil {
		return err
	}
	marks.SetUID(record.UID) // Not under the version: Mend may just have written it.
	return w.Send(ctx, marks)
}
