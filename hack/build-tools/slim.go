// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// slimFolder is the folder next to a set's go.mod with replacement files, below the paths of
	// their modules.
	slimFolder = "_slim"
	// slimPackage is the name of a file that replaces a package and all packages below it. A file
	// with another name replaces the file with the same name.
	slimPackage = "slim.go"
)

func (r recipe) slimFiles() ([]string, error) {
	var files []string
	for _, module := range r.slim {
		root := os.DirFS(filepath.Join(r.dir, slimFolder))
		err := fs.WalkDir(root, module, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading the replacement files of module %s: %w", module, err)
		}
	}
	return files, nil
}

func (r recipe) writeSlimFiles(out io.Writer) error {
	files, err := r.slimFiles()
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(r.dir, slimFolder, file))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %d:%s", file, len(data), data)
	}
	return nil
}

// slimModules copies the tool's modules and replaces files in the copies, because the module cache
// is read-only. It returns a go.mod file that selects the copies.
func (r recipe) slimModules(ctx context.Context, dir string) (modfile string, err error) {
	modfile = filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(r.dir, name), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	edit := []string{"mod", "edit"}
	for _, module := range r.slim {
		original, err := r.moduleDir(ctx, module)
		if err != nil {
			return "", err
		}
		slim := filepath.Join(dir, filepath.FromSlash(module))
		if err := os.CopyFS(slim, os.DirFS(original)); err != nil {
			return "", fmt.Errorf("copying module %s: %w", module, err)
		}
		edit = append(edit, "-replace="+module+"="+slim)
	}
	if err := r.replaceParts(dir); err != nil {
		return "", err
	}
	_, err = r.goCommand(ctx, append(edit, modfile)...)
	return modfile, err
}

func (r recipe) replaceParts(dir string) error {
	files, err := r.slimFiles()
	if err != nil {
		return err
	}
	for _, file := range files {
		target := filepath.Join(dir, filepath.FromSlash(file))
		if filepath.Base(file) == slimPackage {
			err = removePackage(filepath.Dir(target))
		} else if _, err = os.Stat(target); err != nil {
			err = fmt.Errorf("%s replaces no file of its module: %w", file, err)
		}
		if err != nil {
			return err
		}
	}
	// Copy after all removals, because a removal may cover another replacement.
	for _, file := range files {
		from, to := filepath.Join(r.dir, slimFolder, filepath.FromSlash(file)), filepath.Join(dir, filepath.FromSlash(file))
		if err := copyFile(from, to); err != nil {
			return err
		}
	}
	return nil
}

// removePackage removes a package and all packages below it, but not the module's go.mod.
func removePackage(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "go.mod" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r recipe) moduleDir(ctx context.Context, module string) (string, error) {
	if _, err := r.goCommand(ctx, "mod", "download", module); err != nil {
		return "", err
	}
	return r.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", module)
}

func (r recipe) goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", explain(r, string(failed.Stderr), fmt.Errorf("go %s: %w", strings.Join(args, " "), err))
	}
	return strings.TrimSpace(string(out)), err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
