// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plugins stands in for plugins, which need an interpreter of Go and one of WebAssembly.
package plugins

import (
	"context"
	"errors"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/provider/absent"
)

type (
	Descriptor      struct{}
	LocalDescriptor struct{}
	Constructor     func(context.Context, http.Handler) (http.Handler, error)
	Builder         struct{}
)

var errAbsent = errors.New("this build of Traefik has no plugins")

func (*Builder) Build(string, map[string]any, string) (Constructor, error) { return nil, errAbsent }

func (*Builder) BuildProvider(string, map[string]any) (*absent.Provider, error) {
	return nil, errAbsent
}
