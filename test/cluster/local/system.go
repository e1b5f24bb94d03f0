// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// systemFolders are often missing from the PATH of a normal user.
var systemFolders = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

func searchPath() string {
	folders := filepath.SplitList(os.Getenv("PATH"))
	return strings.Join(append(folders, systemFolders...), string(os.PathListSeparator))
}

func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, folder := range systemFolders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

func system(ctx context.Context, name string, args ...string) error {
	path, err := findProgram(name)
	if err != nil {
		return err
	}
	return runSystem(exec.CommandContext(ctx, path, args...), name, args)
}

// systemNoContext is like system but cannot be cancelled. Use it for cleanup.
func systemNoContext(name string, args ...string) error {
	path, err := findProgram(name)
	if err != nil {
		return err
	}
	return runSystem(exec.Command(path, args...), name, args)
}

func runSystem(cmd *exec.Cmd, name string, args []string) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
