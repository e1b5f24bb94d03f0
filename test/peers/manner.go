// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Manner is how Knative reports on Knative Services: what is, and at once, where no manner is set. Whatever it says, it
// does at once what it is told.
type Manner struct {
	// delay is how long, after each generation was first seen, it reports as early says instead.
	delay time.Duration
	early func(said, right servingv1.ServiceStatus) servingv1.ServiceStatus
	// relapses says that it reports right first, and then once more what it had said before.
	relapses bool
}

// Late has the new traffic in the status at once, and is ready only this long after.
func Late(delay time.Duration) Manner {
	return Manner{delay: delay, early: func(_, right servingv1.ServiceStatus) servingv1.ServiceStatus {
		right.MarkRouteNotReconciled()
		return right
	}}
}

// Behind goes on saying what it has said of the generation before.
func Behind(delay time.Duration) Manner {
	return Manner{delay: delay, early: func(said, _ servingv1.ServiceStatus) servingv1.ServiceStatus { return said }}
}

// Ahead calls itself ready, for the generation that is, while it reports the traffic of the one before.
func Ahead(delay time.Duration) Manner {
	return Manner{delay: delay, early: func(said, right servingv1.ServiceStatus) servingv1.ServiceStatus {
		said.ObservedGeneration = right.ObservedGeneration
		return said
	}}
}

// Unversioned reports the traffic of the generation that is, as that of the one before.
func Unversioned(delay time.Duration) Manner {
	return Manner{delay: delay, early: func(said, right servingv1.ServiceStatus) servingv1.ServiceStatus {
		right.ObservedGeneration = said.ObservedGeneration
		return right
	}}
}

// Relapsing reports what is, then for so long what it had said of the generation before, as when two of it write one
// status.
func Relapsing(delay time.Duration) Manner {
	m := Behind(delay)
	m.relapses = true
	return m
}
