// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// Kind is what is wrong, as far as it matters for what to do.
type Kind string

const (
	// Missing means that there is no such object, folder, bucket, repository or revision.
	Missing Kind = "missing"
	// Forbidden means that the credentials, or the lack of them, do not give access.
	Forbidden Kind = "forbidden"
	// Unreachable means that the store does not answer, or not as it should, even after several attempts.
	Unreachable Kind = "unreachable"
	// NoSpace means that the volume is too small.
	NoSpace Kind = "no space"
	// Corrupt means that what has arrived is not what the store says it has.
	Corrupt Kind = "corrupt"
	// Invalid means that the URI, or what it names, cannot be used.
	Invalid Kind = "invalid"
)

// Error says why a model cannot be fetched.
type Error struct {
	Kind Kind
	// Object is the URI, or the name of one object below it.
	Object string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %v; %s", Redacted(e.Object), e.Kind, e.Err, e.Kind.advice())
}

func (e *Error) Unwrap() error { return e.Err }

func (k Kind) advice() string {
	switch k {
	case Missing:
		return "check storageUri"
	case Forbidden:
		return "check the credentials: the secrets of the ServiceAccount, or the one that storage.key or the annotation names"
	case Unreachable:
		return "check the endpoint and the network policies of the namespace; it is tried again"
	case NoSpace:
		return "give the volume kserve-provision-location, or the node, more space"
	case Corrupt:
		return "it is fetched anew; if that lasts, upload the model again"
	case Invalid:
		return "correct storageUri, or what it names"
	}
	return "look at the log"
}

// fail makes an error about an object, by what a client says. An Error, and the
// end of the context, stay what they are.
func fail(object string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Kind: kindOf(err), Object: object, Err: err}
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

// statusError is an answer of a web server other than the one that was asked for.
type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.code, http.StatusText(e.code))
}

func kindOf(err error) Kind {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return NoSpace
	}
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusGone:
		return Missing
	case http.StatusUnauthorized, http.StatusForbidden:
		return Forbidden
	}
	code := gcerrors.Code(err)
	if code == gcerrors.NotFound {
		return Missing
	}
	if code == gcerrors.PermissionDenied {
		return Forbidden
	}
	return Unreachable
}

// statusOf is the status of HTTP that a client was answered with, or 0.
func statusOf(err error) int {
	var (
		own    statusError
		google *googleapi.Error
		amazon *smithyhttp.ResponseError
		azure  *azcore.ResponseError
	)
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &google):
		return google.Code
	case errors.As(err, &amazon):
		return amazon.HTTPStatusCode()
	case errors.As(err, &azure):
		return azure.StatusCode
	}
	return 0
}

// mayPass tells whether another attempt is worth while.
func mayPass(err error) bool {
	if known, is := errors.AsType[*Error](err); is {
		return known.Kind == Unreachable
	}
	if errors.Is(err, context.Canceled) || kindOf(err) != Unreachable {
		return false
	}
	status := statusOf(err)
	return status == 0 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}
