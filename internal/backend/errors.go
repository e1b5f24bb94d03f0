// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serinus-io/serinus/internal/rollout"
)

// ErrStale says that what was observed is older than what is, or about to go: the decision must be taken anew.
var ErrStale = errors.New("waiting for the cluster to catch up")

// EntranceError says why the way to an InferenceService by its own host could not be made. Its predictor is reached all
// the same.
type EntranceError struct{ Err error }

// Error says what it wraps.
func (e *EntranceError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *EntranceError) Unwrap() error { return e.Err }

// CheckRecordVersion returns a *[rollout.NewerVersionError] where a later version of the operator wrote a rollout record.
func CheckRecordVersion(record string) error {
	var newer *rollout.NewerVersionError
	if _, err := rollout.DecodeRecord(record); errors.As(err, &newer) {
		return newer
	}
	return nil
}

// IsStale tells whether an error says nothing but that a decision was taken on an old view. Among errors that were
// joined, every one must: an old view must not hide what else went wrong.
func IsStale(err error) bool {
	return everyCause(err, func(err error) bool {
		_, answer := err.(apierrors.APIStatus)
		return err == ErrStale || answer && apierrors.IsConflict(err) //nolint:errorlint // It is asked of the chain, link by link.
	})
}

// IsAboutEntrance tells whether an error says nothing but that an entrance could not be made.
func IsAboutEntrance(err error) bool {
	return everyCause(err, func(err error) bool {
		_, is := err.(*EntranceError) //nolint:errorlint // As above.
		return is
	})
}

// everyCause tells whether something holds of each error that was joined into one: of itself, or of what it wraps.
func everyCause(err error, holds func(error) bool) bool {
	if err != nil && holds(err) {
		return true
	}
	switch wrapper := err.(type) { //nolint:errorlint // It takes the chain apart itself.
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			if !everyCause(inner, holds) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return everyCause(wrapper.Unwrap(), holds)
	}
	return false
}

// IsRefusal tells whether the API server refuses what was written: it is invalid, forbidden by a policy or over a quota,
// and would be refused again.
func IsRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}
