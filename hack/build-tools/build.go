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

// ensure builds the tool unless it is there already.
func (b *builder) ensure(ctx context.Context, t tool) error {
	r, err := newRecipe(b.root, b.ownVersion, t)
	if err != nil {
		return err
	}
	return b.store.product(t).Ensure(ctx, r.key, b.report, func(path string) error {
		done := &counter{}
		progress := b.report.Start(builds.Task{
			Name: r.name, Version: r.version, Takes: r.takes,
			Quiet:  r.key == "", // Programs of our own are most often ready at once.
			Counts: done.String,
		})
		err := compile(ctx, r, path, done)
		progress.End(err)
		return err
	})
}

// compile builds a program at the path. It does not trim paths: with the same flags as `go test`, packages that the
// tools and the operator's tests have in common are compiled once.
func compile(ctx context.Context, r recipe, path string, done *counter) (err error) {
	args := []string{"build", "-v", "-buildvcs=false", "-mod=readonly", "-ldflags", r.ldflags, "-o", path}
	if len(r.slim) > 0 {
		modules := path + ".modules"
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
	cmd := exec.CommandContext(ctx, "go", append(args, r.pkg)...)
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
