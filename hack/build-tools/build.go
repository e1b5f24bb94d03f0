// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/serinus-io/serinus/hack/builds"
)

type builder struct {
	root       string
	ownVersion string
	store      store
	report     *builds.Reporter
}

// ensureAll builds the tools that are out of date. It builds tools of one set with a single `go
// build`, which links them in parallel.
func (b *builder) ensureAll(ctx context.Context, tools []tool) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not in PATH: install Go (https://go.dev/doc/install) and add its bin folder to PATH")
	}
	for len(tools) > 0 {
		count := 1
		for count < len(tools) && tools[count].set != "" && tools[count].set == tools[0].set {
			count++
		}
		if err := b.ensureSet(ctx, tools[:count]); err != nil {
			return err
		}
		tools = tools[count:]
	}
	return nil
}

func (b *builder) ensureSet(ctx context.Context, tools []tool) error {
	var recipes []recipe
	for _, t := range tools {
		r, err := newRecipe(b.root, b.ownVersion, t)
		if err != nil {
			return err
		}
		fresh, err := b.store.product(t).Fresh(r.key)
		if err != nil {
			return err
		}
		if !fresh {
			recipes = append(recipes, r)
		}
	}
	build := b.compile
	if len(recipes) > 1 && !slices.ContainsFunc(recipes, func(r recipe) bool { return r.ldflags != recipes[0].ldflags }) {
		private := b.store.product(tools[0]).Private
		if err := os.MkdirAll(private, 0o755); err != nil {
			return err
		}
		dir, err := os.MkdirTemp(private, "together-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := b.compile(ctx, dir, recipes...); err != nil {
			return err
		}
		build = func(_ context.Context, program string, recipes ...recipe) error {
			return os.Rename(filepath.Join(dir, path.Base(recipes[0].pkg)), program)
		}
	}
	for _, r := range recipes {
		err := b.store.product(r.tool).Ensure(ctx, r.key, b.report, func(target string) error { return build(ctx, target, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

// compile builds one program to the path target, or several into the folder target, and reports the
// progress.
func (b *builder) compile(ctx context.Context, target string, recipes ...recipe) error {
	first, done := recipes[0], &counter{}
	task := builds.Task{
		Name: first.name, Version: first.version,
		Quiet:  first.key == "", // This repository's programs are usually in the build cache.
		Counts: done.String,
	}
	if len(recipes) > 1 {
		task.Name = fmt.Sprintf("%s and %d more", first.name, len(recipes)-1)
	}
	for _, r := range recipes {
		task.Takes += r.takes
	}
	progress := b.report.Start(task)
	err := compile(ctx, target, done, recipes...)
	progress.End(err)
	return err
}

// compile builds programs of one set. It does not use -trimpath: with the same flags as `go test`,
// packages that the tools share with the operator's tests are compiled only once.
func compile(ctx context.Context, target string, done *counter, recipes ...recipe) (err error) {
	r := recipes[0]
	args := []string{"build", "-v", "-buildvcs=false", "-mod=readonly", "-ldflags", r.ldflags, "-o", target}
	if len(r.slim) > 0 {
		modules := target + ".modules"
		if err := os.RemoveAll(modules); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(modules)) }()
		modfile, err := r.slimModules(ctx, modules)
		if err != nil {
			return err
		}
		args = append(args, "-modfile="+modfile)
	}
	for _, r := range recipes {
		args = append(args, r.pkg)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting go build: %w", err)
	}
	output := readOutput(out, done)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return explain(r, output, err)
	}
	return nil
}

// readOutput counts the downloads and packages in the output of `go build -v`, and returns the
// other lines.
func readOutput(out io.Reader, done *counter) string {
	var output strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			done.downloads.Add(1)
		case !strings.ContainsAny(line, " \t:#"):
			done.packages.Add(1)
		default:
			output.WriteString(line + "\n")
		}
	}
	return output.String()
}

func explain(r recipe, output string, err error) error {
	err = fmt.Errorf("building %s %s: %w\n%s", r.name, r.version, err, output)
	hints := []struct{ sign, hint string }{
		{"no space left on device", "the disk is full: the build cache (`go env GOCACHE`) and the module cache (`go env GOMODCACHE`) need about 8 GB together, all tools included"},
		{"signal: killed", "the system killed the compiler, probably because it ran out of memory: 4 GB are needed"},
		{"requires go >=", "install a newer Go, or allow Go to download one: GOTOOLCHAIN=auto"},
		{"dial tcp", "the modules could not be downloaded: set GOPROXY to a module proxy that is reachable from here"},
		{"no such host", "the modules could not be downloaded: set GOPROXY to a module proxy that is reachable from here"},
		{"checksum mismatch", "the download does not match the checksum in go.sum: clean the module cache (`go clean -modcache`) or try another GOPROXY"},
	}
	for _, h := range hints {
		if strings.Contains(output, h.sign) {
			return errors.Join(err, errors.New("what to do: "+h.hint))
		}
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
