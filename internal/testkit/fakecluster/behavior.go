// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"math"
	"time"
)

// PodBehavior describes what happens to the pods of a Deployment.
type PodBehavior struct {
	// At most maxReady pods become ready, delay after they were first seen.
	maxReady int
	delay    time.Duration
	// rest is the state of the other pods.
	rest podState
	// createError is the error on creating a pod, or empty if pods can be created.
	createError      string
	deadlineExceeded bool
}

// Ready makes every pod ready. It is the default behavior.
func Ready() PodBehavior { return ReadyUpTo(math.MaxInt) }

// ReadyUpTo makes the given number of pods ready. The others load forever.
func ReadyUpTo(pods int) PodBehavior { return PodBehavior{maxReady: pods, rest: loading} }

// NotReady keeps the containers running and not ready, as while a model loads.
func NotReady() PodBehavior { return ReadyUpTo(0) }

// Pending leaves the pods without a status, as before the scheduler has seen them.
func Pending() PodBehavior { return PodBehavior{rest: pending} }

// After returns a behavior that starts after a delay since each pod was first seen. Until then the
// pod loads.
func (b PodBehavior) After(delay time.Duration) PodBehavior {
	b.delay = delay
	return b
}

// Crash makes the serving container crash repeatedly with an exit code and a termination message.
func Crash(exitCode int32, log string) PodBehavior {
	return PodBehavior{rest: crashing(exitCode, "Error", log)}
}

// OutOfMemory makes the serving container run out of memory repeatedly.
func OutOfMemory() PodBehavior { return PodBehavior{rest: crashing(137, "OOMKilled", "")} }

// InitCrash makes the first init container crash repeatedly. A pod without init containers behaves
// as with [NotReady].
func InitCrash(exitCode int32, log string) PodBehavior {
	return PodBehavior{rest: crashingInit(exitCode, log)}
}

// ImagePullError makes the pull of the serving container's image fail with an error of the
// registry.
func ImagePullError(cause string) PodBehavior { return PodBehavior{rest: pulling(cause)} }

// Unschedulable makes the pods unschedulable.
func Unschedulable(message string) PodBehavior { return UnschedulableFor(0, message) }

// UnschedulableFor makes the pods unschedulable since the given duration before their creation.
func UnschedulableFor(duration time.Duration, message string) PodBehavior {
	return PodBehavior{rest: unschedulable(message, duration)}
}

// CreateFails makes the creation of pods fail, for example because of a quota.
func CreateFails(message string) PodBehavior { return PodBehavior{rest: loading, createError: message} }

// DeadlineExceeded makes the pods load for longer than the Deployment's progress deadline.
func DeadlineExceeded() PodBehavior {
	return PodBehavior{rest: loadingForTooLong, deadlineExceeded: true}
}
