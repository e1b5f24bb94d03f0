// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const release = "bookworm"

// debootstrap are the arguments of mmdebstrap that determine the contents of the root file system.
// They exclude documentation and what only a compiler needs; SciPy's package depends on a compiler
// and its headers. Python's tests are removed afterwards because they must exist while packages
// compile their files. The package sources of this machine are removed, too.
var debootstrap = []string{
	"--mode=root",
	"--variant=essential",
	"--include=python3-sklearn",
	"--skip=output/dev",
	`--aptopt=APT::Install-Recommends "false"`,
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/include/*",
	"--dpkgopt=path-exclude=/usr/lib/gcc/*",
	"--dpkgopt=path-exclude=/usr/lib/*.a",
	`--customize-hook=rm -r "$1"/usr/share/perl "$1"/usr/lib/*-linux-gnu/perl "$1"/usr/bin/*-linux-gnu-*`,
	`--customize-hook=find "$1"/usr/lib/python3 -depth -type d -name tests -exec rm -r {} +`,
	`--customize-hook=rm -r "$1"/etc/apt/sources.list* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/lib/dpkg/info`,
}

func (b *builder) installSystem(ctx context.Context, path string) (err error) {
	if err := requireRoot("building a root file system from Debian packages"); err != nil {
		return err
	}
	if err := requireMmdebstrap(ctx); err != nil {
		return err
	}
	work := path + ".sources"
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	sources, err := ownSources(os.DirFS("/etc/apt"), work)
	if err != nil {
		return err
	}
	options, err := ownOptions(ctx, filepath.Join(work, "options"))
	if err != nil {
		return err
	}
	args := append(append(append([]string{"--format=tar"}, debootstrap...), options...), release, path)
	install := exec.CommandContext(ctx, "mmdebstrap", append(args, sources...)...)
	// SOURCE_DATE_EPOCH makes the archive depend on the packages alone. It also makes Python's
	// compiled files valid regardless of file times.
	install.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0", "DEBIAN_FRONTEND=noninteractive")
	// SIGKILL would leave mounts behind.
	install.Cancel = func() error { return install.Process.Signal(syscall.SIGTERM) }
	install.WaitDelay = 30 * time.Second
	if err := runQuietly(install); err != nil {
		return fmt.Errorf("building a root file system from Debian packages: %w\ncheck that `apt-get update` works and that %s has 2 GB of free space", err, os.TempDir())
	}
	return nil
}

func requireMmdebstrap(ctx context.Context) error {
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("mmdebstrap is missing: install it and Debian's archive keyring with the package manager of your system")
	}
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--yes", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		return runQuietly(cmd)
	}
	install := func() error { return apt("install", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring") }
	// Update the package lists only if the installation fails with the current ones.
	if install() == nil {
		return nil
	}
	if err := errors.Join(apt("update"), install()); err != nil {
		return fmt.Errorf("installing mmdebstrap: %w\ntry `apt-get install mmdebstrap`", err)
	}
	return nil
}
