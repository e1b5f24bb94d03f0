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

// partialSuffix is on the name of a file that is in the making.
const partialSuffix = ".partial"

// making is an object on its way to the disk.
type making struct {
	f      *fetch
	object Object
	file   *os.File
	// parts is how many ranges it has, and left how many of them have not arrived.
	parts int64
	left  atomic.Int64
	// sum is computed while the bytes arrive, where they do so in their order; otherwise the file is read for it.
	sum hash.Hash
}

// begin opens the file of an object. It goes on with the one of an earlier run
// if that is on record.
func (f *fetch) begin(object Object) (*making, error) {
	m := &making{f: f, object: object, parts: 1}
	if !object.Whole && object.Size > f.Range {
		m.parts = (object.Size + f.Range - 1) / f.Range
	}
	m.left.Store(int64(len(m.missing())))
	if m.parts == 1 && len(f.state.parts(object)) == 0 {
		m.sum = object.Sum.Algorithm.hash()
	}
	if err := f.root.MkdirAll(path.Dir(object.Name), 0o777); err != nil {
		return nil, err
	}
	var err error
	m.file, err = f.root.OpenFile(object.Name+partialSuffix, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if len(f.state.parts(object)) == 0 { // It may be of another version, and longer.
		if err := m.file.Truncate(0); err != nil {
			return nil, errors.Join(err, m.file.Close())
		}
	}
	return m, nil
}

// part is a range of an object.
type part struct{ number, offset, length int64 }

// missing are the ranges that have not arrived; the last one if all have, so
// that somebody finishes the object.
func (m *making) missing() []part {
	arrived := m.f.state.parts(m.object)
	var missing []part
	for number := range m.parts {
		if slices.Contains(arrived, number) {
			continue
		}
		missing = append(missing, m.part(number))
	}
	if len(missing) == 0 {
		missing = []part{m.part(m.parts - 1)}
	}
	return missing
}

func (m *making) part(number int64) part {
	p := part{number: number, offset: number * m.f.Range, length: -1}
	switch {
	case m.parts > 1:
		p.length = min(m.f.Range, m.object.Size-p.offset)
	case m.object.Size >= 0:
		p.length = m.object.Size
	}
	return p
}

// part reads a range until all of it is there. An attempt goes on where the last
// one ended, and only those that bring nothing count.
func (f *fetch) part(ctx context.Context, m *making, p part) error {
	written := int64(0)
	for attempt := 1; ; attempt++ {
		n, err := f.attempt(ctx, m, p, written)
		if m.object.Whole && err != nil {
			f.progress.add(-n) // It cannot go on in the middle.
			n, written = 0, 0
			m.sum = m.object.Sum.Algorithm.hash()
			if err := m.file.Truncate(0); err != nil {
				return err
			}
		}
		written += n
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !mayPass(err):
			return err
		case n > 0:
			attempt = 1
		case attempt >= f.Attempts:
			return err
		}
		f.Log(fmt.Sprintf("%s: %v; trying again", m.object.Name, err))
		if err := f.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// attempt reads once, and says how much it has written.
func (f *fetch) attempt(ctx context.Context, m *making, p part, already int64) (written int64, err error) {
	length := p.length
	if length >= 0 {
		if length -= already; length == 0 {
			return 0, nil
		}
	}
	reader, err := f.source.Read(ctx, m.object, p.offset+already, length)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ignoreCancelled(reader.Close())) }()
	to := io.Writer(io.NewOffsetWriter(m.file, p.offset+already))
	if m.sum != nil {
		to = io.MultiWriter(to, m.sum)
	}
	limited := io.Reader(reader)
	if length >= 0 {
		limited = io.LimitReader(reader, length) // What follows belongs to another range.
	}
	written, err = io.CopyBuffer(struct{ io.Writer }{to}, counting{limited, f.progress}, make([]byte, 256<<10))
	switch {
	case err != nil:
		return written, err
	case written == length && p.offset+p.length == m.object.Size && hasMore(reader):
		return written, &Error{Kind: Corrupt, Object: m.object.Name, Err: fmt.Errorf("the store sends more than the %d bytes that it has listed", m.object.Size)}
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

// finished takes down that a range is there, and makes a file of the object when it is the last.
func (m *making) finished(p part) error {
	if err := m.f.state.arrived(m.object, p.number); err != nil {
		return err
	}
	if m.left.Add(-1) > 0 {
		return nil
	}
	if err := m.verify(); err != nil {
		return errors.Join(err, m.file.Close(), m.f.root.Remove(m.object.Name+partialSuffix), m.f.state.done(m.object, false))
	}
	if err := errors.Join(m.file.Close(), m.f.root.Rename(m.object.Name+partialSuffix, m.object.Name)); err != nil {
		return err
	}
	return m.f.state.done(m.object, true)
}

// verify holds the file against what the store says of the object.
func (m *making) verify() error {
	if m.object.Size != unknownSize {
		// A file of an earlier run may have been longer.
		if err := m.file.Truncate(m.object.Size); err != nil {
			return err
		}
	}
	if m.object.Sum.Algorithm == "" {
		return nil
	}
	sum := m.sum
	if sum == nil {
		var err error
		if sum, err = m.object.Sum.Algorithm.of(io.NewSectionReader(m.file, 0, math.MaxInt64)); err != nil {
			return err
		}
	}
	if got := sum.Sum(nil); !bytes.Equal(got, m.object.Sum.Value) {
		return &Error{Kind: Corrupt, Object: m.object.Name, Err: fmt.Errorf("its %s is %x, and the store says %x",
			m.object.Sum.Algorithm, got, m.object.Sum.Value)}
	}
	return nil
}

// retry tries something that has no middle to go on from.
func (f *fetch) retry(ctx context.Context, what string, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || !mayPass(err) || attempt >= f.Attempts || ctx.Err() != nil {
			return err
		}
		f.Log(fmt.Sprintf("%s: %v; trying again", what, err))
		if err := f.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// pause waits before another attempt: twice as long each time, and by chance up
// to half longer, so that the pods of a Deployment do not all come back at once.
func (f *fetch) pause(ctx context.Context, attempt int) error {
	const longest = time.Minute
	wait := min(f.Pause<<(attempt-1), longest)
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
