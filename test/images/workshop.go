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
	"strings"
	"time"

	"github.com/serinus-io/serinus/hack/builds"
	"github.com/serinus-io/serinus/test/cluster/image"
)

// workshop is where images are made.
type workshop struct {
	// root is the folder of the repository, and out the one that images go into.
	root, out string
	report    *builds.Reporter
}

// private is a folder for what images are made of.
func (w *workshop) private(elements ...string) string {
	return filepath.Join(append([]string{w.out, ".build"}, elements...)...)
}

// pack brings the archive of an image up to date.
func (w *workshop) pack(ctx context.Context, r recipe) error {
	packed, err := r.prepare(ctx, w, r.name)
	if err != nil {
		return err
	}
	id, err := packed.ID()
	if err != nil {
		return err
	}
	archive := builds.Product{Name: r.name + ".tar", Path: filepath.Join(w.out, r.name+".tar"), Private: w.private()}
	return w.ensure(ctx, archive, packed.Name+" "+id, builds.Task{Name: r.name, Version: "image", Takes: 3 * time.Second}, packed.Write)
}

// ensure brings a product up to date, and says so if that is work.
func (w *workshop) ensure(ctx context.Context, p builds.Product, key string, task builds.Task, build func(path string) error) error {
	return p.Ensure(ctx, key, w.report, func(path string) error {
		progress := w.report.Start(task)
		err := build(path)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		progress.End(err)
		return err
	})
}

// program is the recipe for a program of this repository. It is compiled each
// time, as only the compiler knows whether it is up to date.
func program(pkg string) func(context.Context, *workshop, string) (image.Image, error) {
	return func(ctx context.Context, w *workshop, name string) (image.Image, error) {
		binary := builds.Product{Name: name, Path: w.private("programs", name), Private: w.private()}
		task := builds.Task{Name: name, Version: "program", Takes: 2 * time.Minute, Quiet: true}
		err := w.ensure(ctx, binary, "", task, func(path string) error {
			// The linker has nothing to do where this program is there already.
			if err := os.Link(binary.Path, path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, pkg)
			build.Dir = w.root
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off")
			return runQuietly(build)
		})
		return image.Program(imageName(name), binary.Path), err
	}
}

// tool is the recipe for a program of somebody else, which hack/build-tools pins and builds.
func tool(ctx context.Context, w *workshop, name string) (image.Image, error) {
	build := exec.CommandContext(ctx, "go", "run", "./hack/build-tools", name)
	build.Dir = w.root
	build.Stdout, build.Stderr = os.Stderr, os.Stderr // It tells how far it is.
	if err := build.Run(); err != nil {
		return image.Image{}, fmt.Errorf("building it: %w", err)
	}
	return image.Program(imageName(name), filepath.Join(w.root, "bin", "tools", name)), nil
}

// runQuietly runs a program whose words are of interest only if it fails: then
// the last of them are in the error.
func runQuietly(cmd *exec.Cmd) error {
	const enough = 15
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, strings.Join(lines[max(0, len(lines)-enough):], "\n"))
}
