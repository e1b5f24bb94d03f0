// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/serinus-io/serinus/test/cluster/image"
)

// errUpToDate says that there was nothing to make.
var errUpToDate = errors.New("up to date")

const (
	serverSources = "test/images/sklearnserver"
	debian        = "bookworm"
	// where the models stand in the store: they have the names of KServe's own examples.
	modelStore = "store/kfserving-examples/models/sklearn/1.0"
)

// debootstrap are the arguments of mmdebstrap but for training, the file and the
// source of packages. What only a compiler or a reader needs is left out.
var debootstrap = []string{
	"--variant=essential",
	"--include=python3-sklearn",
	`--aptopt=Apt::Install-Recommends "false"`,
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	`--customize-hook=rm -r "$1"/usr/lib/gcc "$1"/usr/include "$1"/usr/lib/*-linux-gnu/lib*.a`,
	`--customize-hook=find "$1"/usr/lib/python3 -name tests -prune -exec rm -r {} +`,
}

// modelServer is the recipe for the server of scikit-learn models. Its root file
// system is kept, so that a change of the server itself does not cost a minute.
func modelServer(ctx context.Context, k *kitchen, archive string) error {
	system, err := k.pythonSystem(ctx)
	if err != nil && !errors.Is(err, errUpToDate) {
		return err
	}
	server := k.root.Path(serverSources, "server.py")
	stamp, stampErr := digest(server, strings.Join(debootstrap, "\n"))
	if stampErr != nil {
		return stampErr
	}
	if errors.Is(err, errUpToDate) && k.isStamped("sklearnserver", stamp) {
		return errUpToDate
	}
	packed := image.Image{
		Name:       imageName("sklearnserver"),
		Entrypoint: []string{"/usr/bin/python3", "/server.py"},
		// One request at a time is small work: threads of the algebra would only stand in each other's way.
		Env:    []string{"PATH=/usr/bin:/bin", "OPENBLAS_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1"},
		Layers: []image.Layer{image.Archive(system), image.Files{"server.py": server}},
	}
	if err := packed.Write(archive); err != nil {
		return err
	}
	return k.stamp("sklearnserver", stamp)
}

// pythonSystem makes the root file system with Python and scikit-learn, and
// trains the models in it, by the very versions that will serve them.
func (k *kitchen) pythonSystem(ctx context.Context) (path string, err error) {
	path = filepath.Join(k.out, "python.rootfs.tar")
	training := k.root.Path(serverSources, "train.py")
	stamp, err := digest(training, strings.Join(debootstrap, "\n"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil && k.isStamped("python", stamp) {
		return path, errUpToDate
	}
	if os.Getuid() != 0 {
		return "", errors.New("to put Debian's packages together takes root: run it as root, or with sudo")
	}
	if err := k.requireMmdebstrap(ctx); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "%-24s putting Python and scikit-learn of Debian %s together, about 1m0s\n", "sklearnserver", debian)
	made, models := filepath.Join(k.work, "rootfs.tar"), filepath.Join(k.work, "models")
	if err := os.Mkdir(models, 0o755); err != nil {
		return "", err
	}
	args := append(append([]string{}, debootstrap...),
		`--customize-hook=mkdir "$1/train"`,
		"--customize-hook=copy-in "+training+" /train",
		`--customize-hook=chroot "$1" python3 /train/train.py /train/models`,
		"--customize-hook=sync-out /train/models "+models,
		`--customize-hook=rm -r "$1/train"`,
		debian, made)
	if sources := ownSources(); sources != "" {
		args = append(args, sources)
	}
	if err := k.runLogged(ctx, "mmdebstrap", args...); err != nil {
		return "", err
	}
	return path, errors.Join(k.keepModels(models), os.Rename(made, path), k.stamp("python", stamp))
}

// keepModels puts the models where the store takes them from.
func (k *kitchen) keepModels(models string) error {
	store := filepath.Join(k.out, modelStore)
	return errors.Join(os.RemoveAll(store), os.MkdirAll(filepath.Dir(store), 0o755), os.Rename(models, store))
}

// ownSources is the file that says where this machine has its packages from, if
// it runs the same Debian. Otherwise mmdebstrap knows the default.
func ownSources() string {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil || !strings.Contains(string(release), "VERSION_CODENAME="+debian) {
		return ""
	}
	for _, file := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), debian) {
			return file
		}
	}
	return ""
}

// requireMmdebstrap installs the program where Debian has it.
func (k *kitchen) requireMmdebstrap(ctx context.Context) error {
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("mmdebstrap is missing: install it with the package manager of your system")
	}
	fmt.Fprintf(os.Stderr, "%-24s installing the package mmdebstrap\n", "sklearnserver")
	if err := k.runLogged(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return k.runLogged(ctx, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "mmdebstrap")
}

// runLogged runs a program that has much to say. Its words go into a file, and
// the last of them into the error.
func (k *kitchen) runLogged(ctx context.Context, name string, args ...string) error {
	path := filepath.Join(k.out, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w; the log is %s and ends with\n%s", name, err, path, lastLines(path))
	}
	return nil
}

func lastLines(path string) string {
	const enough = 10
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-enough):], "\n")
}

// digest is of the content of a file and of a text.
func digest(file, text string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(data, text...))
	return hex.EncodeToString(sum[:]), nil
}

func (k *kitchen) stampFile(name string) string { return filepath.Join(k.out, name+".stamp") }

func (k *kitchen) stamp(name, stamp string) error {
	return os.WriteFile(k.stampFile(name), []byte(stamp), 0o644)
}

func (k *kitchen) isStamped(name, stamp string) bool {
	found, err := os.ReadFile(k.stampFile(name))
	return err == nil && string(found) == stamp
}
