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

// builder brings tools up to date.
type builder struct {
	root string
	// ownVersion is what programs of this repository report.
	ownVersion string
	store      store
	report     *builds.Reporter
}

// ensureAll builds the tools that are not up to date. Those that one `go build` can build are built together, because
// many of them are linked at the same time then.
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

// ensureSet builds those tools of a set that are not up to date.
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

// compile builds one program as the target, or several in the folder of that name, and shows it.
func (b *builder) compile(ctx context.Context, target string, recipes ...recipe) error {
	first, done := recipes[0], &counter{}
	task := builds.Task{
		Name: first.name, Version: first.version,
		Quiet:  first.key == "", // Programs of our own are most often ready at once.
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

// compile builds programs of one set. It does not trim paths: with the same flags as `go test`, packages that the
// tools and the operator's tests have in common are compiled once.
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
	complaints := follow(out, done)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return explain(r, complaints, err)
	}
	return nil
}

// follow counts what `go build -v` reports until it ends, and returns
// everything else that it said.
func follow(out io.Reader, done *counter) string {
	var complaints strings.Builder
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
			complaints.WriteString(line + "\n")
		}
	}
	return complaints.String()
}

// explain adds to a failed build what the user can do about it.
func explain(r recipe, complaints string, err error) error {
	err = fmt.Errorf("building %s %s: %w\n%s", r.name, r.version, err, complaints)
	hints := []struct{ sign, hint string }{
		{"no space left on device", "the disk is full: the build cache (`go env GOCACHE`) and the module cache (`go env GOMODCACHE`) need about 8 GB together, all tools included"},
		{"signal: killed", "the system stopped the compiler, most likely for lack of memory: 4 GB are needed"},
		{"requires go >=", "install a newer Go, or allow it to fetch one: GOTOOLCHAIN=auto"},
		{"dial tcp", "the modules could not be downloaded: set GOPROXY to a module proxy that can be reached from here"},
		{"no such host", "the modules could not be downloaded: set GOPROXY to a module proxy that can be reached from here"},
		{"checksum mismatch", "the download differs from what is pinned: clean the module cache (`go clean -modcache`) or try another GOPROXY"},
	}
	for _, h := range hints {
		if strings.Contains(complaints, h.sign) {
			return errors.Join(err, errors.New("what to do: "+h.hint))
		}
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
