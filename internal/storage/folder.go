// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

type folder struct{ path string }

func openLocal(path string) (Source, error) { return folder{path: path}, nil }

// List implements [Source].
func (f folder) List(context.Context) ([]Object, error) {
	var objects []Object
	err := filepath.WalkDir(f.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(path) // Follows symbolic links, unlike entry.Info.
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		name, err := filepath.Rel(f.path, path)
		if err != nil {
			return err
		}
		alone := name == "."
		if alone {
			name = filepath.Base(path)
		}
		objects = append(objects, Object{
			Name: filepath.ToSlash(name), Key: path, Size: info.Size(), Version: fmt.Sprint(info.ModTime().UnixNano()), Alone: alone,
		})
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{Kind: Missing, Object: f.path, Err: errors.New("there is no such file or folder")}
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable(f.path, err)
	case err == nil && len(objects) == 0:
		return nil, &Error{Kind: Missing, Object: f.path, Err: errors.New("the folder has no files")}
	}
	return objects, err
}

// Read implements [Source].
func (f folder) Read(_ context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	file, err := os.Open(object.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, changedError(object)
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable(object.Name, err)
	case err != nil:
		return nil, err
	}
	if length < 0 {
		length = object.Size - offset
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, offset, length), file}, nil
}

func unreadable(path string, err error) error {
	return &Error{Kind: Forbidden, Object: path, Err: err, Remedy: "make it readable for the user of the storage initializer"}
}

// Close implements [Source].
func (folder) Close() error { return nil }
