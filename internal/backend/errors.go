// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serinus-io/serinus/internal/rollout"
)

// ErrStaleCache reports that the observation is older than the current state. The decision must be made
// again.
var ErrStaleCache = errors.New("waiting for the cluster to catch up")

// HostRouteError reports why the host route of an InferenceService could not be written. Its
// predictor is still reachable.
type HostRouteError struct{ Err error }

// Error returns the message of the cause.
func (e *HostRouteError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *HostRouteError) Unwrap() error { return e.Err }

// CheckRecordVersion returns a *[rollout.NewerVersionError] if a later version of the operator
// wrote the rollout state.
func CheckStateVersion(state string) error {
	var newer *rollout.NewerVersionError
	if _, err := rollout.DecodeState(state); errors.As(err, &newer) {
		return newer
	}
	return nil
}

// IsStale reports whether an error means only that a decision is based on an old view. All of
// several joined errors must: an old view must not hide another failure.
func IsStale(err error) bool {
	return everyCause(err, func(err error) bool {
		_, answer := err.(apierrors.APIStatus)
		return err == ErrStaleCache || answer && apierrors.IsConflict(err) //nolint:errorlint // It is asked of the chain, link by link.
	})
}

// IsAboutHostRoute reports whether an error means only that a host route could not be written.
func IsAboutHostRoute(err error) bool {
	return everyCause(err, func(err error) bool {
		_, is := err.(*HostRouteError) //nolint:errorlint // As above.
		return is
	})
}

// everyCause reports whether each of several joined errors, or an error that it wraps, satisfies a
// predicate.
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

// IsRefusal reports whether the API server rejects the object itself: it is invalid, forbidden by a
// policy or exceeds a quota, so a retry would fail, too.
func IsRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}
