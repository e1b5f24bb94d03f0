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

	"golang.org/x/sync/errgroup"
)

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
