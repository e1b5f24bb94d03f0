// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package builds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Product is a file or folder that is built.
type Product struct {
	// Name identifies the product in messages and file names.
	Name string
	// Path is the location of the complete product.
	Path string
	// Private is a folder for internal files on the same file system.
	Private string
}

// Ensure builds the product unless it is fresh. The key identifies the product's content. Without a
// key, it is always built. build receives a path that does not exist.
func (p Product) Ensure(ctx context.Context, key string, report *Reporter, build func(path string) error) error {
	if fresh, err := p.Fresh(key); fresh || err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(p.Private, 0o755), os.MkdirAll(filepath.Dir(p.Path), 0o755)); err != nil {
		return fmt.Errorf("creating the folders for %s: %w", p.Name, err)
	}
	unlock, err := lock(ctx, p.private("lock"), func() {
		report.Line("another process is building %s: waiting", p.Name)
	})
	if err != nil {
		return err
	}
	defer unlock()
	// The previous holder of the lock may have built it.
	if fresh, err := p.Fresh(key); fresh || err != nil {
		return err
	}
	built := p.private("new")
	// A killed process may have left an incomplete build.
	if err := os.RemoveAll(built); err != nil {
		return err
	}
	defer os.RemoveAll(built)
	if err := build(built); err != nil {
		return err
	}
	if err := p.put(key, built); err != nil {
		return fmt.Errorf("replacing %s: %w", p.Name, err)
	}
	return nil
}

// Fresh reports whether the product exists and was built with the key.
func (p Product) Fresh(key string) (bool, error) {
	if key == "" {
		return false, nil
	}
	if _, err := os.Stat(p.Path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	stamp, err := os.ReadFile(p.private("stamp"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(stamp) == key, err
}

// put replaces the product with a rename, so that programs that use the old one are not affected.
// It removes the stamp first, so that the product is not fresh after an interruption.
func (p Product) put(key, built string) error {
	if err := os.RemoveAll(p.private("stamp")); err != nil {
		return err
	}
	// Rename replaces a file, but not a folder with content.
	if info, err := os.Lstat(p.Path); err == nil && info.IsDir() {
		if err := os.RemoveAll(p.Path); err != nil {
			return err
		}
	}
	if err := os.Rename(built, p.Path); err != nil || key == "" {
		return err
	}
	return os.WriteFile(p.private("stamp"), []byte(key), 0o644)
}

func (p Product) private(what string) string {
	return filepath.Join(p.Private, p.Name+"."+what)
}
