// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/cluster/isolated"
	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/models"
	"github.com/serinus-io/serinus/test/cluster/operator"
)

// supervise is a flag for internal use: --detach starts this program again with it.
const supervise = "supervise"

type upOptions struct {
	level        local.Level
	dir          string
	nodes        int
	withOperator bool
	detach       bool
	images       []string
	// supervise marks the background process of a detached cluster.
	supervise bool
}

// addPrepareFlags adds the flags of the verbs up and prepare.
func addPrepareFlags(flags *pflag.FlagSet, o *upOptions) {
	o.level = local.Simulated
	flags.Func("level", "how much of a cluster to run, the `name` of a level: "+strings.Join(local.LevelNames(), " or ")+"; the levels pods, node and knative run real pods and need root (default simulated)", func(name string) (err error) {
		o.level, err = local.ParseLevel(name)
		return err
	})
	flags.BoolVar(&o.withOperator, "operator", false, "also install and run the operator of this repository")
}

func addUpFlags(flags *pflag.FlagSet, o *upOptions) {
	addPrepareFlags(flags, o)
	flags.IntVar(&o.nodes, "nodes", 3, "the number of nodes at level simulated")
	flags.BoolVar(&o.detach, "detach", false, "leave the cluster running in the background")
	flags.Func("image", "an image `archive` (docker save) to load into the real node, which has no registry; can be repeated", func(archive string) error {
		path, err := filepath.Abs(archive)
		o.images = append(o.images, path)
		return err
	})
	flags.BoolVar(&o.supervise, supervise, false, "")
	_ = flags.MarkHidden(supervise) // It fails only for an unknown flag.
}

func up(ctx context.Context, root checkout.Root, out *console.Console, o upOptions) error {
	switch {
	case o.supervise && (!o.level.RunsPods() || isolated.Inside()):
		return superviseDetached(ctx, root, o)
	case o.supervise:
		return runInNamespaces(o, inheritedReport())
	case isolated.Inside():
		return runInForeground(ctx, root, out, o)
	}
	running, err := local.Running(o.dir)
	if err != nil {
		return err
	}
	if running {
		out.Line("The cluster is already running.")
		printAccess(out, root, o)
		return nil
	}
	if _, err := local.Down(o.dir); err != nil {
		return fmt.Errorf("cleaning up after a cluster that was killed: %w", err)
	}
	if err := prepare(ctx, root, out, o); err != nil {
		return err
	}
	switch {
	case o.detach:
		return detach(ctx, root, out, o)
	case o.level.RunsPods():
		return runInNamespaces(o)
	}
	return runInForeground(ctx, root, out, o)
}

// prepare does everything that needs a network or takes long. Installing packages waits for the
// network and the disk, so it runs while programs are compiled.
func prepare(ctx context.Context, root checkout.Root, out *console.Console, o upOptions) error {
	var group errgroup.Group
	group.Go(func() error { return installPackages(ctx, root, out, o) })
	group.Go(func() error { return build(ctx, root, o) })
	return group.Wait()
}

func installPackages(ctx context.Context, root checkout.Root, out *console.Console, o upOptions) error {
	if o.level.RunsPods() {
		progress := func(line string) { out.Line("%s", line) }
		if err := local.PrepareNode(ctx, filepath.Join(o.dir, "logs"), progress); err != nil {
			return err
		}
	}
	if o.level == local.Knative {
		if err := local.PrepareKnative(ctx); err != nil {
			return err
		}
	}
	if !o.withOperator || !o.level.RunsPods() {
		return nil
	}
	return root.PackImages(ctx, models.ServerImage)
}

// runInNamespaces runs this program again in separate namespaces and then cleans up. It passes on
// the sockets of the forwarded ports, followed by the files.
func runInNamespaces(o upOptions, files ...*os.File) error {
	ports, err := local.NewForwardedPorts()
	if err != nil {
		return err
	}
	sockets, err := ports.Files()
	if err != nil {
		return err
	}
	ports.Close() // Otherwise the ports would stay open when the cluster is down.
	return runAndCleanUp(o.dir, func() (int, error) {
		code, err := isolated.Run(os.Args[1:], append(sockets, files...)...)
		for _, file := range append(sockets, files...) {
			_ = file.Close()
		}
		return code, err
	})
}

// runAndCleanUp calls run, removes what is left of the cluster, and returns the exit code of run as
// an error.
func runAndCleanUp(dir string, run func() (code int, err error)) error {
	code, err := run()
	if _, down := local.Down(dir); down != nil {
		err = errors.Join(err, fmt.Errorf("cleaning up: %w", down))
	}
	if err == nil && code != 0 {
		return exitCode(code)
	}
	return err
}

