// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func supported() error { return nil }

// attributes make a process the leader of a group of its own, so that a
// Control-C in the terminal reaches the program alone, which then ends things
// in order; and they make the system kill it when the program dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// identify looks a process up. Without one, the start is empty.
func identify(name string, pid int) processState {
	p := processState{Name: name, PID: pid}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p
	}
	// The name of the program, in parentheses, may hold anything. After it come
	// the state and, nineteen fields on, the start in ticks since boot.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const zombie, start = "Z", 19
	if len(fields) > start && fields[0] != zombie {
		p.Start = fields[start]
	}
	return p
}
