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

type builder struct {
	// root is the folder of the repository and out the output folder.
	root, out string
	report    *builds.Reporter
}

func (b *builder) private(elements ...string) string {
	return filepath.Join(append([]string{b.out, ".build"}, elements...)...)
}

func (b *builder) build(ctx context.Context, r recipe) error {
	built, err := r.prepare(ctx, b, r.name)
	if err != nil {
		return err
	}
	id, err := built.ID()
	if err != nil {
		return err
	}
	archive := builds.Product{Name: r.name + ".tar", Path: filepath.Join(b.out, r.name+".tar"), Private: b.private()}
	return b.ensure(ctx, archive, built.Name+" "+id, builds.Task{Name: r.name, Version: "image", Takes: 3 * time.Second}, built.Write)
}

// ensure brings a product up to date and reports progress if it must be built.
func (b *builder) ensure(ctx context.Context, p builds.Product, key string, task builds.Task, build func(path string) error) error {
	return p.Ensure(ctx, key, b.report, func(path string) error {
		progress := b.report.Start(task)
		err := build(path)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		progress.End(err)
		return err
	})
}

// program returns a function that builds the image of a program of this repository. It always runs
// the compiler because only the compiler knows whether the program is up to date.
func program(pkg string) func(context.Context, *builder, string) (image.Image, error) {
	return func(ctx context.Context, b *builder, name string) (image.Image, error) {
		binary := builds.Product{Name: name, Path: b.private("programs", name), Private: b.private()}
		task := builds.Task{Name: name, Version: "program", Takes: 2 * time.Minute, Quiet: true}
		err := b.ensure(ctx, binary, "", task, func(path string) error {
			// The go command skips linking if the output file exists and is up to date.
			if err := os.Link(binary.Path, path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, pkg)
			build.Dir = b.root
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off")
			return runQuietly(build)
		})
		return image.Program(imageName(name), binary.Path), err
	}
}

func tool(ctx context.Context, b *builder, name string) (image.Image, error) {
	build := exec.CommandContext(ctx, "go", "run", "./hack/build-tools", name)
	build.Dir = b.root
	build.Stdout, build.Stderr = os.Stderr, os.Stderr // It reports its progress.
	if err := build.Run(); err != nil {
		return image.Image{}, fmt.Errorf("building the program: %w", err)
	}
	return image.Program(imageName(name), filepath.Join(b.root, "bin", "tools", name)), nil
}

// runQuietly runs a program without showing its output. If it fails, the error contains the last
// lines.
func runQuietly(cmd *exec.Cmd) error {
	const limit = 15
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, strings.Join(lines[max(0, len(lines)-limit):], "\n"))
}
