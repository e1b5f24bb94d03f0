//go:build !linux

// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"errors"
	"os"
)

var errNotLinux = errors.New("namespaces need Linux")

// Supported returns an error with the reason if namespaces cannot be created here.
func Supported() error { return errNotLinux }

// Run works on Linux only.
func Run([]string, ...*os.File) (code int, err error) { return 0, errNotLinux }

// KillOrphans works on Linux only.
func KillOrphans() error { return nil }

// File returns the file with the index in the arguments of Run.
func File(int) *os.File { return nil }

func initMain() int {
	fail(errNotLinux)
	return 1
}
