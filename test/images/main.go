// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Images builds the container images that the end-to-end scenarios and the demo run on a real node,
// which has no registry. It also trains the models that they serve.
//
//	go run ./test/images [-out bin/images] [name…]
//
// Without a name it builds all images. Each image has the name dev.local/<name>:1 and is written to
// <name>.tar unless that file is up to date. Several runs can work at the same time.
//
// The model server is built from Debian packages, which needs root and takes a minute. Its packages
// are installed again only when their list changes. To get newer versions, remove the folder .build
// in the output folder.
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
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	out := flag.String("out", "", "the output `folder`; the default is bin/images in the repository")
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
	// Programs are built in another working folder, so the path must be absolute.
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	b := &builder{root: root, out: out, report: builds.NewReporter(os.Stderr)}
	for _, r := range chosen {
		if err := b.build(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}
