// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nomad stands in for the provider for Nomad.
package nomad

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type ProviderBuilder = absent.Provider
