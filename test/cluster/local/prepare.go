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

// pluginFolders are where systems keep the plugins of CNI.
var pluginFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// findPlugins returns the folder of the plugins that pods' networks are made by.
func findPlugins() (string, error) {
	for _, folder := range pluginFolders {
		if hasPlugin(folder, "ptp") && hasPlugin(folder, "host-local") {
			return folder, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins ptp and host-local are in none of %s", strings.Join(pluginFolders, ", "))
}

func hasPlugin(folder, name string) bool {
	_, err := exec.LookPath(filepath.Join(folder, name))
	return err == nil
}

// requirement is something that the system has to have for a real node.
type requirement struct {
	// name is the program, and pkg the Debian package that has it.
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

func missing() []requirement {
	return slices.DeleteFunc(requirements(), func(r requirement) bool { return !r.missing() })
}

// NodeSupported tells why there cannot be a real node on this machine, if there
// cannot.
func NodeSupported() error {
	err := nodeSupported()
	if err != nil {
		return fmt.Errorf("no real node can run here: %w; the level %q simulates nodes and needs nothing of the kind", err, Simulated)
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
	lacking := missing()
	if len(lacking) == 0 {
		return nil
	}
	if _, err := findProgram("apt-get"); err != nil {
		return fmt.Errorf("%s, and there is no apt-get to install it with: install what your system has in place of the Debian packages %s",
			describe(lacking), strings.Join(packages(lacking), ", "))
	}
	return nil
}

// cgroupsWritable tries to make a control group, which containers often may not.
func cgroupsWritable() error {
	folders, err := hierarchies(cgroupRoot)
	if err != nil {
		return err
	}
	trial, err := os.MkdirTemp(folders[0], tempPrefix)
	if err != nil {
		return fmt.Errorf("control groups cannot be made (in a container, they take --privileged): %w", err)
	}
	return os.Remove(trial)
}

// PrepareNode readies the machine for a real node: it removes what killed
// clusters have left, and installs the Debian packages that are missing. It must
// be called outside of the namespaces, which have no network. The log of the
// installation goes into the folder.
func PrepareNode(ctx context.Context, logDir string, progress func(line string)) error {
	if isolated.Inside() {
		return errInside
	}
	if err := NodeSupported(); err != nil {
		return err
	}
	removeRemains()
	lacking := missing()
	if len(lacking) == 0 {
		return nil
	}
	progress(fmt.Sprintf("installing %s", strings.Join(packages(lacking), ", ")))
	log := filepath.Join(logDir, "packages.log")
	if err := install(ctx, log, packages(lacking)); err != nil {
		return fmt.Errorf("installing packages (the log is %s): %w; try `apt-get install %s`", log, err, strings.Join(packages(lacking), " "))
	}
	if lacking = missing(); len(lacking) > 0 {
		return fmt.Errorf("%s, though its package is installed", describe(lacking))
	}
	return nil
}

// install installs packages by the lists that the machine has, and fetches new
// lists only if these do not do.
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

func describe(lacking []requirement) string {
	names := make([]string, 0, len(lacking))
	for _, r := range lacking {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ") + " is missing"
}

func packages(lacking []requirement) []string {
	names := make([]string, 0, len(lacking))
	for _, r := range lacking {
		names = append(names, r.pkg)
	}
	return names
}
