// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// prune removes files that are not part of the model, because the model server would load them too.
// They are left over from an earlier run of the pod's init containers.
func (f *fetch) prune(objects []Object) error {
	if f.isSourceInside() {
		return nil
	}
	folders, files := foldersOf(objects), map[string]bool{stateFile: true}
	for _, object := range objects {
		files[object.Name], files[object.Name+partialSuffix] = true, true
	}
	removed := 0
	err := fs.WalkDir(f.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "." || entry.IsDir() && folders[name] || entry.Type().IsRegular() && files[name]:
			return nil
		case !entry.IsDir() && !entry.Type().IsRegular(): // A download creates no links or devices.
			return nil
		case entry.IsDir() && name == "lost+found": // Created by the file system.
			return fs.SkipDir
		}
		// Some volumes have folders that cannot be removed, such as a snapshot folder.
		if err := f.root.RemoveAll(name); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			f.Log(fmt.Sprintf("%s is not part of the model, but cannot be removed: %v", name, err))
		} else if err != nil {
			return err
		} else {
			removed++
		}
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if removed > 0 {
		f.Log(fmt.Sprintf("removed %d files and folders that are not part of the model", removed))
	}
	return err
}

// isSourceInside reports whether the source is below the folder that it is copied to. Pruning would
// then remove the source.
func (f *fetch) isSourceInside() bool {
	source, isLocal := f.source.(folder)
	if !isLocal {
		return false
	}
	from, err := filepath.EvalSymlinks(source.path)
	if err != nil {
		return true
	}
	into, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return true
	}
	inside, err := filepath.Rel(into, from)
	return err != nil || filepath.IsLocal(inside)
}

// reuseExisting keeps complete files that are not in the state file. The pod's init containers run
// again after a restart of the node, when the volume already has the model. Files that do not match
// the store's checksum are removed, because they may be of another version.
func (f *fetch) reuseExisting(ctx context.Context, objects []Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Workers)
	for _, object := range objects {
		if f.state.isDone(object) {
			continue
		}
		if _, err := f.root.Lstat(object.Name); err != nil {
			continue // The file or its folder does not exist.
		}
		group.Go(func() error {
			isValid, err := f.matchesChecksum(ctx, object)
			if err != nil {
				return wrapError(object.Name, err)
			}
			if !isValid {
				if err := f.root.Remove(object.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return wrapError(object.Name, err)
				}
				return nil
			}
			f.Log(fmt.Sprintf("%s is already complete", object.Name))
			return f.state.markDone(object, true)
		})
	}
	return errors.Join(group.Wait(), f.state.save())
}

func (f *fetch) matchesChecksum(ctx context.Context, object Object) (bool, error) {
	if object.Sum.Algorithm == "" || !f.state.hasFile(object) {
		return false, nil
	}
	file, err := f.root.Open(object.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	sum, err := object.Sum.Algorithm.sum(contextReader{ctx, file})
	if err != nil {
		return false, err
	}
	return bytes.Equal(sum.Sum(nil), object.Sum.Value), nil
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(into []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(into)
}
