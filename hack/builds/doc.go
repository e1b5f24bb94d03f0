// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package builds builds this repository's tools and images. It skips products that are up to date,
// lets one process at a time build a product, replaces a product only by a complete one, and
// reports the progress.
package builds

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// FindRoot returns the root folder of the repository that contains the working folder.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "hack", "tools"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no folder hack/tools here or above: run this inside the repository")
		}
		dir = parent
	}
}
