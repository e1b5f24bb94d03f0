// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // What stores give.
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

const testRange = 1000

type fakeStore struct {
	content  map[string][]byte
	version  string
	noSum    bool
	wrongSum bool
	// listing holds the errors of the first calls of List.
	listing []error
	// serve replaces the content of a read. n is the number of earlier reads.
	serve func(n int, right []byte) (io.Reader, error)

	mu    sync.Mutex
	reads int
	bytes int
}

func (s *fakeStore) List(context.Context) ([]Object, error) {
	if len(s.listing) > 0 {
		err := s.listing[0]
		s.listing = s.listing[1:]
		return nil, err
	}
	var objects []Object
	for _, name := range slices.Sorted(maps.Keys(s.content)) {
		content := s.content[name]
		sum := md5.Sum(content) //nolint:gosec // As above.
		if s.wrongSum {
			sum[0]++
		}
		checksum := Checksum{MD5, sum[:]}
		if s.noSum {
			checksum = Checksum{}
		}
		objects = append(objects, Object{
			Name: name, Key: name, Size: int64(len(content)), Version: "v" + s.version, Sum: checksum,
		})
	}
	return objects, nil
}

func (s *fakeStore) Read(_ context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	right := s.content[object.Key][offset:]
	if length >= 0 {
		right = right[:length]
	}
	s.mu.Lock()
	n := s.reads
	s.reads++
	s.bytes += len(right)
	s.mu.Unlock()
	if s.serve == nil {
		return io.NopCloser(bytes.NewReader(right)), nil
	}
	reader, err := s.serve(n, right)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(reader), nil
}

func (s *fakeStore) Close() error { return nil }

func pattern(length int) []byte {
	content := make([]byte, length)
	for i := range content {
		content[i] = byte(i * 7 % 251)
	}
	return content
}

func fastOptions() Options {
	return Options{Range: testRange, Workers: 3, Attempts: 3, Pause: time.Microsecond}
}

func fetchInto(t *testing.T, source Source, dir string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Fetch(ctx, source, "test://model", dir, fastOptions())
}

func wantFiles(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	got := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		got[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("the files are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s has %d bytes, which differ from the store's", name, len(got[name]))
		}
	}
}

func wantKind(t *testing.T, err error, kind Kind, words ...string) {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) || got.Kind != kind {
		t.Fatalf("got error %v, want one of kind %q", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q does not contain %q", err, word)
		}
	}
}

func tree() map[string][]byte {
	return map[string][]byte{
		"empty": {}, "one": pattern(1), "config/a.json": pattern(testRange - 1), "config/b.json": pattern(testRange),
		"weights/1.bin": pattern(testRange + 1), "weights/deep/2.bin": pattern(7*testRange + 13),
	}
}

func TestFetch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "models")
	if err := fetchInto(t, &fakeStore{content: tree()}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, tree())
}

func TestLostConnectionsResume(t *testing.T) {
	var sent atomic.Int64
	store := &fakeStore{content: tree(), serve: func(_ int, right []byte) (io.Reader, error) {
		const some = 300
		sent.Add(int64(min(some, len(right))))
		if len(right) <= some {
			return bytes.NewReader(right), nil
		}
		return io.MultiReader(bytes.NewReader(right[:some]), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
	}}
	dir := t.TempDir()
	if err := fetchInto(t, store, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, tree())
	all := 0
	for _, content := range tree() {
		all += len(content)
	}
	if int(sent.Load()) != all {
		t.Errorf("the store sent %d bytes, want %d", sent.Load(), all)
	}
}

func TestNextRunResumes(t *testing.T) {
	content := map[string][]byte{"a": pattern(10 * testRange), "b": pattern(10*testRange + 1)}
	var arrived atomic.Int64
	store := &fakeStore{content: content, serve: func(n int, right []byte) (io.Reader, error) {
		if n >= 12 {
			return nil, statusError{403}
		}
		arrived.Add(int64(len(right)))
		return bytes.NewReader(right), nil
	}}
	dir := t.TempDir()
	wantKind(t, fetchInto(t, store, dir), Forbidden)
	again := &fakeStore{content: content}
	if err := fetchInto(t, again, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, content)
	if missing := 20*testRange + 1 - int(arrived.Load()); again.bytes != missing {
		t.Errorf("the second run read %d bytes, want the missing %d", again.bytes, missing)
	}
}

func TestNextRunSkipsCompleteRanges(t *testing.T) {
	content := map[string][]byte{"a": pattern(3 * testRange), "b": pattern(10)}
	store := &fakeStore{content: content, serve: func(n int, right []byte) (io.Reader, error) {
		if n == 3 {
			return nil, statusError{403} // The last one fails.
		}
		return bytes.NewReader(right), nil
	}}
	dir := t.TempDir()
	wantKind(t, fetchInto(t, store, dir), Forbidden)
	again := &fakeStore{content: content}
	if err := fetchInto(t, again, dir); err != nil {
		t.Fatal(err)
	}
	if again.reads != 1 {
		t.Errorf("the second run read %d times, want once", again.reads)
	}
	wantFiles(t, dir, content)
}

func TestChangedObjectIsDownloadedAgain(t *testing.T) {
	dir := t.TempDir()
	old := &fakeStore{content: map[string][]byte{"a": pattern(9 * testRange)}, version: "1", serve: func(n int, right []byte) (io.Reader, error) {
		if n >= 5 {
			return nil, statusError{404}
		}
		return bytes.NewReader(right), nil
	}}
	wantKind(t, fetchInto(t, old, dir), Missing)
	changed := map[string][]byte{"a": bytes.Repeat([]byte("x"), 8*testRange)}
	if err := fetchInto(t, &fakeStore{content: changed, version: "2"}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, changed)
}

func TestTransientErrorsAreRetried(t *testing.T) {
	for name, failure := range map[string]error{
		"the server is busy":     statusError{503},
		"too many requests":      statusError{429},
		"the connection is lost": syscall.ECONNRESET,
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{
				content: tree(), listing: []error{failure, failure},
				serve: func(n int, right []byte) (io.Reader, error) {
					if n%2 == 0 {
						return nil, failure
					}
					return bytes.NewReader(right), nil
				},
			}
			dir := t.TempDir()
			if err := fetchWith(t, store, dir, func(o *Options) { o.Workers = 1 }); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, tree())
		})
	}
}

