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

// sweep removes files that are not part of the model: those that the store had
// when the pod's init containers ran before, and those unpacked from an archive.
// A server would load them together with the model.
func (f *fetch) sweep(objects []Object) error {
	if f.isWithin() {
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
		case !entry.IsDir() && !entry.Type().IsRegular(): // No download makes links and the like.
			return nil
		case entry.IsDir() && name == "lost+found": // The file system's own.
			return fs.SkipDir
		}
		// Some volumes have folders that cannot be removed, such as one with snapshots.
		if err := f.root.RemoveAll(name); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			f.Log(fmt.Sprintf("%s is not part of the model, and cannot be removed: %v", name, err))
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

// isWithin reports whether the model is copied from within the folder itself,
// where a sweep would remove it.
func (f *fetch) isWithin() bool {
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

// adopt keeps the files that are there without a record: the pod's init
// containers run again when its node has restarted, and the volume has the model
// by then. What the store's checksum does not confirm goes, so that no file of an
// older version can ever be taken for one of this.
func (f *fetch) adopt(ctx context.Context, objects []Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Workers)
	for _, object := range objects {
		if f.state.isDone(object) {
			continue
		}
		if _, err := f.root.Lstat(object.Name); err != nil {
			continue // There is none, or no folder for it yet.
		}
		group.Go(func() error {
			isRight, err := f.confirms(ctx, object)
			if err != nil {
				return fail(object.Name, err)
			}
			if !isRight {
				if err := f.root.Remove(object.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fail(object.Name, err)
				}
				return nil
			}
			f.Log(fmt.Sprintf("%s is there already", object.Name))
			return f.state.done(object, true)
		})
	}
	return errors.Join(group.Wait(), f.state.save())
}

// confirms tells whether the file of an object is what the store says.
func (f *fetch) confirms(ctx context.Context, object Object) (bool, error) {
	if object.Sum.Algorithm == "" || !f.state.hasFile(object) {
		return false, nil
	}
	file, err := f.root.Open(object.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	sum, err := object.Sum.Algorithm.of(untilDone{ctx, file})
	if err != nil {
		return false, err
	}
	return bytes.Equal(sum.Sum(nil), object.Sum.Value), nil
}

// untilDone ends long work on what is on the disk when a signal does.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (r untilDone) Read(into []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(into)
}
