// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package redis stands in for the provider for Redis.
package redis

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
