// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Images packs the container images that the stories and the demo run on a real
// node, which has no registry, and trains the models that they serve:
//
//	go run ./test/images [-out bin/images] [name…]
//
// Without a name it packs all. The model server is made of Debian's packages,
// which needs root and takes a minute; it is left alone while nothing that it is
// made of has changed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/image"
)

// recipe makes an image, as an archive in a folder.
type recipe struct {
	name string
	make func(ctx context.Context, k *kitchen, archive string) error
}

// recipes are all images, each called dev.local/<name>:1.
var recipes = []recipe{
	{"testserver", program("./test/images/testserver")},
	{"manager", program("./cmd/manager")},
	{"storage-initializer", program("./cmd/storage-initializer")},
	{"sklearnserver", modelServer},
}

// kitchen is where images are made.
type kitchen struct {
	root checkout.Root
	// out is the folder that they go into, and work one for what is in the making.
	out, work string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	out := flag.String("out", "", "the `folder` for the images; by default bin/images of the repository")
	flag.Parse()
	if err := run(ctx, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, names []string) (err error) {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	root, err := checkout.Find(ctx)
	if err != nil {
		return err
	}
	if out == "" {
		out = root.Path("bin", "images")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(out, "making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	k := &kitchen{root: root, out: out, work: work}
	for _, r := range chosen {
		if err := k.prepare(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

func choose(names []string) ([]recipe, error) {
	if len(names) == 0 {
		return recipes, nil
	}
	var chosen []recipe
	for _, name := range names {
		i := slices.IndexFunc(recipes, func(r recipe) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no image %q: choose %s", name, strings.Join(recipeNames(), ", "))
		}
		chosen = append(chosen, recipes[i])
	}
	return chosen, nil
}

func recipeNames() []string {
	var names []string
	for _, r := range recipes {
		names = append(names, r.name)
	}
	return names
}

// prepare makes an image under another name first, so that nobody ever finds half of one.
func (k *kitchen) prepare(ctx context.Context, r recipe) error {
	begin := time.Now()
	made := filepath.Join(k.work, r.name+".tar")
	switch err := r.make(ctx, k, made); {
	case errors.Is(err, errUpToDate):
		return nil
	case err != nil:
		return err
	}
	if err := os.Rename(made, k.archive(r.name)); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%-24s packed in %s\n", r.name, time.Since(begin).Round(100*time.Millisecond))
	return nil
}

func (k *kitchen) archive(name string) string { return filepath.Join(k.out, name+".tar") }

func imageName(name string) string { return "dev.local/" + name + ":1" }

// program is the recipe for a program of this repository.
func program(pkg string) func(context.Context, *kitchen, string) error {
	return func(ctx context.Context, k *kitchen, archive string) error {
		name := filepath.Base(pkg)
		path := filepath.Join(k.work, name)
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
		build.Dir = string(k.root)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
		return image.Program(imageName(name), path).Write(archive)
	}
}
