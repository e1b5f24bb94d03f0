// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"math"
	"time"
)

// Script says what becomes of the pods of a Deployment.
type Script struct {
	// ready is how many pods become ready at most, and delay how long after they were first seen.
	ready int
	delay time.Duration
	// otherwise is what becomes of the other pods.
	otherwise podState
	// refusal is why no pods can be made; empty where they can.
	refusal string
	// overdue says that the progress deadline of the Deployment has passed.
	overdue bool
}

// Ready lets every pod become ready. It is what happens without a script.
func Ready() Script { return ReadyUpTo(math.MaxInt) }

// ReadyUpTo lets so many pods become ready, and the others load for ever.
func ReadyUpTo(pods int) Script { return Script{ready: pods, otherwise: loading} }

// NotReady has the pods' containers run and never become ready, like a model that takes for ever to load.
func NotReady() Script { return ReadyUpTo(0) }

// After is the same, this long after each pod was first seen. Until then it loads.
func (s Script) After(delay time.Duration) Script {
	s.delay = delay
	return s
}

// Crash has the serving container end again and again, with an exit code and the end of its log.
func Crash(exitCode int32, log string) Script {
	return Script{otherwise: crashing(exitCode, "Error", log)}
}

// OutOfMemory has the serving container be killed again and again for want of memory.
func OutOfMemory() Script { return Script{otherwise: crashing(137, "OOMKilled", "")} }

// InitCrash has the first init container end again and again. A pod without one is like one of [NotReady].
func InitCrash(exitCode int32, log string) Script {
	return Script{otherwise: crashingInit(exitCode, log)}
}

// ImagePullError has the image of the serving container not be found, for the cause that the registry gives.
func ImagePullError(cause string) Script { return Script{otherwise: pulling(cause)} }

// Unschedulable has no node for the pods.
func Unschedulable(message string) Script { return UnschedulableSince(0, message) }

// UnschedulableSince has had no node for the pods for so long already.
func UnschedulableSince(since time.Duration, message string) Script {
	return Script{otherwise: unschedulable(message, since)}
}

// Refused lets no pods be made at all, as when a quota is used up.
func Refused(message string) Script { return Script{otherwise: loading, refusal: message} }

// Overdue has the pods load for longer than the progress deadline of the Deployment.
func Overdue() Script { return Script{otherwise: overdue, overdue: true} }
