// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package builds is what the programs have in common that build things for the
// repository's own use: what is up to date is left alone, one process at a time
// builds a thing, nobody ever finds half of it, and the user sees what goes on.
package builds

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// FindRoot returns the folder of the repository that the working folder is in.
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
