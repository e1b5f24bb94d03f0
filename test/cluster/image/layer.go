// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
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

// measured is an uncompressed layer of an image.
type measured struct {
	Layer
	hash v1.Hash
	size int64
}

func measure(layer Layer) (m measured, err error) {
	content, err := layer.open()
	if err != nil {
		return m, err
	}
	defer content.Close()
	digest, size, err := v1.SHA256(content)
	return measured{Layer: layer, hash: digest, size: size}, err
}

// Digest implements v1.Layer.
func (m measured) Digest() (v1.Hash, error) { return m.hash, nil }

// DiffID implements v1.Layer.
func (m measured) DiffID() (v1.Hash, error) { return m.hash, nil }

// Size implements v1.Layer.
func (m measured) Size() (int64, error) { return m.size, nil }

// MediaType implements v1.Layer.
func (m measured) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }

// Uncompressed implements v1.Layer.
func (m measured) Uncompressed() (io.ReadCloser, error) { return m.Compressed() }

// Compressed returns the layer's content. Reading it fails if it has changed since it was measured.
func (m measured) Compressed() (io.ReadCloser, error) {
	content, err := m.open()
	return &verifier{ReadCloser: content, hash: sha256.New(), layer: m}, err
}

type verifier struct {
	io.ReadCloser
	layer measured
	hash  hash.Hash
	size  int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	v.size += int64(n)
	ended := errors.Is(err, io.EOF)
	if v.size > v.layer.size || ended && hex.EncodeToString(v.hash.Sum(nil)) != v.layer.hash.Hex {
		return 0, errors.New("a file changed while the image was being built: try again")
	}
	return n, err
}
