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

// Kind is what is wrong, as far as it matters for what to do.
type Kind string

const (
	// Missing means that there is no such object, folder, bucket, repository or revision.
	Missing Kind = "missing"
	// Forbidden means that the credentials, or the lack of them, do not give access.
	Forbidden Kind = "forbidden"
	// Redirected means that the store sends its clients to another address or region.
	Redirected Kind = "redirected"
	// Unreachable means that no answer comes, even after several attempts: the network or TLS is at fault.
	Unreachable Kind = "unreachable"
	// Unavailable means that the store answers with errors, even after several attempts.
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

// Error says why a model cannot be fetched.
type Error struct {
	Kind Kind
	// Object is the URI, or the name of one object below it.
	Object string
	Err    error
	// Remedy is what to do; the kind has a general one.
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
		return "check the host name, DNS and the network policies of the namespace; it is tried again"
	case Unavailable:
		return "check that the endpoint is that of the store, and that the store is healthy; it is tried again"
	case NoSpace:
		return "give the volume kserve-provision-location, or the node, more space"
	case Unwritable:
		return "check the volume kserve-provision-location: the storage initializer's user must be able to write to it (securityContext.fsGroup)"
	case Corrupt:
		return "it is fetched anew; if that lasts, upload the model again"
	case Invalid:
		return "correct storageUri, or what it names"
	}
	return "look at the log"
}

// fail makes an error about an object from a client's error. An Error, and the
// end of the context, stay unchanged.
func fail(object string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	found := diagnose(err)
	return &Error{Kind: found.kind, Object: object, Err: shortened(err), Remedy: found.remedy}
}

// brief replaces the text of an error.
type brief struct {
	text string
	err  error
}

func (b brief) Error() string { return b.text }
func (b brief) Unwrap() error { return b.err }

// shortened leaves out the wrappers of the clients, and the query of an address,
// which may be a signature that gives access.
func shortened(err error) error {
	if refused, is := refusalOf(err); is {
		return brief{refused.Error(), err}
	}
	if failed, is := errors.AsType[*url.Error](err); is {
		return brief{fmt.Sprintf("%s %q: %v", failed.Op, Redacted(failed.URL), failed.Err), err}
	}
	if answer, is := errors.AsType[*smithyhttp.ResponseError](err); is && answer.Response != nil && answer.HTTPStatusCode() == http.StatusOK {
		return brief{fmt.Sprintf("the answer is not that of S3: %v", answer.Err), err}
	}
	return err
}

// Redacted is a URI as it can be shown: without a password, and without its
// query, which may be a signature that gives access.
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

// mayPass reports whether another attempt is worth while.
func mayPass(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var kind Kind
	if known, is := errors.AsType[*Error](err); is {
		kind = known.Kind
	} else {
		kind = diagnose(err).kind
	}
	return kind == Unreachable || kind == Unavailable
}