func fetchWith(t *testing.T, source Source, dir string, change func(*Options)) error {
	t.Helper()
	options := fastOptions()
	change(&options)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Fetch(ctx, source, "test://model", dir, options)
}

func TestPersistentErrorsFail(t *testing.T) {
	for name, tc := range map[string]struct {
		failure error
		kind    Kind
		reads   int
	}{
		"the object is gone":        {statusError{404}, Missing, 1},
		"access is denied":          {statusError{403}, Forbidden, 1},
		"the volume is full":        {syscall.ENOSPC, NoSpace, 1},
		"the connection is refused": {syscall.ECONNREFUSED, Unreachable, 3},
		"the server fails":          {statusError{500}, Unavailable, 3},
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{content: map[string][]byte{"weights.bin": pattern(10)}, serve: func(int, []byte) (io.Reader, error) {
				return nil, tc.failure
			}}
			wantKind(t, fetchInto(t, store, t.TempDir()), tc.kind, "weights.bin", tc.kind.advice())
			if store.reads != tc.reads {
				t.Errorf("got %d attempts, want %d", store.reads, tc.reads)
			}
		})
	}
}

func TestResponseTooLong(t *testing.T) {
	store := &fakeStore{content: map[string][]byte{"a": pattern(10)}, serve: func(_ int, right []byte) (io.Reader, error) {
		return bytes.NewReader(append(bytes.Clone(right), 'x')), nil
	}}
	wantKind(t, fetchInto(t, store, t.TempDir()), Corrupt, "more than the 10 bytes")
}

func TestResponseTooShort(t *testing.T) {
	store := &fakeStore{content: map[string][]byte{"a": pattern(10)}, serve: func(_ int, right []byte) (io.Reader, error) {
		return bytes.NewReader(right[:0]), nil
	}}
	wantKind(t, fetchInto(t, store, t.TempDir()), Unreachable, "after 0 of 10 bytes")
}

func TestWrongChecksum(t *testing.T) {
	dir := t.TempDir()
	content := map[string][]byte{"a": pattern(3 * testRange)}
	wantKind(t, fetchInto(t, &fakeStore{content: content, wrongSum: true}, dir), Corrupt, "MD5")
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
	if err := fetchInto(t, &fakeStore{content: content}, dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, content)
}

func TestSpaceIsCheckedBeforeReading(t *testing.T) {
	store := &fakeStore{content: map[string][]byte{"a": pattern(3000), "b": pattern(2000)}}
	err := fetchWith(t, store, t.TempDir(), func(o *Options) { o.free = func(string) (int64, error) { return 4999, nil } })
	wantKind(t, err, NoSpace, "needs 4.88 KiB")
	if store.reads != 0 {
		t.Errorf("%d reads", store.reads)
	}
}

func TestInvalidNames(t *testing.T) {
	for name, content := range map[string]map[string][]byte{
		"out of the folder":     {"../x": nil},
		"at the root":           {"/etc/passwd": nil},
		"out, through a folder": {"a/../../x": nil},
		"not in canonical form": {"a/../x": nil},
		"a file and a folder":   {"a": nil, "a/b": nil},
		"a partial file":        {"a": nil, "a.partial": nil},
		"the state file":        {stateFile: nil},
		"no objects":            {},
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{content: content}
			var refused *Error
			if err := fetchInto(t, store, t.TempDir()); !errors.As(err, &refused) || refused.Kind != Invalid && refused.Kind != Missing {
				t.Errorf("got error %v", err)
			}
			if store.reads > 0 {
				t.Error("an object was read")
			}
		})
	}
}

func TestCancellationEndsPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	store := &fakeStore{content: map[string][]byte{"a": pattern(10)}, serve: func(int, []byte) (io.Reader, error) {
		cancel()
		return nil, statusError{503}
	}}
	options := fastOptions()
	options.Pause = time.Hour
	ended := make(chan error, 1)
	go func() { ended <- Fetch(ctx, store, "test://model", t.TempDir(), options) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Fetch did not return")
	}
}
