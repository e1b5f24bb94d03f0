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

// Product is a file or a folder that is built.
type Product struct {
	// Name is what the user knows it by.
	Name string
	// Path is where it is found once it is whole.
	Path string
	// Private is a folder on the same file system, for what is none of the user's business.
	Private string
}

// Ensure makes sure that the product is there, as the key describes it: two keys
// are equal exactly if they stand for equal products. Without a key it is built
// each time. Build gets the path to build it at, where there is nothing yet.
func (p Product) Ensure(ctx context.Context, key string, report *Reporter, build func(path string) error) error {
	if fresh, err := p.Fresh(key); fresh || err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(p.Private, 0o755), os.MkdirAll(filepath.Dir(p.Path), 0o755)); err != nil {
		return fmt.Errorf("making the folders for %s: %w", p.Name, err)
	}
	unlock, err := lock(ctx, p.private("lock"), func() {
		report.Line("%s is being built by another process: waiting for it", p.Name)
	})
	if err != nil {
		return err
	}
	defer unlock()
	// Whoever had the lock may have built it.
	if fresh, err := p.Fresh(key); fresh || err != nil {
		return err
	}
	built := p.private("new")
	// A process that was killed may have left something.
	if err := os.RemoveAll(built); err != nil {
		return err
	}
	defer os.RemoveAll(built)
	if err := build(built); err != nil {
		return err
	}
	if err := p.put(key, built); err != nil {
		return fmt.Errorf("putting %s in place: %w", p.Name, err)
	}
	return nil
}

// Fresh reports whether the product is there and is what the key describes.
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

// put replaces the product instead of writing into it, so that whoever uses the
// old one is not disturbed. While it does, no stamp claims that it is fresh.
func (p Product) put(key, built string) error {
	if err := os.RemoveAll(p.private("stamp")); err != nil {
		return err
	}
	// A file is replaced at once, a folder only if it is empty.
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
