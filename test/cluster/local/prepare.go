// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/serinus-io/serinus/test/cluster/isolated"
)

var pluginFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

func findPlugins() (string, error) {
	for _, folder := range pluginFolders {
		if hasPlugin(folder, "ptp") && hasPlugin(folder, "host-local") {
			return folder, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins ptp and host-local are not in any of %s", strings.Join(pluginFolders, ", "))
}

func hasPlugin(folder, name string) bool {
	_, err := exec.LookPath(filepath.Join(folder, name))
	return err == nil
}

type requirement struct {
	// name is the program and pkg the Debian package that contains it.
	name, pkg string
	missing   func() bool
}

func requirements() []requirement {
	program := func(name, pkg string) requirement {
		return requirement{name: name, pkg: pkg, missing: func() bool {
			_, err := findProgram(name)
			return err != nil
		}}
	}
	return []requirement{
		program("runc", "runc"),
		program("nft", "nftables"),
		program("ip", "iproute2"),
		program("mount", "mount"),
		{name: "CNI plugins", pkg: "containernetworking-plugins", missing: func() bool {
			_, err := findPlugins()
			return err != nil
		}},
	}
}

func missingRequirements() []requirement {
	return slices.DeleteFunc(requirements(), func(r requirement) bool { return !r.missing() })
}

// NodeSupported returns an error with the reason if this machine cannot run a real node.
func NodeSupported() error {
	err := nodeSupported()
	if err != nil {
		return fmt.Errorf("this machine cannot run a real node: %w; the level %q simulates nodes and has no such requirements", err, Simulated)
	}
	return nil
}

func nodeSupported() error {
	if err := supported(); err != nil {
		return err
	}
	if err := isolated.Supported(); err != nil {
		return err
	}
	if err := cgroupsWritable(); err != nil {
		return err
	}
	missing := missingRequirements()
	if len(missing) == 0 {
		return nil
	}
	if _, err := findProgram("apt-get"); err != nil {
		return fmt.Errorf("%s, and there is no apt-get: install your system's equivalents of the Debian packages %s",
			describe(missing), strings.Join(packages(missing), ", "))
	}
	return nil
}

// cgroupsWritable tries to create a cgroup, which is often not permitted in a container.
func cgroupsWritable() error {
	folders, err := hierarchies(cgroupRoot)
	if err != nil {
		return err
	}
	trial, err := os.MkdirTemp(folders[0], tempPrefix)
	if err != nil {
		return fmt.Errorf("cannot create cgroups (in a container, this needs --privileged): %w", err)
	}
	return os.Remove(trial)
}

// PrepareNode prepares the machine for a real node. It removes leftovers of killed clusters and
// installs missing Debian packages, with a log in logDir. Call it outside of the namespaces, which
// have no network.
func PrepareNode(ctx context.Context, logDir string, progress func(line string)) error {
	if isolated.Inside() {
		return errInside
	}
	if err := NodeSupported(); err != nil {
		return err
	}
	removeLeftovers()
	missing := missingRequirements()
	if len(missing) == 0 {
		return nil
	}
	progress(fmt.Sprintf("installing %s", strings.Join(packages(missing), ", ")))
	log := filepath.Join(logDir, "packages.log")
	if err := install(ctx, log, packages(missing)); err != nil {
		return fmt.Errorf("installing packages (the log is %s): %w; try `apt-get install %s`", log, err, strings.Join(packages(missing), " "))
	}
	if missing = missingRequirements(); len(missing) > 0 {
		return fmt.Errorf("%s, although its package is installed", describe(missing))
	}
	return nil
}

// install installs packages. It updates the package lists only if the installation fails with the
// current ones.
func install(ctx context.Context, log string, names []string) (err error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return err
	}
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if apt(ctx, file, append([]string{"install", "--no-install-recommends"}, names...)...) == nil {
		return nil
	}
	if err := apt(ctx, file, "update"); err != nil {
		return err
	}
	return apt(ctx, file, append([]string{"install", "--no-install-recommends"}, names...)...)
}

func apt(ctx context.Context, log *os.File, args ...string) error {
	fmt.Fprintln(log, "apt-get", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--yes", "--quiet", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH="+searchPath())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w", args[0], err)
	}
	return nil
}

func describe(missing []requirement) string {
	names := make([]string, 0, len(missing))
	for _, r := range missing {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ") + " is missing"
}

func packages(missing []requirement) []string {
	names := make([]string, 0, len(missing))
	for _, r := range missing {
		names = append(names, r.pkg)
	}
	return names
}
