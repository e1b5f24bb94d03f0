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

// KillOrphans kills the orphaned processes in the namespaces, including those that become orphans
// meanwhile, and returns when they have ended. Use it in programs that continue to run.
func KillOrphans() error {
	const timeout, interval = 20 * time.Second, 10 * time.Millisecond
	if !Inside() {
		return nil // Orphans on the host do not belong to this program.
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(interval) {
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
