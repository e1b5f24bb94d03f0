// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consulcatalog stands in for the provider for Consul's catalog.
package consulcatalog

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type ProviderBuilder = absent.Provider
