// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ingress stands in for the provider for Ingresses.
package ingress

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
