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
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/hack/builds"
	"github.com/serinus-io/serinus/test/cluster/image"
)

const (
	serverSources = "test/images/sklearnserver"
	python        = "/usr/bin/python3"
	// modelStore is the folder of the models below the folder of images. The models have the names
	// of KServe's examples, gs://kfserving-examples/models/sklearn/1.0/….
	modelStore = "store/kfserving-examples/models/sklearn/1.0"
)

// pythonEnv limits the linear algebra libraries to one thread because requests are small.
var pythonEnv = []string{
	"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
	"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "JOBLIB_MULTIPROCESSING=0", "PYTHONDONTWRITEBYTECODE=1",
}

func modelServer(ctx context.Context, b *builder, name string) (image.Image, error) {
	key := digest(runtime.GOARCH, strings.Join(debootstrap, "\n"))
	system := builds.Product{Name: name + ".rootfs", Path: b.private(name + ".rootfs.tar"), Private: b.private()}
	task := builds.Task{Name: name, Version: "system", Takes: time.Minute}
	err := b.ensure(ctx, system, key, task, func(path string) error { return b.installSystem(ctx, path) })
	if err != nil {
		return image.Image{}, err
	}
	if err := b.trainModels(ctx, system.Path, key); err != nil {
		return image.Image{}, err
	}
	return image.Image{
		Name:       imageName(name),
		Entrypoint: []string{python, "/server.py"},
		Env:        pythonEnv,
		Layers:     []image.Layer{image.Archive(system.Path), image.Files{"server.py": filepath.Join(b.root, serverSources, "server.py")}},
	}, nil
}

// trainModels trains the models with the versions of the libraries that will serve them.
func (b *builder) trainModels(ctx context.Context, system, systemKey string) error {
	source, err := os.ReadFile(filepath.Join(b.root, serverSources, "train.py"))
	if err != nil {
		return err
	}
	models := builds.Product{Name: "models", Path: filepath.Join(b.out, modelStore), Private: b.private()}
	task := builds.Task{Name: "sklearnserver", Version: "models", Takes: 10 * time.Second}
	return b.ensure(ctx, models, digest(systemKey, string(source)), task, func(path string) (err error) {
		if err := requireRoot("training models in the image's root file system"); err != nil {
			return err
		}
		chroot := path + ".chroot"
		if err := errors.Join(os.RemoveAll(chroot), os.MkdirAll(chroot, 0o755)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(chroot)) }()
		if err := runQuietly(exec.CommandContext(ctx, "tar", "--extract", "--directory="+chroot, "--file="+system)); err != nil {
			return err
		}
		train := exec.CommandContext(ctx, python, "-", "/models")
		train.Stdin = strings.NewReader(string(source))
		train.Dir, train.Env = "/", pythonEnv
		train.SysProcAttr = &syscall.SysProcAttr{Chroot: chroot}
		if err := runQuietly(train); err != nil {
			return err
		}
		return os.Rename(filepath.Join(chroot, "models"), path)
	})
}

func requireRoot(what string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: run this as root", what)
	}
	return nil
}

func digest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
