// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import "syscall"

func supported() error { return nil }

// attributes put a process into its own process group, so that a Control-C in the terminal reaches
// only this program, which then stops its processes in order. They also make the kernel kill the
// process when this program dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
