// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"time"

	"k8s.io/utils/clock"
)

// Start is when the time of a fake clock starts.
var Start = time.Date(2026, time.November, 23, 8, 0, 0, 0, time.UTC)

type fakeClock struct{ now *time.Time }

// NewClock returns a clock that shows the time in a variable.
func NewClock(now *time.Time) clock.PassiveClock { return fakeClock{now} }

// Now implements clock.PassiveClock.
func (c fakeClock) Now() time.Time { return *c.now }

// Since implements clock.PassiveClock.
func (c fakeClock) Since(t time.Time) time.Duration { return c.now.Sub(t) }
