// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Layer is a layer of an image's file system.
type Layer interface {
	// open returns the layer as a tar archive. Each call returns the same content.
	open() (io.ReadCloser, error)
}

// Archive is the path of an uncompressed tar archive that becomes a layer without changes.
type Archive string

func (a Archive) open() (io.ReadCloser, error) { return os.Open(string(a)) }

// Files are files to copy from the machine, by their path in the image without the leading slash.
type Files map[string]string

// open archives the files. It keeps the executable bit of each file but no other mode and no times,
// so that archives are reproducible.
func (f Files) open() (io.ReadCloser, error) {
	for inside := range f {
		if !fs.ValidPath(inside) || inside == "." {
			return nil, fmt.Errorf("%q is not a valid path of a file in an image: use a relative path such as app/server.py", inside)
		}
	}
	reader, writer := io.Pipe()
	go func() {
		archive := tar.NewWriter(writer)
		for _, inside := range slices.Sorted(maps.Keys(f)) {
			if err := addFile(archive, inside, f[inside]); err != nil {
				_ = writer.CloseWithError(err)
				return
			}
		}
		_ = writer.CloseWithError(archive.Close())
	}()
	return reader, nil
}

func addFile(archive *tar.Writer, inside, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if err := archive.WriteHeader(&tar.Header{Name: inside, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

type measured struct {
	Layer
	digest string
	size   int64
}

func measure(layer Layer) (m measured, err error) {
	content, err := layer.open()
	if err != nil {
		return m, err
	}
	defer content.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, content)
	return measured{Layer: layer, digest: hex.EncodeToString(hash.Sum(nil)), size: size}, err
}

// copy writes the layer to an archive and fails if the layer has changed since it was measured.
func (m measured) copy(archive *tar.Writer, name string) error {
	content, err := m.open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: m.size}); err != nil {
		return err
	}
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(archive, hash), content)
	switch {
	case err != nil && !errors.Is(err, tar.ErrWriteTooLong):
		return err
	case err != nil, size != m.size, hex.EncodeToString(hash.Sum(nil)) != m.digest:
		return errors.New("a file changed while the image was being built: try again")
	}
	return nil
}
