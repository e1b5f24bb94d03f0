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
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/serinus-io/serinus/hack/builds"
)

// recipe contains everything that determines the result of a build.
type recipe struct {
	tool
	dir     string
	version string
	ldflags string
	// key identifies the result of the build. It is empty for this repository's programs, because it
	// does not cover their source files.
	key string
}

// newRecipe returns the recipe for a tool. ownVersion is the version of this repository's programs.
func newRecipe(root, ownVersion string, t tool) (recipe, error) {
	if t.set == "" {
		return recipe{tool: t, dir: root, version: ownVersion, ldflags: linkerFlags(t, ownVersion)}, nil
	}
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
	r := recipe{tool: t, dir: dir, version: version, ldflags: ldflags}
	if err := r.writeSlimFiles(sum); err != nil {
		return recipe{}, err
	}
	r.key = hex.EncodeToString(sum.Sum(nil))
	return r, nil
}

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

// linkerFlags returns flags that set the version, and strip the program, which halves its size.
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

type store struct{ dir string }

func (s store) product(t tool) builds.Product {
	p := builds.Product{Name: t.name, Path: filepath.Join(s.dir, t.name), Private: filepath.Join(s.dir, "tools", ".build")}
	if t.set != "" || t.helper {
		p.Path = filepath.Join(s.dir, "tools", t.name)
	}
	return p
}
