// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package storage

import "math"

// freeBytes does not know: a full volume is noticed when it is full.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }
