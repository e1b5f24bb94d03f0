// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"crypto/md5" //nolint:gosec // What stores give, against accidents.
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	"github.com/minio/crc64nvme"
)

// Source is a place that holds a model.
type Source interface {
	// List lists the objects of the model.
	List(ctx context.Context) ([]Object, error)
	// Read reads length bytes of an object from an offset on, or all from there on if length is negative.
	Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error)
	Close() error
}

// Object is a file of a model.
type Object struct {
	// Name is relative to the folder of the model, with slashes.
	Name string
	// Key is what the source knows it by.
	Key string
	// Size is in bytes, or unknownSize.
	Size int64
	// Version differs for every content that the object has had; empty if the store gives none.
	Version string
	// Tag is what the store compares when it is to read this version only; empty if it cannot.
	Tag string
	Sum Checksum
	// Whole says that ranges cannot be read.
	Whole bool
	// Alone says that the URI names this object, and not a folder that it is in.
	Alone bool
}

// unknownSize is where a server does not tell.
const unknownSize = -1

// Checksum is of a whole object. One without an algorithm says nothing.
type Checksum struct {
	Algorithm Algorithm
	Value     []byte
}

// Algorithm is how a checksum is computed.
type Algorithm string

// The checksums that stores give.
const (
	MD5    Algorithm = "MD5"
	CRC32  Algorithm = "CRC32"
	CRC32C Algorithm = "CRC32C"
	// CRC64 is the one that S3 computes of whatever comes without a checksum.
	CRC64  Algorithm = "CRC64NVME"
	SHA256 Algorithm = "SHA-256"
)

func (a Algorithm) hash() hash.Hash {
	switch a {
	case MD5:
		return md5.New() //nolint:gosec // As above.
	case CRC64:
		return crc64nvme.New()
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case SHA256:
		return sha256.New()
	}
	return nil
}

// of computes the checksum of all that there is to read.
func (a Algorithm) of(content io.Reader) (hash.Hash, error) {
	sum := a.hash()
	// Without what a file or a hash would offer instead, the buffer is used.
	_, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{content}, make([]byte, 1<<20))
	return sum, err
}

// Open makes a source of the URI of a model. Its clients keep ctx to ask for
// tokens with, so ctx has to last as long as the source is used.
func Open(ctx context.Context, uri string, env Environment) (Source, error) {
	source, err := open(ctx, uri, env)
	if err != nil {
		return nil, fail(uri, err)
	}
	return source, nil
}

func open(ctx context.Context, uri string, env Environment) (Source, error) {
	scheme, rest, isURI := strings.Cut(uri, "://")
	switch {
	case !isURI:
		return openLocal(uri)
	case scheme == "file":
		return openLocal(rest)
	case scheme == "gs":
		return openGCS(ctx, rest, env)
	case scheme == "s3":
		return openS3(ctx, rest, env)
	case scheme == "modelscope", scheme == "ms":
		return nil, badSetting(uri, "copy the model to a store that is supported, or use hf:// if the Hugging Face Hub has it",
			"models of ModelScope (%s://) are not supported", scheme)
	case isAzureFiles(uri):
		return nil, badSetting(uri, "copy the model to Azure Blob Storage (https://<account>.blob.core.windows.net/<container>/<path>), "+
			"or mount the share with a PersistentVolumeClaim and write pvc://<claim>/<path>", "Azure Files is not supported")
	case isAzure(uri):
		return openAzure(ctx, uri, env)
	case scheme == "http", scheme == "https":
		return openWeb(uri, env)
	case scheme == "hf":
		return openHub(rest, env)
	case scheme == "hdfs", scheme == "webhdfs":
		return nil, invalid(uri, "%s:// is not supported by this image; set storageInitializer.image of the operator to "+
			"kserve/storage-initializer, which supports it", scheme)
	}
	return nil, invalid(uri, "storage %s:// is not supported; write one of gs://, s3://, https://, http://, hf://, file://, "+
		"https://<account>.blob.core.windows.net/<container>/<path>", scheme)
}

// badSetting is about a setting, or the form of a credential.
func badSetting(object, remedy, format string, args ...any) error {
	return &Error{Kind: Invalid, Object: object, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

func invalid(object, format string, args ...any) error {
	return &Error{Kind: Invalid, Object: object, Err: fmt.Errorf(format, args...)}
}

// Environment looks up a variable; os.Getenv is one.
type Environment func(name string) string

// isSet reads a switch as KServe's initializer does.
func (e Environment) isSet(name string) bool {
	switch strings.ToLower(e(name)) {
	case "1", "true":
		return true
	}
	return false
}

// isOff tells whether a switch that is on by default was turned off.
func (e Environment) isOff(name string) bool {
	switch strings.ToLower(e(name)) {
	case "0", "false":
		return true
	}
	return false
}
