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
	// modelStore is where the models stand in the folder of images: they have the
	// names of KServe's own examples, gs://kfserving-examples/models/sklearn/1.0/….
	modelStore = "store/kfserving-examples/models/sklearn/1.0"
)

// pythonEnv: a request is little work, at which threads of the linear algebra
// would only stand in each other's way.
var pythonEnv = []string{
	"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
	"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "JOBLIB_MULTIPROCESSING=0", "PYTHONDONTWRITEBYTECODE=1",
}

// modelServer is the recipe for the server of scikit-learn models, and trains
// those that it serves.
func modelServer(ctx context.Context, w *workshop, name string) (image.Image, error) {
	key := digest(runtime.GOARCH, strings.Join(debootstrap, "\n"))
	system := builds.Product{Name: name + ".rootfs", Path: w.private(name + ".rootfs.tar"), Private: w.private()}
	task := builds.Task{Name: name, Version: "system", Takes: time.Minute}
	err := w.ensure(ctx, system, key, task, func(path string) error { return w.installSystem(ctx, path) })
	if err != nil {
		return image.Image{}, err
	}
	if err := w.trainModels(ctx, system.Path, key); err != nil {
		return image.Image{}, err
	}
	return image.Image{
		Name:       imageName(name),
		Entrypoint: []string{python, "/server.py"},
		Env:        pythonEnv,
		Layers:     []image.Layer{image.Archive(system.Path), image.Files{"server.py": filepath.Join(w.root, serverSources, "server.py")}},
	}, nil
}

// trainModels does it with the very versions that will serve the models.
func (w *workshop) trainModels(ctx context.Context, system, systemKey string) error {
	source, err := os.ReadFile(filepath.Join(w.root, serverSources, "train.py"))
	if err != nil {
		return err
	}
	models := builds.Product{Name: "models", Path: filepath.Join(w.out, modelStore), Private: w.private()}
	task := builds.Task{Name: "sklearnserver", Version: "models", Takes: 10 * time.Second}
	return w.ensure(ctx, models, digest(systemKey, string(source)), task, func(path string) (err error) {
		if err := requireRoot("training models inside of the image"); err != nil {
			return err
		}
		room := path + ".room"
		if err := errors.Join(os.RemoveAll(room), os.MkdirAll(room, 0o755)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(room)) }()
		if err := runQuietly(exec.CommandContext(ctx, "tar", "--extract", "--directory="+room, "--file="+system)); err != nil {
			return err
		}
		train := exec.CommandContext(ctx, python, "-", "/models")
		train.Stdin = strings.NewReader(string(source))
		train.Dir, train.Env = "/", pythonEnv
		train.SysProcAttr = &syscall.SysProcAttr{Chroot: room}
		if err := runQuietly(train); err != nil {
			return err
		}
		return os.Rename(filepath.Join(room, "models"), path)
	})
}

func requireRoot(what string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s takes root: run this as root", what)
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
