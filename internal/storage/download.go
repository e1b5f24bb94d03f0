// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"sync/atomic"
	"time"
)

const partialSuffix = ".partial"

type download struct {
	f      *fetch
	object Object
	file   *os.File
	// parts is the number of ranges, and remaining the number of those that are not complete.
	parts     int64
	remaining atomic.Int64
	// sum is computed while a single range is read. With several ranges it is nil, and the complete
	// file is read again.
	sum hash.Hash
}

// newDownload opens the partial file of an object. It keeps the content of ranges that are in the
// state file.
func (f *fetch) newDownload(object Object) (*download, error) {
	d := &download{f: f, object: object, parts: 1}
	if !object.Whole && object.Size > f.Range {
		d.parts = (object.Size + f.Range - 1) / f.Range
	}
	d.remaining.Store(int64(len(d.missing())))
	if d.parts == 1 && len(f.state.parts(object)) == 0 {
		d.sum = object.Sum.Algorithm.hash()
	}
	if err := f.root.MkdirAll(path.Dir(object.Name), 0o777); err != nil {
		return nil, err
	}
	var err error
	d.file, err = f.root.OpenFile(object.Name+partialSuffix, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if len(f.state.parts(object)) == 0 { // The file may be from another version of the object.
		if err := d.file.Truncate(0); err != nil {
			return nil, errors.Join(err, d.file.Close())
		}
	}
	return d, nil
}

// part is a byte range of an object. Its length is negative if the object's size is unknown.
type part struct{ number, offset, length int64 }

// missing returns the ranges that are not complete. If all are, it returns the last one, so that
// finish is called for the object.
func (d *download) missing() []part {
	complete := d.f.state.parts(d.object)
	var missing []part
	for number := range d.parts {
		if slices.Contains(complete, number) {
			continue
		}
		missing = append(missing, d.part(number))
	}
	if len(missing) == 0 {
		missing = []part{d.part(d.parts - 1)}
	}
	return missing
}

func (d *download) part(number int64) part {
	p := part{number: number, offset: number * d.f.Range, length: -1}
	switch {
	case d.parts > 1:
		p.length = min(d.f.Range, d.object.Size-p.offset)
	case d.object.Size >= 0:
		p.length = d.object.Size
	}
	return p
}

// downloadPart downloads a range. Each attempt resumes where the previous one ended. Only attempts
// without progress count against the limit.
func (f *fetch) downloadPart(ctx context.Context, d *download, p part) error {
	written := int64(0)
	for attempt := 1; ; attempt++ {
		n, err := f.attempt(ctx, d, p, written)
		if d.object.Whole && err != nil {
			f.progress.add(-n) // The server does not support ranges: start again.
			n, written = 0, 0
			d.sum = d.object.Sum.Algorithm.hash()
			if err := d.file.Truncate(0); err != nil {
				return err
			}
		}
		written += n
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !IsRetryable(err):
			return err
		case n > 0:
			attempt = 1
		case attempt >= f.Attempts:
			return err
		}
		f.Log(fmt.Sprintf("%s: %v; retrying", d.object.Name, err))
		if err := f.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (f *fetch) attempt(ctx context.Context, d *download, p part, already int64) (written int64, err error) {
	length := p.length
	if length >= 0 {
		if length -= already; length == 0 {
			return 0, nil
		}
	}
	reader, err := f.source.Read(ctx, d.object, p.offset+already, length)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ignoreCancelled(reader.Close())) }()
	to := io.Writer(io.NewOffsetWriter(d.file, p.offset+already))
	if d.sum != nil {
		to = io.MultiWriter(to, d.sum)
	}
	limited := io.Reader(reader)
	if length >= 0 {
		limited = io.LimitReader(reader, length) // A server may send more than the requested range.
	}
	written, err = io.CopyBuffer(struct{ io.Writer }{to}, countingReader{limited, f.progress}, make([]byte, 256<<10))
	switch {
	case err != nil:
		return written, err
	case written == length && p.offset+p.length == d.object.Size && hasMore(reader):
		return written, &Error{Kind: Corrupt, Object: d.object.Name, Err: fmt.Errorf("the store sent more than the %d bytes that it listed", d.object.Size)}
	case length >= 0 && written < length:
		return written, fmt.Errorf("the connection ended after %d of %d bytes: %w", written, length, io.ErrUnexpectedEOF)
	}
	return written, nil
}

func hasMore(reader io.Reader) bool {
	n, _ := io.ReadFull(reader, make([]byte, 1))
	return n > 0
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// finish marks a range as complete. After the last range it verifies and renames the file.
func (d *download) finish(p part) error {
	if err := d.f.state.markPart(d.object, p.number); err != nil {
		return err
	}
	if d.remaining.Add(-1) > 0 {
		return nil
	}
	if err := d.verify(); err != nil {
		return errors.Join(err, d.file.Close(), d.f.root.Remove(d.object.Name+partialSuffix), d.f.state.markDone(d.object, false))
	}
	if err := errors.Join(d.file.Close(), d.f.root.Rename(d.object.Name+partialSuffix, d.object.Name)); err != nil {
		return err
	}
	return d.f.state.markDone(d.object, true)
}

func (d *download) verify() error {
	if d.object.Size != unknownSize {
		// An earlier run may have left a longer file.
		if err := d.file.Truncate(d.object.Size); err != nil {
			return err
		}
	}
	if d.object.Sum.Algorithm == "" {
		return nil
	}
	sum := d.sum
	if sum == nil {
		var err error
		if sum, err = d.object.Sum.Algorithm.sum(io.NewSectionReader(d.file, 0, math.MaxInt64)); err != nil {
			return err
		}
	}
	if got := sum.Sum(nil); !bytes.Equal(got, d.object.Sum.Value) {
		return &Error{Kind: Corrupt, Object: d.object.Name, Err: fmt.Errorf("its %s checksum is %x, but the store lists %x",
			d.object.Sum.Algorithm, got, d.object.Sum.Value)}
	}
	return nil
}

func (f *fetch) retry(ctx context.Context, what string, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || !IsRetryable(err) || attempt >= f.Attempts || ctx.Err() != nil {
			return err
		}
		f.Log(fmt.Sprintf("%s: %v; retrying", what, err))
		if err := f.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// pause waits before another attempt, with exponential backoff and a jitter of up to 50 %, so that
// the pods of a Deployment do not retry at the same time.
func (f *fetch) pause(ctx context.Context, attempt int) error {
	const maxPause = time.Minute
	wait := min(f.Pause<<(attempt-1), maxPause)
	wait += rand.N(wait/2 + 1) //nolint:gosec // It is no secret.
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
