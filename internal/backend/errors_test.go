// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serinus-io/serinus/internal/backend"
)

func TestIsStale(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "deployments"}, "x", errors.New("object was modified"))
	failure := apierrors.NewInternalError(errors.New("etcd is down"))
	ownership := &backend.ConflictError{Kind: "Service", Namespace: "ns", Name: "x"}
	for name, test := range map[string]struct {
		errs []error
		want bool
	}{
		"nothing":                          {nil, false},
		"a stale view":                     {[]error{backend.ErrStaleCache}, true},
		"a stale view, wrapped":            {[]error{fmt.Errorf("confirming: %w", backend.ErrStaleCache)}, true},
		"a conflict of versions, wrapped":  {[]error{fmt.Errorf("applying: %w", conflict)}, true},
		"several stale views":              {[]error{nil, backend.ErrStaleCache, fmt.Errorf("applying: %w", conflict)}, true},
		"a failure":                        {[]error{failure}, false},
		"a stale view beside a failure":    {[]error{backend.ErrStaleCache, failure}, false},
		"a conflict of versions before it": {[]error{conflict, fmt.Errorf("x: %w", failure), conflict}, false},
		"a conflict of ownership":          {[]error{ownership}, false},
		"a stale view beside that":         {[]error{ownership, backend.ErrStaleCache}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var outcome backend.Outcome
			outcome.Fail(test.errs...)
			if got := backend.IsStale(outcome.Err()); got != test.want {
				t.Errorf("IsStale(%v) is %t", outcome.Err(), got)
			}
			if got := backend.IsStale(fmt.Errorf("applying: %w", outcome.Err())); got != test.want {
				t.Errorf("wrapped, IsStale(%v) is %t", outcome.Err(), got)
			}
		})
	}
}

func TestIsAboutHostRoute(t *testing.T) {
	hostRoute := backend.WriteError{Err: &backend.ConflictError{Kind: "HTTPRoute", Namespace: "ns", Name: "x"}, HostRoute: true}
	stale := backend.WriteError{Err: backend.ErrStaleCache, HostRoute: true}
	failure := backend.WriteError{Err: errors.New("etcd is down")}
	for name, test := range map[string]struct {
		errs []backend.WriteError
		want bool
	}{
		"nothing":                                 {nil, false},
		"a host route":                            {[]backend.WriteError{hostRoute}, true},
		"a host route, with a stale view of it":   {[]backend.WriteError{stale, hostRoute}, true},
		"a host route and a failure":              {[]backend.WriteError{hostRoute, failure}, false},
		"a host route, and a stale view of other": {[]backend.WriteError{hostRoute, {Err: backend.ErrStaleCache}}, false},
		"a failure":                               {[]backend.WriteError{failure}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := backend.JoinErrors(test.errs)
			if got := backend.IsAboutHostRoute(fmt.Errorf("applying: %w", err)); got != test.want {
				t.Errorf("IsAboutHostRoute(%v) is %t", err, got)
			}
		})
	}
	if !backend.IsStale(fmt.Errorf("applying: %w", backend.JoinErrors([]backend.WriteError{stale}))) {
		t.Error("a stale view of a host route is not stale")
	}
}
