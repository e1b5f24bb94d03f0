// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

// Package knative stands in for the provider for Knative's Ingresses.
package knative

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
