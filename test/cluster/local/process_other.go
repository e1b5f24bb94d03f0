//go:build !linux

// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"syscall"
)

func supported() error {
	return errors.New("the local cluster needs Linux, which guarantees that its processes end with it: run it in a Linux virtual machine or container")
}

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
