// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checkout builds the programs and images of a local cluster from the repository that
// contains the working folder.
package checkout

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the root folder of the repository.
type Root string

// Find returns the root of the repository that contains the working folder.
func Find(ctx context.Context) (Root, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/serinus-io/serinus")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("this must be run inside the repository, with Go in PATH: %w\n%s", err, stderr.String())
	}
	return Root(strings.TrimSpace(string(out))), nil
}

// Path returns a path below the root of the repository.
func (r Root) Path(elements ...string) string {
	return filepath.Join(append([]string{string(r)}, elements...)...)
}

// Tools returns the folder that BuildTools writes programs to.
func (r Root) Tools() string { return r.Path("bin", "tools") }

// BuildTools builds the programs of hack/build-tools that are missing or out of date.
func (r Root) BuildTools(ctx context.Context, names ...string) error {
	return r.run(ctx, "building", "./hack/build-tools", names)
}

// Images returns the folder that PackImages writes images to.
func (r Root) Images() string { return r.Path("bin", "images") }

// PackImages builds the images of test/images that are missing or out of date.
func (r Root) PackImages(ctx context.Context, names ...string) error {
	return r.run(ctx, "packing the images", "./test/images", names)
}

func (r Root) run(ctx context.Context, doing, program string, names []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", program}, names...)...)
	cmd.Dir = string(r)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", doing, strings.Join(names, ", "), err)
	}
	return nil
}
