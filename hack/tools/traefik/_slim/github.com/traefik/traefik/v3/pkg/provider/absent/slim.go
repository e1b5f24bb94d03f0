// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package absent has the provider that stands in for every provider that this build of Traefik leaves out.
package absent

import (
	"errors"

	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider refuses to start. Its fields and methods are those that Traefik uses of the providers that it stands in for.
type Provider struct {
	DefaultRuleSyntax      string
	HTTPClientTimeout      ptypes.Duration
	RefreshSeconds         ptypes.Duration
	WatchNamespace         string
	WatchNamespaceSelector string
}

func (*Provider) Init() error { return errors.New("this build of Traefik has no such provider") }

func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }

func (p *Provider) BuildProviders() []*Provider { return []*Provider{p} }

func (*Provider) FillExtensionBuilderRegistry(any) {}
