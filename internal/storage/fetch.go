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
	maxWorkers = 8
	// defaultRange is long enough to hide the latency of a request, and short enough to keep all
	// workers busy with a few objects.
	defaultRange = 32 << 20
)

// Options configures [Fetch]. The zero value is ready to use.
type Options struct {
	// Workers is the number of concurrent reads. Each has a buffer of 256 KiB.
	Workers int
	Range   int64
	// Attempts is the number of attempts without progress after which a range fails.
	Attempts int
	// Pause is the initial backoff between attempts. It doubles up to one minute.
	Pause  time.Duration
	Unpack Limits
	// Log receives the progress, one line per call.
	Log func(line string)
	// free returns the free bytes of a volume. Tests replace it.
	free func(folder string) (int64, error)
}

func (o Options) withDefaults() Options {
	o.Workers = cmp.Or(o.Workers, maxWorkers)
	o.Range = cmp.Or(o.Range, defaultRange)
	o.Attempts = cmp.Or(o.Attempts, 6)
	o.Pause = cmp.Or(o.Pause, 500*time.Millisecond)
	o.Unpack = o.Unpack.withDefaults()
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.free == nil {
		o.free = freeBytes
	}
	return o
}

// Fetch downloads all objects of a source into a folder, and removes all other files from it. It
// creates the folder if necessary, and unpacks an archive that the URI names. A second call for the
// same folder resumes an interrupted download.
func Fetch(ctx context.Context, source Source, uri, into string, options Options) error {
	f := &fetch{Options: options.withDefaults(), source: source, uri: Redacted(uri), path: into}
	if err := os.MkdirAll(into, 0o777); err != nil { //nolint:gosec // The umask decides who may read a model.
		return wrapError(into, err)
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return wrapError(into, err)
	}
	f.root = root
	return errors.Join(f.run(ctx), root.Close())
}

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
		return wrapError(f.uri, err)
	}
	if err := checkNames(f.uri, objects); err != nil {
		return err
	}
	if f.state, err = readState(f.root, objects, f.Range); err != nil {
		return wrapError(f.path, err)
	}
	if err := f.prune(objects); err != nil {
		return wrapError(f.path, err)
	}
	if err := f.reuseExisting(ctx, objects); err != nil {
		return err
	}
	if err := f.checkSpace(objects); err != nil {
		return err
	}
	f.progress = newProgress(objects, f.state, f.Log)
	defer f.progress.stop()
	if err := f.downloadAll(ctx, objects); err != nil {
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

func checkNames(uri string, objects []Object) error {
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
			return refuse("the name %q occurs twice", object.Name)
		case folders[name]:
			return refuse("%q is a file and a folder", object.Name)
		}
		files[name] = true
	}
	isUsed := func(name string) bool { return files[name] || folders[name] }
	for name := range files {
		for _, reserved := range []string{stateFile, nextStateFile, name + partialSuffix} {
			if isUsed(reserved) {
				return refuse("%q cannot be fetched, because %s and names that end in %s are used during a download; rename the object",
					reserved, stateFile, partialSuffix)
			}
		}
	}
	return nil
}

func foldersOf(objects []Object) map[string]bool {
	folders := map[string]bool{}
	for _, object := range objects {
		for folder := path.Dir(object.Name); folder != "." && folder != "/" && !folders[folder]; folder = path.Dir(folder) {
			folders[folder] = true
		}
	}
	return folders
}

func (f *fetch) checkSpace(objects []Object) error {
	missing := f.state.missing(objects)
	free, err := f.free(f.path)
	if err != nil {
		return wrapError(f.path, err)
	}
	if missing > free {
		return &Error{Kind: NoSpace, Object: f.uri, Err: fmt.Errorf("the download needs %s, but only %s are free", inBytes(missing), inBytes(free))}
	}
	return nil
}

// downloadAll downloads all missing ranges. It starts the ranges of one object after each other, so
// that few objects are incomplete at a time.
func (f *fetch) downloadAll(ctx context.Context, objects []Object) error {
	// Large objects first, so that no single large object remains at the end.
	ordered := slices.Clone(objects)
	slices.SortStableFunc(ordered, func(a, b Object) int { return cmp.Compare(b.Size, a.Size) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Workers)
	var opened []*download
	defer func() {
		for _, m := range opened {
			_ = m.file.Close() // Complete files are closed already.
		}
	}()
	for _, object := range ordered {
		if f.state.isDone(object) {
			continue
		}
		download, err := f.newDownload(object)
		if err != nil {
			return errors.Join(wrapError(object.Name, err), group.Wait())
		}
		opened = append(opened, download)
		for _, part := range download.missing() {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error {
				if err := f.downloadPart(ctx, download, part); err != nil {
					return wrapError(object.Name, err)
				}
				return wrapError(object.Name, download.finish(part))
			})
		}
	}
	return group.Wait()
}
