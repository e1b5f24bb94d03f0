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

var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".zip"}

func isArchive(name string) bool {
	return slices.ContainsFunc(archiveSuffixes, func(suffix string) bool { return strings.HasSuffix(strings.ToLower(name), suffix) })
}

// Limits bounds the content of an archive.
type Limits struct {
	// Files is the maximum number of files and folders.
	Files int
	// Bytes is the maximum total size. It defaults to the free space on the volume.
	Bytes int64
	// Ratio is the maximum total size relative to the archive, on top of smallArchive.
	Ratio int64
}

// smallArchive is the size that any archive may expand to, whatever its compression ratio.
const smallArchive = 64 << 20

func (l Limits) withDefaults() Limits {
	l.Files = cmp.Or(l.Files, 1_000_000)
	l.Ratio = cmp.Or(l.Ratio, 200) // Weights compress to about a half, archive bombs to a thousandth.
	return l
}

type unpacker struct {
	*fetch
	ctx       context.Context
	name      string
	files     int
	remaining int64
	// tooLarge is the error if the content exceeds remaining.
	tooLarge error
}

// unpack unpacks an archive and removes it. If it is interrupted, the next run unpacks it again and
// overwrites the files.
func (f *fetch) unpack(ctx context.Context, name string) error {
	if !isArchive(name) {
		return nil
	}
	remaining := f.Unpack.Bytes
	if remaining == 0 {
		free, err := f.free(f.path)
		if err != nil {
			return wrapError(f.path, err)
		}
		remaining = free
	}
	u := &unpacker{fetch: f, ctx: ctx, name: name, remaining: remaining, tooLarge: &Error{
		Kind: NoSpace, Object: name, Err: errors.New("its content is larger than the free space"),
	}}
	file, err := f.root.Open(name)
	if err != nil {
		return wrapError(name, err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(wrapError(name, err), file.Close())
	}
	if limit := smallArchive + f.Unpack.Ratio*info.Size(); limit < u.remaining {
		u.remaining = limit
		u.tooLarge = fmt.Errorf("it expands to more than %d times its size", f.Unpack.Ratio)
	}
	err = errors.Join(u.archive(file), file.Close())
	if err != nil {
		return u.wrapUnpackError(err)
	}
	f.Log(fmt.Sprintf("unpacked %d files from %s", u.files, name))
	return wrapError(name, f.root.Remove(name))
}

// wrapUnpackError wraps an error. Unless the volume is the cause, the archive is invalid.
func (u *unpacker) wrapUnpackError(err error) error {
	var known *Error
	isVolume := diagnose(err).kind == NoSpace ||
		errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
	if errors.As(err, &known) || isVolume || u.ctx.Err() != nil {
		return wrapError(u.name, err)
	}
	return &Error{Kind: Invalid, Object: u.name, Err: fmt.Errorf("it cannot be unpacked: %w", err)}
}

func (u *unpacker) archive(file *os.File) error {
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

func (u *unpacker) tar(content io.Reader) error {
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
		default: // A link could point outside the folder, and models need none.
			err = fmt.Errorf("%q is neither a file nor a folder", header.Name)
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) zip(file *os.File) error {
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
			err = u.zipEntry(entry)
		default:
			err = fmt.Errorf("%q is neither a file nor a folder", entry.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipEntry(entry *zip.File) error {
	content, err := entry.Open()
	if err != nil {
		return err
	}
	return errors.Join(u.file(entry.Name, content), content.Close())
}

func (u *unpacker) checkEntry(name string) (string, error) {
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
		return "", fmt.Errorf("it contains a file with the archive's own name, %q", name)
	}
	if root, _, _ := strings.Cut(clean, "/"); root == stateFile || root == nextStateFile || root == u.name+partialSuffix {
		return "", fmt.Errorf("it contains a file named %q, which is used during a download", root)
	}
	return clean, nil
}

func (u *unpacker) folder(name string) error {
	clean, err := u.checkEntry(name)
	if err != nil {
		return err
	}
	return u.root.MkdirAll(clean, 0o777)
}

func (u *unpacker) file(name string, content io.Reader) (err error) {
	clean, err := u.checkEntry(name)
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
	written, err := io.Copy(file, io.LimitReader(contextReader{u.ctx, content}, u.remaining+1))
	if err != nil {
		return err
	}
	if u.remaining -= written; u.remaining < 0 {
		return u.tooLarge
	}
	return nil
}
