// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// recipe is all that decides what a build of a tool yields.
type recipe struct {
	tool
	version string
	ldflags string
	// key is equal for two recipes exactly if they yield the same program.
	key string
}

// newRecipe reads the tool's module files below root.
func newRecipe(root string, t tool) (recipe, error) {
	dir := filepath.Join(root, "hack", "tools", t.set)
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return recipe{}, fmt.Errorf("reading the versions of %s: %w", t.name, err)
	}
	gosum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return recipe{}, fmt.Errorf("reading the checksums of %s: %w", t.name, err)
	}
	version, err := requiredVersion(gomod, t.module)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", filepath.Join(dir, "go.mod"), err)
	}
	ldflags := linkerFlags(t, version)

	sum := sha256.New()
	for _, part := range [][]byte{
		gomod, gosum, []byte(t.pkg), []byte(ldflags), []byte(runtime.Version()), []byte(runtime.GOOS + "/" + runtime.GOARCH),
	} {
		fmt.Fprintf(sum, "%d:", len(part))
		sum.Write(part)
	}
	return recipe{tool: t, version: version, ldflags: ldflags, key: hex.EncodeToString(sum.Sum(nil))}, nil
}

// requiredVersion returns the version at which a go.mod file requires a module.
func requiredVersion(gomod []byte, module string) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", errors.Join(fmt.Errorf("does not require module %s", module), lines.Err())
}

// linkerFlags strips the program, which halves its size, and sets its version.
func linkerFlags(t tool, version string) string {
	flags := []string{"-s", "-w"}
	if t.linkVars == nil {
		return strings.Join(flags, " ")
	}
	vars := t.linkVars(version)
	for _, name := range sortedKeys(vars) {
		flags = append(flags, "-X", name+"="+vars[name])
	}
	return strings.Join(flags, " ")
}

// store is the folder of the built tools.
type store struct{ dir string }

func (s store) program(name string) string { return filepath.Join(s.dir, name) }

// private is a file that belongs to a tool but is none of the user's business.
func (s store) private(name, what string) string {
	return filepath.Join(s.dir, ".build", name+"."+what)
}

// has reports whether the program is there and was built by this very recipe.
func (s store) has(r recipe) (bool, error) {
	if _, err := os.Stat(s.program(r.name)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	key, err := os.ReadFile(s.private(r.name, "stamp"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(key) == r.key, err
}

// put makes a fresh build the program. It replaces the file instead of writing
// into it, so that whoever runs the old one is not disturbed.
func (s store) put(r recipe, built string) error {
	if err := os.Rename(built, s.program(r.name)); err != nil {
		return err
	}
	return os.WriteFile(s.private(r.name, "stamp"), []byte(r.key), 0o644)
}
