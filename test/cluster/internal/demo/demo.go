// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo walks through a canary release on a cluster that it starts for
// the purpose, and checks that each command prints what it is meant to print.
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

// patience is how long a command may take to print what it is meant to.
const patience = 90 * time.Second

// demo is one run.
type demo struct {
	root    checkout.Root
	out     *console.Console
	level   local.Level
	cluster *local.Cluster
	// folder is where the commands of a real node are run, beside their input.
	folder string
	prober *prober.Prober
}

// Dir is the folder of the demo's cluster.
func Dir(root checkout.Root) string { return root.Path("bin", "demo") }

// Run does the whole demo on a cluster of a level, and cleans up behind it.
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
		if err := d.do(ctx, s); err != nil {
			return errors.Join(err, fmt.Errorf("the logs are in %s", d.cluster.LogDir()))
		}
		if s.want.form != "" {
			checked++
		}
	}
	Heading(d.out, "Done")
	if err := d.countRequests(); err != nil {
		return err
	}
	d.out.Line("%s", d.out.Styled(console.Good, fmt.Sprintf("All %d outputs are as documented. It took %s.",
		checked, time.Since(begin).Round(time.Second))))
	d.out.Line("To try more: make cluster-up")
	return nil
}

// Heading begins a part of what the user sees.
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

// untilClusterFails ends the context with the reason if the cluster or the
// operator breaks down.
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
		d.out.Line("%-24s are in the object store of the node\n", "models")
		commands = append(slices.Clone(commands), models.InstallCommand)
	}
	Heading(d.out, "Install the operator")
	for _, command := range commands {
		d.command(command)
		out, err := operator.Shell(ctx, d.cluster, d.root, command).CombinedOutput()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		d.out.Line("%s\n", d.out.Styled(console.Faint, abridged(string(out))))
	}
	if _, err := operator.Launch(ctx, d.cluster, d.root, "operator", settings); err != nil {
		return err
	}
	d.out.Line("The operator runs as the ServiceAccount that was just made, with no other rights.\n")
	return nil
}

// abridged returns the first lines of a long output.
func abridged(output string) string {
	const enough = 4
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) <= enough+1 {
		return strings.Join(lines, "\n")
	}
	return strings.Join(lines[:enough], "\n") + fmt.Sprintf("\n… and %d more", len(lines)-enough)
}

// do runs the command of a step until it prints what it is meant to.
func (d *demo) do(ctx context.Context, s step) error {
	if s.heading != "" {
		Heading(d.out, s.heading)
	}
	if s.prose != "" {
		d.out.Line("%s\n", s.prose)
	}
	if s.shares != nil {
		return d.measure(ctx, s.shares)
	}
	d.command(s.command)
	output, err := d.await(ctx, s)
	d.out.Cleared()
	d.out.Line("%s", s.want.shown(output))
	if err != nil {
		return err
	}
	if s.want.form != "" {
		d.out.Line("%s", d.out.Styled(console.Good, "✓ as documented"))
	}
	d.out.Line("")
	return nil
}

// await repeats a command while its output is not yet as it should be.
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
		if waited > patience {
			return output, d.disappointment(s.want, differences)
		}
		d.out.Passing("waiting for it, %s: %s", waited.Round(time.Second), differences[0])
		select {
		case <-ctx.Done():
			return output, context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

// shell prepares the command of a step.
func (d *demo) shell(ctx context.Context, s step) *exec.Cmd {
	cmd := operator.Shell(ctx, d.cluster, d.root, s.command)
	if s.nodeOnly {
		cmd.Dir = d.folder
		cmd.Env = append(cmd.Env, "INGRESS_HOST=127.0.0.1", fmt.Sprintf("INGRESS_PORT=%d", d.cluster.GatewayPort()))
	}
	return cmd
}

// disappointment describes an output that did not become what it should be.
func (d *demo) disappointment(want expectation, differences []string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", d.out.Styled(console.Bad, fmt.Sprintf("✗ the output is not as documented, even after %s", patience)))
	fmt.Fprintf(&text, "It should be:\n\n%s\n\nThe differences:\n\n", want.text)
	for _, difference := range differences {
		fmt.Fprintf(&text, "  %s\n", difference)
	}
	return errors.New(text.String())
}

// command prints a command so that it can be copied, a here-document and all.
func (d *demo) command(text string) {
	d.out.Line("%s%s", d.out.Styled(console.Faint, "$ "), d.out.Styled(console.Command, text))
}
