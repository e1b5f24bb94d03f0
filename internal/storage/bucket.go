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

// bucket is a source in a bucket of an object store.
type bucket struct {
	*blob.Bucket
	uri, prefix string
	// logIn gets the credentials, so that their errors are not taken for the store's; nil if the store is asked without any.
	logIn func(ctx context.Context) error
	// sums finds checksums that are faster to compute than those that were listed, where there are some.
	sums func(ctx context.Context, objects []Object) error
}

// newBucket takes all objects below a prefix, or the one that has it as its name.
func newBucket(opened *blob.Bucket, uri, prefix string) *bucket {
	return &bucket{Bucket: opened, uri: uri, prefix: strings.Trim(prefix, "/")}
}

// List implements [Source]. What only begins like the prefix, such as model-2
// beside model, is not below it.
func (b *bucket) List(ctx context.Context) ([]Object, error) {
	if b.logIn != nil {
		if err := b.logIn(ctx); err != nil {
			return nil, noCredentials(b.uri, err)
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
			return nil, b.fail(b.uri, err)
		}
		switch name, isBelow := b.nameOf(found.Key); {
		case isBelow && !strings.HasSuffix(name, "/") && name != "": // The others stand for folders.
			below = append(below, newObject(found, name))
		case found.Key == b.prefix:
			object := newObject(found, path.Base(found.Key))
			object.Alone = true
			alone = &object
		}
	}
	below = withoutFolders(below)
	if alone != nil && alone.Size == 0 && len(below) > 0 {
		alone = nil // It stands for the folder.
	}
	if alone != nil { // The exact name counts, as nothing but an accident puts objects below another one.
		below = []Object{*alone}
	}
	if len(below) == 0 {
		return nil, &Error{Kind: Missing, Object: b.uri, Err: errors.New("there is no object of this name or below it")}
	}
	if b.sums != nil {
		return below, b.fail(b.uri, b.sums(ctx, below))
	}
	return below, nil
}

// fail makes an error about an object. Where none are configured, a lack of
// credentials explains more than the store does: some say that a private
// container does not exist.
func (b *bucket) fail(object string, err error) error {
	if err == nil {
		return nil
	}
	err = fail(object, err)
	failed, is := errors.AsType[*Error](err)
	refused, _ := refusalOf(err)
	if is && b.logIn == nil && (failed.Kind == Forbidden || refused.code == "ResourceNotFound") {
		return &Error{Kind: Forbidden, Object: failed.Object, Err: failed.Err, Remedy: noCredentialsRemedy}
	}
	return err
}

// noCredentials makes an error about credentials that are configured and cannot be obtained.
func noCredentials(uri string, err error) error {
	if _, known := errors.AsType[*Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	found := diagnose(err)
	refused, _ := refusalOf(err)
	switch _, isKnown := codes[refused.code]; {
	case found.kind == Unreachable, found.kind == Unavailable && refused.status != 0:
		found.remedy = "check that the issuer of the credentials can be reached, and is healthy; it is tried again"
	case found.kind == Forbidden && isKnown && refused.code != "AccessDenied":
	default:
		found = diagnosis{Forbidden, "check the credentials that are configured: the secrets and annotations of the ServiceAccount, " +
			"and the rights of its role or identity"}
	}
	err = fmt.Errorf("the credentials cannot be obtained: %w", shortened(err))
	return &Error{Kind: found.kind, Object: uri, Err: err, Remedy: found.remedy}
}

// withoutFolders leaves out the empty objects that some stores, such as Azure's
// with folders, have for each folder, under its name.
func withoutFolders(objects []Object) []Object {
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
	case found.As(&google) && google.CRC32C != 0: // Much faster to compute than the MD5 that is there as well.
		c := google.CRC32C
		object.Sum = Checksum{CRC32C, []byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)}}
	case len(found.MD5) > 0:
		object.Sum = Checksum{MD5, found.MD5}
	}
	return object
}

// Read implements [Source]. It refuses to read of an object that is not the one
// that was listed: a file must not be made of two.
func (b *bucket) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	reader, err := b.NewRangeReader(ctx, object.Key, offset, length, &blob.ReaderOptions{BeforeRead: onlyVersion(object.Tag)})
	if statusOf(err) == http.StatusPreconditionFailed {
		return nil, changed(object)
	}
	if err != nil {
		return nil, b.fail(object.Name, err)
	}
	listed, _, _ := strings.Cut(object.Version, " ")
	if now := reader.ModTime().UTC().Format(time.RFC3339); reader.Size() != object.Size || !reader.ModTime().IsZero() && now != listed {
		return nil, errors.Join(changed(object), reader.Close())
	}
	return reader, nil
}

func changed(object Object) error {
	return &Error{Kind: Corrupt, Object: object.Name, Err: errors.New("it has changed since it was listed")}
}
