// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// counter counts what `go build` does. It does not see cached packages.
type counter struct {
	downloads, packages atomic.Int64
}

func (c *counter) String() string {
	var parts []string
	if n := c.downloads.Load(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d modules downloaded", n))
	}
	if n := c.packages.Load(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d packages compiled", n))
	}
	return strings.Join(parts, ", ")
}
