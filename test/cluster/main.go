// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Cluster runs local Kubernetes clusters for trying and testing the operator, and the demo:
//
//	go run ./test/cluster up [--level simulated|control-plane|pods|node|knative] [--operator] [--detach]
//	go run ./test/cluster prepare [--level …] [--operator]
//	go run ./test/cluster down
//	go run ./test/cluster kubeconfig
//	go run ./test/cluster demo
//
// It needs Linux and Go. The levels pods, node and knative run real pods and need root. The other
// levels need neither root nor containers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/cluster/internal/demo"
	"github.com/serinus-io/serinus/test/cluster/isolated"
	"github.com/serinus-io/serinus/test/cluster/local"
)

const usage = `Usage: cluster VERB [flags]

  up          start a cluster; --detach leaves it running in the background
  prepare     build and install what a cluster needs, without starting it
  down        stop the cluster, or clean up after one that was killed
  kubeconfig  print the path of the cluster's kubeconfig
  demo        walk through a canary release on a separate cluster

"cluster VERB --help" shows the flags.
`

// errUsage ends the program with exit code 2. The flag package has printed the reason.
var errUsage = errors.New("usage")

// exitCode ends the program with this code and prints nothing more.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	isolated.Enter()
	logf.SetLogger(logr.Discard()) // The user sees progress lines instead.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	err := run(ctx, os.Args[1:])
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.Is(err, errUsage):
		os.Exit(2)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	root, err := checkout.Find(ctx)
	if err != nil {
		return err
	}
	out := console.New(os.Stdout)
	verb, args := args[0], args[1:]
	switch verb {
	case "up":
		return up(ctx, root, out, args)
	case "prepare":
		o, err := parseUp(root, verb, args)
		if err != nil {
			return err
		}
		return prepare(ctx, root, out, o)
	case "down":
		return down(root, out, args)
	case "kubeconfig":
		return kubeconfig(root, args)
	case "demo":
		if err := parse(flag.NewFlagSet("demo", flag.ContinueOnError), args); err != nil {
			return err
		}
		return runDemo(ctx, root, out)
	}
	fmt.Fprintf(os.Stderr, "Unknown verb %q.\n\n%s", verb, usage)
	return errUsage
}

// runDemo runs the demo on a real node if this machine supports one, otherwise on simulated nodes.
func runDemo(ctx context.Context, root checkout.Root, out *console.Console) error {
	if isolated.Inside() {
		return demo.Run(ctx, root, out, local.Pods)
	}
	o := upOptions{level: local.Pods, dir: demo.Dir(root), withOperator: true}
	if err := local.NodeSupported(); err != nil {
		out.Line("The pods of this demo are simulated and answer no requests: %v.\n", err)
		o.level = local.Simulated
	}
	demo.Heading(out, "Build")
	if _, err := local.Down(o.dir); err != nil {
		return fmt.Errorf("cleaning up after a demo that was killed: %w", err)
	}
	begin := time.Now()
	if err := prepare(ctx, root, out, o); err != nil {
		return err
	}
	out.Line("Everything is up to date after %s.\n", time.Since(begin).Round(100*time.Millisecond))
	if o.level == local.Simulated {
		return demo.Run(ctx, root, out, o.level)
	}
	return runAndCleanUp(o.dir, func() (int, error) { return isolated.Run(os.Args[1:]) })
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "Unexpected arguments: %q.\n", strings.Join(flags.Args(), " "))
		return errUsage
	}
	return nil
}

func dirFlag(flags *flag.FlagSet, root checkout.Root) *string {
	return flags.String("dir", filepath.Join(string(root), "bin", "local-cluster"), "the `folder` of the cluster")
}

func down(root checkout.Root, out *console.Console, args []string) error {
	flags := flag.NewFlagSet("down", flag.ContinueOnError)
	dir := dirFlag(flags, root)
	if err := parse(flags, args); err != nil {
		return err
	}
	found, err := local.Down(*dir)
	if err != nil {
		return fmt.Errorf("stopping the cluster: %w", err)
	}
	if found {
		out.Line("The cluster is down. Its logs are in %s.", filepath.Join(*dir, "logs"))
	} else {
		out.Line("There is no cluster in %s.", *dir)
	}
	return nil
}

func kubeconfig(root checkout.Root, args []string) error {
	flags := flag.NewFlagSet("kubeconfig", flag.ContinueOnError)
	dir := dirFlag(flags, root)
	if err := parse(flags, args); err != nil {
		return err
	}
	running, err := local.Running(*dir)
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("no cluster is running in %s: start one with `make cluster-up`", *dir)
	}
	fmt.Println(filepath.Join(*dir, "kubeconfig"))
	return nil
}
