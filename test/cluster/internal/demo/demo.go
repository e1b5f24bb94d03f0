// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo walks through a canary release on a cluster that it starts, and checks that each
// command prints the documented output.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/serinus-io/serinus/test/cluster/checkout"
	"github.com/serinus-io/serinus/test/cluster/internal/console"
	"github.com/serinus-io/serinus/test/cluster/local"
	"github.com/serinus-io/serinus/test/cluster/models"
	"github.com/serinus-io/serinus/test/cluster/operator"
	"github.com/serinus-io/serinus/test/e2e/prober"
)

const outputTimeout = 90 * time.Second

type demo struct {
	root    checkout.Root
	out     *console.Console
	level   local.Level
	cluster *local.Cluster
	// folder is the working folder of the commands on a real node. It contains their input.
	folder string
	prober *prober.Prober
}

// Dir returns the folder of the demo's cluster.
func Dir(root checkout.Root) string { return root.Path("bin", "demo") }

// Run runs the demo on a cluster of the level and stops the cluster.
func Run(ctx context.Context, root checkout.Root, out *console.Console, level local.Level) (err error) {
	begin := time.Now()
	steps, err := parseScript(walkthrough)
	if err != nil {
		return fmt.Errorf("walkthrough: %w", err)
	}
	d := &demo{root: root, out: out, level: level, folder: Dir(root)}
	if err := d.startCluster(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.cluster.Stop()) }()

	ctx, cancel := d.untilClusterFails(ctx)
	defer cancel()
	if err := d.installOperator(ctx); err != nil {
		return err
	}
	checked := 0
	for _, s := range steps {
		if s.nodeOnly && !level.RunsPods() {
			continue
		}
		if err := d.runStep(ctx, s); err != nil {
			return errors.Join(err, fmt.Errorf("the logs are in %s", d.cluster.LogDir()))
		}
		if s.want.form != "" {
			checked++
		}
	}
	Heading(d.out, "Done")
	if err := d.checkRequests(); err != nil {
		return err
	}
	d.out.Line("%s", d.out.Styled(console.Good, fmt.Sprintf("All %d outputs are as documented. It took %s.",
		checked, time.Since(begin).Round(time.Second))))
	d.out.Line("To try more: make cluster-up")
	return nil
}

// Heading prints a heading.
func Heading(out *console.Console, text string) {
	out.Line("%s", out.Styled(console.Title, "━━ "+text+" "+strings.Repeat("━", max(0, 70-len(text)))))
	out.Line("")
}

func (d *demo) startCluster(ctx context.Context) (err error) {
	Heading(d.out, "Start a cluster")
	d.cluster, err = local.Start(ctx, local.Options{
		Level: d.level, Tools: d.root.Tools(), Dir: Dir(d.root),
		Progress: func(line string) { d.out.Line("%s", line) },
	})
	d.out.Line("")
	return err
}

// untilClusterFails returns a context that ends with the cause if the cluster or the operator
// fails.
func (d *demo) untilClusterFails(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-d.cluster.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (d *demo) installOperator(ctx context.Context) error {
	settings, commands := operator.Settings{}, operator.InstallCommands
	if d.level.RunsPods() {
		var err error
		if settings, err = models.Serve(ctx, d.cluster, d.root); err != nil {
			return err
		}
		d.out.Line("%-24s available in the node's object store\n", "models")
		commands = append(slices.Clone(commands), models.InstallCommand)
	}
	Heading(d.out, "Install the operator")
	for _, command := range commands {
		d.printCommand(command)
		out, err := operator.Shell(ctx, d.cluster, d.root, command).CombinedOutput()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		d.out.Line("%s\n", d.out.Styled(console.Faint, firstLines(string(out))))
	}
	if _, err := operator.Launch(ctx, d.cluster, d.root, "operator", settings); err != nil {
		return err
	}
	d.out.Line("The operator runs as the ServiceAccount that was just created, with no other permissions.\n")
	return nil
}

func firstLines(output string) string {
	const limit = 4
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) <= limit+1 {
		return strings.Join(lines, "\n")
	}
	return strings.Join(lines[:limit], "\n") + fmt.Sprintf("\n… and %d more", len(lines)-limit)
}

func (d *demo) runStep(ctx context.Context, s step) error {
	if s.heading != "" {
		Heading(d.out, s.heading)
	}
	if s.prose != "" {
		d.out.Line("%s\n", s.prose)
	}
	if s.shares != nil {
		return d.measureShares(ctx, s.shares)
	}
	d.printCommand(s.command)
	output, err := d.await(ctx, s)
	d.out.ClearStatus()
	d.out.Line("%s", s.want.display(output))
	if err != nil {
		return err
	}
	if s.want.form != "" {
		d.out.Line("%s", d.out.Styled(console.Good, "✓ as documented"))
	}
	d.out.Line("")
	return nil
}

func (d *demo) await(ctx context.Context, s step) (output string, err error) {
	const interval = 200 * time.Millisecond
	for begin := time.Now(); ; {
		out, err := d.shell(ctx, s).CombinedOutput()
		output = string(out)
		if ctx.Err() != nil {
			return output, context.Cause(ctx)
		}
		if err != nil {
			return output, fmt.Errorf("the command failed: %w", err)
		}
		differences := s.want.differences(output)
		if len(differences) == 0 {
			return output, nil
		}
		waited := time.Since(begin)
		if waited > outputTimeout {
			return output, d.mismatchError(s.want, differences)
		}
		d.out.Status("waiting for the expected output, %s: %s", waited.Round(time.Second), differences[0])
		select {
		case <-ctx.Done():
			return output, context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

func (d *demo) shell(ctx context.Context, s step) *exec.Cmd {
	cmd := operator.Shell(ctx, d.cluster, d.root, s.command)
	if s.nodeOnly {
		cmd.Dir = d.folder
		cmd.Env = append(cmd.Env, "INGRESS_HOST=127.0.0.1", fmt.Sprintf("INGRESS_PORT=%d", d.cluster.GatewayPort()))
	}
	return cmd
}

func (d *demo) mismatchError(want expectation, differences []string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", d.out.Styled(console.Bad, fmt.Sprintf("✗ the output is not as documented after %s", outputTimeout)))
	fmt.Fprintf(&text, "Expected output:\n\n%s\n\nDifferences:\n\n", want.text)
	for _, difference := range differences {
		fmt.Fprintf(&text, "  %s\n", difference)
	}
	return errors.New(text.String())
}

func (d *demo) printCommand(text string) {
	d.out.Line("%s%s", d.out.Styled(console.Faint, "$ "), d.out.Styled(console.Command, text))
}
