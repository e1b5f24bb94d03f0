// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxWorkers is how many ranges are read at a time by default.
	maxWorkers = 8
	// defaultRange is long enough for the time to the first byte not to count, and short enough for a few objects to keep
	// all workers busy.
	defaultRange = 32 << 20
)

// Options say how to fetch. The zero value is good.
type Options struct {
	// Workers is how many ranges are read at a time; each needs a buffer of 256 KiB.
	Workers int
	// Range is the length of a range in bytes.
	Range int64
	// Attempts is how often a range is tried without a byte of it arriving.
	Attempts int
	// Pause is the first pause between attempts; it doubles, up to a minute.
	Pause time.Duration
	// Unpack bounds what an archive may hold.
	Unpack Limits
	// Log is called with lines about the progress.
	Log func(line string)
	// free tells the free bytes of a volume; replaced in tests.
	free func(folder string) (int64, error)
}

func (o Options) completed() Options {
	o.Workers = cmp.Or(o.Workers, maxWorkers)
	o.Range = cmp.Or(o.Range, defaultRange)
	o.Attempts = cmp.Or(o.Attempts, 6)
	o.Pause = cmp.Or(o.Pause, 500*time.Millisecond)
	o.Unpack = o.Unpack.completed()
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.free == nil {
		o.free = freeBytes
	}
	return o
}

// Fetch brings all objects of a source into a folder, which it makes, and leaves
// nothing else there. An archive that the URI names is unpacked in it. Fetch into
// a folder again goes on where an earlier one ended.
func Fetch(ctx context.Context, source Source, uri, into string, options Options) error {
	f := &fetch{Options: options.completed(), source: source, uri: Redacted(uri), path: into}
	if err := os.MkdirAll(into, 0o777); err != nil { //nolint:gosec // The umask decides who may read a model.
		return fail(into, err)
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return fail(into, err)
	}
	f.root = root
	return errors.Join(f.run(ctx), root.Close())
}

// fetch is one run.
type fetch struct {
	Options
	source   Source
	uri      string
	path     string
	root     *os.Root
	state    *state
	progress *progress
}

func (f *fetch) run(ctx context.Context) error {
	begin := time.Now()
	var objects []Object
	err := f.retry(ctx, f.uri, func() (err error) {
		objects, err = f.source.List(ctx)
		return err
	})
	if err != nil {
		return fail(f.uri, err)
	}
	if err := check(f.uri, objects); err != nil {
		return err
	}
	if f.state, err = readState(f.root, objects, f.Range); err != nil {
		return fail(f.path, err)
	}
	if err := f.sweep(objects); err != nil {
		return fail(f.path, err)
	}
	if err := f.adopt(ctx, objects); err != nil {
		return err
	}
	if err := f.checkSpace(objects); err != nil {
		return err
	}
	f.progress = newProgress(objects, f.state, f.Log)
	defer f.progress.stop()
	if err := f.all(ctx, objects); err != nil {
		return errors.Join(err, f.state.save())
	}
	f.Log(fmt.Sprintf("fetched %s in %s", f.progress.total(), time.Since(begin).Round(time.Millisecond)))
	if len(objects) == 1 && objects[0].Alone {
		if err := f.unpack(ctx, objects[0].Name); err != nil {
			return err
		}
	}
	return f.state.remove()
}

// check refuses objects that cannot be files in one folder.
func check(uri string, objects []Object) error {
	if len(objects) == 0 {
		return &Error{Kind: Missing, Object: uri, Err: errors.New("it has no files")}
	}
	refuse := func(format string, args ...any) error {
		return &Error{Kind: Invalid, Object: uri, Err: fmt.Errorf(format, args...)}
	}
	files, folders := map[string]bool{}, foldersOf(objects)
	for _, object := range objects {
		name := filepath.FromSlash(object.Name)
		switch {
		case !filepath.IsLocal(name) || filepath.Clean(name) != name:
			return refuse("the name %q leads out of the model's folder", object.Name)
		case files[name]:
			return refuse("the name %q is there twice", object.Name)
		case folders[name]:
			return refuse("%q is a file and a folder", object.Name)
		}
		files[name] = true
	}
	isTaken := func(name string) bool { return files[name] || folders[name] }
	for name := range files {
		for _, own := range []string{stateFile, nextStateFile, name + partialSuffix} {
			if isTaken(own) {
				return refuse("%q cannot be fetched, as %s and names that end in %s are used during a download; rename the object",
					own, stateFile, partialSuffix)
			}
		}
	}
	return nil
}

// foldersOf are the folders that the objects are in.
func foldersOf(objects []Object) map[string]bool {
	folders := map[string]bool{}
	for _, object := range objects {
		for folder := path.Dir(object.Name); folder != "." && folder != "/" && !folders[folder]; folder = path.Dir(folder) {
			folders[folder] = true
		}
	}
	return folders
}

// checkSpace fails before anything is fetched in vain.
func (f *fetch) checkSpace(objects []Object) error {
	missing := f.state.missing(objects)
	free, err := f.free(f.path)
	if err != nil {
		return fail(f.path, err)
	}
	if missing > free {
		return &Error{Kind: NoSpace, Object: f.uri, Err: fmt.Errorf("%s are to be fetched, and %s are free", inBytes(missing), inBytes(free))}
	}
	return nil
}

// all fetches what is missing. Ranges of one object follow each other, and so at
// most a few objects are in the making at a time.
func (f *fetch) all(ctx context.Context, objects []Object) error {
	// The longest first: the end of a fetch is then many short ones, and not one long one.
	ordered := slices.Clone(objects)
	slices.SortStableFunc(ordered, func(a, b Object) int { return cmp.Compare(b.Size, a.Size) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Workers)
	var opened []*making
	defer func() {
		for _, m := range opened {
			_ = m.file.Close() // Those that are finished are closed already.
		}
	}()
	for _, object := range ordered {
		if f.state.isDone(object) {
			continue
		}
		making, err := f.begin(object)
		if err != nil {
			return errors.Join(fail(object.Name, err), group.Wait())
		}
		opened = append(opened, making)
		for _, part := range making.missing() {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error {
				if err := f.part(ctx, making, part); err != nil {
					return fail(object.Name, err)
				}
				return fail(object.Name, making.finished(part))
			})
		}
	}
	return group.Wait()
}