func forwardedPorts() (*local.ForwardedPorts, error) {
	if !isolated.Inside() {
		return nil, nil //nolint:nilnil // A cluster outside of namespaces needs no forwarded ports.
	}
	return local.ForwardedPortsFrom(isolated.File(0), isolated.File(1))
}

func runInForeground(ctx context.Context, root checkout.Root, out *console.Console, o upOptions) error {
	return runCluster(ctx, root, o, func(line string) { out.Line("%s", line) }, func() {
		printAccess(out, root, o)
		out.Line("Press Control-C to stop it.")
	})
}

func build(ctx context.Context, root checkout.Root, o upOptions) error {
	tools, images := o.level.Tools(), o.level.Images()
	if o.withOperator {
		tools = append(tools, "manager")
	}
	if o.withOperator && o.level.RunsPods() {
		tools, images = append(tools, models.Tools...), append(images, models.InitializerImage)
	}
	if err := root.BuildTools(ctx, tools...); err != nil || len(images) == 0 {
		return err
	}
	return root.PackImages(ctx, images...)
}

// runCluster runs a cluster until the context ends, which is not an error, or until one of its
// processes fails.
func runCluster(ctx context.Context, root checkout.Root, o upOptions, progress func(string), ready func()) (err error) {
	ports, err := forwardedPorts()
	if err != nil {
		return err
	}
	c, err := local.Start(ctx, local.Options{
		Level: o.level, Tools: root.Tools(), Images: root.Images(), Dir: o.dir, Nodes: o.nodes, ForwardedPorts: ports, Progress: progress,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	for _, image := range o.images {
		if err := c.LoadImage(ctx, image); err != nil {
			return fmt.Errorf("loading %s: %w", image, err)
		}
	}
	if o.withOperator {
		if err := startOperator(ctx, c, root, o.level, progress); err != nil {
			return err
		}
	}
	if port := c.GatewayPort(); port != 0 {
		progress(fmt.Sprintf("%-24s accepts requests at http://127.0.0.1:%d", "the gateway", port))
	}
	ready()
	select {
	case err := <-c.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

func startOperator(ctx context.Context, c *local.Cluster, root checkout.Root, level local.Level, progress func(string)) error {
	if !level.RunsPods() {
		return operator.Start(ctx, c, root, nil, progress)
	}
	settings, err := models.Serve(ctx, c, root)
	if err != nil {
		return err
	}
	if err := operator.Start(ctx, c, root, settings, progress); err != nil {
		return err
	}
	if out, err := operator.Shell(ctx, c, root, models.InstallCommand).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", models.InstallCommand, err, out)
	}
	return nil
}

// detach starts this program again in a new session and prints its progress until the cluster is
// ready.
func detach(ctx context.Context, root checkout.Root, out *console.Console, o upOptions) error {
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()
	logPath := filepath.Join(o.dir, "logs", "supervisor.log")
	supervisor, err := startSupervisor(logPath, reportEnd)
	if err != nil {
		return fmt.Errorf("starting the background process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = supervisor.Process.Signal(syscall.SIGTERM) })
	defer stop()

	lines := bufio.NewScanner(report)
	for lines.Scan() {
		if lines.Text() == readyLine {
			printAccess(out, root, o)
			out.Line("To stop it, run `make cluster-down`.")
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

func startSupervisor(logPath string, report *os.File) (*exec.Cmd, error) {
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
	supervisor := exec.Command(program, append(os.Args[1:], "--"+supervise)...)
	supervisor.Stdout, supervisor.Stderr = log, log
	supervisor.ExtraFiles = []*os.File{report}
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return supervisor, supervisor.Start()
}

// readyLine tells the foreground process that the cluster is ready.
const readyLine = "READY"

// superviseDetached runs the cluster in the background process. It writes progress to its log and,
// until the cluster is ready, to the file that detach reads.
func superviseDetached(ctx context.Context, root checkout.Root, o upOptions) error {
	report := inheritedReport()
	if report == nil {
		return errors.New("--supervise is for internal use by --detach")
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

func inheritedReport() *os.File {
	const afterSockets = 2
	if isolated.Inside() {
		return isolated.File(afterSockets)
	}
	const firstExtraFile = 3
	return os.NewFile(firstExtraFile, "report")
}

func printAccess(out *console.Console, root checkout.Root, o upOptions) {
	out.Line("")
	out.Line("To use it:")
	out.Line("")
	out.Line("    %s", out.Styled(console.Command, "export KUBECONFIG="+filepath.Join(o.dir, "kubeconfig")))
	out.Line("    %s", out.Styled(console.Command, "export PATH="+root.Tools()+":$PATH")+"   # for a kubectl of the same version")
	out.Line("")
	out.Line("The logs are in %s.", filepath.Join(o.dir, "logs"))
}
