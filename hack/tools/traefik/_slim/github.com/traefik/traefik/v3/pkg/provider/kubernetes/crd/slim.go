// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd stands in for the provider for Traefik's own kinds.
package crd

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
