// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// archiveSuffixes are of the archives that are unpacked.
var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".zip"}

// isArchive tells by its name whether an object is an archive.
func isArchive(name string) bool {
	return slices.ContainsFunc(archiveSuffixes, func(suffix string) bool { return strings.HasSuffix(strings.ToLower(name), suffix) })
}

// Limits bound what an archive may make.
type Limits struct {
	// Files is how many files and folders there may be.
	Files int
	// Bytes is how much they may hold together; by default what is free on the volume.
	Bytes int64
	// Ratio is how many times larger than the archive they may be together. What is
	// small is not held against it.
	Ratio int64
}

// smallArchive is how much an archive may make whatever it is compressed to.
const smallArchive = 64 << 20

func (l Limits) completed() Limits {
	l.Files = cmp.Or(l.Files, 1_000_000)
	l.Ratio = cmp.Or(l.Ratio, 200) // Weights hardly shrink to a half; what is made to fill a disk, to a thousandth.
	return l
}

// unpacking is an archive on its way into the folder.
type unpacking struct {
	*fetch
	ctx   context.Context
	name  string
	files int
	left  int64
	// tooLarge is what is wrong if nothing is left.
	tooLarge error
}

// unpack takes an archive apart and removes it. A run that was interrupted does
// it again, over what is there.
func (f *fetch) unpack(ctx context.Context, name string) error {
	if !isArchive(name) {
		return nil
	}
	left := f.Unpack.Bytes
	if left == 0 {
		free, err := f.free(f.path)
		if err != nil {
			return fail(f.path, err)
		}
		left = free
	}
	u := &unpacking{fetch: f, ctx: ctx, name: name, left: left, tooLarge: &Error{
		Kind: NoSpace, Object: name, Err: errors.New("unpacked, it is larger than the space that is left"),
	}}
	file, err := f.root.Open(name)
	if err != nil {
		return fail(name, err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fail(name, err), file.Close())
	}
	if most := smallArchive + f.Unpack.Ratio*info.Size(); most < u.left {
		u.left = most
		u.tooLarge = fmt.Errorf("it becomes more than %d times as large", f.Unpack.Ratio)
	}
	err = errors.Join(u.archive(file), file.Close())
	if err != nil {
		return u.refuse(err)
	}
	f.Log(fmt.Sprintf("unpacked %d files from %s", u.files, name))
	return fail(name, f.root.Remove(name))
}

// refuse tells what is wrong with the archive, and not with the volume.
func (u *unpacking) refuse(err error) error {
	var known *Error
	isVolume := diagnose(err).kind == NoSpace ||
		errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
	if errors.As(err, &known) || isVolume || u.ctx.Err() != nil {
		return fail(u.name, err)
	}
	return &Error{Kind: Invalid, Object: u.name, Err: fmt.Errorf("it cannot be unpacked: %w", err)}
}

func (u *unpacking) archive(file *os.File) error {
	switch name := strings.ToLower(u.name); {
	case strings.HasSuffix(name, ".zip"):
		return u.zip(file)
	case strings.HasSuffix(name, ".tar"):
		return u.tar(file)
	}
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	return errors.Join(u.tar(compressed), compressed.Close())
}

func (u *unpacking) tar(content io.Reader) error {
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeReg:
			err = u.file(header.Name, archive)
		case tar.TypeDir:
			err = u.folder(header.Name)
		case tar.TypeXGlobalHeader:
		default: // A link could lead out, and a model needs none.
			err = fmt.Errorf("%q is neither a file nor a folder", header.Name)
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacking) zip(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(file, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		switch mode := entry.Mode(); {
		case mode.IsDir():
			err = u.folder(entry.Name)
		case mode.IsRegular():
			err = u.zipped(entry)
		default:
			err = fmt.Errorf("%q is neither a file nor a folder", entry.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) zipped(entry *zip.File) error {
	content, err := entry.Open()
	if err != nil {
		return err
	}
	return errors.Join(u.file(entry.Name, content), content.Close())
}

// place checks a name, and counts it.
func (u *unpacking) place(name string) (string, error) {
	if err := u.ctx.Err(); err != nil {
		return "", err
	}
	if u.files++; u.files > u.Unpack.Files {
		return "", fmt.Errorf("it has more than %d files", u.Unpack.Files)
	}
	clean := path.Clean(name)
	if !filepath.IsLocal(filepath.FromSlash(clean)) || strings.Contains(name, `\`) {
		return "", fmt.Errorf("the name %q leads out of the model's folder", name)
	}
	if clean == u.name {
		return "", fmt.Errorf("it has a file of its own name, %q", name)
	}
	if root, _, _ := strings.Cut(clean, "/"); root == stateFile || root == nextStateFile || root == u.name+partialSuffix {
		return "", fmt.Errorf("it has a file of the name %q, which is used during a download", root)
	}
	return clean, nil
}

func (u *unpacking) folder(name string) error {
	clean, err := u.place(name)
	if err != nil {
		return err
	}
	return u.root.MkdirAll(clean, 0o777)
}

func (u *unpacking) file(name string, content io.Reader) (err error) {
	clean, err := u.place(name)
	if err != nil {
		return err
	}
	if err := u.root.MkdirAll(path.Dir(clean), 0o777); err != nil {
		return err
	}
	file, err := u.root.OpenFile(clean, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	written, err := io.Copy(file, io.LimitReader(untilDone{u.ctx, content}, u.left+1))
	if err != nil {
		return err
	}
	if u.left -= written; u.left < 0 {
		return u.tooLarge
	}
	return nil
}
