// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checkout builds what the cluster needs out of the repository that the
// program is run in.
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

// Root is the top folder of the repository.
type Root string

// Find returns the repository that the working folder is in.
func Find(ctx context.Context) (Root, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/serinus-io/serinus")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("this must be run inside the repository, with Go in PATH: %w\n%s", err, complaints.String())
	}
	return Root(strings.TrimSpace(string(out))), nil
}

// Path returns the path of something in the repository.
func (r Root) Path(elements ...string) string {
	return filepath.Join(append([]string{string(r)}, elements...)...)
}

// Tools is the folder of the programs that BuildTools makes.
func (r Root) Tools() string { return r.Path("bin", "tools") }

// BuildTools makes sure that the programs are in the folder of the tools.
func (r Root) BuildTools(ctx context.Context, names ...string) error {
	return r.run(ctx, "building", "./hack/build-tools", names)
}

// Images is the folder of the images that PackImages makes.
func (r Root) Images() string { return r.Path("bin", "images") }

// PackImages makes sure that the images of test/images are packed.
func (r Root) PackImages(ctx context.Context, names ...string) error {
	return r.run(ctx, "packing the images", "./test/images", names)
}

// run runs a program of the repository, which tells the user what it does.
func (r Root) run(ctx context.Context, doing, program string, names []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", program}, names...)...)
	cmd.Dir = string(r)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", doing, strings.Join(names, ", "), err)
	}
	return nil
}
