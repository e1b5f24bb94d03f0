// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package fakecluster

import (
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// StatusLag describes how the status of Knative Services lags behind their spec. The zero value has
// no lag. Knative acts on the spec without delay in any case.
type StatusLag struct {
	// stale replaces the status for the delay after a generation was first observed.
	delay time.Duration
	stale func(previous, current servingv1.ServiceStatus) servingv1.ServiceStatus
	// staleAgain reports the current status first, and the stale one afterwards.
	staleAgain bool
}

// ReadyLate reports the new traffic at once, and Ready only after the delay.
func ReadyLate(delay time.Duration) StatusLag {
	return StatusLag{delay: delay, stale: func(_, current servingv1.ServiceStatus) servingv1.ServiceStatus {
		current.MarkRouteNotReconciled()
		return current
	}}
}

// Stale keeps the status of the previous generation.
func Stale(delay time.Duration) StatusLag {
	return StatusLag{delay: delay, stale: func(previous, _ servingv1.ServiceStatus) servingv1.ServiceStatus { return previous }}
}

// StaleTraffic reports Ready for the current generation together with the previous generation's
// traffic.
func StaleTraffic(delay time.Duration) StatusLag {
	return StatusLag{delay: delay, stale: func(previous, current servingv1.ServiceStatus) servingv1.ServiceStatus {
		previous.ObservedGeneration = current.ObservedGeneration
		return previous
	}}
}

// StaleGeneration reports the current traffic with the previous observedGeneration.
func StaleGeneration(delay time.Duration) StatusLag {
	return StatusLag{delay: delay, stale: func(previous, current servingv1.ServiceStatus) servingv1.ServiceStatus {
		current.ObservedGeneration = previous.ObservedGeneration
		return current
	}}
}

// StaleAgain reports the current status, and then that of the previous generation once more, as if
// two controllers wrote one status.
func StaleAgain(delay time.Duration) StatusLag {
	lag := Stale(delay)
	lag.staleAgain = true
	return lag
}
