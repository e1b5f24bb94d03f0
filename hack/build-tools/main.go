// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Command build-tools builds the tools that hack/tools pins into bin/tools:
//
//	go run ./hack/build-tools [flags] [name…]
//
// Without a name, it builds all tools. With a name, it can also build this repository's programs,
// into bin. It does not rebuild tools that are up to date, and supports concurrent runs. It
// requires only Go. The folder bin/tools can be used as KUBEBUILDER_ASSETS.
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
	list := flag.Bool("list", false, "list the tools with their versions and exit")
	ownVersion := flag.String("own-version", "devel", "the `version` that programs of this repository report")
	flag.Parse()

	act := build(*ownVersion)
	if *list {
		act = printList
	}
	if err := run(act, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build-tools:", err)
		os.Exit(1)
	}
}

func run(act func(context.Context, string, []tool) error, names []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root, err := builds.FindRoot()
	if err != nil {
		return err
	}
	tools, err := selectTools(names)
	if err != nil {
		return err
	}
	return act(ctx, root, tools)
}

func build(ownVersion string) func(context.Context, string, []tool) error {
	return func(ctx context.Context, root string, tools []tool) error {
		b := &builder{
			root: root, ownVersion: ownVersion,
			store: store{dir: filepath.Join(root, "bin")}, report: builds.NewReporter(os.Stderr),
		}
		return b.ensureAll(ctx, tools)
	}
}

func printList(_ context.Context, root string, tools []tool) error {
	for _, t := range tools {
		r, err := newRecipe(root, "", t)
		if err != nil {
			return err
		}
		fmt.Printf("%-24s %-10s %s\n", r.name, r.version, r.pkg)
	}
	return nil
}
