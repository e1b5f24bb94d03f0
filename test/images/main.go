// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Images packs the container images that the stories and the demo run on a real
// node, which has no registry, and trains the models that they serve:
//
//	go run ./test/images [-out bin/images] [name…]
//
// Without a name it packs all. Each image is called dev.local/<name>:1 and goes
// into <name>.tar, which is left alone if it holds this very image already. Two
// runs at the same time do not disturb each other.
//
// The model server is made of Debian's packages, which needs root and takes a
// minute. Its packages stay as they are until the list of them changes; to have
// newer versions, remove the folder .build beside the images.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/serinus-io/serinus/hack/builds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	out := flag.String("out", "", "the `folder` for the images; by default bin/images of the repository")
	flag.Parse()
	if err := run(ctx, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	root, err := builds.FindRoot()
	if err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(root, "bin", "images")
	}
	// Programs are built in the root of the repository.
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	w := &workshop{root: root, out: out, report: builds.NewReporter(os.Stderr)}
	for _, r := range chosen {
		if err := w.pack(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}
