// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cgroupRoot is the mount point of the machine's cgroups. A node has no cgroup namespace, so it
// creates all its cgroups below one group that is named after the cluster's data folder.
const cgroupRoot = "/sys/fs/cgroup"

func cgroupOf(dataDir string) string { return filepath.Base(dataDir) }

// hierarchies returns the roots of the cgroup hierarchies: one in cgroup v2, one for each
// controller in cgroup v1.
func hierarchies(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no cgroups found in %s", root)
	}
	var folders []string
	for _, file := range files {
		folders = append(folders, filepath.Dir(file))
	}
	return folders, nil
}

func createCgroups(name string) error {
	folders, err := hierarchies(cgroupRoot)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("creating a cgroup: %w", err)
		}
	}
	return delegate(cgroupRoot)
}

// delegate enables the controllers that the kubelet needs for the groups below the root. Cgroup v1
// does not need it.
func delegate(root string) error {
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} {
		if !strings.Contains(" "+strings.TrimSpace(string(available))+" ", " "+controller+" ") {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("enabling the cgroup controller %s: %w", controller, err)
		}
	}
	return nil
}

// removeCgroups removes the group and all groups below it. It retries because killed processes
// leave their group with a delay.
func removeCgroups(root, name string) error {
	const timeout, interval = 20 * time.Second, 20 * time.Millisecond
	if !strings.HasPrefix(name, tempPrefix) {
		return nil // It does not belong to a cluster.
	}
	folders, err := hierarchies(root)
	if err != nil {
		return nil //nolint:nilerr // Without cgroups there is nothing to remove.
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(interval) {
		var errs []error
		for _, folder := range folders {
			errs = append(errs, removeGroup(filepath.Join(folder, name)))
		}
		if err := errors.Join(errs...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeGroup removes a group after the groups below it. The kernel removes the interface files in
// its folder.
func removeGroup(group string) error {
	entries, err := os.ReadDir(group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := removeGroup(filepath.Join(group, entry.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a cgroup: %w", err)
	}
	return nil
}
