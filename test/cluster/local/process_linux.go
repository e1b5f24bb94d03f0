// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import "syscall"

func supported() error { return nil }

// attributes make a process the leader of a group of its own, so that a
// Control-C in the terminal reaches the program alone, which then ends things
// in order; and they make the system kill it when the program dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
