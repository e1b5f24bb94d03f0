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

// cgroupRoot is where the control groups of the machine are. Unlike the rest of
// a node, they have no namespace of their own here: all that a node makes is
// below one group, which has the name of the cluster's data folder.
const cgroupRoot = "/sys/fs/cgroup"

func cgroupOf(dataDir string) string { return filepath.Base(dataDir) }

// hierarchies returns the folders below which there are control groups: one with
// version 2, one for each kind with version 1.
func hierarchies(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no control groups found in %s", root)
	}
	var folders []string
	for _, file := range files {
		folders = append(folders, filepath.Dir(file))
	}
	return folders, nil
}

// makeCgroups makes the group that all pods are below.
func makeCgroups(name string) error {
	folders, err := hierarchies(cgroupRoot)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a control group: %w", err)
		}
	}
	return delegate(cgroupRoot)
}

// delegate lets groups below the root of version 2 have the controllers that
// kubelet asks for. With version 1 there is nothing to do.
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
			return fmt.Errorf("handing controller %s to a control group: %w", controller, err)
		}
	}
	return nil
}

// removeCgroups removes the group with all below it. Processes that have been
// killed leave it a moment later.
func removeCgroups(root, name string) error {
	const patience, interval = 20 * time.Second, 20 * time.Millisecond
	if !strings.HasPrefix(name, tempPrefix) {
		return nil // It is not ours.
	}
	folders, err := hierarchies(root)
	if err != nil {
		return nil //nolint:nilerr // Without control groups there is none to remove.
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		var errs []error
		for _, folder := range folders {
			errs = append(errs, removeGroup(filepath.Join(folder, name)))
		}
		if err := errors.Join(errs...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeGroup removes one group, after those below it. What else its folder
// shows are no files, and they go with it.
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
		return fmt.Errorf("removing a control group: %w", err)
	}
	return nil
}
