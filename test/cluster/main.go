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
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/cluster/internal/demo"
	"github.com/serinus-io/serinus/test/cluster/isolated"
	"github.com/serinus-io/serinus/test/cluster/local"
)

// usageError ends the program with exit code 2.
type usageError struct{ error }

// exitCode ends the program with this code and prints nothing more.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	isolated.Enter()
	logf.SetLogger(logr.Discard()) // The user sees progress lines instead.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends the program immediately.
	err := run(ctx)
	var code exitCode
	var usage usageError
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "cluster: %v\n\nRun `cluster --help` for the usage.\n", usage)
		os.Exit(2)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root, err := checkout.Find(ctx)
	if err != nil {
		return err
	}
	return newCommand(root, console.New(os.Stdout)).ExecuteContext(ctx) //nolint:contextcheck // The verbs get it from cobra.
}

func newCommand(root checkout.Root, out *console.Console) *cobra.Command {
	c := &cobra.Command{
		Use: "cluster", Short: "Run local Kubernetes clusters for trying and testing the operator, and the demo",
		SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("a verb is required")} },
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	var o upOptions
	up := verb("up", "Start a cluster", func(ctx context.Context) error { return up(ctx, root, out, o) })
	addUpFlags(up.Flags(), &o)
	prepare := verb("prepare", "Build and install what a cluster needs, without starting it", func(ctx context.Context) error { return prepare(ctx, root, out, o) })
	addPrepareFlags(prepare.Flags(), &o)
	down := verb("down", "Stop the cluster, or clean up after one that was killed", func(context.Context) error { return down(out, o.dir) })
	kubeconfig := verb("kubeconfig", "Print the path of the cluster's kubeconfig", func(context.Context) error { return kubeconfig(o.dir) })
	for _, withDir := range []*cobra.Command{up, prepare, down, kubeconfig} {
		withDir.Flags().StringVar(&o.dir, "dir", root.Path("bin", "local-cluster"), "the `folder` of the cluster")
	}
	c.AddCommand(up, prepare, down, kubeconfig,
		verb("demo", "Walk through a canary release on a separate cluster", func(ctx context.Context) error { return runDemo(ctx, root, out) }))
	for _, command := range append(c.Commands(), c) {
		command.Args = noArgs
	}
	return c
}

func verb(name, short string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, RunE: func(c *cobra.Command, _ []string) error { return run(c.Context()) }}
}

func noArgs(c *cobra.Command, args []string) error {
	if err := cobra.NoArgs(c, args); err != nil {
		return usageError{err}
	}
	return nil
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

func down(out *console.Console, dir string) error {
	found, err := local.Down(dir)
	if err != nil {
		return fmt.Errorf("stopping the cluster: %w", err)
	}
	if found {
		out.Line("The cluster is down. Its logs are in %s.", filepath.Join(dir, "logs"))
	} else {
		out.Line("There is no cluster in %s.", dir)
	}
	return nil
}

func kubeconfig(dir string) error {
	running, err := local.Running(dir)
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("no cluster is running in %s: start one with `make cluster-up`", dir)
	}
	fmt.Println(filepath.Join(dir, "kubeconfig"))
	return nil
}
