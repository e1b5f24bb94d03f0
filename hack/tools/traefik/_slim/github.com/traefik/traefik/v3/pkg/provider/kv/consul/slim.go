// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consul stands in for the provider for Consul's key-value store.
package consul

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type ProviderBuilder = absent.Provider
