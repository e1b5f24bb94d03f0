// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serinus-io/serinus/internal/rollout"
)

// ErrStaleCache reports that the observation is older than the current state. The decision must be
// made again.
var ErrStaleCache = errors.New("waiting for the cluster to catch up")

// WriteError is why one write of a change has failed.
type WriteError struct {
	Err error
	// HostRoute is true if only the host route of the InferenceService depends on the write. Its
	// predictor is still reachable.
	HostRoute bool
}

// JoinErrors returns the errors as one; nil if there are none. [IsStale] and [IsAboutHostRoute] are
// true of it only if they are true of each: a stale cache must not hide another failure.
func JoinErrors(all []WriteError) error {
	var stale, others []error
	aboutHostRoute := true
	for _, failed := range all {
		aboutHostRoute = aboutHostRoute && failed.HostRoute
		if IsStale(failed.Err) {
			stale = append(stale, failed.Err)
		} else {
			others = append(others, failed.Err)
		}
	}
	if len(others) == 0 {
		others = stale
	}
	err := errors.Join(others...)
	if err != nil && aboutHostRoute {
		return &hostRouteError{err}
	}
	return err
}

// hostRouteError contains only errors about a host route.
type hostRouteError struct{ error }

func (e *hostRouteError) Unwrap() error { return e.error }

// IsAboutHostRoute reports whether an error of [JoinErrors] means only that a host route could not
// be written.
func IsAboutHostRoute(err error) bool {
	_, is := errors.AsType[*hostRouteError](err)
	return is
}

// IsStale reports whether a write or a read has failed because a decision is based on an old view.
func IsStale(err error) bool { return errors.Is(err, ErrStaleCache) || apierrors.IsConflict(err) }

// IsRefusal reports whether the API server rejects the object itself: it is invalid, forbidden by a
// policy or exceeds a quota, so a retry would fail, too.
func IsRefusal(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// ConflictError reports an object with a name that we need and another owner. The operator never
// adopts it.
type ConflictError struct {
	Kind, Namespace, Name string
	// Owner is the object's controller, such as "Deployment web"; empty if it has none.
	Owner string
}

// IsConflict reports whether an object has another owner.
func IsConflict(err error) bool {
	_, is := errors.AsType[*ConflictError](err)
	return is
}

// Error returns a message with the owner and the options of the user.
func (e *ConflictError) Error() string {
	owner := "is not controlled by this InferenceService"
	if e.Owner != "" {
		owner = "is controlled by " + e.Owner
	}
	return fmt.Sprintf("%s %q in namespace %q %s, so it is left alone; delete it (kubectl delete -n %s %s %s), or give the InferenceService another name",
		e.Kind, e.Name, e.Namespace, owner, e.Namespace, strings.ToLower(e.Kind), e.Name)
}

// CheckStateVersion returns a *[rollout.NewerVersionError] if a later version of the operator wrote
// the rollout state.
func CheckStateVersion(state string) error {
	var newer *rollout.NewerVersionError
	if _, err := rollout.DecodeState(state); errors.As(err, &newer) {
		return newer
	}
	return nil
}
