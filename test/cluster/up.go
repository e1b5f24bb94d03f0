// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/serinus-io/serinus/test/cluster/internal/checkout"
	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/cluster/internal/operator"
	"github.com/serinus-io/serinus/test/cluster/local"
)

// upOptions are the flags of the verb up.
type upOptions struct {
	level        local.Level
	dir          string
	nodes        int
	withOperator bool
	detach       bool
	// supervise is set in the process that stays behind when up is detached.
	supervise bool
}

func parseUp(root checkout.Root, args []string) (upOptions, error) {
	var o upOptions
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	level := flags.String("level", string(local.Simulated), "how much of a cluster: "+strings.Join(local.LevelNames(), " or "))
	dir := dirFlag(flags, root)
	flags.IntVar(&o.nodes, "nodes", 3, "the number of simulated nodes")
	flags.BoolVar(&o.withOperator, "operator", false, "install and run the operator of this repository, too")
	flags.BoolVar(&o.detach, "detach", false, "leave the cluster running in the background")
	flags.BoolVar(&o.supervise, "supervise", false, "used by --detach")
	if err := parse(flags, args); err != nil {
		return o, err
	}
	o.dir = *dir
	var err error
	o.level, err = local.ParseLevel(*level)
	return o, err
}

func up(ctx context.Context, root checkout.Root, out *console.Console, args []string) error {
	o, err := parseUp(root, args)
	if err != nil {
		return err
	}
	if o.supervise {
		return superviseDetached(ctx, root, o)
	}
	running, err := local.Running(o.dir)
	if err != nil {
		return err
	}
	if running {
		out.Line("The cluster is running already.")
		printAccess(out, root, o)
		return nil
	}
	if _, err := local.Down(o.dir); err != nil {
		return fmt.Errorf("cleaning up behind a cluster that was killed: %w", err)
	}
	if err := build(ctx, root, o); err != nil {
		return err
	}
	if o.detach {
		return detach(ctx, root, out, o, args)
	}
	return runCluster(ctx, root, o, func(line string) { out.Line("%s", line) }, func() {
		printAccess(out, root, o)
		out.Line("Control-C ends it.")
	})
}

func build(ctx context.Context, root checkout.Root, o upOptions) error {
	if err := root.BuildTools(ctx, o.level.Tools()...); err != nil {
		return err
	}
	if !o.withOperator {
		return nil
	}
	_, err := root.BuildManager(ctx)
	return err
}

// runCluster keeps a cluster up until the context ends, which is the good end,
// or a process of it does.
func runCluster(ctx context.Context, root checkout.Root, o upOptions, progress func(string), ready func()) (err error) {
	c, err := local.Start(ctx, local.Options{
		Level: o.level, Tools: root.Tools(), Dir: o.dir, Nodes: o.nodes, Progress: progress,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if o.withOperator {
		if err := operator.Start(ctx, c, root, progress); err != nil {
			return err
		}
	}
	if port := c.GatewayPort(); port != 0 {
		progress(fmt.Sprintf("%-24s takes requests at http://127.0.0.1:%d", "the gateway", port))
	}
	ready()
	select {
	case err := <-c.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// detach starts this program once more, in a session of its own, and shows what
// it reports until the cluster is ready.
func detach(ctx context.Context, root checkout.Root, out *console.Console, o upOptions, args []string) error {
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()
	logPath := filepath.Join(o.dir, "logs", "supervisor.log")
	supervisor, err := startSupervisor(logPath, reportEnd, args)
	if err != nil {
		return fmt.Errorf("starting the process that stays behind: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = supervisor.Process.Signal(syscall.SIGTERM) })
	defer stop()

	lines := bufio.NewScanner(report)
	for lines.Scan() {
		if lines.Text() == readyLine {
			printAccess(out, root, o)
			out.Line("`make cluster-down` ends it.")
			return supervisor.Process.Release()
		}
		out.Line("%s", lines.Text())
	}
	err = supervisor.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the cluster did not start (%w); see %s", err, logPath)
}

func startSupervisor(logPath string, report *os.File, args []string) (*exec.Cmd, error) {
	defer report.Close()
	if err := os.MkdirAll(filepath.Dir(logPath), 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	supervisor := exec.Command(program, append(append([]string{"up"}, args...), "--supervise")...)
	supervisor.Stdout, supervisor.Stderr = log, log
	supervisor.ExtraFiles = []*os.File{report}
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return supervisor, supervisor.Start()
}

// readyLine tells the process in front that it may leave.
const readyLine = "READY"

// superviseDetached is the process that stays behind. It reports through a file
// that it was started with until the cluster is ready, and to its log always.
func superviseDetached(ctx context.Context, root checkout.Root, o upOptions) error {
	const firstExtraFile = 3
	report := os.NewFile(firstExtraFile, "report")
	if report == nil {
		return errors.New("--supervise is for --detach alone")
	}
	progress := func(line string) {
		fmt.Println(line)
		fmt.Fprintln(report, line)
	}
	err := runCluster(ctx, root, o, progress, func() {
		progress(readyLine)
		_ = report.Close()
	})
	if err != nil {
		fmt.Fprintln(report, err)
	}
	return err
}

// printAccess tells how to reach the cluster.
func printAccess(out *console.Console, root checkout.Root, o upOptions) {
	out.Line("")
	out.Line("To use it:")
	out.Line("")
	out.Line("    %s", out.Styled(console.Command, "export KUBECONFIG="+filepath.Join(o.dir, "kubeconfig")))
	out.Line("    %s", out.Styled(console.Command, "export PATH="+root.Tools()+":$PATH")+"   # for a kubectl of its version")
	out.Line("")
	out.Line("The logs are in %s.", filepath.Join(o.dir, "logs"))
}
