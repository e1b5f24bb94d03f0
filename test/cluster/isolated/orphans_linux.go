// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/test/cluster/internal/proc"
)

// EndOrphans kills the processes in the namespaces that have outlived who
// started them, with all that they leave in turn, and returns when they are
// gone. It is for programs that want to go on.
func EndOrphans() error {
	const patience, interval = 20 * time.Second, 10 * time.Millisecond
	if !Inside() {
		return nil // Orphans outside are somebody else's.
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		orphans, err := proc.Children(1)
		if err != nil {
			return err
		}
		orphans = slices.DeleteFunc(orphans, func(pid int) bool { return pid == os.Getpid() })
		if len(orphans) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", orphans)
		}
		for _, pid := range orphans {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
