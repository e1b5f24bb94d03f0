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
		err  error
		want bool
	}{
		"nothing":                          {nil, false},
		"a stale view":                     {backend.ErrStaleCache, true},
		"a stale view, wrapped":            {fmt.Errorf("confirming: %w", backend.ErrStaleCache), true},
		"a conflict of versions, wrapped":  {fmt.Errorf("applying: %w", conflict), true},
		"several stale views":              {errors.Join(backend.ErrStaleCache, fmt.Errorf("applying: %w", conflict)), true},
		"several stale views, wrapped":     {fmt.Errorf("applying: %w", errors.Join(nil, backend.ErrStaleCache, conflict)), true},
		"a failure":                        {failure, false},
		"a stale view beside a failure":    {errors.Join(backend.ErrStaleCache, failure), false},
		"a conflict of versions before it": {fmt.Errorf("applying: %w", errors.Join(conflict, failure)), false},
		"a stale view deep beside it":      {errors.Join(errors.Join(conflict, fmt.Errorf("x: %w", failure)), conflict), false},
		"a conflict of ownership":          {ownership, false},
		"a stale view beside that":         {errors.Join(ownership, backend.ErrStaleCache), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := backend.IsStale(test.err); got != test.want {
				t.Errorf("IsStale(%v) is %t", test.err, got)
			}
		})
	}
}

func TestIsAboutHostRoute(t *testing.T) {
	hostRoute := &backend.HostRouteError{Err: &backend.ConflictError{Kind: "HTTPRoute", Namespace: "ns", Name: "x"}}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                    {nil, false},
		"a host route":               {hostRoute, true},
		"a host route, wrapped":      {fmt.Errorf("applying: %w", errors.Join(nil, hostRoute)), true},
		"a host route and a failure": {fmt.Errorf("applying: %w", errors.Join(hostRoute, errors.New("etcd is down"))), false},
		"a failure":                  {errors.New("etcd is down"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := backend.IsAboutHostRoute(test.err); got != test.want {
				t.Errorf("IsAboutHostRoute(%v) is %t", test.err, got)
			}
		})
	}
	if !backend.IsStale(fmt.Errorf("applying: %w", &backend.HostRouteError{Err: backend.ErrStaleCache})) {
		t.Error("a stale view of a host route is not stale")
	}
}
