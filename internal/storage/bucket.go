// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	gcs "cloud.google.com/go/storage"
	"gocloud.dev/blob"
)

type bucket struct {
	*blob.Bucket
	uri, prefix string
	// getCredentials retrieves the credentials before the first request, to tell its errors from
	// the store's. It is nil for anonymous access.
	getCredentials func(ctx context.Context) error
	// setChecksums replaces listed checksums by ones that are faster to compute. It may be nil.
	setChecksums func(ctx context.Context, objects []Object) error
}

func newBucket(opened *blob.Bucket, uri, prefix string) *bucket {
	return &bucket{Bucket: opened, uri: uri, prefix: strings.Trim(prefix, "/")}
}

// List implements [Source]. The prefix ends at a slash: model does not match model-2.
func (b *bucket) List(ctx context.Context) ([]Object, error) {
	if b.getCredentials != nil {
		if err := b.getCredentials(ctx); err != nil {
			return nil, credentialsError(b.uri, err)
		}
	}
	var below []Object
	var alone *Object
	objects := b.Bucket.List(&blob.ListOptions{Prefix: b.prefix})
	for {
		found, err := objects.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, b.wrapError(b.uri, err)
		}
		switch name, isBelow := b.nameOf(found.Key); {
		case isBelow && !strings.HasSuffix(name, "/") && name != "": // Other keys are folder markers.
			below = append(below, newObject(found, name))
		case found.Key == b.prefix:
			object := newObject(found, path.Base(found.Key))
			object.Alone = true
			alone = &object
		}
	}
	below = dropFolderMarkers(below)
	if alone != nil && alone.Size == 0 && len(below) > 0 {
		alone = nil // It is a folder marker.
	}
	if alone != nil {
		below = []Object{*alone}
	}
	if len(below) == 0 {
		return nil, &Error{Kind: Missing, Object: b.uri, Err: errors.New("there is no object of this name or below it")}
	}
	if b.setChecksums != nil {
		return below, b.wrapError(b.uri, b.setChecksums(ctx, below))
	}
	return below, nil
}

// wrapError returns an [Error] about an object. Some stores report that a private container does
// not exist. Without credentials, the error therefore suggests to configure some.
func (b *bucket) wrapError(object string, err error) error {
	if err == nil {
		return nil
	}
	err = wrapError(object, err)
	failed, ok := errors.AsType[*Error](err)
	respErr, _ := responseErrorOf(err)
	if ok && b.getCredentials == nil && (failed.Kind == Forbidden || respErr.code == "ResourceNotFound") {
		return &Error{Kind: Forbidden, Object: failed.Object, Err: failed.Err, Remedy: noCredentialsRemedy}
	}
	return err
}

func credentialsError(uri string, err error) error {
	if _, known := errors.AsType[*Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	found := diagnose(err)
	respErr, _ := responseErrorOf(err)
	switch _, isKnown := codes[respErr.code]; {
	case found.kind == Unreachable, found.kind == Unavailable && respErr.status != 0:
		found.remedy = "check that the issuer of the credentials can be reached, and is healthy; the download is retried"
	case found.kind == Forbidden && isKnown && respErr.code != "AccessDenied":
	default:
		found = diagnosis{Forbidden, "check the credentials that are configured: the secrets and annotations of the ServiceAccount, " +
			"and the rights of its role or identity"}
	}
	err = fmt.Errorf("the credentials cannot be obtained: %w", shorten(err))
	return &Error{Kind: found.kind, Object: uri, Err: err, Remedy: found.remedy}
}

// dropFolderMarkers removes the empty objects that some stores, such as Azure with a hierarchical
// namespace, list for each folder.
func dropFolderMarkers(objects []Object) []Object {
	folders := map[string]bool{}
	for _, object := range objects {
		for folder := path.Dir(object.Name); folder != "."; folder = path.Dir(folder) {
			folders[folder] = true
		}
	}
	return slices.DeleteFunc(objects, func(o Object) bool { return o.Size == 0 && folders[o.Name] })
}

func (b *bucket) nameOf(key string) (string, bool) {
	if b.prefix == "" {
		return key, true
	}
	return strings.CutPrefix(key, b.prefix+"/")
}

func newObject(found *blob.ListObject, name string) Object {
	object := Object{Name: name, Key: found.Key, Size: found.Size, Tag: tagOf(found)}
	object.Version = fmt.Sprintf("%s %x %s", found.ModTime.UTC().Format(time.RFC3339), found.MD5, object.Tag)
	var google gcs.ObjectAttrs
	switch {
	case found.As(&google) && google.CRC32C != 0: // Much faster to compute than MD5.
		c := google.CRC32C
		object.Sum = Checksum{CRC32C, []byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)}}
	case len(found.MD5) > 0:
		object.Sum = Checksum{MD5, found.MD5}
	}
	return object
}

// Read implements [Source]. It fails if the object has changed since it was listed, because a file
// must not mix two versions.
func (b *bucket) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	reader, err := b.NewRangeReader(ctx, object.Key, offset, length, &blob.ReaderOptions{BeforeRead: requireVersion(object.Tag)})
	if statusOf(err) == http.StatusPreconditionFailed {
		return nil, changedError(object)
	}
	if err != nil {
		return nil, b.wrapError(object.Name, err)
	}
	listed, _, _ := strings.Cut(object.Version, " ")
	if now := reader.ModTime().UTC().Format(time.RFC3339); reader.Size() != object.Size || !reader.ModTime().IsZero() && now != listed {
		return nil, errors.Join(changedError(object), reader.Close())
	}
	return reader, nil
}

func changedError(object Object) error {
	return &Error{Kind: Corrupt, Object: object.Name, Err: errors.New("it has changed since it was listed")}
}
