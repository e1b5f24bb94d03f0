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
	// Read returns length bytes of an object from an offset, or all bytes from there if length is
	// negative.
	Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error)
	Close() error
}

// Object is a file of a model.
type Object struct {
	// Name is the slash-separated path relative to the model's folder.
	Name string
	Key  string
	// Size is in bytes, or unknownSize.
	Size int64
	// Version changes with the object's content. It is empty if the store has no versions.
	Version string
	// Tag is the precondition for reading this version. It is empty if the store has none.
	Tag string
	Sum Checksum
	// Whole reports whether the object can only be read without ranges.
	Whole bool
	// Alone reports whether the URI names this object, not a folder.
	Alone bool
}

const unknownSize = -1

// Checksum is the checksum of a whole object. Without an algorithm, it is unknown.
type Checksum struct {
	Algorithm Algorithm
	Value     []byte
}

// Algorithm is a checksum algorithm.
type Algorithm string

// The algorithms of the supported stores.
const (
	MD5    Algorithm = "MD5"
	CRC32  Algorithm = "CRC32"
	CRC32C Algorithm = "CRC32C"
	// CRC64 is what S3 computes for an object that is uploaded without a checksum.
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

func (a Algorithm) sum(content io.Reader) (hash.Hash, error) {
	digest := a.hash()
	// The structs hide WriteTo and ReadFrom, which would not use the buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{digest}, struct{ io.Reader }{content}, make([]byte, 1<<20))
	return digest, err
}

// Open returns the source for a model's URI. Its clients use ctx to request tokens, so ctx must
// stay valid as long as the source is in use.
func Open(ctx context.Context, uri string, env Environment) (Source, error) {
	source, err := open(ctx, uri, env)
	if err != nil {
		return nil, wrapError(uri, err)
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
		return nil, invalidSetting(uri, "copy the model to a store that is supported, or use hf:// if the Hugging Face Hub has it",
			"models of ModelScope (%s://) are not supported", scheme)
	case isAzureFiles(uri):
		return nil, invalidSetting(uri, "copy the model to Azure Blob Storage (https://<account>.blob.core.windows.net/<container>/<path>), "+
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

func invalidSetting(object, remedy, format string, args ...any) error {
	return &Error{Kind: Invalid, Object: object, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

func invalid(object, format string, args ...any) error {
	return &Error{Kind: Invalid, Object: object, Err: fmt.Errorf(format, args...)}
}

// Environment returns the value of a variable, like os.Getenv.
type Environment func(name string) string

func (e Environment) isSet(name string) bool {
	switch strings.ToLower(e(name)) {
	case "1", "true":
		return true
	}
	return false
}

// isOff reports whether a boolean variable that defaults to true is false.
func (e Environment) isOff(name string) bool {
	switch strings.ToLower(e(name)) {
	case "0", "false":
		return true
	}
	return false
}
