// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ErrStale says that what was observed is older than what is, or about to go: the decision must be taken anew.
var ErrStale = errors.New("waiting for the cluster to catch up")

// IsStale tells whether an error says nothing but that a decision was taken on an old view. Among errors that were
// joined, every one must: an old view must not hide what else went wrong.
func IsStale(err error) bool {
	switch wrapper := err.(type) { //nolint:errorlint // It takes the chain apart itself.
	case nil:
		return false
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			if !IsStale(inner) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return IsStale(wrapper.Unwrap())
	}
	return err == ErrStale || apierrors.IsConflict(err) //nolint:errorlint // As above.
}

// IsRefusal tells whether the API server refuses what was written: it is invalid, forbidden by a policy or over a quota,
// and would be refused again.
func IsRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}
