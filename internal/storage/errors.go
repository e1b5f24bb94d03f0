// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Kind is the category of an error. It determines the advice.
type Kind string

const (
	// Missing means that an object, folder, bucket, repository or revision does not exist.
	Missing Kind = "missing"
	// Forbidden means that credentials are missing or do not give access.
	Forbidden Kind = "forbidden"
	// Redirected means that the store redirects to another address or region.
	Redirected Kind = "redirected"
	// Unreachable means that there was no response in several attempts, because of the network or
	// TLS.
	Unreachable Kind = "unreachable"
	// Unavailable means that the store returned errors in several attempts.
	Unavailable Kind = "unavailable"
	// NoSpace means that the volume is too small.
	NoSpace Kind = "no space"
	// Unwritable means that the volume cannot be read or written.
	Unwritable Kind = "unwritable"
	// Corrupt means that the received content differs from what the store lists.
	Corrupt Kind = "corrupt"
	// Invalid means that the URI, the object that it names, or a setting cannot be used.
	Invalid Kind = "invalid"
)

// Error says why a model could not be downloaded.
type Error struct {
	Kind Kind
	// Object is the URI, or the name of one object below it.
	Object string
	Err    error
	// Remedy is what to do. If empty, it is the kind's advice.
	Remedy string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %v; %s", Redacted(e.Object), e.Kind, e.Err, cmp.Or(e.Remedy, e.Kind.advice()))
}

func (e *Error) Unwrap() error { return e.Err }

func (k Kind) advice() string {
	switch k {
	case Missing:
		return "check storageUri"
	case Forbidden:
		return "check the credentials: the secrets of the ServiceAccount, or the secret that storage.key or the annotation names"
	case Redirected:
		return "set the endpoint, or storageUri, to the address that serves the model"
	case Unreachable:
		return "check the host name, DNS and the network policies of the namespace; the download is retried"
	case Unavailable:
		return "check that the endpoint is that of the store, and that the store is healthy; the download is retried"
	case NoSpace:
		return "give the volume kserve-provision-location, or the node, more space"
	case Unwritable:
		return "check the volume kserve-provision-location: the storage initializer's user must be able to write to it (securityContext.fsGroup)"
	case Corrupt:
		return "the object is downloaded again; if the error persists, upload the model again"
	case Invalid:
		return "correct storageUri, or what it names"
	}
	return "see the log"
}

// wrapError returns an [Error] about an object for a client's error. It returns an [Error] and
// context.Canceled unchanged.
func wrapError(object string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	found := diagnose(err)
	return &Error{Kind: found.kind, Object: object, Err: shorten(err), Remedy: found.remedy}
}

type shortError struct {
	text string
	err  error
}

func (b shortError) Error() string { return b.text }
func (b shortError) Unwrap() error { return b.err }

// shorten removes the text of the clients' wrappers, and the query of a URL, which may be a
// signature that gives access.
func shorten(err error) error {
	if respErr, ok := responseErrorOf(err); ok {
		return shortError{respErr.Error(), err}
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return shortError{fmt.Sprintf("%s %q: %v", failed.Op, Redacted(failed.URL), failed.Err), err}
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && response.Response != nil && response.HTTPStatusCode() == http.StatusOK {
		return shortError{fmt.Sprintf("this is not a response of S3: %v", response.Err), err}
	}
	return err
}

// Redacted returns a URI without its password and query, because a query may be a signature that
// gives access.
func Redacted(uri string) string {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return uri
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = "…"
	}
	return parsed.Redacted()
}

// IsRetryable reports whether another attempt may succeed after an error.
func IsRetryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var kind Kind
	if known, ok := errors.AsType[*Error](err); ok {
		kind = known.Kind
	} else {
		kind = diagnose(err).kind
	}
	return kind == Unreachable || kind == Unavailable
}
